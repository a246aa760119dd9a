//! What a session takes from its driver, and what it tells of its own accord.

use broadsweep_common::attempt::{AttemptEvent, Durations, Ended, Report};
use broadsweep_common::blob::Manifest;
use broadsweep_common::configuration::Configuration;
use broadsweep_common::ids::{AttemptId, TaskId, TrialId};
use broadsweep_common::task::{Replicate, Segment, TaskKind};
use broadsweep_nn::Kernel;
use broadsweep_store::{Made, Medium};
use tempfile::TempDir;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tonic::Code;

use super::*;
use crate::fixtures::{Silence, bytes, description};
use crate::slots::Work;
use crate::trainers::{Means, trainer_of};
use crate::work::Prepared;

const ATTEMPT: AttemptId = AttemptId { task: TaskId(0), number: 1 };
const RUN: &str = "run";

/// Begins nothing.
struct Idle;

impl SlotRunner for Idle {
    fn start(&self, _: Vec<Attempt>) {}

    fn aside(&self, _: Work) {}
}

/// A session without its streams.
struct Alone {
    session: Holding,
    grip: Grip,
    told: mpsc::Receiver<Result<FromExecutor, Status>>,
    dialled: UnboundedReceiver<String>,
    _folder: TempDir,
}

async fn alone() -> Alone {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(BlobStore::open(folder.path()).unwrap());
    let hold = Arc::new(Hold::new(Arc::clone(&store), Duration::from_mins(10)));
    let claim = Claim { run: RUN.to_owned(), generation: 1, driver: None };
    let grip = hold.take(&claim, false).await.unwrap();
    let (outbound, told) = mpsc::channel(16);
    let (tell, dialled) = unbounded_channel();
    let (arrivals, connect) = (Arc::default(), Arc::new(Silence(tell)));
    let surroundings = Surroundings { store: Arc::clone(&store), arrivals, connect, instance: 1 };
    let offering = Offering {
        slots: 2,
        memory_bytes: 1,
        kernels: Vec::new(),
        advertise: String::new(),
        instance: 1,
        programs: None,
        files: None,
        stores: None,
    };
    let session = Holding {
        run: RUN.to_owned(),
        generation: 1,
        sent: 0,
        received: FIRST_SEQUENCE,
        outbound,
        is_prepared: false,
        is_over: false,
        logs_due: Instant::now(),
        draining: hold.draining.clone(),
        store,
        runner: Arc::new(Idle),
        offering,
        surroundings,
        exchange: None,
    };
    Alone { session, grip, told, dialled, _folder: folder }
}

impl Alone {
    /// The message that is due from the driver, with these items.
    fn message(&self, items: Vec<driver_item::Item>) -> FromDriver {
        let items = items.into_iter().map(|item| DriverItem { item: Some(item) }).collect();
        let sequence = self.session.received + 1;
        FromDriver { run: RUN.to_owned(), generation: 1, sequence, items, ..FromDriver::default() }
    }

    async fn hears(&mut self, message: FromDriver) -> Result<(), End> {
        self.session.receive(message, &mut self.grip).await
    }

    /// As if a study had been prepared for two slots.
    fn prepared(&mut self) {
        let means = Means {
            kernel: Kernel::PORTABLE,
            memory_bytes: 1 << 20,
            slots: 2,
            threads: 1,
            programs: None,
            files: None,
            stores: None,
            given_up: CancellationToken::new(),
        };
        let trainer = trainer_of(description(), (Digest::of(b"rows"), Arc::new(bytes([4, 2, 0]))), means).unwrap();
        self.grip.tenant().prepared = Some(Arc::new(Prepared { study_seed: 1, trainer, slots: 2 }));
        self.session.is_prepared = true;
    }

    /// What was told by now: of each message how many items it has.
    fn told(&mut self) -> Vec<usize> {
        std::iter::from_fn(|| self.told.try_recv().ok()).map(|message| message.unwrap().items.len()).collect()
    }
}

/// What the session ends with, if it does.
fn reason(end: Result<(), End>) -> Option<(Code, String)> {
    end.err()
        .map(|status| status.map_or((Code::Ok, String::new()), |status| (status.code(), status.message().into())))
}

fn launch(task: u32) -> driver_item::Item {
    let attempt = AttemptId { task: TaskId(task), number: 1 };
    let segment = Segment { replicate: Replicate::first(TrialId(0)), from_epoch: 0, until_epoch: 1 };
    let (kind, configuration) = (TaskKind::Train(segment), Configuration::default());
    wire::launch_item(Launch { attempt, kind, configuration, input: None })
}

fn peers(blob: Digest, addresses: &[&str]) -> driver_item::Item {
    let addresses = addresses.iter().map(|address| (*address).to_owned()).collect();
    driver_item::Item::Peers(Peers { blob: blob.0.to_vec().into(), addresses, encoded: false })
}

#[tokio::test]
async fn an_executor_that_leaves_has_left_once_nothing_runs_and_nothing_waits_to_be_told_or_fetched() {
    let mut alone = alone().await;
    let (_, slot) = alone.grip.tenant().begin(ATTEMPT).unwrap();
    let stays = |alone: &mut Alone| alone.session.leave_if_done(&mut alone.grip).is_ok() && !alone.session.is_over;
    assert!(stays(&mut alone), "an attempt runs, and has made nothing so far");
    let shelf = alone.session.store.shelf_of(ATTEMPT);
    let weights = shelf.keep(b"weights".to_vec(), Made::Result).unwrap();
    assert!(stays(&mut alone), "it runs");
    let event = AttemptEvent::Ended(Ended::Stopped);
    slot.send(Report { attempt: ATTEMPT, durations: Durations::default(), event }).unwrap();
    assert!(stays(&mut alone), "nobody knows that it has ended");
    alone.session.report(&mut alone.grip).await.unwrap();
    let acknowledges = FromDriver { acknowledged: 1, ..alone.message(Vec::new()) };
    assert_eq!(reason(alone.hears(acknowledges).await), None);
    assert!(stays(&mut alone), "nobody has fetched its weights");
    alone.session.store.release(ATTEMPT, weights);
    let left = reason(alone.session.leave_if_done(&mut alone.grip));
    assert_eq!(left, Some((Code::Unavailable, "the executor has left".to_owned())));
    assert!(alone.session.is_over);
}

#[tokio::test(start_paused = true)]
async fn logs_are_told_as_far_as_the_driver_takes_them_and_not_more_often_than_they_may() {
    let mut alone = alone().await;
    let log = alone.grip.tenant().logs.open(ATTEMPT);
    let send = async |alone: &mut Alone, text: &[u8]| {
        log.push(text);
        alone.session.send_logs(&mut alone.grip).await.unwrap();
        assert_eq!(alone.session.logs_due, Instant::now() + LOG_INTERVAL);
        alone.session.sent
    };
    assert_eq!(send(&mut alone, b"").await, 0, "nothing waits");
    assert_eq!(send(&mut alone, b"one").await, 1);
    assert_eq!(send(&mut alone, b"two").await, 1, "the driver has not taken the first one");
    assert_eq!(alone.told(), [1]);
    assert_eq!(send(&mut alone, b"three").await, 2);
    let Ok(Some(message)) = alone.told.try_recv().map(Result::ok) else { panic!("it is told") };
    let Some(executor_item::Item::Logged(piece)) = &message.items[0].item else { panic!("it is a log") };
    assert_eq!((piece.offset, &piece.text[..], message.items.len()), (3, &b"twothree"[..], 1));
}

#[tokio::test]
async fn the_rest_of_a_log_is_told_before_the_end_of_its_attempt() {
    let mut alone = alone().await;
    let (_, slot) = alone.grip.tenant().begin(ATTEMPT).unwrap();
    alone.grip.tenant().logs.open(ATTEMPT).push(b"the last words");
    let event = AttemptEvent::Ended(Ended::Stopped);
    slot.send(Report { attempt: ATTEMPT, durations: Durations::default(), event }).unwrap();
    alone.grip.tenant().wait_for_reports().await;
    alone.session.report(&mut alone.grip).await.unwrap();
    let mut next = || alone.told.try_recv().unwrap().unwrap().items.remove(0).item;
    assert!(matches!(next(), Some(executor_item::Item::Logged(_))));
    assert!(matches!(next(), Some(executor_item::Item::AttemptEnded(_))));
    assert_eq!(alone.told(), [0; 0]);
}

#[tokio::test(start_paused = true)]
async fn another_list_of_peers_goes_on_with_the_exchange_of_its_blob_and_another_blob_begins_its_own() {
    let mut alone = alone().await;
    let mut offered = Vec::new();
    for content in [&b"one"[..], b"other"] {
        let manifest = Manifest::of(content).unwrap();
        offered.push(manifest.digest());
        alone.session.store.offer(manifest, Medium::Memory).await.unwrap();
    }
    for (blob, addresses, dialled) in [
        (offered[0], &["a:1"][..], "http://a:1/"),
        (offered[0], &["a:1", "b:1"], "http://b:1/"), // nobody dials the first one again
        (offered[1], &["a:1"], "http://a:1/"),
    ] {
        let message = alone.message(vec![peers(blob, addresses)]);
        assert_eq!(reason(alone.hears(message).await), None);
        assert_eq!(alone.dialled.recv().await.as_deref(), Some(dialled));
        assert_eq!(alone.session.exchange.as_ref().map(|exchange| exchange.blob), Some(blob));
    }
}

#[tokio::test]
async fn a_list_of_peers_has_as_many_as_it_may_and_no_more() {
    let blob = Digest::of(b"data");
    for (count, wanted) in [(PEERS_MAX, None), (PEERS_MAX + 1, Some(Code::InvalidArgument))] {
        let mut alone = alone().await;
        let message = alone.message(vec![peers(blob, &vec!["a:1"; count])]);
        assert_eq!(reason(alone.hears(message).await).map(|(code, _)| code), wanted, "{count} peers");
    }
}

#[tokio::test]
async fn a_message_that_is_not_the_next_one_of_its_run_and_driver_ends_the_session() {
    for (name, change, wanted) in [
        ("as it should be", (|_| {}) as fn(&mut FromDriver), None),
        ("a later one", |message| message.sequence += 1, Some("message 3 came where 2 was due")),
        ("an earlier one", |message| message.sequence -= 1, Some("message 1 came where 2 was due")),
        ("another driver", |message| message.generation += 1, Some("the run or its driver changed within a session")),
        ("another run", |message| message.run.push('x'), Some("the run or its driver changed within a session")),
        ("unsent", |message| message.acknowledged = 1, Some("message 1 is acknowledged, and only 0 were sent")),
    ] {
        let mut alone = alone().await;
        let mut message = alone.message(Vec::new());
        change(&mut message);
        let ended = reason(alone.hears(message).await);
        assert_eq!(ended.as_ref().map(|(_, said)| said.as_str()), wanted, "{name}");
        assert!(ended.is_none_or(|(code, _)| code == Code::InvalidArgument), "{name}");
        assert_eq!(alone.told(), [0; 0], "{name}: it asks for no answer");
    }
}

#[tokio::test]
async fn as_many_attempts_begin_as_there_are_slots_and_each_once_and_none_before_the_data() {
    let mut unprepared = alone().await;
    let message = unprepared.message(vec![launch(0)]);
    let ended = reason(unprepared.hears(message).await);
    assert_eq!(ended, Some((Code::InvalidArgument, "a launch before the data".to_owned())));
    let (taken, twice) = ("a launch while all slots are taken", "a launch of an attempt that runs already");
    for (tasks, wanted, running) in [(&[0, 1][..], None, 2), (&[0, 1, 2], Some(taken), 2), (&[0, 0], Some(twice), 1)]
    {
        let mut alone = alone().await;
        alone.prepared();
        let message = alone.message(tasks.iter().copied().map(launch).collect());
        let ended = reason(alone.hears(message).await);
        assert_eq!(ended.as_ref().map(|(_, said)| said.as_str()), wanted, "{tasks:?}");
        assert_eq!(alone.grip.tenant().running(), running, "{tasks:?}");
    }
}

#[tokio::test]
async fn a_cancel_stops_its_attempt_as_it_says_and_no_other() {
    for (at_epoch_end, allows) in [(true, (true, false)), (false, (false, false))] {
        let mut alone = alone().await;
        alone.prepared();
        let cancel = |task| {
            let attempt = AttemptId { task: TaskId(task), number: 1 };
            driver_item::Item::Cancel(Cancel { attempt: Some(wire::attempt_message(attempt)), at_epoch_end })
        };
        let message = alone.message(vec![launch(0), launch(1), cancel(1), cancel(7)]);
        assert_eq!(reason(alone.hears(message).await), None);
        for (task, allows) in [(0, (true, true)), (1, allows)] {
            let stop = alone.grip.tenant().stop_of(AttemptId { task: TaskId(task), number: 1 }).unwrap();
            assert_eq!((stop.allows_a_batch(), stop.allows_an_epoch()), allows, "{task}, {at_epoch_end}");
        }
    }
}

#[tokio::test]
async fn a_launch_that_crosses_the_news_that_the_executor_leaves_stops_before_its_first_batch() {
    let mut alone = alone().await;
    alone.prepared();
    alone.session.draining.cancel();
    let message = alone.message(vec![launch(0)]);
    assert_eq!(reason(alone.hears(message).await), None);
    assert!(!alone.grip.tenant().stop_of(ATTEMPT).unwrap().allows_a_batch());
}

#[tokio::test]
async fn a_run_that_is_dismissed_is_over_and_a_second_hello_makes_no_sense() {
    let mut alone = alone().await;
    let hello = alone.message(vec![driver_item::Item::Hello(broadsweep_proto::session::Hello::default())]);
    assert_eq!(reason(alone.hears(hello).await), Some((Code::InvalidArgument, "a second hello".to_owned())));
    assert!(!alone.session.is_over);
    let dismissed = alone.message(vec![driver_item::Item::Dismiss(broadsweep_proto::session::Dismiss {})]);
    assert_eq!(reason(alone.hears(dismissed).await), None);
    assert!(alone.session.is_over);
}
