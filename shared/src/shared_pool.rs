//! The process's one pool, and a handle for code that receives neither a request nor a pool.
//!
//! Routes get their connections from `Request::read` and `Request::write`, which know the deadline and retry. The
//! handle replaces a pool of the code's own; `docs/USE_SHARED_POOL.md` lists its guarantees. Invariants: never connects
//! or waits by itself. Depends on: `config` for the variables.

use std::sync::OnceLock;

use futures_util::StreamExt as _;
use futures_util::future::{BoxFuture, ready};
use futures_util::stream::{self, BoxStream};
use sqlx::postgres::{PgQueryResult, PgRow, PgStatement, PgTypeInfo};
use sqlx::{Describe, Either, Execute, Executor, Postgres, SqlStr};

use crate::config::{Config, ConfigError};
use crate::db::{OwnedConnection, Pool, Transaction};

static POOL: OnceLock<Result<Pool, ConfigError>> = OnceLock::new();

/// Returns the pool of a process whose configuration was read; the first one if there are several.
pub(crate) fn of(config: &Config) -> &'static Result<Pool, ConfigError> {
    POOL.get_or_init(|| {
        let database = config.database.as_ref().map_err(Clone::clone)?;
        if !database.url.is_verified() {
            tracing::warn!(
                server = database.url.endpoint(),
                "the server does not have to prove its identity: add sslmode=verify-full to the connection string"
            );
        }
        Ok(Pool::new(database, &config.lambda))
    })
}

/// The process's pool. It implements sqlx's `Executor`, like a reference to sqlx's pool:
/// `query.fetch_all(&SharedPool)`.
///
/// ```no_run
/// # async fn f(id: i64) -> Result<(), sqlx::Error> {
/// use shared::SharedPool;
///
/// let text: String = sqlx::query_scalar("SELECT text FROM notes WHERE id = $1")
///     .bind(id)
///     .fetch_one(&SharedPool)
///     .await?;
///
/// let mut transaction = SharedPool.begin().await?;
/// sqlx::query("UPDATE notes SET text = $1").bind(text).execute(&mut *transaction).await?;
/// transaction.commit().await?;
/// # Ok(())
/// # }
/// ```
///
/// The pool is created at first use, from `DATABASE_URL`. Each statement uses a connection of its own for as long as it
/// runs, and is not retried. Text without even an empty list of arguments, or that does more than read or change rows,
/// can change the session, so its connection is closed. With `connection_limit=1`, the usual value, a statement that is
/// sent while a [`Transaction`] or [`OwnedConnection`] is open, or within the work of a read or a write, waits for it, and
/// fails after `pool_timeout`.
///
/// # Cancel safety
/// Dropping the future or stream of an unanswered query closes its connection. If its statement was sent, the server
/// may still apply it.
#[derive(Clone, Debug, Default)]
pub struct SharedPool;

impl SharedPool {
    fn pool() -> Result<&'static Pool, sqlx::Error> {
        let pool = POOL.get().unwrap_or_else(|| of(&Config::from_env()));
        pool.as_ref()
            .map_err(|error| sqlx::Error::Configuration(Box::new(error.clone())))
    }

    /// Begins a transaction; see [`Pool::begin`].
    ///
    /// # Errors
    /// As [`Pool::begin`]; `Configuration` if `DATABASE_URL` is not usable.
    ///
    /// # Cancel safety
    /// As [`Pool::begin`].
    pub async fn begin(&self) -> Result<Transaction<'static>, sqlx::Error> {
        Self::pool()?.begin().await
    }

    /// Acquires a connection for as long as the caller keeps it; see [`Pool::acquire`].
    ///
    /// # Errors
    /// As [`Pool::acquire`]; `Configuration` if `DATABASE_URL` is not usable.
    ///
    /// # Cancel safety
    /// As [`Pool::acquire`].
    pub async fn acquire(&self) -> Result<OwnedConnection, sqlx::Error> {
        Self::pool()?.acquire().await
    }
}

impl<'p> Executor<'p> for &'p SharedPool {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Result<Either<PgQueryResult, PgRow>, sqlx::Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        match SharedPool::pool() {
            Ok(pool) => pool.fetch_many(query),
            Err(error) => stream::once(ready(Err(error))).boxed(),
        }
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<PgRow>, sqlx::Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        match SharedPool::pool() {
            Ok(pool) => pool.fetch_optional(query),
            Err(error) => Box::pin(ready(Err(error))),
        }
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, Result<PgStatement, sqlx::Error>>
    where
        'p: 'e,
    {
        match SharedPool::pool() {
            Ok(pool) => pool.prepare_with(sql, parameters),
            Err(error) => Box::pin(ready(Err(error))),
        }
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<Describe<Postgres>, sqlx::Error>>
    where
        'p: 'e,
    {
        match SharedPool::pool() {
            Ok(pool) => pool.describe(sql),
            Err(error) => Box::pin(ready(Err(error))),
        }
    }
}
