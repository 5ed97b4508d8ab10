//! Connects to the database step by step: parameters, DNS, TCP, TLS, authentication, first query, a function's own way.
//!
//! Stops at the first step that fails. The steps up to authentication use a socket of this module, because the driver
//! does not report them individually; the remaining steps use the driver as functions do. Invariants: no step waits
//! past the deadline, sends a password itself, or prints one.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Deserialize;
use shared::config::{DatabaseUrl, Login};
use shared::db::Deadline;
use shared::db::Kind;
use shared::diagnostics::{self, IDLE_SESSION, Purpose, Tuned, complete, connect_once};
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection as _, PgConnection};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::WHOLE;
use super::cause::{self, Cause, TargetNames, quoted};
use super::login;
use super::pooler;
use super::report::{Finding, Level, Outcome, Report, Step};
use super::server::span;
use super::session::{Session, Unavailable};
use super::startup::{self, APPLICATION, Method};
use super::step::{STEPS, StepTimer};
use super::text::one_line;
use super::wire::{Stream, Wire, judge, mode_name, secure};

/// Half of it is for the response of Secrets Manager.
const CREDENTIAL: Duration = Duration::from_secs(6);
const DNS: Duration = Duration::from_secs(3);
/// The same as the default `connect_timeout`: a lost SYN is retransmitted after one second.
const TCP: Duration = Duration::from_secs(3);
/// Longer than a function waits, to distinguish a slow log-in from one that hangs.
const LOG_IN: Duration = Duration::from_secs(4);

/// A session, and the properties of the connection to it.
#[derive(Debug)]
pub(super) struct Reached {
    /// The URL, including the user and password of the credential.
    pub(super) url: Arc<DatabaseUrl>,
    pub(super) session: Session,
    pub(super) wire: Wire,
    /// Every server that the URL names.
    pub(super) endpoint: String,
}

/// Takes all steps, at one server after the other until one is reached that is no standby, as functions do. Returns `None`
/// if none is reached; the report then has the cause of the one with the most steps.
pub(super) async fn reach(url: &DatabaseUrl, deadline: Deadline, report: &mut Report) -> Option<Reached> {
    report.target = url.target();
    let servers = url.servers();
    let several = servers.len() > 1;
    let (mut primary, mut standby, mut failed) = (None, None, Vec::new());
    for server in servers {
        let mut own = Report::default();
        let mut reached = match go(&server, deadline, &mut own).await {
            Ok(reached) => reached,
            Err(cause) => {
                failed.push((own, cause));
                continue;
            }
        };
        if !several || !reached.session.is_on_standby().await {
            primary = Some((own, reached));
            break;
        }
        match standby {
            None => standby = Some((own, reached)),
            Some(_) => reached.session.close().await,
        }
    }
    if primary.is_some()
        && let Some((_, unused)) = standby.take()
    {
        unused.session.close().await;
    }
    let Some((own, mut reached)) = primary.or(standby) else {
        // Of equal ones the first.
        failed.sort_by_key(|(own, _)| std::cmp::Reverse(own.steps.len()));
        let (own, cause) = failed.into_iter().next()?;
        report.take(own);
        report.unreachable = Some(cause.into());
        for step in STEPS.into_iter().skip(report.steps.len()) {
            report.steps.push(Step {
                step,
                outcome: Outcome::NotReached,
                took: None,
                detail: String::new(),
            });
        }
        return None;
    };
    report.take(own);
    for (_, cause) in failed {
        let mut finding = Finding::from(cause);
        finding.level = Level::Warn;
        finding.what.push_str("; functions use another server of DATABASE_URL");
        report.findings.push(finding);
    }
    if several {
        reached.endpoint = url.endpoint();
    }
    Some(reached)
}

async fn go(url: &DatabaseUrl, deadline: Deadline, report: &mut Report) -> Result<Reached, Cause> {
    let timer = StepTimer::start(report);
    let credential = match url.login() {
        Login::Url => "",
        Login::Secret(_) => ", credential of Secrets Manager",
        Login::Iam { .. } => ", a signed token",
    };
    let url = match complete(url, deadline.within(CREDENTIAL)).await {
        Ok(url) => url,
        Err(error) => {
            let cause = cause::credential(&error);
            return Err(timer.fail(report, "no credential", cause));
        }
    };
    let (url, target) = (&url, &TargetNames::of(&url));
    report.target = format!("{} as {}", url.target(), target.user);
    let mode = url.ssl_mode();
    timer.ok(
        report,
        format!(
            "role {}, database {}, {}{}{credential}",
            target.user,
            target.database,
            if url.is_socket() {
                "a Unix socket"
            } else {
                mode_name(mode)
            },
            if url.is_pooled() { ", through a pooler" } else { "" }
        ),
    );
    let began = Instant::now();
    let mut examined = Duration::ZERO;
    let (stream, local) = if url.is_socket() {
        (unix(target, deadline, report).await?, true)
    } else {
        let addresses = resolve(target, deadline, report).await?;
        let local = addresses.iter().all(|address| address.ip().is_loopback());
        let (stream, longer) = tcp(target, addresses, deadline, report).await?;
        examined = longer;
        (stream, local)
    };
    let (mut stream, tls) = secure(url, target, mode, stream, deadline, report).await?;
    let wire = Wire { tls, mode, local };

    let timer = StepTimer::start(report);
    let method = ask_method(url, target, &mut stream, deadline).await;
    drop(stream);
    let method = match method {
        Ok(method) => method,
        Err(cause) => return Err(timer.fail(report, "no answer to the start-up message", cause)),
    };
    if method == Method::Other {
        return Err(timer.fail(report, method.name(), login::method(target)));
    }
    let options = url.connect_options(APPLICATION);
    let connection = match log_in(url, &options, target, &timer, deadline).await {
        Ok(connection) => connection,
        Err(cause) => {
            let detail = format!("{} as {}: refused", method.name(), target.user);
            return Err(timer.fail(report, detail, cause));
        }
    };
    timer.ok(report, format!("{} as {}", method.name(), target.user));
    judge(url, &wire, method, report);

    let mut session = Session::new(connection, url, deadline);
    let timer = StepTimer::start(report);
    let mut first = session.one::<First>(FIRST).await;
    // Behind a pooler the session is the pooler's.
    if !url.is_pooled() && ends_when_idle(&first) {
        short_idle_timeout(target, &first, report);
        let options = options.options([("idle_session_timeout", "0")]);
        session.close().await;
        let connection = match log_in(url, &options, target, &timer, deadline).await {
            Ok(connection) => connection,
            Err(cause) => return Err(timer.fail(report, "a second log-in: refused", cause)),
        };
        session = Session::new(connection, url, deadline);
        first = session.one(FIRST).await;
    }
    let mut pid = None;
    match first {
        Ok(First { version, pid: own, .. }) => {
            pid = Some(own);
            timer.ok(report, format!("PostgreSQL {version}"));
        }
        Err(unavailable @ Unavailable::Lost) => {
            let cause = if url.is_pooled() {
                pooler::waiting(target, timer.seconds())
            } else {
                cause::silent(target, "answer to the first query", timer.seconds())
            };
            return Err(timer.fail(report, unavailable.text(""), cause));
        }
        Err(unavailable) => timer.ok(report, unavailable.text("")),
    }
    let took = began.elapsed().saturating_sub(examined);
    if url.connect_timeout().is_some_and(|limit| took > limit) {
        report.find(
            Level::Warn,
            "slow-to-connect",
            format!(
                "connecting takes {:.1} s, longer than functions wait for it",
                took.as_secs_f64()
            ),
            "Every cold start gives up and tries again. The steps say where the time goes.",
            Vec::new(),
        );
    }
    as_a_function(url, pid, deadline, report).await;
    Ok(Reached {
        url: Arc::clone(url),
        session,
        wire,
        endpoint: url.endpoint(),
    })
}

#[derive(Deserialize)]
struct First {
    version: String,
    pid: i32,
    /// Seconds; `None` before PostgreSQL 14, which has no such limit.
    idle_session_timeout: Option<f64>,
}

const FIRST: &str = "SELECT current_setting('server_version') AS version, pg_backend_pid() AS pid, \
    extract(epoch FROM current_setting('idle_session_timeout', true)::interval)::float8 AS idle_session_timeout";

/// Returns whether the server's limit would end this session while other steps are taken.
fn ends_when_idle(first: &Result<First, Unavailable>) -> bool {
    match first {
        Ok(First {
            idle_session_timeout, ..
        }) => idle_session_timeout.is_some_and(|limit| limit > 0.0 && limit < WHOLE.as_secs_f64()),
        Err(unavailable) => matches!(unavailable, Unavailable::Idle),
    }
}

/// Reports a limit that functions do not notice: they set their own when they connect.
fn short_idle_timeout(target: &TargetNames, first: &Result<First, Unavailable>, report: &mut Report) {
    let limit = first.as_ref().ok().and_then(|first| first.idle_session_timeout);
    let limit = limit.map_or_else(|| "shorter than a round trip".to_owned(), span);
    let (role, database) = (quoted(&target.user), quoted(&target.database));
    report.find(
        Level::Advice,
        "idle-session",
        format!("idle_session_timeout is {limit}: it ends other sessions between two statements"),
        "Functions set their own limit when they connect, and work. Sessions of psql and of other clients end.",
        vec![
            "PGOPTIONS='-c idle_session_timeout=0' psql   # a session that stays, for that of these which applies"
                .to_owned(),
            format!("ALTER ROLE {role} RESET idle_session_timeout;"),
            format!("ALTER ROLE {role} IN DATABASE {database} RESET idle_session_timeout;"),
            format!("ALTER DATABASE {database} RESET idle_session_timeout;"),
            "ALTER SYSTEM SET idle_session_timeout = '15min'; SELECT pg_reload_conf();".to_owned(),
        ],
    );
}

async fn resolve(target: &TargetNames, deadline: Deadline, report: &mut Report) -> Result<Vec<SocketAddr>, Cause> {
    let timer = StepTimer::start(report);
    let found = timeout(
        DNS.min(deadline.left()),
        tokio::net::lookup_host((target.host.as_str(), target.port)),
    );
    match found.await {
        Ok(Ok(found)) => {
            let mut addresses: Vec<SocketAddr> = found.collect();
            addresses.dedup();
            let list: Vec<String> = addresses.iter().map(|address| address.ip().to_string()).collect();
            timer.ok(report, list.join(", "));
            Ok(addresses)
        }
        Ok(Err(error)) => {
            let text = error.to_string();
            let message = text.rsplit(": ").next().unwrap_or(&text).to_owned();
            let cause = cause::unresolvable(target, &message);
            Err(timer.fail(report, format!("{} does not resolve", target.host), cause))
        }
        Err(_) => {
            let cause = cause::resolver(target, timer.seconds());
            Err(timer.fail(report, "no answer", cause))
        }
    }
}

/// Connects to every address concurrently, so that a dead one among reachable ones is detected. The first one, in the
/// resolver's order, that accepts is used for the next steps. Also returns how much longer the others took.
async fn tcp(
    target: &TargetNames,
    addresses: Vec<SocketAddr>,
    deadline: Deadline,
    report: &mut Report,
) -> Result<(Box<dyn Stream>, Duration), Cause> {
    let timer = StepTimer::start(report);
    let (bound, since) = (TCP.min(deadline.left()), Instant::now());
    let mut knocking = JoinSet::new();
    for (order, address) in addresses.into_iter().enumerate() {
        knocking.spawn(async move {
            let connected = timeout(bound, TcpStream::connect(address)).await;
            let connected = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
            (order, address, connected, since.elapsed())
        });
    }
    let mut knocked = knocking.join_all().await;
    knocked.sort_by_key(|(order, ..)| *order);
    let (mut open, mut words, mut silent, mut last) = (None, Vec::new(), Vec::new(), None);
    for (_, address, connected, took) in knocked {
        match connected {
            Ok(stream) => {
                words.push(format!("{address} accepts"));
                open = open.or(Some((stream, took)));
            }
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                words.push(format!("{address} does not answer"));
                silent.push(address.to_string());
                last = Some(error);
            }
            Err(error) => {
                words.push(format!("{address}: {}", plain(&error)));
                last = Some(error);
            }
        }
    }
    let words = words.join(", ");
    if let Some((stream, took)) = open {
        let _ = stream.set_nodelay(true);
        timer.ok(report, words);
        if !silent.is_empty() {
            report.find(
                Level::Warn,
                "dead-address",
                format!("{} of {} does not answer", silent.join(", "), target.host),
                "Functions try the addresses in turn: whenever this one comes first, a connect takes 0.75 s longer.",
                Vec::new(),
            );
        }
        return Ok((Box::new(stream), since.elapsed().saturating_sub(took)));
    }
    let cause = match last {
        Some(error) if silent.is_empty() => cause::tcp(target, &error),
        Some(_) => cause::blackholed(target, timer.seconds()),
        None => cause::unresolvable(target, "no address"),
    };
    Err(timer.fail(report, words, cause))
}

/// Returns the system's error message without its number.
fn plain(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::ConnectionRefused {
        return "refused".to_owned();
    }
    error.to_string()
}

async fn unix(target: &TargetNames, deadline: Deadline, report: &mut Report) -> Result<Box<dyn Stream>, Cause> {
    StepTimer::start(report).end(report, Outcome::Skipped, "not needed for a Unix socket");
    let timer = StepTimer::start(report);
    let socket = Path::new(&target.host).join(format!(".s.PGSQL.{}", target.port));
    match timeout(TCP.min(deadline.left()), UnixStream::connect(&socket)).await {
        Ok(Ok(stream)) => {
            timer.ok(report, format!("{} accepts", target.endpoint));
            Ok(Box::new(stream))
        }
        Ok(Err(error)) => {
            let cause = cause::tcp(target, &error);
            Err(timer.fail(report, plain(&error), cause))
        }
        Err(_) => {
            let cause = cause::blackholed(target, timer.seconds());
            Err(timer.fail(report, "no answer", cause))
        }
    }
}

async fn ask_method(
    url: &DatabaseUrl,
    target: &TargetNames,
    stream: &mut Box<dyn Stream>,
    deadline: Deadline,
) -> Result<Method, Cause> {
    let since = Instant::now();
    let asked = startup::method(stream.as_mut(), &target.user, &target.database);
    match timeout(LOG_IN.min(deadline.left()), asked).await {
        Ok(Ok(Method::Foreign)) => Err(cause::stranger(target)),
        Ok(Ok(method)) => Ok(method),
        // The server may have closed it for a reason, which the log-in reveals.
        Ok(Err(_)) => Ok(Method::Unasked),
        // A pooler answers as soon as it has a connection to the server.
        Err(_) if url.is_pooled() => Err(pooler::waiting(target, since.elapsed().as_secs_f64())),
        Err(_) => Err(cause::silent(
            target,
            "answer to the start-up message",
            since.elapsed().as_secs_f64(),
        )),
    }
}

/// Logs in with the driver. `options` lack the limits that a function's session sets, so that the server's own limits can
/// be examined.
async fn log_in(
    url: &DatabaseUrl,
    options: &PgConnectOptions,
    target: &TargetNames,
    timer: &StepTimer,
    deadline: Deadline,
) -> Result<PgConnection, Cause> {
    #[expect(
        clippy::disallowed_methods,
        reason = "bounded and tuned here; without a function's session limits"
    )]
    let connect = PgConnection::connect_with(options);
    match timeout(LOG_IN.min(deadline.left()), Tuned::new(connect, url)).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) => Err(match url.client_certificate_problem(&error) {
            Some(problem) => cause::client_certificate(&problem),
            None => login::refused(target, &error),
        }),
        Err(_) if url.is_pooled() => Err(pooler::waiting(target, timer.seconds())),
        Err(_) => Err(cause::slow(target, timer.seconds())),
    }
}

/// The first statement as a function: the process that serves it, and the seconds after which the server ends the session.
const SESSION: &str =
    "SELECT pg_backend_pid(), extract(epoch FROM current_setting('idle_session_timeout')::interval)::float8";

/// Connects again exactly as a function does, because a pooler can reject or ignore parameters that a function sets. `own` is
/// the process that serves the other session, which stays open.
async fn as_a_function(url: &DatabaseUrl, own: Option<i32>, deadline: Deadline, report: &mut Report) {
    let timer = StepTimer::start(report);
    let target = diagnostics::Target::new(url, APPLICATION);
    match connect_once(&target, Purpose::Read, deadline.within(LOG_IN)).await {
        Ok(mut live) => {
            let one = async |db: &mut shared::db::Session| sqlx::query_as::<_, (i32, f64)>(SESSION).fetch_one(db).await;
            match live.ask(deadline.within(LOG_IN), one).await {
                Ok((pid, limit)) => {
                    live.close().await;
                    let (shares, limited) = (own == Some(pid), limit == IDLE_SESSION.as_secs_f64());
                    if url.is_pooled() || (limited && !shares) {
                        timer.ok(report, "connected, session limits accepted, first statement answered");
                    } else {
                        timer.end(report, Outcome::Failed, "connected, but a pooler is in between");
                        pooler::hidden(shares, report);
                    }
                }
                Err(error) => {
                    let words = error
                        .cause
                        .as_ref()
                        .map(|cause| one_line(&cause.to_string()))
                        .unwrap_or_default();
                    timer.end(report, Outcome::Failed, words.clone());
                    if error.kind == Kind::StalePlan && !url.is_pooled() {
                        pooler::hidden(true, report);
                    } else {
                        pooler::statement_refused(&words, report);
                    }
                }
            }
        }
        Err(error) if error.kind == Kind::Saturated => {
            timer.end(report, Outcome::Skipped, "no free slot besides this session's");
            if url.is_pooled() {
                return pooler::last_client(report);
            }
            let refusal = error
                .cause
                .as_ref()
                .and_then(|cause| cause.downcast_ref::<sqlx::Error>());
            let refusal = refusal.map(|refusal| Finding::from(login::refused(&TargetNames::of(url), refusal)));
            let what = refusal.as_ref().map_or("no other is free", |refusal| &refusal.what);
            report.find(
                Level::Warn,
                "last-slot",
                format!(
                    "this session took the last connection slot: {}",
                    what.trim_start_matches("saturated: ")
                ),
                "One more environment gets a connection, and none after it: State lists the roles that hold the others.",
                refusal.map(|refusal| refusal.run).unwrap_or_default(),
            );
        }
        Err(error) => {
            let kind = error.kind.name();
            let words = match &error.cause {
                Some(cause) => {
                    let words = cause.downcast_ref::<sqlx::Error>().map(cause::words);
                    let words = words.unwrap_or_else(|| one_line(&cause.to_string()));
                    format!("{kind}: {words}")
                }
                None => kind.to_owned(),
            };
            timer.end(report, Outcome::Failed, words.clone());
            let advice = if error.kind == Kind::Pooler {
                vec!["add pgbouncer=true to the parameters of DATABASE_URL".to_owned()]
            } else {
                Vec::new()
            };
            report.find(
                Level::Fail,
                "functions-refused",
                format!("functions cannot connect: {words}"),
                error.kind.advice(error.phase),
                advice,
            );
        }
    }
}
