//! The door of an executor: lets connections in, each with its place, and tells of those that it does not let in, no
//! faster than somebody can read.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::HANDSHAKE_MAX;
use super::places::{Places, Visit};
use crate::line::{Line, told};
use crate::proof::Proof;
use crate::secure::welcome;

/// Connections that were let in and wait for the server.
const WAITING_MAX: usize = 16;
/// The wait after the system had no room for a connection.
const REST: Duration = Duration::from_millis(100);
/// How long somebody who is refused is listened to.
const GOODBYE_MAX: Duration = Duration::from_secs(1);
/// And how many bytes of it.
const GOODBYE_BYTES_MAX: u64 = 64 << 10;
/// Lines a second about connections that were refused.
const TOLD_MAX: u64 = 10;

/// The connections that come to `listener` and show what `proof` asks for. Nobody who takes its time keeps others waiting.
pub fn door(listener: TcpListener, proof: Proof) -> mpsc::Receiver<io::Result<Line>> {
    let (let_in, incoming) = mpsc::channel(WAITING_MAX);
    tokio::spawn(async move {
        let (places, refusals) = (Places::new(Instant::now()), Arc::new(Refusals::new()));
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
            match places.enter(address.ip(), Instant::now()) {
                Ok(visit) => {
                    let entrance = Entrance { address, visit, refusals: Arc::clone(&refusals) };
                    tokio::spawn(entrance.pass(stream, proof.clone(), let_in.clone()));
                }
                Err(full) => refusals.tell(address, &full.to_string()),
            }
        }
    });
    incoming
}

/// A connection on its way in.
struct Entrance {
    address: SocketAddr,
    visit: Visit,
    refusals: Arc<Refusals>,
}

impl Entrance {
    async fn pass(mut self, stream: TcpStream, proof: Proof, let_in: mpsc::Sender<io::Result<Line>>) {
        let _ = stream.set_nodelay(true);
        let shown = tokio::select! {
            biased;
            () = self.visit.pushed_out() => return self.refusals.tell(self.address, "others needed its place"),
            shown = timeout(HANDSHAKE_MAX, welcome(stream, &proof)) => shown,
        };
        match shown {
            Ok(Ok(line)) => match self.visit.admit() {
                Ok(()) => drop(let_in.send(Ok(line.with_visit(self.visit))).await), // the server may have ended
                Err(full) => self.refusals.tell(self.address, &full.to_string()),
            },
            Ok(Err((error, stream))) => {
                self.refusals.tell(self.address, &told(error).to_string());
                tokio::select! {
                    biased;
                    () = self.visit.pushed_out() => {}
                    () = dismiss(stream) => {}
                }
            }
            Err(_) => self.refusals.tell(self.address, "it did not say who it is"),
        }
    }
}

/// Lets somebody hear why it is refused: what it says meanwhile is read, or its system would drop what it was told.
async fn dismiss(mut stream: TcpStream) {
    let _ = stream.shutdown().await; // it may have gone
    let mut heard = [0; 4096];
    let mut stream = stream.take(GOODBYE_BYTES_MAX);
    let listen = async { while stream.read(&mut heard).await.is_ok_and(|bytes| bytes > 0) {} };
    let _ = timeout(GOODBYE_MAX, listen).await;
}

/// Tells of connections that were refused: some of them, where there are thousands.
struct Refusals {
    began: Instant,
    /// The second that is counted, and what was told in it.
    second: AtomicU64,
    told: AtomicU64,
    untold: AtomicU64,
}

impl Refusals {
    fn new() -> Self {
        let zero = || AtomicU64::new(0);
        Self { began: Instant::now(), second: zero(), told: zero(), untold: zero() }
    }

    fn tell(&self, address: SocketAddr, reason: &str) {
        let second = self.began.elapsed().as_secs();
        if self.second.swap(second, Ordering::Relaxed) != second {
            self.told.store(0, Ordering::Relaxed);
        }
        if self.told.fetch_add(1, Ordering::Relaxed) >= TOLD_MAX {
            self.untold.fetch_add(1, Ordering::Relaxed);
            return;
        }
        match self.untold.swap(0, Ordering::Relaxed) {
            0 => tracing::info!(%address, "a connection was refused: {reason}"),
            more => tracing::info!(%address, more, "a connection was refused: {reason}"),
        }
    }
}
