//! A session that is ready: orders out and reports in, until it ends.

use std::collections::{HashMap, VecDeque};
use std::error::Error;
use std::iter;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use broadsweep_common::attempt::{Launch, Report};
use broadsweep_common::blob::Blob;
use broadsweep_common::ids::AttemptId;
use broadsweep_proto::dial::root_cause;
use broadsweep_proto::session::{
    Cancel, Dismiss, DriverItem, FromDriver, FromExecutor, Hello, Release, driver_item, executor_item,
};
use broadsweep_proto::wire;
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tonic::{Status, Streaming};

use super::broadcast::Presence;
use super::desk::{Desk, RunOver};
use super::greeting::open;
use super::transfer::Transfer;
use super::{LinkError, LinkEvent, Needs, Order, Payload, Pull, PullError, SessionId};

/// Items that are put together into one message at most.
const BATCH_MAX: usize = 256;

/// How a session ended.
pub(super) enum SessionEnd {
    /// The run is over, and the executor knows, or is left as it is.
    RunOver,
    /// The run is over, and the executor may not have heard it.
    Unheard,
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
    let (mut session, ready) = match open(desk, id, address).await {
        Ok(opened) => opened,
        Err(end) => return end,
    };
    let over = desk.over.clone();
    let talk = async {
        desk.tell(LinkEvent::Ready(ready)).await?;
        session.talk(desk, id).await
    };
    let end = tokio::select! {
        biased;
        () = over.cancelled() => SessionEnd::RunOver,
        end = talk => end.err().unwrap_or(SessionEnd::RunOver),
    };
    if over.is_cancelled() && !desk.is_spared() {
        return session.goodbye().await;
    }
    end
}

/// A connection that an executor has welcomed.
pub(super) struct Session {
    pub(super) address: String,
    pub(super) outbound: Outbound,
    pub(super) inbound: Streaming<FromExecutor>,
    /// The number of the last message from the executor.
    pub(super) received: u64,
    /// The number of the last one that is to be acknowledged.
    pub(super) acknowledged: Arc<AtomicU64>,
    pub(super) transfer: Transfer,
    pub(super) supplies: Arc<Supplies>,
    /// While it lasts, the executor has the data, and others fetch from it.
    pub(super) presence: Option<Presence>,
}

/// Launches that wait for what they need, each with the cancel that is to follow it.
#[derive(Default)]
pub(super) struct Supplies(Mutex<HashMap<AttemptId, Option<Cancel>>>);

impl Supplies {
    fn waiting(&self) -> MutexGuard<'_, HashMap<AttemptId, Option<Cancel>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, attempt: AttemptId) {
        self.waiting().insert(attempt, None);
    }

    /// Lets `cancel` follow the attempt's launch, and gives it back if that has gone out.
    fn cancel(&self, attempt: AttemptId, cancel: Cancel) -> Option<Cancel> {
        match self.waiting().get_mut(&attempt) {
            Some(follows) => {
                *follows = Some(cancel);
                None
            }
            None => Some(cancel),
        }
    }

    fn end(&self, attempt: AttemptId) -> Option<Cancel> {
        self.waiting().remove(&attempt).flatten()
    }
}

/// The driver's half of the stream: what is sent becomes part of the next message.
#[derive(Clone)]
pub(super) struct Outbound(mpsc::Sender<Vec<driver_item::Item>>);

impl Outbound {
    /// Begins the stream with a hello. What the last value holds is acknowledged in the next message.
    pub(super) fn open(payload: &Payload, hello: Hello) -> (Self, Outgoing, Arc<AtomicU64>) {
        let (items, queued) = mpsc::channel(BATCH_MAX);
        let acknowledged = Arc::new(AtomicU64::new(0));
        let outgoing = Outgoing {
            run: payload.run.clone(),
            generation: payload.generation,
            sequence: 0,
            acknowledged: Arc::clone(&acknowledged),
            queued,
            waiting: VecDeque::from([driver_item::Item::Hello(hello)]),
        };
        (Self(items), outgoing, acknowledged)
    }

    /// Sends these items in this order. None at all: a message that only acknowledges.
    pub(super) async fn send(&self, items: Vec<driver_item::Item>) -> Result<(), SessionEnd> {
        let lost = |_| SessionEnd::Lost { reason: "the stream is closed".to_owned() };
        self.0.send(items).await.map_err(lost)
    }
}

/// The numbered messages of a session, made when the network takes the next one: it holds all that waits by then.
pub(super) struct Outgoing {
    run: String,
    generation: u64,
    sequence: u64,
    acknowledged: Arc<AtomicU64>,
    queued: mpsc::Receiver<Vec<driver_item::Item>>,
    waiting: VecDeque<driver_item::Item>,
}

impl Stream for Outgoing {
    type Item = FromDriver;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<FromDriver>> {
        let mut is_due = !self.waiting.is_empty();
        while self.waiting.len() < BATCH_MAX {
            match self.queued.poll_recv(context) {
                Poll::Ready(Some(items)) => {
                    self.waiting.extend(items);
                    is_due = true;
                }
                Poll::Ready(None) if !is_due => return Poll::Ready(None),
                Poll::Pending if !is_due => return Poll::Pending,
                Poll::Ready(None) | Poll::Pending => break,
            }
        }
        let batch = BATCH_MAX.min(self.waiting.len());
        self.sequence += 1;
        Poll::Ready(Some(FromDriver {
            run: self.run.clone(),
            generation: self.generation,
            sequence: self.sequence,
            acknowledged: self.acknowledged.load(Ordering::Relaxed),
            items: self.waiting.drain(..batch).map(|item| DriverItem { item: Some(item) }).collect(),
        }))
    }
}

impl Session {
    /// Until the session is lost.
    async fn talk(&mut self, desk: &mut Desk, id: SessionId) -> Result<(), SessionEnd> {
        loop {
            // Orders first: they follow from reports, so reports do not wait for long.
            tokio::select! {
                biased;
                orders = desk.orders.recv() => match orders {
                    None => return Err(SessionEnd::RunOver),
                    // Orders for an earlier session were lost with it, and the run loop knows.
                    Some((meant, _)) if meant != id => {}
                    Some((_, orders)) => self.carry_out(desk, orders).await?,
                },
                message = self.inbound.message() => self.receive(desk, message).await?,
            }
        }
    }

    /// Tells the executor that the run is over, and waits until it has heard it: then it ends the session in order.
    pub(super) async fn goodbye(&mut self) -> SessionEnd {
        if self.outbound.send(vec![driver_item::Item::Dismiss(Dismiss {})]).await.is_err() {
            return SessionEnd::Unheard;
        }
        loop {
            match self.inbound.message().await {
                Ok(Some(_)) => {}
                Ok(None) => return SessionEnd::RunOver,
                Err(_) => return SessionEnd::Unheard,
            }
        }
    }

    /// The next item of a message that holds one.
    pub(super) async fn next_item(&mut self) -> Result<executor_item::Item, LinkError> {
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
        let lost = |reason: String| SessionEnd::Lost { reason };
        let message = message.map_err(|status| lost(status_in_words(&status)))?;
        let message = message.ok_or_else(|| lost("closed the session".to_owned()))?;
        self.follow(message.sequence).map_err(lost)?;
        let mut reports = Vec::with_capacity(message.items.len());
        for item in message.items {
            match item.item {
                Some(executor_item::Item::EpochEnded(message)) => reports.push(wire::epoch_ended(&message)),
                Some(executor_item::Item::AttemptEnded(message)) => reports.push(wire::attempt_ended(message)),
                Some(executor_item::Item::Draining(_)) => desk.tell(LinkEvent::Draining).await?,
                Some(executor_item::Item::Welcome(_) | executor_item::Item::Prepared(_)) => {
                    return Err(lost("greeted twice".to_owned()));
                }
                None => {} // of a newer version
            }
        }
        let reports: Vec<Report> =
            reports.into_iter().collect::<Result<_, _>>().map_err(|bad| lost(bad.to_string()))?;
        if !reports.is_empty() {
            desk.tell(LinkEvent::Reports { sequence: message.sequence, reports }).await?;
        }
        Ok(())
    }

    /// Takes note of the next message's number.
    fn follow(&mut self, sequence: u64) -> Result<(), String> {
        let due = self.received + 1;
        if sequence != due {
            return Err(format!("message {sequence} came where {due} was due"));
        }
        self.received = sequence;
        Ok(())
    }

    /// What is ordered together goes out together.
    async fn carry_out(&self, desk: &Desk, orders: Vec<Order>) -> Result<(), SessionEnd> {
        let mut items = Vec::with_capacity(orders.len());
        let mut acknowledges = false;
        for order in orders {
            match order {
                Order::Launch { launch, needs: None } => items.push(wire::launch_item(launch)),
                Order::Launch { launch, needs: Some(needs) } => self.supply_and_launch(desk, launch, needs),
                Order::Cancel { attempt, at_epoch_end } => {
                    let cancel = Cancel { attempt: Some(wire::attempt_message(attempt)), at_epoch_end };
                    items.extend(self.supplies.cancel(attempt, cancel).map(driver_item::Item::Cancel));
                }
                Order::Release(blob) => {
                    let release = Release { blob: Bytes::copy_from_slice(&blob.0) };
                    items.push(driver_item::Item::Release(release));
                }
                Order::Pull(pull) => self.pull(desk, pull),
                Order::Acknowledge { sequence } => {
                    self.acknowledged.fetch_max(sequence, Ordering::Relaxed);
                    acknowledges = true;
                }
            }
        }
        if items.is_empty() && !acknowledges { Ok(()) } else { self.outbound.send(items).await }
    }

    /// Beside the session, so that reports do not wait for bulk. The launch goes out in any case: without its weights
    /// the attempt fails, without its checkpoint it starts at the beginning.
    fn supply_and_launch(&self, desk: &Desk, mut launch: Launch, needs: Needs) {
        let (mut transfer, outbound) = (self.transfer.clone(), self.outbound.clone());
        let (vault, supplies) = (Arc::clone(&desk.world.vault), Arc::clone(&self.supplies));
        supplies.begin(launch.attempt);
        tokio::spawn(async move {
            let supplied = match needs {
                Needs::Weights(weights) => transfer.supply(&weights).await.map_err(in_words),
                Needs::Checkpoint { name, blob: digest } => {
                    async {
                        let content = vault.load(name.clone()).await.map_err(in_words)?;
                        let blob = Blob::new(content).map_err(in_words)?;
                        if blob.manifest.digest() != digest {
                            return Err(format!("{name} in the run folder is damaged"));
                        }
                        transfer.supply(&blob).await.map_err(in_words)?;
                        launch.checkpoint = Some(blob.manifest.digest());
                        Ok(())
                    }
                    .await
                }
            };
            if let Err(reason) = supplied {
                tracing::warn!(attempt = %launch.attempt, reason, "what an attempt needs did not get there");
            }
            let cancel = supplies.end(launch.attempt).map(driver_item::Item::Cancel);
            let items = iter::once(wire::launch_item(launch)).chain(cancel);
            let _ = outbound.send(items.collect()).await; // a lost session is reported by itself
        });
    }

    /// Beside the session, as a supply.
    fn pull(&self, desk: &Desk, Pull { attempt, cargo, blob, name, bytes_max }: Pull) {
        let (mut transfer, address) = (self.transfer.clone(), self.address.clone());
        let vault = Arc::clone(&desk.world.vault);
        let (executor, events) = desk.teller();
        tokio::spawn(async move {
            let pulled = async {
                let bytes = transfer.pull(blob, bytes_max).await.map_err(|status| {
                    let reason = format!("it did not give {name}: {}", status.message());
                    PullError::Link(LinkError::Broken { address, reason })
                })?;
                let bytes = Bytes::from(bytes);
                vault.keep(name, bytes.clone()).await?;
                Ok(bytes)
            };
            let content = pulled.await;
            let _ = events.send((executor, LinkEvent::Pulled { attempt, cargo, content })).await; // the run may be over
        });
    }

    pub(super) fn broken(&self, reason: &str) -> LinkError {
        LinkError::Broken { address: self.address.clone(), reason: reason.to_owned() }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that `map_err` takes")]
fn in_words(error: impl ToString) -> String {
    error.to_string()
}

/// What the peer said, or what the connection died of.
pub(super) fn status_in_words(status: &Status) -> String {
    match status.source() {
        Some(source) => root_cause(source),
        None => status.message().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use broadsweep_common::ids::TaskId;
    use tokio_stream::StreamExt;

    use super::*;

    fn cancel(task: u32, at_epoch_end: bool) -> Cancel {
        let attempt = AttemptId { task: TaskId(task), number: 1 };
        Cancel { attempt: Some(wire::attempt_message(attempt)), at_epoch_end }
    }

    fn outgoing(acknowledged: u64) -> (mpsc::Sender<Vec<driver_item::Item>>, Outgoing) {
        let (items, queued) = mpsc::channel(16);
        let acknowledged = Arc::new(AtomicU64::new(acknowledged));
        let (run, waiting) = ("run".to_owned(), VecDeque::new());
        (items, Outgoing { run, generation: 3, sequence: 0, acknowledged, queued, waiting })
    }

    #[test]
    fn a_cancel_follows_the_launch_that_waits_for_its_checkpoint() {
        let supplies = Supplies::default();
        let attempt = |task| AttemptId { task: TaskId(task), number: 1 };
        assert_eq!(supplies.cancel(attempt(0), cancel(0, true)), Some(cancel(0, true)), "it is out already");
        supplies.begin(attempt(0));
        supplies.begin(attempt(1));
        assert_eq!(supplies.cancel(attempt(0), cancel(0, true)), None);
        assert_eq!(supplies.cancel(attempt(0), cancel(0, false)), None, "the later one counts");
        assert_eq!((supplies.end(attempt(0)), supplies.end(attempt(1))), (Some(cancel(0, false)), None));
        assert_eq!(supplies.cancel(attempt(0), cancel(0, true)), Some(cancel(0, true)));
    }

    #[tokio::test]
    async fn what_waits_is_one_message_and_no_message_is_too_large() {
        let (items, outgoing) = outgoing(9);
        let cancels = |tasks: std::ops::Range<usize>| {
            tasks.map(|task| driver_item::Item::Cancel(cancel(task as u32, false))).collect::<Vec<_>>()
        };
        items.try_send(cancels(0..2)).unwrap();
        items.try_send(cancels(2..3)).unwrap();
        items.try_send(cancels(3..BATCH_MAX + 5)).unwrap();
        items.try_send(Vec::new()).unwrap();
        drop(items);
        let messages: Vec<_> = outgoing.collect().await;
        let shape = |message: &FromDriver| (message.sequence, message.acknowledged, message.items.len());
        assert_eq!(messages.iter().map(shape).collect::<Vec<_>>(), [(1, 9, BATCH_MAX), (2, 9, 5)]);
        let sent = messages.into_iter().flat_map(|message| message.items).map(|item| item.item.unwrap());
        assert_eq!(sent.collect::<Vec<_>>(), cancels(0..BATCH_MAX + 5));
    }

    #[tokio::test]
    async fn an_empty_batch_acknowledges() {
        let (items, mut outgoing) = outgoing(4);
        items.try_send(Vec::new()).unwrap();
        let message = outgoing.next().await.unwrap();
        assert_eq!((message.sequence, message.acknowledged, message.items.len()), (1, 4, 0));
        drop(items);
        assert_eq!(outgoing.next().await, None);
    }
}
