use crate::db::PgPool;

pub async fn run(pool: &PgPool, days: usize) -> sqlx::Result<u64> {
    let done = sqlx::query("DELETE FROM meetings WHERE date < now() - make_interval(days => $1)")
        .bind(i32::try_from(days).unwrap_or(i32::MAX))
        .execute(pool)
        .await?;
    Ok(done.rows_affected())
}
