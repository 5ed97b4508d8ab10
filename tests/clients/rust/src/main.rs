//! Uses the client of openapi-generator for Rust.

use seer_client::apis::configuration::Configuration;
use seer_client::apis::meetings_api::{MeetingsCreateError, meetings_create};
use seer_client::apis::{Error, ResponseContent};
use seer_client::models::{Failure, MeetingDraft, Problem};

const TITLE: &str = "Made by a client";

fn variable(name: &str) -> String {
    std::env::var(name).expect(name)
}

fn draft(title: &str) -> MeetingDraft {
    let member = uuid::uuid!("01900000-0000-7000-8000-000000000002");
    MeetingDraft::new(
        "2031-03-04T09:30:00Z".parse().expect("a time"),
        30,
        member,
        title.to_owned(),
    )
}

fn configuration(token: String) -> Configuration {
    Configuration {
        base_path: variable("SEER_URL"),
        bearer_access_token: Some(token),
        ..Configuration::new()
    }
}

async fn refusal(token: String, title: &str) -> ResponseContent<MeetingsCreateError> {
    match meetings_create(&configuration(token), draft(title), None).await {
        Err(Error::ResponseError(content)) => content,
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let token = variable("SEER_TOKEN");
    let made = meetings_create(&configuration(token.clone()), draft(TITLE), None)
        .await
        .expect("a meeting");
    assert_eq!(made.title, TITLE);
    assert_eq!(made.status.to_string(), "scheduled");

    // The client tries the types of all statuses in turn, so the status tells which it is.
    let refused = refusal(token, "").await;
    assert_eq!(refused.status.as_u16(), 422);
    let problem: Problem = serde_json::from_str(&refused.content).expect("a problem");
    assert_eq!(problem.r#type, "urn:seer:problem:invalid");
    assert_eq!(problem.errors.expect("errors")[0].field, "title");

    let stranger = refusal("none".to_owned(), TITLE).await;
    assert_eq!(stranger.status.as_u16(), 401);
    let failure: Failure = serde_json::from_str(&stranger.content).expect("a failure");
    assert_eq!(failure.message.as_deref(), Some("Unauthorized"));
}
