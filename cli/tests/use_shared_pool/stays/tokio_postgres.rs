use tokio_postgres::NoTls;

#[tokio::main]
async fn main() -> Result<(), tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(&std::env::var("DATABASE_URL").unwrap(), NoTls).await?;
    tokio::spawn(connection);
    let row = client.query_one("SELECT count(*) FROM users", &[]).await?;
    println!("{}", row.get::<_, i64>(0));
    Ok(())
}
