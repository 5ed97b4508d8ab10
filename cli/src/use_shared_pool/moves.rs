//! The move of one file: what is replaced, what stands in the way, what the reader should know.
//!
//! Nothing is changed here; edits are collected. What stands in the way of a file's own pool or connection stands in the
//! way of its whole unit.

use std::collections::{BTreeSet, HashSet};
use std::ops::Range;

use proc_macro2::{TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Attribute, Expr, Stmt, Type};

use super::edit::{Edit, remove};
use super::imports;
use super::inventory::{Carriers, Inventory, Variables, WRAPPERS, kind_in, owner};
use super::macros;
use super::names::{Absolute, Kind, Names, is_local, is_sqlx, module, segments};
use super::sites::{Base, Origin, Peeled, Source, Wrapped, foreign, lazy, line, peel, source};
use super::tree::File;

/// What `shared` has for sqlx's types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Target {
    /// For a pool.
    SharedPool,
    /// For a transaction.
    Transaction,
    /// For a connection that is owned.
    Held,
    /// For a connection that is borrowed.
    Session,
}

impl Target {
    /// Its name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::SharedPool => "SharedPool",
            Self::Transaction => "Transaction",
            Self::Held => "Held",
            Self::Session => "Session",
        }
    }

    /// Where it is.
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::SharedPool => "shared::SharedPool",
            Self::Transaction => "shared::db::Transaction",
            Self::Held => "shared::db::Held",
            Self::Session => "shared::db::Session",
        }
    }
}

/// A line about a place in a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Remark {
    /// 1-based.
    pub(super) line: usize,
    /// What there is to say.
    pub(super) text: String,
}

/// What was found in one file.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// What to change; import lines apart.
    pub(super) edits: Vec<Edit>,
    /// Names that modules need to import.
    pub(super) needs: BTreeSet<(Absolute, Target)>,
    /// Where connections are opened that can be moved.
    pub(super) sites: Vec<Remark>,
    /// What keeps the unit from being moved.
    pub(super) blockers: Vec<Remark>,
    /// What is left as it is, and keeps nothing else from being moved.
    pub(super) left: Vec<Remark>,
    /// What the move changes that the code does not show.
    pub(super) notes: Vec<Remark>,
}

/// Looks through a file of a unit.
pub(super) fn look(names: &Names, inventory: &Inventory, unfit: Option<&str>, file: &File) -> Found {
    let mut mover = Mover {
        file,
        unfit,
        first_line: file.text[..file.offset].matches('\n').count(),
        carriers: Carriers {
            inventory,
            names,
            at: module(file.target, &file.module),
            own: None,
            variables: Variables::default(),
        },
        module: file.module.clone(),
        kept: 0,
        nested: 0,
        open: false,
        found: Found::default(),
    };
    mover.kept = usize::from(file.ast.attrs.iter().any(keeps));
    visit::visit_file(&mut mover, &file.ast);
    mover.found
}

/// Methods of sqlx's types that the shared ones do not have.
fn missing(kind: Kind, method: &str) -> bool {
    let pool = [
        "begin_with",
        "close_event",
        "connect_options",
        "is_closed",
        "num_idle",
        "options",
        "set_connect_options",
        "size",
        "try_acquire",
        "try_begin",
        "try_begin_with",
    ];
    let connection = [
        "acquire",
        "begin",
        "begin_with",
        "cached_statements_size",
        "clear_cached_statements",
        "close_hard",
        "close_on_drop",
        "copy_in_raw",
        "copy_out_raw",
        "detach",
        "is_in_transaction",
        "leak",
        "ping",
        "return_to_pool",
        "server_version_num",
        "shrink_buffers",
        "transaction",
    ];
    match kind {
        Kind::Pool => pool.contains(&method),
        Kind::Connection | Kind::Lent | Kind::Transaction => connection.contains(&method),
        Kind::PoolOptions | Kind::ConnectOptions => false,
    }
}

/// Methods that take an executor, or keep what they are given.
const TAKING: [&str; 24] = [
    "app_data",
    "data",
    "execute",
    "execute_many",
    "extension",
    "fetch",
    "fetch_all",
    "fetch_many",
    "fetch_one",
    "fetch_optional",
    "get_or_insert",
    "insert",
    "layer",
    "manage",
    "or_insert",
    "provide",
    "push",
    "replace",
    "send",
    "set",
    "store",
    "unwrap_or",
    "with_pool",
    "with_state",
];

/// The ones of `TAKING` that send a statement.
const STATEMENTS: [&str; 7] = [
    "execute",
    "execute_many",
    "fetch",
    "fetch_all",
    "fetch_many",
    "fetch_one",
    "fetch_optional",
];

/// Hooks on connections, which the shared pool has no place for.
const HOOKS: [&str; 3] = ["after_connect", "after_release", "before_acquire"];

/// An attribute that says: this connection is meant to be.
fn keeps(attribute: &Attribute) -> bool {
    let level = attribute.path().is_ident("allow") || attribute.path().is_ident("expect");
    let syn::Meta::List(list) = &attribute.meta else {
        return false;
    };
    let lints = list.tokens.to_string();
    level && (lints.contains("disallowed_types") || lints.contains("disallowed_methods"))
}

struct Mover<'a> {
    file: &'a File,
    unfit: Option<&'a str>,
    first_line: usize,
    carriers: Carriers<'a>,
    module: Vec<String>,
    /// How many attributes around say that connections are meant to be.
    kept: usize,
    /// How many closures and async blocks of the function are around.
    nested: usize,
    /// Whether a transaction or a connection is held at this point of the function.
    open: bool,
    found: Found,
}

impl Mover<'_> {
    fn range(&self, of: &impl Spanned) -> Range<usize> {
        let range = of.span().byte_range();
        range.start + self.file.offset..range.end + self.file.offset
    }

    fn source_of(&self, of: &impl Spanned) -> &str {
        &self.file.text[self.range(of)]
    }

    fn edit(&mut self, of: &impl Spanned, with: impl Into<String>) {
        let range = self.range(of);
        self.found.edits.push(Edit {
            range,
            with: with.into(),
        });
    }

    fn remark(&self, line: usize, text: impl Into<String>) -> Remark {
        Remark {
            line: line + self.first_line,
            text: text.into(),
        }
    }

    fn block(&mut self, line: usize, text: impl Into<String>) {
        let remark = self.remark(line, text);
        self.found.blockers.push(remark);
    }

    fn note(&mut self, line: usize, text: impl Into<String>) {
        let remark = self.remark(line, text);
        if !self.found.notes.contains(&remark) {
            self.found.notes.push(remark);
        }
    }

    /// How `target` is written here, where `path` stood; imported if `path` was a name of this module.
    fn named(&mut self, target: Target, path: Option<&syn::Path>) -> String {
        let module = &self.carriers.at;
        let short = match path {
            Some(path) => {
                let aliased = self
                    .carriers
                    .names
                    .kind_of_path(module, path)
                    .is_some_and(|(_, aliased)| aliased);
                path.segments.len() == 1 && !aliased
            }
            // Nothing stood there: a name that is imported anyway, else the whole path.
            None => imports::anchored(self.carriers.names, self.carriers.inventory, self.file, &self.module),
        };
        if short {
            self.found.needs.insert((module.clone(), target));
            target.name().to_owned()
        } else {
            target.path().to_owned()
        }
    }

    /// Replaces a type's path.
    fn retype(&mut self, path: &syn::Path, kind: Kind, aliased: bool, borrowed: bool) {
        let target = match kind {
            Kind::Pool => Target::SharedPool,
            Kind::Transaction => Target::Transaction,
            Kind::Lent => Target::Held,
            Kind::Connection if borrowed => Target::Session,
            Kind::Connection => Target::Held,
            Kind::PoolOptions | Kind::ConnectOptions => return,
        };
        if aliased {
            // The alias itself is changed where it is declared.
            return;
        }
        let mut with = self.named(target, Some(path));
        if kind == Kind::Transaction
            && let Some(last) = path.segments.last()
            && let syn::PathArguments::AngleBracketed(arguments) = &last.arguments
            && let Some(syn::GenericArgument::Lifetime(lifetime)) = arguments.args.first()
        {
            with = format!("{with}<{lifetime}>");
        }
        self.edit(path, with);
    }

    /// Replaces an expression that opens connections, or takes a pool out of its static. Says whether it did.
    fn replace(&mut self, expr: &Expr, place: Place) -> bool {
        if let Some((_, path)) = lazy(&self.carriers, expr) {
            let name = self.named(Target::SharedPool, single(&path.path).then_some(&path.path));
            self.edit(expr, name);
            return true;
        }
        let Some(Peeled {
            base,
            ready,
            bare,
            adapted,
        }) = peel(&self.carriers, expr)
        else {
            return false;
        };
        if base.origin == Origin::Connection {
            // Its result is used as before: only the innermost call is another one.
            if !std::ptr::eq(base.expr, expr) {
                return false;
            }
            self.site(&base);
            let name = self.named(Target::SharedPool, None);
            self.open = true;
            self.edit(expr, format!("{name}.acquire()"));
            return true;
        }
        let tail = place == Place::Tail;
        if ready && !bare && adapted && !tail {
            return false;
        }
        self.site(&base);
        let from_static = matches!(base.origin, Origin::Static(_));
        let written = base.path.map(|path| {
            let mut of = path.clone();
            of.segments.pop();
            of.segments.pop_punct();
            of
        });
        let name = if let Origin::Set(_) = base.origin {
            "()".to_owned()
        } else {
            self.named(Target::SharedPool, written.as_ref())
        };
        let value = if from_static && place != Place::Receiver {
            format!("&{name}")
        } else {
            name
        };
        let failing = base.wrapped == Wrapped::Result || adapted;
        let with = match (ready, bare) {
            (true, true) => value,
            (true, false) if base.origin == Origin::Pool && !tail => format!("Ok::<_, sqlx::Error>({value})"),
            (true, false) if matches!(base.origin, Origin::Set(_)) => "Ok::<(), ()>(())".to_owned(),
            (true, false) if !failing => format!("Some({value})"),
            (true, false) if tail => format!("Ok({value})"),
            (true, false) => format!("Ok::<_, sqlx::Error>({value})"),
            (false, _) if base.wrapped == Wrapped::Bare => format!("async {{ {value} }}"),
            (false, _) => format!("async {{ Ok::<_, sqlx::Error>({value}) }}"),
        };
        let with = if !ready && place == Place::Receiver {
            format!("({with})")
        } else {
            with
        };
        self.edit(expr, with);
        true
    }

    /// Reports what is opened, and looks at whether it can be moved.
    fn site(&mut self, base: &Base<'_>) {
        let at = line(base.expr);
        let what = match &base.origin {
            Origin::Pool => "opens a pool of its own",
            Origin::Connection => "opens a connection of its own",
            Origin::Static(_) | Origin::Set(_) => {
                // What it is made from counts, and is not looked at again.
                base.arguments
                    .iter()
                    .for_each(|argument| Inside(self).visit_expr(argument));
                return;
            }
        };
        let remark = self.remark(at, what);
        self.found.sites.push(remark);
        if let Some(unfit) = self.unfit {
            self.block(at, unfit);
        }
        if self.kept > 0 {
            self.block(at, "an attribute allows it to open connections: it is meant to");
        }
        match source(&self.carriers, &base.arguments) {
            Some(Source::Variable(name)) => self.block(
                at,
                format!("connects to the database that {name} names; the shared pool knows one, that of DATABASE_URL"),
            ),
            Some(Source::Literal) => self.note(at, "the database is written here; from now on DATABASE_URL names it"),
            None => {}
        }
        let hook = base
            .settings
            .iter()
            .find(|setting| HOOKS.contains(&setting.method.to_string().as_str()));
        if let Some(hook) = hook {
            let text = format!(
                "`{}` sets connections up, which the shared pool does not let its users do",
                hook.method
            );
            self.block(hook.method.span().start().line, text);
        }
        let limit = base.settings.iter().find(|setting| setting.method == "max_connections");
        if let Some(number) = limit.and_then(|limit| limit.args.first()) {
            let number = self.source_of(number).to_owned();
            self.note(
                at,
                format!("max_connections({number}) is now connection_limit in DATABASE_URL, which is 1 where it is not given"),
            );
        }
        let others = base.settings.iter().map(|setting| setting.method.to_string());
        let others: Vec<_> = others
            .filter(|name| name != "max_connections" && !HOOKS.contains(&name.as_str()))
            .collect();
        if !others.is_empty() {
            self.note(at, format!("without effect from now on: {}", others.join(", ")));
        }
    }

    /// Looks at what a pool or a connection is given to.
    fn given(&mut self, call: &str, known: bool, arguments: &syn::punctuated::Punctuated<Expr, syn::Token![,]>) {
        if known {
            return;
        }
        for argument in arguments {
            let carried = self.carriers.carried(argument);
            // A future is given, and its value stays here.
            let later = peel(&self.carriers, argument).is_some_and(|peeled| !peeled.ready);
            if let Some(kind) = carried
                && !later
                && !matches!(kind, Kind::PoolOptions | Kind::ConnectOptions)
            {
                let text =
                    format!("`{call}` is given a pool or a connection of sqlx, and is no part of the scanned code");
                self.block(line(argument), text);
            }
        }
    }

    fn function(&mut self, attrs: &[Attribute], signature: &syn::Signature, body: &syn::Block) {
        let kept = usize::from(attrs.iter().any(keeps));
        let outer = (self.carriers.variables.clone(), self.open, self.nested);
        self.carriers.enter(signature, body);
        (self.open, self.nested) = (false, 0);
        self.kept += kept;
        let test = attrs.iter().find(|attribute| {
            let path = segments(attribute.path());
            is_sqlx(&self.carriers.names.resolve(&self.carriers.at, &path))
                && path.last().is_some_and(|last| last == "test")
        });
        if let Some(test) = test
            && !signature.inputs.is_empty()
        {
            let text =
                "`#[sqlx::test]` gives the test a pool of sqlx: take one from `shared` on a database of the test's own";
            self.block(test.span().start().line, text);
        }
        attrs.iter().for_each(|attribute| self.visit_attribute(attribute));
        self.visit_signature(signature);
        let tail = matches!(&signature.output, syn::ReturnType::Type(..));
        if let (true, Some((Stmt::Expr(last, None), above))) = (tail, body.stmts.split_last()) {
            above.iter().for_each(|statement| self.visit_stmt(statement));
            if !self.replace(last, Place::Tail) {
                self.visit_expr(last);
            }
        } else {
            self.visit_block(body);
        }
        self.kept -= kept;
        (self.carriers.variables, self.open, self.nested) = outer;
    }

    /// `pool.close().await`, which nobody may do to a pool that others use.
    fn closes(&self, expr: &Expr) -> bool {
        let call = if let Expr::Await(awaited) = expr {
            &*awaited.base
        } else {
            expr
        };
        let Expr::MethodCall(call) = call else { return false };
        call.method == "close" && self.carriers.carried(&call.receiver) == Some(Kind::Pool)
    }

    /// A statement that puts the pool into a static that goes.
    fn sets(&self, expr: &Expr) -> bool {
        let mut at = expr;
        loop {
            if let Some(peeled) = peel(&self.carriers, at) {
                return matches!(peeled.base.origin, Origin::Set(_));
            }
            let Expr::MethodCall(call) = at else { return false };
            at = &call.receiver;
        }
    }

    /// Whether an expression applies migrations, by itself or as a variable or a static.
    fn is_migrator(&self, expr: &Expr) -> bool {
        struct Mentions(bool);
        impl<'ast> Visit<'ast> for Mentions {
            fn visit_path(&mut self, path: &'ast syn::Path) {
                self.0 |= path
                    .segments
                    .iter()
                    .any(|segment| segment.ident == "Migrator" || segment.ident == "migrate");
            }
        }
        let variable = |name: String| {
            self.carriers.inventory.migrators.contains(&name)
                || self.carriers.variables.values.get(&name).is_some_and(|value| {
                    let mut mentions = Mentions(false);
                    mentions.visit_expr(value);
                    mentions.0
                })
        };
        match expr {
            Expr::Path(path) => path
                .path
                .segments
                .last()
                .is_some_and(|last| variable(last.ident.to_string())),
            Expr::Macro(mac) => mac.mac.path.segments.last().is_some_and(|last| last.ident == "migrate"),
            _ => false,
        }
    }

    /// Looks for names that matter in a macro that cannot be read.
    fn scan(&mut self, mac: &syn::Macro, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut joined = false;
        for token in tokens {
            match token {
                TokenTree::Group(group) => self.scan(mac, group.stream()),
                TokenTree::Ident(name) => {
                    if !joined {
                        path.clear();
                    }
                    path.push(name.to_string());
                    self.scanned(mac, &path, name.span().start().line);
                    joined = false;
                }
                TokenTree::Punct(mark) => joined = mark.as_char() == ':',
                TokenTree::Literal(_) => joined = false,
            }
        }
    }

    fn scanned(&mut self, mac: &syn::Macro, path: &[String], line: usize) {
        let (names, at) = (self.carriers.names, self.carriers.at.clone());
        let (Some((last, above)), Some(of)) = (path.split_last(), mac.path.segments.last()) else {
            return;
        };
        if names.kind_of_import(&at, above).is_some() && last.starts_with("connect") {
            let remark = self.remark(line, format!("opens connections of its own inside `{}!`", of.ident));
            self.found.sites.push(remark);
        }
        let holder = self.carriers.inventory.statics.contains_key(&names.resolve(&at, path));
        if holder || names.kind_of_import(&at, path).is_some() {
            let text = format!("`{last}` is inside `{}!`, which cannot be read as Rust", of.ident);
            self.block(line, text);
        }
    }

    fn remove(&mut self, range: Range<usize>) {
        self.found.edits.push(remove(&self.file.text, range));
    }
}

fn single(path: &syn::Path) -> bool {
    path.segments.len() == 1
}

/// Where an expression stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// A method is called on it.
    Receiver,
    /// It is what a function returns, whose type is written.
    Tail,
    /// Anywhere else.
    Other,
}

/// Looks at the connects inside an expression that goes as a whole.
struct Inside<'m, 'a>(&'m mut Mover<'a>);

impl<'ast> Visit<'ast> for Inside<'_, '_> {
    fn visit_expr(&mut self, expr: &'ast Expr) {
        if let Some(peeled) = peel(&self.0.carriers, expr)
            && std::ptr::eq(peeled.base.expr, expr)
        {
            self.0.site(&peeled.base);
        }
        visit::visit_expr(self, expr);
    }

    // A closure's variables are the function's.
    fn visit_item(&mut self, _: &'ast syn::Item) {}
}

impl<'ast> Visit<'ast> for Mover<'_> {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        let kept = usize::from(item.attrs.iter().any(keeps));
        self.kept += kept;
        self.module.push(item.ident.to_string());
        let outer = std::mem::replace(&mut self.carriers.at, module(self.file.target, &self.module));
        visit::visit_item_mod(self, item);
        self.carriers.at = outer;
        self.module.pop();
        self.kept -= kept;
    }

    // Imports are dealt with when everything else is known.
    fn visit_item_use(&mut self, _: &'ast syn::ItemUse) {}

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        let kept = usize::from(item.attrs.iter().any(keeps));
        let name = if let Type::Path(own) = &*item.self_ty {
            own.path.segments.last().map(|last| last.ident.to_string())
        } else {
            None
        };
        let kind = kind_in(self.carriers.names, &self.carriers.at, &item.self_ty);
        let outer = self.carriers.own.replace((name.unwrap_or_default(), kind));
        self.kept += kept;
        visit::visit_item_impl(self, item);
        self.kept -= kept;
        self.carriers.own = outer;
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.function(&item.attrs, &item.sig, &item.block);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.function(&item.attrs, &item.sig, &item.block);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        match &item.default {
            Some(body) => self.function(&item.attrs, &item.sig, body),
            None => visit::visit_trait_item_fn(self, item),
        }
    }

    fn visit_item_static(&mut self, item: &'ast syn::ItemStatic) {
        let mut path = self.carriers.at.clone();
        path.push(item.ident.to_string());
        if self.carriers.inventory.statics.contains_key(&path) {
            Inside(self).visit_expr(&item.expr);
            self.remove(self.range(item));
        } else {
            visit::visit_item_static(self, item);
        }
    }

    fn visit_item_macro(&mut self, item: &'ast syn::ItemMacro) {
        let all = macros::lazy_statics(&item.mac);
        let statics = |name: &syn::Ident| {
            let mut path = self.carriers.at.clone();
            path.push(name.to_string());
            self.carriers.inventory.statics.contains_key(&path)
        };
        let going: Vec<bool> = all.iter().map(|lazy| statics(&lazy.name)).collect();
        if all.is_empty() {
            return self.visit_macro(&item.mac);
        }
        for (lazy, &goes) in all.iter().zip(&going) {
            if goes {
                Inside(self).visit_expr(&lazy.value);
                let range = lazy.range.start + self.file.offset..lazy.range.end + self.file.offset;
                self.remove(range);
            } else {
                self.visit_type(&lazy.of);
                self.visit_expr(&lazy.value);
            }
        }
        if going.iter().all(|goes| *goes) {
            self.remove(self.range(item));
        }
    }

    fn visit_macro(&mut self, mac: &'ast syn::Macro) {
        match macros::expressions(mac) {
            Some(all) => all.iter().for_each(|expr| self.visit_expr(expr)),
            None => self.scan(mac, mac.tokens.clone()),
        }
    }

    fn visit_type_reference(&mut self, of: &'ast syn::TypeReference) {
        if let (true, Type::Path(inner)) = (of.mutability.is_some(), &*of.elem)
            && let Some((Kind::Connection, aliased)) = self.carriers.names.kind_of_path(&self.carriers.at, &inner.path)
        {
            return self.retype(&inner.path, Kind::Connection, aliased, true);
        }
        visit::visit_type_reference(self, of);
    }

    fn visit_type_path(&mut self, of: &'ast syn::TypePath) {
        match self.carriers.names.kind_of_path(&self.carriers.at, &of.path) {
            Some((kind, aliased)) if of.qself.is_none() => self.retype(&of.path, kind, aliased, false),
            _ => visit::visit_type_path(self, of),
        }
    }

    fn visit_trait_bound(&mut self, bound: &'ast syn::TraitBound) {
        let meant = self.carriers.names.resolve(&self.carriers.at, &segments(&bound.path));
        if is_sqlx(&meant) && meant.last().is_some_and(|last| last == "Acquire") {
            self.block(
                bound.span().start().line,
                "takes whatever implements sqlx's `Acquire`, which the shared pool does not",
            );
        }
        visit::visit_trait_bound(self, bound);
    }

    fn visit_stmt(&mut self, statement: &'ast Stmt) {
        if let Stmt::Expr(expr, Some(_)) = statement
            && (self.closes(expr) || self.sets(expr))
        {
            if self.sets(expr) {
                Inside(self).visit_expr(expr);
            }
            return self.remove(self.range(statement));
        }
        if let Stmt::Local(local) = statement
            && let (syn::Pat::Wild(_), Some(init)) = (&local.pat, &local.init)
            && self.sets(&init.expr)
        {
            Inside(self).visit_expr(&init.expr);
            return self.remove(self.range(statement));
        }
        let kept = if let Stmt::Local(local) = statement {
            local.attrs.iter().any(keeps)
        } else {
            false
        };
        self.kept += usize::from(kept);
        visit::visit_stmt(self, statement);
        self.kept -= usize::from(kept);
    }

    fn visit_expr(&mut self, expr: &'ast Expr) {
        if self.closes(expr) {
            let with = if matches!(expr, Expr::Await(_)) {
                "()"
            } else {
                "async {}"
            };
            return self.edit(expr, with);
        }
        if !self.replace(expr, Place::Other) {
            visit::visit_expr(self, expr);
        }
    }

    fn visit_expr_return(&mut self, returned: &'ast syn::ExprReturn) {
        match &returned.expr {
            Some(value) if self.nested == 0 && self.replace(value, Place::Tail) => {}
            _ => visit::visit_expr_return(self, returned),
        }
    }

    fn visit_expr_closure(&mut self, closure: &'ast syn::ExprClosure) {
        self.nested += 1;
        visit::visit_expr_closure(self, closure);
        self.nested -= 1;
    }

    fn visit_expr_async(&mut self, block: &'ast syn::ExprAsync) {
        self.nested += 1;
        visit::visit_expr_async(self, block);
        self.nested -= 1;
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        let method = call.method.to_string();
        let at = call.method.span().start().line;
        let on = self.carriers.carried(&call.receiver);
        if let Some(kind) = on
            && missing(kind, &method)
        {
            self.block(
                at,
                format!("calls `{method}`, which the shared pool and its connections do not have"),
            );
        }
        match (on, method.as_str()) {
            (Some(Kind::Pool), "begin") => self.open = true,
            (Some(Kind::Pool), "acquire") => {
                self.open = true;
                self.note(
                    at,
                    "an acquired connection is closed after use: send statements to the pool itself where it will do",
                );
            }
            (Some(Kind::Transaction), "commit" | "rollback") => self.open = false,
            (Some(Kind::Connection | Kind::Lent), "close") => self.open = false,
            _ => {}
        }
        let to_pool = call
            .args
            .iter()
            .any(|argument| self.carriers.carried(argument) == Some(Kind::Pool));
        if STATEMENTS.contains(&method.as_str()) && to_pool && self.open {
            let text =
                "sent to the pool while a connection is held above: with connection_limit=1 it waits in vain for it";
            self.note(at, text);
        }
        let migrates = self.is_migrator(&call.receiver);
        let gives = call
            .args
            .iter()
            .any(|argument| self.carriers.carried(argument).is_some());
        if migrates && gives {
            self.block(
                at,
                "applies migrations, which functions do not: leave that to `cargo seer migrate`",
            );
        } else {
            let defined = &self.carriers.inventory.defined;
            let known = TAKING.contains(&method.as_str()) || defined.contains(&method);
            self.given(&method, known, &call.args);
        }
        if !self.replace(&call.receiver, Place::Receiver) {
            self.visit_expr(&call.receiver);
        }
        if let Some(generics) = &call.turbofish {
            self.visit_angle_bracketed_generic_arguments(generics);
        }
        call.args.iter().for_each(|argument| self.visit_expr(argument));
    }

    fn visit_expr_call(&mut self, call: &'ast syn::ExprCall) {
        if let Expr::Path(function) = &*call.func {
            let path = segments(&function.path);
            let meant = self.carriers.names.resolve(&self.carriers.at, &path);
            let last = path.last().cloned().unwrap_or_default();
            if let Some(reason) = foreign(&self.carriers, &function.path) {
                let remark = self.remark(call.span().start().line, reason);
                self.found.left.push(remark);
            } else if is_sqlx(&meant) && meant.iter().any(|name| name == "PgListener") && last.starts_with("connect") {
                let text = "`PgListener` listens on a connection of its own, and hears nothing while its environment is frozen";
                let remark = self.remark(call.span().start().line, text);
                if last == "connect_with" {
                    self.found.blockers.push(remark);
                } else {
                    self.found.left.push(remark);
                }
            } else {
                let above = path.len().checked_sub(2).and_then(|place| path.get(place));
                let wraps =
                    WRAPPERS.contains(&last.as_str()) || above.is_some_and(|of| WRAPPERS.contains(&of.as_str()));
                let variable = meant.len() == 1 && function.path.get_ident().is_some();
                let ours = is_local(&meant) || self.carriers.inventory.defined.contains(&last) || last == "Self";
                let method_of_ours = owner(
                    self.carriers.names,
                    &self.carriers.at,
                    &function.path,
                    function.qself.as_ref(),
                );
                let known = wraps || variable || ours || method_of_ours.is_some();
                self.given(&path.join("::"), known, &call.args);
            }
        }
        visit::visit_expr_call(self, call);
    }

    fn visit_expr_path(&mut self, path: &'ast syn::ExprPath) {
        if let Some((kind, method)) = owner(self.carriers.names, &self.carriers.at, &path.path, path.qself.as_ref()) {
            match kind {
                Kind::Pool | Kind::Connection if method.starts_with("connect") => {
                    let remark = self.remark(path.span().start().line, "opens connections of its own");
                    self.found.sites.push(remark);
                    self.block(
                        path.span().start().line,
                        format!("`{method}` is passed on as a function: call it instead"),
                    );
                }
                Kind::Pool | Kind::Connection | Kind::Lent | Kind::Transaction => {
                    self.block(path.span().start().line, format!("calls sqlx's `{method}` by its path"));
                }
                Kind::PoolOptions | Kind::ConnectOptions => {}
            }
        }
        visit::visit_expr_path(self, path);
    }
}

/// Which statics can go: all their uses are ones that this command replaces.
pub(super) fn replaceable(names: &Names, inventory: &Inventory, files: &[&File]) -> HashSet<Absolute> {
    let mut going: HashSet<Absolute> = inventory.statics.keys().cloned().collect();
    for file in files {
        let mut uses = Uses {
            carriers: Carriers {
                inventory,
                names,
                at: module(file.target, &file.module),
                own: None,
                variables: Variables::default(),
            },
            target: file.target,
            module: file.module.clone(),
            others: Vec::new(),
        };
        uses.visit_file(&file.ast);
        uses.others.iter().for_each(|other| {
            going.remove(other);
        });
    }
    going
}

/// The statics that are used in a way this command does not replace.
struct Uses<'a> {
    carriers: Carriers<'a>,
    target: usize,
    module: Vec<String>,
    others: Vec<Absolute>,
}

impl<'ast> Visit<'ast> for Uses<'_> {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.module.push(item.ident.to_string());
        let outer = std::mem::replace(&mut self.carriers.at, module(self.target, &self.module));
        visit::visit_item_mod(self, item);
        self.carriers.at = outer;
        self.module.pop();
    }

    fn visit_item_use(&mut self, _: &'ast syn::ItemUse) {}

    fn visit_expr(&mut self, expr: &'ast Expr) {
        let based = peel(&self.carriers, expr).is_some_and(|peeled| {
            std::ptr::eq(peeled.base.expr, expr) && matches!(peeled.base.origin, Origin::Static(_) | Origin::Set(_))
        });
        if lazy(&self.carriers, expr).is_some() {
            return;
        }
        if let (true, Expr::MethodCall(call)) = (based, expr) {
            return call.args.iter().for_each(|argument| self.visit_expr(argument));
        }
        visit::visit_expr(self, expr);
    }

    fn visit_expr_path(&mut self, path: &'ast syn::ExprPath) {
        self.others.extend(self.carriers.holder(&path.path));
    }

    fn visit_macro(&mut self, mac: &'ast syn::Macro) {
        if let Some(all) = macros::expressions(mac) {
            all.iter().for_each(|expr| self.visit_expr(expr));
        }
    }
}
