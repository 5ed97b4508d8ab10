//! `cargo seer person`: every row of one person as JSON, and their erasure.
//!
//! Needs the owner's `DATABASE_URL`, because the functions' role may not read `audit`. Invariants: an erasure is one
//! transaction, and is rolled back unless `--apply` is given. Depends on: every table with data of people is named here;
//! a test compares the list with the schema.

mod erase;
mod export;

use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand};
use shared::config::Config;
use shared::db::{Pool, Session};
use sqlx::types::Uuid;

/// Prints or erases the data of one person.
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Prints every row about a person as JSON
    Export(Named),
    /// Deletes the rows about a person, and replaces their name, address and subject; without --apply only prints the
    /// changes
    Erase {
        #[command(flatten)]
        named: Named,
        /// Commit the erasure
        #[arg(long)]
        apply: bool,
    },
}

#[derive(Args)]
#[group(required = true, multiple = false)]
struct Named {
    /// The id of the user
    #[arg(long)]
    id: Option<Uuid>,
    /// The address of a user, or of somebody who was only invited
    #[arg(long)]
    email: Option<String>,
}

/// A person in the database: a user, an invited address, or both.
struct Person {
    user: Option<Uuid>,
    /// In lower case, as invitations have them.
    addresses: Vec<String>,
}

impl Person {
    /// Finds the person and locks their row.
    async fn find(db: &mut Session, named: &Named) -> Result<Self> {
        let email = named.email.as_deref().map(str::to_ascii_lowercase);
        let users: Vec<(Uuid, String)> = sqlx::query_as(
            "SELECT id, lower(email COLLATE \"C\") FROM users WHERE id = $1 OR lower(email COLLATE \"C\") = $2 \
             ORDER BY id FOR UPDATE",
        )
        .bind(named.id)
        .bind(&email)
        .fetch_all(db)
        .await?;
        if let ([], Some(id)) = (&users[..], named.id) {
            bail!("no user has the id {id}");
        }
        if users.len() > 1 {
            let ids: Vec<_> = users.iter().map(|(id, _)| id.to_string()).collect();
            bail!(
                "{} users have this address: name one of them with --id: {}",
                users.len(),
                ids.join(", ")
            );
        }
        let mut addresses: Vec<_> = email.into_iter().collect();
        let user = users.into_iter().next();
        addresses.extend(user.iter().map(|(_, address)| address.clone()));
        addresses.dedup();
        let user = user.map(|(id, _)| id);
        Ok(Self { user, addresses })
    }
}

/// Runs the command.
///
/// # Errors
/// Fails with one line: a malformed `DATABASE_URL`, a database that cannot be reached, a role without the rights, a person
/// who does not exist or is not the only one of that address.
pub(crate) async fn run(arguments: Arguments) -> Result<()> {
    let config = Config::from_env();
    let pool = Pool::new(&config.database?, &config.lambda);
    let (named, apply) = match &arguments.command {
        Command::Export(named) => (named, None),
        Command::Erase { named, apply } => (named, Some(*apply)),
    };
    let mut transaction = pool.begin().await?;
    let person = Person::find(&mut transaction, named).await?;
    match apply {
        None => outln!("{}", export::rows(&mut transaction, &person).await?),
        Some(_) => {
            for line in erase::erase(&mut transaction, &person).await? {
                outln!("{line}");
            }
        }
    }
    if apply == Some(true) {
        transaction.commit().await.context("nothing was erased")?;
        outln!("erased; backups and logs keep what they have until they expire");
    } else {
        transaction.rollback().await?;
        if apply.is_some() {
            outln!("nothing was changed: repeat it with --apply");
        }
    }
    pool.close_idle().await;
    Ok(())
}
