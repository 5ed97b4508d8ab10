//! Reads a package: its targets, its version of sqlx, and the line that makes it depend on `shared`.
//!
//! Reads manifests as cargo does, as far as this command needs them. Invariants: queries no registry and runs no cargo.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use toml_edit::{DocumentMut, InlineTable, Item, Table, Value};

/// The sqlx version of `shared`: another release's `Executor` is a different trait.
pub(super) const SQLX: &str = "0.9";

/// The crate that provides the pool.
const SHARED: &str = "shared";

/// One `Cargo.toml` with a `[package]`.
pub(super) struct Package {
    /// The folder of the manifest, absolute.
    pub(super) manifest: PathBuf,
    name: String,
    document: DocumentMut,
    text: String,
}

/// The change of a manifest.
pub(super) struct Dependency {
    /// The old text.
    pub(super) before: String,
    /// The new text.
    pub(super) after: String,
}

impl Package {
    /// Reads a manifest.
    ///
    /// # Errors
    /// Fails if it cannot be read or is not TOML.
    pub(super) fn read(manifest: &Path) -> Result<Self> {
        let text = fs::read_to_string(manifest).with_context(|| format!("{}: cannot be read", manifest.display()))?;
        let document: DocumentMut = text
            .parse()
            .with_context(|| format!("{}: cannot be parsed", manifest.display()))?;
        let name = document.get("package").and_then(|package| package.get("name"));
        Ok(Self {
            manifest: manifest.to_path_buf(),
            name: name.and_then(Item::as_str).unwrap_or_default().to_owned(),
            document,
            text,
        })
    }

    /// Returns a placeholder for a package whose manifest cannot be read.
    pub(super) fn unreadable(manifest: &Path) -> Self {
        Self {
            manifest: manifest.to_path_buf(),
            name: String::new(),
            document: DocumentMut::new(),
            text: String::new(),
        }
    }

    /// Returns whether it is the crate that provides the pool.
    pub(super) fn is_shared(&self) -> bool {
        self.name == SHARED && self.folder().join("src/shared_pool.rs").is_file()
    }

    fn folder(&self) -> &Path {
        self.manifest.parent().unwrap_or(Path::new(""))
    }

    fn within<'p>(&self, path: &'p Path) -> Option<&'p Path> {
        path.strip_prefix(self.folder()).ok()
    }

    /// Returns the name by which other packages know a library, if `file` is its root.
    pub(super) fn library(&self, file: &Path) -> Option<&str> {
        let file = std::path::absolute(file).ok()?;
        let lib = self.document.get("lib");
        let path = lib
            .and_then(|lib| lib.get("path"))
            .and_then(Item::as_str)
            .unwrap_or("src/lib.rs");
        let name = lib
            .and_then(|lib| lib.get("name"))
            .and_then(Item::as_str)
            .unwrap_or(&self.name);
        (self.within(&file)? == Path::new(path)).then_some(name)
    }

    /// Returns whether a file is the root of a target: a library, a binary, a test, an example, a bench, or the build
    /// script.
    pub(super) fn is_root(&self, file: &Path) -> bool {
        let Ok(file) = std::path::absolute(file) else {
            return false;
        };
        let Some(path) = self.within(&file) else { return false };
        let named = ["lib", "bin", "test", "example", "bench"].iter().any(|kind| {
            let Some(item) = self.document.get(kind) else {
                return false;
            };
            let one = item.get("path").and_then(Item::as_str);
            let many = item.as_array_of_tables().into_iter().flatten();
            let many = many.filter_map(|table| table.get("path").and_then(Item::as_str));
            one.into_iter().chain(many).any(|named| Path::new(named) == path)
        });
        let parts: Vec<_> = path.iter().filter_map(|part| part.to_str()).collect();
        let found = matches!(
            parts.as_slice(),
            ["build.rs"]
                | ["src", "lib.rs" | "main.rs"]
                | ["src", "bin", _]
                | ["src", "bin", _, "main.rs"]
                | ["tests" | "examples" | "benches", _]
                | ["tests" | "examples" | "benches", _, "main.rs"]
        );
        named || found
    }

    /// Returns whether a file is compiled only for tests, examples and benches.
    pub(super) fn only_tests(&self, file: &Path) -> bool {
        let file = std::path::absolute(file).ok();
        let first = file.as_deref().and_then(|file| self.within(file)?.iter().next());
        first.is_some_and(|first| ["tests", "examples", "benches"].iter().any(|folder| first == *folder))
    }

    /// Returns why its code cannot use the shared pool's `Executor`, if it cannot.
    pub(super) fn unfit(&self) -> Option<String> {
        let tables = ["dependencies", "dev-dependencies"];
        let own = tables.iter().find_map(|table| self.document.get(table)?.get("sqlx"));
        let inherited = || {
            workspace(&self.manifest)?
                .1
                .get("workspace")?
                .get("dependencies")?
                .get("sqlx")
                .cloned()
        };
        let asked = own.cloned().and_then(|asked| {
            let from_workspace = asked.get("workspace").and_then(Item::as_bool) == Some(true);
            if from_workspace { inherited() } else { Some(asked) }
        })?;
        let version = asked.as_str().or_else(|| asked.get("version").and_then(Item::as_str))?;
        let digits = version.trim_start_matches(['^', '~', '=', '>', ' ']);
        let fits = digits == SQLX || digits.strip_prefix(SQLX).is_some_and(|rest| rest.starts_with('.'));
        (!fits).then(|| {
            format!("its package asks for sqlx {version}, and the shared pool is one of sqlx {SQLX}: update first")
        })
    }

    /// Returns the manifest with `shared` as a dependency; `None` if it is there already. If the workspace provides it,
    /// it is inherited, otherwise it is a path into `checkout`. If only tests use it, it is a dev-dependency.
    pub(super) fn dependency(&self, only_tests: bool, checkout: Option<&Path>) -> Result<Option<Dependency>> {
        let there = |table: &str| {
            self.document
                .get(table)
                .is_some_and(|table| table.get(SHARED).is_some())
        };
        if there("dependencies") || only_tests && there("dev-dependencies") || self.is_shared() {
            return Ok(None);
        }
        let offered = workspace(&self.manifest)
            .is_some_and(|(_, document)| (|| document.get("workspace")?.get("dependencies")?.get(SHARED))().is_some());
        let value = if offered {
            let mut table = Table::new();
            table.set_dotted(true);
            table.insert("workspace", Item::Value(Value::from(true)));
            Item::Table(table)
        } else {
            let checkout = checkout.with_context(|| {
                format!(
                    "{}: needs the crate `shared`: run it inside a checkout of Seer",
                    self.manifest.display()
                )
            })?;
            let mut table = InlineTable::new();
            let path = relative(self.folder(), &checkout.join(SHARED));
            table.insert("path", Value::from(path.to_string_lossy().into_owned()));
            Item::Value(Value::InlineTable(table))
        };
        let mut after = self.document.clone();
        let table = if only_tests { "dev-dependencies" } else { "dependencies" };
        let dependencies = after.entry(table).or_insert(Item::Table(Table::new()));
        let sorted = |table: &dyn toml_edit::TableLike| table.iter().map(|(name, _)| name).is_sorted();
        let dependencies = dependencies
            .as_table_like_mut()
            .with_context(|| format!("{}: `{table}` is no table", self.manifest.display()))?;
        let was_sorted = sorted(dependencies);
        dependencies.insert(SHARED, value);
        if was_sorted {
            dependencies.sort_values();
        }
        Ok(Some(Dependency {
            before: self.text.clone(),
            after: after.to_string(),
        }))
    }
}

/// Returns the manifest of the workspace that a package belongs to.
fn workspace(manifest: &Path) -> Option<(PathBuf, DocumentMut)> {
    manifest.ancestors().skip(1).find_map(|folder| {
        let path = folder.join("Cargo.toml");
        let document: DocumentMut = fs::read_to_string(&path).ok()?.parse().ok()?;
        document.get("workspace").is_some().then_some((path, document))
    })
}

/// Returns the relative path from one folder to another.
fn relative(from: &Path, to: &Path) -> PathBuf {
    let same = from
        .iter()
        .zip(to.iter())
        .take_while(|(one, other)| one == other)
        .count();
    let up = from.iter().skip(same).map(|_| "..");
    up.map(AsRef::as_ref).chain(to.iter().skip(same)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_path_goes_up_and_down() {
        assert_eq!(relative(Path::new("/a/b/c"), Path::new("/a/d")), Path::new("../../d"));
        assert_eq!(relative(Path::new("/a"), Path::new("/a/d")), Path::new("d"));
    }
}
