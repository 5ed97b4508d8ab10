//! Modules that are elsewhere than their names say.

#[path = "other/open.rs"]
mod db;
mod inner {
    #[path = "count.rs"]
    pub mod counting;
}
#[cfg_attr(all(), path = "other/named.rs")]
mod platform;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let pool = db::open().await?;
    println!("{} {}", inner::counting::count(&pool).await?, platform::name(&pool).await?);
    Ok(())
}
