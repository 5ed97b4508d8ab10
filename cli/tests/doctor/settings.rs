//! Settings, and the lines that fix them.

use local::postgres::{Settings, Shutdown};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _};

use super::{FAILING, HEALTHY, commands, connect, execute, ids, json, migrated, role, run, sound};

/// Settings that guides for a single long-lived server used to recommend; the others stay at their defaults.
fn old_guide() -> Settings {
    let parameters = [
        ("shared_buffers", "256MB"),
        ("work_mem", "4MB"),
        ("maintenance_work_mem", "64MB"),
        ("effective_cache_size", "1GB"),
        ("wal_buffers", "16MB"),
        ("checkpoint_completion_target", "0.7"),
        ("random_page_cost", "4.0"),
        ("password_encryption", "md5"),
        ("idle_in_transaction_session_timeout", "0"),
        ("tcp_keepalives_idle", "7200"),
        ("log_min_duration_statement", "-1"),
        ("synchronous_commit", "off"),
        ("autovacuum", "off"),
        ("fsync", "on"),
        ("full_page_writes", "on"),
    ];
    Settings {
        max_connections: 100,
        tls: true,
        parameters: parameters
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec(),
        ..Settings::default()
    }
}

/// Returns the SQL lines of the page that change settings, verbatim.
fn settings_lines(page: &str) -> Vec<String> {
    let sql = [
        "ALTER SYSTEM ",
        "ALTER ROLE ",
        "ALTER DATABASE ",
        "CREATE EXTENSION ",
        "SELECT pg_reload_conf()",
    ];
    page.lines()
        .skip_while(|line| !line.contains("To apply"))
        .map(str::trim)
        .filter(|line| sql.iter().any(|start| line.starts_with(start)))
        .map(str::to_owned)
        .collect()
}

#[tokio::test]
async fn old_setup_is_healthy_after_advice() {
    let cluster = migrated(old_guide()).await;
    cluster.set("ssl", "off").await.unwrap();
    cluster.reload().await.unwrap();
    let url = cluster.url();
    // More than its slots, so that they are part of the advice too.
    let (code, page) = run(&url, &["--budget", "150"]).await;
    assert_eq!(code, FAILING, "{page}");
    assert!(page.starts_with("FAILING") && page.contains("acknowledged"), "{page}");

    let lines = settings_lines(&page);
    assert!(
        lines
            .iter()
            .any(|line| line.starts_with("ALTER SYSTEM SET max_connections = 15")),
        "{page}"
    );
    let mut session = connect(&url).await;
    for line in lines {
        let sql = AssertSqlSafe(line.clone());
        sqlx::raw_sql(sql)
            .execute(&mut session)
            .await
            .unwrap_or_else(|error| panic!("{line}: {error}"));
    }
    session.close().await.unwrap();
    let waits = json(&url, &["--budget", "150"]).await;
    assert!(ids(&waits).contains(&"pending-restart"), "{waits:#}");
    assert!(page.contains("Then restart the server"), "{page}");
    cluster.restart(Shutdown::Fast).await.unwrap();

    let (code, page) = run(&url, &["--budget", "150"]).await;
    // An unsupported version is a finding of its own, and does not come from a guide.
    if json(&url, &[]).await["state"]["supported"]["over"] == false {
        assert_eq!(code, HEALTHY, "{page}");
        assert!(page.starts_with("HEALTHY"), "{page}");
    }
    let report = json(&url, &["--budget", "150"]).await;
    let settings = report["settings"].as_array().unwrap().iter();
    let differing: Vec<_> = settings.filter(|setting| setting["compared"] == "differs").collect();
    assert!(differing.is_empty(), "{differing:#?}");
}

#[tokio::test]
async fn application_limit_is_set_on_the_role() {
    let cluster = migrated(sound()).await;
    let url = role(&cluster, "app").await;
    let report = json(&url, &[]).await;
    let line = |report: &Value| {
        let settings = report["settings"].as_array().unwrap().iter();
        let mut found = settings.filter(|setting| setting["name"] == "statement_timeout");
        found
            .next()
            .map(|setting| (setting["compared"].clone(), setting["lines"][0].clone()))
            .unwrap()
    };
    let (compared, sql) = line(&report);
    assert_eq!(compared, "differs");
    assert_eq!(sql, "ALTER ROLE app SET statement_timeout = '30s';");
    execute(&cluster.url(), sql.as_str().unwrap()).await;
    assert_eq!(line(&json(&url, &[]).await).0, "fine");
    // A setting that a role overrides is changed where it is overridden.
    execute(&cluster.url(), "ALTER ROLE app SET idle_session_timeout = 0").await;
    let (_, page) = run(&url, &[]).await;
    assert!(
        page.contains("ALTER ROLE app SET idle_session_timeout = '15min';"),
        "{page}"
    );
}

#[tokio::test]
async fn managed_server_gets_group_parameters() {
    let cluster = migrated(sound()).await;
    execute(&cluster.url(), "CREATE ROLE rds_superuser").await;
    let (_, page) = run(&cluster.url(), &[]).await;
    assert!(
        page.contains("idle_session_timeout: \"900000\"") && page.contains("jit: \"0\""),
        "{page}"
    );
    assert!(!page.contains("ALTER SYSTEM"), "{page}");
}

/// So are passwords kept as md5 hashes. Local rules are not.
#[tokio::test]
async fn remote_trust_rule_is_named() {
    let cluster = migrated(sound()).await;
    let url = cluster.url();
    assert!(!ids(&json(&url, &[]).await).contains(&"pg-hba"));
    let file = cluster.data().join("pg_hba.conf");
    let rules = std::fs::read_to_string(&file).unwrap();
    let line = rules.lines().count() + 1;
    std::fs::write(&file, format!("{rules}host all all 10.0.0.0/8 trust\n")).unwrap();
    execute(
        &url,
        "SET password_encryption = 'md5'; CREATE ROLE old LOGIN PASSWORD 'a-password'",
    )
    .await;
    let (_, page) = run(&url, &[]).await;
    assert!(
        page.contains(&format!(
            "lines of pg_hba.conf that let others in without a password: {line}"
        )),
        "{page}"
    );
    assert!(page.contains("passwords kept as md5 hashes: old"), "{page}");
}

#[tokio::test]
async fn low_role_limit_is_reported() {
    let cluster = migrated(sound()).await;
    let url = role(&cluster, "app").await;
    execute(&cluster.url(), "ALTER ROLE app CONNECTION LIMIT 40").await;
    let report = json(&url, &["--budget", "50"]).await;
    assert_eq!(
        commands(&report, "role-budget"),
        ["ALTER ROLE app CONNECTION LIMIT 50;"]
    );
    // The functions' role may be a monitoring role too.
    execute(&cluster.url(), "GRANT pg_monitor TO app").await;
    let watcher = json(&url, &["--budget", "50"]).await;
    assert!(!ids(&watcher).contains(&"role-budget"), "{watcher:#}");
    execute(&cluster.url(), "GRANT SELECT ON meetings TO app").await;
    let report = json(&url, &["--budget", "50"]).await;
    assert!(ids(&report).contains(&"role-budget"), "{report:#}");
    execute(&cluster.url(), "ALTER ROLE app CONNECTION LIMIT 50").await;
    assert!(!ids(&json(&url, &["--budget", "50"]).await).contains(&"role-budget"));
}
