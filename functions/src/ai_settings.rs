//! The caller's AI provider: none, because nothing here uses one. Invariants: stores no key.

use serde::{Deserialize, Serialize};

use crate::users;
use shared::db::Session;
use shared::http::{Abort, Caller, Error};

/// An AI provider.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = AiProvider))]
#[serde(rename_all = "lowercase", remote = "Self")]
pub enum Provider {
    /// Anthropic.
    #[default]
    Anthropic,
    /// OpenAI.
    OpenAi,
    /// Google's Gemini.
    Gemini,
}

shared::names!(Provider);

/// The caller's settings.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = AiSettings))]
#[serde(rename_all = "camelCase")]
pub struct Settings {
    /// Whether the caller's own key is used.
    #[serde(rename = "useCustomAI")]
    use_custom_ai: bool,
    /// The provider.
    ai_provider: Provider,
    /// Whether a key of Anthropic is stored.
    has_anthropic_key: bool,
    /// Whether a key of OpenAI is stored.
    #[serde(rename = "hasOpenAIKey")]
    has_open_ai_key: bool,
    /// Whether a key of Gemini is stored.
    has_gemini_key: bool,
    /// Whether a key of the provider is stored and used.
    has_valid_api_key: bool,
}

/// Settings as a client writes them.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = AiSettingsChanges))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(dead_code, reason = "they are checked, and not stored")]
pub struct Changes {
    /// Whether the caller's own key is to be used.
    #[serde(rename = "useCustomAI")]
    use_custom_ai: bool,
    /// The provider.
    ai_provider: Provider,
    /// A key of this provider; empty removes it.
    api_key: Option<String>,
}

/// Returns the caller's settings.
///
/// # Errors
/// Fails with 401 for an unregistered caller.
pub async fn get(db: &mut Session, caller: &Caller) -> Result<Settings, Abort> {
    users::me(db, caller).await?;
    Ok(Settings::default())
}

/// Returns the refusal of any change.
pub fn not_configured() -> Error {
    Error::not_configured("This service uses no AI provider, and stores no key for one.")
}
