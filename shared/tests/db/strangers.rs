//! Addresses at which no PostgreSQL is: another service, a server that cannot start a process, no route.

use std::net::SocketAddr;

use shared::db::{Deadline, Error, Kind};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::bench::{PLENTY, one, pool};

/// Starts a service that sends `reply` to each client: at once, or when it has been sent something.
async fn service(reply: &'static [u8], at_once: bool) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
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
    (address, serving)
}

async fn failed(address: SocketAddr, parameters: &str) -> Error {
    let pool = pool(&format!("postgres://u:p@{address}/d"), parameters);
    let read = pool.read(Deadline::after(PLENTY), async |db| one(db).await).await;
    read.unwrap_err().0
}

/// The letters of its text would be the length of a message: more than a gigabyte, which the driver would allocate.
#[tokio::test]
async fn other_service_is_named_at_once() {
    for (reply, text) in [
        (
            &b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"[..],
            "HTTP/1.1 400",
        ),
        (b"SSH-2.0-OpenSSH_9.2p1\r\n", "SSH-2.0"),
        (b"220 mail.example.com ESMTP\r\n", "220 mail"),
        (b"-ERR unknown command 'x'\r\n", "-ERR"),
        (b"J\0\0\0\x0a8.0.36\0", "J"),
        (b"R\x7f\xff\xff\xff", "R"),
    ] {
        for at_once in [true, false] {
            for mode in ["disable", "prefer", "require"] {
                let (address, serving) = service(reply, at_once).await;
                let failed = failed(address, &format!("sslmode={mode}")).await;
                assert_eq!(failed.kind, Kind::NotPostgresql, "{mode} {text}: {failed}");
                assert!(failed.attempts <= 2, "{failed}");
                assert!(failed.to_string().contains("correct host and port"), "{failed}");
                serving.abort();
            }
        }
    }
}

#[tokio::test]
async fn server_without_a_process_is_saturated() {
    for reply in [
        &b"Ecould not fork new process for connection: Cannot allocate memory\n\0"[..],
        b"Ecould not fork new process for connection: Resource temporarily unavailable\n\0",
    ] {
        for at_once in [true, false] {
            for mode in ["disable", "prefer", "require"] {
                let (address, serving) = service(reply, at_once).await;
                let failed = failed(address, &format!("sslmode={mode}&pool_timeout=1")).await;
                assert_eq!(failed.kind, Kind::Saturated, "{failed}");
                serving.abort();
            }
        }
    }
}

/// A server that is stopping ends new connections without a word, and is back after its restart.
#[tokio::test]
async fn closed_without_a_reply_is_tried_again() {
    for at_once in [true, false] {
        for mode in ["disable", "prefer", "require"] {
            let (address, serving) = service(b"", at_once).await;
            let failed = failed(address, &format!("sslmode={mode}&pool_timeout=1")).await;
            assert_eq!(failed.kind, Kind::Lost, "{mode}: {failed}");
            assert!(failed.attempts > 2, "{mode}: {failed}");
            serving.abort();
        }
    }
}

/// A broadcast or multicast address has no route for TCP on any machine.
#[tokio::test]
async fn missing_route_is_named() {
    for host in ["255.255.255.255", "224.0.0.1"] {
        let failed = failed(format!("{host}:5432").parse().unwrap(), "pool_timeout=1").await;
        assert_eq!(failed.kind, Kind::Unreachable, "{failed}");
        assert!(
            failed.attempts > 1 && failed.to_string().contains("give this network a route"),
            "{failed}"
        );
    }
}
