//! `DELETE /api/meetings/{id}/tasks/{taskId}`: deletes a task.
//! Safe to repeat: a task that is gone is 404.

use std::process::ExitCode;

use shared::http::{Error, Request, Response, run};
use shared::tasks;

fn main() -> ExitCode {
    run("DELETE /api/meetings/{id}/tasks/{taskId}", handle)
}

async fn handle(request: Request) -> Result<Response, Error> {
    let caller = request.caller()?;
    let (meeting, id) = (request.id("id")?, request.id("taskId")?);
    request
        .write(async move |db| {
            tasks::delete(db, &caller, meeting, id).await?;
            Ok(Response::no_content())
        })
        .await
}
