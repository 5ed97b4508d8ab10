//! Sends the requests of AWS's libraries over the HTTP client and the TLS library that functions already contain.
//!
//! The libraries' own client adds HTTP/2, proxies and the machine's certificates, which is a megabyte in each binary.
//! Here the public authorities of the database driver are trusted. Every request has a connection of its own, because a
//! kept one would not survive a freeze.
//!
//! Invariants: waits only for the answer, and never retries. A dropped future closes the connection.

use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::http::Response;
use aws_smithy_types::body::SdkBody;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector as Sockets;
use hyper_util::rt::TokioExecutor;
use tokio_rustls::rustls::crypto::ring;

#[derive(Clone, Debug)]
struct Https(Client<HttpsConnector<Sockets>, SdkBody>);

impl HttpConnector for Https {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let Self(client) = self.clone();
        HttpConnectorFuture::new(async move {
            let request = request
                .try_into_http1x()
                .map_err(|error| ConnectorError::user(error.into()))?;
            let response = client.request(request).await;
            let response = response.map_err(|error| ConnectorError::io(error.into()))?;
            Response::try_from(response.map(SdkBody::from_body_1_x))
                .map_err(|error| ConnectorError::other(error.into(), None))
        })
    }
}

/// Returns a client whose connections are closed after their answer was read.
///
/// # Errors
/// Fails if the TLS library has no protocol in common with ring, which does not happen with these features.
pub(super) fn client() -> Result<SharedHttpClient, tokio_rustls::rustls::Error> {
    let connector = HttpsConnectorBuilder::new()
        .with_provider_and_webpki_roots(ring::default_provider())?
        .https_or_http()
        .enable_http1()
        .build();
    let client = Client::builder(TokioExecutor::new())
        .pool_max_idle_per_host(0)
        .build(connector);
    let https = SharedHttpConnector::new(Https(client));
    Ok(http_client_fn(move |_, _| https.clone()))
}
