//! A node that attacks whoever dials it, as a stranger or as a member of the cluster.

use std::io;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use broadsweep_identity::identity::Identity;
use broadsweep_identity::tls::server_config;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::net::TcpListener;
use tokio::runtime;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::be_nice;
use super::frames::{
    CONTINUATION, DATA, END_HEADERS, HEADERS, PING, PRIORITY, RST_STREAM, SETTINGS, WINDOW_UPDATE, bomb, claiming,
    frame, header,
};

/// How long one connection is held that says nothing more.
const HOLD: Duration = Duration::from_secs(3);
/// Frames that are written together.
const BATCH: usize = 200;
/// `:status: 200` of the static table.
const OK: u8 = 0x88;

/// What it sends, in a name.
type Flood = (&'static str, fn() -> (Vec<u8>, Vec<u8>));

/// First what comes once, then what comes again and again. Stream 1 is the driver's first call.
const FLOODS: [Flood; 13] = [
    ("pings", || (settings(), frame(PING, 0, 0, &[7; 8]).repeat(BATCH))),
    ("settings", || (settings(), frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0xff, 0xff]).repeat(BATCH))),
    ("priorities", || (settings(), frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 9]).repeat(BATCH))),
    ("window updates", || (settings(), frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]).repeat(BATCH))),
    ("endless headers", || {
        let opening = frame(HEADERS, 0, 1, &answer());
        ([settings(), opening].concat(), frame(CONTINUATION, 0, 1, &header("x", &"y".repeat(100))).repeat(BATCH))
    }),
    ("endless trailers", || {
        let opening = [frame(HEADERS, END_HEADERS, 1, &answer()), frame(HEADERS, 1, 1, &header("grpc-status", "0"))];
        let more = frame(CONTINUATION, 0, 1, &header("x", &"y".repeat(100))).repeat(BATCH);
        ([settings(), opening.concat()].concat(), more)
    }),
    ("a bomb of headers", || {
        let bomb = frame(HEADERS, END_HEADERS, 1, &[answer(), bomb(10_000)].concat());
        ([settings(), bomb].concat(), frame(PING, 0, 0, &[7; 8]))
    }),
    ("early answers", || {
        let early = frame(HEADERS, END_HEADERS, 1, &header(":status", "103"));
        (settings(), early.repeat(BATCH))
    }),
    ("empty frames", || {
        ([settings(), frame(HEADERS, END_HEADERS, 1, &answer())].concat(), frame(DATA, 0, 1, &[]).repeat(BATCH))
    }),
    ("tiny frames", || {
        ([settings(), frame(HEADERS, END_HEADERS, 1, &answer())].concat(), frame(DATA, 0, 1, &[0]).repeat(BATCH))
    }),
    ("an oversize frame", || ([settings(), claiming((16 << 20) - 1, DATA, 0, 1, &[])].concat(), vec![0; 64 << 10])),
    ("resets", || (settings(), frame(RST_STREAM, 0, 1, &[0, 0, 0, 8]).repeat(BATCH))),
    ("garbage", || (b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), b"nothing that makes sense".repeat(BATCH))),
];

fn settings() -> Vec<u8> {
    frame(SETTINGS, 0, 0, &[])
}

fn answer() -> Vec<u8> {
    [vec![OK], header("content-type", "application/grpc")].concat()
}

/// A node that floods. Dropping it ends it.
#[derive(Debug)]
pub struct HostileNode {
    /// What it sends.
    pub name: &'static str,
    /// Where it listens.
    pub address: String,
    _stop: oneshot::Sender<()>,
}

impl HostileNode {
    /// One for each flood, on free ports, each with this identity, if any.
    ///
    /// # Panics
    /// If there is no identity in the file.
    #[must_use]
    pub fn start_all(identity: Option<&Path>) -> Vec<Self> {
        let config = identity.map(|path| server_config(&Identity::read(path).unwrap()).unwrap());
        let acceptor = config.map(TlsAcceptor::from);
        FLOODS.into_iter().map(|flood| Self::start(flood, acceptor.clone())).collect()
    }

    fn start((name, flood): Flood, acceptor: Option<TlsAcceptor>) -> Self {
        let (tell, address) = mpsc::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        thread::spawn(move || {
            be_nice();
            let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                tell.send(listener.local_addr().unwrap().to_string()).unwrap();
                tokio::select! {
                    _ = stopped => {}
                    () = serve(&listener, acceptor, flood) => {}
                }
            });
        });
        Self { name, address: address.recv().unwrap(), _stop: stop }
    }
}

async fn serve(listener: &TcpListener, acceptor: Option<TlsAcceptor>, flood: fn() -> (Vec<u8>, Vec<u8>)) {
    while let Ok((stream, _)) = listener.accept().await {
        // However that ends, it goes on: it is cut off.
        let _ = match &acceptor {
            None => attack(stream, flood()).await,
            Some(acceptor) => match timeout(HOLD, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => attack(stream, flood()).await,
                _ => continue,
            },
        };
    }
}

async fn attack(stream: impl AsyncRead + AsyncWrite, (first, then): (Vec<u8>, Vec<u8>)) -> io::Result<()> {
    let (mut reader, mut writer) = split(stream);
    // Once the other side has made its call.
    let mut heard = vec![0; 64 << 10];
    let _ = timeout(HOLD, reader.read(&mut heard)).await?;
    let write = async {
        writer.write_all(&first).await?;
        writer.flush().await?;
        loop {
            timeout(HOLD, writer.write_all(&then)).await??;
        }
    };
    let read = async {
        while reader.read(&mut heard).await? > 0 {}
        Ok(())
    };
    tokio::select! {
        ended = write => ended,
        ended = read => ended,
    }
}
