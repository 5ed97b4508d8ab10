//! Determines which database a connect uses, as far as the surrounding code shows it.
//!
//! Follows the arguments through the variables of their function, and into `format!` strings. Does not follow return
//! values of other functions, or callers.

use syn::visit::{self, Visit};
use syn::{Expr, Lit};

use super::carriers::Carriers;
use super::macros;

/// The origin of the database address, as far as the function shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// The variable `DATABASE_URL`.
    DatabaseUrl,
    /// Another environment variable.
    Variable(String),
    /// A method of the options, on a value that was read from elsewhere.
    Chosen(String),
    /// A literal in the code.
    Literal,
    /// A field, a constant or a method of that name.
    Named(String),
    /// A parameter of the function.
    Given,
}

impl Source {
    /// Returns a weight: the higher, the stronger the reason against a move.
    fn weight(&self) -> u8 {
        match self {
            Self::Given => 0,
            Self::Named(_) => 1,
            Self::Literal => 2,
            Self::DatabaseUrl => 3,
            Self::Chosen(_) => 4,
            Self::Variable(_) => 5,
        }
    }
}

/// Finds the origin of a connect's arguments, through the function's variables.
pub(super) fn source(carriers: &Carriers<'_>, arguments: &[&Expr]) -> Source {
    let mut search = Search {
        carriers,
        seen: Vec::new(),
        found: Source::Given,
    };
    arguments.iter().for_each(|argument| search.visit_expr(argument));
    search.found
}

/// Methods of the options that choose the server, or the database on it.
const CHOOSING: [&str; 4] = ["database", "host", "port", "socket"];

struct Search<'a, 'n> {
    carriers: &'a Carriers<'n>,
    seen: Vec<String>,
    found: Source,
}

impl Search<'_, '_> {
    fn take(&mut self, source: Source) {
        if source.weight() > self.found.weight() {
            self.found = source;
        }
    }

    fn variable(&mut self, name: &str) {
        self.take(match name {
            "DATABASE_URL" => Source::DatabaseUrl,
            _ => Source::Variable(name.to_owned()),
        });
    }

    fn named(&mut self, name: &str) {
        // The usual name for the value of DATABASE_URL.
        if !name.eq_ignore_ascii_case("database_url") {
            self.take(Source::Named(name.to_owned()));
        }
    }

    fn name(&mut self, name: String) {
        if !self.seen.contains(&name)
            && let Some(value) = self.carriers.variables.values.get(&name)
        {
            self.seen.push(name);
            let value = value.clone();
            Search::visit_expr(self, &value);
        }
    }
}

/// Returns whether a chain of methods begins with empty options.
fn begins_empty(carriers: &Carriers<'_>, expr: &Expr) -> bool {
    match expr {
        Expr::MethodCall(call) => begins_empty(carriers, &call.receiver),
        Expr::Call(call) => {
            let Expr::Path(function) = &*call.func else {
                return false;
            };
            let last = function.path.segments.last();
            last.is_some_and(|last| {
                ["new", "new_without_pgpass", "default"]
                    .iter()
                    .any(|name| last.ident == name)
            })
        }
        Expr::Path(path) => {
            let value = path
                .path
                .get_ident()
                .and_then(|name| carriers.variables.values.get(&name.to_string()));
            // `options = options.host(…)` is no new variable; `let options = options.host(…)` is one initialized from
            // itself.
            value.is_some_and(|value| !mentions(value, &path.path) && begins_empty(carriers, value))
        }
        _ => false,
    }
}

fn mentions(expr: &Expr, name: &syn::Path) -> bool {
    struct Mentions<'a>(&'a syn::Path, bool);
    impl<'ast> Visit<'ast> for Mentions<'_> {
        fn visit_path(&mut self, path: &'ast syn::Path) {
            self.1 |= path.get_ident() == self.0.get_ident();
            visit::visit_path(self, path);
        }
    }
    let mut mentions = Mentions(name, false);
    mentions.visit_expr(expr);
    mentions.1
}

impl<'ast> Visit<'ast> for Search<'_, '_> {
    fn visit_expr_call(&mut self, call: &'ast syn::ExprCall) {
        let Expr::Path(function) = &*call.func else {
            return visit::visit_expr_call(self, call);
        };
        let reads = function
            .path
            .segments
            .last()
            .is_some_and(|last| last.ident == "var" || last.ident == "var_os");
        match call.args.first() {
            Some(Expr::Lit(literal)) if reads => {
                if let Lit::Str(name) = &literal.lit {
                    self.variable(&name.value());
                }
            }
            _ => call.args.iter().for_each(|argument| self.visit_expr(argument)),
        }
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        let method = call.method.to_string();
        if CHOOSING.contains(&method.as_str()) && call.args.len() == 1 {
            self.take(if begins_empty(self.carriers, &call.receiver) {
                Source::Literal
            } else {
                Source::Chosen(method)
            });
        } else if call.args.is_empty() && method.ends_with("url") {
            self.named(&method);
        }
        visit::visit_expr_method_call(self, call);
    }

    fn visit_expr_field(&mut self, field: &'ast syn::ExprField) {
        if let syn::Member::Named(name) = &field.member {
            self.named(&name.to_string());
        }
    }

    fn visit_macro(&mut self, mac: &'ast syn::Macro) {
        let reads = mac.path.is_ident("env") || mac.path.is_ident("option_env");
        if let Ok(name) = mac.parse_body::<syn::LitStr>()
            && reads
        {
            return self.variable(&name.value());
        }
        let all = macros::expressions(mac).unwrap_or_default();
        all.iter().for_each(|expr| Search::visit_expr(self, expr));
        // `format!("…@{host}/…")` names variables inside its text.
        if let Some(Expr::Lit(literal)) = all.first()
            && let Lit::Str(text) = &literal.lit
        {
            let text = text.value();
            let names = text.split('{').skip(1).filter_map(|rest| rest.split(['}', ':']).next());
            names.for_each(|name| self.name(name.to_owned()));
        }
    }

    fn visit_expr_path(&mut self, path: &'ast syn::ExprPath) {
        let Some(last) = path.path.segments.last().map(|last| last.ident.to_string()) else {
            return;
        };
        if path.path.get_ident().is_some() && self.carriers.variables.values.contains_key(&last) {
            self.name(last);
        } else if last.chars().any(char::is_uppercase) && !last.chars().any(char::is_lowercase) {
            self.named(&last);
        }
    }

    // A closure that handles an error does not identify the database.
    fn visit_expr_closure(&mut self, _: &'ast syn::ExprClosure) {}

    fn visit_lit_str(&mut self, literal: &'ast syn::LitStr) {
        if literal.value().starts_with("postgres") {
            self.take(Source::Literal);
        }
    }
}
