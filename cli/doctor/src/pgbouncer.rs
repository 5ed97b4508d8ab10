//! Asks PgBouncer for its limits, at its console: a database of that name at the same address.
//!
//! Only a role in its `stats_users` or `admin_users` may ask. Invariants: changes nothing; a pooler without a console
//! answers with an error, which is not a finding.

use shared::config::DatabaseUrl;
use shared::db::Deadline;
use shared::diagnostics::{Tuned, complete};
use sqlx::postgres::PgRow;
use sqlx::{Connection as _, Executor as _, PgConnection, Row as _};
use tokio::time::timeout;

/// The limits on the clients of a pooler.
#[derive(Debug)]
pub struct Limits {
    /// `max_client_conn`: clients in all.
    pub clients: u64,
    /// `default_pool_size`: connections to the server for each role and database.
    pub pool_size: u64,
    /// The pools, as SHOW POOLS has them.
    pub pools: Vec<Pool>,
}

/// A pool of one role and database.
#[derive(Debug)]
pub struct Pool {
    /// Its database and its role: `database/role`.
    pub name: String,
    /// Clients that are linked to a connection to the server, `cl_active`.
    pub clients: String,
    /// Clients that wait for one, `cl_waiting`.
    pub waiting: String,
    /// Connections to the server that are linked to a client, `sv_active`.
    pub servers: String,
}

/// The line that lets a role ask.
pub fn permission(url: &DatabaseUrl) -> String {
    format!("stats_users = {}   # in pgbouncer.ini, then: RELOAD", url.user())
}

/// Returns the limits; `None` if the role may not ask, or the pooler is not PgBouncer.
pub async fn limits(url: &DatabaseUrl, deadline: Deadline) -> Option<Limits> {
    timeout(deadline.left(), ask(url, deadline)).await.ok().flatten()
}

async fn ask(url: &DatabaseUrl, deadline: Deadline) -> Option<Limits> {
    let url = complete(url, deadline).await.ok()?;
    let options = url.connect_options("seer").database("pgbouncer");
    #[expect(clippy::disallowed_methods, reason = "the console is no database that functions use")]
    let connect = PgConnection::connect_with(&options);
    let mut console = Tuned::new(connect, &url).await.ok()?;
    let config = console.fetch_all(sqlx::raw_sql("SHOW CONFIG")).await.ok()?;
    let value = |name: &str| {
        let row = config.iter().find(|row| text(row, "key") == name)?;
        text(row, "value").parse().ok()
    };
    let (clients, pool_size) = (value("max_client_conn")?, value("default_pool_size")?);
    let pools = console.fetch_all(sqlx::raw_sql("SHOW POOLS")).await.unwrap_or_default();
    let pools = pools
        .iter()
        .filter(|row| text(row, "database") != "pgbouncer")
        .map(|row| Pool {
            name: format!("{}/{}", text(row, "database"), text(row, "user")),
            clients: text(row, "cl_active"),
            waiting: text(row, "cl_waiting"),
            servers: text(row, "sv_active"),
        })
        .collect();
    let _ = console.close().await;
    Some(Limits {
        clients,
        pool_size,
        pools,
    })
}

/// Returns a column as text; the console sends every value as text.
fn text(row: &PgRow, column: &str) -> String {
    row.try_get_unchecked(column).unwrap_or_default()
}
