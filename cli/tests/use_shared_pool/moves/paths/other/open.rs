pub async fn open() -> sqlx::Result<sqlx::PgPool> {
    sqlx::PgPool::connect(&std::env::var("DATABASE_URL").unwrap()).await
}
