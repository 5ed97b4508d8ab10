//! Finds the modules that a file declares, and their paths: beside it, below it, or where `path` and `include!` point.
//!
//! Invariants: reads no module itself.

use std::fs;
use std::path::{Component, Path, PathBuf};

use syn::spanned::Spanned as _;
use syn::{Item, Lit, Meta};

use super::file::{File, whole};

/// A module that a file declares, or a file that it includes with `include!`.
pub(super) struct Submodule {
    /// The line of the declaration, 1-based.
    pub(super) line: usize,
    /// The paths where its file may be.
    pub(super) places: Vec<PathBuf>,
    /// Its module path relative to the file's own.
    pub(super) inner: Vec<String>,
    /// Whether it is included rather than a module.
    pub(super) included: bool,
}

/// Returns the modules and includes of a file that are in other files.
pub(super) fn submodules(file: &File, is_root: bool) -> Vec<Submodule> {
    fn walk(items: &[Item], folder: &Path, beside: &Path, above: &[String], found: &mut Vec<Submodule>) {
        for item in items {
            let mut found_at = |places, inner, included| {
                found.push(Submodule {
                    line: item.span().start().line,
                    places,
                    inner,
                    included,
                });
            };
            let item = match item {
                Item::Mod(item) => item,
                Item::Macro(item) if item.mac.path.is_ident("include") => {
                    if let Ok(part) = item.mac.parse_body::<syn::LitStr>() {
                        found_at(vec![beside.join(part.value())], above.to_vec(), true);
                    }
                    continue;
                }
                _ => continue,
            };
            let name = item.ident.to_string();
            let mut path = above.to_vec();
            path.push(name.clone());
            let named: Vec<String> = item.attrs.iter().filter_map(path_attribute).collect();
            let always = item.attrs.iter().any(|attribute| attribute.path().is_ident("path"));
            if let Some((_, items)) = &item.content {
                let below = folder.join(named.first().filter(|_| always).unwrap_or(&name));
                walk(items, &below, &below, &path, found);
                continue;
            }
            for named in &named {
                found_at(vec![beside.join(named)], path.clone(), false);
            }
            if !always {
                let files = vec![folder.join(format!("{name}.rs")), folder.join(&name).join("mod.rs")];
                found_at(files, path, false);
            }
        }
    }
    let whole = whole(&file.path);
    let beside = whole.parent().unwrap_or(Path::new("")).to_path_buf();
    let is_mod = whole.file_name().is_some_and(|name| name == "mod.rs");
    let folder = if is_root || is_mod {
        beside.clone()
    } else {
        whole.with_extension("")
    };
    let mut found = Vec::new();
    walk(&file.ast.items, &folder, &beside, &[], &mut found);
    let first_line = file.text[..file.offset].matches('\n').count();
    for found in &mut found {
        found.line += first_line;
        found.places = found.places.iter().map(|place| plain(place)).collect();
    }
    found
}

/// Returns the path without `..`, like the paths of the files that were found.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => _ = plain.pop(),
            Component::CurDir => {}
            _ => plain.push(part),
        }
    }
    plain
}

/// Returns whether a file that was left out may carry a pool. The command cannot parse it, so it searches its text; the
/// result only prevents changes.
pub(super) fn may_have_a_pool(path: &Path) -> bool {
    let text = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    ["sqlx", "Pool", "Pg"].iter().any(|word| text.contains(word))
}

/// Returns the path in a `path` attribute, also in one under a condition.
fn path_attribute(attribute: &syn::Attribute) -> Option<String> {
    fn value(meta: &Meta) -> Option<String> {
        let Meta::NameValue(pair) = meta else { return None };
        let syn::Expr::Lit(literal) = &pair.value else {
            return None;
        };
        let Lit::Str(path) = &literal.lit else { return None };
        pair.path.is_ident("path").then(|| path.value())
    }
    if !attribute.path().is_ident("cfg_attr") {
        return value(&attribute.meta);
    }
    let parse = syn::punctuated::Punctuated::<Meta, syn::Token![,]>::parse_terminated;
    let all = attribute.parse_args_with(parse).ok()?;
    all.iter().skip(1).find_map(value)
}
