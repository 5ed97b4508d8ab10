use sqlx::postgres::PgPool;

pub async fn name(pool: &PgPool) -> sqlx::Result<String> {
    sqlx::query_scalar("SELECT current_database()::text").fetch_one(pool).await
}
