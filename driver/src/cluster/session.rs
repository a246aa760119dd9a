//! A session that is ready: orders out and reports in, until it ends.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use broadsweep_common::attempt::{Launch, Report};
use broadsweep_common::blob::Blob;
use broadsweep_common::ids::{AttemptId, Digest};
use broadsweep_common::wire;
use broadsweep_proto::session::{
    Cancel, Dismiss, DriverItem, FromDriver, FromExecutor, Hello, Release, driver_item, executor_item,
};
use bytes::Bytes;
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

use super::desk::{Desk, RunOver};
use super::dial::root_cause;
use super::greeting::open;
use super::transfer::Transfer;
use super::{Cargo, LinkError, LinkEvent, Needs, Order, Payload, PullError, SessionId};

/// Items that are put together into one message at most.
const BATCH_MAX: usize = 256;

/// How a session ended.
pub(super) enum SessionEnd {
    /// The run is over.
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
    if over.is_cancelled() {
        if !desk.is_spared() {
            session.goodbye().await;
        }
        return SessionEnd::RunOver;
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
}

/// The driver's half of the stream: items that are put together into messages. `None` only acknowledges.
#[derive(Clone)]
pub(super) struct Outbound(mpsc::Sender<Option<driver_item::Item>>);

impl Outbound {
    /// Begins the stream with a hello. What the second value holds is acknowledged in the next message.
    pub(super) fn open(payload: &Payload, stream: mpsc::Sender<FromDriver>, hello: Hello) -> (Self, Arc<AtomicU64>) {
        let (items, queued) = mpsc::channel(BATCH_MAX);
        let acknowledged = Arc::new(AtomicU64::new(0));
        let _ = items.try_send(Some(driver_item::Item::Hello(hello))); // the queue is empty
        let numbering = Numbering { run: payload.run.clone(), generation: payload.generation };
        tokio::spawn(numbering.batch(queued, stream, Arc::clone(&acknowledged)));
        (Self(items), acknowledged)
    }

    pub(super) async fn send(&self, item: driver_item::Item) -> Result<(), SessionEnd> {
        self.queue(Some(item)).await
    }

    async fn queue(&self, item: Option<driver_item::Item>) -> Result<(), SessionEnd> {
        let lost = |_| SessionEnd::Lost { reason: "the stream is closed".to_owned() };
        self.0.send(item).await.map_err(lost)
    }
}

/// What stands in every message of a session.
struct Numbering {
    run: String,
    generation: u64,
}

impl Numbering {
    /// Puts queued items together into numbered messages.
    async fn batch(
        self,
        mut queued: mpsc::Receiver<Option<driver_item::Item>>,
        stream: mpsc::Sender<FromDriver>,
        acknowledged: Arc<AtomicU64>,
    ) {
        let mut items = Vec::new();
        let mut sequence = 0;
        while queued.recv_many(&mut items, BATCH_MAX).await > 0 {
            sequence += 1;
            let message = FromDriver {
                run: self.run.clone(),
                generation: self.generation,
                sequence,
                acknowledged: acknowledged.load(Ordering::Relaxed),
                items: items.drain(..).flatten().map(|item| DriverItem { item: Some(item) }).collect(),
            };
            if stream.send(message).await.is_err() {
                return; // the session is over
            }
        }
    }
}

impl Session {
    /// Until the session is lost.
    async fn talk(&mut self, desk: &mut Desk, id: SessionId) -> Result<(), SessionEnd> {
        loop {
            // Orders first: they follow from reports, so reports do not wait for long.
            tokio::select! {
                biased;
                order = desk.orders.recv() => match order {
                    None => return Err(SessionEnd::RunOver),
                    // An order for an earlier session was lost with it, and the run loop knows.
                    Some((meant, _)) if meant != id => {}
                    Some((_, order)) => self.carry_out(desk, order).await?,
                },
                message = self.inbound.message() => self.receive(desk, message).await?,
            }
        }
    }

    /// Tells the executor that the run is over, and waits until it has heard it.
    pub(super) async fn goodbye(&mut self) {
        if self.outbound.send(driver_item::Item::Dismiss(Dismiss {})).await.is_ok() {
            while let Ok(Some(_)) = self.inbound.message().await {}
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
        let address = self.address.clone();
        let lost = |reason: String| SessionEnd::Lost { reason: format!("{address}: {reason}") };
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

    async fn carry_out(&self, desk: &Desk, order: Order) -> Result<(), SessionEnd> {
        match order {
            Order::Launch { launch, needs: None } => self.outbound.send(wire::launch_item(&launch)).await,
            Order::Launch { launch, needs: Some(needs) } => {
                self.supply_and_launch(desk, launch, needs);
                Ok(())
            }
            Order::Cancel { attempt, at_epoch_end } => {
                let cancel = Cancel { attempt: Some(wire::attempt_message(attempt)), at_epoch_end };
                self.outbound.send(driver_item::Item::Cancel(cancel)).await
            }
            Order::Release(blob) => {
                let release = Release { blob: Bytes::copy_from_slice(&blob.0) };
                self.outbound.send(driver_item::Item::Release(release)).await
            }
            Order::Pull { attempt, cargo, blob, name } => {
                self.pull(desk, attempt, cargo, (blob, name));
                Ok(())
            }
            Order::Acknowledge { sequence } => {
                self.acknowledged.fetch_max(sequence, Ordering::Relaxed);
                self.outbound.queue(None).await
            }
        }
    }

    /// Beside the session, so that reports do not wait for bulk. The launch goes out in any case: without its weights
    /// the attempt fails, without its checkpoint it starts at the beginning.
    fn supply_and_launch(&self, desk: &Desk, mut launch: Launch, needs: Needs) {
        let (mut transfer, outbound) = (self.transfer.clone(), self.outbound.clone());
        let vault = Arc::clone(&desk.world.vault);
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
            let _ = outbound.send(wire::launch_item(&launch)).await; // a lost session is reported by itself
        });
    }

    fn pull(&self, desk: &Desk, attempt: AttemptId, cargo: Cargo, (blob, name): (Digest, String)) {
        let (mut transfer, address) = (self.transfer.clone(), self.address.clone());
        let vault = Arc::clone(&desk.world.vault);
        let (executor, events) = desk.teller();
        tokio::spawn(async move {
            let pulled = async {
                let bytes = transfer.pull(blob).await.map_err(|status| {
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
