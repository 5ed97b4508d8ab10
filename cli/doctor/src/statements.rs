//! Lists the slowest statements, and defines how any statement may be shown.
//!
//! Invariants: never prints a statement's literals, because they are data, and in `ALTER ROLE … PASSWORD` a secret.

use serde::Deserialize;
use serde_json::json;

use super::report::{Fact, Report};
use super::server::Server;
use super::session::{Session, Unavailable};

#[derive(Deserialize)]
struct Installed {
    schema: String,
}

#[derive(Deserialize)]
struct Statement {
    query: Option<String>,
    calls: i64,
    mean: f64,
}

/// Lists the slowest statements, if pg_stat_statements is loaded.
pub(super) async fn examine(session: &mut Session, server: &Server, report: &mut Report) {
    let installed = session
        .rows::<Installed>(
            "SELECT quote_ident(nspname) AS schema FROM pg_extension JOIN pg_namespace n ON n.oid = extnamespace \
             WHERE extname = 'pg_stat_statements'",
        )
        .await;
    let schema = match installed.map(|rows| rows.into_iter().next()) {
        Ok(Some(installed)) => installed.schema,
        Ok(None) => {
            return report.note(
                "slowest",
                "pg_stat_statements is not installed here",
                json!({ "unknown": "not installed" }),
            );
        }
        Err(unavailable) => return report.unavailable("slowest", &unavailable, &server.grant()),
    };
    let slowest = session
        .rows::<Statement>(&format!(
            "SELECT left(query, 200) AS query, calls, mean_exec_time AS mean FROM {schema}.pg_stat_statements \
             WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) \
             AND query NOT LIKE '%::text AS answer FROM (%' AND mean_exec_time >= 1 ORDER BY mean_exec_time DESC LIMIT 5"
        ))
        .await;
    let slowest = match slowest {
        Ok(slowest) => slowest,
        Err(Unavailable::Absent) => {
            let text = "pg_stat_statements is not loaded: see shared_preload_libraries";
            return report.note("slowest", text, json!({ "unknown": "not loaded" }));
        }
        Err(unavailable) => return report.unavailable("slowest", &unavailable, &server.grant()),
    };
    let shown = |statement: &Statement| match statement.query.as_deref() {
        None | Some("<insufficient privilege>") => "another role's, not visible".to_owned(),
        Some(query) => without_literals(query),
    };
    let more = slowest
        .iter()
        .map(|statement| {
            format!(
                "{:>9.1} ms × {:<7} {}",
                statement.mean,
                statement.calls,
                shown(statement)
            )
        })
        .collect();
    let data = slowest
        .iter()
        .map(|statement| json!({ "meanMs": statement.mean, "calls": statement.calls, "query": shown(statement) }));
    let mut text = if slowest.is_empty() {
        "none over 1 ms"
    } else {
        "by mean time"
    }
    .to_owned();
    if !server.sees_activity {
        text.push_str(&format!(
            "; other roles' are not visible to this role: {}",
            server.grant()
        ));
    }
    report.state.push(Fact {
        id: "slowest",
        text,
        more,
        data: data.collect(),
    });
}

/// Returns a statement on one line, up to its first literal: the rest may be data or a password.
pub(super) fn without_literals(query: &str) -> String {
    let one_line = query.split_whitespace().collect::<Vec<_>>().join(" ");
    let parameter = |at: usize| one_line[at + 1..].starts_with(|next: char| next.is_ascii_digit());
    let literal = one_line
        .char_indices()
        .find(|(at, letter)| *letter == '\'' || (*letter == '$' && !parameter(*at)));
    let (end, cut) = literal.map_or((one_line.len(), false), |(at, _)| (at, true));
    let short: String = one_line[..end].chars().take(100).collect();
    if cut || short.len() < end {
        format!("{short}…")
    } else {
        short
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statement_is_cut_at_first_literal() {
        for (query, shown) in [
            ("ALTER ROLE x\n  PASSWORD 'secret'", "ALTER ROLE x PASSWORD …"),
            ("SELECT E'se\\'cret', 1", "SELECT E…"),
            ("DO $$ secret $$", "DO …"),
            ("DO $tag$ secret $tag$", "DO …"),
            ("SELECT $1, $2 FROM t", "SELECT $1, $2 FROM t"),
        ] {
            assert_eq!(without_literals(query), shown);
        }
    }
}
