//! Is given its pool: it opens none.

use sqlx::PgPool;

pub async fn count(pool: &PgPool) -> sqlx::Result<i64> {
    sqlx::query_scalar("SELECT count(*) FROM users").fetch_one(pool).await
}

fn main() {
    let _ = count;
}
