use sqlx::PgPool;

pub async fn count(pool: &PgPool) -> sqlx::Result<i64> {
    sqlx::query_scalar("SELECT count(*) FROM users").fetch_one(pool).await
}

fn main() {
    println!("nothing to run");
}

#[cfg(test)]
mod tests {
    use super::*;
    use sqlx::postgres::PgPoolOptions;

    async fn pool() -> PgPool {
        PgPoolOptions::new().max_connections(1).connect(&std::env::var("DATABASE_URL").unwrap()).await.unwrap()
    }

    #[tokio::test]
    async fn counts() {
        assert!(count(&pool().await).await.unwrap() >= 0);
        assert_eq!(sqlx::query_scalar::<_, i32>("SELECT 1").fetch_one(&pool().await).await.unwrap(), 1);
    }
}
