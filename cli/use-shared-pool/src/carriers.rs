//! Determines whether the expressions of a function carry a pool, a connection, a transaction, or none of these.
//!
//! Works by name, like the inventory: a variable's kind holds everywhere in its function.

use std::collections::{HashMap, HashSet};

use syn::visit::{self, Visit};
use syn::{Expr, Member, Pat, Type};

use super::inventory::{Inventory, kind_in};
use super::names::{Absolute, Kind, Names, segments};

/// Methods that return their receiver, or the value inside it.
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

/// Functions that wrap their argument.
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

/// The kinds of a function's variables.
#[derive(Default, Clone)]
pub(super) struct Variables {
    /// Kinds, by name.
    pub(super) kinds: HashMap<String, Kind>,
    /// The expressions that variables are initialized with.
    pub(super) values: HashMap<String, Expr>,
    /// Names that also belong to a variable without a kind.
    plain: HashSet<String>,
}

/// Determines the kinds of expressions in one function of one module.
pub(super) struct Carriers<'a> {
    /// The unit's declarations.
    pub(super) inventory: &'a Inventory,
    /// Resolves names.
    pub(super) names: &'a Names,
    /// The module.
    pub(super) at: Absolute,
    /// The type of `self`, and its kind.
    pub(super) own: Option<(String, Option<Kind>)>,
    /// The function's variables.
    pub(super) variables: Variables,
}

impl<'a> Carriers<'a> {
    /// Returns those of a module, before any function of it is entered.
    pub(super) fn of(inventory: &'a Inventory, names: &'a Names, at: Absolute) -> Self {
        Self {
            inventory,
            names,
            at,
            own: None,
            variables: Variables::default(),
        }
    }

    /// Records a function's parameters and the variables of its body.
    pub(super) fn enter(&mut self, signature: &syn::Signature, body: &syn::Block) {
        self.variables = Variables::default();
        for input in &signature.inputs {
            if let syn::FnArg::Typed(input) = input
                && let Some(kind) = kind_in(self.names, &self.at, &input.ty)
            {
                self.bind(&input.pat, kind);
            } else if let syn::FnArg::Typed(input) = input {
                self.destructure(&input.pat);
                self.plain(&input.pat);
            }
        }
        // Two passes, because a variable can depend on one that is declared further down in another branch.
        let parameters = self.variables.plain.clone();
        for _ in 0..2 {
            self.variables.plain.clone_from(&parameters);
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
                            None => {
                                self.destructure(pat);
                                self.plain(pat);
                            }
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

    fn plain(&mut self, pat: &Pat) {
        if let Pat::Ident(name) = untyped(pat) {
            self.variables.plain.insert(name.ident.to_string());
        }
    }

    /// Returns whether the name through which an expression carries something may refer to something else here.
    pub(super) fn doubtful(&self, value: &Expr) -> bool {
        match value {
            Expr::Path(path) => {
                let name = path.path.get_ident().map(ToString::to_string);
                name.is_some_and(|name| self.variables.plain.contains(&name))
            }
            Expr::Field(field) => match (&field.member, self.own_field(field)) {
                (Member::Named(name), None) => self.inventory.plain.contains(&name.to_string()),
                (Member::Named(_), Some(_)) | (Member::Unnamed(_), _) => false,
            },
            Expr::Reference(inner) => self.doubtful(&inner.expr),
            Expr::Paren(inner) => self.doubtful(&inner.expr),
            Expr::Unary(inner) => self.doubtful(&inner.expr),
            Expr::Await(inner) => self.doubtful(&inner.base),
            Expr::Try(inner) => self.doubtful(&inner.expr),
            Expr::MethodCall(call) => match self.carried(&call.receiver) {
                Some(_) => self.doubtful(&call.receiver),
                None => self.inventory.plain.contains(&call.method.to_string()),
            },
            Expr::Call(call) => {
                let Expr::Path(function) = &*call.func else { return true };
                let last = function.path.segments.last();
                self.opened(&function.path, function.qself.as_ref()).is_none()
                    && last.is_some_and(|last| self.inventory.plain.contains(&last.ident.to_string()))
            }
            _ => true,
        }
    }

    /// Returns the kind of a field of `self` if its struct is known; the inner value is `None` if the field has no
    /// kind.
    fn own_field(&self, field: &syn::ExprField) -> Option<Option<Kind>> {
        let (Expr::Path(base), Member::Named(name)) = (&*field.base, &field.member) else {
            return None;
        };
        let (own, _) = self.own.as_ref().filter(|_| base.path.is_ident("self"))?;
        self.inventory.structs.get(&(own.clone(), name.to_string())).copied()
    }

    /// `AppState { pool, .. }`: the field determines the variable's kind.
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

    /// Returns the static that a path names.
    pub(super) fn holder(&self, path: &syn::Path) -> Option<Absolute> {
        let meant = self.names.resolve(&self.at, &segments(path));
        let known = self.inventory.statics.contains_key(&meant) || self.inventory.others.contains_key(&meant);
        known.then_some(meant)
    }

    /// Returns the kind of an expression's value.
    pub(super) fn carried(&self, value: &Expr) -> Option<Kind> {
        match value {
            Expr::Path(path) => self.of_path(&path.path),
            Expr::Field(field) => match &field.member {
                Member::Named(name) => match self.own_field(field) {
                    Some(known) => known,
                    None => self.inventory.fields.get(&name.to_string()).copied(),
                },
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

    /// Returns the kind that `Type::function(…)` creates, for the types this command knows.
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

/// Returns the kind and the function of a path like `PgPool::connect` or `<PgConnection as Connection>::connect`.
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

/// Collects the variables that a pattern binds; not those of `Err(…)`.
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
