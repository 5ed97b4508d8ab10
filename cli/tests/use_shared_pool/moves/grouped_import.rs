use sqlx::{
    FromRow, PgPool, QueryBuilder, Row,
    postgres::{PgPoolOptions, PgRow},
    types::Uuid,
};

#[derive(FromRow)]
struct Task {
    id: Uuid,
    text: String,
}

async fn tasks(pool: &PgPool, status: Option<&str>) -> sqlx::Result<Vec<Task>> {
    let mut query = QueryBuilder::new("SELECT id, text FROM tasks");
    if let Some(status) = status {
        query.push(" WHERE status = ").push_bind(status);
    }
    query.build_query_as().fetch_all(pool).await
}

#[tokio::main]
async fn main() -> sqlx::Result<()> {
    let pool = PgPoolOptions::new()
        .max_connections(10)
        .connect(&std::env::var("DATABASE_URL").unwrap())
        .await?;
    for task in tasks(&pool, Some("suggested")).await? {
        println!("{} {}", task.id, task.text);
    }
    let row: PgRow = sqlx::query("SELECT now()::text").fetch_one(&pool).await?;
    println!("{}", row.get::<String, _>(0));
    Ok(())
}
