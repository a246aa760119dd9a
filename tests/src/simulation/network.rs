//! The simulated network as driver and executors need it: streams that tonic takes, a dialler, a listener.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use broadsweep_proto::dial::{Connect, Connecting};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codegen::Service;
use tonic::codegen::http::Uri;
use tonic::transport::Endpoint;
use tonic::transport::server::Connected;
use turmoil::net::{TcpListener, TcpStream};

use super::node::Node;

/// Where executors listen.
pub(super) const PORT: u16 = 7717;

/// One end of a connection. When its process has lost power, nothing leaves it any more.
#[derive(Debug)]
pub(super) struct Wire {
    stream: TcpStream,
    power: Arc<AtomicBool>,
}

impl Connected for Wire {
    type ConnectInfo = ();

    fn connect_info(&self) -> Self::ConnectInfo {}
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if !self.power.load(Ordering::Relaxed) {
            return Poll::Pending;
        }
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

/// Dials executors, for a driver or an executor process.
#[derive(Clone)]
pub(super) struct Dialler {
    pub(super) nodes: Arc<Vec<Arc<Node>>>,
    pub(super) power: Arc<AtomicBool>,
}

impl Connect for Dialler {
    fn connect(&self, endpoint: Endpoint) -> Connecting {
        let dialler = self.clone();
        Box::pin(async move { Ok(endpoint.connect_with_connector(dialler).await?.into()) })
    }
}

impl Dialler {
    async fn dial(self, uri: Uri) -> io::Result<TokioIo<Wire>> {
        let name = uri.host().unwrap_or_default().to_owned();
        match TcpStream::connect((name.as_str(), PORT)).await {
            Ok(stream) => Ok(TokioIo::new(Wire { stream, power: self.power })),
            // The simulated network refuses where a real one is silent: only a machine that is there can refuse.
            Err(_) if self.nodes.iter().any(|node| node.name == name && !node.can_refuse()) => {
                std::future::pending().await
            }
            Err(error) => Err(error),
        }
    }
}

impl Service<Uri> for Dialler {
    type Response = TokioIo<Wire>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TokioIo<Wire>>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().dial(uri))
    }
}

/// The connections that come in at an executor.
pub(super) async fn incoming() -> io::Result<ReceiverStream<io::Result<Wire>>> {
    let listener = TcpListener::bind(("0.0.0.0", PORT)).await?;
    let (accepted, connections) = mpsc::channel(16);
    tokio::spawn(async move {
        let power = Arc::new(AtomicBool::new(true));
        while let Ok((stream, _)) = listener.accept().await {
            let wire = Wire { stream, power: Arc::clone(&power) };
            if accepted.send(Ok(wire)).await.is_err() {
                return; // the executor has ended
            }
        }
    });
    Ok(ReceiverStream::new(connections))
}
