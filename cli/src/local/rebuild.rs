//! Builds the functions again when their code changes, and replaces the environments of those that differ.
//!
//! Invariants: until a build has succeeded, the running functions keep answering. Looks at the files' times once a
//! second, which needs no support of the file system.

use std::collections::BTreeSet;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::io::{Write as _, stderr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Result;
use ignore::WalkBuilder;
use tokio::task::spawn_blocking;

use super::front::Front;
use crate::build::{Binaries, build};

/// The interval between two looks at the files.
const EVERY: Duration = Duration::from_secs(1);

/// The sources of the functions, in the checkout.
const SOURCES: [&str; 4] = ["Cargo.toml", "Cargo.lock", "functions", "shared"];

/// The functions' code in a checkout, and what was built from it.
pub(crate) struct Sources {
    root: PathBuf,
    /// The state that was built.
    state: u64,
    pub(crate) binaries: Binaries,
}

impl Sources {
    /// Builds these functions.
    ///
    /// # Errors
    /// Fails if the build fails; cargo has shown why.
    pub(crate) async fn build(root: &Path, functions: &BTreeSet<&str>) -> Result<Self> {
        // Read before the build, so that a change during the build counts.
        let state = state(root).await;
        Ok(Self {
            root: root.to_owned(),
            state,
            binaries: build(root, functions).await?,
        })
    }

    /// Waits for changes and replaces the functions of `front` that differ. Never returns.
    pub(crate) async fn follow(self, front: &Front) {
        let functions = self.binaries.keys().map(String::as_str).collect();
        let mut built = self.state;
        loop {
            tokio::time::sleep(EVERY).await;
            let now = state(&self.root).await;
            if now == built {
                continue;
            }
            built = now;
            say("the code has changed: building; until then the functions answer as before");
            let (since, before) = (Instant::now(), times(&self.binaries));
            if build(&self.root, &functions).await.is_err() {
                say("it does not build: the functions answer as before");
                continue;
            }
            let pairs = before.iter().zip(times(&self.binaries));
            let differ = functions
                .iter()
                .zip(pairs)
                .filter(|(_, (before, after))| **before != *after);
            let changed: Vec<&str> = differ.map(|(name, _)| *name).collect();
            for name in &changed {
                front.lambda.replace(name).await;
            }
            let took = since.elapsed().as_secs_f64();
            say(&match changed.as_slice() {
                [] => format!("no function has changed ({took:.1} s)"),
                [one] => format!("{one} is replaced ({took:.1} s)"),
                many => format!("{} functions are replaced ({took:.1} s)", many.len()),
            });
        }
    }
}

fn say(text: &str) {
    // A closed terminal is no reason to stop.
    let _ = writeln!(stderr(), "{text}");
}

/// Returns when each binary was written, in the order of their names.
fn times(binaries: &Binaries) -> Vec<Option<SystemTime>> {
    binaries.values().map(|path| written(path)).collect()
}

fn written(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}

/// Returns a number for the state of the sources, which changes with every file that is added, removed or written.
async fn state(root: &Path) -> u64 {
    let root = root.to_owned();
    spawn_blocking(move || hash(&root)).await.unwrap_or_default()
}

fn hash(root: &Path) -> u64 {
    let mut folders = SOURCES.map(|name| root.join(name)).into_iter();
    let Some(first) = folders.next() else { return 0 };
    let mut walk = WalkBuilder::new(first);
    folders.for_each(|folder| {
        walk.add(folder);
    });
    // The query data is in a hidden folder.
    let files = walk.hidden(false).build().flatten();
    let mut files: Vec<PathBuf> = files
        .filter(|entry| entry.file_type().is_some_and(|kind| kind.is_file()))
        .map(ignore::DirEntry::into_path)
        .collect();
    files.sort();
    let mut hasher = DefaultHasher::new();
    for file in files {
        written(&file).hash(&mut hasher);
        file.hash(&mut hasher);
    }
    hasher.finish()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_change_of_a_source_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for folder in ["functions/.sqlx", "shared/src"] {
            std::fs::create_dir_all(at(folder)).unwrap();
        }
        std::fs::write(at("Cargo.toml"), "").unwrap();
        let mut states = vec![hash(folder.path())];
        let written = |name: &str, seconds| {
            let file = std::fs::File::create(at(name)).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
                .unwrap();
        };
        written("shared/src/lib.rs", 1);
        states.push(hash(folder.path()));
        written("shared/src/lib.rs", 2);
        states.push(hash(folder.path()));
        written("functions/.sqlx/query.json", 1);
        states.push(hash(folder.path()));
        std::fs::remove_file(at("shared/src/lib.rs")).unwrap();
        states.push(hash(folder.path()));
        written("README.md", 1);
        assert_eq!(hash(folder.path()), *states.last().unwrap());
        let count = states.len();
        states.sort_unstable();
        states.dedup();
        assert_eq!(states.len(), count);
    }
}
