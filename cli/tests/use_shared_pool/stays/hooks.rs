use sqlx::Executor;
use sqlx::postgres::PgPoolOptions;

#[tokio::main]
async fn main() -> sqlx::Result<()> {
    let pool = PgPoolOptions::new()
        .after_connect(|conn, _| {
            Box::pin(async move {
                conn.execute("SET ROLE reporting").await?;
                Ok(())
            })
        })
        .connect(&std::env::var("DATABASE_URL").unwrap())
        .await?;
    sqlx::query("SELECT 1").execute(&pool).await?;
    Ok(())
}
