//! INIT on a slow Runtime API: a registered extension has to request its next event, or Lambda waits for it until
//! INIT's ten seconds are over and starts again.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::time::{sleep, timeout};

use super::backend::binary;

/// As on a host that starts a thousand environments at once.
const LATE: Duration = Duration::from_millis(1_500);

const REGISTERED: &str = r#"{"functionName":"users-me","functionVersion":"1","handler":"users-me"}"#;

/// Reports each request's path; answers the registration, late, and nothing else.
async fn serve(mut connection: TcpStream, paths: UnboundedSender<String>) {
    let mut read = Vec::new();
    while let Ok(1..) = connection.read_buf(&mut read).await {
        let text = String::from_utf8_lossy(&read).into_owned();
        let Some((head, _)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        let registers = path.ends_with("/extension/register");
        let _ = paths.send(path);
        read.clear();
        if registers {
            sleep(LATE).await;
            let length = REGISTERED.len();
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nlambda-extension-identifier: {}\r\n\
                 content-length: {length}\r\n\r\n{REGISTERED}",
                uuid::Uuid::nil()
            );
            connection.write_all(answer.as_bytes()).await.unwrap();
        }
    }
}

#[tokio::test]
async fn late_registration_still_ends_init() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut function = Command::new(binary("users-me"))
        .env_clear()
        .env("AWS_LAMBDA_RUNTIME_API", listener.local_addr().unwrap().to_string())
        .env("DATABASE_URL", "postgres://seer@127.0.0.1:1/seer?pool_timeout=1")
        .env("AWS_LAMBDA_FUNCTION_NAME", "users-me")
        .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")
        .env("AWS_LAMBDA_LOG_GROUP_NAME", "users-me")
        .env("AWS_LAMBDA_LOG_STREAM_NAME", "1")
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let (paths, mut seen) = unbounded_channel();
    let accepting = tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            tokio::spawn(serve(connection, paths.clone()));
        }
    });
    let mut missing = vec!["/extension/event/next", "/runtime/invocation/next"];
    let both = async {
        while !missing.is_empty() {
            let path = seen.recv().await.unwrap();
            missing.retain(|wanted| !path.ends_with(wanted));
        }
    };
    let ended = timeout(Duration::from_secs(10), both).await;
    accepting.abort();
    function.kill().await.unwrap();
    assert!(ended.is_ok(), "INIT does not end: nothing asks for {missing:?}");
}
