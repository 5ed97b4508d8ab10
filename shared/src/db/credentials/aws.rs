//! The two operations that need AWS's libraries: reading a secret, and signing a token for RDS.
//!
//! Each call reads the role's credentials again, because Lambda renews them in place: from the environment, or with
//! SnapStart from an address on this machine. A secret costs one request, over a connection that is closed afterwards,
//! because it would not survive a freeze. A token costs no request; it is signed here.
//!
//! Invariants: never waits or retries by itself, keeps no state between calls, and never repeats an answer of Secrets
//! Manager.

use std::time::{Duration, SystemTime};

use aws_config::ecs::EcsCredentialsProvider;
use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::meta::credentials::CredentialsProviderChain;
use aws_config::provider_config::ProviderConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials as _;
use aws_sdk_secretsmanager::config::retry::RetryConfig;
use aws_sdk_secretsmanager::config::timeout::TimeoutConfig;
use aws_sdk_secretsmanager::config::{
    BehaviorVersion, IdentityCache, Region, SharedHttpClient, StalledStreamProtectionConfig,
};
use aws_sdk_secretsmanager::error::{ProvideErrorMetadata as _, SdkError};
use aws_sdk_secretsmanager::operation::get_secret_value::GetSecretValueError;
use aws_sdk_secretsmanager::{Client, Config};
use aws_sigv4::http_request::{SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign};
use aws_sigv4::sign::v4;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{CredentialError, https};
use crate::config::SecretSource;
use crate::db::kind::Kind;

/// How long RDS accepts a token after signing: the maximum it allows.
const TOKEN_LIFE: Duration = Duration::from_secs(15 * 60);

/// The characters that a query does not encode (RFC 3986, unreserved).
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A version of a secret, by its current label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum VersionStage {
    /// AWSCURRENT. Requested by name: it is the default, but not in every implementation of this protocol.
    Current,
    /// AWSPENDING: the next password, while a rotation is under way.
    Pending,
}

/// Returns the role's credentials.
pub(super) async fn role() -> Result<Credentials, CredentialError> {
    let container = ProviderConfig::without_region().with_http_client(http_client()?);
    let chain = CredentialsProviderChain::first_try("Environment", EnvironmentVariableCredentialsProvider::new())
        .or_else(
            "Container",
            EcsCredentialsProvider::builder().configure(&container).build(),
        );
    chain.provide_credentials().await.map_err(|error| {
        CredentialError::new(
            Kind::NoCredential,
            format!("the function has no role's credentials: {}", chain_of(&error)),
        )
    })
}

/// Returns the content of a secret's version; `None` if no version is AWSPENDING.
pub(super) async fn secret(source: &SecretSource, version: VersionStage) -> Result<Option<String>, CredentialError> {
    let mut config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(source.region.clone()))
        .credentials_provider(role().await?)
        .identity_cache(IdentityCache::no_cache())
        .http_client(http_client()?)
        // Waiting and retrying are left to the caller.
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::disabled())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
    config.set_endpoint_url(source.endpoint.clone());
    let label = match version {
        VersionStage::Current => "AWSCURRENT",
        VersionStage::Pending => "AWSPENDING",
    };
    let asked = Client::from_conf(config.build())
        .get_secret_value()
        .secret_id(&source.arn)
        .version_stage(label);
    match asked.send().await {
        Ok(answer) => answer.secret_string.map(Some).ok_or_else(|| {
            CredentialError::new(
                Kind::NoCredential,
                format!("{} ({label}) must be text, not binary", source.arn),
            )
        }),
        Err(error) if version == VersionStage::Pending && is_absent(&error) => Ok(None),
        Err(error) => Err(CredentialError::new(
            kind_of(&error),
            format!("{} ({label}): {}", source.arn, message_of(&error)),
        )),
    }
}

type Refusal = SdkError<GetSecretValueError>;

fn is_absent(error: &Refusal) -> bool {
    error
        .as_service_error()
        .is_some_and(GetSecretValueError::is_resource_not_found_exception)
}

/// Classifies the failure as temporary or permanent.
fn kind_of(error: &Refusal) -> Kind {
    let Some(answer) = error.raw_response().map(|response| response.status().as_u16()) else {
        return Kind::SecretUnreachable;
    };
    let code = error.code().unwrap_or_default();
    let throttled = ["Throttl", "TooManyRequests", "LimitExceeded"];
    if answer >= 500 || answer == 429 || throttled.iter().any(|word| code.contains(word)) {
        Kind::SecretUnreachable
    } else {
        Kind::NoCredential
    }
}

/// Returns the error code and message of Secrets Manager, or why there was no answer. Never contains a secret.
fn message_of(error: &Refusal) -> String {
    match (error.code(), error.message()) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (Some(code), None) => code.to_owned(),
        (None, _) if error.raw_response().is_some() => "Secrets Manager's answer could not be understood".to_owned(),
        (None, _) => chain_of(error),
    }
}

/// Formats an error and its causes in one line.
fn chain_of(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |line, cause| format!("{line}: {cause}"))
}

fn http_client() -> Result<SharedHttpClient, CredentialError> {
    https::client().map_err(|error| CredentialError::new(Kind::NoCredential, chain_of(&error)))
}

/// Returns the password with which `user` logs in to the RDS database at `host` and `port` in `region`, for fifteen
/// minutes from `now`: the query of a signed request, without its scheme.
pub(super) fn token(
    host: &str,
    port: u16,
    user: &str,
    region: &str,
    role: Credentials,
    now: SystemTime,
) -> Result<String, CredentialError> {
    let failed = |error: &dyn std::error::Error| {
        CredentialError::new(
            Kind::NoCredential,
            format!("the token could not be signed: {}", chain_of(error)),
        )
    };
    let mut settings = SigningSettings::default();
    settings.signature_location = SignatureLocation::QueryParams;
    settings.expires_in = Some(TOKEN_LIFE);
    let identity = role.into();
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name("rds-db")
        .time(now)
        .settings(settings)
        .build()
        .map_err(|error| failed(&error))?
        .into();
    let user = utf8_percent_encode(user, ENCODED);
    let mut token = format!("{host}:{port}/?Action=connect&DBUser={user}");
    let url = format!("https://{token}");
    let request = SignableRequest::new("GET", &url, std::iter::empty(), SignableBody::Bytes(&[]))
        .map_err(|error| failed(&error))?;
    let (signed, _) = sign(request, &parameters).map_err(|error| failed(&error))?.into_parts();
    for (name, value) in signed.params() {
        token.push_str(&format!("&{name}={}", utf8_percent_encode(value, ENCODED)));
    }
    Ok(token)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    /// The order of the parameters is irrelevant: the server sorts them before it verifies the signature.
    fn parts(token: &str) -> BTreeSet<String> {
        token.split(['?', '&']).map(str::to_owned).collect()
    }

    #[test]
    fn tokens_match_botocore() {
        let cases: Vec<Value> = serde_json::from_str(include_str!("tokens.json")).unwrap();
        assert_eq!(cases.len(), 6);
        for case in cases {
            let text = |name: &str| case[name].as_str().unwrap();
            let key = |name: &str| case["key"][name].as_str().map(str::to_owned);
            let role = Credentials::new(key("id").unwrap(), key("secret").unwrap(), key("session"), None, "test");
            let now = SystemTime::UNIX_EPOCH + Duration::from_secs(case["time"].as_u64().unwrap());
            let port = u16::try_from(case["port"].as_u64().unwrap()).unwrap();
            let token = token(text("host"), port, text("user"), text("region"), role, now).unwrap();
            assert_eq!(parts(&token), parts(text("token")));
            assert_eq!(token.split('?').next(), text("token").split('?').next());
        }
    }
}
