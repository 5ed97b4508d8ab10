use std::sync::Arc;

use axum::extract::{FromRef, State};
use axum::routing::get;
use axum::{Extension, Router};
use sqlx::{PgPool, Postgres, Transaction};

#[derive(Clone)]
struct AppState {
    pool: PgPool,
    greeting: Arc<str>,
}

impl FromRef<AppState> for PgPool {
    fn from_ref(state: &AppState) -> Self {
        state.pool.clone()
    }
}

async fn count(State(pool): State<PgPool>) -> Result<String, String> {
    let n: i64 = sqlx::query_scalar("SELECT count(*) FROM users")
        .fetch_one(&pool)
        .await
        .map_err(|error| error.to_string())?;
    Ok(n.to_string())
}

async fn greet(State(AppState { pool, greeting }): State<AppState>) -> Result<String, String> {
    let mut tx = pool.begin().await.map_err(|error| error.to_string())?;
    let name = first(&mut tx).await.map_err(|error| error.to_string())?;
    tx.commit().await.map_err(|error| error.to_string())?;
    Ok(format!("{greeting} {name}"))
}

async fn first(tx: &mut Transaction<'_, Postgres>) -> sqlx::Result<String> {
    sqlx::query_scalar("SELECT name FROM users LIMIT 1").fetch_one(&mut **tx).await
}

async fn old(Extension(pool): Extension<PgPool>) -> &'static str {
    match sqlx::query("SELECT 1").execute(&pool).await {
        Ok(_) => "up",
        Err(_) => "down",
    }
}

#[tokio::main]
async fn main() {
    let url = std::env::var("DATABASE_URL").unwrap();
    let pool = PgPool::connect(&url).await.unwrap();
    let state = AppState { pool: pool.clone(), greeting: "hello".into() };
    let app: Router = Router::new()
        .route("/count", get(count))
        .route("/greet", get(greet))
        .route("/old", get(old))
        .layer(Extension(pool))
        .with_state(state);
    drop(app);
}
