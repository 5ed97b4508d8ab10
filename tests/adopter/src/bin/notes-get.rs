use shared::db::Session;
use shared::http::{Abort, Error, Request, Response};
use sqlx::types::Uuid;

fn main() -> std::process::ExitCode {
    notes::SERVICE.run("GET /notes/{id}", include_str!("../../events/notes-get.json"), get)
}

async fn get(request: Request) -> Result<Response, Error> {
    let id = request.id("id")?;
    let text = request.read(async move |db| text(db, id).await).await?;
    Ok(Response::ok(&text))
}

async fn text(db: &mut Session, id: Uuid) -> Result<String, Abort> {
    let text = sqlx::query_scalar("SELECT text FROM notes WHERE id = $1").bind(id).fetch_optional(db).await?;
    text.ok_or(Error::NotFound("note").into())
}
