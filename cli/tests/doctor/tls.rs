//! Findings about certificates.

use std::path::Path;

use local::postgres::{Cluster, Settings};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};

use super::{UNREACHABLE, connect, json, migrated, run, sound, verdict};

/// Replaces the server's certificate by one for `name` that expires in `year`, and returns the authority's file.
async fn certify(cluster: &Cluster, folder: &Path, name: &str, year: i32) -> String {
    let (key, mut authority) = (KeyPair::generate().unwrap(), CertificateParams::new([]).unwrap());
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = authority.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(authority, key);
    let server_key = KeyPair::generate().unwrap();
    let mut server = CertificateParams::new([name.to_owned()]).unwrap();
    server.not_before = date_time_ymd(2020, 1, 1);
    server.not_after = date_time_ymd(year, 1, 1);
    let server = server.signed_by(&server_key, &issuer).unwrap().pem();
    // Overwritten in place, so that owner and mode stay.
    std::fs::write(cluster.data().join("server.crt"), server).unwrap();
    std::fs::write(cluster.data().join("server.key"), server_key.serialize_pem()).unwrap();
    cluster.reload().await.unwrap();
    let file = folder.join("authority.pem");
    std::fs::write(&file, root).unwrap();
    file.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn bad_certificate_is_described() {
    let settings = Settings { tls: true, ..sound() };
    let cluster = migrated(settings).await;
    let url = cluster.url();
    let authority = cluster.authority().unwrap().to_str().unwrap().to_owned();
    let verified = |root: &str| format!("{url}?sslmode=verify-full&sslrootcert={root}");
    let report = json(&verified(&authority), &[]).await;
    assert_ne!(report["exitCode"], UNREACHABLE, "{report:#}");
    let detail = report["steps"][3]["detail"].as_str().unwrap();
    assert!(detail.starts_with("TLSv1.3; verify-full passes; until "), "{detail}");
    assert!(detail.ends_with("issued by CN=Seer's local PostgreSQL"), "{detail}");
    let (code, first) = verdict(&format!("{url}?sslmode=verify-full")).await;
    assert_eq!(code, UNREACHABLE, "{first}");
    assert!(first.contains("issuer is not among the trusted authorities"), "{first}");

    let mut session = connect(&url).await;
    let own: String = sqlx::query_scalar("SELECT current_setting('ssl')")
        .fetch_one(&mut session)
        .await
        .unwrap();
    if own == "off" {
        eprintln!("not tested: bad certificates, because this build of PostgreSQL has no TLS");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for (name, year, cause) in [
        (
            "db.example",
            2040,
            "the certificate is for db.example, not for this host",
        ),
        ("127.0.0.1", 2021, "the certificate expired on 2021-01-01"),
    ] {
        let root = certify(&cluster, folder.path(), name, year).await;
        let (code, first) = verdict(&verified(&root)).await;
        assert_eq!(code, UNREACHABLE, "{first}");
        assert!(first.contains(cause), "{first}");
    }
    let (_, page) = run(&format!("{url}?sslmode=require"), &[]).await;
    assert!(
        page.contains("the server's certificate expired on 2021-01-01"),
        "{page}"
    );
}

#[tokio::test]
async fn missing_tls_is_named() {
    let cluster = migrated(sound()).await;
    let (code, first) = verdict(&format!("{}?sslmode=require", cluster.url())).await;
    assert_eq!(code, UNREACHABLE, "{first}");
    assert!(first.contains("offers no TLS, and sslmode insists on it"), "{first}");
}
