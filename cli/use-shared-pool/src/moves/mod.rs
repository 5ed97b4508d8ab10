//! Moves one file: collects the replacements, the blockers, and the notes for the reader.
//!
//! Invariants: changes nothing, only collects edits. A blocker of a file's own pool or connection blocks its whole
//! unit.

mod openings;
mod walk;

use std::ops::Range;

use proc_macro2::{TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Attribute, Expr, Stmt};

use super::carriers::Carriers;
use super::edit::{Edit, remove};
use super::file::File;
use super::found::{Found, Remark, Replacement};
use super::imports;
use super::inventory::Inventory;
use super::names::{Kind, Names, is_sqlx, module, segments};
use super::sites::{Origin, line, peel};

/// Examines a file of a unit.
pub(super) fn look(names: &Names, inventory: &Inventory, unfit: Option<&str>, file: &File) -> Found {
    let mut mover = Mover {
        file,
        unfit,
        first_line: file.text[..file.offset].matches('\n').count(),
        carriers: Carriers::of(inventory, names, module(file.target, &file.module)),
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

/// Returns whether an attribute marks a connection as intended.
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
    /// The number of enclosing attributes that mark connections as intended.
    kept: usize,
    /// The number of enclosing closures and async blocks of the function.
    nested: usize,
    /// Whether the function owns a transaction or a connection at this point.
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

    /// Returns how to write `replacement` in the place of `path`; it is imported if `path` was a name of this module.
    fn named(&mut self, replacement: Replacement, path: Option<&syn::Path>) -> String {
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
            // There was no path: use a name that is imported anyway, else the whole path.
            None => imports::anchored(self.carriers.names, self.carriers.inventory, self.file, &self.module),
        };
        if short {
            self.found.needs.insert((module.clone(), replacement));
            replacement.name().to_owned()
        } else {
            replacement.path().to_owned()
        }
    }

    /// Replaces a type's path.
    fn retype(&mut self, path: &syn::Path, kind: Kind, aliased: bool, borrowed: bool) {
        let replacement = match kind {
            Kind::Pool => Replacement::SharedPool,
            Kind::Transaction => Replacement::Transaction,
            Kind::Lent => Replacement::OwnedConnection,
            Kind::Connection if borrowed => Replacement::Session,
            Kind::Connection => Replacement::OwnedConnection,
            Kind::PoolOptions | Kind::ConnectOptions => return,
        };
        if aliased {
            // The alias itself is changed where it is declared.
            return;
        }
        let mut with = self.named(replacement, Some(path));
        if kind == Kind::Transaction
            && let Some(last) = path.segments.last()
            && let syn::PathArguments::AngleBracketed(arguments) = &last.arguments
            && let Some(syn::GenericArgument::Lifetime(lifetime)) = arguments.args.first()
        {
            with = format!("{with}<{lifetime}>");
        }
        self.edit(path, with);
    }

    /// Examines calls that receive a pool or a connection.
    fn given(&mut self, call: &str, known: bool, arguments: &syn::punctuated::Punctuated<Expr, syn::Token![,]>) {
        if known {
            return;
        }
        for argument in arguments {
            let carried = self.carriers.carried(argument);
            // A future is passed, and its value stays here.
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
            if !self.replace(last, Position::Tail) {
                self.visit_expr(last);
            }
        } else {
            self.visit_block(body);
        }
        self.kept -= kept;
        (self.carriers.variables, self.open, self.nested) = outer;
    }

    /// `pool.close().await`, which is not allowed on a pool that other code uses.
    fn closes(&mut self, expr: &Expr) -> bool {
        let call = if let Expr::Await(awaited) = expr {
            &*awaited.base
        } else {
            expr
        };
        let Expr::MethodCall(call) = call else { return false };
        let closes = call.method == "close" && self.carriers.carried(&call.receiver) == Some(Kind::Pool);
        if closes {
            self.certain(&call.receiver);
        }
        closes
    }

    /// Returns whether a statement puts the pool into a static that is removed.
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

    /// Returns whether an expression applies migrations, directly or through a variable or a static.
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

    /// Searches a macro that cannot be parsed for relevant names.
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

/// The syntactic position of an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Position {
    /// The receiver of a method call.
    Receiver,
    /// The return value of a function with a written return type.
    Tail,
    /// Any other position.
    Other,
}
