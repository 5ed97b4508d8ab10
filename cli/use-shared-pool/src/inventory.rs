//! Lists the fields, functions and statics of a unit's own code that carry a pool or a connection.
//!
//! Works by name, not by inferred type: a name counts everywhere in its unit, so two items of one name are treated as
//! the same. That can only make this command more careful, because it checks `plain` before it changes code by name.

use std::collections::{HashMap, HashSet};

use syn::Type;
use syn::visit::{self, Visit};

use super::file::File;
use super::macros;
use super::names::{Absolute, Kind, Names, module, segments};

/// Containers that initialize a pool at first use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cell {
    /// `LazyLock`, `Lazy`, `lazy_static!`: dereferences to the pool.
    Lazy,
    /// `std::sync::OnceLock`, `once_cell`'s `OnceCell`.
    Once,
    /// Tokio's `OnceCell`, whose initializer is awaited.
    AsyncOnce,
}

/// The declarations of a unit's files.
#[derive(Debug, Default)]
pub(super) struct Inventory {
    /// Kinds of fields, by name; of tuple structs, by `Struct.0`.
    pub(super) fields: HashMap<String, Kind>,
    /// Kinds of the return types of functions and methods, by name.
    pub(super) returns: HashMap<String, Kind>,
    /// Kinds of the named fields of each struct; `None` if a field has no kind.
    pub(super) structs: HashMap<(String, String), Option<Kind>>,
    /// Names of fields and functions that also belong to items without a pool.
    pub(super) plain: HashSet<String>,
    /// Names of functions, methods, tuple structs and variants that can receive a pool.
    pub(super) defined: HashSet<String>,
    /// Statics that hold only a pool.
    pub(super) statics: HashMap<Absolute, Cell>,
    /// Other statics that contain a pool.
    pub(super) others: HashMap<Absolute, Kind>,
    /// Names of migrators.
    pub(super) migrators: HashSet<String>,
}

/// Returns the first kind that a type mentions.
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
    /// Records a file's declarations.
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
        } else {
            self.inventory.plain.insert(name.clone());
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

    /// Returns the cell that a type is, if it holds only a pool.
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
            let kind = self.kind(&field.ty);
            if let Some(name) = &field.ident {
                let key = (item.ident.to_string(), name.to_string());
                // If two structs share a name, the one with the pool counts.
                let known = self.inventory.structs.entry(key).or_insert(kind);
                *known = known.or(kind);
                if kind.is_none() {
                    self.inventory.plain.insert(name.to_string());
                }
            }
            if let Some(kind) = kind {
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
