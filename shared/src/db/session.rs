//! The connection for domain code: it can run queries and nothing else.
//!
//! A [`Session`] implements sqlx's `Executor`, so `query!(…).fetch_one(db)` works; it cannot begin, commit or close.
//! With `statement_cache_size=0`, the default behind a transaction pooler, every statement is unnamed, regardless of
//! the query's own setting, and none is prepared separately: a named one would stay on an arbitrary server connection
//! of the pooler. Unnamed statements are only safe inside an explicit transaction there (sqlx sends Sync between Parse
//! and Bind), which `read`, `write` and `Connection::ask` provide.
//!
//! Each statement counts its round trips and rows for the invocation's log line.

use std::time::Duration;

use futures_util::future::{BoxFuture, ready};
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt as _, StreamExt as _};
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArguments, PgQueryResult, PgRow, PgStatement, PgTypeInfo};
use sqlx::{
    AssertSqlSafe, Connection as _, Describe, Either, Execute, Executor, PgConnection, Postgres, SqlSafeStr as _,
    SqlStr,
};
use tokio::time::timeout;

use super::error::late;
use crate::telemetry::count;

/// A connection during one unit of work.
#[derive(Debug)]
pub struct Session {
    pub(super) connection: PgConnection,
    pub(super) disable_statement_cache: bool,
    /// The version of the statements' texts: a pooler keeps a statement by its text, and gives it to new connections
    /// even if it is stale. A changed text makes a new statement.
    pub(super) version: u32,
    /// The timeout of each answer of the server, in work that the caller ends; other work is limited by its deadline.
    pub(super) client_timeout: Option<Duration>,
    /// Whether it is within an explicit transaction, as far as is known: then it must not go back to the pool.
    pub(super) in_transaction: bool,
    /// The number of named statements that were counted as prepared.
    pub(super) prepared: usize,
    /// The number of statements that were passed to it for sending; wraps around.
    pub(super) statements: u32,
}

impl Session {
    /// Wraps a query for sending, and counts its round trips.
    fn statement<'q, E: Execute<'q, Postgres>>(&mut self, mut query: E) -> Statement<E> {
        self.statements = self.statements.wrapping_add(1);
        let arguments = query.take_arguments();
        let persistent = !self.disable_statement_cache && query.persistent();
        // Text without arguments is sent as it is; an unnamed statement is parsed each time.
        let parsed = u32::from(!persistent && matches!(arguments, Ok(Some(_))));
        count(|counts| counts.round_trips += 1 + parsed);
        self.count_prepared();
        Statement {
            query,
            arguments,
            persistent,
            version: self.version,
        }
    }

    /// Counts the round trips in which named statements were prepared since the last call.
    pub(super) fn count_prepared(&mut self) {
        let prepared = self.connection.cached_statements_size();
        let new = u32::try_from(prepared.saturating_sub(self.prepared)).unwrap_or_default();
        count(|counts| counts.round_trips += new);
        self.prepared = prepared;
    }
}

fn count_row(row: &Result<Either<PgQueryResult, PgRow>, sqlx::Error>) {
    if let Ok(Either::Right(_)) = row {
        count(|counts| counts.rows += 1);
    }
}

impl<'c> Executor<'c> for &'c mut Session {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Result<Either<PgQueryResult, PgRow>, sqlx::Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let statement = self.statement(query);
        let rows = self.connection.fetch_many(statement).inspect(count_row).boxed();
        match self.client_timeout {
            Some(client_timeout) => bounded_rows(rows, client_timeout),
            None => rows,
        }
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<PgRow>, sqlx::Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let statement = self.statement(query);
        let row = self.connection.fetch_optional(statement).inspect(|row| {
            if let Ok(Some(_)) = row {
                count(|counts| counts.rows += 1);
            }
        });
        bounded(self.client_timeout, row.boxed())
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, Result<PgStatement, sqlx::Error>>
    where
        'c: 'e,
    {
        if self.disable_statement_cache {
            return Box::pin(ready(Err(kept())));
        }
        bounded(self.client_timeout, self.connection.prepare_with(sql, parameters))
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<Describe<Postgres>, sqlx::Error>>
    where
        'c: 'e,
    {
        if self.disable_statement_cache {
            return Box::pin(ready(Err(kept())));
        }
        bounded(self.client_timeout, self.connection.describe(sql))
    }
}

/// The driver names statements that it prepares or describes, and leaves them on the server.
fn kept() -> sqlx::Error {
    let why = "nothing can be prepared or described where statements have no names \
               (pgbouncer=true or statement_cache_size=0): run it as a query";
    sqlx::Error::Configuration(why.into())
}

/// Limits the wait for one answer.
fn bounded<'e, T: Send + 'e>(
    client_timeout: Option<Duration>,
    answer: BoxFuture<'e, Result<T, sqlx::Error>>,
) -> BoxFuture<'e, Result<T, sqlx::Error>> {
    let Some(client_timeout) = client_timeout else {
        return answer;
    };
    Box::pin(async move { timeout(client_timeout, answer).await.unwrap_or_else(|_| Err(late())) })
}

/// Limits the wait for each row. A late row ends the stream, and leaves the connection out of sync.
fn bounded_rows<'e, T: Send + 'e>(
    rows: BoxStream<'e, Result<T, sqlx::Error>>,
    client_timeout: Duration,
) -> BoxStream<'e, Result<T, sqlx::Error>> {
    let next = move |rows: Option<BoxStream<'e, Result<T, sqlx::Error>>>| async move {
        let mut rows = rows?;
        match timeout(client_timeout, rows.next()).await {
            Ok(row) => row.map(|row| (row, Some(rows))),
            Err(_) => Some((Err(late()), None)),
        }
    };
    stream::unfold(Some(rows), next).boxed()
}

/// A query whose arguments have been taken out, with its persistence overridden, and its text changed if statements were
/// stale.
struct Statement<E> {
    query: E,
    arguments: Result<Option<PgArguments>, BoxDynError>,
    persistent: bool,
    version: u32,
}

impl<'q, E: Execute<'q, Postgres>> Execute<'q, Postgres> for Statement<E> {
    fn sql(self) -> SqlStr {
        let sql = self.query.sql();
        if self.version == 0 {
            return sql;
        }
        AssertSqlSafe(format!("{}/* {} */", sql.as_str(), self.version)).into_sql_str()
    }

    fn statement(&self) -> Option<&PgStatement> {
        self.query.statement()
    }

    fn take_arguments(&mut self) -> Result<Option<PgArguments>, BoxDynError> {
        std::mem::replace(&mut self.arguments, Ok(None))
    }

    fn persistent(&self) -> bool {
        self.persistent
    }
}
