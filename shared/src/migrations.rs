//! The function that migrates the schema: for a database that only functions can reach.
//!
//! Deploying invokes it; it serves no route and clients never invoke it. It connects once, as the owner of the tables,
//! and has no pool. Its answer, and its error, are for the operator: complete, and without secrets.

use std::process::ExitCode;

use lambda_runtime::{Error, LambdaEvent, Runtime, service_fn};
use serde::Serialize;
use serde_json::Value;
use tokio::time::timeout;
use tracing::Level;

use crate::config::Config;
use crate::db::Deadline;
use crate::db::migrate::migrate;
use crate::db::roles::{Granted, grant};
use crate::service::Service;
use crate::telemetry;

/// The result of an invocation.
#[derive(Debug, Serialize)]
struct Done {
    /// The migrations that it applied, in order; empty if the schema was up to date.
    applied: Vec<String>,
    /// The roles that `APPLICATION_ROLE` and `MONITORING_ROLE` name.
    roles: Vec<Granted>,
}

impl Service {
    /// Runs the function that migrates until Lambda ends the environment. The content of the event is ignored.
    pub fn run_migrations(&'static self) -> ExitCode {
        let config = Config::from_env();
        telemetry::init(
            *config.log_level.as_ref().unwrap_or(&Level::INFO),
            self.name,
            &config.lambda.function_name,
        );
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                tracing::error!("the async runtime did not start: {error}");
                return ExitCode::FAILURE;
            }
        };
        let config = &config;
        let invocations = service_fn(async |event: LambdaEvent<Value>| {
            let deadline = Deadline::of_invocation(event.context.deadline);
            let done = match timeout(deadline.left(), work(self, config)).await {
                Ok(done) => done,
                Err(_) => {
                    Err("the function's timeout came first: what was not committed is rolled back; run it again".into())
                }
            };
            if let Err(error) = &done {
                tracing::error!("cannot migrate: {error}");
            }
            done
        });
        match runtime.block_on(Runtime::new(invocations).run()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                tracing::error!("the Lambda runtime ended: {error}");
                ExitCode::FAILURE
            }
        }
    }
}

async fn work(service: &Service, config: &Config) -> Result<Done, Error> {
    let roles = config.roles.clone()?;
    let database = config.database.clone()?;
    let applied = migrate(&database.url, service).await?;
    let roles = grant(&database.url, service, &roles).await?;
    tracing::info!(applied = applied.len(), roles = roles.len(), "migrated");
    Ok(Done { applied, roles })
}
