//! Rewrites expressions that open connections; reports those it cannot rewrite.

use syn::Expr;
use syn::visit::{self, Visit};

use super::super::found::Replacement;
use super::super::sites::{Base, Origin, Peeled, Wrapped, lazy, line, peel};
use super::super::source::{Source, source};
use super::{Mover, Position, single};

/// Hooks on connections, which the shared pool does not support.
const HOOKS: [&str; 3] = ["after_connect", "after_release", "before_acquire"];

impl Mover<'_> {
    /// Replaces an expression that opens connections, or takes a pool out of its static. Returns whether it did.
    pub(super) fn replace(&mut self, expr: &Expr, position: Position) -> bool {
        if let Some((_, path)) = lazy(&self.carriers, expr) {
            let name = self.named(Replacement::SharedPool, single(&path.path).then_some(&path.path));
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
            // Its result is used as before: only the innermost call changes.
            if !std::ptr::eq(base.expr, expr) {
                return false;
            }
            self.site(&base);
            let name = self.named(Replacement::SharedPool, None);
            self.open = true;
            self.edit(expr, format!("{name}.acquire()"));
            return true;
        }
        let tail = position == Position::Tail;
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
            self.named(Replacement::SharedPool, written.as_ref())
        };
        let value = if from_static && position != Position::Receiver {
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
        let with = if !ready && position == Position::Receiver {
            format!("({with})")
        } else {
            with
        };
        self.edit(expr, with);
        true
    }

    /// Reports a connect, and checks whether it can be moved.
    fn site(&mut self, base: &Base<'_>) {
        let at = line(base.expr);
        let what = match &base.origin {
            Origin::Pool => "opens a pool of its own",
            Origin::Connection => "opens a connection of its own",
            Origin::Static(_) | Origin::Set(_) => {
                // Its arguments are counted, and not examined again.
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
        if let Expr::MethodCall(call) = base.expr {
            self.certain(&call.receiver);
        }
        match source(&self.carriers, &base.arguments) {
            Source::Variable(name) => self.block(
                at,
                format!("connects to the database that {name} names; the shared pool knows one, that of DATABASE_URL"),
            ),
            Source::Chosen(method) => self.block(
                at,
                format!("`{method}` chooses another database; the shared pool knows one, that of DATABASE_URL"),
            ),
            Source::Literal => self.note(at, "the database is written here; from now on DATABASE_URL names it"),
            Source::Named(name) => {
                let line = at + self.first_line;
                self.note(
                    at,
                    format!("`{name}` named the database; from now on DATABASE_URL does"),
                );
                self.found.databases.push((name, line));
            }
            Source::DatabaseUrl | Source::Given => {}
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

    /// Blocks the move if a name that decides a change may refer to something else.
    pub(super) fn certain(&mut self, named: &Expr) {
        if self.carriers.doubtful(named) {
            let text = format!(
                "`{}` is the name of a pool and of something else: give them different ones",
                self.source_of(named)
            );
            self.block(line(named), text);
        }
    }
}

/// Examines the connects inside an expression that is removed as a whole.
pub(super) struct Inside<'m, 'a>(pub(super) &'m mut Mover<'a>);

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
