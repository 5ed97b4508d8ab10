//! More environments than the server has slots.

use local::postgres::Settings;
use shared::db::{Deadline, Kind};

use super::bench::{Bench, PLENTY, one, pool};

fn few_slots() -> Settings {
    Settings {
        max_connections: 13,
        ..Settings::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn forty_environments_take_turns_on_ten_slots() {
    let bench = Bench::with(few_slots(), "").await;
    let url = bench.cluster.url();
    let reads = (0..40).map(|_| {
        let pool = pool(&url, "");
        async move {
            for _ in 0..3 {
                pool.read(Deadline::after(PLENTY), async |db| one(db).await)
                    .await
                    .unwrap();
            }
            pool
        }
    });
    futures_util::future::join_all(reads).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_slots_are_all_taken_is_named_as_such() {
    let bench = Bench::with(few_slots(), "pool_timeout=1").await;
    let mut others = Vec::new();
    for _ in 0..13 {
        others.push(bench.direct().await);
    }
    assert_eq!(bench.read().await.unwrap_err().kind, Kind::Saturated);
    others.truncate(5);
    bench.read().await.unwrap();
}
