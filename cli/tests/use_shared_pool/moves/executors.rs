//! Functions over any executor stay as they are; rows are streamed.

use futures_util::TryStreamExt;
use sqlx::{Executor, PgExecutor, PgPool, Postgres};

async fn count<'e>(executor: impl PgExecutor<'e>) -> sqlx::Result<i64> {
    sqlx::query_scalar("SELECT count(*) FROM users").fetch_one(executor).await
}

async fn touch<'e, E>(executor: E) -> sqlx::Result<()>
where
    E: Executor<'e, Database = Postgres>,
{
    sqlx::query("UPDATE users SET updated_at = now()").execute(executor).await?;
    Ok(())
}

#[tokio::main]
async fn main() -> sqlx::Result<()> {
    let pool = PgPool::connect(&std::env::var("DATABASE_URL").unwrap()).await?;
    println!("{}", count(&pool).await?);
    let mut tx = pool.begin().await?;
    touch(&mut *tx).await?;
    tx.commit().await?;
    let mut names = sqlx::query_scalar::<_, String>("SELECT name FROM users").fetch(&pool);
    while let Some(name) = names.try_next().await? {
        println!("{name}");
    }
    Ok(())
}
