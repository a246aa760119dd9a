//! Is dialled by a real driver, greets it as an executor would, and then says what no executor would say.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use broadsweep_common::blob::Blob;
use broadsweep_proto::PROTOCOL;
use broadsweep_proto::blocks::blocks_server::{Blocks, BlocksServer};
use broadsweep_proto::blocks::{
    Holdings, OfferReply, OfferRequest, PullReply, PullRequest, WatchRequest, pull_reply::Part,
};
use broadsweep_proto::bulk::{Bulk, BulkServer, FetchReply, FetchRequest, Messages, PushReply, PushRequest};
use broadsweep_proto::session::session_server::{Session, SessionServer};
use broadsweep_proto::session::{
    Capabilities, ExecutorItem, FromDriver, FromExecutor, Launch, Prepared, Welcome, driver_item, executor_item,
    prepared::Answer,
};
use broadsweep_proto::wire::manifest_message;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::{Notify, mpsc};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::metadata::MetadataMap;
use tonic::transport::Server;
use tonic::{Code, Request, Response, Status, Streaming};

/// What a session does once the driver has opened it.
type Act = dyn Fn(Talk) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync;

/// What a peer gets that fetches the block with this index.
pub type Give = dyn Fn(u32) -> Result<FetchReply, Status> + Send + Sync;

/// A server that speaks the protocol of executors. Dropping it ends it.
#[derive(Debug)]
pub struct HostileExecutor {
    /// Where it listens.
    pub address: String,
    _runtime: Runtime,
}

/// How it behaves.
#[derive(Clone)]
pub struct Script {
    /// The blocks that it claims to lack, of every blob.
    pub missing: Vec<u32>,
    /// What it tells those who watch what it has.
    pub holdings: Vec<Holdings>,
    /// What it gives for weights.
    pub weights: Vec<PullReply>,
    /// What it gives to peers that fetch a block.
    pub give: Arc<Give>,
    /// What it says to every offer.
    pub offer_refusal: Option<Status>,
    /// What it says to whoever wants a whole blob.
    pub pull_refusal: Option<Status>,
    /// Where it counts the blobs that it is given for attempts. Without it, it claims to have them.
    pub intake: Option<Arc<Intake>>,
    act: Arc<Act>,
}

/// Counts the blobs that are given to an executor beside its data, and finishes none before a crowd has gathered.
#[derive(Debug, Default)]
pub struct Intake {
    crowd: Mutex<Crowd>,
    changed: Notify,
}

/// How many blobs there are.
#[derive(Clone, Copy, Debug, Default)]
pub struct Crowd {
    /// Offered, and not here yet.
    pub now: usize,
    /// The most of those that there ever were.
    pub most: usize,
    /// Offered so far.
    pub all: usize,
    /// It takes more than this only once so many are on their way...
    pub gathers: usize,
    /// ...or this many were offered.
    pub last: usize,
    /// Offers that it has no room for yet.
    pub refuses: usize,
}

impl Intake {
    /// From now on it takes blobs in once `gathers` of them are on their way, or the last of `count` more was offered.
    /// At first it has no room for `refuses` of them.
    pub fn gather(&self, gathers: usize, count: usize, refuses: usize) {
        let mut crowd = self.crowd.lock().unwrap();
        (crowd.gathers, crowd.last, crowd.refuses) = (gathers, crowd.all + count, refuses);
    }

    /// How many blobs there are now.
    #[must_use]
    pub fn crowd(&self) -> Crowd {
        *self.crowd.lock().unwrap()
    }

    fn offered(&self) -> Result<(), Status> {
        let mut crowd = self.crowd.lock().unwrap();
        if crowd.refuses > 0 {
            crowd.refuses -= 1;
            return Err(Status::resource_exhausted("no memory for this one"));
        }
        (crowd.now, crowd.all) = (crowd.now + 1, crowd.all + 1);
        crowd.most = crowd.most.max(crowd.now);
        drop(crowd);
        self.changed.notify_waiters();
        Ok(())
    }

    async fn take(&self) {
        loop {
            let changed = self.changed.notified();
            let crowd = self.crowd();
            if crowd.now >= crowd.gathers || crowd.all >= crowd.last {
                break;
            }
            changed.await;
        }
        self.crowd.lock().unwrap().now -= 1;
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Script").finish_non_exhaustive()
    }
}

/// One session, in which anything can be said.
#[derive(Debug)]
pub struct Talk {
    inbound: Streaming<FromDriver>,
    outbound: mpsc::Sender<Result<FromExecutor, Status>>,
    sequence: u64,
    launches: VecDeque<Launch>,
    /// What it answers when it is to prepare.
    pub answer: Option<Answer>,
}

/// The welcome of a good executor that has just been started.
#[must_use]
pub fn welcome() -> Welcome {
    static INSTANCES: AtomicU64 = AtomicU64::new(1);
    let kernels = broadsweep_nn::KERNELS.map(str::to_owned).to_vec();
    Welcome {
        protocol: PROTOCOL,
        build: "hostile".to_owned(),
        memory_bytes: 1 << 30,
        capabilities: Some(Capabilities { kernels, ..Capabilities::default() }),
        advertise: String::new(),
        instance: INSTANCES.fetch_add(1, Ordering::Relaxed),
        held: Vec::new(),
        draining: false,
    }
}

/// A status whose details are not what the standard says they are.
#[must_use]
pub fn garbled() -> Status {
    let mut headers = MetadataMap::new().into_headers();
    headers.insert("grpc-status-details-bin", "%%%".parse().unwrap());
    Status::with_metadata(Code::Unavailable, "it has had enough", MetadataMap::from_headers(headers))
}

/// What gives `content` as the driver expects it.
#[must_use]
pub fn parts_of(content: &[u8]) -> Vec<PullReply> {
    let blob = Blob::new(content).unwrap();
    let ranges = (0..).map_while(|index| blob.manifest.range(index));
    let blocks = ranges.map(|range| Part::Block(content[range.start as usize..range.end as usize].to_vec().into()));
    let parts = std::iter::once(Part::Manifest(manifest_message(&blob.manifest))).chain(blocks);
    parts.map(|part| PullReply { part: Some(part) }).collect()
}

impl Script {
    /// Does `act` in every session.
    pub fn new<F>(act: impl Fn(Talk) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self {
            missing: Vec::new(),
            holdings: Vec::new(),
            weights: Vec::new(),
            give: Arc::new(|_| Err(Status::not_found("it gives nothing"))),
            offer_refusal: None,
            pull_refusal: None,
            intake: None,
            act: Arc::new(move |talk| Box::pin(act(talk))),
        }
    }
}

impl HostileExecutor {
    /// Listens on a free port.
    #[must_use]
    pub fn start(script: Script) -> Self {
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = Server::builder()
            .add_service(SessionServer::new(script.clone()))
            .add_service(BlocksServer::new(script.clone()))
            .add_service(BulkServer::new(Arc::new(script)))
            .serve_with_incoming(TcpListenerStream::new(listener));
        runtime.spawn(server);
        Self { address, _runtime: runtime }
    }
}

impl Talk {
    /// Welcomes the driver, says that it is prepared, and waits for the first launch.
    pub async fn until_launched(&mut self, slots: u32) -> Option<Launch> {
        self.answer = Some(Answer::Slots(slots));
        self.until_launched_after(welcome()).await
    }

    /// The same with a welcome of its own.
    pub async fn until_launched_after(&mut self, welcome: Welcome) -> Option<Launch> {
        self.say(vec![executor_item::Item::Welcome(welcome)]).await;
        self.next_launch().await
    }

    /// Waits for another launch; whatever else the driver wants is granted.
    pub async fn next_launch(&mut self) -> Option<Launch> {
        loop {
            if let Some(launch) = self.launches.pop_front() {
                return Some(launch);
            }
            for item in self.inbound.message().await.ok()??.items {
                match item.item {
                    Some(driver_item::Item::Prepare(_)) => {
                        let prepared = Prepared { answer: self.answer.clone(), ..Prepared::default() };
                        self.say(vec![executor_item::Item::Prepared(prepared)]).await;
                    }
                    Some(driver_item::Item::Launch(launch)) => self.launches.push_back(launch),
                    _ => {}
                }
            }
        }
    }

    /// Waits until the driver has gone.
    pub async fn until_gone(&mut self) {
        while self.next_launch().await.is_some() {}
    }

    /// Sends items in a message with the number that is due.
    pub async fn say(&mut self, items: Vec<executor_item::Item>) {
        self.sequence += 1;
        self.send(self.sequence, items).await;
    }

    /// Ends the session as an executor does that does not want it.
    pub async fn refuse(&self, reason: &str) {
        self.end(Status::failed_precondition(reason)).await;
    }

    /// Ends the session with this status.
    pub async fn end(&self, status: Status) {
        let _ = self.outbound.send(Err(status)).await; // the driver may have gone
    }

    /// Sends items in a message with any number, which acknowledges what was never sent. The driver may have gone: then the session ends by itself.
    pub async fn send(&self, sequence: u64, items: Vec<executor_item::Item>) {
        let items = items.into_iter().map(|item| ExecutorItem { item: Some(item) }).collect();
        let message = FromExecutor { run: String::new(), generation: 1, sequence, acknowledged: u64::MAX, items };
        let _ = self.outbound.send(Ok(message)).await;
    }
}

#[tonic::async_trait]
impl Session for Script {
    type HoldStream = ReceiverStream<Result<FromExecutor, Status>>;

    async fn hold(&self, request: Request<Streaming<FromDriver>>) -> Result<Response<Self::HoldStream>, Status> {
        let (outbound, stream) = mpsc::channel(64);
        let (inbound, launches) = (request.into_inner(), VecDeque::new());
        let talk = Talk { inbound, outbound, sequence: 0, launches, answer: Some(Answer::Slots(1)) };
        tokio::spawn((self.act)(talk));
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

#[tonic::async_trait]
impl Blocks for Script {
    async fn offer(&self, request: Request<OfferRequest>) -> Result<Response<OfferReply>, Status> {
        if let Some(refusal) = &self.offer_refusal {
            return Err(refusal.clone());
        }
        if let Some(intake) = self.intake.as_ref().filter(|_| !request.get_ref().cached) {
            intake.offered()?;
            return Ok(Response::new(OfferReply { missing: vec![0], busy: false }));
        }
        Ok(Response::new(OfferReply { missing: self.missing.clone(), busy: false }))
    }

    type WatchStream = ReceiverStream<Result<Holdings, Status>>;

    async fn watch(&self, _: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let (holdings, stream) = mpsc::channel(self.holdings.len().max(1));
        for told in &self.holdings {
            holdings.try_send(Ok(told.clone())).map_err(|full| Status::internal(full.to_string()))?;
        }
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    type PullStream = ReceiverStream<Result<PullReply, Status>>;

    async fn pull(&self, _: Request<PullRequest>) -> Result<Response<Self::PullStream>, Status> {
        if let Some(refusal) = &self.pull_refusal {
            return Err(refusal.clone());
        }
        let (parts, stream) = mpsc::channel(self.weights.len().max(1));
        for part in &self.weights {
            parts.try_send(Ok(part.clone())).map_err(|full| Status::internal(full.to_string()))?;
        }
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

#[tonic::async_trait]
impl Bulk for Script {
    async fn fetch(&self, request: FetchRequest) -> Result<FetchReply, Status> {
        (self.give)(request.index)
    }

    async fn push(&self, mut blocks: Messages<PushRequest>) -> Result<PushReply, Status> {
        while blocks.message().await?.is_some() {
            if let Some(intake) = &self.intake {
                intake.take().await; // all of them have one block
            }
        }
        Ok(PushReply {})
    }
}
