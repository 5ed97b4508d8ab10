//! What PgBouncer says to a user, password or database that it does not have.

use local::postgres::Pooler;
use shared::db::{Deadline, Kind};

use super::bench::{Bench, PLENTY, one, pool};

#[tokio::test(flavor = "multi_thread")]
async fn pgbouncers_refusals_are_named_at_once() {
    if Pooler::find().is_none() {
        return eprintln!("skipped: pgbouncer is not installed");
    }
    let bench = Bench::new().await;
    let (user, password) = ("seer", bench.cluster.password());
    let pooler = Pooler::start(&bench.cluster, user, password, 2).await.unwrap();
    let address = pooler.address();
    for (user, password, served) in [
        (user, password, true),
        (user, "wrong", false),
        ("stranger", password, false),
    ] {
        let through = pool(
            &format!("postgres://{user}:{password}@{address}/seer"),
            "pgbouncer=true",
        );
        let read = through.read(Deadline::after(PLENTY), async |db| one(db).await).await;
        let Err(refused) = read else {
            assert!(served, "{user} was let in");
            continue;
        };
        let refused = refused.0;
        assert_eq!(refused.kind, Kind::Auth, "{refused}");
        assert!(!served && refused.attempts <= 2, "{refused}");
    }
}
