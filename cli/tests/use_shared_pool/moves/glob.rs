use sqlx::postgres::*;
use sqlx::*;

fn name(row: &PgRow) -> String {
    row.get("name")
}

#[tokio::main]
async fn main() -> Result<()> {
    let pool: PgPool = PgPoolOptions::new().connect(&std::env::var("DATABASE_URL").unwrap()).await?;
    for row in query("SELECT name FROM users").fetch_all(&pool).await? {
        println!("{}", name(&row));
    }
    Ok(())
}
