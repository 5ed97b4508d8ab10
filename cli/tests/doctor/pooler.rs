//! A pooler between doctor and the server.

use local::postgres::Pooler;
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection as _, PgConnection};

use super::{FAILING, UNREACHABLE, WARNINGS, address, ids, json, migrated, sound, verdict};

#[tokio::test]
async fn unmentioned_pooler_is_detected() {
    if Pooler::find().is_none() {
        eprintln!("not tested: a pooler in between, because pgbouncer is not installed");
        return;
    }
    let cluster = migrated(sound()).await;
    let pooler = Pooler::start(&cluster, "seer", cluster.password(), 5).await.unwrap();
    let url = cluster
        .url()
        .replace(&address(&cluster).to_string(), &pooler.address().to_string());
    let (code, first) = verdict(&url).await;
    assert_eq!(code, FAILING, "{first}");
    assert!(first.contains("functions cannot connect: pooler"), "{first}");
    let report = json(&format!("{url}?pgbouncer=true"), &[]).await;
    assert_eq!(report["exitCode"], WARNINGS, "{report:#}");
    assert!(report["url"].as_str().unwrap().contains("pgbouncer=true"), "{report:#}");
}

/// A pooler that ignores the session limits of functions seems to be the server, and breaks their statements.
#[tokio::test]
async fn pooler_that_ignores_options_is_detected() {
    if Pooler::find().is_none() {
        return eprintln!("not tested: a hidden pooler, because pgbouncer is not installed");
    }
    let cluster = migrated(sound()).await;
    let pooler = Pooler::start(&cluster, "seer", cluster.password(), 5).await.unwrap();
    let url = cluster
        .url()
        .replace(&address(&cluster).to_string(), &pooler.address().to_string());
    console(&url, "SET ignore_startup_parameters = 'extra_float_digits, options'").await;
    // The second one meets a statement that the first one has prepared.
    for _ in 0..2 {
        let report = json(&url, &[]).await;
        assert_eq!(report["exitCode"], FAILING, "{report:#}");
        assert!(ids(&report).contains(&"pooler-hidden"), "{report:#}");
        let cause = report["cause"].as_str().unwrap();
        assert!(cause.contains("lacks pgbouncer=true"), "{cause}");
    }
    let report = json(&format!("{url}?pgbouncer=true"), &[]).await;
    assert_eq!(report["exitCode"], WARNINGS, "{report:#}");
    assert!(!ids(&report).contains(&"pooler-hidden"), "{report:#}");
    // Statements work then.
    console(&url, "SET pool_mode = session").await;
    console(&url, "RECONNECT seer").await;
    let report = json(&url, &[]).await;
    assert_eq!(report["exitCode"], WARNINGS, "{report:#}");
    assert!(ids(&report).contains(&"pooler-hidden"), "{report:#}");
}

/// Runs a command of the pooler's console.
async fn console(url: &str, command: &'static str) {
    let options: PgConnectOptions = url.parse().unwrap();
    let options = options.extra_float_digits(None).database("pgbouncer");
    let mut console = PgConnection::connect_with(&options).await.unwrap();
    sqlx::raw_sql(command).execute(&mut console).await.unwrap();
}

#[tokio::test]
async fn pooler_refusals_and_waits_are_named() {
    if Pooler::find().is_none() {
        eprintln!("not tested: a pooler's refusals, because pgbouncer is not installed");
        return;
    }
    let cluster = migrated(sound()).await;
    let pooler = Pooler::start(&cluster, "seer", cluster.password(), 1).await.unwrap();
    let through = |url: String| {
        let url = url.replace(&address(&cluster).to_string(), &pooler.address().to_string());
        format!("{url}?pgbouncer=true")
    };
    let url = through(cluster.url());
    let wrong = url.replace(cluster.password(), "not-the-password");
    for (url, id) in [(wrong, "auth"), (through(cluster.url_of("absent")), "no-database")] {
        let report = json(&url, &[]).await;
        assert_eq!(report["exitCode"], UNREACHABLE, "{report:#}");
        assert_eq!(ids(&report), [id], "{report:#}");
    }
    let options: PgConnectOptions = url.replace("?pgbouncer=true", "").parse().unwrap();
    let mut holder = PgConnection::connect_with(&options.extra_float_digits(None))
        .await
        .unwrap();
    sqlx::raw_sql("BEGIN; SELECT 1").execute(&mut holder).await.unwrap();
    let report = json(&url, &[]).await;
    assert_eq!(report["exitCode"], UNREACHABLE, "{report:#}");
    assert!(ids(&report).contains(&"pool-busy"), "{report:#}");
    drop(holder);
    // Without a connection to the server the pooler does not finish a log-in.
    console(url.trim_end_matches("?pgbouncer=true"), "KILL seer").await;
    let report = json(&url, &[]).await;
    assert_eq!(report["exitCode"], UNREACHABLE, "{report:#}");
    assert_eq!(ids(&report), ["pool-busy"], "{report:#}");
}
