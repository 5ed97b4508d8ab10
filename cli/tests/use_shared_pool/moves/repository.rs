use sqlx::postgres::PgQueryResult;
use sqlx::{Executor, PgPool};

trait Store {
    async fn count(&self) -> sqlx::Result<i64>;
}

impl Store for PgPool {
    async fn count(&self) -> sqlx::Result<i64> {
        sqlx::query_scalar("SELECT count(*) FROM users").fetch_one(self).await
    }
}

#[derive(Clone)]
struct Meetings(PgPool);

impl Meetings {
    fn new(pool: PgPool) -> Self {
        Self(pool)
    }

    async fn cancel(&self) -> sqlx::Result<PgQueryResult> {
        self.0.execute("UPDATE meetings SET status = 'cancelled' WHERE date < now()").await
    }
}

struct Tasks<'a> {
    pool: &'a PgPool,
}

impl<'a> Tasks<'a> {
    async fn open(&self) -> sqlx::Result<i64> {
        sqlx::query_scalar("SELECT count(*) FROM tasks").fetch_one(self.pool).await
    }
}

#[tokio::main]
async fn main() -> sqlx::Result<()> {
    let pool = PgPool::connect(&std::env::var("DATABASE_URL").unwrap()).await?;
    let meetings = Meetings::new(pool.clone());
    meetings.cancel().await?;
    println!("{} {}", pool.count().await?, Tasks { pool: &pool }.open().await?);
    Ok(())
}
