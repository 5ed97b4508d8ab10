use sqlx::{Pool, Postgres};
use tokio::sync::OnceCell;

static DB: OnceCell<Pool<Postgres>> = OnceCell::const_new();

async fn db() -> Result<&'static Pool<Postgres>, sqlx::Error> {
    DB.get_or_try_init(|| async { Pool::<Postgres>::connect(&std::env::var("DATABASE_URL").unwrap()).await }).await
}

async fn meetings() -> anyhow::Result<i64> {
    let db = DB.get_or_try_init(|| Pool::connect("postgres://localhost/seer")).await?;
    Ok(sqlx::query_scalar("SELECT count(*) FROM meetings").fetch_one(db).await?)
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    sqlx::query("SELECT 1").execute(db().await?).await?;
    println!("{}", meetings().await?);
    Ok(())
}
