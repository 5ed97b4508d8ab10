//! Tests `cargo seer person`: the real binary, on the seed.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test that cannot go on fails; the session is its own"
)]

use std::collections::BTreeSet;
use std::process::Output;

use local::postgres::{Cluster, Settings};
use serde_json::Value;
use shared::config::DatabaseUrl;
use shared::db::migrate::{migrate, seed};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};
use tokio::process::Command;

const SEED: &str = include_str!("../src/seed.sql");

/// Of the seed: on the team of dev-admin.
const MEMBER: &str = "01900000-0000-7000-8000-000000000002";

/// Words of the seed that only occur in data about the member.
const ABOUT_MEMBER: [&str; 5] = ["member@example.com", "dev-member", "Morgan", "Runbooks", "runbook"];

/// Tables that have no data about people: digests, ids of bots, and what the migrations note.
const WITHOUT_PEOPLE: [&str; 4] = ["_sqlx_migrations", "bots", "idempotency_keys", "receipts"];

struct Scene {
    cluster: Cluster,
    session: PgConnection,
}

impl Scene {
    async fn new() -> Self {
        let cluster = Cluster::throwaway(Settings::default()).await.unwrap();
        let url = DatabaseUrl::parse(&cluster.url()).unwrap();
        migrate(&url, &functions::SERVICE).await.unwrap();
        seed(&url, &functions::SERVICE, SEED).await.unwrap();
        let mut session = PgConnection::connect(&cluster.url()).await.unwrap();
        // Not in the seed: the person among the speakers of another's meeting, and a row of audit by the person.
        let more = "UPDATE meetings SET speakers = '{Avery Adams,Morgan Meyer}'
            WHERE id = '01900000-0000-7000-8000-000000000105';
            INSERT INTO audit (request_id, actor, action, kind, row_id, status)
            VALUES ('r-1', 'dev-member', 'PATCH /api/meetings/{id}/tasks/{taskId}', 'task', gen_random_uuid(), 200)";
        sqlx::raw_sql(more).execute(&mut session).await.unwrap();
        Self { cluster, session }
    }

    async fn person(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_seer"));
        command.arg("person").args(arguments).kill_on_drop(true);
        command.env("DATABASE_URL", self.cluster.url()).output().await.unwrap()
    }

    async fn printed(&self, arguments: &[&str]) -> String {
        let output = self.person(arguments).await;
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    async fn column(&mut self, sql: &str) -> Vec<String> {
        let rows = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
        let rows = rows.fetch_all(&mut self.session).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    async fn tables(&mut self) -> Vec<String> {
        let sql = "SELECT relname::text FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace";
        self.column(sql).await
    }

    /// Returns every row of every table.
    async fn dump(&mut self) -> String {
        let mut rows = Vec::new();
        for table in self.tables().await {
            let sql = format!("SELECT '{table} ' || t::text FROM \"{table}\" t ORDER BY 1");
            rows.extend(self.column(&sql).await);
        }
        rows.join("\n")
    }
}

#[tokio::test]
async fn export_has_every_table_with_people() {
    let mut scene = Scene::new().await;
    let rows: Value = serde_json::from_str(&scene.printed(&["export", "--id", MEMBER]).await).unwrap();
    let named: BTreeSet<_> = rows.as_object().unwrap().keys().cloned().collect();
    let tables = scene.tables().await.into_iter();
    let expected: BTreeSet<_> = tables.filter(|name| !WITHOUT_PEOPLE.contains(&name.as_str())).collect();
    assert_eq!(named, expected, "a new table has to be exported and erased");
    let count = |table: &str| rows[table].as_array().unwrap().len();
    assert_eq!(rows["users"][0]["email"], "member@example.com");
    let counts = ["meetings", "meeting_changes", "key_areas", "analyses", "audit"].map(count);
    assert_eq!(counts, [4, 1, 2, 1, 1]);
    let tasks = rows["tasks"].as_array().unwrap();
    assert!(tasks.iter().any(|task| task["text"] == "Hand in holiday dates"));
    let by_address = scene.printed(&["export", "--email", "Member@Example.com"]).await;
    assert_eq!(serde_json::from_str::<Value>(&by_address).unwrap(), rows);
}

#[tokio::test]
async fn erasure_leaves_nothing_about_the_person() {
    let mut scene = Scene::new().await;
    let before = scene.dump().await;
    let said = scene.printed(&["erase", "--id", MEMBER]).await;
    assert!(said.contains("nothing was changed: repeat it with --apply"), "{said}");
    assert_eq!(scene.dump().await, before);

    let said = scene.printed(&["erase", "--id", MEMBER, "--apply"]).await;
    for line in [
        "4 deleted: meetings about the person",
        "1 changed: the person is no longer named",
    ] {
        assert!(said.contains(line), "{said}");
    }
    let after = scene.dump().await;
    for word in ABOUT_MEMBER {
        let found: Vec<_> = after.lines().filter(|line| line.contains(word)).collect();
        assert!(before.contains(word) && found.is_empty(), "{word}: {found:#?}");
    }
    // Others keep theirs, and the erasure is audited.
    for word in [
        "Avery Adams",
        "Budget of the other team",
        "First call with Globex",
        "guest@example.com",
    ] {
        assert!(after.contains(word), "{word}");
    }
    let audited = "SELECT action FROM audit WHERE row_id = '01900000-0000-7000-8000-000000000002'";
    assert_eq!(scene.column(audited).await, ["cargo seer person erase"]);
}

/// Its subject is inside the one that replaced it, in either form that releases have written.
#[tokio::test]
async fn deleted_account_is_a_person_too() {
    let mut scene = Scene::new().await;
    for subject in ["E'\\x01deleted:dev-member'", "E'\\x01deleted:dev-member\\x01' || id"] {
        let deleted = format!("UPDATE users SET clerk_id = {subject} WHERE id = '{MEMBER}'");
        sqlx::raw_sql(AssertSqlSafe(deleted))
            .execute(&mut scene.session)
            .await
            .unwrap();
        let rows: Value = serde_json::from_str(&scene.printed(&["export", "--id", MEMBER]).await).unwrap();
        assert_eq!(rows["audit"].as_array().unwrap().len(), 1, "{subject}");
        let said = scene.printed(&["erase", "--id", MEMBER]).await;
        assert!(
            said.contains("1 changed: the actor is a pseudonym"),
            "{subject}: {said}"
        );
    }
}

#[tokio::test]
async fn invited_address_is_a_person_too() {
    let mut scene = Scene::new().await;
    let invited = "INSERT INTO invitations (id, admin_id, email)
        SELECT gen_random_uuid(), id, 'nobody@example.com' FROM users WHERE role = 'admin'";
    sqlx::raw_sql(invited).execute(&mut scene.session).await.unwrap();
    let rows = scene.printed(&["export", "--email", "nobody@example.com"]).await;
    let rows: Value = serde_json::from_str(&rows).unwrap();
    assert_eq!(rows["invitations"].as_array().unwrap().len(), 3);
    assert_eq!(rows["users"], serde_json::json!([]));
    scene
        .printed(&["erase", "--email", "nobody@example.com", "--apply"])
        .await;
    assert!(!scene.dump().await.contains("nobody@example.com"));
    let unknown = scene
        .person(&["erase", "--id", "01900000-0000-7000-8000-00000000ffff"])
        .await;
    let said = String::from_utf8(unknown.stderr).unwrap();
    assert!(said.starts_with("error: no user has the id 01900000"), "{said}");
}
