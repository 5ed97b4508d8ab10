//! A provider's database that resumes or is full: it rejects connections for seconds, with the provider's messages, and
//! then accepts them.

use std::net::SocketAddr;

use futures_util::future::join_all;
use local::proxy::{Admission, Proxy, Refusal};
use shared::db::{Deadline, Kind, Phase, Pool, Written};
use uuid::Uuid;

use super::bench::{Bench, PLENTY, one, pool, until};

/// The messages of a provider's server or proxy.
const WORDS: [(&str, &str); 8] = [
    ("XX000", "Couldn't connect to compute node"),
    ("XX000", "Control plane request failed"),
    ("XX000", "endpoint is idle, retry"),
    (
        "XX000",
        "Too many connections to this endpoint. Please try again later.",
    ),
    ("XX000", "(EMAXCONN) max client connections reached, limit: 200"),
    ("53400", "Unable to accept connection, rate exceeded."),
    ("53200", "out of memory"),
    ("55000", "database \"seer\" is not currently accepting connections"),
];

/// Creates the pool of another environment.
fn environment(bench: &Bench, parameters: &str) -> Pool {
    pool(&bench.proxy.url(&bench.cluster.url()), parameters)
}

#[tokio::test(flavor = "multi_thread")]
async fn request_waits_for_a_waking() {
    let bench = Bench::new().await;
    join_all(WORDS.map(|(code, message)| served_after(&bench, code, message))).await;
    let id = Uuid::now_v7();
    assert!(matches!(bench.write(id).await.unwrap(), Written::Done(_)));
}

/// Four environments connect, are rejected twice each, and are then accepted.
async fn served_after(bench: &Bench, code: &'static str, message: &'static str) {
    let proxy = Proxy::start(SocketAddr::from(([127, 0, 0, 1], bench.cluster.port())))
        .await
        .unwrap();
    proxy
        .set_admission(Admission::Refusing(Refusal {
            sqlstate: code,
            message,
        }))
        .await;
    let url = proxy.url(&bench.cluster.url());
    let environments: Vec<_> = (0..4).map(|_| pool(&url, "pool_timeout=20")).collect();
    let reads = environments
        .iter()
        .map(|pool| pool.read(Deadline::after(PLENTY), async |db| one(db).await));
    let (answers, ()) = tokio::join!(join_all(reads), async {
        until("each was refused and came again", async || proxy.errors(code) >= 8).await;
        proxy.set_admission(Admission::Open).await;
    });
    for answer in answers {
        assert_eq!(answer.map_err(|refusal| refusal.0.to_string()), Ok(1), "{message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lasting_waking_is_refused_fast() {
    let bench = Bench::with(Default::default(), "pool_timeout=1").await;
    let (code, message) = ("XX000", "endpoint is idle, retry");
    bench
        .proxy
        .set_admission(Admission::Refusing(Refusal {
            sqlstate: code,
            message,
        }))
        .await;
    let first = bench.read().await.unwrap_err();
    assert_eq!((first.kind, first.phase), (Kind::Waking, Phase::Connect), "{first}");
    assert!(first.attempts > 1 && first.to_string().contains(message), "{first}");
    let second = bench.read().await.unwrap_err();
    assert_eq!((second.kind, second.attempts), (Kind::Waking, 0), "{second}");
    bench.proxy.set_admission(Admission::Open).await;
    until("the database was found again", async || bench.read().await.is_ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn final_provider_refusal_fails_at_once() {
    let bench = Bench::new().await;
    for (code, message, kind) in [
        ("XX000", "password authentication failed for user 'u'", Kind::Auth),
        (
            "XX000",
            "Control plane request failed: endpoint is disabled",
            Kind::Query,
        ),
        ("28000", "no pg_hba.conf entry for host \"127.0.0.1\"", Kind::Auth),
        ("08P01", "no such database: seer", Kind::NoDatabase),
    ] {
        bench
            .proxy
            .set_admission(Admission::Refusing(Refusal {
                sqlstate: code,
                message,
            }))
            .await;
        let fresh = environment(&bench, "pool_timeout=20");
        let read = fresh.read(Deadline::after(PLENTY), async |db| one(db).await);
        let refused = read.await.unwrap_err().0;
        assert_eq!(refused.kind, kind, "{refused}");
        assert!(refused.attempts <= 2, "{refused}");
    }
}
