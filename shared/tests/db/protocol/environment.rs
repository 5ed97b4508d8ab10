//! An environment behind a proxy of its own, and the write that it sends.

use std::sync::Arc;
use std::time::Duration;

use local::proxy::{Effect, Proxy, Statements};
use shared::config::Config;
use shared::db::{Abort, Change, Deadline, Error, IdempotencyKey, Kind, Pool, Receipt, Session, WriteAttempt, Written};
use shared::write_query_unchecked;
use sqlx::Row as _;
use uuid::Uuid;

use super::super::bench::{PLENTY, until};
use super::direct::Direct;

/// The write itself, the look, the tombstone, and the COMMIT with the receipt.
const RECEIPTS: Statements = Statements::Containing("receipts");

/// The outcome of a request, from its client's view.
#[derive(Debug)]
pub(super) enum Outcome {
    Done(Uuid),
    Replayed(Uuid),
    KeyReused,
    Rejected,
    Refused(Error),
    Unknown,
    /// Acknowledged, but not there.
    Absent,
}

/// The data that a request writes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Input {
    /// The same for all requests of a round.
    pub(super) logical: Uuid,
    /// The request's own.
    pub(super) id: Uuid,
    /// The row whose state is the condition.
    pub(super) row: i32,
    /// The primary key of the row that the write inserts as well.
    pub(super) entity: Option<Uuid>,
}

#[derive(Debug)]
enum Refusal {
    Closed,
    Absent,
    Database(Error),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Database(error)
    }
}

pub(super) struct Environment {
    name: String,
    pub(super) proxy: Arc<Proxy>,
    pool: Pool,
    /// The orders of each round since the last pause, with the number of orders carried out before.
    ordered: Vec<(u64, Vec<Effect>)>,
}

impl Environment {
    pub(super) async fn new(name: String, server: u16, url: &str) -> Self {
        let proxy = Proxy::start(([127, 0, 0, 1], server).into()).await.unwrap();
        let url = format!("{}?pool_timeout=5&connect_timeout=3&socket_timeout=3", proxy.url(url));
        let config = Config::from_lookup(|variable| match variable {
            "DATABASE_URL" => Some(url.clone()),
            "AWS_LAMBDA_FUNCTION_NAME" => Some(name.clone()),
            _ => None,
        });
        Self {
            name,
            proxy: Arc::new(proxy),
            pool: Pool::new(&config.database.unwrap(), &config.lambda),
            ordered: Vec::new(),
        }
    }

    /// Opens the connection if there is none, so that a round's time is spent on its messages.
    pub(super) async fn connect(&self) {
        let read =
            async |db: &mut Session| Ok::<i32, Abort<Refusal>>(sqlx::query_scalar("SELECT 1").fetch_one(db).await?);
        // A crash of the server can take longer than that.
        let _ = self.pool.read(Deadline::after(PLENTY), read).await;
    }

    pub(super) fn order(&mut self, effects: &[Effect]) {
        self.proxy.withdraw(RECEIPTS);
        self.ordered.push((self.proxy.counts().cut, effects.to_vec()));
        self.proxy.order(RECEIPTS, effects.iter().copied());
    }

    pub(super) fn withdraw(&self) {
        self.proxy.withdraw(RECEIPTS);
    }

    pub(super) async fn send(&self, within: Duration, key: &IdempotencyKey, input: &Input, several: bool) -> Outcome {
        let (pool, deadline) = (&self.pool, Deadline::after(within));
        let answer = if several {
            pool.transact(deadline, key, input, statements, replay).await
        } else {
            pool.write(deadline, key, input, statement, replay).await
        };
        match answer {
            Ok(Written::Done(id)) => Outcome::Done(id),
            Ok(Written::Replayed(receipt, Ok(_))) => Outcome::Replayed(receipt.id),
            Ok(Written::Replayed(_, Err(_))) | Err(Refusal::Absent) => Outcome::Absent,
            Ok(Written::KeyReused) => Outcome::KeyReused,
            Err(Refusal::Closed) => Outcome::Rejected,
            Err(Refusal::Database(error)) if error.kind == Kind::CommitUnknown => Outcome::Unknown,
            Err(Refusal::Database(error)) => Outcome::Refused(error),
        }
    }

    /// Waits until every late message has been delivered and answered, and ends connections that hang.
    pub(super) async fn quiet(&mut self, direct: &mut Direct) {
        self.pool.close_idle().await;
        let hung = self.hung();
        until("late messages are answered", async || self.proxy.counts().open <= hung).await;
        self.proxy.reset();
        let sessions = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE '{}:%'",
            self.name
        );
        until("the sessions have ended", async || direct.number(&sessions).await == 0).await;
    }

    /// Returns how many connections hang because of an order.
    fn hung(&mut self) -> usize {
        let mut ended = self.proxy.counts().cut;
        let mut hung = 0;
        while let Some((began, effects)) = self.ordered.pop() {
            let carried_out = effects.iter().take(usize::try_from(ended - began).unwrap());
            hung += carried_out.filter(|effect| matches!(effect, Effect::Hang(_))).count();
            ended = began;
        }
        hung
    }
}

async fn statement(db: &mut Session, attempt: &WriteAttempt, input: &Input) -> Result<Uuid, Abort<Refusal>> {
    let row = write_query_unchecked!(
        attempt,
        "seen AS (
            SELECT r.number, r.open FROM known, rows r WHERE known.clear AND r.number = $5 FOR NO KEY UPDATE OF r
        ), updated AS (
            UPDATE rows r SET version = r.version + 1 FROM seen
            WHERE r.number = seen.number AND seen.open RETURNING r.version
        ), created AS (
            INSERT INTO entities SELECT $8::uuid FROM updated WHERE $8 IS NOT NULL
        ), noted AS (
            INSERT INTO applied (logical, id) SELECT $6::uuid, $7::uuid FROM updated RETURNING id
        ), changed AS (
            SELECT 'row' AS kind, noted.id, updated.version, 201 AS status FROM updated, noted
        )",
        "changed.id FROM known LEFT JOIN changed ON true"
    )
    .bind(input.row)
    .bind(input.logical)
    .bind(input.id)
    .bind(input.entity)
    .fetch_one(db)
    .await?;
    attempt.check_row(&row)?;
    let id: Option<Uuid> = row.try_get("id")?;
    id.ok_or(Abort::Rejected(Refusal::Closed))
}

async fn statements(db: &mut Session, input: &Input) -> Result<(Uuid, Option<Change>), Abort<Refusal>> {
    let open: bool = sqlx::query_scalar("SELECT open FROM rows WHERE number = $1 FOR NO KEY UPDATE")
        .bind(input.row)
        .fetch_one(&mut *db)
        .await?;
    if !open {
        return Err(Abort::Rejected(Refusal::Closed));
    }
    let version = sqlx::query_scalar("UPDATE rows SET version = version + 1 WHERE number = $1 RETURNING version")
        .bind(input.row)
        .fetch_one(&mut *db)
        .await?;
    sqlx::query("INSERT INTO entities SELECT $1::uuid WHERE $1 IS NOT NULL")
        .bind(input.entity)
        .execute(&mut *db)
        .await?;
    sqlx::query("INSERT INTO applied (logical, id) VALUES ($1, $2)")
        .bind(input.logical)
        .bind(input.id)
        .execute(&mut *db)
        .await?;
    let change = Change {
        kind: "row",
        id: input.id,
        version: Some(version),
        status: 201,
    };
    Ok((input.id, Some(change)))
}

async fn replay(db: &mut Session, receipt: &Receipt, input: &Input) -> Result<Uuid, Abort<Refusal>> {
    let applied = sqlx::query_scalar("SELECT id FROM applied WHERE logical = $1 AND id = $2")
        .bind(input.logical)
        .bind(receipt.id)
        .fetch_optional(db)
        .await?;
    applied.ok_or(Abort::Rejected(Refusal::Absent))
}
