//! Health: one fresh examination of the database.
//!
//! Opens its own connection, runs one statement, and closes it, so that the result is correct when every pool is
//! exhausted, and nothing is left behind. The public answer only tells whether the service works; the report for
//! operators tells why. Both are available within a bounded time in any state of the database.
//!
//! Anyone may ask for the public answer, so it does not cost a connection each time: an environment keeps it for a
//! moment, and tells its age.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use metrics::{Unit, describe_histogram, histogram};
use metrics_cloudwatch_embedded::{Builder, Collector};
use serde::Serialize;
use sqlx::FromRow;
use tokio::sync::Mutex;
use tracing::Level;

use crate::db::clock::Moment;
use crate::db::{self, Deadline, Kind, Pool, sweep_sql};
use crate::http::{Error, Failure, Function, Request, Response, Scheduled};
use crate::service::Service;
use crate::telemetry::DatabaseTime;

/// The limit of the whole check, including connecting; the contract allows 3 s for the answer.
const BUDGET: Duration = Duration::from_millis(2_500);

/// The percentage of used slots from which new environments may find none.
const NEARLY_FULL: i64 = 90;

/// How long after its check a public answer is given again: seconds, because the state of a database that works does not
/// change often.
const KEPT: Duration = Duration::from_secs(5);

/// The same if the database is down, so that its return is noticed soon.
const KEPT_DOWN: Duration = Duration::from_secs(1);

/// Whether the service works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = HealthStatus))]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Everything works.
    Ok,
    /// Reads work; writes do not, or new connections will soon fail.
    Degraded,
    /// The database is not usable.
    Down,
}

/// The public answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = Health))]
#[serde(rename_all = "camelCase")]
pub struct Public {
    /// Whether the service works.
    pub status: Status,
    /// `connected` or `disconnected`.
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^(dis)?connected$"))]
    pub database: &'static str,
    /// The time of the check.
    pub timestamp: DateTime<Utc>,
    /// The duration of the check, in milliseconds.
    pub latency_ms: u64,
}

/// The report for operators.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Whether the service works.
    pub status: Status,
    /// `up`, or the problem: `refused`, `unresolvable`, `timeout`, `auth`, `starting`, `read-only`, `saturated`, or
    /// another [`Kind`]'s name.
    pub state: &'static str,
    /// The time of the check.
    pub timestamp: DateTime<Utc>,
    /// The time from DNS to authentication and first answer, in milliseconds, including earlier attempts.
    pub connect_ms: u64,
    /// The time of the report's own statement, in milliseconds.
    pub query_ms: Option<u64>,
    /// The age of the product's work that has waited longest, in seconds, if it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest_waiting_seconds: Option<i64>,
    /// The server's properties, if the statement succeeded.
    #[serde(flatten)]
    pub server: Option<Server>,
    /// The cause and the fix, in one line without secrets.
    pub cause: Option<String>,
    /// The cause, for the log line.
    #[serde(skip)]
    failure: Option<Failure>,
}

/// The server's properties.
#[derive(Clone, Debug, Serialize, FromRow)]
#[serde(rename_all = "camelCase")]
pub struct Server {
    /// For example `18.0`.
    pub server_version: String,
    /// Slots in use by all roles.
    pub connections_used: i64,
    /// Slots reserved for superusers and reserved roles.
    pub connections_reserved: i64,
    /// `max_connections`.
    pub connections_max: i64,
    /// Whether the server is a standby.
    pub in_recovery: bool,
    /// Whether the server rejects writes.
    pub read_only: bool,
    /// The age of the oldest open transaction visible to this role, in seconds.
    pub oldest_transaction_seconds: i64,
}

impl Server {
    /// Returns the used slots in percent of those that ordinary roles can use.
    fn percent_used(&self) -> i64 {
        self.connections_used * 100 / (self.connections_max - self.connections_reserved).max(1)
    }
}

impl Report {
    /// Returns the public part.
    pub fn public(&self) -> Public {
        Public {
            status: self.status,
            database: if self.server.is_some() {
                "connected"
            } else {
                "disconnected"
            },
            timestamp: self.timestamp,
            latency_ms: self.connect_ms + self.query_ms.unwrap_or_default(),
        }
    }

    fn down(error: &db::Error, connect_ms: u64) -> Self {
        Self {
            status: Status::Down,
            state: error.kind.name(),
            timestamp: Utc::now(),
            connect_ms,
            query_ms: None,
            oldest_waiting_seconds: None,
            server: None,
            cause: Some(error.to_string()),
            failure: Some(Failure::from(error)),
        }
    }

    fn up(server: Server, connect_ms: u64, query_ms: u64) -> Self {
        let (status, state) = if server.read_only {
            (Status::Degraded, Kind::ReadOnly.name())
        } else if server.percent_used() >= NEARLY_FULL {
            (Status::Degraded, Kind::Saturated.name())
        } else {
            (Status::Ok, "up")
        };
        Self {
            status,
            state,
            timestamp: Utc::now(),
            connect_ms,
            query_ms: Some(query_ms),
            oldest_waiting_seconds: None,
            server: Some(server),
            cause: None,
            failure: None,
        }
    }
}

/// Checks the database of `pool`, over a separate connection. If the pool could not be created, the database is not
/// usable.
///
/// # Cancel safety
/// Dropping the future closes the connection. The check changes nothing.
pub async fn look(pool: Result<&Pool, Error>, deadline: Deadline) -> Report {
    examine(pool, deadline, None).await
}

/// Checks the database; for a schedule also deletes what has expired, and asks the service for its waiting work.
async fn examine(pool: Result<&Pool, Error>, deadline: Deadline, schedule_of: Option<&Service>) -> Report {
    let pool = match pool {
        Ok(pool) => pool,
        Err(error) => {
            let unusable = db::Error::bare(Kind::Config, db::Phase::Config).after(0, Duration::ZERO);
            let named = error.failure().map(|failure| failure.error);
            return Report::down(&unusable.caused_by(named.unwrap_or_default()), 0);
        }
    };
    let _time = DatabaseTime::start();
    let since = Instant::now();
    let deadline = deadline.within(BUDGET);
    let mut connection = match pool.probe(deadline).await {
        Ok(connection) => connection,
        Err(error) => return Report::down(&error, milliseconds(since)),
    };
    let connect_ms = milliseconds(since);
    let asked = Instant::now();
    let answered = connection.ask(deadline, async |db| server(db).await).await;
    let query_ms = milliseconds(asked);
    let mut oldest_waiting_seconds = None;
    if let (Some(service), Ok(server)) = (schedule_of, &answered) {
        // Nothing more is asked on a connection that failed. If only the statement was refused, the sweep still runs.
        let mut failed = false;
        if let Some(statement) = service.oldest_waiting {
            match connection.number(deadline, statement).await {
                Ok(seconds) => oldest_waiting_seconds = Some(seconds),
                Err(error) => {
                    failed = error.sqlstate.is_none();
                    tracing::warn!("the oldest waiting work is unknown: {error}");
                }
            }
        }
        if !failed && !server.read_only {
            match connection.number(deadline, &sweep_sql(service.sweeps)).await {
                Ok(swept) => tracing::debug!(swept, "expired receipts were deleted"),
                Err(error) => tracing::warn!("expired receipts were not deleted: {error}"),
            }
        }
    }
    connection.close().await;
    match answered {
        Ok(server) => Report {
            oldest_waiting_seconds,
            ..Report::up(server, connect_ms, query_ms)
        },
        Err(error) => Report::down(&error, connect_ms + query_ms),
    }
}

impl Service {
    /// Runs the health function until Lambda ends the environment: `route` answers every caller with [`Public`], which is
    /// at most seconds old; an event that is not an HTTP request comes from a schedule, and gets the full [`Report`].
    pub fn run_health(&'static self, route: &'static str) -> ExitCode {
        self.run_with_schedule(route, answer, scheduled)
    }
}

/// The last public check of this environment, and when it was begun. One request at a time checks.
static LAST: Mutex<Option<(Moment, Report)>> = Mutex::const_new(None);

async fn answer(request: Request) -> Result<Response, Error> {
    let mut last = LAST.lock().await;
    if let Some((begun, report)) = &*last {
        let age = begun.elapsed();
        let kept = if report.status == Status::Down { KEPT_DOWN } else { KEPT };
        if age < kept {
            return Ok(response(report).with_header("age", age.as_secs().to_string()));
        }
    }
    let begun = Moment::now();
    let report = look(request.pool(), request.deadline()).await;
    let response = response(&report);
    *last = Some((begun, report));
    Ok(response)
}

fn response(report: &Report) -> Response {
    match report.status {
        Status::Ok | Status::Degraded => Response::ok(&report.public()),
        Status::Down => Response::unavailable(&report.public(), report.failure.clone()),
    }
}

/// Runs the scheduled check and emits its metrics; the report is the invocation's result.
///
/// # Errors
/// Never fails: an unusable database is a report too.
async fn scheduled(function: &'static Function, deadline: Deadline) -> Result<Scheduled, Error> {
    let report = examine(function.pool(), deadline, Some(function.service)).await;
    emit_metrics(&report, function);
    let level = match report.status {
        Status::Ok => Level::INFO,
        Status::Degraded => Level::WARN,
        Status::Down => Level::ERROR,
    };
    Ok(Scheduled {
        report: serde_json::to_value(&report).unwrap_or_default(),
        level,
        failure: report.failure.map(Box::new),
    })
}

async fn server(db: &mut db::Session) -> Result<Server, sqlx::Error> {
    sqlx::query_as(
        "SELECT current_setting('server_version') AS server_version,
            (SELECT sum(pg_stat_get_db_numbackends(oid)) FROM pg_database)::int8 AS connections_used,
            current_setting('superuser_reserved_connections')::int8
                + coalesce(current_setting('reserved_connections', true), '0')::int8 AS connections_reserved,
            current_setting('max_connections')::int8 AS connections_max,
            pg_is_in_recovery() AS in_recovery,
            pg_is_in_recovery() OR current_setting('transaction_read_only')::bool AS read_only,
            coalesce((SELECT extract(epoch FROM max(now() - xact_start))::int8 FROM pg_stat_activity
                WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()), 0) AS oldest_transaction_seconds",
    )
    .fetch_one(db)
    .await
}

/// Writes the report's figures to standard output in CloudWatch's embedded metric format, as metrics of the service's
/// namespace. Their dimension is the function's name, which distinguishes two deployments in one account.
///
/// Uses histograms of one value each, because the collector repeats a gauge's last value at every flush: during an
/// outage it would repeat the value from before. A histogram without a value is not written.
fn emit_metrics(report: &Report, function: &Function) {
    static COLLECTOR: std::sync::OnceLock<Option<&'static Collector>> = std::sync::OnceLock::new();
    let collector = COLLECTOR.get_or_init(|| {
        let builder = Builder::new().cloudwatch_namespace(function.service.metrics_namespace);
        builder
            .with_dimension("FunctionName", function.config.lambda.function_name.clone())
            .init()
            .ok()
    });
    let Some(collector) = collector else {
        return tracing::error!("metrics are not written: a recorder was installed twice");
    };
    let up = if report.status == Status::Down { 0.0 } else { 1.0 };
    record("DatabaseUp", Unit::Count, up);
    record("ConnectLatency", Unit::Milliseconds, report.connect_ms as f64);
    if let Some(query_ms) = report.query_ms {
        record("QueryLatency", Unit::Milliseconds, query_ms as f64);
    }
    if let Some(server) = &report.server {
        record("ConnectionsUsed", Unit::Count, server.connections_used as f64);
        record("ConnectionsMax", Unit::Count, server.connections_max as f64);
        record("ConnectionsUsedPercent", Unit::Percent, server.percent_used() as f64);
        record(
            "OldestTransaction",
            Unit::Seconds,
            server.oldest_transaction_seconds as f64,
        );
    }
    if let Some(seconds) = report.oldest_waiting_seconds {
        record("OldestWaiting", Unit::Seconds, seconds as f64);
    }
    if let Err(error) = collector.flush(std::io::stdout()) {
        tracing::error!("metrics are not written: {error}");
    }
}

fn record(name: &'static str, unit: Unit, value: f64) {
    describe_histogram!(name, unit, "");
    histogram!(name).record(value);
}

fn milliseconds(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
