//! States in which a function fails though its role can log in.

use local::postgres::{Binaries, Cluster, Pooler, Settings};
use sqlx::AssertSqlSafe;

use super::{FAILING, UNREACHABLE, WARNINGS, address, connect, execute, ids, json, migrated, role, sound, verdict};

/// Creates a role with the privileges of the functions' role.
async fn application(cluster: &Cluster) -> String {
    let url = role(cluster, "app").await;
    execute(
        &cluster.url(),
        "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO app; GRANT USAGE ON SCHEMA public TO app; \
         REVOKE USAGE ON SCHEMA public FROM PUBLIC",
    )
    .await;
    url
}

/// Each state is made, found, and undone.
#[tokio::test]
async fn failing_statement_is_found() {
    let cluster = migrated(sound()).await;
    let url = application(&cluster).await;
    let first = json(&url, &[]).await;
    assert_eq!(first["exitCode"], WARNINGS, "{first:#}");
    assert_eq!(first["schema"]["statements"]["failing"], 0, "{first:#}");
    for (break_it, undo, id) in [
        (
            "REVOKE INSERT ON receipts FROM app",
            "GRANT INSERT ON receipts TO app",
            "privileges",
        ),
        (
            "REVOKE UPDATE ON meetings FROM app",
            "GRANT UPDATE ON meetings TO app",
            "privileges",
        ),
        (
            "REVOKE SELECT ON users FROM app",
            "GRANT SELECT ON users TO app",
            "privileges",
        ),
        (
            "REVOKE USAGE ON SCHEMA public FROM app",
            "GRANT USAGE ON SCHEMA public TO app",
            "privileges",
        ),
        (
            "CREATE SCHEMA app AUTHORIZATION app; CREATE TABLE app.users (LIKE users INCLUDING ALL); \
             GRANT ALL ON app.users TO app",
            "DROP SCHEMA app CASCADE",
            "shadowed-table",
        ),
        (
            "CREATE SCHEMA app AUTHORIZATION app; CREATE TABLE app.users (id int); GRANT ALL ON app.users TO app",
            "DROP SCHEMA app CASCADE",
            "statement",
        ),
        (
            "ALTER TABLE tasks ENABLE ROW LEVEL SECURITY",
            "ALTER TABLE tasks DISABLE ROW LEVEL SECURITY",
            "row-security",
        ),
        (
            "ALTER TABLE users ENABLE ROW LEVEL SECURITY; CREATE POLICY other ON users TO seer USING (true)",
            "DROP POLICY other ON users; ALTER TABLE users DISABLE ROW LEVEL SECURITY",
            "row-security",
        ),
        (
            "ALTER TABLE meetings RENAME COLUMN title TO heading",
            "ALTER TABLE meetings RENAME COLUMN heading TO title",
            "statement",
        ),
        (
            "ALTER TABLE tasks RENAME TO todos",
            "ALTER TABLE todos RENAME TO tasks",
            "statement",
        ),
        (
            "ALTER TABLE receipts RENAME COLUMN nonce TO once",
            "ALTER TABLE receipts RENAME COLUMN once TO nonce",
            "statement",
        ),
    ] {
        execute(&cluster.url(), break_it).await;
        let report = json(&url, &[]).await;
        assert_eq!(report["exitCode"], FAILING, "{break_it}: {report:#}");
        assert!(ids(&report).contains(&id), "{break_it}: {:?}", ids(&report));
        execute(&cluster.url(), undo).await;
        assert_eq!(json(&url, &[]).await["exitCode"], WARNINGS, "{undo}");
    }
    // What doctor says to run is what helps.
    let revoke = "REVOKE ALL ON receipts, tasks FROM app; REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA public FROM PUBLIC";
    execute(&cluster.url(), revoke).await;
    for line in super::commands(&json(&url, &[]).await, "privileges") {
        execute(&cluster.url(), &line).await;
    }
    assert_eq!(json(&url, &[]).await["exitCode"], WARNINGS);
    let reads = "DO $$ BEGIN ASSERT NOT has_table_privilege('app', 'audit', 'SELECT'); END $$";
    execute(&cluster.url(), reads).await;
}

/// What a plan does not show: each state is made, found by a write that is rolled back, and undone.
#[tokio::test]
async fn refused_row_is_found() {
    let cluster = migrated(sound()).await;
    let url = application(&cluster).await;
    let owner = cluster.url();
    let sound = json(&url, &[]).await;
    assert_eq!(sound["schema"]["trial"]["passed"], true, "{sound:#}");
    let function = "CREATE FUNCTION odd() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN";
    for (break_it, undo, id) in [
        ("REVOKE ALL ON bots FROM app", "GRANT ALL ON bots TO app", "trial"),
        (
            "REVOKE SELECT ON webhook_inbox FROM app",
            "GRANT SELECT ON webhook_inbox TO app",
            "trial",
        ),
        (
            "REVOKE SELECT ON meeting_changes FROM app; GRANT SELECT (id, meeting_id) ON meeting_changes TO app",
            "GRANT SELECT ON meeting_changes TO app",
            "trial",
        ),
        (
            "REVOKE SELECT ON receipts FROM app; GRANT SELECT (key, kind, nonce, expires_at) ON receipts TO app",
            "GRANT SELECT ON receipts TO app",
            "trial",
        ),
        (
            "REVOKE EXECUTE ON FUNCTION lock_calendar_event FROM PUBLIC",
            "GRANT EXECUTE ON FUNCTION lock_calendar_event TO PUBLIC",
            "trial",
        ),
        (
            "ALTER TABLE receipts ENABLE ROW LEVEL SECURITY; CREATE POLICY odd ON receipts FOR SELECT USING (true)",
            "DROP POLICY odd ON receipts; ALTER TABLE receipts DISABLE ROW LEVEL SECURITY",
            "trial",
        ),
        (
            "ALTER TABLE meetings ENABLE ROW LEVEL SECURITY; CREATE POLICY odd ON meetings USING (duration > 60) \
             WITH CHECK (true)",
            "DROP POLICY odd ON meetings; ALTER TABLE meetings DISABLE ROW LEVEL SECURITY",
            "trial",
        ),
        (
            &format!(
                "{function} RAISE 'odd'; END $$; CREATE TRIGGER odd BEFORE INSERT ON tasks FOR EACH ROW EXECUTE FUNCTION odd()"
            ),
            "DROP FUNCTION odd CASCADE",
            "trial",
        ),
        (
            &format!(
                "{function} RETURN NULL; END $$; CREATE TRIGGER odd BEFORE INSERT ON receipts FOR EACH ROW EXECUTE FUNCTION odd()"
            ),
            "DROP FUNCTION odd CASCADE",
            "trial",
        ),
        (
            &format!(
                "{function} RAISE 'odd'; END $$; CREATE CONSTRAINT TRIGGER odd AFTER INSERT ON tasks DEFERRABLE \
                 INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION odd()"
            ),
            "DROP FUNCTION odd CASCADE",
            "trial",
        ),
        (
            "CREATE TABLE odd (id uuid PRIMARY KEY); ALTER TABLE tasks ADD CONSTRAINT odd FOREIGN KEY (id) REFERENCES odd \
             DEFERRABLE INITIALLY DEFERRED",
            "DROP TABLE odd CASCADE",
            "trial",
        ),
        (
            "ALTER TABLE meetings DISABLE TRIGGER take_deliveries",
            "ALTER TABLE meetings ENABLE TRIGGER take_deliveries",
            "trial",
        ),
        (
            "ALTER TABLE meetings ADD COLUMN odd int NOT NULL",
            "ALTER TABLE meetings DROP COLUMN odd",
            "trial",
        ),
        (
            "ALTER TABLE meetings ALTER COLUMN version DROP DEFAULT",
            "ALTER TABLE meetings ALTER COLUMN version SET DEFAULT 1",
            "trial",
        ),
        (
            "ALTER TABLE tasks ADD CONSTRAINT odd CHECK (length(text) > 100)",
            "ALTER TABLE tasks DROP CONSTRAINT odd",
            "trial",
        ),
        (
            "ALTER TABLE receipts DROP CONSTRAINT receipts_pkey",
            "ALTER TABLE receipts ADD PRIMARY KEY (key)",
            "trial",
        ),
        (
            "ALTER SEQUENCE audit_id_seq MAXVALUE 1000; SELECT setval('audit_id_seq', 1000)",
            "ALTER SEQUENCE audit_id_seq NO MAXVALUE",
            "trial",
        ),
        (
            "ALTER TABLE webhook_inbox RENAME COLUMN skipped TO odd",
            "ALTER TABLE webhook_inbox RENAME COLUMN odd TO skipped",
            "trial",
        ),
        (
            "ALTER TABLE receipts SET UNLOGGED",
            "ALTER TABLE receipts SET LOGGED",
            "unlogged-table",
        ),
        (
            "GRANT pg_monitor TO app; REVOKE INSERT ON tasks FROM app",
            "REVOKE pg_monitor FROM app; GRANT INSERT ON tasks TO app",
            "privileges",
        ),
        (
            "GRANT pg_monitor TO app; REVOKE INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public FROM app",
            "REVOKE pg_monitor FROM app; GRANT INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO app",
            "privileges",
        ),
        (
            "GRANT pg_monitor TO app; REVOKE USAGE ON SCHEMA public FROM app",
            "REVOKE pg_monitor FROM app; GRANT USAGE ON SCHEMA public TO app",
            "privileges",
        ),
    ] {
        execute(&owner, break_it).await;
        let report = json(&url, &[]).await;
        assert_eq!(report["exitCode"], FAILING, "{break_it}: {report:#}");
        assert_eq!(ids(&report)[0], id, "{break_it}: {report:#}");
        execute(&owner, undo).await;
    }
    let report = json(&url, &[]).await;
    assert_eq!(report["exitCode"], WARNINGS, "{report:#}");
    // What doctor says to run is what helps.
    execute(
        &owner,
        "REVOKE ALL ON bots FROM app; ALTER TABLE tasks ENABLE ROW LEVEL SECURITY; CREATE POLICY odd ON tasks FOR SELECT \
         USING (true)",
    )
    .await;
    for _ in 0..2 {
        for line in super::commands(&json(&url, &[]).await, "trial") {
            execute(&owner, &line).await;
        }
    }
    assert_eq!(json(&url, &[]).await["schema"]["trial"]["passed"], true);
    // A violated constraint gets a query about constraints.
    execute(
        &owner,
        "ALTER TABLE tasks ADD CONSTRAINT odd CHECK (length(text) > 100)",
    )
    .await;
    let report = json(&url, &[]).await;
    let lines = super::commands(&report, "trial");
    let definitions: Vec<String> = sqlx::query_scalar(AssertSqlSafe(format!(
        "SELECT pg_get_constraintdef FROM ({}) AS q",
        lines[0].trim_end_matches(';')
    )))
    .fetch_all(&mut connect(&url).await)
    .await
    .unwrap();
    assert!(definitions.iter().any(|one| one.contains("> 100")), "{definitions:?}");
    execute(&url, &lines[1]).await;
    execute(&owner, "ALTER TABLE tasks DROP CONSTRAINT odd").await;
    for place in ["ROLE app", "DATABASE seer"] {
        execute(&owner, &format!("ALTER {place} SET session_replication_role = replica")).await;
        let report = json(&url, &[]).await;
        assert_eq!(report["exitCode"], FAILING, "{report:#}");
        let what = report["findings"][0]["what"].as_str().unwrap();
        assert!(what.contains("session_replication_role is replica"), "{what}");
        for line in super::commands(&report, "trial") {
            execute(&owner, &line).await;
        }
        assert_eq!(json(&url, &[]).await["exitCode"], WARNINGS, "{place}");
        execute(&owner, &format!("ALTER {place} RESET session_replication_role")).await;
    }
    // Nothing is left, and a role that only watches does not try.
    execute(&owner, "DO $$ BEGIN ASSERT (SELECT count(*) FROM users) = 0; END $$").await;
    let watcher = role(&cluster, "watcher").await;
    execute(
        &owner,
        "GRANT pg_monitor TO watcher; GRANT USAGE ON SCHEMA public TO watcher",
    )
    .await;
    let report = json(&watcher, &[]).await;
    assert_eq!(report["schema"]["trial"]["run"], false, "{report:#}");
    assert!(!ids(&report).contains(&"privileges"), "{report:#}");
    execute(&owner, "REVOKE USAGE ON SCHEMA public FROM watcher").await;
    let report = json(&watcher, &[]).await;
    assert_eq!(report["exitCode"], WARNINGS, "{report:#}");
    assert_eq!(
        super::commands(&report, "privileges"),
        ["GRANT USAGE ON SCHEMA public TO watcher;"]
    );
}

/// A lock that blocks only writes is found too. The finding names the session and the table, and its line ends the
/// session.
#[tokio::test]
async fn lock_in_the_way_is_found() {
    let cluster = migrated(sound()).await;
    let url = application(&cluster).await;
    let watcher = role(&cluster, "watcher").await;
    let grant = "GRANT pg_monitor TO watcher; GRANT USAGE ON SCHEMA public TO watcher";
    execute(&cluster.url(), grant).await;
    let waits = "a statement of the functions waits for a lock of a session";
    for (url, lock, table) in [
        (&url, "LOCK TABLE tasks IN SHARE MODE", "tasks"),
        (&url, "CREATE INDEX odd ON receipts (nonce)", "receipts"),
        (&url, "LOCK TABLE meetings", "meetings"),
        // This role lacks other privileges, so statements are refused before one waits for the lock.
        (&watcher, "LOCK TABLE meetings", "meetings"),
    ] {
        let mut holder = connect(&cluster.url()).await;
        sqlx::raw_sql(AssertSqlSafe(format!("BEGIN; {lock}")))
            .execute(&mut holder)
            .await
            .unwrap();
        let pid: i32 = sqlx::query_scalar("SELECT pg_backend_pid()")
            .fetch_one(&mut holder)
            .await
            .unwrap();
        let report = json(url, &[]).await;
        assert_eq!(report["exitCode"], FAILING, "{lock}: {report:#}");
        assert_eq!(ids(&report)[0], "blocked", "{lock}: {report:#}");
        let what = report["findings"][0]["what"].as_str().unwrap();
        assert_eq!(what, format!("{waits} (pid {pid}) on {table}"), "{lock}");
        execute(&cluster.url(), &super::commands(&report, "blocked").remove(0)).await;
        assert_eq!(json(url, &[]).await["exitCode"], WARNINGS, "{lock}");
    }
    // Only the trial waits for the key of a row.
    let mut holder = connect(&cluster.url()).await;
    let key = "BEGIN; INSERT INTO receipts (key, request, nonce, expires_at) \
               VALUES ('00000000-0000-4000-8000-000000000021', gen_random_uuid(), gen_random_uuid(), now())";
    sqlx::raw_sql(key).execute(&mut holder).await.unwrap();
    let report = json(&url, &[]).await;
    assert_eq!(report["exitCode"], FAILING, "{report:#}");
    assert_eq!(
        report["findings"][0]["what"], "INSERT INTO receipts waits for a lock",
        "{report:#}"
    );
}

/// Neither the role's search_path nor `schema=` leads to the tables: one finding, whose lines are what helps.
#[tokio::test]
async fn search_path_without_tables_gets_its_lines() {
    let cluster = migrated(sound()).await;
    let url = application(&cluster).await;
    let owner = cluster.url();
    execute(
        &owner,
        "CREATE SCHEMA other; CREATE TABLE other.users (id int); CREATE TABLE other.meetings (LIKE meetings); \
         GRANT USAGE ON SCHEMA other TO app; GRANT ALL ON ALL TABLES IN SCHEMA other TO app",
    )
    .await;
    for path in ["''", "absent", "\"$user\"", "pg_catalog", "other"] {
        execute(&owner, &format!("ALTER ROLE app SET search_path = {path}")).await;
        let report = json(&url, &[]).await;
        assert_eq!(report["exitCode"], FAILING, "{path}: {report:#}");
        assert!(
            report["firstLine"]
                .as_str()
                .unwrap()
                .contains("the search_path of app is"),
            "{report:#}"
        );
        assert_eq!(report["schema"]["statements"]["failing"], 0, "{path}: {report:#}");
        let chosen = json(&format!("{url}?schema=public"), &[]).await;
        assert_eq!(chosen["exitCode"], WARNINGS, "{path}: {chosen:#}");
        for line in super::commands(&report, "search-path") {
            execute(&owner, &line).await;
        }
        assert_eq!(json(&url, &[]).await["exitCode"], WARNINGS, "{path}");
        execute(
            &owner,
            "ALTER ROLE app RESET ALL; ALTER ROLE app IN DATABASE seer RESET ALL",
        )
        .await;
    }
    let report = json(&format!("{url}?schema=absent"), &[]).await;
    assert_eq!(report["exitCode"], FAILING, "{report:#}");
    let lines = super::commands(&report, "search-path");
    assert!(lines[0].contains("schema=public"), "{lines:?}");
    execute(&owner, "ALTER ROLE app SET search_path = other, public").await;
    let report = json(&url, &[]).await;
    for line in super::commands(&report, "shadowed-table") {
        execute(&owner, &line).await;
    }
    assert_eq!(json(&url, &[]).await["exitCode"], WARNINGS, "{report:#}");
}

#[tokio::test]
async fn password_and_collation_are_watched() {
    let cluster = migrated(sound()).await;
    let url = application(&cluster).await;
    for (until, found) in [
        ("now() + interval '1 day'", true),
        ("now() + interval '13 days'", true),
        ("now() + interval '30 days'", false),
        ("timestamptz 'infinity'", false),
    ] {
        let set = format!(
            "DO $$ BEGIN EXECUTE format('ALTER ROLE app VALID UNTIL %L', {}); END $$",
            until.replace("timestamptz 'infinity'", "'infinity'")
        );
        execute(&cluster.url(), &set).await;
        let report = json(&url, &[]).await;
        assert_eq!(ids(&report).contains(&"password-expiry"), found, "{until}: {report:#}");
    }
    let mut session = connect(&cluster.url()).await;
    let version: i32 = sqlx::query_scalar("SELECT current_setting('server_version_num')::int4")
        .fetch_one(&mut session)
        .await
        .unwrap();
    if version >= 150_000 {
        execute(
            &cluster.url(),
            "UPDATE pg_database SET datcollversion = '0.1' WHERE datname = current_database()",
        )
        .await;
        let report = json(&url, &[]).await;
        assert!(ids(&report).contains(&"collation-version"), "{report:#}");
    }
}

#[tokio::test]
async fn other_encoding_is_refused() {
    let cluster = Cluster::throwaway(Settings::default()).await.unwrap();
    // A cluster of version 17 or newer has the built-in locale, which knows UTF8 alone.
    let provider = match Binaries::find().await.unwrap().major() {
        14 => "",
        _ => "LOCALE_PROVIDER libc",
    };
    for encoding in ["LATIN1", "WIN1252", "SQL_ASCII", "EUC_JP"] {
        let name = encoding.to_ascii_lowercase();
        execute(
            &cluster.url(),
            &format!(
                "CREATE DATABASE {name} ENCODING '{encoding}' {provider} LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
            ),
        )
        .await;
        let url = cluster.url_of(&name);
        let (code, _) = verdict(&url).await;
        assert_eq!(code, FAILING, "{encoding}");
        let report = json(&url, &[]).await;
        assert!(ids(&report).contains(&"encoding"), "{report:#}");
        let migrate = tokio::process::Command::new(env!("CARGO_BIN_EXE_seer"))
            .arg("migrate")
            .env("DATABASE_URL", &url)
            .output()
            .await
            .unwrap();
        let said = String::from_utf8(migrate.stderr).unwrap();
        assert!(
            !migrate.status.success() && said.contains(&format!("encoding is {encoding}")),
            "{said}"
        );
        let mut session = connect(&url).await;
        let tables: i64 = sqlx::query_scalar("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
            .fetch_one(&mut session)
            .await
            .unwrap();
        assert_eq!(tables, 0, "{encoding}");
    }
}

/// Also its limits, which decide in place of the server's slots.
#[tokio::test]
async fn pooler_mode_and_limits_are_examined() {
    if Pooler::find().is_none() {
        return eprintln!("not tested: a pooler, because pgbouncer is not installed");
    }
    let cluster = migrated(sound()).await;
    let pooler = Pooler::start(&cluster, "seer", cluster.password(), 5).await.unwrap();
    let through = cluster
        .url()
        .replace(&address(&cluster).to_string(), &pooler.address().to_string());
    let url = format!("{through}?pgbouncer=true");
    let report = json(&url, &["--budget", "500"]).await;
    assert_eq!(report["state"]["pooler"]["maxClients"], 2000, "{report:#}");
    let settings = report["settings"].as_array().unwrap();
    assert!(
        settings.iter().all(|setting| setting["name"] != "max_connections"),
        "{report:#}"
    );
    let report = json(&url, &["--budget", "5000"]).await;
    assert!(ids(&report).contains(&"pooler-clients"), "{report:#}");

    let console = async |command: &'static str| {
        let options: sqlx::postgres::PgConnectOptions = through.parse().unwrap();
        let options = options.extra_float_digits(None).database("pgbouncer");
        let mut console = <sqlx::PgConnection as sqlx::Connection>::connect_with(&options)
            .await
            .unwrap();
        sqlx::raw_sql(command).execute(&mut console).await.unwrap();
    };
    console("SET max_client_conn = 100").await;
    console("SET default_pool_size = 400").await;
    let report = json(&url, &["--budget", "150"]).await;
    for id in ["pooler-clients", "pooler-pool"] {
        assert!(ids(&report).contains(&id), "{report:#}");
    }
    console("SET default_pool_size = 5").await;
    console("SET pool_mode = statement").await;
    let report = json(&url, &[]).await;
    assert_eq!(report["exitCode"], FAILING, "{report:#}");
    assert!(ids(&report).contains(&"functions-refused"), "{report:#}");
    let line = super::commands(&report, "functions-refused");
    assert!(line[0].contains("pool_mode = transaction"), "{line:?}");
    assert_ne!(report["exitCode"], UNREACHABLE);
}
