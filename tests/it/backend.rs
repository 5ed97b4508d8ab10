//! The backend of one test: a separate database on a cluster that all tests share, and a Lambda service with every
//! function of the router.
//!
//! Databases are emptied and reused after a test, because creating one takes longer than most tests.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use local::gateway::Routes;
use local::lambda::{Environment, Function, Invocation, Lambda, Options, Payload};
use local::postgres::{Cluster, Settings};
use local::proxy::Proxy;
use shared::config::DatabaseUrl;
use shared::db::migrate::migrate;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};
use tokio::sync::{Mutex, OnceCell};

/// The functions' timeout in `template.yaml`.
pub const TIMEOUT: Duration = Duration::from_secs(26);

/// More than anything takes on a loaded machine, and reached only if something hangs.
pub const HANG_TIMEOUT: Duration = Duration::from_secs(60);

/// The secret with which the recording service signs in these tests.
pub const WEBHOOK_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// The API key that it sends with deliveries of its first version.
pub const API_KEY: &str = "5f0c1a7e9b3d4826a1c0e5d7f9b2846c";

/// The secret that it sends with callbacks.
pub const CALLBACK_SECRET: &str = "c5b0e1d2f3a4958677869504132435f6";

/// The secret with which the identity provider signs.
pub const CLERK_SECRET: &str = "whsec_Y2xlcmstY2xlcmstY2xlcmstY2xlcmsh";

/// The password in connection strings that lead nowhere.
pub const UNKNOWN_PASSWORD: &str = "nobody-knows";

/// The route table of the workspace manifest.
pub static ROUTES: LazyLock<Routes> = LazyLock::new(|| Routes::from_manifest(&workspace().join("Cargo.toml")).unwrap());

/// The tables that the functions work on.
const TABLES: [&str; 11] = [
    "users",
    "bots",
    "webhook_inbox",
    "invitations",
    "key_areas",
    "analyses",
    "meetings",
    "meeting_changes",
    "tasks",
    "receipts",
    "audit",
];

/// The stored rows as text, each with its table.
pub type Rows = BTreeSet<(String, String)>;

static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();
static FREE: std::sync::Mutex<Vec<String>> = std::sync::Mutex::new(Vec::new());
static MADE: AtomicU32 = AtomicU32::new(0);

/// The repository.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Where cargo put the functions' binaries.
pub fn binary(function: &str) -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_health")).with_file_name(function)
}

/// Returns every function of the router, with the variables it needs and no others.
pub fn functions(database_url: &str) -> Vec<Function> {
    let recorder = format!("{WEBHOOK_SECRET}, api-key:{API_KEY}, mb-secret:{CALLBACK_SECRET}");
    let env = [
        ("DATABASE_URL", database_url),
        ("WEBHOOK_SECRET", &recorder),
        ("CLERK_WEBHOOK_SECRET", CLERK_SECRET),
    ];
    let env = env.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let function = |name: &str| Function {
        env: env.to_vec(),
        timeout: TIMEOUT,
        ..Function::new(name, binary(name))
    };
    ROUTES.functions().into_iter().map(function).collect()
}

/// A session of the superuser.
pub async fn connect(url: &str) -> PgConnection {
    PgConnection::connect(url).await.unwrap()
}

/// Migrates a database.
pub async fn migrated(url: &str) {
    migrate(&DatabaseUrl::parse(url).unwrap(), &::functions::SERVICE)
        .await
        .unwrap();
}

/// A database for one test at a time.
struct Database {
    name: String,
    url: String,
    /// The test's own superuser session.
    session: Mutex<PgConnection>,
}

impl Database {
    async fn take() -> Self {
        let cluster = CLUSTER
            .get_or_init(async || {
                // Each of many concurrent tests has up to one environment, and so one session, per function.
                let settings = Settings {
                    max_connections: 500,
                    ..Settings::default()
                };
                Cluster::throwaway(settings).await.unwrap()
            })
            .await;
        let free = FREE.lock().unwrap().pop();
        let used = free.is_some();
        let name = free.unwrap_or_else(|| format!("it_{}", MADE.fetch_add(1, Ordering::Relaxed)));
        let url = cluster.url_of(&name);
        if !used {
            let mut session = connect(&cluster.url()).await;
            let create = format!("CREATE DATABASE {name}");
            sqlx::raw_sql(AssertSqlSafe(create))
                .execute(&mut session)
                .await
                .unwrap();
            migrated(&url).await;
        }
        let mut session = connect(&url).await;
        if used {
            // The environments of the previous test were killed; the server may not have noticed yet.
            let end = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity \
                       WHERE datname = current_database() AND pid <> pg_backend_pid()";
            sqlx::raw_sql(end).execute(&mut session).await.unwrap();
            let empty = format!("TRUNCATE {}", TABLES.join(", "));
            sqlx::raw_sql(AssertSqlSafe(empty)).execute(&mut session).await.unwrap();
        }
        Self {
            name,
            url,
            session: Mutex::new(session),
        }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // A failed test may have left more than rows.
        if std::thread::panicking() {
            return;
        }
        FREE.lock().unwrap().push(std::mem::take(&mut self.name));
    }
}

/// The backend of one test. Dropping it kills its environments.
pub struct Backend {
    // Dropped first, because nothing may use a database that another test takes.
    lambda: Lambda,
    database: Database,
}

impl Backend {
    /// Starts all functions, on an empty database.
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// Starts the backend with changes to every function's configuration; see [`Self::start`].
    pub async fn with(change: impl Fn(&mut Function)) -> Self {
        let database = Database::take().await;
        let functions = functions(&database.url).into_iter().map(|mut function| {
            change(&mut function);
            function
        });
        let lambda = Lambda::start(functions, Options::default()).unwrap();
        Self { lambda, database }
    }

    /// Starts the backend with all functions connecting to the database through a proxy; see [`Self::start`]. Without
    /// TLS, which would hide the traffic from the proxy.
    pub async fn behind_proxy() -> (Self, Proxy) {
        let database = Database::take().await;
        let cluster = SocketAddr::from(([127, 0, 0, 1], CLUSTER.get().unwrap().port()));
        let proxy = Proxy::start(cluster).await.unwrap();
        let url = format!("{}?sslmode=disable", proxy.url(&database.url));
        let lambda = Lambda::start(functions(&url), Options::default()).unwrap();
        (Self { lambda, database }, proxy)
    }

    /// The service.
    pub fn lambda(&self) -> &Lambda {
        &self.lambda
    }

    /// The database's URL, with the superuser in it.
    pub fn url(&self) -> &str {
        &self.database.url
    }

    /// Returns the live environments of a function.
    pub fn environments(&self, function: &str) -> Vec<Arc<Environment>> {
        self.lambda.environments(function)
    }

    /// Sends an event unchanged.
    pub async fn invoke(&self, function: &str, event: impl Into<Payload>) -> Invocation {
        invoke(&self.lambda, function, event).await
    }

    /// Runs SQL for the test.
    pub async fn execute(&self, sql: &str) {
        let mut session = self.database.session.lock().await;
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *session).await.unwrap();
    }

    /// Runs SQL that the server may refuse; returns whether it did not.
    pub async fn try_execute(&self, sql: &str) -> bool {
        let mut session = self.database.session.lock().await;
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *session).await.is_ok()
    }

    /// Returns the rows of a query with two columns of text.
    pub async fn pairs(&self, sql: &str) -> Vec<(String, String)> {
        let mut session = self.database.session.lock().await;
        let rows = sqlx::raw_sql(AssertSqlSafe(sql))
            .fetch_all(&mut *session)
            .await
            .unwrap();
        rows.iter().map(|row| (row.get(0), row.get(1))).collect()
    }

    /// Returns the one number of a query's result.
    pub async fn number(&self, sql: &str) -> i64 {
        let mut session = self.database.session.lock().await;
        let row = sqlx::raw_sql(AssertSqlSafe(sql))
            .fetch_one(&mut *session)
            .await
            .unwrap();
        row.get(0)
    }

    /// Returns the stored data: for each table the number of its rows and a digest of them.
    pub async fn stored(&self) -> BTreeMap<String, (i64, String)> {
        let digest = |table| {
            let rows = "string_agg(t::text, chr(10) ORDER BY t::text)";
            format!("SELECT '{table}', count(*), md5(coalesce({rows}, '')) FROM {table} t")
        };
        let sql = TABLES.map(digest).join(" UNION ALL ");
        let mut session = self.database.session.lock().await;
        let rows = sqlx::raw_sql(AssertSqlSafe(sql))
            .fetch_all(&mut *session)
            .await
            .unwrap();
        rows.iter().map(|row| (row.get(0), (row.get(1), row.get(2)))).collect()
    }

    /// Returns the stored rows.
    pub async fn rows(&self) -> Rows {
        let of_table = |table| format!("SELECT '{table}', t::text FROM {table} t");
        let sql = TABLES.map(of_table).join(" UNION ALL ");
        self.pairs(&sql).await.into_iter().collect()
    }

    /// Copies all rows, once in a test, for [`Self::restore`].
    pub async fn keep(&self) {
        let copies = TABLES.map(|table| format!("CREATE TEMPORARY TABLE kept_{table} AS TABLE {table};"));
        self.execute(&copies.concat()).await;
    }

    /// Returns the number of rows that differ from their copy, and have the same `updated_at`.
    pub async fn changed_without_time(&self) -> i64 {
        let of_table = |table| {
            format!(
                "SELECT count(*) FROM {table} t JOIN kept_{table} k USING (id) \
                 WHERE t.updated_at = k.updated_at AND t::text <> k::text"
            )
        };
        let counts = ["users", "invitations", "key_areas", "meetings", "tasks"].map(of_table);
        self.number(&format!("SELECT (({}))", counts.join(") + ("))).await
    }

    /// Replaces all rows by the copies.
    pub async fn restore(&self) {
        let copies = TABLES.map(|table| format!("INSERT INTO {table} OVERRIDING SYSTEM VALUE TABLE kept_{table};"));
        let (tables, copies) = (TABLES.join(", "), copies.concat());
        // Without triggers: the rows are as they were.
        let sql = format!("BEGIN; SET LOCAL session_replication_role = replica; TRUNCATE {tables}; {copies} COMMIT");
        self.execute(&sql).await;
    }
}

/// Waits until a condition holds.
pub async fn until(mut so: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !so().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(HANG_TIMEOUT, waiting)
        .await
        .expect("it never came about");
}

/// Invokes a function and checks its log, which must never contain a secret.
pub async fn invoke(lambda: &Lambda, function: &str, event: impl Into<Payload>) -> Invocation {
    let invocation = tokio::time::timeout(HANG_TIMEOUT, lambda.invoke(function, event))
        .await
        .expect("it hangs")
        .unwrap();
    if let Some(environment) = &invocation.environment {
        tells_no_secret(&environment.log());
    }
    invocation
}

/// Fails if a log line contains the cluster's password, a connection string or the webhooks' secret.
pub fn tells_no_secret(log: &[String]) {
    let password = CLUSTER.get().map(Cluster::password);
    let secrets = password.into_iter().chain([
        "postgres://seer",
        UNKNOWN_PASSWORD,
        WEBHOOK_SECRET.trim_start_matches("whsec_"),
        API_KEY,
        CALLBACK_SECRET,
        CLERK_SECRET.trim_start_matches("whsec_"),
    ]);
    for secret in secrets {
        assert!(
            !log.iter().any(|line| line.contains(secret)),
            "a secret was logged: {log:#?}"
        );
    }
}
