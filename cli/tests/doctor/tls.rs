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

/// Runs openssl in a folder.
fn openssl(folder: &Path, arguments: &[&str]) -> bool {
    let done = std::process::Command::new("openssl")
        .args(arguments)
        .current_dir(folder)
        .output();
    done.is_ok_and(|done| done.status.success())
}

/// Certificates that libpq takes: those that the TLS library refuses get their true cause, from functions too.
#[tokio::test]
async fn certificate_of_openssl_alone_is_named() {
    let cluster = migrated(Settings { tls: true, ..sound() }).await;
    let url = cluster.url();
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let install = async |certificate: &str, key: &str| {
        for (file, name) in [(certificate, "server.crt"), (key, "server.key")] {
            std::fs::write(cluster.data().join(name), std::fs::read(folder.join(file)).unwrap()).unwrap();
        }
        cluster.reload().await.unwrap();
    };
    // Version 1: without extensions, signed by itself.
    let made = openssl(
        folder,
        &[
            "req",
            "-new",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-subj",
            "/CN=127.0.0.1",
            "-keyout",
            "v1.key",
            "-out",
            "v1.csr",
        ],
    ) && openssl(
        folder,
        &[
            "x509", "-req", "-in", "v1.csr", "-signkey", "v1.key", "-days", "30", "-out", "v1.crt",
        ],
    ) && openssl(
        folder,
        &[
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-subj",
            "/CN=127.0.0.1",
            "-days",
            "30",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
            "-keyout",
            "ca.key",
            "-out",
            "ca.crt",
        ],
    );
    let mut session = connect(&url).await;
    let own: String = sqlx::query_scalar("SELECT current_setting('ssl')")
        .fetch_one(&mut session)
        .await
        .unwrap();
    if !made || own == "off" {
        return eprintln!("not tested: certificates of OpenSSL, which is not there");
    }
    let version = String::from_utf8(
        std::process::Command::new("openssl")
            .args(["x509", "-in", "v1.crt", "-noout", "-text"])
            .current_dir(folder)
            .output()
            .unwrap()
            .stdout,
    )
    .unwrap();
    install("v1.crt", "v1.key").await;
    let migrate = async |url: &str| {
        let mut seer = tokio::process::Command::new(env!("CARGO_BIN_EXE_seer"));
        let output = seer.arg("migrate").env("DATABASE_URL", url).output().await.unwrap();
        String::from_utf8(output.stderr).unwrap()
    };
    if version.contains("Version: 1 ") {
        for mode in ["prefer", "require"] {
            let url = format!("{url}?sslmode={mode}");
            let (code, first) = verdict(&url).await;
            assert_eq!(code, UNREACHABLE, "{first}");
            assert!(first.contains("X.509 version 1"), "{first}");
            let said = migrate(&url).await;
            assert!(
                said.contains("X.509 version 1") && said.contains("tls during connect"),
                "{said}"
            );
        }
    }
    install("ca.crt", "ca.key").await;
    let root = folder.join("ca.crt");
    let verified = format!("{url}?sslmode=verify-full&sslrootcert={}", root.display());
    let (code, first) = verdict(&verified).await;
    assert_eq!(code, UNREACHABLE, "{first}");
    assert!(first.contains("CA:TRUE"), "{first}");
    let said = migrate(&verified).await;
    assert!(said.contains("CA:TRUE"), "{said}");
    // Without verification it is taken.
    assert_ne!(
        json(&format!("{url}?sslmode=require"), &[]).await["exitCode"],
        UNREACHABLE
    );
}

#[tokio::test]
async fn file_of_authorities_is_examined() {
    let cluster = migrated(Settings { tls: true, ..sound() }).await;
    let authority = cluster.authority().unwrap().to_owned();
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let url = |file: &Path| format!("{}?sslmode=verify-full&sslrootcert={}", cluster.url(), file.display());
    for (name, content, cause) in [
        ("empty.pem", &b""[..], "is empty"),
        ("text.pem", b"nonsense", "has no certificate"),
        (
            "cut.pem",
            b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            "is not valid",
        ),
    ] {
        std::fs::write(folder.join(name), content).unwrap();
        let (code, first) = verdict(&url(&folder.join(name))).await;
        assert_eq!(code, UNREACHABLE, "{first}");
        assert!(
            first.contains("the file that sslrootcert names") && first.contains(cause),
            "{first}"
        );
    }
    for (file, cause) in [
        (folder.to_owned(), "is a folder"),
        (folder.join("absent"), "cannot be read"),
    ] {
        let (code, first) = verdict(&url(&file)).await;
        assert_eq!(code, UNREACHABLE, "{first}");
        assert!(first.contains(cause), "{first}");
    }
    let der = folder.join("authority.der");
    let made = openssl(
        folder,
        &[
            "x509",
            "-in",
            authority.to_str().unwrap(),
            "-outform",
            "DER",
            "-out",
            "authority.der",
        ],
    );
    if made {
        let report = json(&url(&der), &[]).await;
        assert_ne!(report["exitCode"], UNREACHABLE, "{report:#}");
    }
}
