//! `cargo seer token`: creates a development token that `cargo local` accepts.
//!
//! Depends on: the key in the target folder, which `cargo local` verifies with. No other gateway accepts it.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use clap::builder::NonEmptyStringValueParser as NonEmpty;
use local::gateway::DevelopmentKey;

use crate::checkout::Checkout;

/// The lifetime of a token: a day's work.
pub(crate) const LIFETIME: Duration = Duration::from_secs(12 * 60 * 60);

/// Prints a token for `cargo local`, valid for 12 hours.
#[derive(Args)]
pub(crate) struct Arguments {
    /// The user's clerkId
    #[arg(long, value_parser = NonEmpty::new())]
    sub: String,
    /// The user's email address, claimed as verified
    #[arg(long, value_parser = NonEmpty::new())]
    email: String,
    /// The user's name
    #[arg(long, value_parser = NonEmpty::new())]
    name: String,
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
    println!(
        "{}",
        key.sign(&arguments.sub, &arguments.email, &arguments.name, LIFETIME)?
    );
    Ok(())
}
