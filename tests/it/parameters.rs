//! The effects of `DATABASE_URL`'s parameters, observed from outside: `shared::config` tests how each is parsed.

use local::lambda::Function;
use serde_json::json;

use super::backend::{Backend, migrated};
use super::people::id;

/// Adds parameters to a function's connection string.
pub fn with(parameters: &str) -> impl Fn(&mut Function) {
    move |function| {
        for (name, value) in &mut function.env {
            if name == "DATABASE_URL" {
                value.push_str(parameters);
            }
        }
    }
}

#[tokio::test]
async fn schema_parameter_places_tables() {
    let backend = Backend::with(with("?schema=of_its_own")).await;
    backend.execute("DROP SCHEMA IF EXISTS of_its_own CASCADE").await;
    migrated(&format!("{}?schema=of_its_own", backend.url())).await;
    backend.admin("ada").await;
    assert_eq!(backend.number("SELECT count(*) FROM of_its_own.users").await, 1);
    assert_eq!(backend.number("SELECT count(*) FROM public.users").await, 0);
}

#[tokio::test]
async fn application_name_is_configurable() {
    let backend = Backend::with(with("?application_name=the-name")).await;
    backend.admin("ada").await;
    let named = "SELECT count(*) FROM pg_stat_activity \
                 WHERE datname = current_database() AND application_name = 'the-name'";
    assert_eq!(backend.number(named).await, 1);
}

/// Behind a transaction pooler neither settings nor statements may stay on a server connection, because another client
/// runs the next transaction on it.
#[tokio::test]
async fn pooler_session_stays_clean() {
    let backend = Backend::with(with("?pgbouncer=true&schema=public")).await;
    // Only the session itself sees its statements, so a trigger records them at each insert.
    backend
        .execute(
            "CREATE OR REPLACE FUNCTION kept() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             NEW.text := (SELECT count(*) FROM pg_prepared_statements) || ' ' || current_setting('statement_timeout') \
             || ' ' || (SELECT reset_val FROM pg_settings WHERE name = 'statement_timeout'); RETURN NEW; END $$; \
             CREATE TRIGGER kept BEFORE INSERT ON tasks FOR EACH ROW EXECUTE FUNCTION kept()",
        )
        .await;
    let team = backend.team("one").await;
    let made = id(&backend.meeting(&team, json!({})).await);
    for _ in 0..3 {
        let task = backend.task(&team.admin, made, json!({})).await;
        let kept: Vec<_> = task["text"].as_str().unwrap().split(' ').collect();
        assert_eq!(kept[0], "0", "statements are kept: {task}");
        assert_ne!(kept[1], "0", "the transaction has no limit: {task}");
        assert_eq!(kept[2], "0", "the session has settings of ours: {task}");
    }
    backend.execute("DROP FUNCTION kept CASCADE").await;
    let read = backend.get(&format!("/api/meetings/{made}/tasks")).by(&team.member);
    assert_eq!(read.send().await.is(200).items().len(), 3);
}
