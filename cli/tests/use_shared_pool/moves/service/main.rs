//! A service of several modules, with a pool that goes through all of them.

mod db;
mod meetings;
mod shared;

use db::PgPool;

pub struct App {
    pub db: PgPool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let settings = shared::Settings::read()?;
    let app = App { db: db::connect(&settings).await? };
    println!("{}", meetings::list(&app).await?.len());
    meetings::archive::run(&app.db, db::STARTED.len()).await?;
    Ok(())
}
