//! Two pools of two databases.

use sqlx::PgPool;

struct Settings {
    primary_url: String,
    analytics_url: String,
}

async fn open(settings: &Settings) -> sqlx::Result<(PgPool, PgPool)> {
    let primary = PgPool::connect(&settings.primary_url).await?;
    let analytics = PgPool::connect(&settings.analytics_url).await?;
    Ok((primary, analytics))
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let url = std::env::var("DATABASE_URL")?;
    let settings = Settings {
        primary_url: url.clone(),
        analytics_url: url,
    };
    let (primary, analytics) = open(&settings).await?;
    sqlx::query("SELECT 1").execute(&primary).await?;
    sqlx::query("DELETE FROM events").execute(&analytics).await?;
    Ok(())
}
