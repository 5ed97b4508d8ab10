//! A maintenance script with one connection.

use sqlx::{Connection, PgConnection, Row};

async fn tables(conn: &mut PgConnection) -> Result<Vec<String>, sqlx::Error> {
    let rows = sqlx::query("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetch_all(conn).await?;
    Ok(rows.iter().map(|row| row.get("tablename")).collect())
}

#[tokio::main]
async fn main() -> Result<(), sqlx::Error> {
    let url = std::env::var("DATABASE_URL").unwrap();
    let mut conn = PgConnection::connect(&url).await?;
    sqlx::query("SET work_mem = '64MB'").execute(&mut conn).await?;
    for table in tables(&mut conn).await? {
        println!("{table}");
    }
    conn.close().await?;
    Ok(())
}
