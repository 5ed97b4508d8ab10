use sqlx::PgPool;

#[derive(Debug, thiserror::Error)]
enum StoreError {
    #[error("cannot connect: {0}")]
    Connect(sqlx::Error),
    #[error("cannot query: {0}")]
    Query(#[from] sqlx::Error),
}

struct Store {
    pool: PgPool,
}

impl Store {
    async fn open(url: &str) -> Result<Self, StoreError> {
        let pool = PgPool::connect(url).await.map_err(StoreError::Connect)?;
        Ok(Self { pool })
    }

    async fn pool_of(url: &str) -> Result<PgPool, StoreError> {
        let opened = PgPool::connect(url).await.map_err(StoreError::Connect);
        opened.inspect_err(|error| eprintln!("{error}"))
    }
}

#[tokio::main]
async fn main() -> Result<(), StoreError> {
    let url = std::env::var("DATABASE_URL").unwrap();
    let store = Store::open(&url).await?;
    sqlx::query("SELECT 1").execute(&store.pool).await?;
    sqlx::query("SELECT 1").execute(&Store::pool_of(&url).await?).await?;
    Ok(())
}
