//! `cargo seer token`: a development token that `cargo local` accepts.
//!
//! Relies on the key in the target folder, which `cargo local` verifies with. No other gateway knows it.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use clap::builder::NonEmptyStringValueParser as NonEmpty;
use local::gateway::DevelopmentKey;

use crate::checkout::Checkout;

/// How long a token is good for: a day's work.
pub(crate) const LIFETIME: Duration = Duration::from_secs(12 * 60 * 60);

/// Prints a token for `cargo local`, good for 12 hours.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Who it is for: a user's clerkId
    #[arg(long, value_parser = NonEmpty::new())]
    sub: String,
    /// Their email address, claimed as verified
    #[arg(long, value_parser = NonEmpty::new())]
    email: String,
    /// Their name
    #[arg(long, value_parser = NonEmpty::new())]
    name: String,
}

/// Where the key of a checkout is.
pub(crate) fn key(checkout: &Checkout) -> PathBuf {
    checkout.target.join("local/key")
}

/// Prints the token and nothing else.
///
/// # Errors
/// No checkout here, or a key file that cannot be read or made.
pub(crate) async fn run(arguments: &Arguments) -> Result<()> {
    let key = DevelopmentKey::load_or_create(&key(&Checkout::here().await?))?;
    println!(
        "{}",
        key.sign(&arguments.sub, &arguments.email, &arguments.name, LIFETIME)?
    );
    Ok(())
}
