//! Puts the executor together and serves it until it is told to stop. Its world comes in as arguments: listener,
//! slots, shutdown.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use broadsweep_proto::blocks::blocks_server::BlocksServer;
use broadsweep_proto::session::session_server::SessionServer;
use broadsweep_proto::{KEEP_ALIVE_INTERVAL, KEEP_ALIVE_TIMEOUT, MESSAGE_BYTES_MAX};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use crate::blocks::BlocksService;
use crate::hold::Hold;
use crate::session::{Offering, SessionService};
use crate::slots::SlotRunner;
use crate::store::{BlobStore, StoreError};

/// How long open connections may take to end once the executor has to.
const GOODBYE_MAX: Duration = Duration::from_millis(500);

/// What an executor is told when it starts.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Attempts at the same time.
    pub slots: u32,
    /// Memory that one attempt may ask for.
    pub memory_bytes: u64,
    /// Where data sets are kept across runs.
    pub cache_dir: PathBuf,
    /// Where peers reach this executor, if not where the driver dials it.
    pub advertise: Option<String>,
}

/// Why an executor ended on its own.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The cache folder cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The listener failed.
    #[error("serving failed: {0}")]
    Transport(#[from] tonic::transport::Error),
}

/// Serves drivers, one at a time, until `shutdown` resolves.
///
/// # Errors
/// [`ServeError`].
pub async fn serve(
    settings: Settings,
    listener: TcpListener,
    runner: Arc<dyn SlotRunner>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let store = Arc::new(BlobStore::open(&settings.cache_dir)?);
    let hold = Arc::new(Hold::default());
    let stopping = CancellationToken::new();
    let sessions = SessionService {
        hold: Arc::clone(&hold),
        store: Arc::clone(&store),
        runner,
        offering: Offering {
            slots: settings.slots,
            memory_bytes: settings.memory_bytes,
            advertise: settings.advertise.unwrap_or_default(),
        },
        shutdown: stopping.clone(),
    };
    let blocks = BlocksService { hold, store };
    let stopped = stopping.clone();
    let served = Server::builder()
        .http2_keepalive_interval(Some(KEEP_ALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEP_ALIVE_TIMEOUT))
        .add_service(SessionServer::new(sessions).max_decoding_message_size(MESSAGE_BYTES_MAX))
        .add_service(BlocksServer::new(blocks).max_decoding_message_size(MESSAGE_BYTES_MAX))
        .serve_with_incoming_shutdown(TcpIncoming::from(listener).with_nodelay(Some(true)), async {
            shutdown.await;
            stopping.cancel();
        });
    tokio::select! {
        served = served => Ok(served?),
        // A peer that keeps its connection open must not keep the executor from ending.
        () = async { stopped.cancelled().await; tokio::time::sleep(GOODBYE_MAX).await } => Ok(()),
    }
}
