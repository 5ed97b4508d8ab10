//! Migrations, seeds and grants with a lost reply to COMMIT.

use local::proxy::Cut;
use shared::config::{DatabaseUrl, Roles};
use shared::db::migrate::{MigrationError, migrate, seed};
use shared::db::roles::grant;

use super::bench::{Bench, NOTES};

#[tokio::test(flavor = "multi_thread")]
async fn unanswered_commit_is_unknown() {
    let bench = Bench::new().await;
    let url = format!("{}?schema=elsewhere", bench.proxy.url(&bench.cluster.url()));
    let url = DatabaseUrl::parse(&url).unwrap();
    let roles = Roles {
        application: Some("app".to_owned()),
        monitoring: None,
    };
    let script = "INSERT INTO public.notes VALUES (gen_random_uuid(), 'text')";
    for (cut, applied) in [(Cut::BeforeServer, false), (Cut::BeforeAcknowledgement, true)] {
        let cut_once = || bench.proxy.cut_commits(cut, 1);
        cut_once();
        let migrated = migrate(&url, &NOTES).await.unwrap_err();
        cut_once();
        let seeded = seed(&url, &NOTES, script).await.unwrap_err();
        for told in [&migrated, &seeded] {
            assert!(matches!(told, MigrationError::Unknown(_)), "{cut:?}: {told}");
            assert!(told.to_string().contains("run it again"), "{told}");
        }
        let there = "SELECT count(*) FROM pg_class WHERE oid = to_regclass('elsewhere.receipts')";
        assert_eq!(bench.count(there).await == 1, applied, "{cut:?}");
        assert_eq!(bench.count("SELECT count(*) FROM notes").await == 1, applied, "{cut:?}");
    }
    assert_eq!(migrate(&url, &NOTES).await.unwrap(), Vec::<String>::new());
    bench.proxy.cut_commits(Cut::BeforeAcknowledgement, 1);
    let granted = grant(&url, &NOTES, &roles).await.unwrap_err();
    assert!(matches!(granted, MigrationError::Unknown(_)), "{granted}");
    assert!(!grant(&url, &NOTES, &roles).await.unwrap()[0].made);
    assert_eq!(bench.proxy.counts().cut, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_commit_applies_nothing() {
    let bench = Bench::new().await;
    let url = DatabaseUrl::parse(&bench.cluster.url()).unwrap();
    let script =
        "CREATE TABLE later (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED); INSERT INTO later VALUES (1), (1)";
    let refused = seed(&url, &NOTES, script).await.unwrap_err();
    assert!(refused.to_string().ends_with("nothing was applied"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn search_path_without_schema_is_named() {
    let bench = Bench::new().await;
    let url = bench.cluster.url();
    for path in ["''", "absent", "\"$user\""] {
        bench
            .sql(&format!("ALTER ROLE CURRENT_USER SET search_path = {path}"))
            .await;
        let refused = migrate(&DatabaseUrl::parse(&url).unwrap(), &NOTES).await.unwrap_err();
        assert!(refused.to_string().contains("SET search_path"), "{path}: {refused}");
    }
    let chosen = DatabaseUrl::parse(&format!("{url}?schema=elsewhere")).unwrap();
    assert!(!migrate(&chosen, &NOTES).await.unwrap().is_empty());
}

/// As before PostgreSQL 15, and in databases upgraded from there.
#[tokio::test(flavor = "multi_thread")]
async fn grant_closes_public_schema() {
    let bench = Bench::new().await;
    bench.sql("GRANT CREATE ON SCHEMA public TO PUBLIC").await;
    let roles = Roles {
        application: Some("app".to_owned()),
        monitoring: None,
    };
    let url = DatabaseUrl::parse(&bench.cluster.url()).unwrap();
    grant(&url, &NOTES, &roles).await.unwrap();
    let may = "SELECT count(*) FROM pg_roles WHERE rolname = 'app' AND has_schema_privilege(oid, 'public', 'CREATE')";
    assert_eq!(bench.count(may).await, 0);
}
