use sqlx::PgPool;

#[tokio::main]
async fn main() -> sqlx::Result<()> {
    let pool = PgPool::connect(&std::env::var("DATABASE_URL").unwrap()).await?;
    let shown = std::any::type_name_of_val(&pool);
    println!("{shown}");
    Ok(())
}
