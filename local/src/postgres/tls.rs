//! TLS for a cluster: a certificate authority and a server certificate, and the program that terminates TLS.
//!
//! The server terminates TLS if its build can. The build that is fetched if none is installed cannot; there a small
//! front accepts the connections, answers the request for TLS as PostgreSQL would and forwards the bytes. The front
//! implements nothing else of the protocol, and leaves TLS itself to rustls.

use std::fs::Permissions;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::account::Account;
use super::binaries::Binaries;
use super::port::Port;
use super::program::run;

/// The authority's certificate, beside the server's in the data folder, where a standby's copy gets it too.
pub(super) const AUTHORITY: &str = "ca.crt";
/// PostgreSQL's own names for them.
const CERTIFICATE: &str = "server.crt";
const KEY: &str = "server.key";

const ANSWER: Duration = Duration::from_secs(20);
const HANDSHAKE: Duration = Duration::from_secs(10);
/// A client's first eight bytes if it requests TLS (PostgreSQL's protocol, SSLRequest).
const TLS_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// Writes a new authority and a certificate signed by it for `localhost`, `127.0.0.1` and `::1` into `data`.
pub(super) fn certify(data: &Path, account: Account) -> Result<()> {
    let (key, mut authority) = (KeyPair::generate()?, CertificateParams::new([])?);
    authority
        .distinguished_name
        .push(DnType::CommonName, "Seer's local PostgreSQL");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let certificate = authority.self_signed(&key)?.pem();
    let issuer = Issuer::new(authority, key);

    let server_key = KeyPair::generate()?;
    let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let mut server = CertificateParams::new(names)?;
    server.distinguished_name.push(DnType::CommonName, "localhost");
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let server = server.signed_by(&server_key, &issuer)?.pem();

    for (name, text) in [
        (AUTHORITY, certificate),
        (CERTIFICATE, server),
        (KEY, server_key.serialize_pem()),
    ] {
        let file = data.join(name);
        std::fs::write(&file, text)
            .and_then(|()| std::fs::set_permissions(&file, Permissions::from_mode(0o600)))
            .with_context(|| format!("cannot write {}", file.display()))?;
        account.own(&file)?;
    }
    Ok(())
}

/// Returns whether this build of PostgreSQL supports TLS itself.
pub(super) async fn is_built_in(binaries: &Binaries, data: &Path, account: Account) -> Result<bool> {
    let mut asked = account.command(&binaries.program("postgres"));
    asked.args(["-C", "ssl_library", "-D"]).arg(data);
    Ok(!run(asked, None, ANSWER).await?.trim().is_empty())
}

/// Terminates TLS for a server that cannot. It runs in a thread of its own, because clusters outlive the runtime in
/// which they are created. While the server is down it accepts connections and closes them.
#[derive(Debug)]
pub(super) struct Front {
    port: Port,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Front {
    /// Starts a front on `port` for the server on `server`, with the certificate in `data`.
    pub(super) fn of(port: Port, server: u16, data: &Path) -> Result<Front> {
        let chain = CertificateDer::from_pem_file(data.join(CERTIFICATE)).context("the server certificate")?;
        let key = PrivateKeyDer::from_pem_file(data.join(KEY)).context("the server certificate's key")?;
        let configuration = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![chain], key)?;
        let acceptor = TlsAcceptor::from(Arc::new(configuration));

        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port.number()))
            .with_context(|| format!("port {} is taken by another process", port.number()))?;
        listener.set_nonblocking(true)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (end, ended) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("postgres-tls".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    tokio::select! {
                        _ = ended => {}
                        _ = accept(listener, acceptor, server) => {}
                    }
                });
            })?;
        Ok(Front {
            port,
            end: Some(end),
            thread: Some(thread),
        })
    }

    pub(super) fn port(&self) -> u16 {
        self.port.number()
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn accept(listener: std::net::TcpListener, acceptor: TlsAcceptor, server: u16) -> Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let mut connections = JoinSet::new();
    loop {
        let (client, _) = listener.accept().await?;
        connections.spawn(pass(client, acceptor.clone(), server));
        while connections.try_join_next().is_some() {}
    }
}

/// Forwards one connection until either side ends it. The client sees a failure as a closed connection.
async fn pass(mut client: TcpStream, acceptor: TlsAcceptor, server: u16) -> Result<()> {
    client.set_nodelay(true)?;
    let mut first = [0; TLS_REQUEST.len()];
    tokio::time::timeout(HANDSHAKE, client.read_exact(&mut first)).await??;
    let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, server)).await?;
    server.set_nodelay(true)?;
    if first == TLS_REQUEST {
        client.write_all(b"S").await?;
        let mut client = tokio::time::timeout(HANDSHAKE, acceptor.accept(client)).await??;
        copy_bidirectional(&mut client, &mut server).await?;
    } else {
        server.write_all(&first).await?;
        copy_bidirectional(&mut client, &mut server).await?;
    }
    Ok(())
}
