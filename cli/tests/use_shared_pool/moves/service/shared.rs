//! A module that is called as the crate is.

pub struct Settings {
    pub database_url: String,
    pub max_connections: u32,
}

impl Settings {
    pub fn read() -> anyhow::Result<Self> {
        Ok(Self {
            database_url: std::env::var("DATABASE_URL")?,
            max_connections: 5,
        })
    }
}
