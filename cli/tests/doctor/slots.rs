//! The use of connection slots.

use std::time::Duration;

use local::postgres::Settings;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tokio::time::{sleep, timeout};

use super::{
    BOUND, FAILING, UNREACHABLE, WARNINGS, commands, connect, execute, ids, json, migrated, role, sound, verdict,
};

/// Opens sessions until the server has no slot left.
async fn every_slot(url: &str) -> Vec<PgConnection> {
    let mut held = Vec::new();
    while let Ok(session) = PgConnection::connect(url).await {
        held.push(session);
    }
    held
}

/// By a superuser, who may use the reserved connections, and by a role that may not.
#[tokio::test]
async fn saturated_server_is_named() {
    let settings = Settings {
        max_connections: 8,
        ..sound()
    };
    let cluster = migrated(settings).await;
    let ordinary = role(&cluster, "ordinary").await;
    let billing = format!("{}?application_name=billing", role(&cluster, "billing").await);
    let others = every_slot(&billing).await;
    let (code, first) = verdict(&ordinary).await;
    assert_eq!(code, UNREACHABLE, "{first}");
    assert!(first.contains("saturated: every connection slot"), "{first}");
    let report = json(&cluster.url(), &[]).await;
    assert_eq!(report["exitCode"], FAILING, "{report:#}");
    let cause = report["cause"].as_str().unwrap();
    let holds = format!("{} by role billing, mostly billing", others.len());
    assert!(cause.contains("saturated") && cause.contains(&holds), "{report:#}");
    // There are no sessions that functions abandoned, so there is nothing to terminate.
    let commands = commands(&report, "saturated");
    assert!(!commands.is_empty(), "{report:#}");
    assert!(
        commands.iter().all(|command| !command.contains("terminate")),
        "{report:#}"
    );
    drop(others);
}

#[tokio::test]
async fn abandoned_session_fix_spares_others() {
    let settings = Settings {
        max_connections: 12,
        ..sound()
    };
    let cluster = migrated(settings).await;
    let app = role(&cluster, "app").await;
    execute(&cluster.url(), "CREATE DATABASE shop").await;
    let shop = app.replace("/seer", "/shop");
    let named = |url: &str, name: &str| format!("{url}?application_name={name}");
    let mut observer = connect(&cluster.url_of("postgres")).await;
    let mut others = Vec::new();
    for url in [
        named(&app, "seer-meetings-get:12"),
        named(&app, "users-me:$LATEST"),
        named(&app, "billing"),
        named(&app, "psql"),
        named(&shop, "cart:3"),
    ] {
        others.push(connect(&url).await);
    }
    others.extend(every_slot(&named(&app, "filler")).await);
    let report = json(&app, &[]).await;
    assert_eq!(report["exitCode"], UNREACHABLE, "{report:#}");
    let line = commands(&report, "saturated").pop().unwrap();
    // If the URL gives all of them one name, they are identified by it.
    let of_a_name = commands(&json(&named(&app, "filler"), &[]).await, "saturated");
    assert!(
        of_a_name
            .iter()
            .any(|line| line.contains("application_name = 'filler'")),
        "{of_a_name:?}"
    );
    // The test does not wait for five minutes.
    let at_once = line.replace("interval '5 min'", "interval '0 s'");
    assert_ne!(at_once, line);
    let ended: i64 = sqlx::query_scalar(AssertSqlSafe(at_once))
        .fetch_one(&mut observer)
        .await
        .unwrap();
    assert_eq!(ended, 2, "{line}");
    drop(others);
}

#[tokio::test]
async fn doctor_own_slot_is_not_counted() {
    let settings = Settings {
        max_connections: 8,
        ..sound()
    };
    let cluster = migrated(settings).await;
    let ordinary = role(&cluster, "ordinary").await;
    let grant = "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO ordinary";
    execute(&cluster.url(), grant).await;
    let mut others = every_slot(&ordinary).await;
    others.pop().unwrap().close().await.unwrap();
    let mut observer = connect(&cluster.url()).await;
    let open = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'ordinary'";
    let taken = i64::try_from(others.len()).unwrap();
    timeout(BOUND, async {
        while sqlx::query_scalar::<_, i64>(open)
            .fetch_one(&mut observer)
            .await
            .unwrap()
            > taken
        {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap();
    observer.close().await.unwrap();
    let report = json(&ordinary, &[]).await;
    assert_eq!(report["exitCode"], WARNINGS, "{report:#}");
    assert!(ids(&report).contains(&"last-slot"), "{report:#}");
    drop(others);
}

#[tokio::test]
async fn role_at_its_limit_is_not_saturation() {
    let cluster = migrated(sound()).await;
    let url = role(&cluster, "limited").await;
    execute(&cluster.url(), "ALTER ROLE limited CONNECTION LIMIT 1").await;
    let only = connect(&url).await;
    let (code, first) = verdict(&url).await;
    assert_eq!(code, UNREACHABLE, "{first}");
    assert!(first.contains("saturated: role limited has used up"), "{first}");
    drop(only);
}

/// The finding names whose connection limit is reached, the role's or the database's, and its line raises that limit.
#[tokio::test]
async fn last_slot_names_the_limit() {
    let cluster = migrated(sound()).await;
    let url = role(&cluster, "app").await;
    execute(
        &cluster.url(),
        "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO app",
    )
    .await;
    for (of, name) in [("ROLE app", "role app"), ("DATABASE seer", "database seer")] {
        execute(&cluster.url(), &format!("ALTER {of} CONNECTION LIMIT 1")).await;
        let report = json(&url, &[]).await;
        let findings = report["findings"].as_array().unwrap();
        let finding = findings.iter().find(|finding| finding["id"] == "last-slot").unwrap();
        let what = finding["what"].as_str().unwrap();
        assert!(what.contains(&format!("slot: {name} has used up its own")), "{what}");
        let line = commands(&report, "last-slot").remove(0);
        execute(&cluster.url(), &line).await;
        assert!(!ids(&json(&url, &[]).await).contains(&"last-slot"), "{line}");
    }
}
