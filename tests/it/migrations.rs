//! `migrations-run`: the schema, and the roles that functions log in as, in a database that only functions reach.

use std::time::Duration;

use local::lambda::{Function, Lambda, Options, Outcome};
use local::postgres::{Cluster, Settings};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgConnection, Row as _};

use super::backend::{binary, connect, invoke, tells_no_secret};

fn migrations_run(url: &str, variables: &[(&str, &str)]) -> Lambda {
    let variables = [&[("DATABASE_URL", url)], variables].concat();
    let function = Function {
        env: variables
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        timeout: Duration::from_secs(900),
        ..Function::new("migrations-run", binary("migrations-run"))
    };
    Lambda::start([function], Options::default()).unwrap()
}

const ROLES: [(&str, &str); 2] = [("APPLICATION_ROLE", "seer_app"), ("MONITORING_ROLE", "seer_monitor")];

async fn migrated(lambda: &Lambda) -> Value {
    let Outcome::Success(done) = invoke(lambda, "migrations-run", json!({})).await.outcome else {
        panic!("it failed")
    };
    serde_json::from_slice(&done).unwrap()
}

async fn allowed(session: &mut PgConnection, role: &str, sql: &str) -> bool {
    let sql = format!("BEGIN; SET LOCAL ROLE {role}; {sql}; ROLLBACK");
    let done = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *session).await;
    sqlx::raw_sql("ROLLBACK").execute(session).await.unwrap();
    match done {
        Ok(_) => true,
        Err(error) => {
            let code = error.as_database_error().and_then(|error| error.code());
            assert_eq!(code.as_deref(), Some("42501"), "{error}");
            false
        }
    }
}

/// The roles are granted what they need and no more.
#[tokio::test]
async fn pending_is_applied_and_granted() {
    let cluster = Cluster::throwaway(Settings::default()).await.unwrap();
    let url = cluster.url();
    let mut session = connect(&url).await;
    sqlx::raw_sql("CREATE ROLE rds_iam")
        .execute(&mut session)
        .await
        .unwrap();
    let lambda = migrations_run(&url, &ROLES);

    let first = migrated(&lambda).await;
    let every = shared::db::migrate::migrations(&functions::SERVICE).iter().count();
    assert_eq!(first["applied"].as_array().unwrap().len(), every, "{first}");
    let roles = &first["roles"];
    assert_eq!(
        (&roles[0]["role"], &roles[0]["made"]),
        (&json!("seer_app"), &json!(true))
    );
    assert_eq!(roles[0]["memberOf"], json!(["rds_iam"]));
    let monitoring = roles[1]["memberOf"].as_array().unwrap();
    // The third exists from PostgreSQL 16 on.
    assert_eq!(monitoring[..2], [json!("rds_iam"), json!("pg_monitor")]);

    for table in ["users", "meetings", "tasks", "receipts"] {
        for statement in ["SELECT FROM", "DELETE FROM"] {
            let sql = format!("{statement} {table}");
            assert!(allowed(&mut session, "seer_app", &sql).await, "seer_app: {sql}");
            assert!(
                !allowed(&mut session, "seer_monitor", &sql).await,
                "seer_monitor: {sql}"
            );
        }
    }
    for sql in [
        "CREATE TABLE extra ()",
        "DROP TABLE tasks",
        "SELECT FROM _sqlx_migrations",
        "SELECT FROM audit",
        "CREATE TEMPORARY TABLE extra ()",
    ] {
        assert!(!allowed(&mut session, "seer_app", sql).await, "seer_app: {sql}");
    }
    let add = "INSERT INTO audit (request_id, action, kind, status) VALUES ('r', 'a', 'k', 200)";
    assert!(allowed(&mut session, "seer_app", add).await);
    assert!(allowed(&mut session, "seer_monitor", "SELECT FROM pg_stat_activity").await);
    let connects = "SELECT count(*) FROM pg_roles WHERE has_database_privilege(oid, current_database(), 'CONNECT') \
                    AND rolname IN ('seer_app', 'seer_monitor', 'pg_read_all_data')";
    let row = sqlx::raw_sql(connects).fetch_one(&mut session).await.unwrap();
    assert_eq!(row.get::<i64, _>(0), 2, "every role may connect");
    let hidden = "SELECT count(*) FROM pg_roles WHERE rolname = 'seer_app' \
                  AND 'log_parameter_max_length=0' = ANY (rolconfig)";
    let row = sqlx::raw_sql(hidden).fetch_one(&mut session).await.unwrap();
    assert_eq!(row.get::<i64, _>(0), 1, "the server may log what the functions write");
    let passwords = "SELECT count(*) FROM pg_authid WHERE rolname LIKE 'seer\\_%' AND rolpassword IS NOT NULL";
    let row = sqlx::raw_sql(passwords).fetch_one(&mut session).await.unwrap();
    assert_eq!(row.get::<i64, _>(0), 0, "a role can be logged in as with a password");
    for role in ["seer_app", "seer_monitor"] {
        let settings = format!("SELECT array_to_string(rolconfig, ',') FROM pg_roles WHERE rolname = '{role}'");
        let row = sqlx::raw_sql(AssertSqlSafe(settings))
            .fetch_one(&mut session)
            .await
            .unwrap();
        let settings = row.get::<String, _>(0);
        assert!(settings.contains("jit=off,tcp_user_timeout=30s"), "{role}: {settings}");
    }

    let second = migrated(&lambda).await;
    assert_eq!(second["applied"], json!([]));
    assert_eq!(second["roles"][0]["made"], json!(false));
    assert_eq!(second["roles"][1]["memberOf"], roles[1]["memberOf"]);
}

#[tokio::test]
async fn later_table_is_granted_too() {
    let cluster = Cluster::throwaway(Settings::default()).await.unwrap();
    let lambda = migrations_run(&cluster.url(), &ROLES);
    migrated(&lambda).await;
    let mut session = connect(&cluster.url()).await;
    sqlx::raw_sql("CREATE TABLE later ()")
        .execute(&mut session)
        .await
        .unwrap();
    assert!(!allowed(&mut session, "seer_app", "SELECT FROM later").await);
    migrated(&lambda).await;
    assert!(allowed(&mut session, "seer_app", "SELECT FROM later").await);
}

/// On RDS only members of `rds_iam` can log in with a token. The server decides which roles may grant it: on RDS, and
/// before PostgreSQL 16, not only those with its admin option.
#[tokio::test]
async fn role_without_login_fails_the_run() {
    let cluster = Cluster::throwaway(Settings::default()).await.unwrap();
    let mut session = connect(&cluster.url()).await;
    let owner = format!(
        "CREATE ROLE rds_iam; CREATE ROLE owner LOGIN CREATEROLE PASSWORD '{}'; GRANT CREATE ON SCHEMA public TO owner",
        cluster.password()
    );
    sqlx::raw_sql(AssertSqlSafe(owner)).execute(&mut session).await.unwrap();
    let url = cluster.url().replace("//seer:", "//owner:");
    let lambda = migrations_run(&url, &ROLES);
    let version = sqlx::raw_sql("SELECT current_setting('server_version_num')::int4");
    if version.fetch_one(&mut session).await.unwrap().get::<i32, _>(0) < 160_000 {
        let done = migrated(&lambda).await;
        assert_eq!(done["roles"][0]["memberOf"], json!(["rds_iam"]), "{done}");
        return;
    }
    let invocation = invoke(&lambda, "migrations-run", json!({})).await;
    let Outcome::FunctionError(error) = &invocation.outcome else {
        panic!("nobody can log in as these roles: {:?}", invocation.outcome)
    };
    let error = String::from_utf8_lossy(error).into_owned();
    assert!(error.contains("rds_iam"), "{error}");
    let made = sqlx::raw_sql("SELECT count(*) FROM pg_roles WHERE rolname LIKE 'seer\\_%'");
    assert_eq!(made.fetch_one(&mut session).await.unwrap().get::<i64, _>(0), 0);

    let grant = "GRANT rds_iam TO owner WITH ADMIN OPTION";
    sqlx::raw_sql(grant).execute(&mut session).await.unwrap();
    let done = migrated(&lambda).await;
    assert_eq!(done["roles"][0]["memberOf"], json!(["rds_iam"]), "{done}");
    // This owner may not grant the other roles for monitoring: it continues without them, and reports it.
    assert_eq!(done["roles"][1]["memberOf"], json!(["rds_iam"]), "{done}");
}

#[tokio::test]
async fn failure_explains_without_secret() {
    let cluster = Cluster::throwaway(Settings::default()).await.unwrap();
    for (url, variables, says) in [
        (cluster.url_of("absent"), &[][..], "create the database"),
        (
            cluster.url(),
            &[("APPLICATION_ROLE", "Robert'); --")][..],
            "APPLICATION_ROLE: must be",
        ),
        (
            cluster.url(),
            &[("MONITORING_ROLE", "pg_monitor")][..],
            "MONITORING_ROLE: must be",
        ),
    ] {
        let lambda = migrations_run(&url, variables);
        let invocation = invoke(&lambda, "migrations-run", json!({})).await;
        let Outcome::FunctionError(error) = &invocation.outcome else {
            panic!("{:?}", invocation.outcome)
        };
        let error = String::from_utf8_lossy(error).into_owned();
        assert!(error.contains(says), "{error}");
        assert!(!error.contains(cluster.password()), "{error}");
        let log = invocation.environment.unwrap().log();
        tells_no_secret(&log);
        assert!(log.iter().any(|line| line.contains(says)), "{log:#?}");
    }
}
