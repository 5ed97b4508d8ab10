//! The API's documentation, to try out: Swagger UI at `/docs`, and the document that it shows at `/openapi.json`.
//!
//! Invariants: the page loads nothing from another host, which its Content-Security-Policy makes the browser enforce.
//! Depends on: the archive of Swagger UI, which is compiled in.

use std::collections::BTreeMap;
use std::io::{Cursor, Read as _};

use anyhow::{Context as _, Result};
use axum::Router;
use axum::http::header;
use axum::routing::get;
use serde_json::{Value, json};
use utoipa_swagger_ui_vendored::SWAGGER_UI_VENDORED;
use zip::ZipArchive;

const POLICY: &str = "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; \
    img-src 'self' data:; frame-ancestors 'none'";

/// The page, without its token. An empty icon keeps the browser from asking for one.
const PAGE: &str = r##"<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Seer's API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/docs/swagger-ui.css">
</head>
<body>
<div id="ui"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script>
const token = TOKEN;
const ui = SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#ui",
  deepLinking: true,
  tryItOutEnabled: true,
  validatorUrl: null,
  onComplete: () => token && ui.preauthorizeApiKey("token", token),
});
</script>
</body>
</html>
"##;

struct File {
    kind: &'static str,
    content: Vec<u8>,
}

/// Serves the page with a token filled in, if there is one.
///
/// # Errors
/// Fails if the archive lacks a file.
pub(crate) fn pages(token: Option<&str>) -> Result<Router> {
    let router = files(token)?.into_iter().fold(Router::new(), |router, (path, file)| {
        let headers = [
            (header::CONTENT_TYPE, file.kind),
            (header::CONTENT_SECURITY_POLICY, POLICY),
            // The token is another one at each start.
            (header::CACHE_CONTROL, "no-store"),
        ];
        router.route(path, get(async move || (headers, file.content)))
    });
    Ok(router)
}

fn files(token: Option<&str>) -> Result<BTreeMap<&'static str, File>> {
    let mut document = functions::openapi::document();
    // The requests go to where the page comes from.
    document["servers"] = json!([{"url": "/"}]);
    // The page would send the example as the key of every write, and so replay the first.
    let key = document.pointer_mut("/components/parameters/IdempotencyKey");
    key.and_then(Value::as_object_mut).map(|key| key.remove("example"));
    let page = PAGE.replace("TOKEN", &json!(token).to_string());
    let file = |kind, content| File { kind, content };
    Ok(BTreeMap::from([
        ("/docs", file("text/html; charset=utf-8", page.into_bytes())),
        (
            "/docs/swagger-ui.css",
            file("text/css; charset=utf-8", asset("swagger-ui.css")?),
        ),
        (
            "/docs/swagger-ui-bundle.js",
            file("text/javascript; charset=utf-8", asset("swagger-ui-bundle.js")?),
        ),
        (
            "/openapi.json",
            file("application/json", serde_json::to_vec(&document)?),
        ),
    ]))
}

/// Returns a file of Swagger UI.
fn asset(name: &str) -> Result<Vec<u8>> {
    let mut archive = ZipArchive::new(Cursor::new(SWAGGER_UI_VENDORED)).context("the archive of Swagger UI")?;
    // Its folder has the version in its name.
    let end = format!("/dist/{name}");
    let path = archive
        .file_names()
        .filter_map(Result::ok)
        .find(|path| path.ends_with(&end) && path.matches('/').count() == 2)
        .with_context(|| format!("Swagger UI has no {name}"))?
        .into_owned();
    let mut content = Vec::new();
    archive.by_name(&path)?.read_to_end(&mut content)?;
    Ok(content)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn page_loads_only_what_is_served_beside_it() {
        let files = files(Some("a.b.c")).unwrap();
        let page = str::from_utf8(&files["/docs"].content).unwrap();
        assert!(page.contains(r#"const token = "a.b.c";"#));
        let loaded: Vec<_> = ["src=\"", "href=\"", "url: \""]
            .iter()
            .flat_map(|attribute| page.split(attribute).skip(1))
            .filter_map(|rest| rest.split('"').next())
            .filter(|address| !address.starts_with("data:"))
            .collect();
        assert_eq!(loaded.len(), 3, "{loaded:?}");
        for address in loaded {
            assert!(!files[address].content.is_empty(), "{address}");
        }
        let style = str::from_utf8(&files["/docs/swagger-ui.css"].content).unwrap();
        assert!(
            style
                .split("url(")
                .skip(1)
                .all(|rest| rest.trim_start_matches(['"', '\'']).starts_with("data:"))
        );
        let document = str::from_utf8(&files["/openapi.json"].content).unwrap();
        assert!(document.contains(r#""url":"/""#) && !document.contains("api.example.com"));
        assert!(!document.contains("5c1d7f1e-create"));
    }

    #[test]
    fn page_without_token_fills_none_in() {
        let files = files(None).unwrap();
        assert!(
            str::from_utf8(&files["/docs"].content)
                .unwrap()
                .contains("const token = null;")
        );
    }
}
