//! The statements of the migrations, from which doctor derives the expected schema.

use shared::Service;
use shared::db::migrate;

/// A statement of a migration.
pub(super) struct Statement {
    pub(super) version: i64,
    /// Without comments, its words separated by single spaces.
    pub(super) text: String,
}

/// Returns the statements in the order in which they are applied.
pub(super) fn statements(service: &Service) -> Vec<Statement> {
    let mut statements = Vec::new();
    for migration in migrate::migrations(service).iter() {
        let lines = migration.sql.as_str().lines();
        let code: Vec<&str> = lines.map(|line| line.split("--").next().unwrap_or_default()).collect();
        statements.extend(code.join(" ").split(';').map(|statement| Statement {
            version: migration.version,
            text: statement.split_whitespace().collect::<Vec<_>>().join(" "),
        }));
    }
    statements
}
