//! The two manifests: the router of the workspace, and the binaries of the package `functions`.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use toml_edit::{Array, ArrayOfTables, Decor, DocumentMut, InlineTable, Item, Table, Value, value};

use super::part::Part;
use super::source::Sources;

/// The workspace manifest with a router entry for each route, from which `cargo lambda watch` and `cargo local` serve.
pub(super) fn router(text: &str, sources: &Sources) -> Result<Part> {
    let mut manifest: DocumentMut = text.parse()?;
    let mut table = manifest.as_table_mut();
    for key in ["workspace", "metadata", "lambda", "watch", "router"] {
        let inner = table.get_mut(key).and_then(Item::as_table_mut);
        table = inner.context("it has no [workspace.metadata.lambda.watch.router]")?;
    }
    let mut actual = BTreeMap::<String, String>::new();
    for (path, item) in table.iter() {
        let entries = item.as_array().into_iter().flatten().filter_map(Value::as_inline_table);
        for entry in entries {
            let member = |name| entry.get(name).and_then(Value::as_str).unwrap_or("?");
            let (function, route) = (member("function"), format!("{} {path}", member("method")));
            // One that serves two routes differs from any that serves one.
            actual
                .entry(function.to_owned())
                .and_modify(|routes| *routes += &format!(", {route}"))
                .or_insert(route);
        }
    }
    table.clear();
    for routes in sources.routes.chunk_by(|one, other| one.path == other.path) {
        let several = routes.len() > 1;
        let mut entries = Array::new();
        for route in routes {
            let mut entry = InlineTable::new();
            entry.insert("method", route.method.as_str().into());
            entry.insert("function", route.name.as_str().into());
            let mut entry = Value::from(entry);
            if several {
                entry.decor_mut().set_prefix("\n    ");
            }
            entries.push_formatted(entry);
        }
        if several {
            entries.set_trailing_comma(true);
            entries.set_trailing("\n");
        }
        let path = routes.first().map_or("", |route| &route.path);
        table.insert(path, value(entries));
    }
    let expected = sources.routes.iter().map(|route| (route.name.clone(), route.key()));
    Ok(Part {
        entry: "router entry",
        actual,
        expected: expected.collect(),
        text: manifest.to_string(),
    })
}

/// The manifest of `functions` with a `[[bin]]` for each binary. A stanza that is there stays as it is.
pub(super) fn binaries(text: &str, sources: &Sources) -> Result<Part> {
    let mut manifest: DocumentMut = text.parse()?;
    let stanzas = manifest.get_mut("bin").and_then(Item::as_array_of_tables_mut);
    let stanzas = stanzas.context("it has no [[bin]]")?;
    // What stands above the first is about all of them.
    let between = Decor::new("\n", "");
    let (header, position) = match stanzas.get_mut(0) {
        Some(first) => (std::mem::replace(first.decor_mut(), between.clone()), first.position()),
        None => (between.clone(), None),
    };
    let mut kept = BTreeMap::new();
    for stanza in std::mem::replace(stanzas, ArrayOfTables::new()) {
        let name = stanza.get("name").and_then(Item::as_str).unwrap_or("?").to_owned();
        kept.insert(name, stanza);
    }
    let entries = |names: Vec<String>| names.into_iter().map(|name| (name, String::new())).collect();
    let actual = entries(kept.keys().cloned().collect());
    let expected = entries(sources.binaries().into_iter().map(str::to_owned).collect());
    for name in sources.binaries() {
        let mut stanza = kept.remove(name).unwrap_or_else(|| {
            let mut stanza = Table::new();
            stanza.insert("name", value(name));
            stanza.insert("test", value(false));
            *stanza.decor_mut() = between.clone();
            stanza
        });
        if stanzas.is_empty() {
            *stanza.decor_mut() = header.clone();
        }
        stanza.set_position(position);
        stanzas.push(stanza);
    }
    Ok(Part {
        entry: "[[bin]]",
        actual,
        expected,
        text: manifest.to_string(),
    })
}
