//! A path that acknowledges and delivers nothing: without a witness, only a statement timeout of ten minutes ends the
//! wait in these tests.

use std::net::SocketAddr;
use std::time::Duration;

use local::postgres::Settings;
use local::proxy::{Cut, Effect, Statements};
use shared::db::{Abort, Deadline, IdempotencyKey, Receipt, Session, Written};
use sqlx::{AssertSqlSafe, Connection as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::sleep;
use uuid::Uuid;

use super::bench::{Bench, CUTS, PLENTY, Refusal, WRITES, note, pool, replayed, until};

async fn bench() -> Bench {
    Bench::with(Settings::default(), "socket_timeout=600").await
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_hung_path_is_abandoned() {
    let bench = bench().await;
    bench.read().await.unwrap();
    assert_eq!(bench.proxy.hang(), 1);
    assert_eq!(bench.read().await.unwrap(), 1);
    assert_eq!(bench.proxy.hang(), 2);
    bench.write_once(&IdempotencyKey::generated(), "idle").await;
    assert_eq!(bench.proxy.counts().opened, 3);
    until("the dead sessions are ended", async || bench.sessions().await == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hung_path_read_is_answered() {
    for place in CUTS {
        let bench = bench().await;
        bench.read().await.unwrap();
        bench
            .proxy
            .order(Statements::Containing("SELECT 1"), [Effect::Hang(place)]);
        assert_eq!(bench.read().await.unwrap(), 1, "{place:?}");
        assert_eq!(bench.proxy.counts().cut, 1, "{place:?}");
        assert_eq!(bench.proxy.counts().opened, 2, "{place:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hung_path_write_is_applied_once() {
    for place in CUTS {
        let bench = bench().await;
        bench.write(Uuid::now_v7()).await.unwrap();
        bench.proxy.order(WRITES, [Effect::Hang(place)]);
        bench.write_once(&IdempotencyKey::generated(), place).await;
        assert_eq!(bench.proxy.counts().cut, 1, "{place:?}");
    }
}

/// The read of a replay, and of the row that a lost reply left.
#[tokio::test(flavor = "multi_thread")]
async fn hung_path_replay_is_answered() {
    const READ: &str = "SELECT id FROM notes WHERE id = $1";
    let read = async |db: &mut Session, receipt: &Receipt, _: &Uuid| {
        Ok(sqlx::query_scalar(READ).bind(receipt.id).fetch_one(db).await?)
    };
    for place in CUTS {
        for lost in [None, Some(Effect::Cut(Cut::BeforeAcknowledgement))] {
            let bench = bench().await;
            let key = IdempotencyKey::from_client("caller", "key", &[b"body"]);
            let id = Uuid::now_v7();
            if lost.is_none() {
                bench.write_under(&key, id).await.unwrap();
            }
            bench.proxy.order(WRITES, lost);
            bench.proxy.order(Statements::Containing(READ), [Effect::Hang(place)]);
            let written = bench.pool.write(Deadline::after(PLENTY), &key, &id, note, read).await;
            let (replayed, first) = match written.map_err(|Refusal(error)| error).unwrap() {
                Written::Replayed(_, first) => (true, first.unwrap()),
                Written::Done(first) => (false, first),
                Written::KeyReused => panic!("{place:?}, {lost:?}"),
            };
            assert_eq!((replayed, first), (lost.is_none(), id), "{place:?}, {lost:?}");
            assert_eq!(bench.notes(id).await, 1, "{place:?}, {lost:?}");
            assert_eq!(bench.proxy.counts().cut, 1 + u64::from(lost.is_some()), "{place:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hung_path_refusal_is_final() {
    for place in CUTS {
        let bench = bench().await;
        let id = Uuid::now_v7();
        bench.write(id).await.unwrap();
        bench.proxy.order(WRITES, [Effect::Hang(place)]);
        // The same row under another key: it violates the primary key.
        let refused = bench.write(id).await.unwrap_err();
        assert_eq!(refused.sqlstate.as_deref(), Some("23505"), "{place:?}: {refused}");
        assert_eq!(bench.notes(id).await, 1, "{place:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hung_path_rehearsal_leaves_no_session() {
    for place in CUTS {
        let bench = bench().await;
        bench.proxy.order(WRITES, [Effect::Hang(place)]);
        let id = Uuid::now_v7();
        bench.pool.rehearse_write(Deadline::after(PLENTY), &id, note).await;
        assert_eq!(bench.proxy.counts().cut, 1, "{place:?}");
        until("the dead session is ended", async || bench.sessions().await == 1).await;
        assert_eq!(bench.notes(id).await, 0, "{place:?}");
    }
}

/// The news that a session was ended can come over that session before the witness hears of it.
#[tokio::test(flavor = "multi_thread")]
async fn late_path_has_a_witness_each_time() {
    let bench = bench().await;
    bench.write(Uuid::now_v7()).await.unwrap();
    for round in 1..=3 {
        // Longer than a witness takes to be opened, and shorter than the interval after one that found a living session.
        let late = [Effect::LateRequest(Duration::from_secs(4))];
        bench.proxy.order(WRITES, late);
        let news = [Effect::LateReply(Duration::from_millis(500))];
        bench.proxy.order(Statements::Containing("pg_terminate_backend"), news);
        let opened = bench.proxy.counts().opened;
        bench.write_once(&IdempotencyKey::generated(), round).await;
        // The witness, and the session after it.
        assert_eq!(bench.proxy.counts().opened, opened + 2, "{round}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn working_session_is_left_alone() {
    let bench = bench().await;
    bench.read().await.unwrap();
    let slow = bench.pool.read(Deadline::after(PLENTY), async |db: &mut Session| {
        sqlx::query("SELECT pg_sleep(1.5)").execute(db).await?;
        Ok::<_, Abort<Refusal>>(())
    });
    slow.await.unwrap();
    // The witness was opened and closed; the session is the same.
    assert_eq!(bench.proxy.counts().opened, 2);
    until("one session is left", async || bench.sessions().await == 1).await;
    bench.read().await.unwrap();
    assert_eq!(bench.proxy.counts().opened, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn lock_wait_is_left_alone() {
    let bench = bench().await;
    bench.write(Uuid::now_v7()).await.unwrap();
    let mut holder = bench.direct().await;
    let lock = "BEGIN; LOCK TABLE notes IN EXCLUSIVE MODE";
    sqlx::raw_sql(lock).execute(&mut holder).await.unwrap();
    let id = Uuid::now_v7();
    let key = IdempotencyKey::generated();
    let write = bench.pool.write(Deadline::after(PLENTY), &key, &id, note, replayed);
    tokio::pin!(write);
    tokio::select! {
        early = &mut write => panic!("it did not wait: {early:?}"),
        () = until("a witness came and went", async || {
            bench.proxy.counts().opened == 2 && bench.sessions().await == 1
        }) => {}
    }
    sqlx::raw_sql(AssertSqlSafe("ROLLBACK"))
        .execute(&mut holder)
        .await
        .unwrap();
    holder.close().await.unwrap();
    assert!(matches!(write.await, Ok(Written::Done(done)) if done == id));
    assert_eq!(bench.proxy.counts().opened, 2);
}

/// Starts a path to the server that carries 32 KiB every 20 ms in each direction. Returns its address.
async fn slow_path(server: SocketAddr) -> SocketAddr {
    async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
        let mut buffer = vec![0; 32 * 1024];
        while let Ok(length) = from.read(&mut buffer).await {
            if length == 0 || to.write_all(&buffer[..length]).await.is_err() {
                return;
            }
            sleep(Duration::from_millis(20)).await;
        }
    }
    let socket = TcpSocket::new_v4().unwrap();
    // It acknowledges no more than it has forwarded.
    socket.set_recv_buffer_size(64 * 1024).unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let listener = socket.listen(16).unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = TcpStream::connect(server).await.unwrap().into_split();
            tokio::spawn(carry(from_client, to_server));
            tokio::spawn(carry(from_server, to_client));
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_transfer_is_left_alone() {
    let bench = bench().await;
    let server = SocketAddr::from(([127, 0, 0, 1], bench.cluster.port()));
    let address = slow_path(server).await;
    let url = bench.cluster.url().replace(&server.to_string(), &address.to_string());
    let pool = pool(&url, "socket_timeout=600");
    let session = async || {
        let pid = pool.read(Deadline::after(PLENTY), async |db: &mut Session| {
            let pid = sqlx::query_scalar::<_, i32>("SELECT pg_backend_pid()").fetch_one(db);
            Ok::<_, Abort<Refusal>>(pid.await?)
        });
        pid.await.unwrap()
    };
    let before = session().await;
    // Each takes about two seconds on this path: first down, then up.
    let down = pool.read(Deadline::after(PLENTY), async |db: &mut Session| {
        let text = sqlx::query_scalar::<_, String>("SELECT repeat('x', 4000000)").fetch_one(db);
        Ok::<_, Abort<Refusal>>(text.await?.len())
    });
    assert_eq!(down.await.unwrap(), 4_000_000);
    let text = "x".repeat(4_000_000);
    let up = pool.read(Deadline::after(PLENTY), async |db: &mut Session| {
        let length = sqlx::query_scalar::<_, i32>("SELECT length($1)")
            .bind(&text)
            .fetch_one(db);
        Ok::<_, Abort<Refusal>>(length.await?)
    });
    assert_eq!(up.await.unwrap(), 4_000_000);
    // No witness took the place of the session.
    assert_eq!(session().await, before);
}
