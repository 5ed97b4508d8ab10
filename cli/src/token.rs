//! `cargo seer token`: creates a development token that `cargo local` accepts.
//!
//! Depends on: the key in the target folder, which `cargo local` verifies with. No other gateway accepts it.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::builder::NonEmptyStringValueParser as NonEmpty;
use clap::{Args, ValueEnum};
use local::gateway::DevelopmentKey;

use crate::checkout::Checkout;

/// The lifetime of a token: a day's work.
pub(crate) const LIFETIME: Duration = Duration::from_secs(12 * 60 * 60);

/// A user of the seed data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "kebab-case")]
pub(crate) enum SeedUser {
    /// The admin of the team
    DevAdmin,
    /// A member of the admin's team
    DevMember,
    /// Somebody on a team of their own
    DevGuest,
    /// The admin of another team
    OtherAdmin,
}

impl SeedUser {
    /// Returns the user's clerkId, email address and name.
    pub(crate) fn claims(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::DevAdmin => ("dev-admin", "admin@example.com", "Avery Adams"),
            Self::DevMember => ("dev-member", "member@example.com", "Morgan Meyer"),
            Self::DevGuest => ("dev-guest", "guest@example.com", "Gale Grant"),
            Self::OtherAdmin => ("other-admin", "other@example.com", "Oakley Olsen"),
        }
    }
}

/// Prints a token for `cargo local`, valid for 12 hours.
#[derive(Args)]
pub(crate) struct Arguments {
    /// A user of the seed data
    #[arg(required_unless_present = "sub", conflicts_with = "sub")]
    user: Option<SeedUser>,
    /// The clerkId of any other user
    #[arg(long, value_parser = NonEmpty::new(), requires_all = ["email", "name"])]
    sub: Option<String>,
    /// The user's email address, claimed as verified
    #[arg(long, value_parser = NonEmpty::new(), requires = "sub")]
    email: Option<String>,
    /// The user's name
    #[arg(long, value_parser = NonEmpty::new(), requires = "sub")]
    name: Option<String>,
}

/// Returns the path of a checkout's key.
pub(crate) fn key(checkout: &Checkout) -> PathBuf {
    checkout.target.join("local/key")
}

/// Prints the token and nothing else.
///
/// # Errors
/// Fails if there is no checkout, or the key file cannot be read or created.
pub(crate) async fn run(arguments: &Arguments) -> Result<()> {
    let key = DevelopmentKey::load_or_create(&key(&Checkout::here().await?))?;
    let given = |text: &Option<String>| text.clone().unwrap_or_default();
    let (sub, email, name) = match arguments.user {
        Some(user) => {
            let (sub, email, name) = user.claims();
            (sub.to_owned(), email.to_owned(), name.to_owned())
        }
        None => (given(&arguments.sub), given(&arguments.email), given(&arguments.name)),
    };
    outln!("{}", key.sign(&sub, &email, &name, LIFETIME)?);
    Ok(())
}
