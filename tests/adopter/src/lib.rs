pub static SERVICE: shared::Service = shared::Service {
    migrations: Some(&MIGRATIONS),
    ..shared::Service::new("notes")
};

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!();
