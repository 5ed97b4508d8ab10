use sqlx::PgPool as Db;

struct Users {
    db: Db,
}

impl Users {
    async fn open(url: &str) -> Result<Self, sqlx::Error> {
        Ok(Self { db: Db::connect(url).await? })
    }

    async fn count(&self) -> Result<i64, sqlx::Error> {
        sqlx::query_scalar("SELECT count(*) FROM users").fetch_one(&self.db).await
    }
}

#[tokio::main]
async fn main() -> Result<(), sqlx::Error> {
    let users = Users::open(&std::env::var("DATABASE_URL").unwrap()).await?;
    println!("{}", users.count().await?);
    Ok(())
}
