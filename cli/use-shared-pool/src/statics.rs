//! Determines which statics around a pool can be removed, and which stay with another type in them.

use std::collections::HashSet;

use syn::Expr;
use syn::visit::{self, Visit};

use super::carriers::Carriers;
use super::file::File;
use super::inventory::Inventory;
use super::macros;
use super::names::{Absolute, Names, module};
use super::sites::{Origin, lazy, peel};

/// Returns the statics that can be removed, because this command replaces all their uses.
pub(super) fn replaceable(names: &Names, inventory: &Inventory, files: &[&File]) -> HashSet<Absolute> {
    let mut going: HashSet<Absolute> = inventory.statics.keys().cloned().collect();
    for file in files {
        let mut uses = Uses {
            carriers: Carriers::of(inventory, names, module(file.target, &file.module)),
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

/// Collects the statics with a use that this command does not replace.
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
