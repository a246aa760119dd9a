//! A session that is ready: orders out and reports in, until it ends.

use std::collections::HashMap;
use std::iter;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use broadsweep_common::attempt::{Launch, Report};
use broadsweep_common::blob::{ARRIVING_MAX, Blob};
use broadsweep_common::ids::AttemptId;
use broadsweep_common::log::PIECES_BYTES_MAX;
use broadsweep_proto::session::{Cancel, Dismiss, FromExecutor, Logged, Release, driver_item, executor_item};
use broadsweep_proto::wire;
use bytes::Bytes;
use tokio::sync::Semaphore;
use tonic::{Status, Streaming};

use super::desk::Desk;
use super::ending::{SessionEnd, status_in_words};
use super::errands::Errands;
use super::outbound::{Acknowledged, Outbound};
use super::transfer::Transfer;
use super::{LinkError, LinkEvent, Needs, Order, PartitionSource, Pull, PullError, SessionId, Vault};

/// Launches whose needs are read and sent to one executor at the same time. Fewer than may be on their way there: a
/// session that broke off may have left some.
const SUPPLIES_MAX: usize = ARRIVING_MAX / 4;
/// Blobs that are fetched from one executor at once.
pub(super) const PULLS_OF_ONE_MAX: usize = 2;
/// Bytes of logs of one executor that may wait for the run loop: two messages.
pub(super) const LOG_BYTES_MAX: usize = 2 * PIECES_BYTES_MAX;

/// A connection that an executor has welcomed.
pub(super) struct Session {
    pub(super) address: String,
    pub(super) outbound: Outbound,
    pub(super) inbound: Streaming<FromExecutor>,
    /// The number of the last message from the executor.
    pub(super) received: u64,
    /// What of theirs is to be acknowledged.
    pub(super) acknowledged: Arc<Acknowledged>,
    pub(super) transfer: Transfer,
    pub(super) supplies: Arc<Supplies>,
    pub(super) errands: Errands,
    /// Blobs that are fetched at once from this executor.
    pub(super) pulls: Arc<Semaphore>,
    /// For bytes of logs on their way to the run loop.
    pub(super) log_room: Arc<Semaphore>,
}

/// Launches that wait for what they need.
pub(super) struct Supplies {
    /// Each with the cancel that is to follow it.
    waiting: Mutex<HashMap<AttemptId, Option<Cancel>>>,
    room: Semaphore,
}

impl Default for Supplies {
    fn default() -> Self {
        Self { waiting: Mutex::default(), room: Semaphore::new(SUPPLIES_MAX) }
    }
}

impl Supplies {
    fn waiting(&self) -> MutexGuard<'_, HashMap<AttemptId, Option<Cancel>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
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

impl Session {
    /// Until the session is lost.
    pub(super) async fn talk(&mut self, desk: &mut Desk, id: SessionId) -> Result<(), SessionEnd> {
        loop {
            // Orders first: they follow from reports, so reports do not wait for long.
            tokio::select! {
                biased;
                orders = desk.orders.next(id) => match orders {
                    None => return Err(SessionEnd::RunOver),
                    Some(orders) => self.carry_out(desk, orders).await?,
                },
                reason = self.errands.panicked() => return Err(SessionEnd::Lost { reason }),
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
        let message = self.inbound.message().await.map_err(|status| self.broken(&status_in_words(&status)))?;
        let message = message.ok_or_else(|| self.broken("closed the session"))?;
        self.check_sequence(message.sequence).map_err(|reason| self.broken(&reason))?;
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
        self.check_sequence(message.sequence).map_err(lost)?;
        let (mut reports, mut logged) = (Vec::with_capacity(message.items.len()), Vec::new());
        for item in message.items {
            match item.item {
                Some(executor_item::Item::EpochEnded(message)) => reports.push(wire::epoch_ended(message)),
                Some(executor_item::Item::AttemptEnded(message)) => reports.push(wire::attempt_ended(message)),
                Some(executor_item::Item::Logged(piece)) => logged.push(piece),
                Some(executor_item::Item::Draining(_)) => desk.tell(LinkEvent::Draining).await?,
                Some(executor_item::Item::Welcome(_) | executor_item::Item::Prepared(_)) => {
                    return Err(lost("greeted twice".to_owned()));
                }
                None => {} // of a newer version
            }
        }
        if !logged.is_empty() {
            self.pass_on_logs(desk, logged).await?;
        }
        let reports: Vec<Report> =
            reports.into_iter().collect::<Result<_, _>>().map_err(|bad| lost(bad.to_string()))?;
        if !reports.is_empty() {
            desk.tell(LinkEvent::Reports { sequence: message.sequence, reports }).await?;
        }
        Ok(())
    }

    /// Logs have to wait for a run loop that is behind, as reports do.
    async fn pass_on_logs(&self, desk: &Desk, logged: Vec<Logged>) -> Result<(), SessionEnd> {
        let lost = |reason: String| SessionEnd::Lost { reason };
        let pieces = wire::log_pieces(logged).map_err(|bad| lost(bad.to_string()))?;
        let bytes = pieces.iter().map(|piece| piece.text.len()).sum::<usize>();
        let room = Arc::clone(&self.log_room).acquire_many_owned(bytes as u32).await;
        let room = room.map_err(|closed| lost(closed.to_string()))?;
        Ok(desk.tell(LinkEvent::Logged { pieces, room }).await?)
    }

    /// Takes note of the next message's number.
    fn check_sequence(&mut self, sequence: u64) -> Result<(), String> {
        let due = self.received + 1;
        if sequence != due {
            return Err(format!("message {sequence} came where {due} was due"));
        }
        self.received = sequence;
        Ok(())
    }

    /// What is ordered together goes out together.
    async fn carry_out(&mut self, desk: &Desk, orders: Vec<Order>) -> Result<(), SessionEnd> {
        let mut items = Vec::with_capacity(orders.len());
        let mut acknowledges = false;
        for order in orders {
            match order {
                Order::Launch { launch, needs } if needs.is_empty() => items.push(wire::launch_item(launch)),
                Order::Launch { launch, needs } => self.supply_and_launch(desk, launch, needs),
                Order::Cancel { attempt, at_epoch_end } => {
                    let cancel = Cancel { attempt: Some(wire::attempt_message(attempt)), at_epoch_end };
                    items.extend(self.supplies.cancel(attempt, cancel).map(driver_item::Item::Cancel));
                }
                Order::Release(attempt, blob) => {
                    let attempt = Some(wire::attempt_message(attempt));
                    let release = Release { attempt, blob: Bytes::copy_from_slice(&blob.0) };
                    items.push(driver_item::Item::Release(release));
                }
                Order::Pull(pull) => self.pull(desk, pull),
                Order::HangUp { reason } => return Err(SessionEnd::Lost { reason: reason.to_owned() }),
                Order::Acknowledge { through, settled } => {
                    self.acknowledged.add(through, settled);
                    acknowledges = true;
                }
            }
        }
        if items.is_empty() && !acknowledges { Ok(()) } else { self.outbound.send(items).await }
    }

    /// Beside the session, so that reports do not wait for bulk. The launch goes out in any case: without its weights
    /// or its rows the attempt fails, without its checkpoint it starts at the beginning.
    fn supply_and_launch(&mut self, desk: &Desk, mut launch: Launch, needs: Vec<Needs>) {
        let (mut transfer, outbound) = (self.transfer.clone(), self.outbound.clone());
        let (vault, rows) = (Arc::clone(&desk.world.vault), Arc::clone(&desk.world.rows));
        let supplies = Arc::clone(&self.supplies);
        supplies.begin(launch.attempt);
        self.errands.begin(async move {
            let place = supplies.room.acquire().await; // nobody closes it
            for needed in needs {
                if let Err(reason) = supply(&mut transfer, (&*vault, &*rows), &mut launch, needed).await {
                    tracing::warn!(attempt = %launch.attempt, reason, "what an attempt needs did not get there");
                }
            }
            drop(place);
            let cancel = supplies.end(launch.attempt).map(driver_item::Item::Cancel);
            let items = iter::once(wire::launch_item(launch)).chain(cancel);
            let _ = outbound.send(items.collect()).await; // a lost session is reported by itself
        });
    }

    /// Beside the session, as a supply; what has come is made safe although the session ends meanwhile.
    fn pull(&mut self, desk: &Desk, Pull { attempt, cargo, blob, name, bytes_max }: Pull) {
        let (mut transfer, address) = (self.transfer.clone(), self.address.clone());
        let vault = Arc::clone(&desk.world.vault);
        let (teller, pulls, own_pulls) = (desk.teller.clone(), Arc::clone(&desk.pulls), Arc::clone(&self.pulls));
        self.errands.begin_lasting(async move {
            let pulled = async {
                // Its own first, so that what waits on a slow executor leaves the others' places free. Nobody closes them.
                let _own = own_pulls.acquire().await;
                let _place = pulls.acquire().await;
                let pulled = transfer.pull(blob, bytes_max).await.map_err(|status| {
                    let reason = format!("it did not give {name}: {}", status.message());
                    PullError::Link(LinkError::Broken { address, reason })
                })?;
                vault.keep(name, pulled.content.clone()).await?;
                Ok(pulled)
            };
            let content = pulled.await;
            let _ = teller.tell(LinkEvent::Pulled { attempt, cargo, content }).await; // the run may be over
        });
    }

    pub(super) fn broken(&self, reason: &str) -> LinkError {
        LinkError::Broken { address: self.address.clone(), reason: reason.to_owned() }
    }
}

/// Gives an executor one thing that an attempt needs. A checkpoint, or rows, that got there are named in its launch.
async fn supply(
    transfer: &mut Transfer,
    (vault, rows): (&dyn Vault, &dyn PartitionSource),
    launch: &mut Launch,
    needed: Needs,
) -> Result<(), String> {
    match needed {
        Needs::Weights(weights) => transfer.supply(&weights).await.map_err(in_words),
        Needs::Checkpoint { name, blob: digest } => {
            let content = vault.load(name.clone()).await.map_err(in_words)?;
            let blob = Blob::new(content).map_err(in_words)?;
            if blob.manifest.digest() != digest {
                return Err(format!("{name} in the run folder is damaged"));
            }
            transfer.supply(&blob).await.map_err(in_words)?;
            launch.input = Some(digest);
            Ok(())
        }
        Needs::Rows { partition } => {
            let blob = Blob::new(rows.rows_of(partition).await?).map_err(in_words)?;
            transfer.supply(&blob).await.map_err(in_words)?;
            launch.input = Some(blob.manifest.digest());
            Ok(())
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that `map_err` takes")]
fn in_words(error: impl ToString) -> String {
    error.to_string()
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod talk_tests;

#[cfg(test)]
mod tests {
    use broadsweep_common::configuration::Configuration;
    use broadsweep_common::ids::{TaskId, TrialId};
    use broadsweep_common::task::{Replicate, Segment, TaskKind};
    use tonic::transport::Endpoint;

    use super::*;
    use crate::cluster::BlockingVault;
    use crate::journal::{MemoryStorage, Storage};

    fn cancel(task: u32, at_epoch_end: bool) -> Cancel {
        let attempt = AttemptId { task: TaskId(task), number: 1 };
        Cancel { attempt: Some(wire::attempt_message(attempt)), at_epoch_end }
    }

    #[tokio::test]
    async fn a_checkpoint_that_changed_in_the_run_folder_is_sent_to_nobody() {
        let storage = Arc::new(MemoryStorage::new());
        let vault = BlockingVault::new(Arc::clone(&storage) as Arc<dyn Storage>);
        let (name, content) = ("checkpoints/0-3".to_owned(), Bytes::from_static(b"the state after the third epoch"));
        let blob = Blob::new(content.clone()).unwrap().manifest.digest();
        vault.keep(name.clone(), content.clone()).await.unwrap();
        // Nobody listens: what is to be sent fails in another way.
        let mut transfer = Transfer::new(Endpoint::from_static("http://127.0.0.1:1").connect_lazy().into(), "run");
        let mut supplied = async || {
            let segment = Segment { replicate: Replicate::first(TrialId(0)), from_epoch: 3, until_epoch: 9 };
            let (attempt, kind) = (AttemptId { task: TaskId(0), number: 2 }, TaskKind::Train(segment));
            let mut launch = Launch { attempt, kind, configuration: Configuration::default(), input: None };
            let needs = Needs::Checkpoint { name: name.clone(), blob };
            let reason = supply(&mut transfer, (&vault, &()), &mut launch, needs).await.unwrap_err();
            (reason, launch.input)
        };
        let (reason, _) = supplied().await;
        assert!(!reason.contains("damaged"), "it was sent as it is: {reason}");
        for bit in [0, 8 * content.len() - 1] {
            let mut flipped = content.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            storage.write(&name, &flipped).unwrap();
            let damaged = "checkpoints/0-3 in the run folder is damaged".to_owned();
            assert_eq!(supplied().await, (damaged, None), "bit {bit}");
        }
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
}
