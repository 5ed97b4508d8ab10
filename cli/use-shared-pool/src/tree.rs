//! Finds the Rust files, the packages they belong to, and which of them must change together.
//!
//! A pool's type is part of signatures, so all modules of a target move or none does, and targets that use each other's
//! libraries move together: if one file of a package is in the paths, all its files are read, and units without a file
//! in the paths are not changed. Respects .gitignore, skips every `target` folder and hidden ones, and follows no
//! symbolic links. A file that cannot be read or parsed is reported and left out; if a module that is left out may have
//! to do with a pool, it blocks its target.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use syn::visit::{self, Visit};

use super::declared::{Submodule, may_have_a_pool, submodules};
use super::file::{File, whole};
use super::names::Names;
use super::package::Package;

/// All files and packages under the paths.
pub(super) struct Tree {
    /// The files, ordered by path.
    pub(super) files: Vec<File>,
    /// Packages with at least one file.
    pub(super) packages: Vec<Package>,
    /// Resolves their names.
    pub(super) names: Names,
    /// Files that could not be read, and why.
    pub(super) unreadable: Vec<String>,
}

/// Reads everything under `paths`.
///
/// # Errors
/// Fails if a path does not exist or a folder cannot be listed.
pub(super) fn read(paths: &[PathBuf]) -> Result<Tree> {
    let mut tree = Tree {
        files: Vec::new(),
        packages: Vec::new(),
        names: Names::default(),
        unreadable: Vec::new(),
    };
    let mut manifests: BTreeMap<PathBuf, usize> = BTreeMap::new();
    let asked = rust_files(paths)?;
    let packages: BTreeSet<PathBuf> = asked.iter().filter_map(|path| manifest_of(path)).collect();
    let mut all = asked.clone();
    for manifest in &packages {
        let folder = manifest.parent().map(Path::to_path_buf).unwrap_or_default();
        let below = rust_files(&[folder])?;
        // A package within another is separate.
        all.extend(
            below
                .into_iter()
                .filter(|path| manifest_of(path).as_ref() == Some(manifest)),
        );
    }
    // In the order and form in which they were given.
    all.sort_by_key(|path| (whole(path), asked.binary_search(path).is_err()));
    all.dedup_by_key(|path| whole(path));
    for path in all {
        let is_asked = asked.binary_search(&path).is_ok();
        let Some(manifest) = manifest_of(&path) else {
            tree.unreadable.push(format!(
                "{}: belongs to no package: there is no Cargo.toml above it",
                path.display()
            ));
            continue;
        };
        let package = match manifests.get(&manifest) {
            Some(&package) => package,
            None => {
                let package = match Package::read(&manifest) {
                    Ok(package) => package,
                    Err(error) => {
                        tree.unreadable.push(format!("{error:#}"));
                        Package::unreadable(&manifest)
                    }
                };
                tree.packages.push(package);
                manifests.insert(manifest, tree.packages.len() - 1);
                tree.packages.len() - 1
            }
        };
        if tree.packages[package].is_shared() {
            // This is the pool itself.
            continue;
        }
        match parse(&path) {
            Ok((text, offset, ast)) => tree.files.push(File {
                path,
                package,
                text,
                offset,
                ast,
                target: 0,
                module: Vec::new(),
                unit: 0,
                asked: is_asked,
                included: false,
                unread: Vec::new(),
            }),
            Err(error) if is_asked => tree.unreadable.push(format!("{error:#}")),
            // If it is a module of a moved target, it blocks that target.
            Err(_) => {}
        }
    }
    place(&mut tree);
    Ok(tree)
}

fn rust_files(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for path in paths {
        if !path.exists() {
            bail!("{}: there is no such file or folder", path.display());
        }
        let walk = ignore::WalkBuilder::new(path)
            .require_git(false)
            .filter_entry(|entry| !(entry.file_name() == "target" && is_target_folder(entry.path())))
            .build();
        for entry in walk {
            let entry = entry.context("cannot list what is there")?;
            let is_file = entry.file_type().is_some_and(|kind| kind.is_file());
            if is_file && entry.path().extension().is_some_and(|extension| extension == "rs") {
                let path = entry.into_path();
                found.push(path.strip_prefix("./").map(Path::to_path_buf).unwrap_or(path));
            }
        }
    }
    found.sort();
    found.dedup();
    Ok(found)
}

/// Returns whether it is cargo's target folder, and not a module of that name.
fn is_target_folder(path: &Path) -> bool {
    path.is_dir() && (path.join("CACHEDIR.TAG").exists() || path.with_file_name("Cargo.toml").exists())
}

fn manifest_of(path: &Path) -> Option<PathBuf> {
    let whole = std::path::absolute(path).ok()?;
    let mut above = whole.ancestors().skip(1).map(|folder| folder.join("Cargo.toml"));
    above.find(|manifest| manifest.is_file())
}

/// Reads a file. Returns its text, the length of the prefix that was not parsed, and its syntax tree.
pub(super) fn parse(path: &Path) -> Result<(String, usize, syn::File)> {
    let text = fs::read_to_string(path).with_context(|| format!("{}: cannot be read", path.display()))?;
    let mut offset = if text.starts_with('\u{feff}') {
        '\u{feff}'.len_utf8()
    } else {
        0
    };
    let rest = &text[offset..];
    // The parser would skip more of them, and its positions would be wrong.
    if rest.starts_with('\u{feff}') {
        bail!(
            "{}:1: cannot be parsed: it begins with two byte order marks",
            path.display()
        );
    }
    // A `#!` line, which is no inner attribute.
    if rest.starts_with("#!") && !rest[2..].trim_start().starts_with('[') {
        offset += rest.find('\n').unwrap_or(rest.len());
    }
    let ast = syn::parse_file(&text[offset..]).map_err(|error| {
        let line = error.span().start().line + text[..offset].matches('\n').count();
        anyhow::anyhow!("{}:{line}: cannot be parsed: {error}", path.display())
    })?;
    Ok((text, offset, ast))
}

/// Determines the target and module path of each file, and which files change together.
fn place(tree: &mut Tree) {
    let by_path: HashMap<PathBuf, usize> = tree
        .files
        .iter()
        .enumerate()
        .filter_map(|(index, file)| Some((std::path::absolute(&file.path).ok()?, index)))
        .collect();
    let mut together = Together((0..tree.files.len()).collect());
    let mut placed = vec![false; tree.files.len()];
    let mut roots: Vec<usize> = Vec::new();
    for (index, file) in tree.files.iter().enumerate() {
        if tree.packages[file.package].is_root(&file.path) {
            roots.push(index);
        }
    }
    let mut modules: Vec<(usize, usize, Vec<String>)> = Vec::new();
    let (mut takes_in, mut unread) = (Vec::new(), Vec::new());
    for &root in &roots {
        let package = &tree.packages[tree.files[root].package];
        if let Some(library) = package.library(&tree.files[root].path) {
            tree.names.library(library, root);
        }
        let mut open = vec![(root, Vec::new())];
        let mut seen = vec![root];
        while let Some((index, module)) = open.pop() {
            together.join(root, index);
            if !std::mem::replace(&mut placed[index], true) {
                modules.push((index, root, module.clone()));
            }
            let file = &tree.files[index];
            let is_root = index == root;
            for Submodule {
                line,
                places,
                inner,
                included,
            } in submodules(file, is_root)
            {
                let known = places.iter().find_map(|path| by_path.get(path));
                if let Some(&known) = known {
                    if !seen.contains(&known) {
                        seen.push(known);
                        let mut below = module.clone();
                        below.extend(inner);
                        open.push((known, below));
                    }
                    if included {
                        takes_in.push(known);
                    }
                } else if let Some(place) = places.into_iter().find(|place| may_have_a_pool(place)) {
                    unread.push((index, (line, place)));
                }
            }
        }
    }
    // A file that no target names is a target of its own.
    for (index, placed) in placed.iter().enumerate() {
        if !placed {
            modules.push((index, index, Vec::new()));
        }
    }
    for (index, target, module) in modules {
        let file = &mut tree.files[index];
        tree.names.read(target, &module, &file.ast.items);
        (file.target, file.module) = (target, module);
    }
    takes_in.into_iter().for_each(|index| tree.files[index].included = true);
    for (index, module) in unread {
        if !tree.files[index].unread.contains(&module) {
            tree.files[index].unread.push(module);
        }
    }
    for index in 0..tree.files.len() {
        let mut firsts = Firsts(Vec::new());
        firsts.visit_file(&tree.files[index].ast);
        for first in firsts.0 {
            if let Some(library) = tree.names.library_called(&first) {
                together.join(library, index);
            }
        }
    }
    for index in 0..tree.files.len() {
        tree.files[index].unit = together.of(index);
    }
}

/// Disjoint sets that can be joined.
struct Together(Vec<usize>);

impl Together {
    fn of(&mut self, index: usize) -> usize {
        let parent = self.0[index];
        if parent == index {
            return index;
        }
        let root = self.of(parent);
        self.0[index] = root;
        root
    }

    fn join(&mut self, one: usize, other: usize) {
        let (one, other) = (self.of(one), self.of(other));
        self.0[other] = one;
    }
}

/// Collects the first names of all paths.
struct Firsts(Vec<String>);

impl<'ast> Visit<'ast> for Firsts {
    fn visit_path(&mut self, path: &'ast syn::Path) {
        if let Some(first) = path.segments.first().filter(|_| path.segments.len() > 1) {
            self.0.push(first.ident.to_string());
        }
        visit::visit_path(self, path);
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.0.extend(
            super::names::leaves(&item.tree)
                .into_iter()
                .filter_map(|(path, _)| path.into_iter().next()),
        );
    }
}
