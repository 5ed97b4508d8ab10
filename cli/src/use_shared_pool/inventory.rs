//! What of a unit's own code carries a pool or a connection: fields, functions, statics, and the variables of a function.
//!
//! By name, not by inferred type: a name counts everywhere in its unit (a variable: in its function), so that two things
//! of one name are taken for the same. That can only make this command more careful.

use std::collections::{HashMap, HashSet};

use syn::visit::{self, Visit};
use syn::{Expr, Member, Pat, Type};

use super::macros;
use super::names::{Absolute, Kind, Names, module, segments};
use super::tree::File;

/// Containers that hold a pool which is made at first use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cell {
    /// `LazyLock`, `Lazy`, `lazy_static!`: dereferences to the pool.
    Lazy,
    /// `std::sync::OnceLock`, `once_cell`'s `OnceCell`.
    Once,
    /// Tokio's `OnceCell`, whose initialiser is awaited.
    AsyncOnce,
}

/// What a unit's files declare.
#[derive(Debug, Default)]
pub(super) struct Inventory {
    /// Kinds of fields, by name; of tuple structs, by `Struct.0`.
    pub(super) fields: HashMap<String, Kind>,
    /// Kinds of what functions and methods return, by name.
    pub(super) returns: HashMap<String, Kind>,
    /// Names of functions, methods, tuple structs and variants: what a pool may be given to.
    pub(super) defined: HashSet<String>,
    /// Statics that hold nothing but a pool.
    pub(super) statics: HashMap<Absolute, Cell>,
    /// Other statics with a pool somewhere within.
    pub(super) others: HashMap<Absolute, Kind>,
    /// Names of migrators.
    pub(super) migrators: HashSet<String>,
}

/// The first kind that a type mentions.
pub(super) fn kind_in(names: &Names, at: &Absolute, of: &Type) -> Option<Kind> {
    struct Mentions<'a>(&'a Names, &'a Absolute, Option<Kind>);
    impl<'ast> Visit<'ast> for Mentions<'_> {
        fn visit_path(&mut self, path: &'ast syn::Path) {
            self.2 = self
                .2
                .or_else(|| self.0.kind_of_path(self.1, path).map(|(kind, _)| kind));
            visit::visit_path(self, path);
        }
    }
    let mut mentions = Mentions(names, at, None);
    mentions.visit_type(of);
    mentions.2
}

impl Inventory {
    /// Takes in a file's declarations.
    pub(super) fn read(&mut self, names: &Names, file: &File) {
        let mut reader = Reader {
            inventory: self,
            names,
            target: file.target,
            module: file.module.clone(),
        };
        reader.visit_file(&file.ast);
    }
}

struct Reader<'a> {
    inventory: &'a mut Inventory,
    names: &'a Names,
    target: usize,
    module: Vec<String>,
}

impl Reader<'_> {
    fn at(&self) -> Absolute {
        module(self.target, &self.module)
    }

    fn kind(&self, of: &Type) -> Option<Kind> {
        kind_in(self.names, &self.at(), of)
    }

    fn signature(&mut self, signature: &syn::Signature) {
        let name = signature.ident.to_string();
        if let syn::ReturnType::Type(_, of) = &signature.output
            && let Some(kind) = self.kind(of)
        {
            self.inventory.returns.insert(name.clone(), kind);
        }
        self.inventory.defined.insert(name);
    }

    fn holder(&mut self, name: &syn::Ident, of: &Type) {
        let mut path = self.at();
        path.push(name.to_string());
        if let Type::Path(of) = of
            && of.path.segments.last().is_some_and(|last| last.ident == "Migrator")
        {
            self.inventory.migrators.insert(name.to_string());
        }
        if let Some(cell) = self.cell(of) {
            self.inventory.statics.insert(path, cell);
        } else if let Some(kind) = self.kind(of) {
            self.inventory.others.insert(path, kind);
        }
    }

    /// The cell that a type is, if a pool is all it holds.
    fn cell(&self, of: &Type) -> Option<Cell> {
        let Type::Path(of) = of else { return None };
        let last = of.path.segments.last()?;
        let syn::PathArguments::AngleBracketed(arguments) = &last.arguments else {
            return None;
        };
        let Some(syn::GenericArgument::Type(Type::Path(held))) = arguments.args.first() else {
            return None;
        };
        let at = self.at();
        let (kind, _) = self.names.kind_of_path(&at, &held.path)?;
        let container = self.names.resolve(&at, &segments(&of.path));
        let from = container.first()?.as_str();
        let cell = match container.last()?.as_str() {
            "LazyLock" | "Lazy" if from == "std" || from == "once_cell" => Cell::Lazy,
            "OnceLock" if from == "std" => Cell::Once,
            "OnceCell" if from == "once_cell" => Cell::Once,
            "OnceCell" if from == "tokio" => Cell::AsyncOnce,
            _ => return None,
        };
        (kind == Kind::Pool).then_some(cell)
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.module.push(item.ident.to_string());
        visit::visit_item_mod(self, item);
        self.module.pop();
    }

    fn visit_signature(&mut self, signature: &'ast syn::Signature) {
        self.signature(signature);
    }

    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        self.inventory.defined.insert(item.ident.to_string());
        for (place, field) in item.fields.iter().enumerate() {
            if let Some(kind) = self.kind(&field.ty) {
                let unnamed = || format!("{}.{place}", item.ident);
                let name = field.ident.as_ref().map_or_else(unnamed, ToString::to_string);
                self.inventory.fields.insert(name, kind);
            }
        }
    }

    fn visit_variant(&mut self, variant: &'ast syn::Variant) {
        self.inventory.defined.insert(variant.ident.to_string());
    }

    fn visit_item_static(&mut self, item: &'ast syn::ItemStatic) {
        self.holder(&item.ident, &item.ty);
    }

    fn visit_item_const(&mut self, item: &'ast syn::ItemConst) {
        self.holder(&item.ident, &item.ty);
    }

    fn visit_item_macro(&mut self, item: &'ast syn::ItemMacro) {
        for lazy in macros::lazy_statics(&item.mac) {
            let mut path = self.at();
            path.push(lazy.name.to_string());
            if let Type::Path(of) = &lazy.of
                && self
                    .names
                    .kind_of_path(&self.at(), &of.path)
                    .is_some_and(|(kind, _)| kind == Kind::Pool)
            {
                self.inventory.statics.insert(path, Cell::Lazy);
            } else if let Some(kind) = self.kind(&lazy.of) {
                self.inventory.others.insert(path, kind);
            }
        }
    }
}

/// Methods that hand on what they are called on, or what is within.
const PASSING: [&str; 27] = [
    "as_deref",
    "as_mut",
    "as_ref",
    "await",
    "borrow",
    "borrow_mut",
    "by_ref",
    "clone",
    "cloned",
    "context",
    "deref",
    "deref_mut",
    "expect",
    "get",
    "get_mut",
    "get_ref",
    "inner",
    "into",
    "into_inner",
    "lock",
    "map_err",
    "read",
    "to_owned",
    "unwrap",
    "unwrap_or_else",
    "with_context",
    "write",
];

/// Functions that wrap what they are given.
pub(super) const WRAPPERS: [&str; 18] = [
    "AddExtensionLayer",
    "Arc",
    "Box",
    "Cell",
    "Cow",
    "Data",
    "Extension",
    "Mutex",
    "Ok",
    "OnceCell",
    "OnceLock",
    "Rc",
    "RefCell",
    "RwLock",
    "Some",
    "State",
    "drop",
    "from_ref",
];

/// What the variables of a function carry.
#[derive(Default, Clone)]
pub(super) struct Variables {
    /// Kinds, by name.
    pub(super) kinds: HashMap<String, Kind>,
    /// What variables are made from.
    pub(super) values: HashMap<String, Expr>,
}

/// Tells what expressions carry, in one function of one module.
pub(super) struct Carriers<'a> {
    /// The unit's declarations.
    pub(super) inventory: &'a Inventory,
    /// What names mean.
    pub(super) names: &'a Names,
    /// The module.
    pub(super) at: Absolute,
    /// The type that `self` is, and its kind.
    pub(super) own: Option<(String, Option<Kind>)>,
    /// The function's variables.
    pub(super) variables: Variables,
}

impl Carriers<'_> {
    /// Takes in a function's parameters and the variables of its body.
    pub(super) fn enter(&mut self, signature: &syn::Signature, body: &syn::Block) {
        self.variables = Variables::default();
        for input in &signature.inputs {
            if let syn::FnArg::Typed(input) = input
                && let Some(kind) = kind_in(self.names, &self.at, &input.ty)
            {
                self.bind(&input.pat, kind);
            } else if let syn::FnArg::Typed(input) = input {
                self.destructure(&input.pat);
            }
        }
        // Twice, for what is made from a variable that is declared further down in another branch.
        for _ in 0..2 {
            let mut found = Bindings(Vec::new());
            found.visit_block(body);
            for binding in found.0 {
                match binding {
                    Binding::Value(pat, value) => {
                        if let Pat::Ident(name) = untyped(pat) {
                            self.variables.values.insert(name.ident.to_string(), value.clone());
                        }
                        let typed = if let Pat::Type(typed) = pat {
                            kind_in(self.names, &self.at, &typed.ty)
                        } else {
                            None
                        };
                        match typed.or_else(|| self.carried(value)) {
                            Some(kind) => self.bind(pat, kind),
                            None => self.destructure(pat),
                        }
                    }
                    Binding::Typed(pat, of) => {
                        if let Some(kind) = kind_in(self.names, &self.at, of) {
                            self.bind(pat, kind);
                        }
                    }
                }
            }
        }
    }

    fn bind(&mut self, pat: &Pat, kind: Kind) {
        let mut idents = Idents(Vec::new());
        idents.visit_pat(pat);
        for name in idents.0 {
            self.variables.kinds.insert(name, kind);
        }
    }

    /// `AppState { pool, .. }`: the field says what the variable is.
    fn destructure(&mut self, pat: &Pat) {
        struct Fields<'a, 'b>(&'a Inventory, &'b mut HashMap<String, Kind>);
        impl<'ast> Visit<'ast> for Fields<'_, '_> {
            fn visit_field_pat(&mut self, field: &'ast syn::FieldPat) {
                if let Member::Named(name) = &field.member
                    && let Some(&kind) = self.0.fields.get(&name.to_string())
                {
                    let mut idents = Idents(Vec::new());
                    idents.visit_pat(&field.pat);
                    self.1.extend(idents.0.into_iter().map(|name| (name, kind)));
                }
                visit::visit_field_pat(self, field);
            }
        }
        Fields(self.inventory, &mut self.variables.kinds).visit_pat(pat);
    }

    /// The static that a path names.
    pub(super) fn holder(&self, path: &syn::Path) -> Option<Absolute> {
        let meant = self.names.resolve(&self.at, &segments(path));
        let known = self.inventory.statics.contains_key(&meant) || self.inventory.others.contains_key(&meant);
        known.then_some(meant)
    }

    /// What an expression's value carries.
    pub(super) fn carried(&self, value: &Expr) -> Option<Kind> {
        match value {
            Expr::Path(path) => self.of_path(&path.path),
            Expr::Field(field) => match &field.member {
                Member::Named(name) => self.inventory.fields.get(&name.to_string()).copied(),
                Member::Unnamed(place) => {
                    let Expr::Path(base) = &*field.base else { return None };
                    let (own, _) = self.own.as_ref().filter(|_| base.path.is_ident("self"))?;
                    self.inventory.fields.get(&format!("{own}.{}", place.index)).copied()
                }
            },
            Expr::Reference(inner) => self.carried(&inner.expr),
            Expr::Paren(inner) => self.carried(&inner.expr),
            Expr::Group(inner) => self.carried(&inner.expr),
            Expr::Unary(inner) => self.carried(&inner.expr),
            Expr::Await(inner) => self.carried(&inner.base),
            Expr::Try(inner) => self.carried(&inner.expr),
            Expr::MethodCall(call) => self.of_call(call),
            Expr::Call(call) => {
                let Expr::Path(function) = &*call.func else { return None };
                let path = segments(&function.path);
                if let Some(kind) = self.opened(&function.path, function.qself.as_ref()) {
                    return Some(kind);
                }
                let (last, above) = path.split_last()?;
                if WRAPPERS.contains(&last.as_str()) || above.last().is_some_and(|of| WRAPPERS.contains(&of.as_str())) {
                    return call.args.first().and_then(|argument| self.carried(argument));
                }
                self.inventory.returns.get(last).copied()
            }
            Expr::Match(found) => found
                .arms
                .iter()
                .find_map(|arm| self.carried(&arm.body))
                .or_else(|| self.carried(&found.expr)),
            Expr::If(found) => self.of_block(&found.then_branch),
            Expr::Block(block) => self.of_block(&block.block),
            Expr::Unsafe(block) => self.of_block(&block.block),
            _ => None,
        }
    }

    fn of_block(&self, block: &syn::Block) -> Option<Kind> {
        let Some(syn::Stmt::Expr(tail, None)) = block.stmts.last() else {
            return None;
        };
        self.carried(tail)
    }

    fn of_path(&self, path: &syn::Path) -> Option<Kind> {
        if path.is_ident("self") {
            return self.own.as_ref()?.1;
        }
        if let Some(kind) = path
            .get_ident()
            .and_then(|name| self.variables.kinds.get(&name.to_string()))
        {
            return Some(*kind);
        }
        let meant = self.holder(path)?;
        let cell = self.inventory.statics.get(&meant).map(|_| Kind::Pool);
        cell.or_else(|| self.inventory.others.get(&meant).copied())
    }

    fn of_call(&self, call: &syn::ExprMethodCall) -> Option<Kind> {
        let method = call.method.to_string();
        let on = self.carried(&call.receiver);
        match (on, method.as_str()) {
            (Some(Kind::Pool), "begin") => return Some(Kind::Transaction),
            (Some(Kind::Pool), "acquire") => return Some(Kind::Lent),
            (Some(Kind::Pool), "get_or_init" | "get_or_try_init" | "wait") => return Some(Kind::Pool),
            (Some(Kind::PoolOptions), "connect" | "connect_with" | "connect_lazy" | "connect_lazy_with") => {
                return Some(Kind::Pool);
            }
            (Some(Kind::ConnectOptions), "connect") => return Some(Kind::Connection),
            // Builders.
            (Some(Kind::PoolOptions | Kind::ConnectOptions), _) => return on,
            _ => {}
        }
        if on.is_some() && PASSING.contains(&method.as_str()) {
            return on;
        }
        self.inventory.returns.get(&method).copied().filter(|_| on.is_none())
    }

    /// What `Type::function(…)` makes, for the types this command knows.
    fn opened(&self, path: &syn::Path, of: Option<&syn::QSelf>) -> Option<Kind> {
        let (kind, method) = owner(self.names, &self.at, path, of)?;
        match (kind, method.as_str()) {
            (Kind::PoolOptions | Kind::ConnectOptions, _) => Some(kind),
            (Kind::Pool, "connect" | "connect_with" | "connect_lazy" | "connect_lazy_with") => Some(Kind::Pool),
            (Kind::Connection, "connect" | "connect_with") => Some(Kind::Connection),
            _ => None,
        }
    }
}

/// The kind and the function of a path like `PgPool::connect` or `<PgConnection as Connection>::connect`.
pub(super) fn owner(names: &Names, at: &Absolute, path: &syn::Path, of: Option<&syn::QSelf>) -> Option<(Kind, String)> {
    let method = path.segments.last()?.ident.to_string();
    if let Some(of) = of {
        let Type::Path(of) = &*of.ty else { return None };
        return names.kind_of_path(at, &of.path).map(|(kind, _)| (kind, method));
    }
    let mut above = path.clone();
    above.segments.pop();
    above.segments.pop_punct();
    names.kind_of_path(at, &above).map(|(kind, _)| (kind, method))
}

fn untyped(pat: &Pat) -> &Pat {
    if let Pat::Type(typed) = pat { &typed.pat } else { pat }
}

enum Binding<'ast> {
    Value(&'ast Pat, &'ast Expr),
    Typed(&'ast Pat, &'ast Type),
}

struct Bindings<'ast>(Vec<Binding<'ast>>);

impl<'ast> Visit<'ast> for Bindings<'ast> {
    fn visit_local(&mut self, local: &'ast syn::Local) {
        if let Some(init) = &local.init {
            self.0.push(Binding::Value(&local.pat, &init.expr));
        } else if let Pat::Type(typed) = &local.pat {
            self.0.push(Binding::Typed(&typed.pat, &typed.ty));
        }
        visit::visit_local(self, local);
    }

    fn visit_expr_let(&mut self, found: &'ast syn::ExprLet) {
        self.0.push(Binding::Value(&found.pat, &found.expr));
        visit::visit_expr_let(self, found);
    }

    fn visit_expr_match(&mut self, found: &'ast syn::ExprMatch) {
        for arm in &found.arms {
            self.0.push(Binding::Value(&arm.pat, &found.expr));
        }
        visit::visit_expr_match(self, found);
    }

    fn visit_expr_closure(&mut self, closure: &'ast syn::ExprClosure) {
        for input in &closure.inputs {
            if let Pat::Type(typed) = input {
                self.0.push(Binding::Typed(&typed.pat, &typed.ty));
            }
        }
        visit::visit_expr_closure(self, closure);
    }

    fn visit_expr_assign(&mut self, _: &'ast syn::ExprAssign) {}
}

/// The variables that a pattern binds; not those of `Err(…)`.
struct Idents(Vec<String>);

impl<'ast> Visit<'ast> for Idents {
    fn visit_pat_ident(&mut self, pat: &'ast syn::PatIdent) {
        self.0.push(pat.ident.to_string());
        visit::visit_pat_ident(self, pat);
    }

    fn visit_pat_tuple_struct(&mut self, pat: &'ast syn::PatTupleStruct) {
        if !pat.path.is_ident("Err") {
            visit::visit_pat_tuple_struct(self, pat);
        }
    }
}
