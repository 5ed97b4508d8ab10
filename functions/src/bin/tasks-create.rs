//! `POST /api/meetings/{id}/tasks`: adds a task to a meeting.
//! Safe to repeat: its id is made before the first attempt, and an Idempotency-Key replays the answer.

use std::process::ExitCode;

use shared::http::{Error, Request, Response, run};
use shared::tasks::{self, Draft};

fn main() -> ExitCode {
    run("POST /api/meetings/{id}/tasks", handle)
}

async fn handle(request: Request) -> Result<Response, Error> {
    let caller = request.caller()?;
    let meeting = request.id("id")?;
    let draft: Draft = request.json()?;
    request
        .write(async move |db| {
            let task = tasks::create(db, &caller, meeting, &draft).await?;
            Ok(Response::created(&task).at(format!("/api/meetings/{meeting}/tasks/{}", task.id)))
        })
        .await
}
