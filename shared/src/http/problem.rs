//! Every error that a client can see, as RFC 9457 `application/problem+json`, and the only error status codes.
//!
//! Each error has two messages: the `detail` here helps the client and never contains database text, SQL, a URL or a
//! secret; the operator's is the [`Failure`] in the invocation's log line, with all details. `type` is stable: clients can
//! match on it.

use std::ops::RangeInclusive;
use std::time::Duration;

use http::StatusCode;
use serde::Serialize;

use crate::config::ConfigError;
use crate::db::{self, Kind, Phase};
use crate::service::Service;

/// A field of the request that violated a rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FieldError {
    /// The location: a JSON path, or the name of a parameter or a header.
    pub field: String,
    /// The expected value, and the type of the actual one.
    pub rule: String,
}

/// Why a request failed.
#[derive(Debug)]
pub enum Error {
    /// 400: the body or the event does not match its media type.
    Malformed(String),
    /// 401: no caller, or an invalid credential.
    Unauthorized(&'static str),
    /// 401: a valid token of an unregistered caller.
    UnknownCaller,
    /// 403: visible to the caller, who lacks the permission.
    Forbidden(&'static str),
    /// 404: absent, or invisible to the caller.
    NotFound(&'static str),
    /// 405: this function serves another method.
    MethodNotAllowed(&'static str),
    /// 409: the state of the resource does not allow it.
    Conflict(&'static str),
    /// 412: If-Match names another version.
    PreconditionFailed,
    /// 413: the body is larger than this many bytes.
    TooLarge(usize),
    /// 415: the body is not JSON by its Content-Type.
    UnsupportedMediaType,
    /// 415: the body is compressed.
    UnsupportedEncoding,
    /// 422: a rule is violated.
    Invalid(Vec<FieldError>),
    /// 422: the idempotency key was used for another request.
    KeyReused,
    /// 429: the caller has used its share of the environment, and may go on after this time.
    TooManyRequests(Duration),
    /// 501: what the request needs is not configured.
    NotConfigured(&'static str),
    /// The request was applied before, and this error prevents the caller from seeing the result now.
    Replayed(Box<Error>),
    /// 503, or 500 if this program is at fault: the database.
    Database(Box<db::Error>),
    /// 500: a variable is missing or wrong.
    Misconfigured(ConfigError),
    /// 500: a defect of this program.
    Internal(String),
}

/// The parts of an error's response.
pub(super) struct ProblemParts<'a> {
    pub(super) status: StatusCode,
    /// The last part of `type`; kebab-case, stable.
    pub(super) kind: &'static str,
    pub(super) title: &'static str,
    pub(super) detail: String,
    /// A header that the client needs; no error has two.
    pub(super) header: Option<(&'static str, String)>,
    /// The range of seconds after which a retry may succeed.
    pub(super) retry_after: Option<RangeInclusive<u32>>,
    pub(super) errors: Option<&'a [FieldError]>,
}

impl<'a> ProblemParts<'a> {
    fn new(status: StatusCode, kind: &'static str, title: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            kind,
            title,
            detail: detail.into(),
            header: None,
            retry_after: None,
            errors: None,
        }
    }

    /// A defect of this program.
    fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "Internal error",
            "Something went wrong on our side. The requestId helps us find it.",
        )
    }

    /// A defect of the configuration.
    fn misconfigured() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "misconfigured",
            "Misconfigured",
            "The service is not set up correctly; its operators have been told why.",
        )
    }

    fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.header = Some((name, value.into()));
        self
    }

    /// Sets after how many seconds a retry may succeed: a range, so that clients do not return all at once.
    fn retry_after(mut self, seconds: RangeInclusive<u32>) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// RFC 9110 §11.6.1: a 401 tells how to authenticate.
    fn challenge(self) -> Self {
        self.header("www-authenticate", "Bearer")
    }

    fn errors(mut self, errors: &'a [FieldError]) -> Self {
        self.errors = Some(errors);
        self
    }
}

impl Error {
    /// Returns 401 for a valid token of an unregistered caller.
    pub fn unknown_caller() -> Self {
        Self::UnknownCaller
    }

    /// Returns 401, with a sentence for the client.
    pub fn unauthorized(detail: &'static str) -> Self {
        Self::Unauthorized(detail)
    }

    /// Returns 403, with a sentence for the client.
    pub fn forbidden(detail: &'static str) -> Self {
        Self::Forbidden(detail)
    }

    /// Returns 404 for `what`: a word such as "order".
    pub fn not_found(what: &'static str) -> Self {
        Self::NotFound(what)
    }

    /// Returns 409, with a sentence for the client.
    pub fn conflict(detail: &'static str) -> Self {
        Self::Conflict(detail)
    }

    /// Returns 501, with a sentence for the client.
    pub fn not_configured(detail: &'static str) -> Self {
        Self::NotConfigured(detail)
    }

    /// Returns 412.
    pub fn precondition_failed() -> Self {
        Self::PreconditionFailed
    }

    /// Returns 422: `field` violated `rule`.
    pub fn field(field: impl Into<String>, rule: impl Into<String>) -> Self {
        let (field, rule) = (field.into(), rule.into());
        Self::Invalid(vec![FieldError { field, rule }])
    }

    pub(super) fn parts(&self, service: &Service) -> ProblemParts<'_> {
        use StatusCode as S;
        match self {
            Self::Malformed(detail) => ProblemParts::new(S::BAD_REQUEST, "malformed", "Malformed request", detail),
            Self::Unauthorized(detail) => {
                ProblemParts::new(S::UNAUTHORIZED, "unauthorized", "Not authenticated", *detail).challenge()
            }
            Self::UnknownCaller => ProblemParts::new(
                S::UNAUTHORIZED,
                "not-registered",
                "Not registered",
                service.unknown_caller,
            )
            .challenge(),
            Self::Forbidden(detail) => ProblemParts::new(S::FORBIDDEN, "forbidden", "Not allowed", *detail),
            Self::NotFound(what) => ProblemParts::new(
                S::NOT_FOUND,
                "not-found",
                "Not found",
                format!("There is no such {what}, or you may not see it."),
            ),
            Self::MethodNotAllowed(allow) => ProblemParts::new(
                S::METHOD_NOT_ALLOWED,
                "method-not-allowed",
                "Method not allowed",
                format!("Only {allow} is served here."),
            )
            .header("allow", *allow),
            Self::Conflict(detail) => ProblemParts::new(S::CONFLICT, "conflict", "Conflict", *detail),
            Self::PreconditionFailed => ProblemParts::new(
                S::PRECONDITION_FAILED,
                "precondition-failed",
                "Changed meanwhile",
                "It is not the version that If-Match names: read it again, then repeat the change.",
            ),
            Self::TooLarge(limit) => ProblemParts::new(
                S::PAYLOAD_TOO_LARGE,
                "too-large",
                "Body too large",
                format!("The body is larger than {limit} bytes, the most that is read here."),
            ),
            Self::UnsupportedMediaType => ProblemParts::new(
                S::UNSUPPORTED_MEDIA_TYPE,
                "unsupported-media-type",
                "Unsupported media type",
                "The body must be JSON: send Content-Type: application/json.",
            ),
            Self::UnsupportedEncoding => ProblemParts::new(
                S::UNSUPPORTED_MEDIA_TYPE,
                "unsupported-media-type",
                "Unsupported media type",
                "The body must not be compressed: send it without Content-Encoding.",
            )
            .header("accept-encoding", "identity"),
            Self::Invalid(errors) => {
                let named: Vec<_> = errors.iter().map(|e| format!("{}: {}", e.field, e.rule)).collect();
                ProblemParts::new(S::UNPROCESSABLE_ENTITY, "invalid", "Invalid input", named.join("; ")).errors(errors)
            }
            Self::KeyReused => ProblemParts::new(
                S::UNPROCESSABLE_ENTITY,
                "idempotency-key-reused",
                "Idempotency-Key reused",
                "This Idempotency-Key was used for a different request: make a new key for a new request.",
            ),
            Self::TooManyRequests(wait) => {
                let seconds = u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).saturating_add(1);
                ProblemParts::new(
                    S::TOO_MANY_REQUESTS,
                    "too-many-requests",
                    "Too many requests",
                    "Your requests use more than your share of the service, in time or in bytes. Nothing was changed; \
                     wait, then send fewer or smaller ones.",
                )
                .retry_after(seconds..=seconds)
            }
            Self::NotConfigured(detail) => {
                ProblemParts::new(S::NOT_IMPLEMENTED, "not-configured", "Not configured", *detail)
            }
            Self::Replayed(error) => error.parts(service),
            Self::Database(error) => database_parts(error),
            Self::Misconfigured(_) => ProblemParts::misconfigured(),
            Self::Internal(_) => ProblemParts::internal(),
        }
    }

    /// Returns the operator's part, for server errors only: a client's error needs nothing but its type.
    pub(crate) fn failure(&self) -> Option<Box<Failure>> {
        match self {
            Self::Database(error) => Some(Box::new(Failure::from(&**error))),
            Self::Replayed(error) => error.failure(),
            Self::Misconfigured(error) => Some(Box::new(Failure::of(format!("configuration: {error}")))),
            Self::Internal(cause) => Some(Box::new(Failure::of(format!("internal: {cause}")))),
            Self::Malformed(_)
            | Self::Unauthorized(_)
            | Self::UnknownCaller
            | Self::Forbidden(_)
            | Self::NotFound(_)
            | Self::MethodNotAllowed(_)
            | Self::Conflict(_)
            | Self::PreconditionFailed
            | Self::TooLarge(_)
            | Self::UnsupportedMediaType
            | Self::UnsupportedEncoding
            | Self::Invalid(_)
            | Self::KeyReused
            | Self::TooManyRequests(_)
            | Self::NotConfigured(_) => None,
        }
    }
}

/// Why the service failed, for the operator: never for a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) kind: Option<&'static str>,
    pub(crate) phase: Option<&'static str>,
    pub(crate) sqlstate: Option<String>,
    pub(crate) constraint: Option<String>,
    /// Everything in one line, with what to do.
    pub(crate) error: String,
}

impl Failure {
    fn of(error: String) -> Self {
        Self {
            kind: None,
            phase: None,
            sqlstate: None,
            constraint: None,
            error,
        }
    }
}

impl From<&db::Error> for Failure {
    fn from(error: &db::Error) -> Self {
        Self {
            kind: Some(error.kind.name()),
            phase: Some(error.phase.name()),
            sqlstate: error.sqlstate.clone(),
            constraint: error.constraint.clone(),
            ..Self::of(error.to_string())
        }
    }
}

/// `Retry-After` for temporary errors.
const SOON: RangeInclusive<u32> = 1..=2;

/// `Retry-After` if more requests are the cause.
const LATER: RangeInclusive<u32> = 1..=3;

fn database_parts(error: &db::Error) -> ProblemParts<'static> {
    use StatusCode as S;
    let unavailable = |detail: &'static str, seconds: RangeInclusive<u32>| {
        ProblemParts::new(
            S::SERVICE_UNAVAILABLE,
            "database-unavailable",
            "Database unavailable",
            detail,
        )
        .retry_after(seconds)
    };
    // Waiting resolves none of these, but an operator does, and the client need do nothing else.
    let unusable = || {
        unavailable(
            "The database cannot be used at the moment; its operators have been told why.",
            30..=40,
        )
    };
    match error.kind {
        Kind::Refused
        | Kind::Unresolvable
        | Kind::Unreachable
        | Kind::Lost
        | Kind::Starting
        | Kind::ReadOnly
        | Kind::SecretUnreachable => {
            unavailable("The database cannot be reached at the moment. Nothing was changed; try again shortly.", SOON)
        }
        Kind::Waking => unavailable("The database is waking up. Nothing was changed; try again shortly.", SOON),
        Kind::Throttled => unavailable(
            "The database takes no more connections at the moment. Nothing was changed; try again shortly.",
            LATER,
        ),
        Kind::Timeout if error.phase == Phase::Statement => {
            unavailable("The database took too long to answer. Nothing was changed; try again.", SOON)
        }
        Kind::Timeout if error.phase == Phase::Acquire => unavailable(
            "Too many requests wait for the database at the moment. Nothing was changed; try again shortly.",
            LATER,
        ),
        Kind::Timeout => unavailable("The database does not answer. Nothing was changed; try again shortly.", SOON),
        Kind::Saturated => unavailable("The database is at its limit. Nothing was changed; try again.", LATER),
        Kind::Conflict | Kind::LockTimeout => {
            unavailable("Others are changing the same data. Nothing was changed; try again.", SOON)
        }
        Kind::StalePlan => unavailable("The database is being upgraded. Nothing was changed; try again.", SOON),
        Kind::Tls | Kind::Auth | Kind::NoCredential | Kind::NoDatabase | Kind::Pooler | Kind::NotPostgresql => unusable(),
        Kind::Query if error.phase == Phase::Connect => unusable(),
        Kind::CommitUnknown => ProblemParts::new(
            S::SERVICE_UNAVAILABLE,
            "commit-unknown",
            "Outcome unknown",
            "The database was lost while saving, and it could not be found out whether the change was applied. \
             Repeating the request with the same Idempotency-Key is safe and tells; without a key, read before repeating.",
        )
        .retry_after(SOON),
        Kind::Config => ProblemParts::misconfigured(),
        Kind::Query => ProblemParts::internal(),
    }
}

impl From<db::Error> for Error {
    /// A character that the database's encoding does not have is the client's: only a database that is not UTF8 rejects
    /// one, and `migrate` and `doctor` refuse such a database.
    fn from(error: db::Error) -> Self {
        if error.sqlstate.as_deref() == Some("22P05") {
            return Self::field(
                "request",
                "has a character that the database cannot store, for example an emoji",
            );
        }
        Self::Database(Box::new(error))
    }
}

impl From<ConfigError> for Error {
    fn from(error: ConfigError) -> Self {
        Self::Misconfigured(error)
    }
}

impl From<Error> for db::Abort<Error> {
    fn from(error: Error) -> Self {
        Self::Rejected(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_jittered() {
        let header = |kind, id: &str| {
            let response = Error::from(db::Error::bare(kind, Phase::Connect)).into_response(&Service::new("notes"), id);
            let event = serde_json::to_value(response.into_event()).unwrap();
            event["headers"]["retry-after"].as_str().unwrap().to_owned()
        };
        for (kind, seconds) in [(Kind::Waking, vec!["1", "2"]), (Kind::Saturated, vec!["1", "2", "3"])] {
            let ids: Vec<_> = (0..100).map(|number| format!("request-{number}")).collect();
            let seen: std::collections::BTreeSet<_> = ids.iter().map(|id| header(kind, id)).collect();
            assert_eq!(seen.into_iter().collect::<Vec<_>>(), seconds, "{kind:?}");
            assert_eq!(header(kind, "one"), header(kind, "one"), "{kind:?}");
        }
    }

    #[test]
    fn untranslatable_character_is_the_clients() {
        let with = |code: &str| {
            let sqlstate = Some(code.to_owned());
            let error = db::Error::bare(Kind::Query, Phase::Statement);
            Error::from(db::Error { sqlstate, ..error })
                .parts(&Service::new("notes"))
                .status
        };
        assert_eq!(with("22P05"), StatusCode::UNPROCESSABLE_ENTITY);
        // A byte of the table that is no character, or of a type that does not fit: not the client's.
        for code in ["22021", "22P02", "22P03", "22001"] {
            assert_eq!(with(code), StatusCode::INTERNAL_SERVER_ERROR, "{code}");
        }
    }

    #[test]
    fn pool_wait_is_not_blamed_on_server() {
        let detail = |phase| {
            let error = Error::from(db::Error::bare(Kind::Timeout, phase));
            assert_eq!(
                error.parts(&Service::new("notes")).status,
                StatusCode::SERVICE_UNAVAILABLE
            );
            error.parts(&Service::new("notes")).detail
        };
        assert!(detail(Phase::Connect).contains("does not answer"));
        let busy = detail(Phase::Acquire);
        assert!(busy.contains("Too many requests") && !busy.contains("answer"), "{busy}");
    }
}
