//! Examines the TLS that the server offers: protocol, certificate, and whether `verify-full` would accept it.
//!
//! The handshake accepts any certificate, so that a bad one can be described; `sslmode` is applied afterwards. Nothing
//! secret is sent over this connection. Depends on: rustls for every check, and the same roots as the driver: the
//! public ones, and in addition RDS's or `sslrootcert`.

use std::sync::{Arc, Mutex, PoisonError};

use shared::diagnostics::{RDS_ROOTS, about_certificate};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError, RootCertStore, SignatureScheme,
};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

/// Requests TLS before any other message (PostgreSQL's protocol, SSLRequest).
const REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// The server's response to the request for TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offer {
    /// TLS starts.
    Yes,
    /// TLS is not available.
    No,
    /// The peer does not use PostgreSQL's protocol.
    Strange,
}

/// The properties of the server's TLS.
#[derive(Clone, Debug)]
pub(super) struct Tls {
    /// For example `TLSv1.3`.
    pub(super) protocol: String,
    pub(super) issuer: String,
    /// Days until it expires; negative if it has expired.
    pub(super) days_left: i64,
    /// The date of expiry.
    pub(super) expires: String,
    /// The error that `verify-ca` would report.
    pub(super) chain: Result<(), String>,
    /// The error that `verify-full` would report.
    pub(super) full: Result<(), String>,
    /// Why the driver cannot use the certificate, with any sslmode.
    pub(super) unusable: Option<String>,
}

/// Asks whether the server offers TLS.
///
/// # Errors
/// Fails if the socket does.
pub(super) async fn ask(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> std::io::Result<Offer> {
    stream.write_all(&REQUEST).await?;
    stream.flush().await?;
    Ok(match stream.read_u8().await? {
        b'S' => Offer::Yes,
        // An error message, from a server older than TLS or a pooler without it.
        b'N' | b'E' => Offer::No,
        _ => Offer::Strange,
    })
}

/// Performs the handshake and examines the certificate.
///
/// # Errors
/// Fails with one line: no common protocol, a failed handshake, or an unreadable `sslrootcert`.
pub(super) async fn handshake<S>(
    stream: S,
    host: &str,
    roots_pem: Option<Vec<u8>>,
) -> Result<(TlsStream<S>, Tls), String>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let provider = Arc::new(ring::default_provider());
    let name = ServerName::try_from(host.to_owned()).map_err(|_| "the host is not a name TLS can verify".to_owned())?;
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots(roots_pem)?), Arc::clone(&provider))
        .build()
        .map_err(|error| error.to_string())?;
    let witness = Arc::new(Witness {
        verifier,
        provider: Arc::clone(&provider),
        seen: Mutex::default(),
        unusable: Mutex::default(),
    });
    let configuration = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&witness) as Arc<dyn ServerCertVerifier>)
        .with_no_client_auth();
    let stream = TlsConnector::from(Arc::new(configuration))
        .connect(name, stream)
        .await
        .map_err(|error| format!("the handshake failed: {error}"))?;
    let seen = witness.seen.lock().unwrap_or_else(PoisonError::into_inner).take();
    let (certificate, verified) = seen.ok_or("the server showed no certificate")?;
    let unusable = witness.unusable.lock().unwrap_or_else(PoisonError::into_inner).take();
    let protocol = stream.get_ref().1.protocol_version();
    let protocol = protocol
        .and_then(|version| version.as_str())
        .unwrap_or("TLS")
        .replace('_', ".");
    let tls = describe(&certificate, protocol, verified)?;
    let unusable = unusable.map(|error| explain(&error, &[], &tls.expires));
    Ok((stream, Tls { unusable, ..tls }))
}

fn roots(pem: Option<Vec<u8>>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    // Like the driver: the file replaces RDS's authorities.
    let Some(pem) = pem else {
        for certificate in CertificateDer::pem_slice_iter(RDS_ROOTS.as_bytes()).flatten() {
            let _ = roots.add(certificate);
        }
        return Ok(roots);
    };
    let unreadable = |error: &dyn std::fmt::Display| format!("the file that sslrootcert names: {error}");
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| unreadable(&error))?;
        roots.add(certificate).map_err(|error| unreadable(&error))?;
    }
    Ok(roots)
}

fn describe(der: &[u8], protocol: String, verified: Result<(), TlsError>) -> Result<Tls, String> {
    let (_, certificate) = X509Certificate::from_der(der).map_err(|error| format!("its certificate: {error}"))?;
    let expiry = certificate.validity().not_after;
    let now = x509_parser::time::ASN1Time::now();
    let names = certificate
        .subject_alternative_name()
        .ok()
        .flatten()
        .map(|names| names.value.general_names.iter().filter_map(name_of).collect())
        .unwrap_or_default();
    let date = expiry.to_datetime();
    let expires = format!("{}-{:02}-{:02}", date.year(), u8::from(date.month()), date.day());
    let names: Vec<String> = names;
    let wrong_name = matches!(
        &verified,
        Err(TlsError::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }
        ))
    );
    let full = verified.map_err(|error| explain(&error, &names, &expires));
    Ok(Tls {
        protocol,
        issuer: certificate.issuer().to_string(),
        days_left: (expiry.timestamp() - now.timestamp()).div_euclid(24 * 60 * 60),
        expires,
        chain: if wrong_name { Ok(()) } else { full.clone() },
        full,
        unusable: None,
    })
}

fn name_of(name: &GeneralName<'_>) -> Option<String> {
    if let GeneralName::DNSName(name) = name {
        return Some((*name).to_owned());
    }
    let GeneralName::IPAddress(octets) = name else {
        return None;
    };
    let octets: &[u8] = octets;
    let four = <[u8; 4]>::try_from(octets).map(|octets| std::net::IpAddr::from(octets).to_string());
    let sixteen = <[u8; 16]>::try_from(octets).map(|octets| std::net::IpAddr::from(octets).to_string());
    four.or(sixteen).ok()
}

fn explain(error: &TlsError, names: &[String], expires: &str) -> String {
    let TlsError::InvalidCertificate(problem) = error else {
        return error.to_string();
    };
    if matches!(
        problem,
        CertificateError::Expired | CertificateError::ExpiredContext { .. }
    ) {
        return format!("the certificate expired on {expires}");
    }
    if matches!(
        problem,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }
    ) {
        let names = if names.is_empty() {
            "no name".to_owned()
        } else {
            names.join(", ")
        };
        return format!("the certificate is for {names}, not for this host");
    }
    if matches!(problem, CertificateError::UnknownIssuer) {
        return "the certificate's issuer is not among the trusted authorities".to_owned();
    }
    match about_certificate(&error.to_string()) {
        Some(why) => why.to_owned(),
        None => format!("the certificate is not accepted: {error}"),
    }
}

/// Accepts every certificate, and stores it with the result of the real verification.
#[derive(Debug)]
struct Witness {
    verifier: Arc<WebPkiServerVerifier>,
    provider: Arc<CryptoProvider>,
    seen: Mutex<Option<Seen>>,
    /// Why the driver could not use the certificate, with any sslmode.
    unusable: Mutex<Option<TlsError>>,
}

impl Witness {
    /// Accepts a signature that cannot be verified, and stores the reason.
    fn accept(&self, verified: Result<HandshakeSignatureValid, TlsError>) -> HandshakeSignatureValid {
        verified.unwrap_or_else(|error| {
            *self.unusable.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            HandshakeSignatureValid::assertion()
        })
    }
}

type Seen = (Vec<u8>, Result<(), TlsError>);

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let verified = self
            .verifier
            .verify_server_cert(certificate, intermediates, name, ocsp, now);
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some((certificate.to_vec(), verified.map(|_| ())));
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.provider.signature_verification_algorithms;
        let verified = tokio_rustls::rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms);
        Ok(self.accept(verified))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.provider.signature_verification_algorithms;
        let verified = tokio_rustls::rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms);
        Ok(self.accept(verified))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}
