//! The caller's Google calendar: never connected, because no Google client is configured.

use serde::{Deserialize, Serialize};

use crate::users;
use shared::db::Session;
use shared::http::{Abort, Caller, Error};
use shared::text::Text;

/// Whether a Google calendar is connected.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = GoogleStatus))]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Whether the caller's Google account is connected.
    connected: bool,
    /// Whether its calendar is used.
    has_calendar_integration: bool,
    /// Both.
    fully_connected: bool,
}

/// The result of disconnecting.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = GoogleDisconnected))]
#[serde(rename_all = "camelCase")]
pub struct Disconnected {
    /// Always true.
    success: bool,
    /// The result in words.
    message: &'static str,
    /// The number of calendars that were disconnected.
    calendar_integrations_removed: u32,
}

impl Disconnected {
    /// The result if none was connected.
    pub const NONE: Self = Self {
        success: true,
        message: "No Google calendar is connected.",
        calendar_integrations_removed: 0,
    };
}

/// The request for an address to sign in at Google. It has the caller's token in its body, because the page sends no
/// Authorization header.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = GooglePrepare))]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "it is checked, and not used")]
pub struct Prepare {
    /// The caller's token.
    token: Text<8192>,
}

/// Returns whether the caller's calendar is connected.
///
/// # Errors
/// Fails with 401 for an unregistered caller.
pub async fn status(db: &mut Session, caller: &Caller) -> Result<Status, Abort> {
    users::me(db, caller).await?;
    Ok(Status::default())
}

/// Disconnects the caller's calendar.
///
/// # Errors
/// Fails with 401 for an unregistered caller.
pub async fn disconnect(db: &mut Session, caller: &Caller) -> Result<Disconnected, Abort> {
    users::me(db, caller).await?;
    Ok(Disconnected::NONE)
}

/// Returns the refusal to connect a calendar.
pub fn not_configured() -> Error {
    Error::not_configured("This service is not connected to Google.")
}
