use sqlx::PgPool;

#[tokio::main]
async fn main() {
    let url = std::env::var("DATABASE_URL").unwrap();
    let pool = match PgPool::connect(&url).await {
        Ok(pool) => pool,
        Err(error) => {
            eprintln!("no database: {error}");
            std::process::exit(1);
        }
    };
    if let Ok(second) = PgPool::connect(&url).await {
        sqlx::query("SELECT 2").execute(&second).await.unwrap();
    }
    let maybe: Option<PgPool> = PgPool::connect(&url).await.ok();
    if let Some(third) = &maybe {
        sqlx::query("SELECT 3").execute(third).await.unwrap();
    }
    let fourth = PgPool::connect(&url).await.unwrap_or_else(|error| panic!("no database: {error}"));
    sqlx::query("SELECT 4").execute(&fourth).await.unwrap();
    sqlx::query("SELECT 1").execute(&pool).await.unwrap();
}
