//! Executor, transactions and connections that the caller ends: for code that is not written as units of work.
//!
//! Nothing here is retried, because only a closure can be run again; domain code uses `read` and `write` instead. The
//! guarantees of connecting and checkout apply here too, and so do the limits: `pool_timeout` for a connection,
//! `statement_timeout` for each statement. The invocation's deadline is not known here; a caller that stops waiting
//! drops the future, and the connection with it. Errors are sqlx's, so that code written for sqlx's pool works
//! unchanged.

use std::io;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt as _, TryStreamExt as _};
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArguments, PgQueryResult, PgRow, PgStatement, PgTypeInfo};
use sqlx::{AssertSqlSafe, Describe, Either, Execute, Executor, Postgres, SqlStr};
use tokio::time::timeout;
use uuid::Uuid;

use super::classify::{Verdict, kind_of_statement, verdict};
use super::connect::Purpose;
use super::deadline::{Deadline, FUNCTION_TIMEOUT};
use super::error::Error;
use super::kind::{Kind, Phase};
use super::known::Known;
use super::pool::{Pool, PooledConnection};
use super::receipt::{Change, IdempotencyKey};
use super::session::Session;
use super::work::answered;

/// How long a lost reply to COMMIT is looked up. The caller has a deadline that is not known here, and an unknown
/// outcome is more useful to it than being cut off.
const LOOKED_UP: Duration = Duration::from_secs(8);

/// The content of such a transaction's receipt: it was committed, and nothing else is known.
const CHANGE: Change = Change {
    kind: "transaction",
    id: Uuid::nil(),
    version: None,
    status: 0,
};

impl Pool {
    /// Acquires a connection for statements that the caller ends.
    async fn acquire_until_released(&self) -> Result<PooledConnection, sqlx::Error> {
        let connection = self.checkout(Purpose::Unrepeatable, Deadline::after(FUNCTION_TIMEOUT));
        let connection = connection.await;
        let mut connection = connection.map_err(into_sqlx)?;
        connection.inner.session.client_timeout = Some(self.client_timeout(Deadline::after(FUNCTION_TIMEOUT)).left());
        Ok(connection)
    }

    /// Acquires a connection for one statement. Behind a pooler the statement runs in a transaction, because otherwise
    /// it would not stay on one server connection from Parse to Bind.
    async fn acquire_for_statement(&self) -> Result<PooledConnection, sqlx::Error> {
        let mut connection = self.acquire_until_released().await?;
        if self.target.pooled {
            let begin = self.begin_sql("", Deadline::after(FUNCTION_TIMEOUT));
            let session = &mut connection.inner.session;
            session.execute(sqlx::raw_sql(AssertSqlSafe(begin))).await?;
        }
        Ok(connection)
    }

    /// Releases the connection of a statement if the server answered. After text that can leave the session in another
    /// state, for example in a transaction, it is closed; behind a pooler the end of the surrounding transaction is
    /// sufficient.
    async fn finish<T>(
        &self,
        mut connection: PooledConnection,
        keeps_session: bool,
        outcome: Result<T, sqlx::Error>,
    ) -> Result<T, sqlx::Error> {
        let end = match &outcome {
            Ok(_) => "COMMIT",
            Err(cause) if in_step(cause) => "ROLLBACK",
            Err(_) => return outcome,
        };
        if self.target.pooled {
            let ended = connection.inner.session.execute(sqlx::raw_sql(end)).await;
            if let Err(lost) = ended {
                return outcome.and(Err(lost));
            }
        } else if !keeps_session {
            connection.close().await;
            return outcome;
        }
        release(connection).await;
        outcome
    }

    /// Begins a transaction on a connection of its own. One round trip.
    ///
    /// # Errors
    /// Fails if no connection is available within `pool_timeout`, or if BEGIN fails.
    ///
    /// # Cancel safety
    /// Dropping the future drops the connection.
    pub async fn begin(&self) -> Result<Transaction<'_>, sqlx::Error> {
        let mut connection = self.acquire_until_released().await?;
        let begin = self.begin_sql("", Deadline::after(FUNCTION_TIMEOUT));
        let session = &mut connection.inner.session;
        session.execute(sqlx::raw_sql(AssertSqlSafe(begin))).await?;
        Ok(Transaction {
            pool: self,
            connection,
            key: IdempotencyKey::generated(),
        })
    }

    /// Acquires a connection for as long as the caller keeps it.
    ///
    /// # Errors
    /// Fails if no connection is available within `pool_timeout`. Fails with `Configuration` behind a transaction
    /// pooler, which has no sessions to keep.
    ///
    /// # Cancel safety
    /// Dropping the future drops the connection.
    pub async fn acquire(&self) -> Result<OwnedConnection, sqlx::Error> {
        if self.target.pooled {
            let why = "a connection cannot be held behind a transaction pooler (pgbouncer=true)";
            return Err(sqlx::Error::Configuration(why.into()));
        }
        self.acquire_until_released().await.map(OwnedConnection)
    }
}

/// Each statement uses a connection of its own for as long as it runs. All rows are read before the first is returned,
/// so that a caller that processes rows one by one can send other statements meanwhile.
///
/// # Cancel safety
/// Dropping the future or stream of an unanswered query closes its connection. If its statement was sent, the server
/// may still apply it.
impl<'p> Executor<'p> for &'p Pool {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Result<Either<PgQueryResult, PgRow>, sqlx::Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let rows = async move {
            let query = Asked::new(query)?;
            let keeps_session = query.keeps_session();
            let mut connection = self.acquire_for_statement().await?;
            let rows = connection.inner.session.fetch_many(query).try_collect::<Vec<_>>().await;
            self.finish(connection, keeps_session, rows).await
        };
        stream::once(rows)
            .map_ok(|rows| stream::iter(rows.into_iter().map(Ok)))
            .try_flatten()
            .boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<PgRow>, sqlx::Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        Box::pin(async move {
            let query = Asked::new(query)?;
            let keeps_session = query.keeps_session();
            let mut connection = self.acquire_for_statement().await?;
            let row = connection.inner.session.fetch_optional(query).await;
            self.finish(connection, keeps_session, row).await
        })
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, Result<PgStatement, sqlx::Error>>
    where
        'p: 'e,
    {
        Box::pin(async move {
            let mut connection = self.acquire_for_statement().await?;
            let statement = connection.inner.session.prepare_with(sql, parameters).await;
            self.finish(connection, true, statement).await
        })
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<Describe<Postgres>, sqlx::Error>>
    where
        'p: 'e,
    {
        Box::pin(async move {
            let mut connection = self.acquire_for_statement().await?;
            let described = connection.inner.session.describe(sql).await;
            self.finish(connection, true, described).await
        })
    }
}

/// A query in its parts, to look at its text and its arguments before it is sent.
struct Asked {
    sql: SqlStr,
    statement: Option<PgStatement>,
    arguments: Option<PgArguments>,
    persistent: bool,
}

impl Asked {
    fn new<'q>(mut query: impl Execute<'q, Postgres>) -> Result<Self, sqlx::Error> {
        Ok(Self {
            arguments: query.take_arguments().map_err(sqlx::Error::Encode)?,
            statement: query.statement().cloned(),
            persistent: query.persistent(),
            sql: query.sql(),
        })
    }

    /// Returns whether the session is as before when the server has answered. Text without even an empty list of
    /// arguments is sent unchanged, and may be several statements.
    fn keeps_session(&self) -> bool {
        self.arguments.is_some() && keeps_session(self.sql.as_str())
    }
}

impl<'q> Execute<'q, Postgres> for Asked {
    fn sql(self) -> SqlStr {
        self.sql
    }

    fn statement(&self) -> Option<&PgStatement> {
        self.statement.as_ref()
    }

    fn take_arguments(&mut self) -> Result<Option<PgArguments>, BoxDynError> {
        Ok(self.arguments.take())
    }

    fn persistent(&self) -> bool {
        self.persistent
    }
}

/// Returns whether a statement reads or changes rows and nothing else. Any other, as BEGIN or SET, may leave the session
/// in a transaction, or with another setting, for whoever uses it next.
fn keeps_session(sql: &str) -> bool {
    const ROWS: [&str; 9] = [
        "SELECT", "INSERT", "UPDATE", "DELETE", "MERGE", "WITH", "VALUES", "TABLE", "SHOW",
    ];
    let sql = without_comments(sql).trim_start_matches(|c: char| c == '(' || c.is_whitespace());
    let word = sql.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
    ROWS.iter().any(|rows| word.eq_ignore_ascii_case(rows))
}

/// Returns the text after the white space and the comments at its start (manual, "Comments").
fn without_comments(mut sql: &str) -> &str {
    loop {
        sql = sql.trim_start();
        let rest = if let Some(comment) = sql.strip_prefix("--") {
            comment.split_once('\n').map(|(_, rest)| rest)
        } else if let Some(comment) = sql.strip_prefix("/*") {
            comment.split_once("*/").map(|(_, rest)| rest)
        } else {
            return sql;
        };
        sql = rest.unwrap_or_default();
    }
}

/// A transaction that the caller commits. Run statements on `&mut *transaction`.
///
/// It leaves a receipt, as every write does, so that the outcome of a lost reply to COMMIT can be looked up. If
/// dropped, it closes its connection, and the server rolls back.
#[derive(Debug)]
#[must_use = "dropped, a transaction is rolled back"]
pub struct Transaction<'p> {
    pool: &'p Pool,
    connection: PooledConnection,
    key: IdempotencyKey,
}

impl Transaction<'_> {
    /// Commits.
    ///
    /// # Errors
    /// Fails with the server's error, and then nothing is applied: this includes an earlier statement that failed.
    /// Fails with an I/O error that states it if the reply was lost and no connection could be opened to find out the
    /// outcome.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection. If COMMIT was sent by then, it is unknown whether the transaction is
    /// applied.
    pub async fn commit(mut self) -> Result<(), sqlx::Error> {
        let (pool, deadline) = (self.pool, Deadline::after(FUNCTION_TIMEOUT));
        let session = &mut self.connection.inner.session;
        let committed = timeout(deadline.left() / 2, self.key.commit(session, None, Some(&CHANGE))).await;
        let cause = match committed {
            Ok(Ok(())) => {
                release(self.connection).await;
                return Ok(());
            }
            Ok(Err(cause)) => cause,
            Err(_) => sqlx::Error::Io(io::ErrorKind::TimedOut.into()),
        };
        let lost = pool.failed(Phase::Commit, cause);
        drop(self.connection);
        if answered(&lost) {
            return Err(into_sqlx(lost));
        }
        tracing::warn!(error = %lost, "the reply to COMMIT was lost: looking for the receipt");
        match pool.bury(deadline.within(LOOKED_UP), &self.key).await {
            Ok((known, connection)) => {
                connection.release().await;
                match known {
                    Known::Receipt(_) => Ok(()),
                    Known::Tombstone(_) => Err(into_sqlx(lost)),
                }
            }
            Err(cause) => Err(into_sqlx(Error {
                kind: Kind::CommitUnknown,
                phase: Phase::Commit,
                ..cause
            })),
        }
    }

    /// Rolls back, and keeps the connection. Dropping the transaction rolls back as well, but loses the connection.
    ///
    /// # Errors
    /// Fails if the connection is lost, in which case the server rolls back too.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection, and the server rolls back.
    pub async fn rollback(mut self) -> Result<(), sqlx::Error> {
        let session = &mut self.connection.inner.session;
        session.execute(sqlx::raw_sql("ROLLBACK")).await?;
        release(self.connection).await;
        Ok(())
    }
}

impl Deref for Transaction<'_> {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.connection.inner.session
    }
}

impl DerefMut for Transaction<'_> {
    fn deref_mut(&mut self) -> &mut Session {
        &mut self.connection.inner.session
    }
}

/// A connection that the caller keeps: for settings, locks or temporary tables of the session.
///
/// The state of its session is unknown afterwards, so it is always closed and never reused: each use costs a connect.
/// Meanwhile it occupies one of the environment's few slots; with `connection_limit=1`, the usual value, everything
/// else waits.
#[derive(Debug)]
pub struct OwnedConnection(PooledConnection);

impl OwnedConnection {
    /// Closes it with Terminate, so that the server's slot is free at once.
    ///
    /// # Errors
    /// Never fails: it returns a result like sqlx's `close`, which it replaces.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection without Terminate.
    pub async fn close(self) -> Result<(), sqlx::Error> {
        self.0.close().await;
        Ok(())
    }
}

impl Deref for OwnedConnection {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.0.inner.session
    }
}

impl DerefMut for OwnedConnection {
    fn deref_mut(&mut self) -> &mut Session {
        &mut self.0.inner.session
    }
}

impl<'c> Executor<'c> for &'c mut OwnedConnection {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Result<Either<PgQueryResult, PgRow>, sqlx::Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        self.0.inner.session.fetch_many(query)
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<PgRow>, sqlx::Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        self.0.inner.session.fetch_optional(query)
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, Result<PgStatement, sqlx::Error>>
    where
        'c: 'e,
    {
        self.0.inner.session.prepare_with(sql, parameters)
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<Describe<Postgres>, sqlx::Error>>
    where
        'c: 'e,
    {
        self.0.inner.session.describe(sql)
    }
}

/// Releases a clean connection in the state in which units of work get it.
async fn release(mut connection: PooledConnection) {
    connection.inner.session.client_timeout = None;
    connection.release().await;
}

/// Returns whether the server answered, and the connection is reusable. Other connections are dropped: lost, late, or
/// to a writer that became a standby.
fn in_step(cause: &sqlx::Error) -> bool {
    let kind = kind_of_statement(cause);
    let answered = cause.as_database_error().is_some() && kind != Kind::Lost && kind != Kind::Timeout;
    match verdict(Phase::Statement, kind, false) {
        Verdict::Transient | Verdict::Permanent => answered || matches!(cause, sqlx::Error::RowNotFound),
        Verdict::Reconnect | Verdict::ReconnectOnce | Verdict::Ambiguous => false,
    }
}

/// Converts an error for code written for sqlx's pool: a server error stays one; any other becomes an I/O error that
/// contains the original.
fn into_sqlx(mut error: Error) -> sqlx::Error {
    let connected = matches!(error.phase, Phase::Statement | Phase::Commit);
    if connected && error.kind != Kind::CommitUnknown && error.sqlstate.is_some() {
        match error.cause.take().map(|cause| cause.downcast::<sqlx::Error>()) {
            Some(Ok(cause)) => return *cause,
            Some(Err(cause)) => error.cause = Some(cause),
            None => {}
        }
    }
    let kind = if error.kind == Kind::Refused {
        io::ErrorKind::ConnectionRefused
    } else if error.kind == Kind::Timeout {
        io::ErrorKind::TimedOut
    } else {
        io::ErrorKind::Other
    };
    sqlx::Error::Io(io::Error::new(kind, error))
}
