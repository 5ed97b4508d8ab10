//! The log line of an invocation: its fields, what it must not show, and the queries of `docs/LOGS.md`, which PostgreSQL
//! runs on real lines.

use std::collections::{BTreeMap, BTreeSet};

use local::lambda::{Invocation, Lambda, Options, Outcome};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use sqlx::{AssertSqlSafe, Row as _};

use super::answer::Answer;
use super::backend::{Backend, UNKNOWN_PASSWORD, connect, functions, invoke, workspace};
use super::people::{Person, Team, id, meeting};

/// A client's trace, as W3C writes it.
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// Functions whose database does not answer.
fn dead() -> Lambda {
    let url = format!("postgres://seer:{UNKNOWN_PASSWORD}@127.0.0.1:1/seer?pool_timeout=1");
    Lambda::start(functions(&url), Options::default()).unwrap()
}

/// Returns the last line of an invocation.
fn last(invocation: &Invocation) -> Value {
    let log = invocation.environment.as_ref().unwrap().log();
    serde_json::from_str(log.last().unwrap()).unwrap()
}

/// A backend whose `meetings-update` waits a second for a statement, and sends it twice.
async fn impatient() -> Backend {
    Backend::with(|function| {
        if function.name == "meetings-update" {
            let url = function.env.iter_mut().find(|(name, _)| name == "DATABASE_URL");
            url.unwrap().1.push_str("?socket_timeout=1");
            function.env.push(("MAX_RETRY_ATTEMPTS".to_owned(), "2".to_owned()));
        }
    })
    .await
}

/// Returns the line of an update whose row is locked by another session.
async fn locked(backend: &Backend, team: &Team) -> Value {
    let path = format!("/api/meetings/{}", id(&backend.meeting(team, json!({})).await));
    let mut holder = connect(backend.url()).await;
    let lock = "BEGIN; SELECT * FROM meetings FOR UPDATE";
    sqlx::raw_sql(lock).execute(&mut holder).await.unwrap();
    let update = backend.put(&path).by(&team.admin).json(&json!({"title": "New"}));
    update.send().await.problem(503, "database-unavailable").line()
}

/// Makes an invocation of each sort, and returns their lines.
async fn lines() -> Vec<Value> {
    let backend = impatient().await;
    let team = backend.team("one").await;
    let parent = format!("00-{TRACE}-00f067aa0ba902b7-01");
    let read = || {
        backend
            .get("/api/meetings")
            .by(&team.admin)
            .header("traceparent", &parent)
    };
    let mut lines = Vec::new();
    for call in [
        read(),
        read(),
        backend
            .post("/api/meetings")
            .by(&team.admin)
            .json(&meeting(team.member.id, json!({}))),
        backend.post("/api/meetings").by(&team.admin).json(&json!({})),
    ] {
        lines.push(call.send().await.line());
    }
    let schedule: Value = serde_json::from_str(include_str!("../events/health-scheduled.json")).unwrap();
    let up = backend.invoke("health", schedule.clone()).await;
    lines.push(last(&up));
    let dead = dead();
    let (_, event) = read().event();
    lines.push(Answer::of("meetings-list", invoke(&dead, "meetings-list", event).await).line());
    lines.push(last(&invoke(&dead, "health", schedule).await));
    lines.push(locked(&backend, &team).await);
    lines
}

#[tokio::test]
async fn line_shows_cost_and_no_person() {
    let backend = Backend::start().await;
    let team = backend.team("one").await;
    let parent = format!("00-{TRACE}-00f067aa0ba902b7-01");
    for _ in 0..2 {
        backend.meeting(&team, json!({})).await;
    }
    for first in [true, false] {
        let call = backend
            .get("/api/meetings")
            .by(&team.admin)
            .header("traceparent", &parent);
        let answer = call.send().await.is(200);
        let line = answer.line();
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["route"], "GET /api/meetings");
        assert_eq!(
            (&line["status"], &line["cold_start"]),
            (&json!(200), &json!(first)),
            "{line}"
        );
        for count in ["round_trips", "attempts"] {
            assert!(line[count].as_u64().is_some_and(|count| count > 0), "{count}: {line}");
        }
        assert!(line["connects"].is_u64() && line["witnesses"].is_u64(), "{line}");
        assert_eq!((&line["rows"], answer.items().len()), (&json!(2), 2), "{line}");
        assert_eq!(
            (&line["service"], &line["function_name"]),
            (&json!("seer"), &json!("meetings-list"))
        );
        assert_eq!(line["function_request_id"], answer.header("x-request-id").unwrap());
        assert!(line["xray_trace_id"].as_str().unwrap().starts_with("1-"), "{line}");
        assert_eq!(line["client_trace_id"], TRACE);
        let digest = format!("{:x}", Sha256::digest(&team.admin.sub));
        assert_eq!(line["caller"], digest[..16]);
        let time = |name: &str| line[name].as_f64().unwrap_or_else(|| panic!("{name}: {line}"));
        assert!(
            time("database_ms") > 0.0 && time("database_ms") <= time("duration_ms"),
            "{line}"
        );
        for failure in ["kind", "phase", "sqlstate", "error", "problem"] {
            assert!(line.get(failure).is_none(), "{failure}: {line}");
        }
        let log = answer.environment().log().join("\n");
        assert!(
            !log.contains(&team.admin.sub) && !log.contains(&team.admin.email),
            "{log}"
        );
    }
}

/// The client learns nothing of it; the operator needs no second line.
#[tokio::test]
async fn line_of_a_failure_says_why() {
    let backend = Backend::start().await;
    let dead = dead();
    let (_, event) = backend.get("/api/users/me").by(&Person::stranger("ada")).event();
    let answer = Answer::of("users-me", invoke(&dead, "users-me", event.clone()).await);
    let answer = answer.problem(503, "database-unavailable");
    let line = answer.line();
    assert_eq!((&line["level"], &line["status"]), (&json!("ERROR"), &json!(503)));
    assert_eq!(line["problem"], "database-unavailable");
    assert_eq!((&line["kind"], &line["phase"]), (&json!("refused"), &json!("connect")));
    let error = line["error"].as_str().unwrap();
    assert!(error.contains("check that PostgreSQL runs"), "{error}");
    assert_eq!(line["round_trips"], 0);
    assert_eq!(line["connects"], line["attempts"], "{line}");

    // The attempts of the line and of its text are the same, also if INIT has spent the outage's budget.
    let next = Answer::of("users-me", invoke(&dead, "users-me", event).await);
    for line in [line, next.problem(503, "database-unavailable").line()] {
        let tried = match line["attempts"].as_u64().unwrap() {
            0 => ", not tried: the database has been down for ".to_owned(),
            1 => " after 1 attempt in ".to_owned(),
            attempts => format!(" after {attempts} attempts in "),
        };
        assert!(line["error"].as_str().unwrap().contains(&tried), "{line}");
    }

    let (_, health) = backend.get("/api/health").event();
    let line = Answer::of("health", invoke(&dead, "health", health).await)
        .is(503)
        .line();
    assert_eq!(
        (&line["level"], &line["kind"]),
        (&json!("ERROR"), &json!("refused")),
        "{line}"
    );
}

/// A statement that waits for a lock is not told to look at the network.
#[tokio::test]
async fn locked_row_is_blamed_on_the_lock() {
    let backend = impatient().await;
    let team = backend.team("one").await;
    let line = locked(&backend, &team).await;
    assert_eq!(
        (&line["kind"], &line["phase"]),
        (&json!("timeout"), &json!("statement")),
        "{line}"
    );
    assert_eq!(line["attempts"], 2, "{line}");
    let error = line["error"].as_str().unwrap();
    assert!(
        error.contains("after 2 attempts in") && error.contains("pg_locks"),
        "{error}"
    );
    assert!(!error.contains("security group"), "{error}");
}

#[tokio::test]
async fn schedule_leaves_one_line() {
    let backend = Backend::start().await;
    let schedule = || include_str!("../events/health-scheduled.json").as_bytes().to_vec();
    let dead = dead();
    let (up, down) = (
        backend.invoke("health", schedule()).await,
        invoke(&dead, "health", schedule()).await,
    );
    for (invocation, level, state) in [(up, "INFO", "up"), (down, "ERROR", "refused")] {
        assert!(matches!(invocation.outcome, Outcome::Success(_)));
        let log = invocation.environment.as_ref().unwrap().log();
        let own = log.iter().filter(|line| line.contains(&invocation.request_id));
        assert_eq!(own.count(), 1, "{log:#?}");
        let line = last(&invocation);
        assert_eq!(
            (&line["message"], &line["level"]),
            (&json!("scheduled"), &json!(level)),
            "{line}"
        );
        assert_eq!(
            (
                &line["state"],
                &line["connects"].as_u64().is_some_and(|connects| connects > 0)
            ),
            (&json!(state), &true)
        );
        let report: Value = serde_json::from_str(line["report"].as_str().unwrap()).unwrap();
        assert_eq!(report["state"], state);
        assert_eq!(line.get("kind").is_some(), level == "ERROR", "{line}");
    }
}

fn page() -> String {
    std::fs::read_to_string(workspace().join("docs/LOGS.md")).unwrap()
}

/// Returns the fields in the page's table.
fn documented() -> BTreeSet<String> {
    let page = page();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.filter_map(|row| row.split_once('`'))
        .map(|(name, _)| name.to_owned())
        .collect()
}

/// Returns the queries of the page with the headings above them.
fn queries() -> Vec<(String, String)> {
    let page = page();
    let mut heading = "";
    let mut found: Vec<(String, String)> = Vec::new();
    let mut within = false;
    for line in page.lines() {
        if let Some(title) = line.strip_prefix("### ") {
            heading = title;
        } else if line.starts_with("```") {
            within = !within && line == "```logs";
            if within {
                found.push((heading.to_owned(), String::new()));
            }
        } else if within {
            let (_, query) = found.last_mut().unwrap();
            query.push_str(line);
            query.push(' ');
        }
    }
    found
}

/// Returns the SQL of a query of CloudWatch Logs Insights, as far as the page uses its language; fails at anything else.
fn sql(query: &str) -> String {
    let expression = |text: &str| {
        let mut text = text.replace('"', "'").replace("@timestamp", "\"timestamp\"");
        while let Some(at) = text.find("pct(") {
            let (inside, rest) = text[at + 4..].split_once(')').unwrap();
            let (field, percent) = inside.split_once(',').unwrap();
            let percent: u8 = percent.trim().parse().unwrap();
            text = format!(
                "{}percentile_disc({percent} / 100.0) WITHIN GROUP (ORDER BY {field}){rest}",
                &text[..at]
            );
        }
        let mut binned = String::new();
        while let Some((before, after)) = text.split_once("bin(") {
            let (width, rest) = after.split_once(')').unwrap();
            binned.push_str(&format!("{before}date_bin('{width}', \"timestamp\", 'epoch')"));
            text = rest.to_owned();
        }
        binned + &text
    };
    let (mut select, mut filter, mut group, mut sort, mut limit) = ("*".to_owned(), Vec::new(), None, None, None);
    for step in query.split('|').map(str::trim) {
        let (command, rest) = step.split_once(' ').unwrap();
        match command {
            "fields" => select = expression(rest),
            "filter" => filter.push(format!("({})", expression(rest))),
            "stats" => {
                let (aggregates, by) = rest.split_once(" by ").unwrap_or((rest, ""));
                select = expression(aggregates);
                if !by.is_empty() {
                    let by = expression(by);
                    select = format!("{by}, {select}");
                    let columns = by.split(", ").count();
                    // `date_bin(…)` has commas of its own, and is alone.
                    let columns = if by.starts_with("date_bin") { 1 } else { columns };
                    let columns: Vec<_> = (1..=columns).map(|number| number.to_string()).collect();
                    group = Some(columns.join(", "));
                }
            }
            "sort" => sort = Some(expression(rest)),
            "limit" => limit = Some(rest.trim().parse::<u32>().unwrap()),
            other => panic!("{other}: {query}"),
        }
    }
    let mut sql = format!("SELECT {select} FROM lines");
    if !filter.is_empty() {
        sql.push_str(&format!(" WHERE {}", filter.join(" AND ")));
    }
    sql.push_str(&group.map(|group| format!(" GROUP BY {group}")).unwrap_or_default());
    sql.push_str(&sort.map(|sort| format!(" ORDER BY {sort}")).unwrap_or_default());
    sql.push_str(&limit.map(|limit| format!(" LIMIT {limit}")).unwrap_or_default());
    sql
}

/// A query that names a field which no line has, or whose condition fits none, would fail or find nothing.
#[tokio::test]
async fn documented_queries_find_real_lines() {
    let lines = lines().await;
    let mut types = BTreeMap::new();
    for line in &lines {
        for (name, value) in line.as_object().unwrap() {
            let of = match value {
                Value::Number(_) => "double precision",
                Value::Bool(_) => "boolean",
                Value::String(_) if name == "timestamp" => "timestamptz",
                Value::String(_) => "text",
                other => panic!("{name}: {other}"),
            };
            assert_eq!(*types.entry(name.clone()).or_insert(of), of, "{name}");
        }
    }
    // Only errors of the server have these two.
    for name in ["sqlstate", "constraint"] {
        types.entry(name.to_owned()).or_insert("text");
    }
    let known: BTreeSet<_> = types.keys().cloned().collect();
    assert_eq!(documented(), known, "docs/LOGS.md has other fields than the lines");

    let backend = Backend::start().await;
    let mut session = connect(backend.url()).await;
    let columns: Vec<_> = types.iter().map(|(name, of)| format!("\"{name}\" {of}")).collect();
    let create = format!("CREATE TEMP TABLE lines ({})", columns.join(", "));
    sqlx::raw_sql(AssertSqlSafe(create))
        .execute(&mut session)
        .await
        .unwrap();
    sqlx::query("INSERT INTO lines SELECT * FROM jsonb_populate_recordset(NULL::lines, $1)")
        .bind(json!(lines))
        .execute(&mut session)
        .await
        .unwrap();
    let queries = queries();
    assert!(queries.len() >= 8, "{queries:#?}");
    for (heading, query) in queries {
        let query = query
            .replace("REQUEST", lines[0]["function_request_id"].as_str().unwrap())
            .replace("CALLER", lines[0]["caller"].as_str().unwrap())
            .replace("TRACE", TRACE);
        let counted = format!("SELECT count(*) FROM ({}) AS found", sql(&query));
        let found = sqlx::raw_sql(AssertSqlSafe(counted.clone()))
            .fetch_one(&mut session)
            .await;
        let found: i64 = found
            .unwrap_or_else(|error| panic!("{heading}: {error}: {counted}"))
            .get(0);
        assert!(found > 0, "{heading} finds nothing: {counted}");
    }
}
