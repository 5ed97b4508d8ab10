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
use shared::diagnostics::{self, Purpose, Tuned, complete, connect_once};
use sqlx::{Connection as _, PgConnection};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::activity::WHO;
use super::cause::{self, Cause, TargetNames};
use super::login;
use super::pooler;
use super::report::{Finding, Level, Outcome, Report, Step};
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
    let method = ask_method(target, &mut stream, deadline).await;
    drop(stream);
    let method = match method {
        Ok(method) => method,
        Err(cause) => return Err(timer.fail(report, "no answer to the start-up message", cause)),
    };
    if method == Method::Other {
        return Err(timer.fail(report, method.name(), login::method(target)));
    }
    let connection = log_in(url, target, &timer, deadline).await;
    let connection = match connection {
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
    match session
        .one::<Version>("SELECT current_setting('server_version') AS version")
        .await
    {
        Ok(Version { version }) => timer.ok(report, format!("PostgreSQL {version}")),
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
    as_a_function(url, deadline, report).await;
    Ok(Reached {
        url: Arc::clone(url),
        session,
        wire,
        endpoint: url.endpoint(),
    })
}

#[derive(Deserialize)]
struct Version {
    version: String,
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

async fn ask_method(target: &TargetNames, stream: &mut Box<dyn Stream>, deadline: Deadline) -> Result<Method, Cause> {
    let since = Instant::now();
    let asked = startup::method(stream.as_mut(), &target.user, &target.database);
    match timeout(LOG_IN.min(deadline.left()), asked).await {
        Ok(Ok(Method::Foreign)) => Err(cause::stranger(target)),
        Ok(Ok(method)) => Ok(method),
        // The server may have closed it for a reason, which the log-in reveals.
        Ok(Err(_)) => Ok(Method::Unasked),
        Err(_) => Err(cause::silent(
            target,
            "answer to the start-up message",
            since.elapsed().as_secs_f64(),
        )),
    }
}

/// Logs in with the driver, without the limits that a function's session sets, so that the server's own limits can be
/// examined.
async fn log_in(
    url: &DatabaseUrl,
    target: &TargetNames,
    timer: &StepTimer,
    deadline: Deadline,
) -> Result<PgConnection, Cause> {
    let options = url.connect_options(APPLICATION);
    #[expect(
        clippy::disallowed_methods,
        reason = "bounded and tuned here; without a function's session limits"
    )]
    let connect = PgConnection::connect_with(&options);
    match timeout(LOG_IN.min(deadline.left()), Tuned::new(connect, url)).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) => Err(login::refused(target, &error)),
        Err(_) => Err(cause::slow(target, timer.seconds())),
    }
}

/// Connects again exactly as a function does, because a pooler can reject parameters that a function sets.
async fn as_a_function(url: &DatabaseUrl, deadline: Deadline, report: &mut Report) {
    let timer = StepTimer::start(report);
    let target = diagnostics::Target::new(url, APPLICATION);
    match connect_once(&target, Purpose::Read, deadline.within(LOG_IN)).await {
        Ok(mut live) => {
            let one = async |db: &mut shared::db::Session| sqlx::query_scalar::<_, i32>("SELECT 1").fetch_one(db).await;
            match live.ask(deadline.within(LOG_IN), one).await {
                Ok(_) => {
                    live.close().await;
                    timer.ok(report, "connected, session limits accepted, first statement answered");
                }
                Err(error) => {
                    let words = error
                        .cause
                        .as_ref()
                        .map(|cause| one_line(&cause.to_string()))
                        .unwrap_or_default();
                    timer.end(report, Outcome::Failed, words.clone());
                    pooler::statement_refused(&words, report);
                }
            }
        }
        Err(error) if error.kind == Kind::Saturated => {
            timer.end(report, Outcome::Skipped, "no free slot besides this session's");
            report.find(
                Level::Warn,
                "last-slot",
                "this session took the last connection slot that its role may have",
                "One more environment gets a connection, and none after it: State lists the roles that hold the others.",
                vec![WHO.to_owned()],
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
