//! Edits the imports of a file: removes sqlx's pool, adds the shared one.
//!
//! Invariants: touches only `use` items, and only those that name a moved type.

use std::collections::BTreeSet;
use std::ops::Range;

use syn::spanned::Spanned as _;
use syn::visit::{self, Visit};
use syn::{Item, ItemUse, UseTree};

use super::edit::{Edit, remove};
use super::file::File;
use super::found::Replacement;
use super::inventory::Inventory;
use super::names::{Absolute, Kind, Names, is_sqlx, leaves, module};

/// Longer lines are broken, as rustfmt does by default.
const WIDTH: usize = 100;

/// Returns the edits of a file's imports. `needs` are the names that its modules use after the move.
pub(super) fn edits(
    names: &Names,
    inventory: &Inventory,
    file: &File,
    needs: &BTreeSet<(Absolute, Replacement)>,
) -> Vec<Edit> {
    let mut importer = Importer {
        names,
        inventory,
        file,
        needs,
        module: file.module.clone(),
        depth: 0,
        done: BTreeSet::new(),
        shared: crate_name(names, file),
        edits: Vec::new(),
    };
    importer.visit_file(&file.ast);
    importer.edits
}

/// Returns the crate's path, which differs if a module of the target has the crate's name.
fn crate_name(names: &Names, file: &File) -> &'static str {
    let root = module(file.target, &[]);
    let meant = names.resolve(&root, &["shared".to_owned(), "SharedPool".to_owned()]);
    if meant.first().is_some_and(|first| *first == format!("#{}", file.target)) {
        "::shared"
    } else {
        "shared"
    }
}

/// Returns whether a module has an import next to which imports of the shared pool can be placed.
pub(super) fn anchored(names: &Names, inventory: &Inventory, file: &File, path: &[String]) -> bool {
    let mut items = &file.ast.items[..];
    for inner in path.get(file.module.len()..).unwrap_or_default() {
        let found = items.iter().find_map(|item| match item {
            Item::Mod(item) if item.ident == inner => item.content.as_ref().map(|(_, items)| &items[..]),
            _ => None,
        });
        match found {
            Some(found) => items = found,
            None => return false,
        }
    }
    let at = module(file.target, path);
    items.iter().any(|item| {
        let Item::Use(item) = item else { return false };
        leaves(&item.tree)
            .iter()
            .any(|(path, known)| matters(names, inventory, &at, path, known.is_none()).is_some())
    })
}

/// Returns whether a file has an import that is removed.
pub(super) fn concerned(names: &Names, inventory: &Inventory, file: &File) -> bool {
    !edits(names, inventory, file, &BTreeSet::new()).is_empty()
}

/// How an imported path relates to the move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Matter {
    /// It is removed, and these replace it.
    Goes(&'static [Replacement]),
    /// It can stay; imports of the shared pool can be placed beside it.
    Anchor,
}

fn matters(names: &Names, inventory: &Inventory, at: &Absolute, path: &[String], glob: bool) -> Option<Matter> {
    let meant = names.resolve(at, path);
    if glob {
        return is_sqlx(&meant).then_some(Matter::Anchor);
    }
    if inventory.statics.contains_key(&meant) {
        return Some(Matter::Goes(&[Replacement::SharedPool]));
    }
    let kind = match names.kind_of_import(at, path) {
        Some(kind) => kind,
        None => {
            return (is_sqlx(&meant) && meant.last().is_some_and(|last| last == "Connection"))
                .then_some(Matter::Anchor);
        }
    };
    Some(match kind {
        Kind::Pool => Matter::Goes(&[Replacement::SharedPool]),
        Kind::Transaction => Matter::Goes(&[Replacement::Transaction]),
        Kind::Lent => Matter::Goes(&[Replacement::OwnedConnection]),
        Kind::Connection => Matter::Goes(&[Replacement::OwnedConnection, Replacement::Session]),
        Kind::PoolOptions | Kind::ConnectOptions => Matter::Anchor,
    })
}

struct Importer<'a> {
    names: &'a Names,
    inventory: &'a Inventory,
    file: &'a File,
    needs: &'a BTreeSet<(Absolute, Replacement)>,
    module: Vec<String>,
    /// The nesting depth of function bodies.
    depth: usize,
    /// The replacements imported so far, in this module or function.
    done: BTreeSet<Replacement>,
    shared: &'static str,
    edits: Vec<Edit>,
}

impl Importer<'_> {
    fn needed(&self, replacement: Replacement) -> bool {
        self.needs
            .contains(&(module(self.file.target, &self.module), replacement))
    }

    fn import(&mut self, item: &ItemUse) {
        let at = module(self.file.target, &self.module);
        let mut new = BTreeSet::new();
        let mut going = Vec::new();
        let mut matter = false;
        for (place, (path, known)) in leaves(&item.tree).into_iter().enumerate() {
            match matters(self.names, self.inventory, &at, &path, known.is_none()) {
                Some(Matter::Goes(replacements)) => {
                    matter = true;
                    going.push(place);
                    // Names that other modules import from here by a glob are needed there.
                    let always = replacements.len() == 1;
                    new.extend(replacements.iter().filter(|one| always || self.needed(**one)));
                }
                Some(Matter::Anchor) => matter = true,
                None => {}
            }
        }
        if !matter {
            return;
        }
        if self.depth == 0 {
            let all = [
                Replacement::SharedPool,
                Replacement::Transaction,
                Replacement::OwnedConnection,
                Replacement::Session,
            ];
            new.extend(all.iter().filter(|one| self.needed(**one)));
        }
        let new: Vec<Replacement> = new.into_iter().filter(|one| self.done.insert(*one)).collect();
        if new.is_empty() && going.is_empty() {
            return;
        }
        self.rewrite(item, &new, &going);
    }

    fn rewrite(&mut self, item: &ItemUse, new: &[Replacement], going: &[usize]) {
        let text = &self.file.text;
        let offset = self.file.offset;
        let shift = |range: Range<usize>| range.start + offset..range.end + offset;
        let whole = shift(item.span().byte_range());
        let tree = shift(item.tree.span().byte_range());
        let line = text[..whole.start].rfind('\n').map_or(0, |newline| newline + 1);
        let indent = &text[line..whole.start];
        let indent = &indent[..indent.len() - indent.trim_start().len()];
        let newline = if text.contains("\r\n") { "\r\n" } else { "\n" };
        // Attributes, visibility and `use` are the same for the new import.
        let head = text[whole.start..tree.start].trim_end_matches("::").to_owned();
        let mut lines: Vec<String> = Vec::new();
        let within = new.iter().filter(|one| **one != Replacement::SharedPool);
        let mut within: Vec<&str> = within.map(|one| one.name()).collect();
        within.sort_unstable();
        if new.contains(&Replacement::SharedPool) {
            lines.push(format!("{head}{}::SharedPool;", self.shared));
        }
        match within.as_slice() {
            [] => {}
            [one] => lines.push(format!("{head}{}::db::{one};", self.shared)),
            many => lines.push(format!("{head}{}::db::{{{}}};", self.shared, many.join(", "))),
        }
        if going.is_empty() {
            let with = lines.iter().map(|line| format!("{line}{newline}{indent}")).collect();
            self.edits.push(Edit {
                range: whole.start..whole.start,
                with,
            });
            return;
        }
        let written = &text[whole.start..tree.start];
        match without(&item.tree, going) {
            Some(rest) => {
                let one_line = format!("{written}{rest};");
                let kept = if indent.len() + one_line.len() > WIDTH {
                    broken(written, &rest, indent, newline)
                } else {
                    one_line
                };
                lines.push(kept);
            }
            None if lines.is_empty() => return self.edits.push(remove(text, whole)),
            None => {}
        }
        self.edits.push(Edit {
            range: whole,
            with: lines.join(&format!("{newline}{indent}")),
        });
    }
}

impl<'ast> Visit<'ast> for Importer<'_> {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.module.push(item.ident.to_string());
        let outer = (std::mem::take(&mut self.done), std::mem::take(&mut self.depth));
        visit::visit_item_mod(self, item);
        (self.done, self.depth) = outer;
        self.module.pop();
    }

    fn visit_block(&mut self, block: &'ast syn::Block) {
        self.depth += 1;
        let outer = std::mem::take(&mut self.done);
        visit::visit_block(self, block);
        self.done = outer;
        self.depth -= 1;
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.import(item);
    }
}

/// Returns a use tree as text, without the leaves at `going`; `None` if nothing is left.
pub(super) fn without(tree: &UseTree, going: &[usize]) -> Option<String> {
    fn walk(tree: &UseTree, going: &[usize], place: &mut usize) -> Option<String> {
        let mut leaf = |text: String| {
            *place += 1;
            (!going.contains(&(*place - 1))).then_some(text)
        };
        match tree {
            UseTree::Path(path) => walk(&path.tree, going, place).map(|below| format!("{}::{below}", path.ident)),
            UseTree::Name(name) => leaf(name.ident.to_string()),
            UseTree::Rename(rename) => leaf(format!("{} as {}", rename.ident, rename.rename)),
            UseTree::Glob(_) => leaf("*".to_owned()),
            UseTree::Group(group) => {
                let items: Vec<String> = group.items.iter().filter_map(|tree| walk(tree, going, place)).collect();
                match items.as_slice() {
                    [] => None,
                    // `self` needs its braces.
                    [one] if one != "self" && !one.starts_with("self as ") => Some(one.clone()),
                    many => Some(format!("{{{}}}", many.join(", "))),
                }
            }
        }
    }
    walk(tree, going, &mut 0)
}

/// Formats an import on several lines.
fn broken(head: &str, tree: &str, indent: &str, newline: &str) -> String {
    let Some((path, group)) = tree.split_once('{') else {
        return format!("{head}{tree};");
    };
    let group = group.strip_suffix('}').unwrap_or(group);
    let (mut lines, mut line, mut depth) = (Vec::new(), String::new(), 0_usize);
    for piece in group.split(", ") {
        let next = if line.is_empty() {
            piece.to_owned()
        } else {
            format!("{line}, {piece}")
        };
        if depth == 0 && !line.is_empty() && indent.len() + 5 + next.len() > WIDTH {
            lines.push(std::mem::replace(&mut line, piece.to_owned()));
        } else {
            line = next;
        }
        depth += piece.matches('{').count();
        depth -= piece.matches('}').count().min(depth);
    }
    lines.push(line);
    let body: String = lines
        .iter()
        .map(|line| format!("{newline}{indent}    {line},"))
        .collect();
    format!("{head}{path}{{{body}{newline}{indent}}};")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pruned_import_has_no_empty_braces() {
        let tree: ItemUse = syn::parse_quote!(
            use sqlx::{
                PgPool, Row,
                postgres::{PgPoolOptions, PgRow},
            };
        );
        assert_eq!(
            without(&tree.tree, &[0]).unwrap(),
            "sqlx::{Row, postgres::{PgPoolOptions, PgRow}}"
        );
        assert_eq!(without(&tree.tree, &[0, 2]).unwrap(), "sqlx::{Row, postgres::PgRow}");
        assert_eq!(without(&tree.tree, &[0, 2, 3]).unwrap(), "sqlx::Row");
        assert_eq!(without(&tree.tree, &[0, 1, 2, 3]), None);
    }

    #[test]
    fn self_keeps_its_braces() {
        let tree: ItemUse = syn::parse_quote!(
            use sqlx::{self as db, PgPool};
        );
        assert_eq!(without(&tree.tree, &[1]).unwrap(), "sqlx::{self as db}");
    }
}
