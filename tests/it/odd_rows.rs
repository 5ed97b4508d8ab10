//! Rows that the API cannot have written: every route answers as without them, and every list shows them.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use uuid::Uuid;

use super::backend::{Backend, workspace};
use super::names::{expected_status, files};
use super::people::Person;
use super::webhook::{read, recorded};

const SEED: &str = include_str!("../../cli/src/seed.sql");

/// Times as expressions of a row `r`; the last one gives each row another.
const TIMES: [&str; 4] = [
    "'infinity'",
    "'-infinity'",
    "'294276-12-31'",
    "(ARRAY['infinity', '-infinity', '10000-01-01', '262000-02-29', '0044-03-15 BC', '2031-01-01'])\
     [1 + abs(hashtext(r::text) % 6)]",
];

/// A quote takes four bytes of an answer.
#[tokio::test]
async fn transcript_over_an_answer_is_cut() {
    let (backend, team, path) = recorded(json!({})).await;
    backend
        .execute(r#"UPDATE meetings SET transcript = repeat('"', 2000000)"#)
        .await;
    let meeting = read(&backend, &team, &path).await;
    let shown = meeting["transcript"].as_str().unwrap().len();
    assert!((1_490_000..1_500_000).contains(&shown), "{shown}");
}

/// Deletes all rows, seeds, and sets every time and every array of the catalogue, as far as its constraints allow.
fn odd_rows(time: &str) -> String {
    format!(
        "TRUNCATE users, bots, webhook_inbox CASCADE; {SEED}; \
         INSERT INTO webhook_inbox (id, received_at, bot_id, kind, skipped) \
         VALUES (gen_random_uuid(), now(), 'nobody', 'progress', 0); \
         UPDATE users SET clerk_updated_at = now(); \
         UPDATE meetings SET bot_status_at = now(); \
         DO $$ DECLARE change text; BEGIN \
             FOR change IN \
                 SELECT format('UPDATE %I r SET %I = %s WHERE %2$I IS NOT NULL', table_name, column_name, \
                     CASE udt_name WHEN 'timestamptz' THEN $t$({time})::timestamptz$t$ \
                         ELSE $t$'{{{{a,b}},{{c,NULL}}}}'$t$ END) \
                 FROM information_schema.columns JOIN information_schema.tables USING (table_schema, table_name) \
                 WHERE table_schema = 'public' AND table_type = 'BASE TABLE' AND table_name <> '_sqlx_migrations' \
                     AND udt_name IN ('timestamptz', '_text') \
             LOOP EXECUTE change; END LOOP; \
         END $$"
    )
}

/// The operations with pages.
fn paged() -> BTreeSet<String> {
    let document = std::fs::read_to_string(workspace().join("openapi.json")).unwrap();
    let document: Value = serde_json::from_str(&document).unwrap();
    let paths = document["paths"].as_object().unwrap().values();
    let operations = paths.flat_map(|methods| methods.as_object().unwrap().values());
    let paged = operations.filter(|operation| {
        let parameters = operation["parameters"].as_array();
        parameters.is_some_and(|all| all.iter().any(|one| one["name"] == "limit"))
    });
    paged
        .map(|operation| operation["operationId"].as_str().unwrap().to_owned())
        .collect()
}

/// The admin of the seed.
fn dev_admin() -> Person {
    Person {
        sub: "dev-admin".to_owned(),
        email: "admin@example.com".to_owned(),
        id: Uuid::nil(),
    }
}

fn ids(items: &[Value]) -> Vec<&Value> {
    items.iter().map(|item| &item["id"]).collect()
}

#[tokio::test]
async fn odd_rows_do_not_fail_a_route() {
    let backend = Backend::start().await;
    let admin = dev_admin();
    let (events, paged) = (files("tests/events", "json"), paged());
    for time in TIMES {
        backend.execute(&odd_rows(time)).await;
        for (name, event) in &events {
            let function = name.trim_end_matches("-scheduled");
            if function != name {
                let report = backend.invoke(function, event.clone().into_bytes()).await;
                let log = report.environment.unwrap().log();
                assert!(!log.iter().any(|line| line.contains("unknown")), "{time}: {log:?}");
                continue;
            }
            let answer = backend.send(name, event.clone().into_bytes(), false).await;
            let (status, expected) = (answer.status, expected_status(name));
            // An invitation has expired before Christ.
            let expired = status == 404 && name.starts_with("invitations-");
            assert!(
                status == expected || expired,
                "{time}, {name}: {status} {}",
                answer.body
            );
            let event: Value = serde_json::from_str(event).unwrap();
            if event["requestContext"]["http"]["method"] != "GET" {
                backend.execute(&odd_rows(time)).await;
            } else if paged.contains(name) {
                let list = event["rawPath"].as_str().unwrap();
                let all = backend.get(list).by(&admin).send().await.is(200).items();
                assert!(!all.is_empty(), "{time}, {name}");
                // Of the years that only PostgreSQL has, one page does not know those of the page before.
                if !time.contains("294276") {
                    let walked = backend.walk(&admin, list, 1).await;
                    assert_eq!(ids(&walked), ids(&all), "{time}, {name}");
                }
            }
        }
    }
}

#[tokio::test]
async fn odd_values_are_shown_as_the_nearest() {
    let backend = Backend::start().await;
    let one = "/api/meetings/01900000-0000-7000-8000-000000000102";
    for (time, year) in [
        ("'infinity'", "9999"),
        ("'-infinity'", "0001"),
        ("'0044-03-15 BC'", "0001"),
        ("'2031-01-01'", "2031"),
    ] {
        backend.execute(&odd_rows(time)).await;
        let shown = backend.get(one).by(&dev_admin()).send().await.is(200).json();
        assert_eq!(shown["wins"], json!(["a", "b", "c"]));
        for field in ["date", "createdAt", "updatedAt"] {
            let shown = shown[field].as_str().unwrap();
            assert!(shown.starts_with(year), "{time}: {shown}");
        }
    }
}
