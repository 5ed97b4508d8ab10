use sqlx::PgPool;

lazy_static::lazy_static! {
    // What to greet with.
    static ref GREETING: String = "hello".to_string();
    static ref DB_URL: String = std::env::var("DATABASE_URL").unwrap();
    static ref DB: PgPool = PgPool::connect_lazy(&DB_URL).unwrap();
}

#[tokio::main]
async fn main() -> sqlx::Result<()> {
    println!("{} {}", *GREETING, DB_URL.len());
    sqlx::query("SELECT 1").execute(&*DB).await?;
    Ok(())
}
