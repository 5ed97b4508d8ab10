//! The way to the server, and each step at which it can fail.

use std::time::Duration;

use local::proxy::{Admission, Proxy};
use local::secrets::{ARN, Manner, Secrets};
use serde_json::Value;
use tokio::time::{sleep, timeout};

use super::{
    FAILING, PROMISED, UNREACHABLE, WARNINGS, address, command, connect, execute, ids, json, migrated, role, run,
    sound, verdict,
};

#[tokio::test]
async fn refused_login_names_its_cause() {
    let cluster = migrated(sound()).await;
    let wrong = cluster.url().replace(cluster.password(), "not-the-password");
    let (code, page) = run(&wrong, &[]).await;
    let first = page.lines().next().unwrap();
    assert_eq!(code, UNREACHABLE, "{page}");
    assert!(first.contains("wrong password for role seer"), "{first}");
    assert!(!page.contains(cluster.password()), "{page}");
    assert!(
        page.contains("FAIL  authentication") && page.contains("-     first query"),
        "{page}"
    );

    let (code, first) = verdict(&cluster.url_of("absent")).await;
    assert_eq!(code, UNREACHABLE, "{first}");
    assert!(first.contains("there is no database absent"), "{first}");

    let url = role(&cluster, "barred").await;
    execute(&cluster.url(), "ALTER ROLE barred NOLOGIN").await;
    let (code, first) = verdict(&url).await;
    assert_eq!(code, UNREACHABLE, "{first}");
    assert!(first.contains("role barred is refused"), "{first}");
}

#[tokio::test]
async fn first_line_escapes_hostile_names() {
    let cluster = migrated(sound()).await;
    let (code, first) = verdict(&cluster.url_of("ab%0Asent%1B%5B31m")).await;
    assert_eq!(code, UNREACHABLE, "{first}");
    assert!(
        first.contains("there is no database ab sent [31m (SQLSTATE 3D000)"),
        "{first:?}"
    );
}

#[tokio::test]
async fn unsupported_auth_method_is_named() {
    let cluster = migrated(sound()).await;
    let file = cluster.data().join("pg_hba.conf");
    let rules = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("host all kerberized 127.0.0.1/32 gss\n{rules}")).unwrap();
    let url = role(&cluster, "kerberized").await;
    let mut session = connect(&cluster.url()).await;
    let wrong: i64 = sqlx::query_scalar("SELECT count(*) FROM pg_hba_file_rules WHERE error IS NOT NULL")
        .fetch_one(&mut session)
        .await
        .unwrap();
    if wrong > 0 {
        eprintln!("not tested: Kerberos, because this build of PostgreSQL has none");
        return;
    }
    cluster.reload().await.unwrap();
    let report = json(&url, &[]).await;
    assert_eq!(report["exitCode"], UNREACHABLE, "{report:#}");
    assert_eq!(ids(&report), ["auth-method"], "{report:#}");
}

#[tokio::test]
async fn malformed_url_hides_its_value() {
    let url = "postgres://seer:a-long-password@127.0.0.1/seer?schemer=hidden-value";
    let (code, page) = run(url, &[]).await;
    assert_eq!(code, UNREACHABLE, "{page}");
    assert!(
        page.starts_with("CANNOT CONNECT: DATABASE_URL: parameter schemer"),
        "{page}"
    );
    assert!(!page.contains("hidden-value"), "{page}");
    // The error names the place where the value was given.
    let right = "postgres://seer:a-long-password@127.0.0.1/seer";
    let output = command(right, &["--url", url]).output().await.unwrap();
    let page = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(UNREACHABLE), "{page}");
    // The password itself is on the command line, for everybody to see.
    let warning = String::from_utf8(output.stderr).unwrap();
    assert!(
        warning.contains("process list") && warning.contains("export DATABASE_URL"),
        "{warning}"
    );
    assert!(!warning.contains("a-long-password"), "{warning}");
    assert!(page.starts_with("CANNOT CONNECT: --url: parameter schemer"), "{page}");
    assert!(
        !page.contains("DATABASE_URL") && !page.contains("hidden-value"),
        "{page}"
    );
}

#[tokio::test]
async fn secret_login_is_used_and_named() {
    let cluster = migrated(sound()).await;
    let held = serde_json::json!({
        "username": "seer", "password": cluster.password(), "host": "127.0.0.1", "port": cluster.port(),
        "dbname": "seer",
    });
    let secrets = Secrets::start(&held.to_string()).await.unwrap();
    let look = async || {
        let mut doctor = command("postgres://ignored:ignored-password@nowhere.invalid/x", &["--json"]);
        doctor
            .args(["--secret-arn", ARN, "--url", "postgres:///?sslmode=prefer"])
            .env("AWS_ENDPOINT_URL_SECRETS_MANAGER", secrets.url())
            .env("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
            .env("AWS_SECRET_ACCESS_KEY", "secret-of-the-role")
            .env("AWS_SESSION_TOKEN", "session");
        let output = timeout(PROMISED, doctor.output()).await.unwrap().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        for secret in [cluster.password(), "ignored-password", "secret-of-the-role"] {
            assert!(!said.contains(secret), "{said}");
        }
        serde_json::from_str::<Value>(&said).unwrap()
    };
    let report = look().await;
    assert_eq!(report["exitCode"], WARNINGS, "{report:#}");
    assert_eq!(report["target"], format!("127.0.0.1:{}/seer as seer", cluster.port()));
    for (manner, cause) in [
        (Manner::Denied, "no-credential"),
        (Manner::Silent, "secret-unreachable"),
    ] {
        secrets.answer(manner);
        let report = look().await;
        assert_eq!(report["exitCode"], UNREACHABLE, "{report:#}");
        let told = report["cause"].as_str().unwrap();
        assert!(
            told.starts_with(&format!("no credential to log in with: {cause}")),
            "{report:#}"
        );
    }
}

#[tokio::test]
async fn connect_failures_have_own_names() {
    let cluster = migrated(sound()).await;
    let proxy = Proxy::start(address(&cluster)).await.unwrap();
    let url = proxy.url(&cluster.url());
    assert_ne!(verdict(&url).await.0, UNREACHABLE);
    for (admission, cause) in [
        (Admission::Refused, "refuses connections: nothing listens there"),
        (Admission::Dropped, "does not answer: no reply to a TCP connect"),
        (
            Admission::Silent,
            "accepts TCP but stays silent: no answer to the request for TLS",
        ),
        (Admission::Reset, "accepts TCP and closes it"),
    ] {
        proxy.set_admission(admission).await;
        let (code, first) = verdict(&url).await;
        assert_eq!(code, UNREACHABLE, "{admission:?}: {first}");
        assert!(first.contains(cause), "{admission:?}: {first}");
    }
    let nowhere = url.replace("127.0.0.1", "no-such-host.invalid");
    let (code, first) = verdict(&nowhere).await;
    assert_eq!(code, UNREACHABLE, "{first}");
    assert!(
        first.contains("the name no-such-host.invalid does not resolve"),
        "{first}"
    );
}

#[tokio::test]
async fn server_hung_after_login_times_out() {
    let cluster = migrated(sound()).await;
    let proxy = Proxy::start(address(&cluster)).await.unwrap();
    let url = proxy.url(&cluster.url());
    let (report, ()) = tokio::join!(json(&url, &[]), async {
        // The probe and the session; the third connection is the function's own way, and by then there are results.
        while proxy.counts().opened < 3 {
            sleep(Duration::from_millis(1)).await;
        }
        proxy.silence();
    });
    assert_eq!(report["exitCode"], FAILING, "{report:#}");
    let said = ids(&report);
    assert!(
        said.contains(&"silent") || said.contains(&"functions-refused"),
        "{report:#}"
    );
}

#[tokio::test]
async fn silence_is_named_first() {
    let cluster = migrated(sound()).await;
    cluster.set("default_transaction_read_only", "on").await.unwrap();
    cluster.reload().await.unwrap();
    let proxy = Proxy::start(address(&cluster)).await.unwrap();
    let url = proxy.url(&cluster.url());
    proxy.set_delay(Duration::from_millis(20), Duration::ZERO);
    let mut observer = connect(&cluster.url()).await;
    let (report, ()) = tokio::join!(json(&url, &[]), async {
        let locks = "SELECT count(*) FROM pg_stat_activity \
                     WHERE application_name = 'seer doctor' AND query LIKE '%pg_locks WHERE NOT granted%'";
        while sqlx::query_scalar::<_, i64>(locks)
            .fetch_one(&mut observer)
            .await
            .unwrap()
            == 0
        {
            sleep(Duration::from_millis(1)).await;
        }
        proxy.silence();
    });
    assert!(ids(&report).contains(&"read-only"), "{report:#}");
    let cause = report["cause"].as_str().unwrap();
    assert!(cause.starts_with("the server stopped answering"), "{report:#}");
}

#[tokio::test]
async fn slow_server_is_reported_incomplete() {
    let cluster = migrated(sound()).await;
    let proxy = Proxy::start(address(&cluster)).await.unwrap();
    let url = proxy.url(&cluster.url());
    proxy.set_delay(Duration::from_millis(130), Duration::ZERO);
    let report = json(&url, &[]).await;
    assert!(ids(&report).contains(&"slow"), "{report:#}");
    let (_, page) = run(&url, &[]).await;
    assert!(page.contains("not asked: no answers any more"), "{page}");
}

/// Another service at the port, and a server that cannot start a process.
#[tokio::test]
async fn foreign_listener_is_named() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let no_process = &b"Ecould not fork new process for connection: Cannot allocate memory\n\0"[..];
    for (reply, at_once, id) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], false, "not-postgresql"),
        (b"SSH-2.0-OpenSSH_9.2p1\r\n", true, "not-postgresql"),
        (b"220 mail.example.com ESMTP\r\n", true, "not-postgresql"),
        (no_process, true, "saturated"),
        (no_process, false, "saturated"),
    ] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                if !at_once {
                    let _ = client.read(&mut [0; 64]).await;
                }
                let _ = client.write_all(reply).await;
                let _ = client.shutdown().await;
            }
        });
        let report = json(&format!("postgres://u:a-password@{address}/d?sslmode=disable"), &[]).await;
        assert_eq!(report["exitCode"], UNREACHABLE, "{report:#}");
        assert_eq!(ids(&report), [id], "{report:#}");
        serving.abort();
    }
    let report = json("postgres://u:a-password@255.255.255.255:5432/d", &[]).await;
    assert_eq!(ids(&report), ["unreachable"], "{report:#}");
}
