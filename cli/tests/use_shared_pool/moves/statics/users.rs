pub async fn count() -> sqlx::Result<i64> {
    let pool = crate::pool::POOL.get().expect("init was called");
    sqlx::query_scalar("SELECT count(*) FROM users").fetch_one(pool).await
}
