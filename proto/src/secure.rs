//! Connections on which both sides know each other: what either side shows the other, and the rule who may call what.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use broadsweep_identity::Role;
use broadsweep_identity::identity::Owner;
use broadsweep_identity::tls::executor_name;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tonic::codegen::http::{self, Uri};
use tonic::codegen::{BoxFuture, Service};
use tonic::{Status, body::Body};

use crate::guard::{CallGuard, Share, Side};
use crate::line::{Line, NOT_YOURS, Verdict, told, wire};
use crate::proof::Proof;
use crate::secret::Secret;

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
    /// What calls from its address share.
    pub(crate) share: Option<Arc<Share>>,
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

/// Asks a new connection for what it has to show.
pub(crate) async fn welcome(mut stream: TcpStream, proof: &Proof) -> Result<Line, (io::Error, TcpStream)> {
    match proof {
        Proof::Nothing => match stream.readable().await {
            // Whoever need not say who it is has to say anything at all.
            Ok(()) => Ok(Line::plain(stream, Peer::Anyone, Side::Client)),
            Err(error) => Err((error, stream)),
        },
        Proof::Identity(identity) => {
            let accept = TlsAcceptor::from(identity.current().server).accept(wire(stream)).into_fallible();
            match accept.await {
                Ok(stream) => Line::secure(stream.into(), identity, Side::Client),
                Err((error, wire)) => Err((error, wire.into_inner())),
            }
        }
        Proof::Secret(secret) => match know(&mut stream, secret).await {
            Ok(()) => Ok(Line::plain(stream, Peer::Kin, Side::Client)),
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

/// Dials an executor: as `endpoint`'s connector.
#[derive(Clone, Debug)]
pub(crate) struct Dialler {
    /// What it shows.
    pub(crate) proof: Proof,
    /// Where it is noted that the executor does not let it in.
    pub(crate) verdict: Verdict,
}

impl Service<Uri> for Dialler {
    type Response = TokioIo<Line>;
    type Error = io::Error;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let Self { proof, verdict } = self.clone();
        Box::pin(async move { Ok(TokioIo::new(dial(uri, proof).await?.with_verdict(verdict))) })
    }
}

async fn dial(uri: Uri, proof: Proof) -> io::Result<Line> {
    let address = uri.authority().ok_or_else(|| io::Error::other("no host to connect to"))?;
    let mut stream = TcpStream::connect(address.as_str()).await?;
    stream.set_nodelay(true)?;
    match proof {
        Proof::Nothing => Ok(Line::plain(stream, Peer::Anyone, Side::Server)),
        Proof::Identity(identity) => {
            let connector = TlsConnector::from(identity.current().client);
            let stream = connector.connect(executor_name(), wire(stream)).await.map_err(told)?;
            Line::secure(stream.into(), &identity, Side::Server).map_err(|(error, _)| error)
        }
        Proof::Secret(secret) => {
            stream.write_all(secret.bytes()).await?;
            Ok(Line::plain(stream, Peer::Kin, Side::Server))
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

impl<S> Service<http::Request<Body>> for Gated<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let share = request.extensions().get::<Caller>().and_then(|caller| caller.share.clone());
        let counted = check(&request).and_then(|()| share.map(CallGuard::new).transpose());
        match counted {
            Ok(Some(call)) => {
                let answer = self.0.call(request.map(|body| call.bound(body)));
                Box::pin(async move {
                    let (head, body) = answer.await?.into_parts();
                    let body = call.until_end_of(body);
                    Ok(body.map_or_else(Status::into_http, |body| http::Response::from_parts(head, body)))
                })
            }
            Ok(None) => Box::pin(self.0.call(request)),
            Err(status) => Box::pin(async move { Ok(status.into_http()) }),
        }
    }
}
