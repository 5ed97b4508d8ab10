//! One process of a burst of [`storm`](super::storm): simulates its share of the environments, each with a pool of its
//! own.

use std::io::{Write as _, read_to_string, stdin, stdout};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Result, anyhow};
use functions::meetings;
use serde::{Deserialize, Serialize};
use shared::config::{Config, DatabaseConfig, LambdaEnvironment};
use shared::db::{Deadline, Pool};
use shared::http::{Caller, Error};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::sleep;

/// The number of processes that the environments share.
pub(super) const PROCESSES: u32 = 100;

/// The period within which all environments arrive.
const ARRIVAL: Duration = Duration::from_secs(10);

/// The functions' timeout in `template.yaml`.
const TIMEOUT: Duration = Duration::from_secs(26);

/// One process's share of a burst, as it reads it from its standard input.
#[derive(Serialize, Deserialize)]
pub(super) struct Share {
    pub(super) url: String,
    /// When the first environment of the burst arrives, in milliseconds since the Unix epoch.
    pub(super) since: u64,
    /// The number of this process.
    pub(super) process: u32,
    /// The number of environments of the whole burst.
    pub(super) environments: u32,
}

/// How one environment ended, as its process writes it.
#[derive(Serialize, Deserialize)]
pub(super) struct Ended {
    /// Seconds from the burst's first arrival to the end.
    pub(super) at: f64,
    /// Seconds from its own arrival to the answer, or its error.
    pub(super) answered: Result<f64, String>,
}

/// Runs a share of a burst: reads it from the standard input, writes how each environment ended, and keeps the pools
/// until the input ends.
///
/// # Errors
/// Fails if the input is not a share.
pub(super) async fn run() -> Result<()> {
    let mut line = String::new();
    stdin().read_line(&mut line)?;
    let share: Share = serde_json::from_str(&line)?;
    let (config, lambda) = configuration(&share.url)?;
    let since = UNIX_EPOCH + Duration::from_millis(share.since);
    let until = |at: SystemTime| at.duration_since(SystemTime::now()).unwrap_or_default();
    let mut running = JoinSet::new();
    for place in (share.process..share.environments).step_by(PROCESSES as usize) {
        // Arrivals are evenly distributed over the ten seconds.
        let arrival = since + ARRIVAL * place / share.environments;
        let pool = Pool::new(&config, &lambda);
        running.spawn(async move {
            sleep(until(arrival)).await;
            let (pool, answered) = environment(pool).await;
            let at = since.elapsed().unwrap_or_default().as_secs_f64();
            (pool, Ended { at, answered })
        });
    }
    let (mut pools, mut ended) = (Vec::new(), Vec::new());
    while let Some(joined) = running.join_next().await {
        let (pool, answered) = joined?;
        pools.push(pool);
        ended.push(answered);
    }
    let _ = writeln!(stdout(), "{}", serde_json::to_string(&ended)?);
    spawn_blocking(|| read_to_string(stdin())).await??;
    for pool in pools {
        pool.close_idle().await;
    }
    Ok(())
}

/// Returns a time in milliseconds since the Unix epoch.
pub(super) fn milliseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Simulates one environment: INIT, which continues without a database, and one invocation.
async fn environment(pool: Pool) -> (Pool, Result<f64, String>) {
    let since = Instant::now();
    let _ = pool.connect_during_init(Deadline::after(Duration::from_secs(3))).await;
    let deadline = Deadline::of_invocation(milliseconds(SystemTime::now() + TIMEOUT));
    let caller = caller();
    let read = pool
        .read::<_, Error, _>(deadline, async move |db| {
            meetings::get(db, &caller, MEETING.into()).await
        })
        .await;
    let answered = read
        .map(|_| since.elapsed().as_secs_f64())
        .map_err(|error| format!("{error:?}"));
    (pool, answered)
}

/// A meeting of the seed data.
const MEETING: sqlx::types::Uuid = sqlx::types::Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0102);

fn caller() -> Caller {
    Caller {
        sub: "dev-admin".to_owned(),
        email: None,
        name: None,
        email_verified: true,
    }
}

/// Builds the configuration that a function would read from its environment.
fn configuration(url: &str) -> Result<(DatabaseConfig, LambdaEnvironment)> {
    let config = Config::from_lookup(|name| match name {
        "DATABASE_URL" => Some(url.to_owned()),
        "AWS_LAMBDA_FUNCTION_NAME" => Some("meetings-get".to_owned()),
        _ => None,
    });
    let database = config.database.map_err(|error| anyhow!("{error}"))?;
    Ok((database, config.lambda))
}
