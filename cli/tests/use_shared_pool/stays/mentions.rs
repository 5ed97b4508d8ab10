//! Opens nothing: `PgPool::connect` and `PgPoolOptions::new().connect(…)` are only spoken of.

/* let pool = PgPool::connect(&url).await?; */

/// As `sqlx::PgPool::connect` would.
fn main() {
    // PgConnection::connect(&url)
    let advice = "never call PgPool::connect(&url) or PgPoolOptions::new().connect_lazy(&url)";
    println!("{advice} {}", r#"static POOL: OnceCell<PgPool>"#);
}
