use shared::db::{Session, WriteAttempt};
use shared::http::{Abort, Error, Request, Response};
use sqlx::types::Uuid;

fn main() -> std::process::ExitCode {
    notes::SERVICE.run("POST /notes", include_str!("../../events/notes-create.json"), create)
}

#[derive(serde::Deserialize)]
struct Note {
    text: String,
}

async fn create(request: Request) -> Result<Response, Error> {
    let note = (Uuid::now_v7(), request.json()?);
    request.write(note, insert, async |_, receipt, _| Ok(receipt.id), |id| Response::created(&id)).await
}

async fn insert(db: &mut Session, attempt: &WriteAttempt, (id, note): &(Uuid, Note)) -> Result<Uuid, Abort> {
    let write = shared::write_query_unchecked!(
        attempt,
        "made AS (INSERT INTO notes SELECT $5, $6 FROM known WHERE clear RETURNING id),
        changed AS (SELECT 'note' AS kind, id, NULL::int AS version, 201 AS status FROM made)",
        "1 FROM known"
    );
    attempt.check_row(&write.bind(id).bind(&note.text).fetch_one(db).await?)?;
    Ok(*id)
}
