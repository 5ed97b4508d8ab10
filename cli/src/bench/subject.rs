//! The programs that are measured: the floor, the project's functions, and the peers of `tests/peers`.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use crate::checkout::Checkout;
use crate::faults::peers;

/// The project's function that reads.
pub(super) const READ: &str = "meetings-get";
/// The project's function that writes.
pub(super) const WRITE: &str = "meetings-create";

/// A subject's role in the comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// The program that every figure is divided by.
    Floor,
    /// This project.
    Ours,
    /// A design that people use today; it reads `SELECT 1`.
    Peer,
}

/// A program that is measured.
#[derive(Clone, Debug)]
pub(super) struct Subject {
    pub(super) name: String,
    pub(super) role: Role,
    pub(super) read: PathBuf,
    /// The binary that writes; peers have none.
    pub(super) write: Option<PathBuf>,
    /// `PATH` of the process, for programs that need an interpreter.
    pub(super) path: String,
}

/// Returns every program that could be built, the floor first and the project's functions second, and why the others
/// are left out.
///
/// # Errors
/// Fails if the floor does not build, or no longer runs the same statement as the route.
pub(super) async fn all(checkout: &Checkout) -> Result<(Vec<Subject>, Vec<String>)> {
    #[expect(clippy::disallowed_methods, reason = "where programs are, not Seer's configuration")]
    let path = std::env::var("PATH").unwrap_or_default();
    require_same_statement(&checkout.root)?;
    errln!("building the floor and the peers");
    let floor = peers::floor(checkout)?.build(checkout, &path).await?;
    let functions = checkout.target.join("release");
    let mut subjects = vec![
        Subject {
            name: "floor".to_owned(),
            role: Role::Floor,
            read: floor.clone(),
            write: Some(floor),
            path: path.clone(),
        },
        Subject {
            name: "Seer".to_owned(),
            role: Role::Ours,
            read: functions.join(READ),
            write: Some(functions.join(WRITE)),
            path: path.clone(),
        },
    ];
    let mut left_out = Vec::new();
    for peer in peers::listed(checkout)? {
        match peer.build(checkout, &path).await {
            Ok(program) => subjects.push(Subject {
                name: peer.name,
                role: Role::Peer,
                read: program,
                write: None,
                path: path.clone(),
            }),
            Err(why) => left_out.push(format!("{}: {why:#}", peer.name)),
        }
    }
    Ok((subjects, left_out))
}

/// Fails unless one of the project's routes still has the statement that the floor reads with.
fn require_same_statement(root: &Path) -> Result<()> {
    #[derive(Deserialize)]
    struct Recorded {
        query: String,
    }
    let words = |sql: &str| sql.split_whitespace().collect::<Vec<_>>().join(" ");
    let path = root.join("tests/peers/rust/src/floor/read.sql");
    let floor = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let folder = root.join("functions/.sqlx");
    for file in std::fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let recorded: Recorded = serde_json::from_str(&std::fs::read_to_string(file?.path())?)?;
        // The driver's own names for the columns' types.
        let route = words(&recorded.query)
            .replace(r#""meeting: Json<Meeting>""#, "meeting")
            .replace(r#""tasks: Json<Vec<Task>>""#, "tasks");
        if route == words(&floor) {
            return Ok(());
        }
    }
    ensure!(
        false,
        "no route runs the statement of {}: write that of GET /api/meetings/{{id}} into it",
        path.display()
    );
    Ok(())
}
