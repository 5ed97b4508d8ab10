//! The answer of a write that has no resource to show, for pages that read every answer as JSON and cannot handle 204.

use serde::Serialize;

/// `{"success": true}`.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Success {
    /// Always true.
    success: bool,
}

impl Success {
    /// The answer.
    pub const DONE: Self = Self { success: true };
}
