//! `cargo local`: runs Seer's backend on this machine, from real function binaries and a real PostgreSQL.
//!
//! Invariants: writes nothing outside the target folder and PostgreSQL's cache folder, and leaves no process behind:
//! after Ctrl-C or SIGTERM it shuts down in order, and if it is killed, the guards of the library `local` clean up.

mod database;
mod docs;
mod front;
mod log;
mod rebuild;
mod step;

use std::io::{Write as _, stdout};
use std::sync::Arc;

use anyhow::Result;
use clap::Args;
use functions::config::{DEVELOPMENT_SECRET, LOCAL};
use local::gateway::{DevelopmentKey, Issuer, Origins, Routes};

use crate::checkout::Checkout;
use crate::stop::Stop;
use crate::token::{self, SeedUser};
use database::Database;
use front::{Callers, Front, Tokens};
use rebuild::Sources;
use step::Step;

/// Variables that a developer can set for the functions too; `shared::config` defines their meaning.
const HANDED_ON: [&str; 3] = ["LOG_LEVEL", "MAX_RETRY_ATTEMPTS", "RETRY_DELAY_MS"];

/// Runs the whole backend at http://localhost:3001.
///
/// The database is a PostgreSQL of this checkout, whose data stays until --reset. If DATABASE_URL is set, that database
/// is used, and neither migrated nor seeded unless requested.
#[derive(Args)]
pub(crate) struct Arguments {
    /// The port to serve at
    #[arg(long, default_value_t = 3001, value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,
    /// An origin whose pages may call, such as http://localhost:5173; may be given several times
    #[arg(long = "origin", value_name = "URL")]
    origins: Vec<String>,
    /// The identity provider whose tokens are accepted, as their iss has it, instead of this machine's tokens
    #[arg(long, value_name = "URL")]
    issuer: Option<String>,
    /// The audience of the issuer's tokens: their aud, or without an aud their client_id; may be given several times
    #[arg(long = "audience", value_name = "AUDIENCE", requires = "issuer")]
    audiences: Vec<String>,
    /// Delete the data of earlier runs first
    #[arg(long)]
    reset: bool,
    /// Migrate the database of DATABASE_URL
    #[arg(long)]
    migrate: bool,
    /// Seed the database of DATABASE_URL
    #[arg(long)]
    seed: bool,
}

/// Runs until it is asked to stop.
///
/// # Errors
/// Fails with one line: a port in use, no PostgreSQL available, a build that fails. An issuer that cannot be reached is
/// no failure, but costs the routes that need a token.
pub(crate) async fn run(arguments: Arguments) -> Result<()> {
    let mut stop = Stop::listen()?;
    // Dropping the start stops everything that it has begun.
    let started = tokio::select! {
        started = start(&arguments) => Some(started?),
        () = stop.asked() => None,
    };
    if let Some(Running {
        front,
        database,
        sources,
    }) = started
    {
        tokio::select! {
            () = stop.asked() => {}
            () = sources.follow(&front) => {}
            () = database.watch(&front.unavailable) => {}
        }
        // Below the ^C of the terminal.
        let _ = writeln!(stdout());
        front.close().await;
        database.stop().await?;
    }
    let _ = writeln!(stdout(), "stopped");
    Ok(())
}

/// The backend after its start.
struct Running {
    front: Front,
    database: Database,
    sources: Sources,
}

async fn start(arguments: &Arguments) -> Result<Running> {
    let addresses = front::addresses(arguments.port)?;
    let origins = Origins::new(&arguments.origins)?;
    let mut unreachable = None;
    let tokens = match &arguments.issuer {
        Some(url) => match Issuer::connect(url, &arguments.audiences).await {
            Ok(issuer) => Tokens::Issuer(Arc::new(issuer)),
            Err(error) => {
                unreachable = Some(error);
                Tokens::Dropped
            }
        },
        None => Tokens::Development,
    };
    let checkout = Checkout::here().await?;
    let routes = Routes::from_manifest(&checkout.root.join("Cargo.toml"))?;
    let database = Database::ready(
        arguments,
        variable("DATABASE_URL"),
        &checkout.target.join("local/postgres"),
    )
    .await?;

    let functions = routes.functions();
    let step = Step::announce(&format!(
        "functions: building {}, some minutes the first time",
        functions.len()
    ));
    let sources = Sources::build(&checkout.root, &functions).await?;
    step.done(&format!("functions: {} built", functions.len()));

    let mut variables = vec![
        ("DATABASE_URL".to_owned(), database.url.clone()),
        (LOCAL.to_owned(), "true".to_owned()),
    ];
    let mut unset = Vec::new();
    for name in functions::config::VARIABLES {
        let secret = variable(name).unwrap_or_else(|| {
            unset.push(*name);
            DEVELOPMENT_SECRET.to_owned()
        });
        variables.push(((*name).to_owned(), secret));
    }
    let handed_on = HANDED_ON
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), variable(name)?)));
    variables.extend(handed_on);
    let key = token::key(&checkout);
    let (sub, email, name) = SeedUser::DevAdmin.claims();
    let token = DevelopmentKey::load_or_create(&key)?.sign(sub, email, name, token::LIFETIME)?;
    let token = matches!(tokens, Tokens::Development).then_some(token);
    let callers = Callers { key, tokens, origins };
    let pages = docs::pages(token.as_deref())?;
    let front = Front::open(addresses, &routes, &sources.binaries, &variables, &callers, &pages).await?;
    welcome(arguments.port, &routes, token.as_deref(), &database, &unset);
    if let Some(error) = unreachable {
        let _ = writeln!(
            stdout(),
            "{error:#}: every route that needs a token is answered 404, because API Gateway drops them then. Start again \
             when the issuer can be reached.\n"
        );
    }
    Ok(Running {
        front,
        database,
        sources,
    })
}

/// Returns a variable for the functions if the developer has set it; an empty one counts as not set.
fn variable(name: &str) -> Option<String> {
    #[expect(
        clippy::disallowed_methods,
        reason = "handed on to the functions, which read it by shared::config"
    )]
    let value = std::env::var(name).ok();
    value.filter(|value| !value.trim().is_empty())
}

fn welcome(port: u16, routes: &Routes, token: Option<&str>, database: &Database, unset: &[&str]) {
    let mut text = "\n".to_owned();
    let longest = routes.iter().map(|route| route.path.len()).max().unwrap_or_default();
    for route in routes.iter() {
        let method = route.method.as_deref().unwrap_or("ANY");
        text.push_str(&format!("  {method:<7} {:<longest$} {}\n", route.path, route.function));
    }
    // Below the routes, which are more than the lines of most terminals.
    text.push_str(&format!(
        "\nSeer is at http://localhost:{port}; Ctrl-C stops it.\nTry it out at http://localhost:{port}/docs.\n"
    ));
    for name in unset {
        text.push_str(&format!("\n{name}, as none is set: {DEVELOPMENT_SECRET}\n"));
    }
    if let Some(token) = token {
        let (sub, ..) = SeedUser::DevAdmin.claims();
        text.push_str(&format!(
            "\nA token for {sub}, good for 12 hours:\n\n{token}\n\nTry it:\n\n"
        ));
        // A user without a row has to register before anything else.
        let request = if database.seeded {
            "/api/meetings"
        } else {
            "/api/users/register -X POST"
        };
        text.push_str(&format!(
            "curl http://localhost:{port}{request} -H 'Authorization: Bearer {token}'\n"
        ));
    }
    text.push_str(&format!("\nThe database: {}\n", database.shown()));
    let mut further = Vec::new();
    if token.is_some() && database.seeded {
        further.push(("token dev-member", "a token of a member of the admin's team"));
    }
    if database.is_own() {
        further.push(("psql", "this database in psql"));
        further.push(("doctor --local", "examines this database"));
    } else {
        further.push(("doctor", "examines this database"));
    }
    text.push_str("\nIn another terminal:\n\n");
    for (command, purpose) in further {
        text.push_str(&format!("  cargo seer {command:<18} {purpose}\n"));
    }
    text.push_str(
        "\nA change of the code is built and served at once; a new route or migration needs a new start.\n\n",
    );
    let _ = stdout().write_all(text.as_bytes()).and_then(|()| stdout().flush());
}
