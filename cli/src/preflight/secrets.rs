//! Checks the secrets that parameters name: whether the deploy can read them, and whether they have the right form.
//!
//! Invariants: no part of a secret leaves this module; errors name the rule.

use functions::config::{RecorderSecrets, SigningKey};
use shared::config::{ConfigError, DatabaseUrl, Login, SecretSource};

use super::Plan;
use super::account::Account;
use super::aws::ask;
use super::line::Line;

const CHECK: &str = "secrets";

/// The parameters that name a secret.
const PARAMETERS: [&str; 5] = [
    "WebhookSecretArn",
    "ClerkWebhookSecretArn",
    "DatabaseSecretArn",
    "MonitoringSecretArn",
    "MigrationsSecretArn",
];

/// Checks each secret that a parameter names.
pub(super) async fn check(plan: &Plan<'_>, account: &Account) -> Vec<Line> {
    let mut lines = Vec::new();
    if plan.functions("WebhookSecretArn").is_none() {
        lines.push(Line::unknown(CHECK, "give --param WebhookSecretArn=ARN".to_owned()));
    }
    for name in PARAMETERS {
        if let Some(arn) = plan.functions(name) {
            lines.push(secret(plan, account, name, arn).await);
        }
    }
    lines
}

async fn secret(plan: &Plan<'_>, account: &Account, parameter: &str, arn: &str) -> Line {
    let parts: Vec<_> = arn.split(':').collect();
    let (Some(region), Some(owner)) = (parts.get(3).copied(), parts.get(4).copied()) else {
        return Line::change(
            CHECK,
            format!("{parameter} is no ARN"),
            format!("set {parameter} to the ARN that `aws secretsmanager describe-secret` shows"),
        );
    };
    if region != account.region || owner != account.id {
        return Line::change(
            CHECK,
            format!(
                "{parameter} is in {region} of {owner}, and the deploy goes to {} of {}",
                account.region, account.id
            ),
            format!(
                "make the secret in {}, or set AWS_REGION and AWS_DEFAULT_REGION to {region}",
                account.region
            ),
        );
    }
    let version = plan
        .functions("WebhookSecretVersionId")
        .filter(|_| parameter == "WebhookSecretArn");
    let mut question = vec!["secretsmanager", "get-secret-value", "--secret-id", arn];
    question.extend(version.into_iter().flat_map(|version| ["--version-id", version]));
    let answer = match ask(&question).await {
        Ok(answer) => answer,
        Err(failure) if failure.is("ResourceNotFoundException") => {
            return Line::change(
                CHECK,
                format!("there is no secret with the ARN of {parameter}"),
                format!("set {parameter} to the whole ARN, with the six characters at its end"),
            );
        }
        Err(failure) => return failure.line(CHECK),
    };
    let text = answer["SecretString"].as_str().unwrap_or_default();
    match shape(plan, parameter, region, arn, text) {
        Ok(()) => Line::fine(CHECK, format!("{parameter} has the right shape")),
        Err((found, todo)) => Line::change(CHECK, format!("{parameter}: {found}"), todo),
    }
}

/// Checks a secret's text as the function would.
fn shape(plan: &Plan<'_>, parameter: &str, region: &str, arn: &str, text: &str) -> Result<(), (String, String)> {
    let webhook =
        "store one or more of whsec_…, api-key:… and mb-secret:…, with commas, as the whole text of the secret";
    let clerk = "store the signing secret of Clerk's webhook, whsec_…, as the whole text of the secret";
    let login = "store {\"username\": …, \"password\": …} as the secret, with host, port and dbname or without";
    match parameter {
        "WebhookSecretArn" => match RecorderSecrets::parse(Some(text.to_owned()), false) {
            Ok(_) => Ok(()),
            Err(error) => Err((error.to_string(), webhook.to_owned())),
        },
        "ClerkWebhookSecretArn" => {
            let mut entries = text.split(',').map(|entry| SigningKey::parse(entry.trim()));
            entries
                .find_map(Result::err)
                .map_or(Ok(()), |rule| Err((rule.to_owned(), clerk.to_owned())))
        }
        _ => {
            let address = match (parameter, plan.functions("MigrationsAddress")) {
                ("MigrationsSecretArn", Some(address)) => Some(address),
                _ => plan.functions("DatabaseAddress"),
            };
            let source = SecretSource {
                arn: arn.to_owned(),
                region: region.to_owned(),
                endpoint: None,
                alone: false,
            };
            let url = format!("postgres://{}", address.unwrap_or_default());
            let url = DatabaseUrl::parse_for(&url, Login::Secret(source));
            let complete = |url: DatabaseUrl| -> Result<DatabaseUrl, ConfigError> { url.with_secret(text) };
            match url.and_then(complete) {
                Ok(_) => Ok(()),
                Err(error) => Err((error.to_string(), login.to_owned())),
            }
        }
    }
}
