//! The faults: each a named value that can strike a scene and be lifted from it.
//!
//! They compose: any number may be in force at once. May not look at answers; a fault that has to be met by a request
//! waits until the server or the proxy says that it was.

mod server;

use std::fmt;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal};
use sqlx::{Connection as _, PgConnection};

use super::scene::{ROLE, Scene};
use crate::postgres::Shutdown;
use crate::proxy::{Cut, Door};
use server::{END_SESSIONS, migrate, patiently, read_only, run_and_hold, take_slots, terminate, unless_it_gave_way};

pub(super) use server::SESSIONS;
pub use server::TABLES;

/// `idle_session_timeout` as the proxy passes it on while environments are destroyed. The functions ask for ten minutes.
const SHORTENED: Duration = Duration::from_secs(5);

/// Whose sessions the server is made to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// All that wait for their client.
    Idle,
    /// One in the middle of a statement.
    Querying,
    /// One between two statements of a transaction.
    InTransaction,
}

/// Something that goes wrong between a fleet and its database, or in one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// New connections meet this door; existing ones are reset.
    Unreachable(Door),
    /// New connections meet this door; existing ones go on.
    Entrance(Door),
    /// The database's name does not resolve; existing connections are reset.
    Unresolvable,
    /// Every existing connection is reset.
    Reset,
    /// Existing connections fall silent for good: no answer, no goodbye.
    Silence,
    /// Everything takes this long more in each direction, and up to as long again at random.
    Delay(Duration),
    /// The server ends sessions.
    Terminate(Whose),
    /// The reply to the next COMMIT is cut off at this place.
    CutCommit(Cut),
    /// The reply to a COMMIT is lost, which has happened when this is in force.
    LostCommit,
    /// The server is stopped, and started again when lifted.
    Stopped(Shutdown),
    /// The server's processes are killed, and it recovers when lifted.
    Crashed,
    /// The server's processes are killed, and its recovery lasts until this is lifted (57P03).
    Recovering,
    /// The server acknowledges commits that nobody writes to its log any more: a crash loses them. For proving the
    /// oracle, and no promise of the product's.
    CommitsUnflushed,
    /// The primary is killed and the standby promoted; for good.
    FailedOver,
    /// The server takes no writes.
    ReadOnly,
    /// Others hold every connection slot, those of the functions' own sessions too.
    SlotsTaken,
    /// The functions' password is another one than they know; their sessions are ended.
    PasswordRotated,
    /// A migration adds and drops columns of every table.
    Migrated,
    /// Somebody holds the tables locked.
    Locked,
    /// Every environment vanishes without a goodbye; lifted when the server has ended their sessions.
    EnvironmentsLost,
    /// Every environment is shut down in order.
    EnvironmentsRetired,
    /// The functions' wall clock is this many seconds wrong.
    ClockMoved(i64),
}

impl fmt::Display for Fault {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(door) => write!(to, "door {door:?}, connections reset"),
            Self::Entrance(door) => write!(to, "door {door:?}"),
            Self::Unresolvable => to.write_str("name gone"),
            Self::Reset => to.write_str("connections reset"),
            Self::Silence => to.write_str("connections silent"),
            Self::Delay(delay) => write!(to, "{} ms and jitter", delay.as_millis()),
            Self::Terminate(Whose::Idle) => to.write_str("idle sessions terminated"),
            Self::Terminate(Whose::Querying) => to.write_str("session terminated mid-query"),
            Self::Terminate(Whose::InTransaction) => to.write_str("session terminated in its transaction"),
            Self::CutCommit(Cut::BeforeServer) => to.write_str("COMMIT cut before the server"),
            Self::CutCommit(Cut::BeforeSync) => to.write_str("COMMIT cut before its Sync"),
            Self::CutCommit(Cut::AfterServer) => to.write_str("COMMIT cut after the server"),
            Self::CutCommit(Cut::BeforeAcknowledgement) => to.write_str("COMMIT's reply cut"),
            Self::LostCommit => to.write_str("a COMMIT's reply lost"),
            Self::Stopped(how) => write!(to, "stopped ({how:?})"),
            Self::Crashed => to.write_str("crashed"),
            Self::Recovering => to.write_str("crashed, and recovering"),
            Self::CommitsUnflushed => to.write_str("commits unflushed"),
            Self::FailedOver => to.write_str("primary killed, standby promoted"),
            Self::ReadOnly => to.write_str("read-only"),
            Self::SlotsTaken => to.write_str("slots taken"),
            Self::PasswordRotated => to.write_str("password rotated"),
            Self::Migrated => to.write_str("migration"),
            Self::Locked => to.write_str("tables locked"),
            Self::EnvironmentsLost => to.write_str("environments lost"),
            Self::EnvironmentsRetired => to.write_str("environments retired"),
            Self::ClockMoved(seconds) => write!(to, "clock {seconds:+} s"),
        }
    }
}

/// A fault in force, with what holds it there.
pub(super) struct Struck {
    fault: Fault,
    held: Vec<PgConnection>,
}

impl Fault {
    /// Brings the fault about. It is in force when this returns.
    pub(super) async fn strike(self, scene: &Scene) -> Result<Struck> {
        let mut held = Vec::new();
        match self {
            Self::Unreachable(door) => {
                scene.proxy.set_door(door).await;
                scene.proxy.reset();
            }
            Self::Entrance(door) => scene.proxy.set_door(door).await,
            Self::Unresolvable => {
                let surroundings = scene.surroundings.as_ref().context("the scene has no names")?;
                surroundings.set_resolvable(false)?;
                scene.proxy.reset();
            }
            Self::Reset => {
                scene.proxy.reset();
            }
            Self::Silence => {
                scene.proxy.silence();
            }
            Self::Delay(delay) => scene.proxy.set_delay(delay, delay),
            Self::Terminate(whose) => terminate(scene, whose).await?,
            Self::CutCommit(cut) => scene.proxy.cut_commits(cut, 1),
            Self::LostCommit => {
                let known = scene.proxy.counts().cut;
                scene.proxy.cut_commits(Cut::BeforeAcknowledgement, 1);
                patiently("a COMMIT", async || Ok(scene.proxy.counts().cut > known)).await?;
            }
            Self::Stopped(how) => {
                scene.server().stop(how).await?;
                // Where the server was, nothing listens; the proxy would accept, and then reset. A pooler goes on.
                if !scene.has_pooler() {
                    scene.proxy.set_door(Door::Refused).await;
                }
            }
            Self::Crashed => scene.server().kill().await?,
            Self::Recovering => {
                scene.server().kill().await?;
                scene.server().start_recovering().await?;
            }
            Self::CommitsUnflushed => {
                scene.server().set("synchronous_commit", "off").await?;
                scene.server().reload().await?;
                for writer in ["walwriter", "background writer"] {
                    let pid = format!("SELECT pid::int8 FROM pg_stat_activity WHERE backend_type = '{writer}'");
                    let pid = i32::try_from(scene.number(&pid).await?)?;
                    rustix::process::kill_process(Pid::from_raw(pid).context(writer)?, Signal::STOP)?;
                }
            }
            Self::FailedOver => {
                scene.server().kill().await?;
                scene.promote().await?;
            }
            Self::ReadOnly => read_only(scene, true).await?,
            Self::SlotsTaken => held = take_slots(scene).await?,
            Self::PasswordRotated => {
                let keep = "CREATE TEMPORARY TABLE kept AS SELECT rolpassword FROM pg_authid WHERE rolname = 'fleet'";
                // The old verifier is kept in the session that is held.
                held.push(run_and_hold(scene, keep).await?);
                // By itself: a transaction around it would keep the old one valid until the last session has ended.
                scene.sql(&format!("ALTER ROLE {ROLE} PASSWORD 'another'")).await?;
                patiently("the end of all sessions", async || {
                    scene.sql(END_SESSIONS).await?;
                    Ok(scene.number(SESSIONS).await? == 0)
                })
                .await?;
            }
            Self::Migrated => migrate(scene).await?,
            Self::Locked => {
                let lock = format!(
                    "SET lock_timeout = '2s';BEGIN;LOCK TABLE {} IN ACCESS EXCLUSIVE MODE",
                    TABLES.join(", ")
                );
                // Whoever works on some of them may wait for the others: one of the two gives up, and comes again.
                patiently("every table's lock", async || {
                    let locked = unless_it_gave_way(run_and_hold(scene, &lock).await)?;
                    held.extend(locked);
                    Ok(!held.is_empty())
                })
                .await?;
            }
            Self::EnvironmentsLost => {
                ensure!(scene.number(SESSIONS).await? > 0, "no environment has a session");
                scene.proxy.silence();
                for function in scene.functions() {
                    scene.lambda.destroy_all(&function).await;
                }
            }
            Self::EnvironmentsRetired => scene.lambda.shutdown().await,
            Self::ClockMoved(seconds) => {
                let surroundings = scene
                    .surroundings
                    .as_ref()
                    .context("the scene's clock cannot be moved")?;
                surroundings.move_clock(seconds)?;
            }
        }
        Ok(Struck { fault: self, held })
    }

    /// Whether connections fall silent, so that the server learns of their end by its own timeouts only.
    pub(super) fn silences(self) -> bool {
        matches!(self, Self::Silence | Self::EnvironmentsLost)
    }

    /// What has to hold before a load begins that this fault will strike.
    pub(super) fn prepare(self, scene: &Scene) {
        if self == Self::EnvironmentsLost {
            scene.proxy.shorten_idle_sessions(SHORTENED);
        }
    }
}

impl Struck {
    /// Takes the fault away again. What it was about works when this returns, as far as the server can say.
    pub(super) async fn lift(mut self, scene: &Scene) -> Result<()> {
        match self.fault {
            Fault::Unreachable(_) | Fault::Entrance(_) => scene.proxy.set_door(Door::Open).await,
            Fault::Unresolvable => {
                let surroundings = scene.surroundings.as_ref().context("the scene has no names")?;
                surroundings.set_resolvable(true)?;
            }
            Fault::Delay(_) => scene.proxy.set_delay(Duration::ZERO, Duration::ZERO),
            Fault::Stopped(_) => {
                scene.server().start().await?;
                scene.proxy.set_door(Door::Open).await;
            }
            Fault::Crashed => scene.server().start().await?,
            Fault::Recovering => scene.server().promote().await?,
            Fault::ReadOnly => read_only(scene, false).await?,
            Fault::PasswordRotated => {
                let back = "DO $$ BEGIN EXECUTE format('ALTER ROLE fleet PASSWORD %L', (SELECT rolpassword FROM kept)); END $$";
                for session in &mut self.held {
                    sqlx::raw_sql(back).execute(session).await?;
                }
            }
            Fault::EnvironmentsLost => {
                // A timeout's worth, and as much again for the server to come round.
                scene
                    .falls_to(0, SESSIONS, 2 * SHORTENED)
                    .await
                    .context("sessions of lost environments")?;
            }
            Fault::ClockMoved(_) => {
                let surroundings = scene
                    .surroundings
                    .as_ref()
                    .context("the scene's clock cannot be moved")?;
                surroundings.move_clock(0)?;
            }
            Fault::Reset
            | Fault::Silence
            | Fault::Terminate(_)
            | Fault::CutCommit(_)
            | Fault::LostCommit
            | Fault::CommitsUnflushed
            | Fault::FailedOver
            | Fault::SlotsTaken
            | Fault::Migrated
            | Fault::Locked
            | Fault::EnvironmentsRetired => {}
        }
        for session in self.held {
            session.close().await?;
        }
        Ok(())
    }
}
