//! Checks the functions' statements against the schema and the role's privileges.
//!
//! The server plans each statement of the query data and checks its privileges, as it does before it runs one. If it
//! refuses none, `trial` runs what a plan does not show. Invariants: runs no statement of a function; blames missing
//! privileges only on a role that may be the functions'.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};
use shared::diagnostics::TRIAL;

use super::Product;
use super::cause::quoted;
use super::report::{Level, Report};
use super::server::Server;
use super::session::{Session, is_passing};
use super::trial;

/// The findings that a trial would only repeat.
const CAUSES: [&str; 5] = ["blocked", "privileges", "row-security", "shadowed-table", "statement"];

/// How many different failures are reported.
const SHOWN: usize = 5;

/// Checks every statement. `schema` is the one that has the tables, `correction` makes it the first of the search_path.
pub(super) async fn examine(
    session: &mut Session,
    server: &Server,
    schema: &str,
    product: &Product<impl Sized>,
    correction: &[String],
    report: &mut Report,
) {
    shadows(session, schema, correction, report).await;
    row_security(session, server, schema, report).await;
    unlogged(session, schema, report).await;
    planned(session, server, schema, &product.queries, report).await;
    if report.findings.iter().all(|finding| !CAUSES.contains(&finding.id)) {
        let statements = [product.trial, TRIAL].concat();
        trial::examine(session, server, schema, &statements, report).await;
    } else {
        report.note_schema("trial", "not run: what fails is known", json!({ "run": false }));
    }
}

/// Plans every statement. `queries` has the types of their parameters, as the compiler checked them.
async fn planned(session: &mut Session, server: &Server, schema: &str, queries: &[&str], report: &mut Report) {
    let statements = statements(queries);
    if statements.is_empty() {
        return report.note_schema(
            "statements",
            "not checked: the functions' statements are not known",
            json!({ "unknown": "no query data" }),
        );
    }
    let mut failed: BTreeMap<(String, String), usize> = BTreeMap::new();
    // One message for all of them; one by one only to find out which are refused.
    let mut blocked = None;
    // One message for all of them; one by one only to find out which are refused.
    match session.refusal(&statements.join(";\n")).await {
        Some((code, _)) if is_passing(&code) => blocked = Some(code),
        Some(_) => {
            for statement in &statements {
                match session.refusal(statement).await {
                    // The others would be blocked too, each until its timeout.
                    Some((code, _)) if is_passing(&code) => {
                        blocked = Some(code);
                        break;
                    }
                    Some(refusal) => *failed.entry(refusal).or_default() += 1,
                    None => {}
                }
            }
        }
        None => {}
    }
    if let Some(code) = &blocked {
        trial::blocked(session, "a statement of the functions", code, report).await;
    }
    if !server.is_application() {
        failed.retain(|(code, _), _| code != "42501");
    }
    let refused: usize = failed.values().sum();
    let text = match &blocked {
        Some(_) => "not all checked: the server is busy, or a lock is in the way".to_owned(),
        None => format!(
            "{refused} of {} statements of the functions would fail",
            statements.len()
        ),
    };
    let checked = blocked.is_none().then_some(statements.len());
    report.note_schema("statements", text, json!({ "checked": checked, "failing": refused }));
    for ((code, message), count) in failed.into_iter().take(SHOWN) {
        let (id, why, run) = if code == "42501" {
            let schema = quoted(schema);
            (
                "privileges",
                "The functions' role lacks a privilege; default privileges also cover the tables of later migrations.",
                server.privileges(&schema),
            )
        } else {
            (
                "statement",
                "The schema is not that of this build's migrations: a column or table was renamed, dropped or not made.",
                vec![
                    "cargo seer migrate   # with the owner's DATABASE_URL; if it has nothing to do, undo the change"
                        .to_owned(),
                ],
            )
        };
        report.find(
            Level::Fail,
            id,
            format!("{count} of the functions' statements fail: {message} (SQLSTATE {code})"),
            why,
            run,
        );
    }
}

/// Reads the statements of the query data, with NULL for each parameter.
fn statements(queries: &[&str]) -> Vec<String> {
    let mut statements: Vec<String> = queries
        .iter()
        .filter_map(|query| {
            let data: Value = serde_json::from_str(query).ok()?;
            let parameters = data["describe"]["parameters"]["Left"].as_array().cloned();
            Some(with_nulls(data["query"].as_str()?, &parameters.unwrap_or_default()))
        })
        .map(|statement| format!("EXPLAIN {statement}"))
        .collect();
    statements.sort_unstable();
    statements
}

/// Replaces `$1` by a NULL of the first type, and so on.
fn with_nulls(query: &str, types: &[Value]) -> String {
    let mut parts = query.split('$');
    let mut statement = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.bytes().take_while(u8::is_ascii_digit).count();
        let (number, rest) = part.split_at(digits);
        let Some(index) = number.parse::<usize>().ok().and_then(|number| number.checked_sub(1)) else {
            statement.push('$');
            statement.push_str(part);
            continue;
        };
        match types.get(index).and_then(Value::as_str).map(str::to_ascii_lowercase) {
            Some(array) if array.ends_with("array") => {
                statement.push_str(&format!("NULL::{}[]", array.trim_end_matches("array")));
            }
            Some(name) => statement.push_str(&format!("NULL::{name}")),
            None => statement.push_str("NULL"),
        }
        statement.push_str(rest);
    }
    statement
}

#[derive(Deserialize)]
struct Shadow {
    name: String,
    other: String,
}

/// Reports tables that this role finds in another schema, before the one that was migrated.
async fn shadows(session: &mut Session, schema: &str, correction: &[String], report: &mut Report) {
    let found = session
        .rows::<Shadow>(&format!(
            "SELECT c.relname AS name, n.nspname AS other FROM pg_class c \
             JOIN pg_class f ON f.oid = to_regclass(quote_ident(c.relname)) AND f.oid <> c.oid \
             JOIN pg_namespace n ON n.oid = f.relnamespace \
             WHERE c.relkind IN ('r', 'p') AND c.relnamespace = to_regnamespace({}) ORDER BY 1",
            super::cause::literal(&quoted(schema))
        ))
        .await;
    for Shadow { name, other } in found.unwrap_or_default() {
        report.find(
            Level::Fail,
            "shadowed-table",
            format!("this role's statements use {other}.{name}, not {schema}.{name}"),
            "The search_path has the other schema first; \"$user\" in it is a schema named like the role.",
            correction.to_vec(),
        );
    }
}

#[derive(Deserialize)]
struct Table {
    name: String,
}

/// Reports tables whose rows this role never sees, because row-level security is on and no policy is for it.
async fn row_security(session: &mut Session, server: &Server, schema: &str, report: &mut Report) {
    let found = session
        .rows::<Table>(&format!(
            "SELECT c.relname AS name FROM pg_class c WHERE c.relnamespace = to_regnamespace({}) \
             AND c.relrowsecurity AND row_security_active(c.oid) AND NOT EXISTS (SELECT FROM pg_policy p, \
             unnest(p.polroles) role WHERE p.polrelid = c.oid AND p.polcmd IN ('*', 'r') AND p.polpermissive \
             AND (role = 0 OR pg_has_role(role, 'USAGE'))) ORDER BY 1",
            super::cause::literal(&quoted(schema))
        ))
        .await;
    for Table { name } in found.unwrap_or_default() {
        let (table, role) = (format!("{}.{}", quoted(schema), quoted(&name)), quoted(&server.role));
        report.find(
            Level::Fail,
            "row-security",
            format!("row-level security hides every row of {name} from {}", server.role),
            "It is on, and no policy is for this role: reads find nothing, and writes are refused.",
            vec![format!(
                "CREATE POLICY functions ON {table} TO {role} USING (true) WITH CHECK (true);   -- or: ALTER TABLE \
                 {table} DISABLE ROW LEVEL SECURITY;"
            )],
        );
    }
}

/// Reports tables without a write-ahead log.
async fn unlogged(session: &mut Session, schema: &str, report: &mut Report) {
    let found = session
        .rows::<Table>(&format!(
            "SELECT relname AS name FROM pg_class WHERE relnamespace = to_regnamespace({}) AND relkind = 'r' \
             AND relpersistence = 'u' ORDER BY 1",
            super::cause::literal(&quoted(schema))
        ))
        .await;
    for Table { name } in found.unwrap_or_default() {
        report.find(
            Level::Fail,
            "unlogged-table",
            format!("{name} is UNLOGGED: a crash of the server empties it, and no standby has its rows"),
            "Acknowledged writes are lost then; without the receipts, a repeated request is applied twice.",
            vec![format!("ALTER TABLE {}.{} SET LOGGED;", quoted(schema), quoted(&name))],
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_become_nulls_of_their_type() {
        let types = [json!("Uuid"), json!("TextArray"), json!({"Custom": "x"})];
        for (query, expected) in [
            ("SELECT $1, $2::text[]", "SELECT NULL::uuid, NULL::text[]::text[]"),
            ("SELECT $3 WHERE a = $1", "SELECT NULL WHERE a = NULL::uuid"),
            ("SELECT '$', $4, 1", "SELECT '$', NULL, 1"),
            ("SELECT 1", "SELECT 1"),
        ] {
            assert_eq!(with_nulls(query, &types), expected);
        }
        let query = r#"{"query": "SELECT $1", "describe": {"parameters": {"Left": ["Uuid"]}}}"#;
        assert_eq!(statements(&[query]), ["EXPLAIN SELECT NULL::uuid"]);
    }
}
