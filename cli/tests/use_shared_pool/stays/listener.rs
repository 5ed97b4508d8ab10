use sqlx::postgres::{PgListener, PgPool};

#[tokio::main]
async fn main() -> sqlx::Result<()> {
    let pool = PgPool::connect(&std::env::var("DATABASE_URL").unwrap()).await?;
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.listen("tasks").await?;
    println!("{}", listener.recv().await?.payload());
    Ok(())
}
