//! Checks the identity provider: whether API Gateway can fetch its keys, and would accept a token.

use std::path::Path;

use anyhow::{Context as _, Result};
use local::gateway::Issuer;

use super::Plan;
use super::line::Line;

const ISSUER: &str = "issuer";
const AUDIENCE: &str = "audience";

/// Checks the issuer's discovery document and keys, and a token if there is one.
pub(super) async fn check(plan: &Plan<'_>, token: Option<&Path>) -> Vec<Line> {
    let Some(url) = plan.functions("JwtIssuer") else {
        return vec![Line::unknown(ISSUER, "give --param JwtIssuer=URL".to_owned())];
    };
    let audiences: Vec<_> = plan
        .functions("JwtAudience")
        .into_iter()
        .flat_map(|list| list.split(','))
        .map(str::to_owned)
        .collect();
    let issuer = match Issuer::connect(url, &audiences).await {
        Ok(issuer) => issuer,
        Err(error) => {
            let todo = "set JwtIssuer to the issuer whose /.well-known/openid-configuration can be fetched from the \
                        internet";
            return vec![Line::change(ISSUER, format!("{error:#}"), todo.to_owned())];
        }
    };
    let named = issuer.named();
    if named != url {
        return vec![Line::change(
            ISSUER,
            format!("the discovery document of {url} is of another issuer"),
            format!("set JwtIssuer={named}, exactly as its tokens have it"),
        )];
    }
    vec![
        Line::fine(ISSUER, format!("{url} publishes its keys")),
        audience(&issuer, &audiences, token).await,
    ]
}

async fn audience(issuer: &Issuer, audiences: &[String], token: Option<&Path>) -> Line {
    if audiences.is_empty() {
        return Line::unknown(AUDIENCE, "give --param JwtAudience=NAME".to_owned());
    }
    let Some(file) = token else {
        let why = "an issuer does not tell it: give --token-file with a token of a signed-in person";
        return Line::unknown(AUDIENCE, why.to_owned());
    };
    let token = match read(file) {
        Ok(token) => token,
        Err(error) => return Line::unknown(AUDIENCE, format!("{error:#}")),
    };
    match issuer.verify(&token).await {
        Ok(_) => Line::fine(AUDIENCE, format!("the token is for {}", audiences.join(" or "))),
        Err(reason) => Line::change(
            AUDIENCE,
            format!("the API would refuse the token: {reason}"),
            "let the issuer's tokens have one of JwtAudience as their aud, or set JwtAudience to what they have"
                .to_owned(),
        ),
    }
}

fn read(file: &Path) -> Result<String> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(text.trim().to_owned())
}
