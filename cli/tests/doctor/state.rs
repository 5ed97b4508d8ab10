//! The activity of a server that accepts doctor's log-in.

use std::time::Duration;

use local::postgres::Replication;
use sqlx::{AssertSqlSafe, Connection as _};
use tokio::time::{sleep, timeout};

use super::{
    BOUND, FAILING, UNREACHABLE, WARNINGS, address, commands, connect, execute, ids, json, migrated, role, run, sound,
    verdict,
};

#[tokio::test]
async fn standby_is_read_only() {
    let cluster = migrated(sound()).await;
    let standby = cluster.standby("doctor", Replication::Asynchronous).await.unwrap();
    let (code, first) = verdict(&standby.url()).await;
    assert_eq!(code, FAILING, "{first}");
    assert!(first.contains("read-only: this is a standby"), "{first}");
    // Of several servers functions use the one that accepts writes, and need no other.
    let (own, others) = (address(&cluster), [address(&standby), "127.0.0.1:1".parse().unwrap()]);
    let url = cluster.url();
    let alone = json(&url, &[]).await;
    for (other, says) in others.into_iter().zip([None, Some("refuse")]) {
        let report = json(&url.replace(&own.to_string(), &format!("{other},{own}")), &[]).await;
        assert_ne!(report["exitCode"], FAILING, "{report:#}");
        let more: Vec<_> = ids(&report)
            .into_iter()
            .filter(|id| !ids(&alone).contains(id))
            .collect();
        assert_eq!(!more.is_empty(), says.is_some(), "{report:#}");
        let recommended = report["url"].to_string();
        assert!(recommended.contains(&format!("{other},{own}")), "{recommended}");
        if let Some(says) = says {
            assert!(report["firstLine"].to_string().contains(says), "{report:#}");
        }
    }
    let (code, first) = verdict(&url.replace(&own.to_string(), "127.0.0.1:1,127.0.0.1:2")).await;
    assert_eq!(code, UNREACHABLE, "{first}");
}

/// Wherever it was set; the lines set it there. A later place takes precedence over the ones before.
#[tokio::test]
async fn read_only_setting_is_detected() {
    let cluster = migrated(sound()).await;
    let url = role(&cluster, "app").await;
    for place in ["SYSTEM", "DATABASE seer", "ROLE app", "ROLE app IN DATABASE seer"] {
        let set = format!("ALTER {place} SET default_transaction_read_only = on");
        execute(&cluster.url(), &set).await;
        cluster.reload().await.unwrap();
        let report = json(&url, &[]).await;
        assert_eq!(report["exitCode"], FAILING, "{place}: {report:#}");
        let cause = report["cause"].as_str().unwrap();
        assert!(
            cause.starts_with("read-only: default_transaction_read_only is on"),
            "{cause}"
        );
        let mut session = connect(&cluster.url()).await;
        for line in commands(&report, "read-only") {
            for statement in line.split_inclusive(';') {
                let sql = AssertSqlSafe(statement.to_owned());
                sqlx::raw_sql(sql).execute(&mut session).await.unwrap();
            }
        }
        cluster.reload().await.unwrap();
        assert!(!ids(&json(&url, &[]).await).contains(&"read-only"), "{place}");
    }
}

/// The role's settings end or stop other sessions, and functions set their own.
#[tokio::test]
async fn settings_of_the_role_do_not_stop_doctor() {
    let cluster = migrated(sound()).await;
    let url = role(&cluster, "app").await;
    execute(
        &cluster.url(),
        "GRANT ALL ON ALL TABLES IN SCHEMA public TO app; GRANT ALL ON SEQUENCE audit_id_seq TO app",
    )
    .await;
    let before = json(&url, &[]).await;
    assert_eq!(before["exitCode"], WARNINGS, "{before:#}");
    for settings in [
        &["idle_session_timeout = '1ms'"][..],
        &["idle_session_timeout = '30ms'"],
        // Some of doctor's queries are only for superusers.
        &["exit_on_error = on"],
        // Every query is compiled.
        &[
            "jit_above_cost = 0",
            "jit_inline_above_cost = 0",
            "jit_optimize_above_cost = 0",
        ],
    ] {
        for setting in settings {
            execute(&cluster.url(), &format!("ALTER ROLE app SET {setting}")).await;
        }
        let report = json(&url, &[]).await;
        assert_eq!(report["exitCode"], WARNINGS, "{settings:?}: {report:#}");
        assert_eq!(report["schema"]["trial"]["passed"], true, "{settings:?}: {report:#}");
        let idle = settings[0].starts_with("idle");
        assert_eq!(ids(&report).contains(&"idle-session"), idle, "{settings:?}: {report:#}");
        if idle {
            let reset = commands(&report, "idle-session").swap_remove(1);
            execute(&cluster.url(), &reset).await;
            assert_eq!(ids(&json(&url, &[]).await), ids(&before), "{reset}");
        }
        execute(&cluster.url(), "ALTER ROLE app RESET ALL").await;
    }
}

#[tokio::test]
async fn unprivileged_report_names_its_gaps() {
    let cluster = migrated(sound()).await;
    let url = role(&cluster, "guest").await;
    execute(&cluster.url(), "REVOKE ALL ON SCHEMA public FROM PUBLIC").await;
    let other = connect(&cluster.url()).await;
    let report = json(&url, &[]).await;
    assert_eq!(report["exitCode"], FAILING, "{report:#}");
    let state = &report["state"];
    assert_eq!(state["sessions"]["othersNotVisible"], "GRANT pg_monitor TO guest;");
    assert!(state["connections"]["used"].as_i64().unwrap() >= 1, "{state:#}");
    assert!(state["passwordHashes"]["notVisible"].is_string(), "{state:#}");
    assert!(
        report["schema"]["migrations"]["notVisible"]
            .as_str()
            .unwrap()
            .contains("TO guest;"),
        "{report:#}"
    );
    let settings = report["settings"].as_array().unwrap();
    let preload = settings
        .iter()
        .find(|setting| setting["name"] == "shared_preload_libraries");
    assert!(
        preload.is_none_or(|setting| setting["compared"] == "not-visible"),
        "{preload:?}"
    );
    let (_, page) = run(&url, &[]).await;
    assert!(
        page.contains("not visible to this role: GRANT USAGE ON SCHEMA public TO guest;"),
        "{page}"
    );

    // Granted roles see the data.
    execute(
        &cluster.url(),
        "GRANT pg_monitor TO guest; ALTER ROLE guest SET statement_timeout = '30s'",
    )
    .await;
    let report = json(&url, &[]).await;
    assert!(report["state"]["sessions"]["othersNotVisible"].is_null(), "{report:#}");
    drop(other);
}

#[tokio::test]
async fn blocking_sessions_are_named() {
    let cluster = migrated(sound()).await;
    let url = cluster.url();
    let mut holder = connect(&format!("{url}?application_name=holder")).await;
    let pid: i32 = sqlx::query_scalar("SELECT pg_backend_pid()")
        .fetch_one(&mut holder)
        .await
        .unwrap();
    sqlx::raw_sql("BEGIN; LOCK TABLE meetings")
        .execute(&mut holder)
        .await
        .unwrap();
    let mut waiter = connect(&url).await;
    let waiting = tokio::spawn(async move {
        sqlx::raw_sql("SELECT 'a-secret' FROM meetings")
            .execute(&mut waiter)
            .await
    });
    let mut observer = connect(&url).await;
    timeout(BOUND, async {
        let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted";
        while sqlx::query_scalar::<_, i64>(waits)
            .fetch_one(&mut observer)
            .await
            .unwrap()
            == 0
        {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap();
    let report = json(&url, &[]).await;
    assert_eq!(report["state"]["locks"]["waiting"], 1, "{report:#}");
    assert_eq!(
        report["state"]["locks"]["blockers"],
        serde_json::json!({ "holder": pid }),
        "{report:#}"
    );
    assert_eq!(report["state"]["oldestTransaction"]["pid"], pid, "{report:#}");
    assert_eq!(report["state"]["oldestTransaction"]["blocks"], 1, "{report:#}");
    let (_, page) = run(&url, &[]).await;
    assert!(!page.contains("a-secret"), "{page}");
    holder.close().await.unwrap();
    waiting.await.unwrap().unwrap();
}
