//! One session with an executor: dial, hello, broadcast, prepare; then orders out and reports in, until it ends.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use broadsweep_common::attempt::Launch;
use broadsweep_common::blob::Blob;
use broadsweep_common::ids::{AttemptId, Digest};
use broadsweep_common::wire;
use broadsweep_proto::session::session_client::SessionClient;
use broadsweep_proto::session::{
    Cancel, DriverItem, FromDriver, FromExecutor, Hello, Prepare, Release, Welcome, driver_item, executor_item,
};
use broadsweep_proto::{KEEP_ALIVE_INTERVAL, KEEP_ALIVE_TIMEOUT, MESSAGE_BYTES_MAX, PROTOCOL, SLOTS_MAX};
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status, Streaming};

use super::desk::{Desk, RunOver};
use super::transfer::Transfer;
use super::{LinkError, LinkEvent, Order, SessionId};

/// How long one dial, or the answer to a hello, may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Grows when a driver takes up a run again; there is one driver a run until runs can be resumed.
const GENERATION: u64 = 1;

/// How a session ended.
pub(super) enum SessionEnd {
    /// The run loop has gone.
    RunOver,
    /// It was ready, and is over.
    Lost { reason: String },
    /// It never became ready.
    Failed(LinkError),
}

impl From<RunOver> for SessionEnd {
    fn from(_: RunOver) -> Self {
        Self::RunOver
    }
}

impl From<LinkError> for SessionEnd {
    fn from(error: LinkError) -> Self {
        Self::Failed(error)
    }
}

/// Holds one session with the executor at `address`, from dial to end.
pub(super) async fn hold(desk: &mut Desk, id: SessionId, address: &str) -> SessionEnd {
    let mut session = match open(desk, address).await {
        Ok(session) => session,
        Err(end) => return end,
    };
    let ready = LinkEvent::Ready { session: id, slots: session.welcome.slots };
    if desk.tell(ready).await.is_err() {
        return SessionEnd::RunOver;
    }
    loop {
        let step = tokio::select! {
            message = session.inbound.message() => session.receive(desk, message).await,
            order = desk.orders.recv() => match order {
                None => return SessionEnd::RunOver,
                // An order for an earlier session was lost with it, and the run loop knows.
                Some((meant, _)) if meant != id => Ok(()),
                Some((_, order)) => session.carry_out(desk, order).await,
            },
        };
        if let Err(end) = step {
            return end;
        }
    }
}

struct Session {
    address: String,
    welcome: Welcome,
    outbound: Outbound,
    inbound: Streaming<FromExecutor>,
    /// The sequence of the last message from the executor, to be acknowledged.
    received: Arc<AtomicU64>,
    transfer: Transfer,
}

/// The driver's half of the stream: items that are batched into messages.
#[derive(Clone)]
struct Outbound(mpsc::Sender<driver_item::Item>);

/// Dials, says hello, broadcasts and prepares.
async fn open(desk: &mut Desk, address: &str) -> Result<Session, SessionEnd> {
    let channel = dial(address).await?;
    let mut session = greet(desk, channel, address).await?;
    // Once only: if another run takes over later, that was asked for later.
    desk.takes_over = false;
    desk.tell(LinkEvent::Connected).await?;
    let payload = &desk.payload;
    let refused = |status: &Status| broadcast_error(address, status);
    session.transfer.push(&payload.data, true, &payload.sent_bytes).await.map_err(|status| refused(&status))?;
    session.transfer.push(&payload.study, false, &payload.sent_bytes).await.map_err(|status| refused(&status))?;
    let name = |blob: &Blob<Bytes>| Bytes::copy_from_slice(&blob.manifest.digest().0);
    let prepare = Prepare { data: name(&payload.data), study: name(&payload.study), kernel: payload.kernel.clone() };
    session.outbound.send(driver_item::Item::Prepare(prepare)).await?;
    match session.next_item().await? {
        executor_item::Item::Prepared(prepared) if prepared.refusal.is_empty() => Ok(session),
        executor_item::Item::Prepared(prepared) => {
            Err(LinkError::Broadcast { address: address.to_owned(), reason: prepared.refusal }.into())
        }
        _ => Err(session.broken("reported on attempts before it was ready").into()),
    }
}

async fn dial(address: &str) -> Result<Channel, LinkError> {
    let unreachable =
        |error: &dyn Error| LinkError::Unreachable { address: address.to_owned(), reason: root_cause(error) };
    let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(|error| unreachable(&error))?;
    endpoint
        .connect_timeout(ANSWER_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .connect()
        .await
        .map_err(|error| unreachable(&error))
}

async fn greet(desk: &Desk, channel: Channel, address: &str) -> Result<Session, LinkError> {
    let payload = &desk.payload;
    let (items, queued) = mpsc::channel(64);
    let (sender, stream) = mpsc::channel(4);
    let run = payload.run.clone();
    let hello = Hello { protocol: PROTOCOL, build: env!("CARGO_PKG_VERSION").to_owned(), take_over: desk.takes_over };
    let received = Arc::new(AtomicU64::new(0));
    let _ = items.try_send(driver_item::Item::Hello(hello)); // the queue is empty
    tokio::spawn(batch(run, queued, sender, Arc::clone(&received)));
    let mut client = SessionClient::new(channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let answer = tokio::time::timeout(ANSWER_TIMEOUT, async {
        let mut inbound = client.hold(ReceiverStream::new(stream)).await?.into_inner();
        let first = inbound.message().await?;
        Ok::<_, Status>((inbound, first))
    });
    let (inbound, first) = match answer.await {
        Ok(Ok(answer)) => answer,
        Ok(Err(status)) => return Err(greeting_error(address, &status)),
        Err(_) => {
            let reason = format!("no answer to a hello within {} s", ANSWER_TIMEOUT.as_secs());
            return Err(LinkError::NotAnExecutor { address: address.to_owned(), reason });
        }
    };
    let FromExecutor { sequence, items: greeting, .. } = first.unwrap_or_default();
    let Some(executor_item::Item::Welcome(welcome)) = greeting.into_iter().next().and_then(|item| item.item) else {
        let reason = "it did not answer the hello with a welcome".to_owned();
        return Err(LinkError::NotAnExecutor { address: address.to_owned(), reason });
    };
    if sequence != 1 {
        let reason = format!("its first message has number {sequence}");
        return Err(LinkError::NotAnExecutor { address: address.to_owned(), reason });
    }
    check_welcome(&welcome, &payload.kernel)
        .map_err(|reason| LinkError::Refused { address: address.to_owned(), reason })?;
    let transfer = Transfer::new(channel, &payload.run);
    received.store(sequence, Ordering::Relaxed);
    let outbound = Outbound(items);
    Ok(Session { address: address.to_owned(), welcome, outbound, inbound, received, transfer })
}

/// Whether this driver can work with what the executor says of itself.
fn check_welcome(welcome: &Welcome, kernel: &str) -> Result<(), String> {
    if welcome.protocol != PROTOCOL {
        return Err(format!("it speaks protocol {}, this driver {PROTOCOL}; use one version", welcome.protocol));
    }
    if welcome.slots == 0 || welcome.slots > SLOTS_MAX {
        return Err(format!("it says that it has {} slots", welcome.slots));
    }
    if !welcome.kernels.iter().any(|known| known == kernel) {
        return Err(format!("it cannot train with the kernel {kernel:?}; it has {}", welcome.kernels.join(", ")));
    }
    Ok(())
}

/// Puts queued items together into numbered messages.
async fn batch(
    run: String,
    mut queued: mpsc::Receiver<driver_item::Item>,
    stream: mpsc::Sender<FromDriver>,
    received: Arc<AtomicU64>,
) {
    let mut items = Vec::new();
    let mut sequence = 0;
    while queued.recv_many(&mut items, 64).await > 0 {
        sequence += 1;
        let message = FromDriver {
            run: run.clone(),
            generation: GENERATION,
            sequence,
            acknowledged: received.load(Ordering::Relaxed),
            items: items.drain(..).map(|item| DriverItem { item: Some(item) }).collect(),
        };
        if stream.send(message).await.is_err() {
            return; // the session is over
        }
    }
}

impl Outbound {
    async fn send(&self, item: driver_item::Item) -> Result<(), SessionEnd> {
        let lost = |_| SessionEnd::Lost { reason: "the stream is closed".to_owned() };
        self.0.send(item).await.map_err(lost)
    }
}

impl Session {
    async fn next_item(&mut self) -> Result<executor_item::Item, LinkError> {
        let message = self.inbound.message().await.map_err(|status| self.broken(status.message()))?;
        let message = message.ok_or_else(|| self.broken("closed the session"))?;
        self.follow(message.sequence).map_err(|reason| self.broken(&reason))?;
        let item = message.items.into_iter().next().and_then(|item| item.item);
        item.ok_or_else(|| self.broken("sent an empty message"))
    }

    async fn receive(
        &mut self,
        desk: &Desk,
        message: Result<Option<FromExecutor>, Status>,
    ) -> Result<(), SessionEnd> {
        let lost = |reason: String| SessionEnd::Lost { reason: format!("{}: {reason}", self.address) };
        let message = message.map_err(|status| lost(status_in_words(&status)))?;
        let message = message.ok_or_else(|| lost("closed the session".to_owned()))?;
        self.follow(message.sequence).map_err(lost)?;
        for item in message.items {
            let report = match item.item {
                Some(executor_item::Item::EpochEnded(message)) => wire::epoch_ended(message),
                Some(executor_item::Item::AttemptEnded(message)) => wire::attempt_ended(message),
                Some(executor_item::Item::Welcome(_) | executor_item::Item::Prepared(_)) => {
                    return Err(lost("greeted twice".to_owned()));
                }
                None => continue, // of a newer version
            };
            let report = report.map_err(|bad| lost(bad.to_string()))?;
            desk.tell(LinkEvent::Report(report)).await?;
        }
        Ok(())
    }

    /// Takes note of the next message's number.
    fn follow(&self, sequence: u64) -> Result<(), String> {
        let due = self.received.load(Ordering::Relaxed) + 1;
        if sequence != due {
            return Err(format!("message {sequence} came where {due} was due"));
        }
        self.received.store(sequence, Ordering::Relaxed);
        Ok(())
    }

    async fn carry_out(&self, desk: &Desk, order: Order) -> Result<(), SessionEnd> {
        match order {
            Order::Launch { launch, weights: None } => self.outbound.send(wire::launch_item(&launch)).await,
            Order::Launch { launch, weights: Some(weights) } => {
                self.push_and_launch(launch, weights);
                Ok(())
            }
            Order::Cancel(attempt) => {
                let cancel = Cancel { attempt: Some(wire::attempt_message(attempt)) };
                self.outbound.send(driver_item::Item::Cancel(cancel)).await
            }
            Order::Release(blob) => {
                let release = Release { blob: Bytes::copy_from_slice(&blob.0) };
                self.outbound.send(driver_item::Item::Release(release)).await
            }
            Order::Pull { attempt, blob } => {
                self.pull(desk, attempt, blob);
                Ok(())
            }
        }
    }

    /// Beside the session, so that reports do not wait for bulk.
    fn push_and_launch(&self, launch: Launch, weights: Blob<Bytes>) {
        let (mut transfer, outbound) = (self.transfer.clone(), self.outbound.clone());
        tokio::spawn(async move {
            let uncounted = Arc::new(AtomicU64::new(0)); // weights are no broadcast
            if let Err(status) = transfer.push(&weights, false, &uncounted).await {
                // The launch goes out all the same: the executor reports the missing weights as the attempt's failure.
                tracing::warn!(attempt = %launch.attempt, reason = status.message(), "weights were not taken");
            }
            let _ = outbound.send(wire::launch_item(&launch)).await; // a lost session is reported by itself
        });
    }

    fn pull(&self, desk: &Desk, attempt: AttemptId, blob: Digest) {
        let (mut transfer, address) = (self.transfer.clone(), self.address.clone());
        let (executor, events) = desk.teller();
        tokio::spawn(async move {
            let weights = transfer.pull(blob).await.map_err(|status| LinkError::Broken {
                address,
                reason: format!("its weights could not be fetched: {}", status.message()),
            });
            let _ = events.send((executor, LinkEvent::Pulled { attempt, weights })).await; // the run may be over
        });
    }

    fn broken(&self, reason: &str) -> LinkError {
        LinkError::Broken { address: self.address.clone(), reason: reason.to_owned() }
    }
}

fn greeting_error(address: &str, status: &Status) -> LinkError {
    let (address, reason) = (address.to_owned(), status_in_words(status));
    match status.code() {
        Code::FailedPrecondition => LinkError::Refused { address, reason },
        Code::Unavailable | Code::Aborted | Code::Cancelled => LinkError::Broken { address, reason },
        _ => LinkError::NotAnExecutor { address, reason },
    }
}

fn broadcast_error(address: &str, status: &Status) -> LinkError {
    let (address, reason) = (address.to_owned(), status_in_words(status));
    match status.code() {
        Code::ResourceExhausted | Code::InvalidArgument | Code::DataLoss => LinkError::Broadcast { address, reason },
        _ => LinkError::Broken { address, reason },
    }
}

/// What the peer said, or what the connection died of.
fn status_in_words(status: &Status) -> String {
    match status.source() {
        Some(source) => root_cause(source),
        None => status.message().to_owned(),
    }
}

fn root_cause(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
