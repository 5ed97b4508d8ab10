//! The operations of [`ai_settings`](crate::ai_settings) and [`google`](crate::google).

use serde_json::json;

use super::operation::{Operation, operation};
use super::schemas::Schemas;
use crate::ai_settings::{self, Changes, Settings};
use crate::google::{self, Disconnected, Prepare, Status};
use crate::users::NoFields;

pub(super) fn operations(schemas: &mut Schemas) -> Vec<Operation> {
    let settings = schemas.answer::<Settings>();
    let changes = schemas.request::<Changes>("The settings.");
    let (status, disconnected) = (schemas.answer::<Status>(), schemas.answer::<Disconnected>());
    let nothing = schemas.request::<NoFields>("Nothing.");
    let prepare = schemas.request::<Prepare>("The caller's token, because the page sends no Authorization header.");
    vec![
        operation!("ai-settings-get").registered().reads().answers(
            200,
            "The settings",
            &[],
            settings,
            json!(Settings::default()),
        ),
        operation!("ai-settings-save")
            .body(
                changes,
                true,
                json!({"useCustomAI": true, "aiProvider": "anthropic", "apiKey": "sk-example"}),
            )
            .refuses(ai_settings::not_configured()),
        operation!("google-status").registered().reads().answers(
            200,
            "Whether it is connected",
            &[],
            status,
            json!(Status::default()),
        ),
        operation!("google-disconnect")
            .registered()
            .body(nothing, false, json!({}))
            .reads()
            .answers(
                200,
                "Nothing is connected",
                &[],
                disconnected,
                json!(Disconnected::NONE),
            ),
        operation!("google-prepare")
            .public()
            .body(prepare, true, json!({"token": "header.payload.signature"}))
            .refuses(google::not_configured()),
    ]
}
