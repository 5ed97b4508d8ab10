//! The texts of meetings are in their tables and nowhere else: not in the server's log, not in what other sessions see,
//! not in the rows that record a write.

use std::fs;

use local::postgres::Settings;
use serde_json::json;
use sqlx::{AssertSqlSafe, Row as _};

use super::backend::{Backend, connect, migrated};
use super::clerk;
use super::people::{id, meeting};
use super::roles::{prepared, url};
use super::webhook::{Delivery, complete};

/// Part of every text that the requests send.
const MARKER: &str = "Kingfisher";

/// Everything that a server can log about statements and their values.
const LOG_EVERYTHING: [(&str, &str); 7] = [
    ("log_statement", "all"),
    ("log_min_duration_statement", "0"),
    ("log_parameter_max_length", "-1"),
    ("log_parameter_max_length_on_error", "-1"),
    ("log_error_verbosity", "verbose"),
    ("log_min_messages", "debug1"),
    ("log_min_error_statement", "debug5"),
];

#[tokio::test]
async fn no_content_in_log_or_sessions() {
    let parameters = LOG_EVERYTHING.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let cluster = prepared(Settings {
        parameters: parameters.to_vec(),
        ..Settings::default()
    })
    .await;
    migrated(&url(&cluster, "seer_migrator")).await;
    let application = url(&cluster, "seer_app");
    let backend = Backend::with(|function| {
        for (name, value) in &mut function.env {
            if name == "DATABASE_URL" {
                value.clone_from(&application);
            }
        }
    })
    .await;

    let team = backend.team("one").await;
    let texts = json!({
        "title": MARKER, "agenda": MARKER, "transcript": MARKER, "executiveSummary": MARKER, "speakers": [MARKER],
        "wins": [MARKER], "areasForSupport": [MARKER], "keyInsights": [MARKER], "meetingBaasId": "bot-1",
    });
    let body = meeting(team.member.id, texts.clone());
    let create = || backend.post("/api/meetings").by(&team.admin).key("create").json(&body);
    let made = id(&create().send().await.is(201).json());
    create().send().await.is(201);
    let path = format!("/api/meetings/{made}");
    // An error of the server, for which it may log the statement with its values.
    let again = backend.post("/api/meetings").by(&team.admin).json(&body);
    again.send().await.problem(409, "conflict");
    let change = json!({"title": format!("{MARKER}s"), "agenda": MARKER});
    backend.put(&path).by(&team.admin).json(&change).send().await.is(200);
    backend.task(&team.admin, made, json!({"text": MARKER})).await;
    backend.key_area(&team, MARKER).await;
    backend.invite(&team.admin, &format!("{MARKER}@example.com")).await;
    let transcript = json!([{"speaker": MARKER, "words": [{"start": 0.1, "end": 0.4, "word": MARKER}]}]);
    let mut event = complete("bot-1");
    event["data"]["transcript"] = transcript;
    Delivery::of(&event).send(&backend).await.is(200);
    let renamed = json!({"id": team.member.sub, "first_name": MARKER, "updated_at": 1_767_258_000_000_u64});
    let renamed = clerk::signed(&backend, &json!({"type": "user.updated", "data": renamed}));
    renamed.send().await.is(200);
    let stored = backend.get(&path).by(&team.admin).send().await.is(200);
    assert!(stored.body.contains(MARKER));

    let mut session = connect(&cluster.url_of("seer")).await;
    for rows in [
        "SELECT query FROM pg_stat_activity WHERE usename = 'seer_app'",
        "SELECT r::text FROM receipts r",
        "SELECT a::text FROM audit a",
    ] {
        let rows = sqlx::raw_sql(AssertSqlSafe(rows))
            .fetch_all(&mut session)
            .await
            .unwrap();
        assert!(!rows.is_empty());
        for row in rows {
            let text: String = row.get(0);
            assert!(!is_there(&text), "{text}");
        }
    }
    // It is the right file: the values of another role, for which nothing is pinned, are in it.
    let owners = "Halcyon";
    let query = sqlx::query_scalar::<_, String>("SELECT $1::text").bind(owners);
    query.fetch_one(&mut session).await.unwrap();
    let log = String::from_utf8_lossy(&fs::read(cluster.log()).unwrap()).into_owned();
    assert!(log.contains("INSERT INTO meetings") && log.contains(owners));
    let found: Vec<_> = log.lines().filter(|line| is_there(line)).collect();
    assert!(found.is_empty(), "{found:#?}");
}

/// Invited addresses are stored in lower case.
fn is_there(text: &str) -> bool {
    text.to_lowercase().contains(&MARKER.to_lowercase())
}
