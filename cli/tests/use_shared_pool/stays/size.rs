use sqlx::PgPool;

#[tokio::main]
async fn main() -> sqlx::Result<()> {
    let pool = PgPool::connect(&std::env::var("DATABASE_URL").unwrap()).await?;
    println!("{} of {}", pool.num_idle(), pool.size());
    Ok(())
}
