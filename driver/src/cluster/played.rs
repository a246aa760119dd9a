//! An executor that a test plays: it is dialled in memory, and says what the test lets it say.

use std::collections::VecDeque;
use std::future::{Ready, ready};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::task::{Context, Poll};

use broadsweep_proto::PROTOCOL;
use broadsweep_proto::blocks::blocks_server::{Blocks, BlocksServer};
use broadsweep_proto::blocks::{
    Holdings, OfferReply, OfferRequest, PullReply, PullRequest, WatchRequest, pull_reply::Part,
};
use broadsweep_proto::bulk::{Bulk, BulkServer, FetchReply, FetchRequest, Messages, PushReply, PushRequest};
use broadsweep_proto::dial::Connecting;
use broadsweep_proto::session::session_server::{Session, SessionServer};
use broadsweep_proto::session::{
    Capabilities, ExecutorItem, FromDriver, FromExecutor, Prepared, Welcome, driver_item, executor_item,
    prepared::Answer,
};
use broadsweep_proto::wire::manifest_message;
use hyper_util::rt::TokioIo;
use tokio::io::DuplexStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, sleep, timeout};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codegen::Service;
use tonic::codegen::http::Uri;
use tonic::transport::{Endpoint, Server};
use tonic::{Request, Response, Status, Streaming};

use super::*;
use crate::journal::MemoryStorage;

/// Where the executor is.
pub(super) const ADDRESS: &str = "node:1";
/// Whose link it is.
pub(super) const EXECUTOR: ExecutorId = ExecutorId(0);

/// How long something is waited for, in the time of a test, before that fails.
const LONG: Duration = Duration::from_hours(1);

/// All around one link.
pub(super) struct Stage {
    pub(super) orders: OrderSender,
    pub(super) events: mpsc::Receiver<(ExecutorId, LinkEvent)>,
    pub(super) network: Arc<Network>,
    /// The sessions that the link opens.
    pub(super) sessions: UnboundedReceiver<Played>,
}

/// The way to the executor.
pub(super) struct Network {
    /// Whether somebody listens there.
    pub(super) is_there: AtomicBool,
    /// When it was dialled.
    pub(super) dials: Mutex<Vec<Instant>>,
    pub(super) answers: Arc<Mutex<Answers>>,
    sessions: UnboundedSender<Played>,
}

/// What the executor answers beside its sessions, and what it got.
#[derive(Default)]
pub(super) struct Answers {
    /// To one offer after the other; beyond them, it lacks nothing.
    pub(super) offers: VecDeque<Result<OfferReply, Status>>,
    /// How long it takes over each.
    pub(super) offer_wait: Duration,
    pub(super) offered: Vec<OfferRequest>,
    /// To a pull, each so long after the one before. Then nothing more comes.
    pub(super) parts: Vec<(Duration, PullReply)>,
    /// To a watch, as above.
    pub(super) holdings: Vec<Holdings>,
    /// How long it takes over each block that is pushed.
    pub(super) push_wait: Duration,
    pub(super) pushed: Vec<PushRequest>,
}

/// A session as the executor sees it.
pub(super) struct Played {
    inbound: Streaming<FromDriver>,
    outbound: mpsc::Sender<Result<FromExecutor, Status>>,
    sequence: u64,
}

/// What the executors of a run with this kernel get.
pub(super) fn payload(kernel: KernelChoice) -> Payload {
    let blob = Blob::new(Bytes::from_static(b"data")).unwrap();
    Payload {
        run: "run".to_owned(),
        generation: 1,
        take_over: false,
        data: blob.clone(),
        study: blob,
        kernel,
        traffic: Arc::default(),
    }
}

/// The desk of a link for a run with this kernel, and all else around the link.
pub(super) fn stage_with(kernel: KernelChoice) -> (Desk, Stage) {
    let payload = payload(kernel);
    let (told, sessions) = unbounded_channel();
    let network = Arc::new(Network {
        is_there: AtomicBool::new(true),
        dials: Mutex::default(),
        answers: Arc::default(),
        sessions: told,
    });
    let vault = Arc::new(BlockingVault::new(Arc::new(MemoryStorage::new())));
    let connect = Arc::clone(&network) as Arc<dyn Connect>;
    let world = World { connect, vault, rows: Arc::new(()), logs: Arc::new(()), witness: Arc::new(()) };
    let (orders, ordered) = order_channel();
    let (tell, events) = mpsc::channel(EVENTS_MAX);
    let desk = Desk {
        teller: Teller { executor: EXECUTOR, events: tell },
        name: ADDRESS.to_owned(),
        broadcast: Arc::new(Broadcast::new(payload.data.clone())),
        payload: Arc::new(payload),
        world,
        takes_over: false,
        orders: ordered,
        over: CancellationToken::new(),
        spared: Arc::default(),
        processes: Arc::default(),
        pulls: Arc::new(Semaphore::new(PULLS_MAX)),
    };
    (desk, Stage { orders, events, network, sessions })
}

/// The same for a run whose kernel is given.
pub(super) fn stage() -> (Desk, Stage) {
    stage_with(KernelChoice::fixed("portable"))
}

/// The welcome of an executor that has nothing yet.
pub(super) fn welcome() -> Welcome {
    let capabilities = Capabilities { kernels: vec!["portable".to_owned()], ..Capabilities::default() };
    Welcome { protocol: PROTOCOL, capabilities: Some(capabilities), instance: 7, ..Welcome::default() }
}

/// What gives this blob, each part so long after the one before.
pub(super) fn parts_of(blob: &Blob<Bytes>, wait: Duration) -> Vec<(Duration, PullReply)> {
    let ranges = (0..).map_while(|index| blob.manifest.range(index));
    let blocks = ranges.map(|range| Part::Block(blob.content.slice(range.start as usize..range.end as usize)));
    let parts = std::iter::once(Part::Manifest(manifest_message(&blob.manifest))).chain(blocks);
    parts.map(|part| (wait, PullReply { part: Some(part) })).collect()
}

impl Stage {
    /// What the link tells next.
    pub(super) async fn told(&mut self) -> LinkEvent {
        let told = timeout(LONG, self.events.recv()).await;
        told.ok().flatten().expect("the link goes on, and tells something").1
    }

    /// The session that the link opens next; it has said hello.
    pub(super) async fn session(&mut self) -> Played {
        let session = timeout(LONG, self.sessions.recv()).await;
        session.ok().flatten().expect("the link dials, and says hello")
    }
}

impl Network {
    pub(super) fn answers(&self) -> MutexGuard<'_, Answers> {
        self.answers.lock().unwrap()
    }
}

impl Played {
    /// The items of the driver's next message; `None` once it has gone.
    pub(super) async fn next(&mut self) -> Option<Vec<driver_item::Item>> {
        let message = self.inbound.message().await.ok()??;
        Some(message.items.into_iter().filter_map(|item| item.item).collect())
    }

    /// Says these in a message with the number that is due.
    pub(super) async fn say(&mut self, items: Vec<executor_item::Item>) {
        self.sequence += 1;
        let items = items.into_iter().map(|item| ExecutorItem { item: Some(item) }).collect();
        let message =
            FromExecutor { run: "run".to_owned(), generation: 1, sequence: self.sequence, acknowledged: 0, items };
        let _ = self.outbound.send(Ok(message)).await; // the driver may have gone
    }

    /// Welcomes the driver, and is prepared for one slot.
    pub(super) async fn begin(&mut self, welcome: Welcome) {
        self.say(vec![executor_item::Item::Welcome(welcome)]).await;
        self.prepare(Vec::new()).await;
    }

    /// Is prepared for one slot as soon as it is asked for that; says these before.
    pub(super) async fn prepare(&mut self, before: Vec<executor_item::Item>) {
        while let Some(items) = self.next().await {
            if items.iter().any(|item| matches!(item, driver_item::Item::Prepare(_))) {
                for item in before {
                    self.say(vec![item]).await;
                }
                let prepared = Prepared { answer: Some(Answer::Slots(1)), ..Prepared::default() };
                return self.say(vec![executor_item::Item::Prepared(prepared)]).await;
            }
        }
    }

    /// Leaves out a number.
    pub(super) fn skip_a_number(&mut self) {
        self.sequence += 1;
    }

    /// Ends the session with this.
    pub(super) async fn end(self, status: Status) {
        let _ = self.outbound.send(Err(status)).await; // as above
    }
}

/// The driver's end of a connection, or nothing where nobody listens.
struct Wire(Option<DuplexStream>);

impl Service<Uri> for Wire {
    type Response = TokioIo<DuplexStream>;
    type Error = io::Error;
    type Future = Ready<io::Result<TokioIo<DuplexStream>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let stream = self.0.take().map(TokioIo::new);
        ready(stream.ok_or_else(|| io::Error::from(io::ErrorKind::ConnectionRefused)))
    }
}

impl Connect for Network {
    fn connect(&self, endpoint: Endpoint) -> Connecting {
        self.dials.lock().unwrap().push(Instant::now());
        let wire = self.is_there.load(Ordering::Relaxed).then(|| {
            let (near, far) = tokio::io::duplex(1 << 16);
            let part = Role { answers: Arc::clone(&self.answers), sessions: self.sessions.clone() };
            let server = Server::builder()
                .add_service(SessionServer::new(part.clone()))
                .add_service(BlocksServer::new(part.clone()))
                .add_service(BulkServer::new(Arc::new(part)));
            let incoming = tokio_stream::once(Ok::<_, io::Error>(far)).chain(tokio_stream::pending());
            tokio::spawn(server.serve_with_incoming(incoming));
            near
        });
        Box::pin(async move { Ok(endpoint.connect_with_connector(Wire(wire)).await?.into()) })
    }
}

/// What the executor's server does.
#[derive(Clone)]
struct Role {
    answers: Arc<Mutex<Answers>>,
    sessions: UnboundedSender<Played>,
}

#[tonic::async_trait]
impl Session for Role {
    type HoldStream = ReceiverStream<Result<FromExecutor, Status>>;

    async fn hold(&self, request: Request<Streaming<FromDriver>>) -> Result<Response<Self::HoldStream>, Status> {
        let (outbound, stream) = mpsc::channel(64);
        let mut played = Played { inbound: request.into_inner(), outbound, sequence: 0 };
        let hello = played.next().await;
        assert!(matches!(hello.as_deref(), Some([driver_item::Item::Hello(_)])), "{hello:?}");
        let _ = self.sessions.send(played); // the test may be over
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

#[tonic::async_trait]
impl Blocks for Role {
    async fn offer(&self, request: Request<OfferRequest>) -> Result<Response<OfferReply>, Status> {
        let (answer, wait) = {
            let mut answers = self.answers.lock().unwrap();
            answers.offered.push(request.into_inner());
            (answers.offers.pop_front(), answers.offer_wait)
        };
        sleep(wait).await;
        answer.unwrap_or_else(|| Ok(OfferReply::default())).map(Response::new)
    }

    type WatchStream = ReceiverStream<Result<Holdings, Status>>;

    async fn watch(&self, _: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let holdings = std::mem::take(&mut self.answers.lock().unwrap().holdings);
        let holdings = holdings.into_iter().map(|told| (Duration::ZERO, told));
        Ok(Response::new(in_time(holdings.collect())))
    }

    type PullStream = ReceiverStream<Result<PullReply, Status>>;

    async fn pull(&self, _: Request<PullRequest>) -> Result<Response<Self::PullStream>, Status> {
        Ok(Response::new(in_time(std::mem::take(&mut self.answers.lock().unwrap().parts))))
    }
}

#[tonic::async_trait]
impl Bulk for Role {
    async fn fetch(&self, _: FetchRequest) -> Result<FetchReply, Status> {
        Err(Status::not_found("it gives nothing"))
    }

    async fn push(&self, mut blocks: Messages<PushRequest>) -> Result<PushReply, Status> {
        while let Some(block) = blocks.message().await? {
            let wait = {
                let mut answers = self.answers.lock().unwrap();
                answers.pushed.push(block);
                answers.push_wait
            };
            sleep(wait).await;
        }
        Ok(PushReply {})
    }
}

/// A stream of these, each so long after the one before, that ends then.
fn in_time<T: Send + 'static>(parts: Vec<(Duration, T)>) -> ReceiverStream<Result<T, Status>> {
    let (tell, stream) = mpsc::channel(1);
    tokio::spawn(async move {
        for (wait, part) in parts {
            sleep(wait).await;
            if tell.send(Ok(part)).await.is_err() {
                return; // nobody reads any more
            }
        }
    });
    ReceiverStream::new(stream)
}
