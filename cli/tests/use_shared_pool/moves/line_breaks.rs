//! The call is spread over lines, with comments within.

use sqlx::PgPool;

#[tokio::main]
async fn main() {
    let pool = PgPool
        ::connect(
            // from the deployment (goes)
            &std::env::var("DATABASE_URL")
                .expect("DATABASE_URL must be set"),
        )
        .await // waits for the first connection (goes)
        .expect("the database is up");

    let names: Vec<(String,)> = sqlx::query_as("SELECT name FROM users") // all of them
        .fetch_all(
            &pool,
        )
        .await
        .unwrap();
    for (name,) in names {
        println!("{name}"); // one a line
    }
}
