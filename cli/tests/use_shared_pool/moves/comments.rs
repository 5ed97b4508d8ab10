//! A comment between any two words.
use sqlx::{postgres::{PgPool as P, PgPoolOptions}, Row as _};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let /* a */ pool /* b */ : /* c */ P /* d */ = /* e */ PgPoolOptions /* f */ :: /* g */ new /* h */ ( /* i */ )
        . /* j */ max_connections /* k */ ( /* l */ 3 /* m */ ) // as many as it got (goes)
        . /* n */ connect /* o */ ( /* p */ & std::env::var("DATABASE_URL")? /* q */ ) /* r */ . /* s */ await /* t */ ? /* u */ ; // the pool
    let row = sqlx::query("SELECT 1 -- Pool").fetch_one(/* v */ & /* w */ pool /* x */).await?; // a row
    println!("{}", row.get::<i32, _>(0));
    Ok(())
}
