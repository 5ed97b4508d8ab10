//! The environment of the programs: a throwaway PostgreSQL with seed data, a delaying proxy, and the execution
//! environments.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use local::lambda::{Function, Lambda, Options};
use local::postgres::{Cluster, Settings};
use local::proxy::Proxy;
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::subject::Subject;
use crate::checkout::Checkout;

/// The programs' role: an ordinary one, as in production.
pub(super) const ROLE: &str = "bench";

/// The proxy's delay in each direction.
pub(super) const DELAY: Duration = Duration::from_millis(1);

/// Concurrent requests per environment, where several are measured.
pub(super) const CONCURRENCY: u32 = 16;

/// Enough that no program sees a full server.
const SLOTS: u16 = 300;

/// Long enough that no measurement ends by it.
const TIMEOUT: Duration = Duration::from_secs(26);

/// How a program reaches PostgreSQL, and how many concurrent requests its environment serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Setup {
    /// Over loopback, without TLS.
    Near,
    /// Through the proxy, without TLS.
    Far,
    /// As `Near`, for environments that live for one invocation.
    Once,
    /// As `Far`, for environments that live for one invocation.
    OnceFar,
    /// Over loopback, with TLS and a verified certificate.
    Tls,
    /// As `Near`, with sixteen concurrent requests.
    Wide,
}

impl Setup {
    pub(super) const ALL: [Self; 6] = [Self::Near, Self::Far, Self::Once, Self::OnceFar, Self::Tls, Self::Wide];
}

/// The operation of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    /// `GET /api/meetings/{id}`.
    Read,
    /// `POST /api/meetings`.
    Write,
}

/// Everything that runs for the measurement. Dropping it stops all of it.
pub(super) struct Testbed {
    // Dropped first: nothing may use the server when it stops.
    pub(super) lambda: Arc<Lambda>,
    _proxy: Proxy,
    _cluster: Cluster,
    pub(super) read: Value,
    pub(super) write: Value,
}

impl Testbed {
    /// Starts the server, the proxy and the service, but no environment yet.
    ///
    /// # Errors
    /// Fails if one of them cannot be started, and names it.
    pub(super) async fn start(checkout: &Checkout, subjects: &[Subject]) -> Result<Self> {
        let settings = Settings {
            max_connections: SLOTS,
            tls: true,
            ..Settings::default()
        };
        let cluster = Cluster::throwaway(settings).await?;
        let password = prepare(&cluster).await?;
        let server = SocketAddr::from((Ipv4Addr::LOCALHOST, cluster.port()));
        let proxy = Proxy::start(server).await?;
        proxy.set_delay(DELAY, Duration::ZERO);
        let authority = cluster.authority().context("the cluster has no certificate")?;
        let plain = |port: u16| format!("postgres://{ROLE}:{password}@127.0.0.1:{port}/seer?sslmode=disable");
        let (near, far) = (plain(cluster.port()), plain(proxy.address().port()));
        let verified = format!("sslmode=verify-full&sslrootcert={}", authority.display());
        let tls = near.replace("sslmode=disable", &verified);
        let url = |setup| match setup {
            Setup::Near | Setup::Once | Setup::Wide => &near,
            Setup::Far | Setup::OnceFar => &far,
            Setup::Tls => &tls,
        };
        let mut functions = Vec::new();
        for subject in subjects {
            let programs = [
                (Operation::Read, Some(&subject.read)),
                (Operation::Write, subject.write.as_ref()),
            ];
            for (operation, program) in programs {
                for setup in Setup::ALL {
                    let Some(program) = program else { continue };
                    let mut function = Function::new(name(subject, operation, setup), program);
                    function.env = vec![
                        ("DATABASE_URL".to_owned(), url(setup).clone()),
                        ("PATH".to_owned(), subject.path.clone()),
                    ];
                    function.timeout = TIMEOUT;
                    if setup == Setup::Wide {
                        function.max_concurrency = CONCURRENCY;
                        function.reserved_concurrency = Some(1);
                    }
                    functions.push(function);
                }
            }
        }
        Ok(Self {
            lambda: Arc::new(Lambda::start(functions, Options::default())?),
            _proxy: proxy,
            _cluster: cluster,
            read: event(&checkout.root, "meetings-get")?,
            write: event(&checkout.root, "meetings-create")?,
        })
    }
}

/// Returns the name of a function of the service.
pub(super) fn name(subject: &Subject, operation: Operation, setup: Setup) -> String {
    format!("{}-{operation:?}-{setup:?}", subject.name)
}

fn event(root: &Path, name: &str) -> Result<Value> {
    let path = root.join(format!("tests/events/{name}.json"));
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("cannot read {}", path.display()))
}

/// Creates the schema, the seed data and the role in a new cluster. Returns the role's password.
pub(super) async fn prepare(cluster: &Cluster) -> Result<String> {
    let mut direct = connect(&cluster.url()).await?;
    shared::db::migrate::migrations(&functions::SERVICE)
        .run_direct(None, &mut direct, false)
        .await
        .context("the migrations do not apply")?;
    sqlx::raw_sql(include_str!("../seed.sql")).execute(&mut direct).await?;
    // The password is valid only on this machine and for this run.
    let password = cluster.password().to_owned();
    let role = format!(
        "CREATE ROLE {ROLE} LOGIN PASSWORD '{password}'; \
         GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {ROLE}"
    );
    sqlx::raw_sql(AssertSqlSafe(role)).execute(&mut direct).await?;
    // Statistics of the seed data, so that plans do not change during a run.
    sqlx::raw_sql("VACUUM ANALYZE").execute(&mut direct).await?;
    direct.close().await?;
    Ok(password)
}

/// A plain connection, separate from everything that is measured.
#[expect(
    clippy::disallowed_methods,
    reason = "separate from the functions and their pool, to a cluster of this process"
)]
pub(super) async fn connect(url: &str) -> Result<PgConnection> {
    PgConnection::connect(url).await.context("cannot reach the cluster")
}
