//! Resolves the names in a file: imports, aliases, re-exports and modules, followed to the crate that they come from.
//!
//! Follows the source as the compiler would, for the names relevant to this command. Names that macros create are not
//! seen. Imports inside a function count for its whole module.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use syn::visit::{self, Visit};
use syn::{Item, Path, Type, UseTree};

/// An absolute path: starts with the name of an external crate, or with `#` and the number of a target.
pub(super) type Absolute = Vec<String>;

/// The types of sqlx and related crates that this command knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Kind {
    /// `PgPool`, `Pool<Postgres>`.
    Pool,
    /// `PgPoolOptions`, `PoolOptions<Postgres>`.
    PoolOptions,
    /// `PgConnection`.
    Connection,
    /// `PoolConnection<Postgres>`.
    Lent,
    /// `Transaction<'_, Postgres>`, `PgTransaction<'_>`.
    Transaction,
    /// `PgConnectOptions`.
    ConnectOptions,
}

/// One import as written.
#[derive(Clone, Debug)]
pub(super) struct Import {
    path: Vec<String>,
}

/// The names of a module.
#[derive(Debug, Default)]
pub(super) struct Scope {
    target: usize,
    module: Vec<String>,
    imports: HashMap<String, Import>,
    globs: Vec<Vec<String>>,
    items: HashSet<String>,
}

/// All modules of all targets.
#[derive(Default)]
pub(super) struct Names {
    scopes: HashMap<Absolute, Scope>,
    aliases: HashMap<Absolute, Type>,
    /// Names of the libraries among the targets.
    libraries: HashMap<String, usize>,
}

/// The absolute path of a module.
pub(super) fn module(target: usize, path: &[String]) -> Absolute {
    let mut absolute = vec![format!("#{target}")];
    absolute.extend_from_slice(path);
    absolute
}

/// Returns the names in a path, without arguments.
pub(super) fn segments(path: &Path) -> Vec<String> {
    let mut names: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
    if path.leading_colon.is_some()
        && let Some(first) = names.first_mut()
    {
        first.insert_str(0, "::");
    }
    names
}

/// Returns the leaves of a use tree: the path, and its local name; `None` for a glob.
pub(super) fn leaves(tree: &UseTree) -> Vec<(Vec<String>, Option<String>)> {
    fn walk(tree: &UseTree, above: &[String], leaves: &mut Vec<(Vec<String>, Option<String>)>) {
        let below = |name: String| {
            let mut path = above.to_vec();
            if name != "self" || above.is_empty() {
                path.push(name);
            }
            path
        };
        match tree {
            UseTree::Path(path) => walk(&path.tree, &below(path.ident.to_string()), leaves),
            UseTree::Name(name) => {
                let path = below(name.ident.to_string());
                let known = path.last().cloned();
                leaves.push((path, known));
            }
            UseTree::Rename(rename) => leaves.push((below(rename.ident.to_string()), Some(rename.rename.to_string()))),
            UseTree::Glob(_) => leaves.push((above.to_vec(), None)),
            UseTree::Group(group) => group.items.iter().for_each(|tree| walk(tree, above, leaves)),
        }
    }
    let mut found = Vec::new();
    walk(tree, &[], &mut found);
    found
}

impl Names {
    /// Registers a target's library name.
    pub(super) fn library(&mut self, name: &str, target: usize) {
        self.libraries.insert(name.replace('-', "_"), target);
    }

    /// Returns the number of the library called `name`.
    pub(super) fn library_called(&self, name: &str) -> Option<usize> {
        self.libraries.get(name).copied()
    }

    /// Records the names of a file, which is the module `path` of a target, and of the modules within it.
    pub(super) fn read(&mut self, target: usize, path: &[String], items: &[Item]) {
        let mut collector = Collector {
            names: self,
            at: module(target, path),
            scope: Scope {
                target,
                module: path.to_vec(),
                ..Scope::default()
            },
        };
        items.iter().for_each(|item| collector.visit_item(item));
        let Collector { at, scope, .. } = collector;
        // Modules of the same name, under different conditions, count as one.
        match self.scopes.entry(at) {
            Entry::Vacant(place) => _ = place.insert(scope),
            Entry::Occupied(mut place) => {
                let known = place.get_mut();
                for (name, import) in scope.imports {
                    known.imports.entry(name).or_insert(import);
                }
                known.globs.extend(scope.globs);
                known.items.extend(scope.items);
            }
        }
    }

    /// Resolves a path in a module.
    pub(super) fn resolve(&self, at: &Absolute, path: &[String]) -> Absolute {
        let mut search = Search {
            names: self,
            meanings: HashMap::new(),
        };
        search.look_up(at, path, 0)
    }

    /// Returns the kind of type that a path names, and whether it names it through an alias of the scanned code.
    pub(super) fn kind_of_path(&self, at: &Absolute, path: &Path) -> Option<(Kind, bool)> {
        self.kind(at, path, 0)
    }

    fn kind(&self, at: &Absolute, path: &Path, depth: usize) -> Option<(Kind, bool)> {
        let meant = self.resolve(at, &segments(path));
        if is_local(&meant) {
            // An alias inside a function counts for its module, and can then seem to be one of itself.
            let alias = self.aliases.get(&meant).filter(|_| depth < LONGEST_CHAIN)?;
            let scope = meant.split_last()?.1.to_vec();
            let Type::Path(alias) = alias else { return None };
            return self.kind(&scope, &alias.path, depth + 1).map(|(kind, _)| (kind, true));
        }
        let (kind, generic) = known(&meant)?;
        if !generic {
            return Some((kind, false));
        }
        // Without arguments the database is inferred.
        let arguments = &path.segments.last()?.arguments;
        let syn::PathArguments::AngleBracketed(arguments) = arguments else {
            return Some((kind, false));
        };
        let database = arguments.args.iter().find_map(|argument| {
            if let syn::GenericArgument::Type(Type::Path(path)) = argument {
                Some(&path.path)
            } else {
                None
            }
        })?;
        let database = self.resolve(at, &segments(database));
        (is_sqlx(&database) && database.last().is_some_and(|name| name == "Postgres")).then_some((kind, false))
    }

    /// Returns the kind of a single imported name, as if it were a type without arguments.
    pub(super) fn kind_of_import(&self, at: &Absolute, path: &[String]) -> Option<Kind> {
        known(&self.resolve(at, path)).map(|(kind, _)| kind)
    }
}

/// The most steps from a name to the item that it means.
const LONGEST_CHAIN: usize = 24;

/// One resolution. Each name is searched for once in each module: modules that import each other by globs have
/// exponentially many ways to it.
struct Search<'n> {
    names: &'n Names,
    /// Meanings by module and name; `None` too while a name is searched for, which ends a circle.
    meanings: HashMap<(Absolute, String), Option<Absolute>>,
}

impl Search<'_> {
    fn look_up(&mut self, at: &Absolute, path: &[String], depth: usize) -> Absolute {
        let Some((first, rest)) = path.split_first() else {
            return Vec::new();
        };
        let Some(scope) = self.names.scopes.get(at).filter(|_| depth < LONGEST_CHAIN) else {
            return path.to_vec();
        };
        let join = |mut head: Absolute| {
            head.extend_from_slice(rest);
            head
        };
        if let Some(external) = first.strip_prefix("::") {
            return join(vec![external.to_owned()]);
        }
        match first.as_str() {
            "crate" => return self.follow(join(module(scope.target, &[])), depth + 1),
            "self" if !rest.is_empty() => return self.follow(join(at.clone()), depth + 1),
            "super" => {
                let mut parent = scope.module.clone();
                parent.pop();
                let parent = module(scope.target, &parent);
                // `super::super` continues from there.
                return if rest.first().is_some_and(|next| next == "super") {
                    self.look_up(&parent, rest, depth + 1)
                } else {
                    self.follow(join(parent), depth + 1)
                };
            }
            _ => {}
        }
        if let Some(meant) = self.within(at, first, depth) {
            return self.follow(join(meant), depth + 1);
        }
        match self.names.libraries.get(first) {
            Some(&library) => self.follow(join(module(library, &[])), depth + 1),
            None => path.to_vec(),
        }
    }

    /// Resolves a single name in a module, if the module has it.
    fn within(&mut self, at: &Absolute, name: &str, depth: usize) -> Option<Absolute> {
        let key = (at.clone(), name.to_owned());
        if let Some(meaning) = self.meanings.get(&key) {
            return meaning.clone();
        }
        self.meanings.insert(key.clone(), None);
        let meaning = self.search(at, name, depth);
        self.meanings.insert(key, meaning.clone());
        meaning
    }

    fn search(&mut self, at: &Absolute, name: &str, depth: usize) -> Option<Absolute> {
        let scope = self.names.scopes.get(at).filter(|_| depth < LONGEST_CHAIN)?;
        if let Some(import) = scope.imports.get(name) {
            // `use sqlx;` refers to itself.
            let itself = import.path.len() == 1 && import.path.first().is_some_and(|first| first == name);
            return Some(if itself {
                import.path.clone()
            } else {
                self.look_up(at, &import.path, depth + 1)
            });
        }
        if scope.items.contains(name) {
            let mut absolute = at.clone();
            absolute.push(name.to_owned());
            return Some(absolute);
        }
        scope.globs.iter().find_map(|glob| {
            // The source of a glob is not searched for in globs, because that would never end.
            let own = glob.first().is_none_or(|first| {
                ["crate", "self", "super"].contains(&first.as_str())
                    || scope.imports.contains_key(first)
                    || scope.items.contains(first)
                    || self.names.libraries.contains_key(first)
            });
            let from = if own {
                self.look_up(at, glob, depth + 1)
            } else {
                glob.clone()
            };
            if is_local(&from) {
                return if from == *at {
                    None
                } else {
                    self.within(&from, name, depth + 1)
                };
            }
            let mut path = from;
            path.push(name.to_owned());
            exported(&path).then_some(path)
        })
    }

    /// Follows an absolute path to the item that it re-exports.
    fn follow(&mut self, path: Absolute, depth: usize) -> Absolute {
        if !is_local(&path) || depth >= LONGEST_CHAIN {
            return path;
        }
        for end in 1..path.len() {
            let (at, rest) = path.split_at(end);
            let (at, Some((name, rest))) = (at.to_vec(), rest.split_first()) else {
                break;
            };
            let mut below = at.clone();
            below.push(name.clone());
            if self.names.scopes.contains_key(&below) || !self.names.scopes.contains_key(&at) {
                continue;
            }
            let Some(mut meant) = self.within(&at, name, depth + 1) else {
                break;
            };
            if meant == below {
                break;
            }
            meant.extend_from_slice(rest);
            return self.follow(meant, depth + 1);
        }
        path
    }
}

/// Returns whether a path leads into the scanned code.
pub(super) fn is_local(path: &[String]) -> bool {
    path.first().is_some_and(|first| first.starts_with('#'))
}

/// Returns whether a path leads into sqlx.
pub(super) fn is_sqlx(path: &[String]) -> bool {
    path.first()
        .is_some_and(|first| ["sqlx", "sqlx_core", "sqlx_postgres"].contains(&first.as_str()))
}

/// Returns a type of sqlx, and whether it is generic over the database.
fn known(path: &[String]) -> Option<(Kind, bool)> {
    let name = path.last().filter(|_| is_sqlx(path))?;
    Some(match name.as_str() {
        "PgPool" => (Kind::Pool, false),
        "Pool" => (Kind::Pool, true),
        "PgPoolOptions" => (Kind::PoolOptions, false),
        "PoolOptions" => (Kind::PoolOptions, true),
        "PgConnection" => (Kind::Connection, false),
        "PoolConnection" => (Kind::Lent, true),
        "PgTransaction" => (Kind::Transaction, false),
        "Transaction" => (Kind::Transaction, true),
        "PgConnectOptions" => (Kind::ConnectOptions, false),
        _ => return None,
    })
}

/// Returns whether a glob import of sqlx includes a relevant name.
fn exported(path: &[String]) -> bool {
    let also = [
        "Postgres",
        "PgListener",
        "Connection",
        "Acquire",
        "ConnectOptions",
        "migrate",
    ];
    known(path).is_some() || is_sqlx(path) && path.last().is_some_and(|name| also.contains(&name.as_str()))
}

struct Collector<'n> {
    names: &'n mut Names,
    at: Absolute,
    scope: Scope,
}

impl<'ast> Visit<'ast> for Collector<'_> {
    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        for (mut path, known) in leaves(&item.tree) {
            if item.leading_colon.is_some()
                && let Some(first) = path.first_mut()
            {
                first.insert_str(0, "::");
            }
            match known {
                Some(name) => {
                    self.scope.imports.entry(name).or_insert(Import { path });
                }
                None => self.scope.globs.push(path),
            }
        }
    }

    fn visit_item_type(&mut self, item: &'ast syn::ItemType) {
        let mut path = self.at.clone();
        path.push(item.ident.to_string());
        self.names.aliases.insert(path, (*item.ty).clone());
        self.scope.items.insert(item.ident.to_string());
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.scope.items.insert(item.ident.to_string());
        if let Some((_, items)) = &item.content {
            let mut path = self.scope.module.clone();
            path.push(item.ident.to_string());
            self.names.read(self.scope.target, &path, items);
        }
    }

    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        self.scope.items.insert(item.ident.to_string());
    }

    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        self.scope.items.insert(item.ident.to_string());
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        self.scope.items.insert(item.ident.to_string());
        visit::visit_item_trait(self, item);
    }

    fn visit_item_static(&mut self, item: &'ast syn::ItemStatic) {
        self.scope.items.insert(item.ident.to_string());
    }

    fn visit_item_const(&mut self, item: &'ast syn::ItemConst) {
        self.scope.items.insert(item.ident.to_string());
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.scope.items.insert(item.sig.ident.to_string());
        visit::visit_item_fn(self, item);
    }

    fn visit_item_macro(&mut self, item: &'ast syn::ItemMacro) {
        for lazy in super::macros::lazy_statics(&item.mac) {
            self.scope.items.insert(lazy.name.to_string());
        }
    }
}
