use shared::http::{Error, Request, Response};

fn main() -> std::process::ExitCode {
    notes::SERVICE.run("GET /notes/{id}", include_str!("../../events/notes-get.json"), get)
}

async fn get(request: Request) -> Result<Response, Error> {
    let id = request.id("id")?;
    let sql = "SELECT text FROM notes WHERE id = $1";
    let text: Option<String> =
        request.read(async move |db| Ok(sqlx::query_scalar(sql).bind(id).fetch_optional(db).await?)).await?;
    text.map(|text| Response::ok(&text)).ok_or(Error::NotFound("note"))
}
