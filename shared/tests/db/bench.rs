//! A test's environment: a cluster, a proxy in front of it, a pool that connects through the proxy.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use local::postgres::{Cluster, Settings};
use local::proxy::{Cut, Effect, Proxy, Statements};
use sha2::{Digest as _, Sha256};
use shared::config::{Config, DatabaseUrl};
use shared::db::{Abort, Deadline, Error, IdempotencyKey, Pool, Receipt, Session, WriteAttempt, Written, migrate};
use shared::{Service, write_query_unchecked};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};
use uuid::Uuid;

/// A service without a schema of its own.
pub(crate) static NOTES: Service = Service::new("notes");

/// The time for work that must succeed, on any machine.
pub(crate) const PLENTY: Duration = Duration::from_secs(25);

/// Matches the statements of writes by a part of their text.
pub(crate) const WRITES: Statements = Statements::Containing("known AS (");

/// Every place in an exchange where it can be cut.
pub(crate) const CUTS: [Cut; 4] = [
    Cut::BeforeServer,
    Cut::BeforeSync,
    Cut::AfterServer,
    Cut::BeforeAcknowledgement,
];

pub(crate) struct Bench {
    pub(crate) cluster: Cluster,
    pub(crate) proxy: Proxy,
    pub(crate) pool: Pool,
}

impl Bench {
    pub(crate) async fn new() -> Self {
        Self::with(Settings::default(), "").await
    }

    /// `parameters`: the part of the connection string after the `?`.
    pub(crate) async fn with(settings: Settings, parameters: &str) -> Self {
        let cluster = Cluster::throwaway(settings).await.unwrap();
        migrate::migrate(&DatabaseUrl::parse(&cluster.url()).unwrap(), &NOTES)
            .await
            .unwrap();
        let proxy = Proxy::start(SocketAddr::from(([127, 0, 0, 1], cluster.port())))
            .await
            .unwrap();
        let pool = pool(&proxy.url(&cluster.url()), parameters);
        let bench = Self { cluster, proxy, pool };
        bench
            .sql("CREATE TABLE notes (id uuid PRIMARY KEY, text text NOT NULL)")
            .await;
        bench
    }

    /// Runs one statement, bypassing the pool and the proxy.
    pub(crate) async fn sql(&self, sql: &str) {
        let mut direct = self.direct().await;
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
            .execute(&mut direct)
            .await
            .unwrap();
        direct.close().await.unwrap();
    }

    /// Moves the creation of every receipt to yesterday.
    pub(crate) async fn expire_receipts(&self) {
        self.sql("UPDATE receipts SET expires_at = now() - interval '1 second'")
            .await;
    }

    /// Returns a connection that bypasses the pool and the proxy.
    #[expect(clippy::disallowed_methods, reason = "past the pool is the point")]
    pub(crate) async fn direct(&self) -> PgConnection {
        PgConnection::connect(&self.cluster.url()).await.unwrap()
    }

    pub(crate) async fn count(&self, sql: &str) -> i64 {
        let mut direct = self.direct().await;
        let count = sqlx::query_scalar(AssertSqlSafe(sql.to_owned()))
            .fetch_one(&mut direct)
            .await
            .unwrap();
        direct.close().await.unwrap();
        count
    }

    /// Counts the pool's sessions, as the server reports them.
    pub(crate) async fn sessions(&self) -> i64 {
        self.count("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'bench:$LATEST'")
            .await
    }

    pub(crate) async fn terminate_sessions(&self) {
        self.sql(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'bench:$LATEST'",
        )
        .await;
    }

    pub(crate) async fn read(&self) -> Result<i32, Error> {
        let answer = self.pool.read(Deadline::after(PLENTY), async |db| one(db).await).await;
        answer.map_err(|Refusal(error)| error)
    }

    pub(crate) async fn write(&self, id: Uuid) -> Result<Written<Uuid, Refusal>, Error> {
        self.write_under(&IdempotencyKey::generated(), id).await
    }

    pub(crate) async fn write_under(&self, key: &IdempotencyKey, id: Uuid) -> Result<Written<Uuid, Refusal>, Error> {
        self.write_within(Deadline::after(PLENTY), key, id).await
    }

    pub(crate) async fn write_within(
        &self,
        deadline: Deadline,
        key: &IdempotencyKey,
        id: Uuid,
    ) -> Result<Written<Uuid, Refusal>, Error> {
        let written = self.pool.write(deadline, key, &id, note, replayed).await;
        written.map_err(|Refusal(error)| error)
    }

    /// Writes a note, which has to be acknowledged as new and to be there once.
    pub(crate) async fn write_once(&self, key: &IdempotencyKey, about: impl fmt::Debug) {
        let id = Uuid::now_v7();
        let written = self.write_under(key, id).await.unwrap();
        assert!(
            matches!(written, Written::Done(done) if done == id),
            "{about:?}: {written:?}"
        );
        assert_eq!(self.notes(id).await, 1, "{about:?}");
    }

    /// Cuts the connections of the next writes.
    pub(crate) fn cut_writes(&self, cut: Cut, times: usize) {
        self.proxy.withdraw(WRITES);
        self.proxy.order(WRITES, vec![Effect::Cut(cut); times]);
    }

    pub(crate) async fn notes(&self, id: Uuid) -> i64 {
        self.count(&format!("SELECT count(*) FROM notes WHERE id = '{id}'"))
            .await
    }
}

/// Returns the first bytes of a digest over length-prefixed parts, as of a client's key.
pub(crate) fn first_bytes(parts: &[&[u8]]) -> Uuid {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    Uuid::from_slice(&hash.finalize()[..16]).unwrap()
}

/// Waits for a state; fails the test if it never comes about.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let come = tokio::time::timeout(2 * PLENTY, waiting).await;
    assert!(come.is_ok(), "it never came that {what}");
}

/// The work in these tests rejects nothing itself.
#[derive(Debug)]
pub(crate) struct Refusal(pub(crate) Error);

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

pub(crate) fn pool(url: &str, parameters: &str) -> Pool {
    let url = format!("{url}?{parameters}");
    let config = Config::from_lookup(|name| match name {
        "DATABASE_URL" => Some(url.clone()),
        "AWS_LAMBDA_FUNCTION_NAME" => Some("bench".to_owned()),
        _ => None,
    });
    Pool::new(&config.database.unwrap(), &config.lambda)
}

pub(crate) async fn one(db: &mut Session) -> Result<i32, Abort<Refusal>> {
    Ok(sqlx::query_scalar("SELECT 1").fetch_one(db).await?)
}

pub(crate) async fn note(db: &mut Session, attempt: &WriteAttempt, id: &Uuid) -> Result<Uuid, Abort<Refusal>> {
    let row = write_query_unchecked!(
        attempt,
        "noted AS (
            INSERT INTO notes SELECT $5, 'text' FROM known WHERE clear RETURNING id
        ), changed AS (
            SELECT 'note' AS kind, id, NULL::integer AS version, 201 AS status FROM noted
        )",
        "id FROM known LEFT JOIN noted ON true"
    )
    .bind(id)
    .fetch_one(db)
    .await?;
    attempt.check_row(&row)?;
    Ok(row.try_get("id")?)
}

/// A note never changes: its receipt contains everything.
pub(crate) async fn replayed(_: &mut Session, receipt: &Receipt, _: &Uuid) -> Result<Uuid, Abort<Refusal>> {
    Ok(receipt.id)
}
