//! Puts the executor together and serves it until it is told to stop. Its world comes in as arguments: the
//! connections of others, the way to others, slots, and what tells it to end.

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use broadsweep_objects::AllowedStores;
use broadsweep_proto::MESSAGE_BYTES_MAX;
use broadsweep_proto::blocks::blocks_server::BlocksServer;
use broadsweep_proto::bulk::BulkServer;
use broadsweep_proto::dial::Connect;
use broadsweep_proto::guard::bounded_server;
use broadsweep_proto::secure::Gate;
use broadsweep_proto::session::session_server::SessionServer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_stream::Stream;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;

use crate::arrivals::Arrivals;
use crate::blocks::BlocksService;
use crate::exchange::Surroundings;
use crate::files::AllowedFiles;
use crate::hold::Hold;
use crate::preparing::Offering;
use crate::session::SessionService;
use crate::slots::SlotRunner;
use crate::trainers::program::Programs;
use broadsweep_nn::Kernel;
use broadsweep_store::{BlobStore, Limits, StoreError};

/// How long open connections may take to end once the executor has to.
const GOODBYE_MAX: Duration = Duration::from_millis(500);

/// What an executor is told when it starts.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Attempts at the same time.
    pub slots: u32,
    /// Memory that its attempts may ask for together: each slot has an even share.
    pub memory_bytes: u64,
    /// What attempts can multiply with, the fastest first.
    pub kernels: Vec<Kernel>,
    /// Where data sets are kept across runs.
    pub cache_dir: PathBuf,
    /// What the cache folder may have; [`CacheFolder::open`](broadsweep_store::CacheFolder::open) says what there is without
    /// a limit.
    pub cache_bytes: Option<u64>,
    /// Where peers reach this executor, if not where the driver dials it.
    pub advertise: Option<String>,
    /// A number that no other process has: drawn at random when the process starts.
    pub instance: u64,
    /// How long a run keeps the executor when its driver is gone.
    pub orphan_timeout: Duration,
    /// How long an executor that was told to leave waits for what runs, and for what the driver has to fetch.
    pub drain_timeout: Duration,
    /// Whether the executor ends once a run was orphaned: nobody else will come.
    pub ends_when_orphaned: bool,
    /// What programs need, where a study may bring its own.
    pub programs: Option<Arc<Programs>>,
    /// Which files of this machine drivers may have read, where some may.
    pub files: Option<AllowedFiles>,
    /// Which objects of stores drivers may have read, where some may.
    pub stores: Option<AllowedStores>,
}

/// What tells an executor to end.
pub struct Orders<D, S> {
    /// Resolves when it has to leave: it finishes or checkpoints what it runs, and takes nothing new.
    pub drain: D,
    /// Resolves when it has to end at once.
    pub shutdown: S,
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

/// Serves drivers, one at a time, on the connections of `incoming`, until it is told to leave and has left, or until it
/// is told to end.
///
/// # Errors
/// [`ServeError`].
pub async fn serve<I>(
    settings: Settings,
    incoming: impl Stream<Item = io::Result<I>>,
    runner: Arc<dyn SlotRunner>,
    connect: Arc<dyn Connect>,
    orders: Orders<impl Future<Output = ()>, impl Future<Output = ()>>,
) -> Result<(), ServeError>
where
    I: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
{
    // The other half of the memory is for the attempts that made them.
    let limits = Limits { cache_bytes: settings.cache_bytes, memory_bytes: settings.memory_bytes / 2 };
    let store = Arc::new(BlobStore::with_limits(&settings.cache_dir, limits)?);
    let hold = Arc::new(Hold::new(Arc::clone(&store), settings.orphan_timeout));
    let arrivals = Arc::new(Arrivals::default());
    let stopping = CancellationToken::new();
    let sessions = SessionService {
        hold: Arc::clone(&hold),
        store: Arc::clone(&store),
        runner,
        offering: Offering {
            slots: settings.slots,
            memory_bytes: settings.memory_bytes,
            kernels: settings.kernels.clone(),
            advertise: settings.advertise.clone().unwrap_or_default(),
            instance: settings.instance,
            programs: settings.programs.clone(),
            files: settings.files.clone(),
            stores: settings.stores.clone(),
        },
        shutdown: stopping.clone(),
        surroundings: Surroundings {
            store: Arc::clone(&store),
            arrivals: Arc::clone(&arrivals),
            connect,
            instance: settings.instance,
        },
    };
    let blocks = Arc::new(BlocksService::new(Arc::clone(&hold), store, arrivals));
    let stopped = stopping.clone();
    let served = bounded_server()
        .layer(Gate)
        .add_service(SessionServer::new(sessions).max_decoding_message_size(MESSAGE_BYTES_MAX))
        .add_service(BlocksServer::from_arc(Arc::clone(&blocks)).max_decoding_message_size(MESSAGE_BYTES_MAX))
        .add_service(BulkServer::new(blocks))
        .serve_with_incoming_shutdown(incoming, async {
            end(&settings, &hold, orders).await;
            stopping.cancel();
        });
    tokio::select! {
        biased;
        served = served => Ok(served?),
        // A peer that keeps its connection open must not keep the executor from ending.
        () = async { stopped.cancelled().await; tokio::time::sleep(GOODBYE_MAX).await } => Ok(()),
    }
}

/// Resolves when the executor has nothing left to wait for.
async fn end(settings: &Settings, hold: &Hold, orders: Orders<impl Future<Output = ()>, impl Future<Output = ()>>) {
    let leave = async {
        orders.drain.await;
        tracing::info!("leaving: what runs here is finished or stopped after its epoch");
        hold.drain();
        if tokio::time::timeout(settings.drain_timeout, hold.until_unneeded()).await.is_err() {
            tracing::warn!("left although something was not fetched: the time to leave is over");
        }
    };
    let orphaned = async {
        if !settings.ends_when_orphaned {
            std::future::pending::<()>().await;
        }
        tokio::select! {
            () = hold.orphaned.cancelled() => {}
            () = hold.until_forsaken() => {}
        }
    };
    tokio::select! {
        biased;
        () = orders.shutdown => {}
        () = orphaned => {}
        () = leave => {}
    }
}
