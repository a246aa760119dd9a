//! A connection of an attacker, with or without an identity.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use broadsweep_identity::identity::Identity;
use broadsweep_identity::tls::{client_config, executor_name};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::{ClientConfig, ClientConnection};

/// How long an attacker waits to be let in.
const PATIENCE: Duration = Duration::from_secs(5);

/// What carries bytes both ways.
pub(super) trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

/// An identity as an attacker uses it, or none.
#[derive(Clone, Debug)]
pub struct Badge(pub Arc<ClientConfig>);

impl Badge {
    /// The identity in this file.
    #[must_use]
    pub fn read(path: &Path) -> Self {
        Self(client_config(&Identity::read(path).unwrap()).unwrap())
    }

    /// The first message of its handshake.
    #[must_use]
    pub fn hello(&self) -> Vec<u8> {
        let mut connection = ClientConnection::new(Arc::clone(&self.0), executor_name()).unwrap();
        let mut hello = Vec::new();
        connection.write_tls(&mut hello).unwrap();
        hello
    }
}

/// The way to whoever is attacked.
#[derive(Clone, Debug)]
pub(super) struct Way {
    pub(super) to: SocketAddr,
    /// As from a machine of its own: what an address has done before does not count.
    pub(super) from: IpAddr,
    pub(super) badge: Option<Badge>,
}

/// A connection over TCP alone.
pub(super) async fn plain(way: &Way) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(way.from, 0))?;
    // Its port is free at once for the next one.
    socket.set_zero_linger()?;
    let stream = timeout(PATIENCE, socket.connect(way.to)).await??;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// A connection, encrypted where there is a badge.
pub(super) async fn open(way: &Way) -> io::Result<Box<dyn Wire>> {
    let stream = plain(way).await?;
    let Some(Badge(config)) = &way.badge else { return Ok(Box::new(stream)) };
    let connector = TlsConnector::from(Arc::clone(config));
    Ok(Box::new(timeout(PATIENCE, connector.connect(executor_name(), stream)).await??))
}
