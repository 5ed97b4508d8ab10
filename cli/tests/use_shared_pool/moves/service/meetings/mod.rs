pub mod archive;

use crate::App;

#[derive(sqlx::FromRow)]
pub struct Meeting {
    #[allow(dead_code)]
    pub title: String,
}

pub async fn list(app: &App) -> sqlx::Result<Vec<Meeting>> {
    sqlx::query_as("SELECT title FROM meetings").fetch_all(&app.db).await
}
