//! Examines a database as functions would use it, and says what to do: `cargo seer doctor`.
//!
//! First the connection, step by step; then the server's activity, its settings, and the schema. The first line is the
//! verdict with its cause, and the exit code repeats it: 0 healthy, 1 warnings, 2 failing, 3 cannot connect.
//! Invariants: commits nothing to the database, never takes longer than [`WHOLE`], and never prints a password or a
//! parameter's value (the value of sslmode is no secret). Depends on: `shared` for the meaning of DATABASE_URL, of
//! failures, and for how a function connects. [`Product`] describes the functions.

mod activity;
mod advice;
mod cause;
mod columns;
mod database;
mod indexes;
mod login;
mod migrations;
mod page;
pub mod pgbouncer;
mod pooler;
mod reach;
mod report;
mod schema;
mod server;
mod session;
mod settings;
mod startup;
mod statements;
mod step;
mod text;
mod tls;
mod trial;
mod upkeep;
mod wire;
mod workload;

use std::io::Write as _;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use console::Term;
use shared::Service;
use shared::config::{Config, DatabaseUrl};
use shared::db::Deadline;
use tokio::time::timeout;

use report::{Level, Report};
use session::Session;

/// Upper bound on the duration of one examination, in any state of the server.
const WHOLE: Duration = Duration::from_millis(8_500);
/// Upper bound on the time for computing the fleet's budget.
const TEMPLATE: Duration = Duration::from_secs(1);
/// The budget if no template gives another: the connections that PostgreSQL's default of 100 serves without queueing.
const BUDGET: i64 = 80;
/// The interval of `--watch`.
const EVERY: Duration = Duration::from_secs(3);

/// Examines the database that DATABASE_URL names, and says what is wrong and what to do
///
/// Exit code: 0 healthy, 1 warnings, 2 failing, 3 cannot connect.
#[derive(Args)]
pub struct Arguments {
    /// Another database than DATABASE_URL's; other users of this machine can see it in the process list
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// The URL is not from the command line.
    #[arg(skip)]
    hidden: bool,
    /// A Secrets Manager secret with the user, the password and, unless --url is given, the address; read with the
    /// AWS_… credentials of the environment
    #[arg(long, value_name = "ARN")]
    secret_arn: Option<String>,
    /// Print one JSON object instead of a page; with --watch, one per line
    #[arg(long)]
    json: bool,
    /// Look again every three seconds, until Ctrl-C; on a terminal only what fits it
    #[arg(long)]
    watch: bool,
    /// Connections that the whole fleet may hold at once [default: the sum of `cargo seer budget`, else 80]
    #[arg(long, value_name = "CONNECTIONS", value_parser = clap::value_parser!(u16).range(1..))]
    budget: Option<u16>,
}

/// The product whose database is examined.
pub struct Product<F> {
    /// The product, for its migrations.
    pub service: &'static Service,
    /// The query data of its functions' statements: the JSON documents that `cargo sqlx prepare` writes.
    pub queries: Vec<&'static str>,
    /// Writes and reads as the functions' are, each of which has to write or find a row; see [`trial`]. A statement ends
    /// with `;` and a line break. Those of the engine's own tables follow them.
    pub trial: &'static str,
    /// Returns the connections that the whole fleet may open at a server with this many `max_connections`.
    pub fleet: F,
}

impl Arguments {
    /// Examines this database instead of that of the variables.
    #[must_use]
    pub fn at(self, url: String) -> Self {
        Self {
            url: Some(url),
            hidden: true,
            ..self
        }
    }
}

/// Prints the report and ends the process with its exit code.
///
/// # Errors
/// Never fails today: every problem is in the report.
pub async fn run<F: AsyncFn(u64) -> Result<u64>>(arguments: Arguments, product: Product<F>) -> Result<()> {
    if !arguments.hidden && arguments.url.as_deref().is_some_and(has_password) {
        eprintln!(
            "Other users of this machine can see the password of --url in the process list. Give the URL in DATABASE_URL \
             instead: read -rs DATABASE_URL && export DATABASE_URL"
        );
    }
    let mut budget = arguments.budget.map(i64::from);
    let report = examine(&arguments, &product, &mut budget).await;
    let mut code = report.verdict().exit_code();
    if show(&report, &arguments) && arguments.watch {
        // One listener for all examinations: a new one would miss an earlier Ctrl-C.
        let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
        loop {
            let next = async {
                tokio::time::sleep(EVERY).await;
                examine(&arguments, &product, &mut budget).await
            };
            let report = tokio::select! {
                report = next => report,
                _ = &mut interrupted => break,
            };
            code = report.verdict().exit_code();
            if !show(&report, &arguments) {
                break;
            }
        }
    }
    // Exits instead of returning: a resolver that hangs would keep its thread, and with it the process, alive.
    std::process::exit(code.into())
}

/// Returns the verdict, its cause and what to do, if functions cannot use this database; `None` if they can.
pub async fn cannot_connect(url: &DatabaseUrl) -> Option<String> {
    let mut report = Report::default();
    match reach::reach(url, Deadline::after(WHOLE), &mut report).await {
        Some(reached) => {
            reached.session.close().await;
            None
        }
        None => Some(page::render_verdict(&report, page::width())),
    }
}

/// Returns whether a connection string has a password, also one that is malformed otherwise.
fn has_password(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let credentials = authority.rsplit_once('@').map_or("", |(credentials, _)| credentials);
    credentials.contains(':')
}

/// Prints the report; returns whether standard output is still open.
fn show(report: &Report, arguments: &Arguments) -> bool {
    let terminal = Term::stdout();
    // Without a terminal the size is unknown, and nothing has to fit.
    let screen = terminal.size_checked().filter(|_| arguments.watch);
    let text = match (arguments.json, arguments.watch, screen) {
        (true, true, _) => format!("{}\n", report.json()),
        (true, false, _) => format!("{:#}\n", report.json()),
        (false, _, None) => page::render(report, page::width()),
        (false, _, Some((height, columns))) => page::render_on_screen(report, height, columns),
    };
    if screen.is_some() {
        let _ = terminal.clear_screen();
    }
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_ok()
}

/// Returns a function's configuration, by the rules of the environment; the command line takes precedence over the
/// variables.
fn asked(arguments: &Arguments) -> Config {
    let alone = arguments.url.is_some() || arguments.secret_arn.is_some();
    #[expect(
        clippy::disallowed_methods,
        reason = "read as shared::config reads it, with the arguments in its place"
    )]
    let environment = |name: &str| std::env::var(name).ok();
    Config::from_lookup(|name| match name {
        "DATABASE_URL" if alone => arguments.url.clone(),
        "DATABASE_SECRET_ARN" if alone => arguments.secret_arn.clone(),
        "DATABASE_IAM_AUTH" if alone => None,
        _ => environment(name),
    })
}

async fn examine<F: AsyncFn(u64) -> Result<u64>>(
    arguments: &Arguments,
    product: &Product<F>,
    budget: &mut Option<i64>,
) -> Report {
    let deadline = Deadline::after(WHOLE);
    let mut report = Report::default();
    let config = asked(arguments);
    if let Err(error) = &config.log_level {
        report.find(
            Level::Warn,
            "variable",
            error.to_string(),
            "A function with this variable logs at its default level instead.",
            vec![format!("unset {}   # or correct it", error.variable())],
        );
    }
    let url = match config.database {
        Ok(database) => database.url,
        Err(error) => {
            report.unreachable = Some(cause::variable(&error, arguments.url.is_some()).into());
            return report;
        }
    };
    let Some(reached) = reach::reach(&url, deadline, &mut report).await else {
        return report;
    };
    let reach::Reached {
        url,
        mut session,
        wire,
        endpoint,
    } = reached;
    if let Some(server) = server::examine(&mut session, &mut report).await {
        settings::read_only(&mut session, &server, &mut report).await;
        activity::examine(&mut session, &cause::TargetNames::of(&url), &server, &mut report).await;
        database::examine(&mut session, &server, &mut report).await;
        upkeep::examine(&mut session, &server, &mut report).await;
        statements::examine(&mut session, &server, &mut report).await;
        schema::examine(&mut session, &url, &server, product, &mut report).await;
        let budget = match *budget {
            Some(known) => known,
            None => *budget.insert(product.budget(&server, deadline).await),
        };
        if url.is_pooled() {
            pooler::examine(&url, &server, budget, deadline, &mut report).await;
        }
        let slots = (!url.is_pooled()).then_some(budget);
        settings::examine(&mut session, &server, slots, &mut report).await;
        advice::recommend(&url, endpoint, &wire, &server, &mut report);
    }
    unfinished(&session, deadline, &mut report);
    session.close().await;
    report
}

impl<F: AsyncFn(u64) -> Result<u64>> Product<F> {
    /// Returns the connections that the fleet may hold.
    async fn budget(&self, server: &server::Server, deadline: Deadline) -> i64 {
        let max = u64::try_from(server.max).unwrap_or_default();
        // Outside a checkout there is no template, and cargo can take long.
        let sum = timeout(TEMPLATE.min(deadline.left()), (self.fleet)(max)).await;
        let sum = sum.ok().and_then(Result::ok).and_then(|sum| i64::try_from(sum).ok());
        sum.unwrap_or(BUDGET)
    }
}

/// Reports an incomplete examination first, because it may explain the other findings.
fn unfinished(session: &Session, deadline: Deadline, report: &mut Report) {
    if session.is_lost() {
        report.find(
            Level::Fail,
            "silent",
            "the server stopped answering in the middle of the examination",
            "It hangs or went down, or the network in between did. Run this again.",
            Vec::new(),
        );
    } else if deadline.is_past() {
        report.find(
            Level::Warn,
            "slow",
            format!(
                "the server answers too slowly to be asked everything in {:.1} s",
                WHOLE.as_secs_f64()
            ),
            "It is overloaded, or far away: every request of a function waits like this.",
            Vec::new(),
        );
    } else {
        return;
    }
    report.findings.rotate_right(1);
}
