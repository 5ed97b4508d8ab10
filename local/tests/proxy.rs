//! The proxy's faults, from the view of a plain TCP client and server.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use local::proxy::{Admission, Blackhole, Cut, Proxy, Refusal};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// Long enough that an answer would have arrived, short enough to wait for its absence.
const SILENCE: Duration = Duration::from_millis(200);

/// Starts a server that answers every read with ReadyForQuery and keeps the bytes that it read.
async fn server() -> (SocketAddr, tokio::sync::mpsc::UnboundedReceiver<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (heard, hearing) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let heard = heard.clone();
            tokio::spawn(async move {
                let mut buffer = vec![0; 1024];
                while let Ok(bytes @ 1..) = stream.read(&mut buffer).await {
                    let _ = heard.send(buffer[..bytes].to_vec());
                    let _ = stream.write_all(b"Z\0\0\0\x05I").await;
                }
                let _ = heard.send(Vec::new());
            });
        }
    });
    (address, hearing)
}

fn query(sql: &str) -> Vec<u8> {
    let length = u32::try_from(sql.len() + 5).unwrap();
    [b"Q".as_slice(), &length.to_be_bytes(), sql.as_bytes(), b"\0"].concat()
}

/// Connects and sends a start-up message; returns after the answer.
async fn started(address: SocketAddr) -> TcpStream {
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(&[0, 0, 0, 8, 0, 3, 0, 0]).await.unwrap();
    let mut answer = [0; 6];
    client.read_exact(&mut answer).await.unwrap();
    client
}

async fn answer(client: &mut TcpStream) -> Result<[u8; 6], ErrorKind> {
    let mut answer = [0; 6];
    match timeout(SILENCE, client.read_exact(&mut answer)).await {
        Ok(Ok(_)) => Ok(answer),
        Ok(Err(error)) => Err(error.kind()),
        Err(_) => Err(ErrorKind::TimedOut),
    }
}

#[tokio::test]
async fn door_governs_new_connections() {
    let (upstream, _heard) = server().await;
    let proxy = Proxy::start(upstream).await.unwrap();
    proxy.set_admission(Admission::Refused).await;
    let refused = TcpStream::connect(proxy.address()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    proxy.set_admission(Admission::Dropped).await;
    let swallowed = timeout(SILENCE, TcpStream::connect(proxy.address())).await;
    assert!(swallowed.is_err() || !cfg!(target_os = "linux"));
    proxy.set_admission(Admission::Reset).await;
    let mut client = TcpStream::connect(proxy.address()).await.unwrap();
    let _ = client.write_all(b"x").await;
    assert_ne!(answer(&mut client).await, Err(ErrorKind::TimedOut));
    proxy.set_admission(Admission::Silent).await;
    let mut client = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(answer(&mut client).await, Err(ErrorKind::TimedOut));
    proxy.set_admission(Admission::Open).await;
    started(proxy.address()).await;
    assert_eq!(proxy.counts().opened, 1);
}

#[tokio::test]
async fn silence_swallows_terminate() {
    let (upstream, mut heard) = server().await;
    let proxy = Proxy::start(upstream).await.unwrap();
    let mut client = started(proxy.address()).await;
    heard.recv().await.unwrap();
    assert_eq!(proxy.silence(), 1);
    client.write_all(&query("SELECT 1")).await.unwrap();
    assert_eq!(answer(&mut client).await, Err(ErrorKind::TimedOut));
    drop(client);
    assert!(timeout(SILENCE, heard.recv()).await.is_err(), "the server heard of it");
    assert_eq!(proxy.counts().open, 1);
}

#[tokio::test]
async fn commit_is_cut_once_where_ordered() {
    for (cut, reaches_server) in [
        (Cut::BeforeServer, false),
        (Cut::AfterServer, true),
        (Cut::BeforeAcknowledgement, true),
    ] {
        let (upstream, mut heard) = server().await;
        let proxy = Proxy::start(upstream).await.unwrap();
        proxy.cut_commits(cut, 1);
        let mut client = started(proxy.address()).await;
        heard.recv().await.unwrap();
        client.write_all(&query("COMMIT")).await.unwrap();
        let answered = answer(&mut client).await;
        assert!(
            matches!(answered, Err(kind) if kind != ErrorKind::TimedOut),
            "{cut:?}: {answered:?}"
        );
        assert_eq!(
            heard.recv().await.unwrap() == query("COMMIT"),
            reaches_server,
            "{cut:?}"
        );
        let mut client = started(proxy.address()).await;
        client.write_all(&query("COMMIT")).await.unwrap();
        assert!(answer(&mut client).await.is_ok(), "{cut:?}");
        assert_eq!(proxy.counts().cut, 1);
    }
}

#[tokio::test]
async fn reset_reaches_the_client() {
    let (upstream, _heard) = server().await;
    let proxy = Proxy::start(upstream).await.unwrap();
    let mut client = started(proxy.address()).await;
    proxy.reset();
    assert_eq!(answer(&mut client).await, Err(ErrorKind::ConnectionReset));
}

#[tokio::test]
async fn hung_path_delivers_nothing() {
    let (upstream, mut heard) = server().await;
    let proxy = Proxy::start(upstream).await.unwrap();
    let mut client = started(proxy.address()).await;
    heard.recv().await.unwrap();
    assert_eq!(proxy.hang(), 1);
    // More than any buffer holds: it can only be written if it is acknowledged.
    let much = vec![b'Q'; 64 << 20];
    timeout(Duration::from_secs(60), client.write_all(&much))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(answer(&mut client).await, Err(ErrorKind::TimedOut));
    drop(client);
    assert!(timeout(SILENCE, heard.recv()).await.is_err(), "the server heard of it");
    assert_eq!(proxy.counts().open, 1);
    proxy.reset();
    assert_eq!(heard.recv().await, Some(Vec::new()));
}

const ASLEEP: Refusal = Refusal {
    sqlstate: "XX000",
    message: "endpoint is idle, retry",
};

/// Returns everything that a client reads after its start-up.
async fn refused(address: SocketAddr) -> Vec<u8> {
    let mut client = TcpStream::connect(address).await.unwrap();
    // SSLRequest first, like a client with sslmode=prefer.
    client.write_all(&[0, 0, 0, 8, 4, 210, 22, 47]).await.unwrap();
    let mut no = [0; 1];
    client.read_exact(&mut no).await.unwrap();
    assert_eq!(&no, b"N");
    client.write_all(&[0, 0, 0, 8, 0, 3, 0, 0]).await.unwrap();
    let mut said = Vec::new();
    client.read_to_end(&mut said).await.unwrap();
    said
}

#[tokio::test]
async fn startup_is_refused_as_given() {
    let (upstream, mut heard) = server().await;
    let proxy = Proxy::start(upstream).await.unwrap();
    proxy.set_admission(Admission::Refusing(ASLEEP)).await;
    let said = refused(proxy.address()).await;
    assert_eq!(said[0], b'E');
    let text = String::from_utf8_lossy(&said);
    assert!(
        text.contains("CXX000\0") && text.contains("Mendpoint is idle, retry\0"),
        "{text}"
    );
    assert_eq!(proxy.errors("XX000"), 1);
    assert!(heard.try_recv().is_err(), "the server heard of it");
}

#[tokio::test]
async fn logins_above_the_rate_are_refused() {
    let (upstream, _heard) = server().await;
    let proxy = Proxy::start(upstream).await.unwrap();
    proxy.set_admission(Admission::Throttled(2, ASLEEP)).await;
    started(proxy.address()).await;
    started(proxy.address()).await;
    // Unless a new second begins between them, the third is one too many; within three more, one is.
    let mut refusals = 0;
    for _ in 0..3 {
        let mut client = TcpStream::connect(proxy.address()).await.unwrap();
        client.write_all(&[0, 0, 0, 8, 0, 3, 0, 0]).await.unwrap();
        let mut kind = [0; 1];
        client.read_exact(&mut kind).await.unwrap();
        refusals += u64::from(&kind == b"E");
    }
    assert!(refusals > 0 && proxy.errors("XX000") == refusals);
}

#[tokio::test]
async fn queued_logins_pass_one_by_one() {
    let (upstream, _heard) = server().await;
    let proxy = Proxy::start(upstream).await.unwrap();
    proxy.set_admission(Admission::Queued(20)).await;
    let since = Instant::now();
    // One that gives up keeps its turn.
    drop(TcpStream::connect(proxy.address()).await.unwrap());
    let clients: Vec<_> = (0..4).map(|_| tokio::spawn(started(proxy.address()))).collect();
    for client in clients {
        client.await.unwrap();
    }
    assert!(since.elapsed() >= Duration::from_millis(200), "{:?}", since.elapsed());
    assert_eq!(proxy.counts().opened, 5);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn dead_address_swallows_a_syn() {
    let (upstream, _heard) = server().await;
    let proxy = Proxy::start(upstream).await.unwrap();
    let dead = SocketAddr::from(([127, 0, 0, 2], proxy.address().port()));
    let blackhole = Blackhole::at(dead).unwrap();
    assert!(timeout(SILENCE, TcpStream::connect(dead)).await.is_err());
    started(proxy.address()).await;
    drop(blackhole);
    let refused = TcpStream::connect(dead).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}
