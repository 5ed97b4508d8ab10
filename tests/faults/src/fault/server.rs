//! The faults' operations on the server, bypassing the proxy and as its superuser, and the waits for their effects.

use std::time::Duration;

use anyhow::{Result, ensure};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tokio::time::{Instant, sleep};

use super::super::testbed::{ROLE, Testbed};
use super::Whose;

/// More than any event here takes, unless it never happens.
const EVENT_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a fault waits for a session of a function that may have none.
const SESSION_WAIT: Duration = Duration::from_secs(2);

/// Terminates the functions' sessions.
pub(super) const END_SESSIONS: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'fleet'";

/// Counts the sessions of the functions.
pub(crate) const SESSIONS: &str = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'fleet'";

/// Waits until a fault's precondition holds.
pub(super) async fn wait_until(what: &str, mut has_come: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    let since = Instant::now();
    while !has_come().await? {
        ensure!(since.elapsed() < EVENT_TIMEOUT, "{what} did not come about in time");
        sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}

/// Returns `None` for a session that gave up waiting for a lock, or was aborted by a deadlock.
pub(super) fn unless_it_gave_way<T>(result: Result<T>) -> Result<Option<T>> {
    let gave_way = |error: &anyhow::Error| {
        let said = error
            .downcast_ref::<sqlx::Error>()
            .and_then(|error| error.as_database_error()?.code());
        said.is_some_and(|code| ["40P01", "55P03"].contains(&&*code))
    };
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if gave_way(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

pub(super) async fn run_and_hold(testbed: &Testbed, sql: &str) -> Result<PgConnection> {
    let mut session = testbed.direct().await?;
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
        .execute(&mut session)
        .await?;
    Ok(session)
}

/// Terminates sessions in the given state, waiting until one is in it.
pub(super) async fn terminate(testbed: &Testbed, whose: Whose) -> Result<()> {
    let (state, most) = match whose {
        Whose::All => ("true", "ALL"),
        Whose::Idle => ("state = 'idle'", "ALL"),
        Whose::Querying => ("state = 'active'", "1"),
    };
    let sql = format!(
        "SELECT count(pg_terminate_backend(pid, 5000)) FROM \
         (SELECT pid FROM pg_stat_activity WHERE usename = '{ROLE}' AND {state} LIMIT {most}) AS those"
    );
    let mut direct = testbed.direct().await?;
    // Other functions may have none: they keep no connection, or open the next one with the next request.
    let bound = if testbed.is_product() {
        EVENT_TIMEOUT
    } else {
        SESSION_WAIT
    };
    let end = Instant::now() + bound;
    loop {
        let ended: i64 = sqlx::query_scalar(AssertSqlSafe(sql.clone()))
            .fetch_one(&mut direct)
            .await?;
        if ended > 0 {
            return Ok(direct.close().await?);
        }
        if Instant::now() >= end {
            ensure!(!testbed.is_product(), "no session was ever in the state {state}");
            return Ok(direct.close().await?);
        }
    }
}

/// Terminates a session of the functions whose COMMIT waits for the standby, once there is one.
pub(super) async fn end_a_waiting_commit(testbed: &Testbed) -> Result<()> {
    let end = format!(
        "SELECT count(pg_terminate_backend(pid, 5000)) FROM \
         (SELECT pid FROM pg_stat_activity WHERE usename = '{ROLE}' AND wait_event = 'SyncRep' LIMIT 1) AS one"
    );
    wait_until("a COMMIT that waits for the standby", async || {
        Ok(testbed.number(&end).await? > 0)
    })
    .await
}

pub(super) async fn read_only(testbed: &Testbed, on: bool) -> Result<()> {
    let value = if on { "on" } else { "off" };
    testbed.server().set("default_transaction_read_only", value).await?;
    testbed.server().reload().await?;
    // Sessions apply it one by one; a new one that has it proves that the postmaster does.
    let has = format!("SELECT (current_setting('default_transaction_read_only') <> '{value}')::int::int8");
    testbed.falls_to(0, &has, EVENT_TIMEOUT).await?;
    Ok(())
}

/// Opens sessions until the server has no slot left for an ordinary role, and none of them is the functions'.
pub(super) async fn take_slots(testbed: &Testbed) -> Result<Vec<PgConnection>> {
    let mut held = Vec::new();
    let free = "SELECT current_setting('max_connections')::int8 - current_setting('superuser_reserved_connections')::int8 \
                - (SELECT sum(numbackends) FROM pg_stat_database)::int8";
    loop {
        // Counted in a session that has ended before another takes its slot.
        if testbed.number(free).await? > 0 {
            held.push(testbed.direct().await?);
        } else if testbed.number(SESSIONS).await? > 0 {
            testbed.sql(END_SESSIONS).await?;
        } else {
            return Ok(held);
        }
    }
}

pub(super) async fn migrate(testbed: &Testbed) -> Result<()> {
    for table in testbed.tables().await? {
        for change in [
            "ADD COLUMN added text",
            "ADD COLUMN counted int DEFAULT 7",
            "DROP COLUMN added",
            "DROP COLUMN counted",
        ] {
            // As a careful migration does: it soon gives up waiting, and retries.
            let sql = format!("SET lock_timeout = '2s';ALTER TABLE {table} {change}");
            wait_until("a migration's lock", async || {
                Ok(unless_it_gave_way(testbed.sql(&sql).await)?.is_some())
            })
            .await?;
        }
    }
    Ok(())
}
