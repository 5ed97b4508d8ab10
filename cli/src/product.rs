//! Describes Seer to the crates that know no product.

use anyhow::Result;
use include_dir::{Dir, include_dir};

use crate::checkout::Checkout;

/// The statements of the functions, with the types of their parameters, as the compiler checked them. In the program
/// itself, so that doctor works outside a checkout.
static QUERIES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../functions/.sqlx");

/// Finds the checkout around the working directory, or the one from which this program was installed.
///
/// # Errors
/// As [`Checkout::here`], if the other one is gone too.
pub(crate) async fn checkout() -> Result<Checkout> {
    let error = match Checkout::here().await {
        Ok(checkout) => return Ok(checkout),
        Err(error) => error,
    };
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml");
    Checkout::around(&["--manifest-path", manifest])
        .await
        .map_err(|_| error)
}

/// Describes Seer to doctor. `fleet` returns the connections that its functions may open at a server.
pub(crate) fn to_doctor<F: AsyncFn(u64) -> Result<u64>>(fleet: F) -> doctor::Product<F> {
    doctor::Product {
        service: &functions::SERVICE,
        trial: include_str!("../../functions/trial.sql"),
        queries: QUERIES.files().filter_map(|file| file.contents_utf8()).collect(),
        fleet,
    }
}
