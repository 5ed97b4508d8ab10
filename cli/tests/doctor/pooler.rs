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
}
