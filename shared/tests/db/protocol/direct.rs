//! A session that bypasses the proxies, and is reopened after the server was away. Its commits wait for no standby.

use std::time::Duration;

use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, Row as _};

use super::super::bench::PLENTY;

/// A slower statement is abandoned with its session.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) struct Direct {
    url: String,
    session: Option<PgConnection>,
}

impl Direct {
    pub(super) fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            session: None,
        }
    }

    /// Uses another server from now on.
    pub(super) fn follow(&mut self, url: &str) {
        if self.url != url {
            *self = Self::new(url);
        }
    }

    /// Runs statements, and reports whether they succeeded.
    pub(super) async fn tried(&mut self, sql: String) -> bool {
        self.once(sql).await.is_some()
    }

    /// Runs statements that must succeed once the server is back. They may run twice.
    pub(super) async fn rows(&mut self, sql: &str) -> Vec<PgRow> {
        let asking = async {
            loop {
                if let Some(rows) = self.once(sql.to_owned()).await {
                    return rows;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let answer = tokio::time::timeout(2 * PLENTY, asking).await;
        assert!(answer.is_ok(), "not answered: {sql}");
        answer.unwrap()
    }

    pub(super) async fn number(&mut self, sql: &str) -> i64 {
        self.rows(sql).await[0].get(0)
    }

    #[expect(clippy::disallowed_methods, reason = "past the pool is the point")]
    async fn once(&mut self, sql: String) -> Option<Vec<PgRow>> {
        let mut session = match self.session.take() {
            Some(session) => session,
            None => {
                let mut session = PgConnection::connect(&self.url).await.ok()?;
                session.execute("SET synchronous_commit = local").await.ok()?;
                session
            }
        };
        let asking = session.fetch_all(sqlx::raw_sql(AssertSqlSafe(sql)));
        let answer = tokio::time::timeout(STATEMENT_TIMEOUT, asking).await.ok()?.ok()?;
        self.session = Some(session);
        Some(answer)
    }
}
