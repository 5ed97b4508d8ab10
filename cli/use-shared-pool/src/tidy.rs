//! Removes code that a move leaves unused: imports, variables that were used for a connect, parameters.
//!
//! Compares how often a name occurs before and after. Only items that lost their last use are removed, and variables
//! only if their initializer has no side effect; other variables, and parameters, get an underscore.

use std::collections::HashMap;

use anyhow::Result;
use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens as _;
use syn::spanned::Spanned as _;
use syn::visit::{self, Visit};
use syn::{Expr, ItemUse, Pat, Stmt};

use super::edit::{Edit, apply, remove};
use super::imports::without;
use super::names::leaves;

/// Removes from `after` the items that only `before` used. Both are without a byte order mark.
///
/// # Errors
/// Fails if `after` does not parse: a defect of this command; nothing is written.
pub(super) fn tidy(before: &syn::File, after: &str) -> Result<String> {
    let before = Counts::of(before);
    let mut text = after.to_owned();
    loop {
        let file = syn::parse_file(&text)?;
        let counts = Counts::of(&file);
        let mut tidier = Tidier {
            text: &text,
            before: &before,
            after: &counts,
            edits: Vec::new(),
        };
        tidier.visit_file(&file);
        if tidier.edits.is_empty() {
            return Ok(text);
        }
        text = apply(&text, &tidier.edits);
    }
}

/// Counts the uses of names outside imports.
struct Counts(HashMap<String, usize>);

impl Counts {
    fn of(file: &syn::File) -> Self {
        let mut counts = Self(HashMap::new());
        counts.visit_file(file);
        counts
    }

    fn get(&self, name: &str) -> usize {
        self.0.get(name).copied().unwrap_or_default()
    }

    fn count(&mut self, tokens: TokenStream) {
        for token in tokens {
            match token {
                TokenTree::Group(group) => self.count(group.stream()),
                TokenTree::Ident(name) => *self.0.entry(name.to_string()).or_default() += 1,
                TokenTree::Literal(literal) => {
                    for name in captured(&literal.to_string()) {
                        *self.0.entry(name).or_default() += 1;
                    }
                }
                TokenTree::Punct(_) => {}
            }
        }
    }
}

/// Returns the names in the braces of a format string.
fn captured(literal: &str) -> Vec<String> {
    let pieces = literal.split('{').skip(1);
    let name = |piece: &str| {
        piece
            .split(|c: char| !(c.is_alphanumeric() || c == '_'))
            .next()
            .map(str::to_owned)
    };
    pieces.filter_map(name).filter(|name| !name.is_empty()).collect()
}

impl<'ast> Visit<'ast> for Counts {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        match item {
            syn::Item::Use(_) => {}
            syn::Item::Mod(module) if module.content.is_some() => visit::visit_item_mod(self, module),
            other => {
                let mut uses = Uses::default();
                uses.visit_item(other);
                self.count(other.to_token_stream());
                // Imports inside functions are no uses either.
                for name in uses.0 {
                    if let Some(count) = self.0.get_mut(&name) {
                        *count = count.saturating_sub(1);
                    }
                }
            }
        }
    }

    fn visit_attribute(&mut self, attribute: &'ast syn::Attribute) {
        self.count(attribute.to_token_stream());
    }
}

/// Collects all names in the imports of functions.
#[derive(Default)]
struct Uses(Vec<String>);

impl<'ast> Visit<'ast> for Uses {
    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        fn names(tokens: TokenStream, all: &mut Vec<String>) {
            for token in tokens {
                if let TokenTree::Group(group) = token {
                    names(group.stream(), all);
                } else if let TokenTree::Ident(name) = token {
                    all.push(name.to_string());
                }
            }
        }
        names(item.tree.to_token_stream(), &mut self.0);
    }
}

/// Traits that are imported for their methods.
const TRAITS: [(&str, &[&str]); 8] = [
    (
        "Connection",
        &["begin", "close", "connect", "connect_with", "ping", "transaction"],
    ),
    ("ConnectOptions", &["connect", "log_slow_statements", "log_statements"]),
    ("FromStr", &["from_str"]),
    ("Context", &["context", "with_context"]),
    ("WrapErr", &["wrap_err", "wrap_err_with", "context", "with_context"]),
    ("TryFrom", &["try_from"]),
    ("Deref", &["deref"]),
    ("FutureExt", &["boxed", "map", "then", "shared", "now_or_never"]),
];

struct Tidier<'a> {
    text: &'a str,
    before: &'a Counts,
    after: &'a Counts,
    edits: Vec<Edit>,
}

impl Tidier<'_> {
    /// Returns whether a name had a use, and has none now.
    fn lost(&self, name: &str) -> bool {
        self.before.get(name) > 0 && self.after.get(name) == 0
    }

    fn unused(&self, path: &[String], known: &str) -> bool {
        let last = path.last().map_or("", String::as_str);
        let of_trait = TRAITS.iter().find(|(name, _)| *name == last);
        if let Some((_, methods)) = of_trait
            && self.after.get(known) == 0
        {
            let sqlx = path.first().is_some_and(|first| first == "sqlx");
            // The shared types have methods of these names too, and need no trait for them.
            if sqlx && last == "Connection" {
                return self.before.get("PgConnection") > 0 || self.before.get("PgPool") > 0;
            }
            return methods.iter().any(|method| self.before.get(method) > 0)
                && methods.iter().all(|method| self.after.get(method) == 0);
        }
        // Imported for a type that was imported from sqlx, and not used if that was removed with its static.
        let moved = ["PgConnection", "PgPool", "PgPoolOptions", "Pool", "Transaction"];
        if path.first().is_some_and(|first| first == "shared") && path.len() > 1 {
            return self.after.get(known) == 0 && moved.iter().any(|name| self.before.get(name) > self.after.get(name));
        }
        self.lost(known)
    }

    /// Returns whether a variable of `block` lost its last use.
    fn dead(&self, name: &str, block: &TokenStream, declared: usize) -> bool {
        let mut here = Counts(HashMap::new());
        here.count(block.clone());
        here.get(name) <= declared && self.before.get(name) > self.after.get(name)
    }
}

/// Returns whether an initializer has no side effect.
fn pure(expr: &Expr) -> bool {
    let all = |arguments: &syn::punctuated::Punctuated<Expr, syn::Token![,]>| arguments.iter().all(pure);
    match expr {
        Expr::Lit(_) | Expr::Path(_) | Expr::Closure(_) => true,
        Expr::Reference(inner) => pure(&inner.expr),
        Expr::Paren(inner) => pure(&inner.expr),
        Expr::Unary(inner) => pure(&inner.expr),
        Expr::Field(inner) => pure(&inner.base),
        Expr::Try(inner) => pure(&inner.expr),
        Expr::Tuple(inner) => all(&inner.elems),
        Expr::Array(inner) => all(&inner.elems),
        Expr::Macro(mac) => ["concat", "env", "format", "option_env"]
            .iter()
            .any(|name| mac.mac.path.is_ident(name)),
        Expr::MethodCall(call) => {
            let known = [
                "and_then",
                "application_name",
                "as_deref",
                "as_ref",
                "as_str",
                "clone",
                "context",
                "database",
                "expect",
                "extra_float_digits",
                "filter",
                "host",
                "into",
                "map",
                "map_err",
                "max_connections",
                "min_connections",
                "ok",
                "ok_or",
                "ok_or_else",
                "acquire_timeout",
                "idle_timeout",
                "max_lifetime",
                "options",
                "parse",
                "password",
                "port",
                "socket",
                "ssl_mode",
                "statement_cache_capacity",
                "test_before_acquire",
                "to_owned",
                "to_string",
                "trim",
                "unwrap",
                "unwrap_or",
                "unwrap_or_default",
                "unwrap_or_else",
                "username",
                "with_context",
            ];
            known.iter().any(|name| call.method == name) && pure(&call.receiver) && all(&call.args)
        }
        Expr::Call(call) => {
            let Expr::Path(function) = &*call.func else {
                return false;
            };
            let names: Vec<String> = function
                .path
                .segments
                .iter()
                .map(|segment| segment.ident.to_string())
                .collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let known = matches!(
                names.as_slice(),
                [.., "env" | "dotenvy" | "dotenv", "var" | "var_os"]
                    | ["var"]
                    | ["Some" | "Ok"]
                    | [.., "PgConnectOptions" | "PgPoolOptions" | "PoolOptions", _]
                    | [.., "String", "from" | "new"]
                    | [.., "Duration", "from_secs" | "from_millis" | "new"]
            );
            known && all(&call.args)
        }
        _ => false,
    }
}

impl<'ast> Visit<'ast> for Tidier<'_> {
    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        let public = !matches!(item.vis, syn::Visibility::Inherited);
        let going: Vec<usize> = leaves(&item.tree)
            .iter()
            .enumerate()
            .filter(|(_, (path, known))| {
                let anonymous = known.as_deref() == Some("_");
                let name = if anonymous { path.last() } else { known.as_ref() };
                !public && name.is_some_and(|name| self.unused(path, name))
            })
            .map(|(place, _)| place)
            .collect();
        if going.is_empty() {
            return;
        }
        let whole = item.span().byte_range();
        self.edits.push(match without(&item.tree, &going) {
            Some(rest) => Edit {
                range: item.tree.span().byte_range(),
                with: rest,
            },
            None => remove(self.text, whole),
        });
    }

    fn visit_block(&mut self, block: &'ast syn::Block) {
        let tokens = block.to_token_stream();
        for statement in &block.stmts {
            let Stmt::Local(local) = statement else { continue };
            let pat = if let Pat::Type(typed) = &local.pat {
                &*typed.pat
            } else {
                &local.pat
            };
            let Pat::Ident(name) = pat else { continue };
            if name.ident.to_string().starts_with('_') || !self.dead(&name.ident.to_string(), &tokens, 1) {
                continue;
            }
            let init = local.init.as_ref();
            if init.is_some_and(|init| init.diverge.is_none() && pure(&init.expr)) {
                self.edits.push(remove(self.text, statement.span().byte_range()));
            } else {
                self.edits.push(underscored(&name.ident));
            }
        }
        visit::visit_block(self, block);
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.parameters(&item.sig, &item.block);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.parameters(&item.sig, &item.block);
        visit::visit_impl_item_fn(self, item);
    }
}

/// Marks a name as unused. A raw one, such as `r#type`, needs no `r#` then.
fn underscored(name: &syn::Ident) -> Edit {
    let start = name.span().byte_range().start;
    let end = if name.to_string().starts_with("r#") {
        start + 2
    } else {
        start
    };
    Edit {
        range: start..end,
        with: "_".to_owned(),
    }
}

impl Tidier<'_> {
    fn parameters(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let tokens = block.to_token_stream();
        for input in &signature.inputs {
            let syn::FnArg::Typed(input) = input else { continue };
            let Pat::Ident(name) = &*input.pat else { continue };
            let text = name.ident.to_string();
            if !text.starts_with('_') && self.dead(&text, &tokens, 0) {
                self.edits.push(underscored(&name.ident));
            }
        }
    }
}
