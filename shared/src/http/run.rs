//! `main` of every function: INIT, the event loop, snapshots.
//!
//! INIT reads the configuration and opens the first connection within a budget; it continues if that fails, so that a
//! function always reaches its event loop and answers. A handler's error, panic or timeout becomes a response here,
//! never a function error, which the gateway would turn into a bare 500.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::FutureExt as _;
use lambda_http::aws_lambda_events::apigw::ApiGatewayV2httpRequest;
use lambda_http::{BoxFuture, LambdaEvent, SnapStartResource, service_fn};
use lambda_runtime::tower::layer::layer_fn;
use lambda_runtime::{LambdaInvocation, Runtime};
use serde::Serialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use tokio::time::timeout;
use tracing::Level;

use super::event::{Incoming, PLACEHOLDER};
use super::function::{Function, UnderWay, close_on_sigterm};
use super::line::{self, Scheduled, Sender};
use super::problem::Error;
use super::request::Request;
use super::response::{Event, Response};
use crate::config::Config;
use crate::db::Deadline;
use crate::db::Opened;
use crate::service::Service;
use crate::telemetry::{self, Invocation};

impl Service {
    /// Runs a function that serves one route, for example `"GET /orders/{id}"`, until Lambda ends the environment. INIT
    /// handles `example`, an event of the route, for a caller that does not exist, so that the first real request finds
    /// its statement prepared and planned.
    pub fn run<H, F>(&'static self, route: &'static str, example: &'static str, handle: H) -> ExitCode
    where
        H: Fn(Request) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<Response, Error>> + Send + 'static,
    {
        let scheduled = |_, _| async {
            let advice =
                "This function serves HTTP requests only: send it an event of API Gateway's payload format 2.0.";
            Err(Error::Malformed(advice.to_owned()))
        };
        start(self, route, Some(example), handle, scheduled)
    }

    /// Runs a function that a schedule invokes too: any event that is not an HTTP request goes to `scheduled`; see
    /// [`run`](Self::run). INIT opens no connection, because such a function uses a fresh one each time.
    pub(crate) fn run_with_schedule<H, F, S, G>(&'static self, route: &'static str, handle: H, scheduled: S) -> ExitCode
    where
        H: Fn(Request) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<Response, Error>> + Send + 'static,
        S: Fn(&'static Function, Deadline) -> G + Clone + Send + Sync + 'static,
        G: Future<Output = Result<Scheduled, Error>> + Send + 'static,
    {
        start(self, route, None, handle, scheduled)
    }
}

fn start<H, F, S, G>(
    service: &'static Service,
    route: &'static str,
    example: Option<&'static str>,
    handle: H,
    scheduled: S,
) -> ExitCode
where
    H: Fn(Request) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<Response, Error>> + Send + 'static,
    S: Fn(&'static Function, Deadline) -> G + Clone + Send + Sync + 'static,
    G: Future<Output = Result<Scheduled, Error>> + Send + 'static,
{
    let config = Config::from_env();
    let level = *config.log_level.as_ref().unwrap_or(&Level::INFO);
    telemetry::init(level, service.name, &config.lambda.function_name);
    if let Err(error) = &config.log_level {
        tracing::warn!("configuration: {error}");
    }
    if let Err(error) = &config.caller_share {
        tracing::warn!("configuration: {error}");
    }
    let many = config.lambda.max_concurrency > 1;
    // One environment is one process, so its state is never freed before the process ends.
    let function: &'static Function = Box::leak(Box::new(Function::new(service, config, example)));
    let mut builder = if many {
        tokio::runtime::Builder::new_multi_thread()
    } else {
        tokio::runtime::Builder::new_current_thread()
    };
    let runtime = match builder.enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!("the async runtime did not start: {error}");
            return ExitCode::FAILURE;
        }
    };
    runtime.block_on(serve(function, route, handle, scheduled))
}

async fn serve<H, F, S, G>(function: &'static Function, route: &'static str, handle: H, scheduled: S) -> ExitCode
where
    H: Fn(Request) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<Response, Error>> + Send + 'static,
    S: Fn(&'static Function, Deadline) -> G + Clone + Send + Sync + 'static,
    G: Future<Output = Result<Scheduled, Error>> + Send + 'static,
{
    tokio::join!(connect(function, route, &handle), close_on_sigterm(function));
    let connections = Arc::new(Connections {
        function,
        route,
        handle: handle.clone(),
    });
    let service = service_fn(move |event: LambdaEvent<IgnoredAny>| {
        let (handle, scheduled) = (handle.clone(), scheduled.clone());
        // On the heap, because the runtime's layers move the future, and the event with it.
        let answered = Box::pin(answer(function, route, event.context, handle, scheduled));
        async move { Ok::<Answer, lambda_runtime::Error>(answered.await) }
    });
    match Runtime::new(service)
        .layer(layer_fn(|service| Counted { service, function }))
        .register_snapstart_resource(connections)
        .run_concurrent()
        .await
    {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("the Lambda runtime ended: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Counts a function's running invocations. It wraps the runtime's own service, which sends the answer to Lambda.
#[derive(Clone)]
struct Counted<S> {
    service: S,
    function: &'static Function,
}

impl<S> lambda_runtime::Service<LambdaInvocation> for Counted<S>
where
    S: lambda_runtime::Service<LambdaInvocation>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, mut event: LambdaInvocation) -> Self::Future {
        let under_way = UnderWay::begin(&self.function.under_way);
        let body = std::mem::replace(&mut event.body, PLACEHOLDER.into());
        let answered = self.service.call(event);
        Box::pin(EVENT.scope(body, async move {
            let _under_way = under_way;
            answered.await
        }))
    }
}

tokio::task_local! {
    /// The bytes of the event that this invocation answers.
    static EVENT: Bytes;
}

/// Opens the first connection in INIT and handles the example event over it; logs one line with the outcome.
async fn connect<H, F>(function: &'static Function, route: &'static str, handle: &H)
where
    H: Fn(Request) -> F,
    F: Future<Output = Result<Response, Error>>,
{
    let pool = match (&function.pool, function.example) {
        (Ok(pool), Some(_)) => pool,
        (Ok(_), None) => return,
        (Err(error), _) => return tracing::error!("starting without a database: {error}"),
    };
    let init = Deadline::after(INIT_BUDGET);
    match pool.connect_during_init(init).await {
        Ok(Opened::Kept) => tracing::debug!("connected during INIT"),
        // The rehearsal would be its only use.
        Ok(Opened::ForOneUse) => return tracing::debug!("connected during INIT, near the server's capacity"),
        Err(error) => return tracing::warn!("starting without a database: {error}"),
    }
    let deadline = init.within(REHEARSAL);
    let rehearsal = function
        .example
        .and_then(|example| Request::rehearsal(example, deadline, function, route));
    if let Some(request) = rehearsal {
        // Its answer is that the caller does not exist.
        let _ = within(deadline, handle(request)).await;
    }
}

/// The answer to Lambda; the runtime serializes it to bytes.
#[derive(Serialize)]
#[serde(untagged)]
enum Answer {
    Http(Event),
    Report(Value),
}

/// Answers one event: always returns a value, even if the handler fails or panics.
async fn answer<H, F, S, G>(
    function: &'static Function,
    route: &'static str,
    context: lambda_runtime::Context,
    handle: H,
    scheduled: S,
) -> Answer
where
    H: Fn(Request) -> F,
    F: Future<Output = Result<Response, Error>>,
    S: Fn(&'static Function, Deadline) -> G,
    G: Future<Output = Result<Scheduled, Error>>,
{
    let since = Instant::now();
    let deadline = Deadline::of_invocation(context.deadline);
    let cold_start = function.cold.swap(false, Ordering::Relaxed);
    let request_id = context.request_id;
    let invocation = Invocation::new(request_id.clone(), context.xray_trace_id.as_deref(), cold_start);
    let work = async {
        let mut sender = Sender::default();
        let response = match EVENT.with(|event| Incoming::read(event)) {
            Incoming::Request(event) => {
                sender = Sender::of(&event);
                within(deadline, respond(function, route, event, &request_id, deadline, handle)).await
            }
            Incoming::Unreadable => {
                tracing::warn!("an event is shaped like a request, and is none of payload format 2.0");
                Err(Error::Malformed("The request could not be read.".to_owned()))
            }
            Incoming::Scheduled => match within(deadline, scheduled(function, deadline)).await {
                // It serves requests only.
                Err(error @ Error::Malformed(_)) => Err(error),
                outcome => {
                    let outcome = outcome.unwrap_or_else(|error| Scheduled::failed(error.failure()));
                    line::scheduled(since, &outcome);
                    return Answer::Report(outcome.report);
                }
            },
        };
        let response = response
            .unwrap_or_else(|error| error.into_response(function.service, &request_id))
            .limited(function.service, &request_id);
        line::answered(route, since, &sender, &response);
        let event = response
            .with_header("x-request-id", request_id.as_str())
            // What one person may see is in no cache, and JSON is never taken for a page.
            .with_header("cache-control", "no-store")
            .with_header("x-content-type-options", "nosniff")
            .into_event();
        Answer::Http(event)
    };
    invocation.run(work).await
}

async fn respond<H, F>(
    function: &'static Function,
    route: &'static str,
    event: Box<ApiGatewayV2httpRequest>,
    request_id: &str,
    deadline: Deadline,
    handle: H,
) -> Result<Response, Error>
where
    H: Fn(Request) -> F,
    F: Future<Output = Result<Response, Error>>,
{
    let method = route.split(' ').next().unwrap_or_default();
    if event.request_context.http.method.as_str() != method {
        return Err(Error::MethodNotAllowed(method));
    }
    // On the heap, because the wrappers of this future move it: a handler's is tens of kilobytes.
    let request = Request::new(event, request_id, deadline, function, route)?;
    let (Some(shares), Some(subject)) = (&function.shares, request.subject().map(str::to_owned)) else {
        return Box::pin(handle(request)).await;
    };
    let since = Instant::now();
    let admitted = shares.admit(&subject, request.body().len());
    admitted.map_err(Error::TooManyRequests)?;
    let answered = Box::pin(handle(request)).await;
    shares.charge(&subject, since.elapsed());
    answered
}

/// The limit for the first connection and the example event, within INIT's 10 s. With the function's timeout it stays
/// under the gateway's 30 s.
const INIT_BUDGET: Duration = Duration::from_secs(3);

/// The example event's part of it.
const REHEARSAL: Duration = Duration::from_secs(1);

/// The handler's timeout follows the database timeouts by this, because their errors are more informative.
const GRACE: Duration = Duration::from_millis(200);

/// Runs a handler. A panic is a defect of this program, and so is a late handler: both become an answer. The future is
/// dropped, with its connection.
async fn within<T>(deadline: Deadline, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let caught = AssertUnwindSafe(work).catch_unwind();
    match timeout(deadline.left() + GRACE, caught).await {
        Ok(Ok(result)) => result,
        Ok(Err(panic)) => Err(Error::Internal(format!("panicked: {}", message(&panic)))),
        Err(_) => Err(Error::Internal("the handler did not end by its deadline".to_owned())),
    }
}

fn message(panic: &Box<dyn Any + Send>) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("without a message")
}

/// Keeps connections out of a snapshot, because every restored environment would share them.
struct Connections<H> {
    function: &'static Function,
    route: &'static str,
    handle: H,
}

impl<H, F> SnapStartResource for Connections<H>
where
    H: Fn(Request) -> F + Send + Sync,
    F: Future<Output = Result<Response, Error>> + Send,
{
    fn before_snapshot(&self) -> BoxFuture<'_, Result<(), lambda_runtime::Error>> {
        Box::pin(async {
            if let Ok(pool) = &self.function.pool {
                pool.close_idle().await;
            }
            Ok(())
        })
    }

    fn after_restore(&self) -> BoxFuture<'_, Result<(), lambda_runtime::Error>> {
        Box::pin(async {
            connect(self.function, self.route, &self.handle).await;
            Ok(())
        })
    }
}
