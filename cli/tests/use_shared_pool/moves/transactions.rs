use sqlx::postgres::PgPoolOptions;
use sqlx::{PgConnection, PgPool, PgTransaction, Postgres, Transaction};

struct UnitOfWork<'a> {
    tx: Transaction<'a, Postgres>,
}

impl<'a> UnitOfWork<'a> {
    async fn begin(pool: &'a PgPool) -> sqlx::Result<Self> {
        Ok(Self { tx: pool.begin().await? })
    }

    async fn finish(self) -> sqlx::Result<()> {
        self.tx.commit().await
    }
}

/// Takes part in whoever's transaction.
async fn touch(conn: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query("UPDATE users SET updated_at = now()").execute(&mut *conn).await?;
    sqlx::query("UPDATE meetings SET updated_at = now()").execute(conn).await?;
    Ok(())
}

async fn count(tx: &mut PgTransaction<'_>) -> sqlx::Result<i64> {
    sqlx::query_scalar("SELECT count(*) FROM users").fetch_one(&mut **tx).await
}

#[tokio::main]
async fn main() -> sqlx::Result<()> {
    let pool = PgPoolOptions::new().connect(&std::env::var("DATABASE_URL").unwrap()).await?;
    let mut work = UnitOfWork::begin(&pool).await?;
    touch(&mut work.tx).await?;
    work.finish().await?;

    let mut tx = pool.begin().await?;
    touch(&mut tx).await?;
    if count(&mut tx).await? == 0 {
        tx.rollback().await?;
        return Ok(());
    }
    touch(&mut *tx).await?;
    tx.commit().await
}
