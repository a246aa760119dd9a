//! Connections on which both sides know each other: an identity's file in use, the handshake of either side, and the rule
//! who may call what.

use std::fs;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use broadsweep_identity::Role;
use broadsweep_identity::identity::{Identity, role_of, usual_place};
use broadsweep_identity::tls::{client_config, executor_name, server_config, why};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};
use tonic::codegen::http::{self, Uri};
use tonic::codegen::{BoxFuture, Service};
use tonic::transport::server::Connected;
use tonic::{Status, body::Body};

use crate::guard::{CallGuard, Flood, Meter, Share, Side, Visit};

/// The first byte of what TLS says, and of nothing that HTTP/2 does.
const TLS_ALERT: u8 = 0x15;

/// The file of an identity, read again when it changes: who is renewed or revoked need not start anything anew.
#[derive(Debug)]
pub struct IdentityFile {
    path: PathBuf,
    used: Mutex<Used>,
}

/// What a file held when it was read last.
#[derive(Clone, Debug)]
struct Used {
    stamp: Stamp,
    role: Role,
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

/// By which a file is known to be the one that was read: its device, number, size and time of change.
type Stamp = (u64, u64, u64, i64, i64);

fn stamp(path: &Path) -> io::Result<Stamp> {
    let facts = fs::metadata(path)?;
    Ok((facts.dev(), facts.ino(), facts.size(), facts.ctime(), facts.ctime_nsec()))
}

fn read(path: &Path) -> Result<Used, String> {
    let stamp = stamp(path).map_err(|error| format!("cannot read the identity {}: {error}", path.display()))?;
    let identity = Identity::read(path).map_err(|error| error.to_string())?;
    let damaged = |error| format!("{}: {error}", path.display());
    Ok(Used {
        stamp,
        role: identity.role,
        server: server_config(&identity).map_err(damaged)?,
        client: client_config(&identity).map_err(damaged)?,
    })
}

impl IdentityFile {
    /// Uses the identity in a file.
    ///
    /// # Errors
    /// In words, with what to do.
    pub fn open(path: &Path) -> Result<Self, String> {
        let used = Mutex::new(read(path)?);
        Ok(Self { path: path.to_owned(), used })
    }

    /// The identity for this role: in the file that is named, or in the usual place if there is one.
    ///
    /// # Errors
    /// In words: it cannot be used, or is of the other role.
    pub fn for_role(role: Role, named: Option<&Path>) -> Result<Option<Arc<Self>>, String> {
        let usual = || usual_place(role).filter(|path| path.is_file());
        let Some(path) = named.map(Path::to_owned).or_else(usual) else { return Ok(None) };
        let file = Self::open(&path)?;
        if file.role() == role {
            return Ok(Some(Arc::new(file)));
        }
        let (path, other) = (path.display(), file.role());
        Err(format!("{path} is the {other}'s identity, and the {role}'s is due: name its own file"))
    }

    /// What its owner is.
    #[must_use]
    pub fn role(&self) -> Role {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).role
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is in the file now. One that cannot be used any more changes nothing: it may be half copied.
    fn current(&self) -> Used {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        match stamp(&self.path) {
            Ok(stamp) if stamp != used.stamp => match read(&self.path) {
                Ok(newer) => *used = newer,
                Err(error) => {
                    tracing::warn!("{error}; going on with the identity that was there before");
                    used.stamp = stamp;
                }
            },
            Ok(_) | Err(_) => {}
        }
        used.clone()
    }
}

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Nobody has to say who it is: on loopback, or by the word of whoever started the executor.
    Anyone,
    /// The owner of an identity.
    Known(Role),
}

/// What is known of whoever opened a connection.
#[derive(Clone, Debug)]
pub struct Caller {
    /// From where.
    pub address: Option<SocketAddr>,
    /// Who.
    pub peer: Peer,
    /// What calls from its address share.
    share: Option<Arc<Share>>,
}

/// What executors may call as well as drivers: what one of them needs to get blocks from another.
const OPEN_TO_EXECUTORS: [&str; 2] = ["/broadsweep.blocks.v1.Blocks/Watch", "/broadsweep.bulk.v1.Bulk/Fetch"];

/// Whether a caller may make a call; otherwise the answer.
///
/// # Errors
/// `PERMISSION_DENIED`.
pub fn check<B>(request: &http::Request<B>) -> Result<(), Status> {
    match request.extensions().get::<Caller>().map(|caller| caller.peer) {
        Some(Peer::Known(Role::Executor)) if !OPEN_TO_EXECUTORS.contains(&request.uri().path()) => {
            Err(Status::permission_denied(
                "the identity of an executor gives no orders; a driver needs its own, `driver.pem`",
            ))
        }
        // Without a caller there is no door either: a simulation.
        Some(Peer::Known(_) | Peer::Anyone) | None => Ok(()),
    }
}

/// A connection, with or without encryption.
#[derive(Debug)]
pub struct Line {
    stream: Either,
    peer: Peer,
    address: Option<SocketAddr>,
    /// Whether this side dialled, without encryption, and has heard nothing yet.
    is_unheard: bool,
    /// What the other side has sent.
    meter: Meter,
    /// Rings when the other side has been silent for too long.
    alarm: Option<Pin<Box<Sleep>>>,
    /// Its place among those that came in; a line that this side dialled has none.
    visit: Option<Visit>,
}

#[derive(Debug)]
enum Either {
    Plain(TcpStream),
    Secure(Box<TlsStream<TcpStream>>),
}

impl Line {
    fn new(stream: Either, peer: Peer, address: Option<SocketAddr>, side: Side) -> Self {
        let meter = Meter::new(side, Instant::now());
        Self { stream, peer, address, is_unheard: false, meter, alarm: None, visit: None }
    }

    /// One that came without encryption.
    pub(crate) fn accepted(stream: TcpStream) -> Self {
        let address = stream.peer_addr().ok();
        Self::new(Either::Plain(stream), Peer::Anyone, address, Side::Client)
    }

    /// Gives it its place.
    pub(crate) fn with_visit(self, visit: Visit) -> Self {
        Self { visit: Some(visit), ..self }
    }

    /// Takes note of what came, or of nothing.
    fn note(&mut self, read: Poll<&[u8]>, context: &mut Context<'_>) -> Result<(), Flood> {
        if let Poll::Ready(bytes) = read {
            self.meter.take(bytes, Instant::now())?;
        }
        let (Poll::Pending, Some(deadline)) = (read, self.meter.deadline()) else { return Ok(()) };
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if alarm.deadline() != deadline {
            alarm.as_mut().reset(deadline);
        }
        if alarm.as_mut().poll(context).is_ready() { Err(self.meter.overdue()) } else { Ok(()) }
    }

    /// Names whoever floods.
    fn cut_off(&self, flood: Flood) -> io::Error {
        let who = match self.peer {
            Peer::Anyone => "a connection".to_owned(),
            Peer::Known(role) => format!("an {role}").replace("an driver", "a driver"),
        };
        let address = self.address.map_or_else(|| "nowhere".to_owned(), |address| address.to_string());
        tracing::warn!("{who} at {address} was cut off: {flood}");
        if let Some(visit) = &self.visit {
            visit.charge(Instant::now());
        }
        io::Error::new(io::ErrorKind::InvalidData, flood)
    }
}

impl Connected for Line {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        Caller { address: self.address, peer: self.peer, share: self.visit.as_ref().map(Visit::share) }
    }
}

/// What TLS says of an error, in words that help.
pub(crate) fn told(error: io::Error) -> io::Error {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(inner) => io::Error::new(error.kind(), why(inner)),
        None => error,
    }
}

impl AsyncRead for Line {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let read = match &mut this.stream {
            Either::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Either::Secure(stream) => Pin::new(stream).poll_read(context, buffer).map_err(told),
        };
        let came = &buffer.filled()[before..];
        if this.is_unheard
            && let Some(first) = came.first()
        {
            this.is_unheard = false;
            if *first == TLS_ALERT {
                let reason = "the executor lets in only whom it knows: name your identity with --identity";
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, reason)));
            }
        }
        let heard = read.is_ready().then_some(came).map_or(Poll::Pending, Poll::Ready);
        match this.note(heard, context) {
            Ok(()) => read,
            Err(flood) => Poll::Ready(Err(this.cut_off(flood))),
        }
    }
}

impl AsyncWrite for Line {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().stream {
            Either::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Either::Secure(stream) => Pin::new(stream).poll_write(context, bytes).map_err(told),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Either::Plain(stream) => Pin::new(stream).poll_flush(context),
            Either::Secure(stream) => Pin::new(stream).poll_flush(context).map_err(told),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Either::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Either::Secure(stream) => Pin::new(stream).poll_shutdown(context).map_err(told),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().stream {
            Either::Plain(stream) => Pin::new(stream).poll_write_vectored(context, buffers),
            Either::Secure(stream) => Pin::new(stream).poll_write_vectored(context, buffers).map_err(told),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Either::Plain(stream) => stream.is_write_vectored(),
            Either::Secure(stream) => stream.is_write_vectored(),
        }
    }
}

pub(crate) async fn welcome(
    stream: TcpStream,
    address: SocketAddr,
    identity: &IdentityFile,
) -> Result<Line, (io::Error, TcpStream)> {
    let accept = TlsAcceptor::from(identity.current().server).accept(stream);
    let stream = accept.into_fallible().await?;
    let shown = stream.get_ref().1.peer_certificates().and_then(|shown| shown.first());
    let Some(role) = shown.and_then(role_of) else {
        return Err((io::Error::other("its certificate has no role"), stream.into_inner().0));
    };
    let stream = Either::Secure(Box::new(stream.into()));
    Ok(Line::new(stream, Peer::Known(role), Some(address), Side::Client))
}

/// Dials an executor: as `endpoint`'s connector.
#[derive(Clone, Debug)]
pub(crate) struct Dialler(pub(crate) Option<Arc<IdentityFile>>);

impl Service<Uri> for Dialler {
    type Response = TokioIo<Line>;
    type Error = io::Error;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let identity = self.0.clone();
        Box::pin(async move { Ok(TokioIo::new(dial(uri, identity).await?)) })
    }
}

async fn dial(uri: Uri, identity: Option<Arc<IdentityFile>>) -> io::Result<Line> {
    let address = uri.authority().ok_or_else(|| io::Error::other("no host to connect to"))?;
    let stream = TcpStream::connect(address.as_str()).await?;
    stream.set_nodelay(true)?;
    let address = stream.peer_addr().ok();
    let Some(identity) = identity else {
        let line = Line::new(Either::Plain(stream), Peer::Anyone, address, Side::Server);
        return Ok(Line { is_unheard: true, ..line });
    };
    let connector = TlsConnector::from(identity.current().client);
    let stream = connector.connect(executor_name(), stream).await.map_err(told)?;
    let stream = Either::Secure(Box::new(stream.into()));
    Ok(Line::new(stream, Peer::Known(Role::Executor), address, Side::Server))
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
                Box::pin(async move { Ok(answer.await?.map(|body| call.until_end_of(body))) })
            }
            Ok(None) => Box::pin(self.0.call(request)),
            Err(status) => Box::pin(async move { Ok(status.into_http()) }),
        }
    }
}
