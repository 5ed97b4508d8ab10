//! The replacements for tokio-postgres calls that docs/USE_SHARED_POOL.md lists.

use shared::SharedPool;
use sqlx::Row as _;
#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let (a, b) = (1_i32, "x");
    let rows = sqlx::query("SELECT $1::int4 AS n, $2::text")
        .bind(a)
        .bind(b)
        .fetch_all(&SharedPool)
        .await?;
    for row in rows {
        println!("{}", row.get::<i32, _>("n"));
    }
    let _ = sqlx::query("SELECT 1").fetch_optional(&SharedPool).await?;
    let _: u64 = sqlx::query("SELECT 1").execute(&SharedPool).await?.rows_affected();
    sqlx::raw_sql("SELECT 1; SELECT 2").execute(&SharedPool).await?;
    let mut transaction = SharedPool.begin().await?;
    sqlx::query("SELECT 1").execute(&mut *transaction).await?;
    transaction.commit().await?;
    let table = "meetings";
    let error = sqlx::query(sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {table}")))
        .execute(&SharedPool)
        .await
        .unwrap_err();
    println!("{:?}", error.as_database_error().and_then(|said| said.code()));
    Ok(())
}
