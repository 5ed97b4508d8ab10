//! The surroundings of a scenario: a primary, a standby if required, a proxy in front, and the fleet.
//!
//! The functions log in as an ordinary role, as in production, so that they cannot use the superuser's reserved slots.
//! Queries from here bypass the proxy, as the superuser. Invariants: knows no faults.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tokio::time::{Instant, sleep};

use super::surroundings::Surroundings;
use crate::function::AnyFunction;
use crate::migrations::migrations;
use crate::operations::FUNCTIONS;
use local::gateway::Routes;
use local::lambda::{Function, Lambda, Options};
use local::postgres::{Cluster, Pooler, Replication, Settings};
use local::proxy::{Admission, Blackhole, Proxy};

/// The functions' role.
pub(super) const ROLE: &str = "fleet";

/// Signs the recording service's deliveries.
pub(super) const WEBHOOK_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// The number of a pooler's connections to the server.
const POOL: u16 = 20;

/// The privileges of the functions' role.
const GRANTS: &str = "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO fleet";

/// Privileges for any other function, whose needs are not known.
const ALL_GRANTS: &str = "GRANT ALL ON SCHEMA public TO fleet;GRANT ALL ON ALL TABLES IN SCHEMA public TO fleet;\
                          GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO fleet;\
                          GRANT EXECUTE ON ALL ROUTINES IN SCHEMA public TO fleet";

/// The name by which the functions reach the proxy, if names can be made unresolvable.
pub(super) const NAME: &str = "database.seer.test";

/// The proxy's address if the name's first address is dead. It must not be the first one that a resolver returns.
const SECOND_ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// A scenario's requirements.
#[derive(Clone, Debug)]
pub struct Setup {
    /// `max_connections`, including the superuser's three.
    pub slots: u16,
    /// A streaming synchronous standby.
    pub standby: bool,
    /// A transaction pooler between the proxy and the server.
    pub pooler: bool,
    /// Whether the pooler keeps prepared statements, and the functions rely on it.
    pub keeps_statements: bool,
    /// The name by which the functions reach the database, if it can be made unresolvable.
    pub name: Option<&'static str>,
    /// Whether the name has two addresses, and nothing answers at the first.
    pub dead_address: bool,
    /// Whether the functions also know the standby's address, which always leads there.
    pub two_hosts: bool,
    /// Further parameters of `DATABASE_URL`, as `&name=value`.
    pub parameters: &'static str,
    /// The treatment of new connections from the start of the load.
    pub admission: Admission,
    /// Whether the functions' wall clock can be moved.
    pub moved_clock: bool,
    /// Concurrent requests per environment.
    pub concurrency: u32,
    /// Whether environments are restored from a snapshot.
    pub snap_start: bool,
    /// The functions' timeout.
    pub timeout: Duration,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            slots: 103,
            standby: false,
            pooler: false,
            keeps_statements: false,
            name: None,
            dead_address: false,
            two_hosts: false,
            parameters: "",
            admission: Admission::Open,
            moved_clock: false,
            concurrency: 1,
            snap_start: false,
            // The same as in `template.yaml`.
            timeout: Duration::from_secs(26),
        }
    }
}

/// The functions under test.
#[derive(Clone, Debug)]
pub enum Artifacts {
    /// The product's functions.
    Product {
        /// The workspace: its manifest has the routes, `functions/migrations` and `shared/migrations` the schema.
        root: PathBuf,
        /// The folder of the functions' binaries.
        binaries: PathBuf,
    },
    /// Any other function.
    Function(AnyFunction),
}

/// One scenario's surroundings. Dropping it stops everything in it.
pub(super) struct Testbed {
    // Dropped first, because it uses the fields below.
    pub(super) lambda: Lambda,
    pub(super) proxy: Proxy,
    /// In front of the standby, if the functions know of it.
    _second: Option<Proxy>,
    _dead: Option<Blackhole>,
    pub(super) surroundings: Option<Surroundings>,
    pooler: Option<Pooler>,
    pub(super) primary: Cluster,
    standby: Option<Cluster>,
    promoted: AtomicBool,
    /// Until when a standby that is behind may answer a read; never if `None`.
    stale: Mutex<Option<Instant>>,
    /// The product's; any other function has none.
    pub(super) routes: Option<Routes>,
}

impl Testbed {
    /// Creates everything.
    ///
    /// # Errors
    /// Fails if something could not be started. [`super::catalogue`] checks beforehand whether this machine meets the
    /// [`Setup`]'s requirements.
    pub(super) async fn create(setup: &Setup, artifacts: &Artifacts) -> Result<Arc<Self>> {
        let settings = Settings {
            max_connections: setup.slots,
            ..Settings::default()
        };
        let primary = Cluster::throwaway(settings).await?;
        let password = uuid::Uuid::new_v4().simple().to_string();
        prepare(&primary, artifacts, &password).await?;
        let standby = match setup.standby {
            true => Some(primary.standby("fleet_standby", Replication::Synchronous).await?),
            false => None,
        };
        let server = local(primary.port());
        let pooler = match (setup.pooler, setup.keeps_statements) {
            (true, true) => Some(Pooler::start_with_prepared_statements(&primary, ROLE, &password, POOL).await?),
            (true, false) => Some(Pooler::start(&primary, ROLE, &password, POOL).await?),
            (false, _) => None,
        };
        let addresses = match setup.dead_address {
            true => vec![Ipv4Addr::LOCALHOST, SECOND_ADDRESS],
            false => vec![Ipv4Addr::LOCALHOST],
        };
        let own = *addresses.last().context("an address")?;
        let proxy = Proxy::start_at(own, pooler.as_ref().map_or(server, Pooler::address)).await?;
        let port = proxy.address().port();
        let dead = match setup.dead_address {
            true => Some(Blackhole::at((Ipv4Addr::LOCALHOST, port).into())?),
            false => None,
        };
        let second = match standby.as_ref().filter(|_| setup.two_hosts) {
            Some(standby) => Some(Proxy::start(local(standby.port())).await?),
            None => None,
        };
        let surroundings = match setup.name.is_some() || setup.moved_clock {
            true => Some(Surroundings::new(setup.name, addresses, setup.moved_clock)?),
            false => None,
        };

        let mut hosts = format!("{}:{port}", setup.name.unwrap_or("127.0.0.1"));
        if let Some(second) = &second {
            hosts.push_str(&format!(",{}", second.address()));
        }
        // Without TLS, which would hide statements from the proxy.
        let mut url = format!("postgres://{ROLE}:{password}@{hosts}/seer?sslmode=disable");
        url.push_str(setup.parameters);
        if setup.pooler {
            url.push_str("&pgbouncer=true");
        }
        if setup.keeps_statements {
            url.push_str("&statement_cache_size=100");
        }
        let (routes, functions) = match artifacts {
            Artifacts::Product { root, binaries } => {
                let routes = Routes::from_manifest(&root.join("Cargo.toml"))?;
                let function = |name: &str| Function {
                    env: vec![("WEBHOOK_SECRET".to_owned(), WEBHOOK_SECRET.to_owned())],
                    timeout: setup.timeout,
                    ..Function::new(name, binaries.join(name))
                };
                let functions = FUNCTIONS.map(function).into();
                (Some(routes), functions)
            }
            Artifacts::Function(function) => (None, vec![function.configured()]),
        };
        let staged = |mut function: Function| {
            function.env.push(("DATABASE_URL".to_owned(), url.clone()));
            function.max_concurrency = setup.concurrency;
            function.snap_start = setup.snap_start;
            match &surroundings {
                Some(surroundings) => surroundings.around(function),
                None => Ok(function),
            }
        };
        let functions = functions.into_iter().map(staged).collect::<Result<Vec<_>>>()?;
        let lambda = Lambda::start(functions, Options::default())?;
        Ok(Arc::new(Self {
            lambda,
            proxy,
            _second: second,
            _dead: dead,
            surroundings,
            pooler,
            primary,
            standby,
            promoted: AtomicBool::new(false),
            stale: Mutex::default(),
            routes,
        }))
    }

    /// Returns whether the functions are the product's, which keep their connections.
    pub(super) fn is_product(&self) -> bool {
        self.routes.is_some()
    }

    /// Returns the tables that the functions use.
    pub(super) async fn tables(&self) -> Result<Vec<String>> {
        let sql = "SELECT quote_ident(tablename) FROM pg_tables \
                   WHERE schemaname = 'public' AND tablename <> '_sqlx_migrations' ORDER BY 1";
        let mut direct = self.direct().await?;
        let tables = sqlx::query_scalar(sql).fetch_all(&mut direct).await?;
        direct.close().await?;
        Ok(tables)
    }

    /// Returns whether sessions belong to a pooler, which keeps them.
    pub(super) fn has_pooler(&self) -> bool {
        self.pooler.is_some()
    }

    /// Returns the names of the functions in service.
    pub(super) fn functions(&self) -> Vec<String> {
        self.lambda.functions().map(|function| function.name.clone()).collect()
    }

    /// Returns the cluster that accepts writes.
    pub(super) fn server(&self) -> &Cluster {
        match &self.standby {
            Some(standby) if self.promoted.load(Ordering::SeqCst) => standby,
            Some(_) | None => &self.primary,
        }
    }

    /// Returns the standby.
    ///
    /// # Errors
    /// Fails if the setup has none.
    pub(super) fn standby(&self) -> Result<&Cluster> {
        self.standby.as_ref().context("the testbed has no standby")
    }

    /// Promotes the standby. New connections reach it if `name_is_told`, as after a change of a DNS record.
    pub(super) async fn promote(&self, name_is_told: bool) -> Result<()> {
        let standby = self.standby()?;
        standby.promote().await?;
        self.promoted.store(true, Ordering::SeqCst);
        if name_is_told {
            self.lead_to(standby);
        }
        Ok(())
    }

    /// Sends new connections to this cluster.
    pub(super) fn lead_to(&self, cluster: &Cluster) {
        self.proxy.redirect(local(cluster.port()));
    }

    /// From now on, and for this long, a standby that is behind may answer reads.
    pub(super) fn allow_stale_reads(&self, lasting: Duration) {
        *self.stale.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + lasting);
    }

    /// Returns whether the answer to a read that is sent now may be outdated.
    pub(super) fn may_be_stale(&self) -> bool {
        let until = *self.stale.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| Instant::now() < until)
    }

    /// Opens a superuser's session that bypasses the proxy.
    pub(super) async fn direct(&self) -> Result<PgConnection> {
        connect(self.server()).await
    }

    /// Runs SQL as the superuser.
    pub(super) async fn sql(&self, sql: &str) -> Result<()> {
        let mut direct = self.direct().await?;
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
            .execute(&mut direct)
            .await?;
        Ok(direct.close().await?)
    }

    /// Returns the one number of a query's result.
    pub(super) async fn number(&self, sql: &str) -> Result<i64> {
        let mut direct = self.direct().await?;
        let number = sqlx::query_scalar(AssertSqlSafe(sql.to_owned()))
            .fetch_one(&mut direct)
            .await?;
        direct.close().await?;
        Ok(number)
    }

    /// Waits until a query returns at most `most`; returns how long that took.
    ///
    /// # Errors
    /// Fails after `bound` with the number that it still returns.
    pub(super) async fn falls_to(&self, most: i64, sql: &str, bound: Duration) -> Result<Duration> {
        let since = Instant::now();
        loop {
            let number = self.number(sql).await?;
            if number <= most {
                return Ok(since.elapsed());
            }
            ensure!(since.elapsed() < bound, "still {number} after {} s", bound.as_secs());
            sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Creates the role, and the schema with the role's privileges.
async fn prepare(cluster: &Cluster, artifacts: &Artifacts, password: &str) -> Result<()> {
    let mut direct = connect(cluster).await?;
    let role = format!("CREATE ROLE {ROLE} LOGIN PASSWORD '{password}'");
    sqlx::raw_sql(AssertSqlSafe(role)).execute(&mut direct).await?;
    let grants = match artifacts {
        Artifacts::Product { root, .. } => {
            let migrations = migrations(root).await?;
            let applied = migrations.run_direct(None, &mut direct, false).await;
            applied.context("the migrations do not apply")?;
            GRANTS
        }
        Artifacts::Function(function) => {
            let schema = AssertSqlSafe(function.schema.clone());
            let applied = sqlx::raw_sql(schema).execute(&mut direct).await;
            applied.context("the schema does not apply")?;
            ALL_GRANTS
        }
    };
    sqlx::raw_sql(grants).execute(&mut direct).await?;
    Ok(direct.close().await?)
}

#[expect(
    clippy::disallowed_methods,
    reason = "past the functions and their pool, to a cluster of this process"
)]
async fn connect(cluster: &Cluster) -> Result<PgConnection> {
    PgConnection::connect(&cluster.url())
        .await
        .context("cannot reach the cluster")
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}
