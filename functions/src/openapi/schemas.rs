//! The schemas of bodies: components by name, derived by utoipa from the types, and completed here.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use utoipa::ToSchema;

const PREFIX: &str = "#/components/schemas/";

/// The components that operations refer to.
#[derive(Default)]
pub struct Schemas(BTreeMap<String, Value>);

impl Schemas {
    /// Returns a reference to the schema of a request; the type's own description is for readers of the code.
    pub fn request<T: ToSchema>(&mut self, description: &str) -> Value {
        self.insert::<T>();
        if let Some(schema) = self.0.get_mut(&*T::name()) {
            schema["description"] = description.into();
        }
        reference(&T::name())
    }

    /// Returns a reference to the schema of a request for a new `R`, whose members have the descriptions of `R`'s.
    ///
    /// The description of a member with a default states it. The keyword `default` is not used, because some generators
    /// then require the member or send it themselves.
    pub fn draft<T: ToSchema, R: ToSchema>(&mut self, description: &str, defaults: &[(&str, Value)]) -> Value {
        self.insert::<T>();
        let mut schema = described::<T, R>(description);
        for (name, default) in defaults {
            let member = &mut schema["properties"][name];
            let described = member["description"].as_str().unwrap_or_default();
            member["description"] = format!("{described}\n\n`{default}` if it is absent.").into();
        }
        self.component(&T::name(), schema)
    }

    /// Returns a reference to the schema `name` of a request that changes an `R`: all members of `T` are optional, and
    /// at least one is required.
    pub fn changes<T: ToSchema, R: ToSchema>(&mut self, name: &str, description: &str) -> Value {
        self.insert::<T>();
        let mut schema = described::<T, R>(description);
        schema["minProperties"] = 1.into();
        if let Some(members) = schema.as_object_mut() {
            members.remove("required");
        }
        self.component(name, schema)
    }

    /// Returns a reference to the schema of an answer: every member is present, possibly null.
    pub fn answer<T: ToSchema>(&mut self) -> Value {
        self.insert::<T>();
        if let Some(schema) = self.0.get_mut(&*T::name()) {
            let members = schema["properties"].as_object().into_iter().flat_map(Map::keys);
            schema["required"] = members.cloned().collect();
        }
        reference(&T::name())
    }

    /// Returns the schema of a list.
    pub fn list<T: ToSchema>(&mut self) -> Value {
        json!({"type": "array", "items": self.answer::<T>()})
    }

    /// Returns a reference to a component without a type of its own.
    pub fn component(&mut self, name: &str, schema: Value) -> Value {
        self.0.insert(name.to_owned(), schema);
        reference(name)
    }

    fn insert<T: ToSchema>(&mut self) {
        for (name, schema) in derived::<T>() {
            self.0.entry(name).or_insert(schema);
        }
    }

    /// Returns the components that `rest` of the document refers to. A rule about one value, such as a text's length, is
    /// inlined, because it needs no name.
    pub(super) fn finish(self, rest: &Value) -> Value {
        let named = |schema: &Value| {
            ["enum", "oneOf"].iter().any(|key| schema.get(key).is_some()) || schema["type"] == "object"
        };
        let (mut components, rules): (BTreeMap<_, _>, BTreeMap<_, _>) =
            self.0.into_iter().partition(|(_, schema)| named(schema));
        for schema in components.values_mut() {
            settle(schema, &rules);
        }
        json!(used(components, rest))
    }
}

/// Returns the components that `rest` of the document refers to, directly or through others.
pub(super) fn used(mut components: BTreeMap<String, Value>, rest: &Value) -> BTreeMap<String, Value> {
    let mut used = BTreeMap::new();
    let mut left = references(rest);
    while let Some(name) = left.pop() {
        if let Some(schema) = components.remove(&name) {
            left.extend(references(&schema));
            used.insert(name, schema);
        }
    }
    used
}

/// Returns the names of the components that are referred to.
fn references(node: &Value) -> Vec<String> {
    match node {
        Value::Object(members) => {
            let here = members.get("$ref").and_then(Value::as_str);
            let here = here.and_then(|name| name.strip_prefix(PREFIX)).map(str::to_owned);
            here.into_iter().chain(members.values().flat_map(references)).collect()
        }
        Value::Array(items) => items.iter().flat_map(references).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    }
}

/// Returns the schemas of a type and of those in it, by name.
fn derived<T: ToSchema>() -> BTreeMap<String, Value> {
    let mut found = vec![(T::name().into_owned(), T::schema())];
    T::schemas(&mut found);
    let found: BTreeMap<_, _> = found
        .into_iter()
        .map(|(name, schema)| (name, serde_json::to_value(schema).unwrap_or_default()))
        .collect();
    let schemas = found.iter().map(|(name, schema)| {
        let mut schema = flat(schema, &found);
        // The first paragraph describes the type, the others its implementation.
        if let Some((first, _)) = schema["description"].as_str().and_then(|said| said.split_once("\n\n")) {
            schema["description"] = first.to_owned().into();
        }
        for member in members(&mut schema) {
            raise(member);
        }
        (name.clone(), schema)
    });
    schemas.collect()
}

/// Returns the schema of `T` with this description, and the descriptions of the members that `R` has too.
fn described<T: ToSchema, R: ToSchema>(description: &str) -> Value {
    let [mut schema, resource] = [
        derived::<T>().remove(&*T::name()).unwrap_or_default(),
        derived::<R>().remove(&*R::name()).unwrap_or_default(),
    ];
    schema["description"] = description.into();
    for (name, member) in schema["properties"].as_object_mut().into_iter().flatten() {
        if let Some(description) = resource["properties"][name].get("description") {
            member["description"] = description.clone();
        }
    }
    schema
}

/// Returns a type's schema alone, for a parameter.
pub(super) fn of<T: ToSchema>() -> Value {
    let mut schema = serde_json::to_value(T::schema()).unwrap_or_default();
    schema.as_object_mut().map(|schema| schema.remove("description"));
    schema
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("{PREFIX}{name}")})
}

/// Returns the schema of a struct with the members of its flattened fields, which utoipa describes as `allOf`.
fn flat(schema: &Value, all: &BTreeMap<String, Value>) -> Value {
    let mut flattened = schema.clone();
    let Some(parts) = flattened.as_object_mut().and_then(|members| members.remove("allOf")) else {
        return flattened;
    };
    let mut members = Map::new();
    for part in parts.as_array().into_iter().flatten() {
        let named = part["$ref"]
            .as_str()
            .and_then(|name| all.get(name.strip_prefix(PREFIX)?));
        let part = flat(named.unwrap_or(part), all);
        members.extend(part["properties"].as_object().cloned().unwrap_or_default());
    }
    flattened["type"] = "object".into();
    flattened["properties"] = members.into();
    flattened
}

/// Returns the schemas of an object's members.
fn members(schema: &mut Value) -> impl Iterator<Item = &mut Value> {
    let members = schema.get_mut("properties").and_then(Value::as_object_mut);
    members.into_iter().flat_map(Map::values_mut)
}

/// Moves the description of the only non-null choice beside the choice.
fn raise(member: &mut Value) {
    let choices = member.get_mut("oneOf").and_then(Value::as_array_mut);
    let choices = choices.into_iter().flatten();
    let said: Vec<_> = choices
        .filter_map(|choice| choice.as_object_mut()?.remove("description"))
        .collect();
    if let Some(description) = said.into_iter().next() {
        member["description"] = description;
    }
}

/// Inlines rules in place of references to them, and replaces a choice between a type and null with a nullable type.
fn settle(schema: &mut Value, rules: &BTreeMap<String, Value>) {
    for inner in schema.as_object_mut().into_iter().flat_map(Map::values_mut) {
        settle(inner, rules);
    }
    for inner in schema.as_array_mut().into_iter().flatten() {
        settle(inner, rules);
    }
    let rule = schema["$ref"]
        .as_str()
        .and_then(|name| rules.get(name.strip_prefix(PREFIX)?));
    if let Some(rule) = rule.cloned() {
        take(schema, "$ref", rule);
    }
    let null = json!({"type": "null"});
    let other = match schema["oneOf"].as_array().map(Vec::as_slice) {
        Some([one, other]) if *one == null => Some(other),
        Some([one, other]) if *other == null => Some(one),
        Some(_) | None => None,
    };
    if let Some(mut other) = other.filter(|other| other["type"].is_string()).cloned() {
        other["type"] = json!([other["type"], "null"]);
        take(schema, "oneOf", other);
    }
}

/// Replaces a reference with a schema's members; descriptions beside it are kept.
fn take(schema: &mut Value, key: &str, members: Value) {
    let (Some(schema), Value::Object(members)) = (schema.as_object_mut(), members) else {
        return;
    };
    schema.remove(key);
    for (name, member) in members {
        if name != "description" {
            schema.entry(name).or_insert(member);
        }
    }
}
