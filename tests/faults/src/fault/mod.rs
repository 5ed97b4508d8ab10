//! The faults: each is a named value that can be injected into a testbed and cleared.
//!
//! They compose: any number may be in force at once. Invariants: never looks at answers; a fault that a request has to
//! hit waits until the server or the proxy reports it.

mod server;

use std::fmt;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal};
use sqlx::{Connection as _, PgConnection};

use super::testbed::{ROLE, Testbed};
use local::postgres::Shutdown;
use local::proxy::{Admission, Cut, Effect, Statements};
use server::{
    END_SESSIONS, end_a_waiting_commit, migrate, read_only, run_and_hold, take_slots, terminate, unless_it_gave_way,
    wait_until,
};

pub(super) use server::SESSIONS;

/// The `idle_session_timeout` that the proxy forwards while environments are destroyed. The functions request ten
/// minutes.
const SHORTENED: Duration = Duration::from_secs(5);

/// The standby's delay, for [`Fault::StandbyServes`].
const LAG: &str = "20s";

/// How long after the name resolves to the primary again the standby may still answer a read.
const STANDBY_KEPT: Duration = Duration::from_secs(5);

/// A function that is initialized but never invoked: no load uses only it.
const UNASKED: &str = "meetings-changes";

/// The sessions that the server terminates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// All.
    All,
    /// All that wait for their client.
    Idle,
    /// One that is running a statement.
    Querying,
}

/// A failure between a fleet and its database, or in one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// New connections are treated so; existing ones are reset.
    Unreachable(Admission),
    /// New connections are treated so; existing ones continue.
    NewConnections(Admission),
    /// The database's name does not resolve; existing connections are reset.
    Unresolvable,
    /// Every existing connection is reset.
    Reset,
    /// Existing connections fall silent permanently: no answer, and no end of the stream.
    Silence,
    /// All bytes are delayed by this time in each direction, plus up to the same time at random.
    Delay(Duration),
    /// The server terminates sessions.
    Terminate(Whose),
    /// Existing connections hang permanently: data is acknowledged, and nothing is delivered.
    Hung,
    /// The next request that runs one of these statements gets this effect.
    Next(Statements, Effect),
    /// The reply to such a request is lost; the fault is in force once this has happened.
    LostReply(Statements),
    /// The server is stopped, and started again when the fault is cleared.
    Stopped(Shutdown),
    /// The server's processes are killed, and it recovers when the fault is cleared.
    Crashed,
    /// The server's processes are killed, and its recovery lasts until the fault is cleared (57P03).
    Recovering,
    /// The server acknowledges commits that are no longer written to its log, so that a crash loses them. It tests the
    /// oracle; the product guarantees nothing for it.
    CommitsUnflushed,
    /// The primary is killed and the standby promoted, permanently.
    FailedOver,
    /// The same, and the name still resolves to the old primary.
    FailedOverUntold,
    /// The name resolves to the standby, which is 20 s behind; existing connections are reset. When cleared, the name
    /// resolves to the primary again, and connections to the standby stay.
    StandbyServes,
    /// The standby stops, and the server terminates a session whose COMMIT waits for it. When cleared, the primary is
    /// killed and the standby promoted, which never had the write.
    Unreplicated,
    /// The server rejects writes.
    ReadOnly,
    /// Other clients hold every connection slot, including those of the functions' own sessions.
    SlotsTaken,
    /// The functions' password is changed without their knowledge; their sessions are terminated.
    PasswordRotated,
    /// A migration adds and drops columns of every table.
    Migrated,
    /// Another session holds the tables locked.
    Locked,
    /// Another session holds a snapshot, as a dump does.
    SnapshotHeld,
    /// This many environments are initialized, and never invoked.
    EnvironmentsInitialised(usize),
    /// Every environment disappears without a shutdown; cleared when the server has ended their sessions.
    EnvironmentsLost,
    /// Every environment is shut down in order.
    EnvironmentsRetired,
    /// The functions' wall clock is off by this many seconds.
    ClockMoved(i64),
}

impl fmt::Display for Fault {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(admission) => write!(to, "new connections {admission:?}, others reset"),
            Self::NewConnections(admission) => write!(to, "new connections {admission:?}"),
            Self::Unresolvable => to.write_str("name gone"),
            Self::Reset => to.write_str("connections reset"),
            Self::Silence => to.write_str("connections silent"),
            Self::Delay(delay) => write!(to, "{} ms and jitter", delay.as_millis()),
            Self::Terminate(Whose::All) => to.write_str("sessions terminated"),
            Self::Terminate(Whose::Idle) => to.write_str("idle sessions terminated"),
            Self::Terminate(Whose::Querying) => to.write_str("session terminated mid-query"),
            Self::Hung => to.write_str("connections hung"),
            Self::Next(_, effect) => write!(to, "{effect:?}"),
            Self::LostReply(_) => to.write_str("a reply lost"),
            Self::Stopped(how) => write!(to, "stopped ({how:?})"),
            Self::Crashed => to.write_str("crashed"),
            Self::Recovering => to.write_str("crashed, and recovering"),
            Self::CommitsUnflushed => to.write_str("commits unflushed"),
            Self::FailedOver => to.write_str("primary killed, standby promoted"),
            Self::FailedOverUntold => to.write_str("primary killed, standby promoted, name untold"),
            Self::StandbyServes => write!(to, "standby {LAG} behind serves"),
            Self::Unreplicated => to.write_str("session ended while its COMMIT waits"),
            Self::ReadOnly => to.write_str("read-only"),
            Self::SlotsTaken => to.write_str("slots taken"),
            Self::PasswordRotated => to.write_str("password rotated"),
            Self::Migrated => to.write_str("migration"),
            Self::Locked => to.write_str("tables locked"),
            Self::SnapshotHeld => to.write_str("snapshot held"),
            Self::EnvironmentsInitialised(count) => write!(to, "{count} environments initialised"),
            Self::EnvironmentsLost => to.write_str("environments lost"),
            Self::EnvironmentsRetired => to.write_str("environments retired"),
            Self::ClockMoved(seconds) => write!(to, "clock {seconds:+} s"),
        }
    }
}

/// A fault in force, with the resources that keep it in force.
pub(super) struct ActiveFault {
    fault: Fault,
    held: Vec<PgConnection>,
}

impl Fault {
    /// Injects the fault. It is in force when this returns.
    pub(super) async fn inject(self, testbed: &Testbed) -> Result<ActiveFault> {
        let mut held = Vec::new();
        match self {
            Self::Unreachable(admission) => {
                testbed.proxy.set_admission(admission).await;
                testbed.proxy.reset();
            }
            Self::NewConnections(admission) => testbed.proxy.set_admission(admission).await,
            Self::Unresolvable => {
                let surroundings = testbed.surroundings.as_ref().context("the testbed has no names")?;
                surroundings.set_resolvable(false)?;
                testbed.proxy.reset();
            }
            Self::Reset => {
                testbed.proxy.reset();
            }
            Self::Silence => {
                testbed.proxy.silence();
            }
            Self::Delay(delay) => testbed.proxy.set_delay(delay, delay),
            Self::Terminate(whose) => terminate(testbed, whose).await?,
            Self::Hung => {
                testbed.proxy.hang();
            }
            Self::Next(statements, effect) => testbed.proxy.order(statements, [effect]),
            Self::LostReply(statements) => {
                let known = testbed.proxy.counts().cut;
                testbed
                    .proxy
                    .order(statements, [Effect::Cut(Cut::BeforeAcknowledgement)]);
                wait_until("a request to lose", async || Ok(testbed.proxy.counts().cut > known)).await?;
            }
            Self::Stopped(how) => {
                testbed.server().stop(how).await?;
                // Nothing listens at the server's address; the proxy would accept, and then reset. A pooler continues.
                if !testbed.has_pooler() {
                    testbed.proxy.set_admission(Admission::Refused).await;
                }
            }
            Self::Crashed => testbed.server().kill().await?,
            Self::Recovering => {
                testbed.server().kill().await?;
                testbed.server().start_recovering().await?;
            }
            Self::CommitsUnflushed => {
                testbed.server().set("synchronous_commit", "off").await?;
                testbed.server().reload().await?;
                for writer in ["walwriter", "background writer"] {
                    let pid = format!("SELECT pid::int8 FROM pg_stat_activity WHERE backend_type = '{writer}'");
                    let pid = i32::try_from(testbed.number(&pid).await?)?;
                    rustix::process::kill_process(Pid::from_raw(pid).context(writer)?, Signal::STOP)?;
                }
            }
            Self::FailedOver => {
                testbed.server().kill().await?;
                testbed.promote(true).await?;
            }
            Self::FailedOverUntold => {
                testbed.server().kill().await?;
                testbed.promote(false).await?;
            }
            Self::StandbyServes => {
                let standby = testbed.standby()?;
                standby.set("recovery_min_apply_delay", LAG).await?;
                standby.reload().await?;
                testbed.allow_stale_reads(Duration::from_secs(3_600));
                testbed.lead_to(standby);
                testbed.proxy.reset();
            }
            Self::Unreplicated => {
                testbed.standby()?.stop(Shutdown::Fast).await?;
                end_a_waiting_commit(testbed).await?;
            }
            Self::ReadOnly => read_only(testbed, true).await?,
            Self::SlotsTaken => held = take_slots(testbed).await?,
            Self::PasswordRotated => {
                let keep = "CREATE TEMPORARY TABLE kept AS SELECT rolpassword FROM pg_authid WHERE rolname = 'fleet'";
                // The session that is held keeps the old verifier.
                held.push(run_and_hold(testbed, keep).await?);
                // Outside a transaction, which would keep the old one valid until the last session has ended.
                testbed.sql(&format!("ALTER ROLE {ROLE} PASSWORD 'another'")).await?;
                wait_until("the end of all sessions", async || {
                    testbed.sql(END_SESSIONS).await?;
                    Ok(testbed.number(SESSIONS).await? == 0)
                })
                .await?;
            }
            Self::Migrated => migrate(testbed).await?,
            Self::Locked => {
                let tables = testbed.tables().await?;
                if tables.is_empty() {
                    return Ok(ActiveFault { fault: self, held });
                }
                let lock = format!(
                    "SET lock_timeout = '2s';BEGIN;LOCK TABLE {} IN ACCESS EXCLUSIVE MODE",
                    tables.join(", ")
                );
                // A session that uses some of them can wait for the others: one of the two is aborted, and retries.
                wait_until("every table's lock", async || {
                    let locked = unless_it_gave_way(run_and_hold(testbed, &lock).await)?;
                    held.extend(locked);
                    Ok(!held.is_empty())
                })
                .await?;
            }
            Self::SnapshotHeld => {
                let hold = "BEGIN ISOLATION LEVEL REPEATABLE READ;SELECT FROM meetings LIMIT 1";
                held.push(run_and_hold(testbed, hold).await?);
            }
            Self::EnvironmentsInitialised(count) => {
                for _ in 0..count {
                    testbed.lambda.prepare(UNASKED).await?;
                }
            }
            Self::EnvironmentsLost => {
                ensure!(testbed.number(SESSIONS).await? > 0, "no environment has a session");
                testbed.proxy.silence();
                for function in testbed.functions() {
                    testbed.lambda.destroy_all(&function).await;
                }
            }
            Self::EnvironmentsRetired => testbed.lambda.shutdown().await,
            Self::ClockMoved(seconds) => {
                let surroundings = testbed
                    .surroundings
                    .as_ref()
                    .context("the testbed's clock cannot be moved")?;
                surroundings.move_clock(seconds)?;
            }
        }
        Ok(ActiveFault { fault: self, held })
    }

    /// Returns whether connections fall silent, so that only the server's own timeouts detect their end.
    pub(super) fn silences(self) -> bool {
        matches!(
            self,
            Self::Silence | Self::Hung | Self::Next(_, Effect::Hang(_)) | Self::EnvironmentsLost
        )
    }

    /// Makes the preparations that this fault needs before the load starts.
    pub(super) fn prepare(self, testbed: &Testbed) {
        if self == Self::EnvironmentsLost {
            testbed.proxy.shorten_idle_sessions(SHORTENED);
        }
    }
}

impl ActiveFault {
    /// Clears the fault. The affected part works when this returns, as far as the server can tell.
    pub(super) async fn clear(mut self, testbed: &Testbed) -> Result<()> {
        match self.fault {
            Fault::Unreachable(_) | Fault::NewConnections(_) => testbed.proxy.set_admission(Admission::Open).await,
            Fault::Unresolvable => {
                let surroundings = testbed.surroundings.as_ref().context("the testbed has no names")?;
                surroundings.set_resolvable(true)?;
            }
            Fault::Delay(_) => testbed.proxy.set_delay(Duration::ZERO, Duration::ZERO),
            Fault::Stopped(_) => {
                testbed.server().start().await?;
                testbed.proxy.set_admission(Admission::Open).await;
            }
            Fault::Crashed => testbed.server().start().await?,
            Fault::Recovering => testbed.server().promote().await?,
            Fault::Next(statements, _) => testbed.proxy.withdraw(statements),
            Fault::StandbyServes => {
                testbed.lead_to(testbed.server());
                testbed.allow_stale_reads(STANDBY_KEPT);
            }
            Fault::Unreplicated => {
                testbed.server().kill().await?;
                testbed.standby()?.start().await?;
                testbed.promote(true).await?;
            }
            Fault::ReadOnly => read_only(testbed, false).await?,
            Fault::PasswordRotated => {
                let back = "DO $$ BEGIN EXECUTE format('ALTER ROLE fleet PASSWORD %L', (SELECT rolpassword FROM kept)); END $$";
                for session in &mut self.held {
                    sqlx::raw_sql(back).execute(session).await?;
                }
            }
            Fault::EnvironmentsLost => {
                // The timeout, and the same time again for the server to recover.
                testbed
                    .falls_to(0, SESSIONS, 2 * SHORTENED)
                    .await
                    .context("sessions of lost environments")?;
            }
            Fault::ClockMoved(_) => {
                let surroundings = testbed
                    .surroundings
                    .as_ref()
                    .context("the testbed's clock cannot be moved")?;
                surroundings.move_clock(0)?;
            }
            Fault::Reset
            | Fault::Silence
            | Fault::Terminate(_)
            | Fault::Hung
            | Fault::LostReply(_)
            | Fault::CommitsUnflushed
            | Fault::FailedOver
            | Fault::FailedOverUntold
            | Fault::SlotsTaken
            | Fault::Migrated
            | Fault::Locked
            | Fault::SnapshotHeld
            | Fault::EnvironmentsInitialised(_)
            | Fault::EnvironmentsRetired => {}
        }
        for session in self.held {
            session.close().await?;
        }
        Ok(())
    }
}
