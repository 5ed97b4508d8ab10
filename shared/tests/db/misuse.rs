//! A write that breaks the rules of `write_query!` fails at the first call, not only under a fault in production.

use shared::db::{Abort, Deadline, IdempotencyKey, Session, WriteAttempt};
use shared::write_query_unchecked;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::bench::{Bench, PLENTY, Refusal, note, replayed};

/// Returns the error of the work's first call, under a client's key and without one.
async fn refused<W>(bench: &Bench, work: W) -> [String; 2]
where
    W: AsyncFn(&mut Session, &WriteAttempt, &Uuid) -> Result<Uuid, Abort<Refusal>>,
{
    let send = async |key: IdempotencyKey| {
        let id = Uuid::now_v7();
        let written = bench
            .pool
            .write(Deadline::after(PLENTY), &key, &id, &work, replayed)
            .await;
        written.unwrap_err().0.to_string()
    };
    [
        send(IdempotencyKey::from_client("caller", "key", &[b"body"])).await,
        send(IdempotencyKey::generated()).await,
    ]
}

async fn inserted(db: &mut Session, attempt: &WriteAttempt, id: &Uuid) -> Result<PgRow, sqlx::Error> {
    write_query_unchecked!(
        attempt,
        "noted AS (INSERT INTO notes SELECT $5, 'text' FROM known WHERE clear RETURNING id),
        changed AS (SELECT 'note' AS kind, id, NULL::integer AS version, 201 AS status FROM noted)",
        "1 FROM known"
    )
    .bind(id)
    .fetch_one(db)
    .await
}

/// Without the check, a replay would be answered like a new change.
#[tokio::test(flavor = "multi_thread")]
async fn unchecked_write_is_an_error() {
    let bench = Bench::new().await;
    let unchecked = async |db: &mut Session, attempt: &WriteAttempt, id: &Uuid| {
        inserted(db, attempt, id).await?;
        Ok(*id)
    };
    for error in refused(&bench, unchecked).await {
        assert!(error.contains("does not call attempt.check"), "{error}");
    }
}

/// The receipt covers one statement. If a reply is lost, another statement may be lost or applied twice.
#[tokio::test(flavor = "multi_thread")]
async fn second_statement_of_a_write_is_an_error() {
    let bench = Bench::new().await;
    let twice = async |db: &mut Session, attempt: &WriteAttempt, id: &Uuid| {
        note(db, attempt, id).await?;
        sqlx::query("INSERT INTO notes VALUES (gen_random_uuid(), 'second')")
            .execute(db)
            .await?;
        Ok(*id)
    };
    for error in refused(&bench, twice).await {
        assert!(error.contains("use transact"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn second_row_of_changed_is_an_error() {
    let bench = Bench::new().await;
    let twofold = async |db: &mut Session, attempt: &WriteAttempt, id: &Uuid| {
        let row = write_query_unchecked!(
            attempt,
            "noted AS (INSERT INTO notes SELECT $5, 'text' FROM known WHERE clear RETURNING id),
            changed AS (
                SELECT 'note' AS kind, id, NULL::integer AS version, 201 AS status FROM noted, (VALUES (1), (2)) AS two
            )",
            "1 FROM known"
        )
        .bind(id)
        .fetch_one(db)
        .await?;
        attempt.check_row(&row)?;
        Ok(*id)
    };
    for error in refused(&bench, twofold).await {
        assert!(
            error.contains("after 1 attempt") && error.contains("receipts_pkey"),
            "{error}"
        );
    }
    assert_eq!(bench.count("SELECT count(*) FROM notes").await, 0);
}
