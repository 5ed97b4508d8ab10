//! Traverses a file's syntax tree and calls the checks for each node.
//!
//! Invariants: does not decide how a position is moved; defines for which purposes a pool or a connection may not be
//! used.

use syn::spanned::Spanned as _;
use syn::visit::{self, Visit};
use syn::{Expr, Stmt, Type};

use super::super::carriers::{WRAPPERS, owner};
use super::super::inventory::kind_in;
use super::super::macros;
use super::super::names::{Kind, is_local, is_sqlx, module, segments};
use super::super::sites::foreign;
use super::openings::Inside;
use super::{Mover, Position, keeps};

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

/// Methods that take an executor, or keep their argument.
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

/// The methods of `TAKING` that send a statement.
const STATEMENTS: [&str; 7] = [
    "execute",
    "execute_many",
    "fetch",
    "fetch_all",
    "fetch_many",
    "fetch_one",
    "fetch_optional",
];

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

    // Imports are edited at the end, when everything else is known.
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
            _ => {
                let other = self
                    .carriers
                    .names
                    .kind_of_import(&self.carriers.at, &segments(&of.path));
                if let (Some(kind), true) = (other, of.qself.is_none())
                    && !matches!(kind, Kind::PoolOptions | Kind::ConnectOptions)
                {
                    let text = format!(
                        "`{}` is for any database, or for another than PostgreSQL: the shared pool is PostgreSQL's alone",
                        self.source_of(&of.path)
                    );
                    self.block(of.span().start().line, text);
                }
                visit::visit_type_path(self, of);
            }
        }
    }

    fn visit_trait_bound(&mut self, bound: &'ast syn::TraitBound) {
        let meant = self.carriers.names.resolve(&self.carriers.at, &segments(&bound.path));
        if is_sqlx(&meant) && meant.last().is_some_and(|last| last == "Acquire") {
            self.block(
                bound.span().start().line,
                "accepts any type that implements sqlx's `Acquire`, which the shared pool does not",
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
        if !self.replace(expr, Position::Other) {
            visit::visit_expr(self, expr);
        }
    }

    fn visit_expr_return(&mut self, returned: &'ast syn::ExprReturn) {
        match &returned.expr {
            Some(value) if self.nested == 0 && self.replace(value, Position::Tail) => {}
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
            let text = "sent to the pool while a connection is held above: with connection_limit=1 it waits for that connection until it times out";
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
        if !self.replace(&call.receiver, Position::Receiver) {
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
            if is_sqlx(&meant) && meant.iter().any(|name| name == "PgListener") && last.starts_with("connect") {
                let text =
                    "`PgListener` listens on its own connection, and receives nothing while its environment is frozen";
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

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if let Some(reason) = foreign(&self.carriers, path) {
            let remark = self.remark(path.span().start().line, reason);
            if self.found.left.iter().all(|left| left.line != remark.line) {
                self.found.left.push(remark);
            }
        }
        visit::visit_path(self, path);
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
