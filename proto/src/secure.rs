//! Connections on which both sides know each other: the door of an executor, how it is dialled, and the rule who may call
//! what.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use broadsweep_identity::Role;
use broadsweep_identity::identity::Owner;
use broadsweep_identity::tls::executor_name;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{sleep, timeout};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tonic::codegen::http::{self, Uri};
use tonic::codegen::{BoxFuture, Service};
use tonic::{Status, body::Body};

use crate::line::{Line, NOT_YOURS, told};
use crate::proof::Proof;
use crate::secret::Secret;

/// How long a stranger may take to show who it is.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// Handshakes at a time: who comes then has to wait.
const HANDSHAKES_MAX: usize = 64;
/// Connections that were let in and wait for the server.
const WAITING_MAX: usize = 16;
/// The wait after the system had no room for a connection.
const REST: Duration = Duration::from_millis(100);
/// How long somebody who is refused is listened to.
const GOODBYE_MAX: Duration = Duration::from_secs(1);

/// Who is at the other end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Nobody has to say who it is: on loopback, or by the word of whoever started the executor.
    Anyone,
    /// A local executor's own driver, or another executor of that one.
    Kin,
    /// The owner of an identity.
    Known(Owner),
}

/// What is known of whoever opened a connection.
#[derive(Clone, Debug)]
pub struct Caller {
    /// From where.
    pub address: Option<SocketAddr>,
    /// Who.
    pub peer: Peer,
}

impl Caller {
    /// The name of the driver that calls, if that has an identity.
    #[must_use]
    pub fn driver(&self) -> Option<&str> {
        match &self.peer {
            Peer::Known(owner) if owner.role == Role::Driver => Some(&owner.name),
            Peer::Known(_) | Peer::Anyone | Peer::Kin => None,
        }
    }
}

/// What executors may call as well as drivers: what one of them needs to get blocks from another.
const OPEN_TO_EXECUTORS: [&str; 2] = ["/broadsweep.blocks.v1.Blocks/Watch", "/broadsweep.bulk.v1.Bulk/Fetch"];

/// Whether a caller may make a call; otherwise the answer.
///
/// # Errors
/// `PERMISSION_DENIED`.
pub fn check<B>(request: &http::Request<B>) -> Result<(), Status> {
    match request.extensions().get::<Caller>().map(|caller| &caller.peer) {
        Some(Peer::Known(Owner { role: Role::Executor, .. }))
            if !OPEN_TO_EXECUTORS.contains(&request.uri().path()) =>
        {
            Err(Status::permission_denied(
                "the identity of an executor gives no orders; a driver needs its own, `driver.pem`",
            ))
        }
        // Without a caller there is no door either: a simulation.
        Some(Peer::Known(_) | Peer::Anyone | Peer::Kin) | None => Ok(()),
    }
}

/// The connections that come to `listener` and show what `proof` asks for. Nobody who takes its time keeps others waiting.
pub fn door(listener: TcpListener, proof: Proof) -> mpsc::Receiver<io::Result<Line>> {
    let (let_in, incoming) = mpsc::channel(WAITING_MAX);
    tokio::spawn(async move {
        let handshakes = Arc::new(Semaphore::new(HANDSHAKES_MAX));
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = let_in.closed() => return,
            };
            let (stream, address) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Of a connection that is gone already, or of a system that has no room: others may come.
                    tracing::debug!(%error, "a connection was not accepted");
                    sleep(REST).await;
                    continue;
                }
            };
            let _ = stream.set_nodelay(true);
            let Ok(permit) = Arc::clone(&handshakes).acquire_owned().await else { return };
            let (let_in, proof) = (let_in.clone(), proof.clone());
            tokio::spawn(async move {
                let shaken = timeout(HANDSHAKE_MAX, welcome(stream, &proof)).await;
                drop(permit);
                match shaken {
                    Ok(Ok(line)) => {
                        let _ = let_in.send(Ok(line)).await; // the server may have ended
                    }
                    Ok(Err((error, stream))) => {
                        tracing::info!(%address, "a connection was refused: {}", told(error));
                        dismiss(stream).await;
                    }
                    Err(_) => tracing::info!(%address, "a connection was refused: it did not say who it is"),
                }
            });
        }
    });
    incoming
}

/// Asks a new connection for what it has to show.
async fn welcome(mut stream: TcpStream, proof: &Proof) -> Result<Line, (io::Error, TcpStream)> {
    match proof {
        Proof::Nothing => Ok(Line::plain(stream, Peer::Anyone, false)),
        Proof::Identity(identity) => {
            let accept = TlsAcceptor::from(identity.current().server).accept(stream);
            Line::secure(accept.into_fallible().await?.into(), identity)
        }
        Proof::Secret(secret) => match know(&mut stream, secret).await {
            Ok(()) => Ok(Line::plain(stream, Peer::Kin, false)),
            Err(error) => Err((error, stream)),
        },
    }
}

/// Whether the other end knows the secret. What it is told if it does not is in words on its side: see [`Line`].
async fn know(stream: &mut TcpStream, secret: &Secret) -> io::Result<()> {
    let mut shown = *secret.bytes();
    shown.fill(0);
    stream.read_exact(&mut shown).await?;
    if secret.is(&shown) {
        return Ok(());
    }
    stream.write_all(&[NOT_YOURS]).await?;
    Err(io::Error::new(io::ErrorKind::PermissionDenied, "it is not the driver of this executor"))
}

/// Lets somebody hear why it is refused: what it says meanwhile is read, or its system would drop what it was told.
async fn dismiss(mut stream: TcpStream) {
    let _ = stream.shutdown().await; // it may have gone
    let mut heard = [0; 4096];
    let listen = async { while stream.read(&mut heard).await.is_ok_and(|bytes| bytes > 0) {} };
    let _ = timeout(GOODBYE_MAX, listen).await;
}

/// Dials an executor: as `endpoint`'s connector.
#[derive(Clone, Debug)]
pub(crate) struct Dialler(pub(crate) Proof);

impl Service<Uri> for Dialler {
    type Response = TokioIo<Line>;
    type Error = io::Error;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let proof = self.0.clone();
        Box::pin(async move { Ok(TokioIo::new(dial(uri, proof).await?)) })
    }
}

async fn dial(uri: Uri, proof: Proof) -> io::Result<Line> {
    let address = uri.authority().ok_or_else(|| io::Error::other("no host to connect to"))?;
    let mut stream = TcpStream::connect(address.as_str()).await?;
    stream.set_nodelay(true)?;
    match proof {
        Proof::Nothing => Ok(Line::plain(stream, Peer::Anyone, true)),
        Proof::Identity(identity) => {
            let connector = TlsConnector::from(identity.current().client);
            let stream = connector.connect(executor_name(), stream).await.map_err(told)?;
            Line::secure(stream.into(), &identity).map_err(|(error, _)| error)
        }
        Proof::Secret(secret) => {
            stream.write_all(secret.bytes()).await?;
            Ok(Line::plain(stream, Peer::Kin, true))
        }
    }
}

/// Lets calls through that their caller may make.
#[derive(Clone, Copy, Debug)]
pub struct Gate;

/// A service behind the gate.
#[derive(Clone, Debug)]
pub struct Gated<S>(S);

impl<S> tower_layer::Layer<S> for Gate {
    type Service = Gated<S>;

    fn layer(&self, service: S) -> Gated<S> {
        Gated(service)
    }
}

impl<S, B> Service<http::Request<B>> for Gated<S>
where
    S: Service<http::Request<B>, Response = http::Response<Body>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        match check(&request) {
            Ok(()) => Box::pin(self.0.call(request)),
            Err(status) => Box::pin(async move { Ok(status.into_http()) }),
        }
    }
}
