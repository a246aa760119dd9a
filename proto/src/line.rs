//! One connection between two processes, with or without encryption, and what is known of its other end.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use broadsweep_identity::identity::owner_of;
use broadsweep_identity::tls::why;
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite, BufReader, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_rustls::TlsStream;
use tonic::transport::server::Connected;

use crate::guard::{Flood, Meter, Side, Visit};
use crate::proof::IdentityFile;
use crate::secure::{Caller, Peer};

/// The first byte of what an executor with an identity answers to whoever speaks no TLS. Nothing in HTTP/2 begins with it.
const TLS_ALERT: u8 = 0x15;
/// What a local executor answers to whoever does not know its secret. Nothing in HTTP/2 or TLS begins with it.
pub(crate) const NOT_YOURS: u8 = 0x7f;

/// Bytes that are read of an encrypted connection at once. The TLS library asks for 4 KiB at a time: a quarter of a record.
const READ_BYTES: usize = 64 << 10;

/// What TLS reads from and writes to.
pub(crate) type Wire = BufReader<TcpStream>;

/// The [`Wire`] of a connection. What it reads into is taken at once, before the handshake.
pub(crate) fn wire(stream: TcpStream) -> Wire {
    BufReader::with_capacity(READ_BYTES, stream)
}

/// A connection, with or without encryption.
#[derive(Debug)]
pub struct Line {
    stream: Either,
    caller: Caller,
    /// Where it is noted that the other side does not let this one in, until it has said anything else. Of lines that this
    /// side dialled.
    refusal: Option<Verdict>,
    /// What the other side has sent.
    meter: Meter,
    /// Rings when the other side has been silent for too long.
    alarm: Option<Pin<Box<Sleep>>>,
    /// Its place among those that came in; a line that this side dialled has none.
    visit: Option<Visit>,
}

/// Why whoever was dialled does not let this side in, if it said so. A call that was on its way then ends with whatever the
/// gRPC library saw last, often no more than that the connection is closed; this is the reason.
#[derive(Clone, Debug, Default)]
pub(crate) struct Verdict(Arc<OnceLock<String>>);

impl Verdict {
    /// What was said.
    pub(crate) fn reason(&self) -> Option<&str> {
        self.0.get().map(String::as_str)
    }
}

#[derive(Debug)]
enum Either {
    Plain(TcpStream),
    Secure(Box<(TlsStream<Wire>, Belief)>),
}

/// Whether the owner of a certificate is believed.
#[derive(Debug)]
struct Belief {
    certificate: CertificateDer<'static>,
    /// By whom.
    identity: Arc<IdentityFile>,
    /// With which version of that file it was seen last.
    version: Option<u64>,
}

impl Line {
    fn new(stream: Either, caller: Caller, other: Side) -> Self {
        Self { stream, caller, refusal: None, meter: Meter::new(other, Instant::now()), alarm: None, visit: None }
    }

    /// One that came, or was dialled, without encryption; the other end is the client or the server of it.
    pub(crate) fn plain(stream: TcpStream, peer: Peer, other: Side) -> Self {
        let caller = Caller { address: stream.peer_addr().ok(), peer, share: None };
        Self::new(Either::Plain(stream), caller, other)
    }

    /// One whose handshake is over; otherwise what is wrong with the certificate that was shown.
    pub(crate) fn secure(
        stream: TlsStream<Wire>,
        identity: &Arc<IdentityFile>,
        other: Side,
    ) -> Result<Self, (io::Error, TcpStream)> {
        let (transport, session) = stream.get_ref();
        let address = transport.get_ref().peer_addr().ok();
        let certificate = session.peer_certificates().and_then(|shown| shown.first()).cloned();
        let owner = certificate.as_ref().and_then(owner_of);
        let (Some(certificate), Some(owner)) = (certificate, owner) else {
            let transport = match stream {
                TlsStream::Client(stream) => stream.into_inner().0,
                TlsStream::Server(stream) => stream.into_inner().0,
            };
            let transport = transport.into_inner();
            return Err((io::Error::other("its certificate does not say what its owner is"), transport));
        };
        let belief = Belief { certificate, identity: Arc::clone(identity), version: None };
        let caller = Caller { address, peer: Peer::Known(owner), share: None };
        Ok(Self::new(Either::Secure(Box::new((stream, belief))), caller, other))
    }

    /// Notes there why the other side does not let this one in.
    pub(crate) fn with_verdict(self, verdict: Verdict) -> Self {
        Self { refusal: Some(verdict), ..self }
    }

    /// Gives it its place.
    pub(crate) fn with_visit(self, visit: Visit) -> Self {
        Self { visit: Some(visit), ..self }
    }

    /// The same read, or why the other side does not let this one in, if that is the first that it says.
    fn heard(&mut self, read: io::Result<()>, came: &[u8]) -> io::Result<()> {
        let Some(verdict) = self.refusal.take() else { return read };
        let read = read.and_then(|()| {
            match came.first() {
                Some(&TLS_ALERT) => Err("it lets in only whom it knows; name your identity with --identity"),
                Some(&NOT_YOURS) => {
                    Err("it is a local executor of another driver, and takes orders from that one alone")
                }
                _ => Ok(()),
            }
            .map_err(|reason| io::Error::new(io::ErrorKind::PermissionDenied, reason))
        });
        if let Err(error) = &read
            && error.kind() == io::ErrorKind::PermissionDenied
        {
            let _ = verdict.0.set(error.to_string()); // it says the same of every connection
        }
        read
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
        let who = match &self.caller.peer {
            Peer::Anyone | Peer::Kin => "a connection".to_owned(),
            Peer::Known(owner) => owner.to_string(),
        };
        let address = self.caller.address.map_or_else(|| "nowhere".to_owned(), |address| address.to_string());
        tracing::warn!("{who} at {address} was cut off: {flood}");
        if let Some(visit) = &self.visit {
            visit.charge(Instant::now());
        }
        io::Error::new(io::ErrorKind::InvalidData, flood)
    }
}

impl Belief {
    /// Ends the connection of whoever was revoked meanwhile.
    fn check(&mut self) -> io::Result<()> {
        let version = self.identity.still_believes(&self.certificate, self.version);
        self.version = Some(version.map_err(|error| io::Error::new(io::ErrorKind::PermissionDenied, why(&error)))?);
        Ok(())
    }
}

impl Connected for Line {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        Caller { share: self.visit.as_ref().map(Visit::share), ..self.caller.clone() }
    }
}

/// What TLS says of an error, in words that help.
pub(crate) fn told(error: io::Error) -> io::Error {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(inner) => io::Error::new(io::ErrorKind::PermissionDenied, why(inner)),
        // What TLS says of it is for people who write TLS.
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            io::Error::new(error.kind(), "the connection was cut")
        }
        None => error,
    }
}

impl AsyncRead for Line {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let read = match &mut this.stream {
            Either::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Either::Secure(secure) => {
                let (stream, belief) = &mut **secure;
                match belief.check() {
                    Ok(()) => Pin::new(stream).poll_read(context, buffer).map_err(told),
                    Err(revoked) => Poll::Ready(Err(revoked)),
                }
            }
        };
        let came = &buffer.filled()[before..];
        let read = read.map(|read| this.heard(read, came));
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
            Either::Secure(secure) => Pin::new(&mut secure.0).poll_write(context, bytes).map_err(told),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Either::Plain(stream) => Pin::new(stream).poll_flush(context),
            Either::Secure(secure) => Pin::new(&mut secure.0).poll_flush(context).map_err(told),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Either::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Either::Secure(secure) => Pin::new(&mut secure.0).poll_shutdown(context).map_err(told),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().stream {
            Either::Plain(stream) => Pin::new(stream).poll_write_vectored(context, buffers),
            Either::Secure(secure) => Pin::new(&mut secure.0).poll_write_vectored(context, buffers).map_err(told),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Either::Plain(stream) => stream.is_write_vectored(),
            Either::Secure(secure) => secure.0.is_write_vectored(),
        }
    }
}
