//! `GET /api/meetings/tasks/all`: a page of the tasks of the caller's team, newest first.
//! Safe to repeat: it only reads, and a cursor always names the same place.

use std::process::ExitCode;

use functions::tasks::all::{self, Filter};
use functions::{SERVICE, example_event};
use shared::http::{Error, Request, Response};

fn main() -> ExitCode {
    SERVICE.run("GET /api/meetings/tasks/all", example_event!(), handle)
}

async fn handle(request: Request) -> Result<Response, Error> {
    let caller = request.caller()?;
    let filter: Filter = request.query()?;
    let page = request
        .read(async move |db| all::list(db, &caller, &filter).await)
        .await?;
    Ok(request.page(&page))
}

functions::describe!(|operation, schemas| {
    use functions::openapi::examples::task;
    use functions::tasks::{Status, Task};
    let tasks = schemas.list::<Task>();
    operation
        .registered()
        .paged()
        .query::<Status>("status", "Only tasks with this status.")
        .reads()
        .refuses(Error::forbidden("Only an admin may list the tasks of the team."))
        .answers_page(tasks, task())
});
