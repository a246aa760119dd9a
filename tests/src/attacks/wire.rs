//! A connection of an attacker, with or without an identity.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
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

/// Where attackers come from: as from a machine of their own.
const ATTACKERS: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 66));
/// How long an attacker waits to be let in.
const PATIENCE: Duration = Duration::from_secs(5);

/// What carries bytes both ways.
pub trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
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

/// A connection over TCP alone, from the attackers' address.
pub(super) async fn plain(address: &str) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(ATTACKERS, 0))?;
    // Its port is free at once for the next one.
    socket.set_zero_linger()?;
    let address = address.parse().map_err(io::Error::other)?;
    let stream = timeout(PATIENCE, socket.connect(address)).await??;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// A connection, encrypted where there is a badge.
pub(super) async fn open(address: &str, badge: Option<&Badge>) -> io::Result<Box<dyn Wire>> {
    let stream = plain(address).await?;
    let Some(Badge(config)) = badge else { return Ok(Box::new(stream)) };
    let connector = TlsConnector::from(Arc::clone(config));
    Ok(Box::new(timeout(PATIENCE, connector.connect(executor_name(), stream)).await??))
}
