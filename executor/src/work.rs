//! What a slot does with one attempt: train or measure, and report. Knows no network and no driver.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use broadsweep_common::attempt::{AttemptEvent, Ended, Launch, Report};
use broadsweep_common::details::Details;
use broadsweep_common::ids::Digest;
use broadsweep_common::metrics::Metrics;
use broadsweep_common::task::{Segment, TaskKind};
use tokio::sync::mpsc::UnboundedSender;

use crate::control::SlotControl;
use crate::log::AttemptLog;
use crate::stop::Stop;
use crate::trainers::Trainer;
use crate::trainers::in_time::{Bulk, rest_in_time, train_in_time};
use broadsweep_nn::{Control as _, Phase};
use broadsweep_store::{Content, Shelf};

/// What all attempts of a run share.
pub(crate) struct Prepared {
    pub(crate) study_seed: u64,
    pub(crate) trainer: Box<dyn Trainer>,
    /// How many attempts run at the same time.
    pub(crate) slots: u32,
}

/// One attempt, with all that its slot needs for it.
pub struct Attempt {
    pub(crate) launch: Launch,
    pub(crate) prepared: Arc<Prepared>,
    pub(crate) shelf: Shelf,
    pub(crate) stop: Arc<Stop>,
    pub(crate) reports: UnboundedSender<Report>,
    pub(crate) log: Arc<AttemptLog>,
}

impl Attempt {
    /// Does what it was launched for and reports how that ended. A panic ends the attempt, not the executor.
    pub fn run(self) {
        let launch = &self.launch;
        let span = tracing::debug_span!("attempt", attempt = %launch.attempt, kind = ?launch.kind);
        let _entered = span.enter();
        let mut control = self.control();
        let performed = catch_unwind(AssertUnwindSafe(|| self.perform(&mut control)));
        let ended = performed
            .unwrap_or_else(|panic| Ended::failed(format!("the training program panicked: {}", words_of(&*panic))));
        self.conclude(&mut control, ended);
    }

    /// As [`Self::run`], for a simulation: `sleep` does the waiting of a replay, which leaves `bulk`. No other training can
    /// be simulated.
    pub async fn run_in_time<S: Future<Output = ()>>(self, bulk: &Bulk, sleep: impl Fn(Duration) -> S) {
        let mut control = self.control();
        let ended = match (self.launch.kind, self.prepared.trainer.replays()) {
            (TaskKind::Train(segment) | TaskKind::Check(segment), Some(replays)) => {
                let (configuration, checkpoint) = (&self.launch.configuration, self.checkpoint());
                let replays = (replays, bulk);
                train_in_time(replays, segment, configuration, checkpoint, (&mut control, sleep)).await
            }
            _ => Ended::failed("only replays are simulated"),
        };
        self.conclude(&mut control, ended);
    }

    /// As [`Self::run_in_time`], for work that only a simulation knows: waits so long, and ends with this output.
    pub async fn make_in_time<S: Future<Output = ()>>(
        self,
        wait: Duration,
        output: Vec<u8>,
        sleep: impl Fn(Duration) -> S,
    ) {
        let mut control = self.control();
        control.phase(Phase::Evaluation);
        let goes_on = rest_in_time(wait, &mut control, sleep).await;
        let ended = if goes_on { control.applied(output) } else { Ended::Stopped };
        self.conclude(&mut control, ended);
    }

    /// As [`Self::make_in_time`], for a measurement: waits so long, and ends with what `measured` says of the weights.
    pub async fn measure_in_time<S: Future<Output = ()>>(
        self,
        wait: Duration,
        measured: impl Fn(&[u8]) -> Metrics,
        sleep: impl Fn(Duration) -> S,
    ) {
        let mut control = self.control();
        control.phase(Phase::Evaluation);
        let goes_on = rest_in_time(wait, &mut control, sleep).await;
        let ended = match self.launch.kind {
            _ if !goes_on => Ended::Stopped,
            TaskKind::Measure { weights, .. } => match self.weights(weights) {
                Ok(content) => Ended::Measured(measured((*content).as_ref())),
                Err(ended) => ended,
            },
            TaskKind::Examine { weights, .. } => match self.weights(weights) {
                Ok(content) => {
                    Ended::Examined(Details { guess: measured((*content).as_ref()), ..Details::default() })
                }
                Err(ended) => ended,
            },
            TaskKind::Train(_) | TaskKind::Check(_) | TaskKind::Apply { .. } => Ended::failed("it measures nothing"),
        };
        self.conclude(&mut control, ended);
    }

    /// What it is to do.
    #[must_use]
    pub fn launch(&self) -> &Launch {
        &self.launch
    }

    /// The seed of the study that it belongs to.
    #[must_use]
    pub fn study_seed(&self) -> u64 {
        self.prepared.study_seed
    }

    /// Lets it report to `reports`; returns where it reported so far. A simulation listens in between.
    pub fn report_to(&mut self, reports: UnboundedSender<Report>) -> UnboundedSender<Report> {
        std::mem::replace(&mut self.reports, reports)
    }

    fn control(&self) -> SlotControl {
        let (stop, shelf) = (Arc::clone(&self.stop), self.shelf.clone());
        let until_epoch = match self.launch.kind {
            TaskKind::Train(Segment { until_epoch, .. }) | TaskKind::Check(Segment { until_epoch, .. }) => {
                until_epoch
            }
            TaskKind::Measure { .. } | TaskKind::Examine { .. } | TaskKind::Apply { .. } => 0,
        };
        SlotControl::new(self.launch.attempt, until_epoch, stop, shelf, (self.reports.clone(), Arc::clone(&self.log)))
    }

    /// Reports the end.
    fn conclude(&self, control: &mut SlotControl, ended: Ended) {
        if matches!(ended, Ended::Trained { .. } | Ended::Diverged { .. }) {
            control.drop_checkpoint();
        }
        // One that was stopped early did not take it in.
        if let Some(input) = input_of(&self.launch) {
            self.shelf.disclaim(input);
        }
        tracing::debug!(?ended, "attempt ended");
        let durations = control.durations();
        control.send(Report { attempt: self.launch.attempt, durations, event: AttemptEvent::Ended(ended) });
    }

    fn perform(&self, control: &mut SlotControl) -> Ended {
        let (trainer, configuration) = (&self.prepared.trainer, &self.launch.configuration);
        match self.launch.kind {
            TaskKind::Train(segment) | TaskKind::Check(segment) => {
                trainer.train(segment, configuration, self.checkpoint(), control)
            }
            TaskKind::Measure { replicate, weights, part } => match self.weights(weights) {
                Ok(content) => trainer.measure(replicate, configuration, (content, part), control),
                Err(ended) => ended,
            },
            TaskKind::Examine { replicate, weights, part } => match self.weights(weights) {
                Ok(content) => trainer.examine(replicate, configuration, (content, part), control),
                Err(ended) => ended,
            },
            TaskKind::Apply { partition } => trainer.apply(partition, self.rows(), control),
        }
    }

    /// The weights to measure; how the attempt ends where they are not here.
    fn weights(&self, weights: Digest) -> Result<Content, Ended> {
        self.shelf.take_in(weights).ok_or_else(|| Ended::failed(format!("the weights {weights} are not here")))
    }

    /// What a partition needs of files that this executor cannot read, where it was sent.
    fn rows(&self) -> Option<Content> {
        self.launch.input.and_then(|input| self.shelf.take_in(input))
    }

    /// The checkpoint to go on from. One that is not there costs time, not the trial: the attempt starts at the beginning.
    fn checkpoint(&self) -> Option<Content> {
        let name = self.launch.input?;
        let content = self.shelf.take_in(name);
        if content.is_none() {
            tracing::warn!(checkpoint = %name, "the checkpoint is not here; starting at the beginning");
        }
        content
    }
}

/// The blob that an attempt goes on from, reads, or measures.
pub(crate) fn input_of(launch: &Launch) -> Option<Digest> {
    match launch.kind {
        TaskKind::Train(_) | TaskKind::Check(_) | TaskKind::Apply { .. } => launch.input,
        TaskKind::Measure { weights, .. } | TaskKind::Examine { weights, .. } => Some(weights),
    }
}

fn words_of(panic: &(dyn Any + Send)) -> &str {
    let literal = panic.downcast_ref::<&str>().copied();
    literal.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a message")
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use broadsweep_common::configuration::Configuration;
    use broadsweep_common::dataset::AlignedBytes;
    use broadsweep_common::ids::{AttemptId, TaskId, TrialId};
    use broadsweep_common::task::Replicate;
    use broadsweep_nn::Kernel;
    use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::fixtures;
    use crate::slots::{SlotRunner, SlotThreads};
    use crate::trainers::{Means, trainer_of};
    use broadsweep_store::BlobStore;

    /// Data that can be opened, and panics when it is read once the trap is set.
    struct Trap {
        bytes: AlignedBytes,
        set: Arc<AtomicBool>,
    }

    impl AsRef<[u8]> for Trap {
        fn as_ref(&self) -> &[u8] {
            assert!(!self.set.load(Ordering::Relaxed), "the trap was set");
            self.bytes.as_ref()
        }
    }

    /// How one attempt after the other ends on a single slot; `trapped` says which find the trap set.
    fn ends(trapped: &[bool]) -> Vec<Ended> {
        let set = Arc::new(AtomicBool::new(false));
        let bytes = fixtures::bytes([4, 2, 0]);
        let data: Content = Arc::new(Trap { bytes, set: Arc::clone(&set) });
        let means = Means {
            kernel: Kernel::PORTABLE,
            memory_bytes: u64::MAX,
            slots: 1,
            threads: 1,
            programs: None,
            files: None,
            stores: None,
            given_up: CancellationToken::new(),
        };
        let trainer = trainer_of(fixtures::description(), (Digest::of(b"rows"), data), means).unwrap();
        let prepared = Arc::new(Prepared { study_seed: 1, trainer, slots: 1 });
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(BlobStore::open(folder.path()).unwrap());
        let slots = SlotThreads::start(1).unwrap();
        let (reports, mut reported) = unbounded_channel();
        let attempts = trapped.iter().zip(1..).map(|(trap, number)| {
            set.store(*trap, Ordering::Relaxed);
            let segment = Segment { replicate: Replicate::first(TrialId(0)), from_epoch: 0, until_epoch: 1 };
            let attempt = AttemptId { task: TaskId(0), number };
            slots.start(vec![Attempt {
                launch: Launch {
                    attempt,
                    kind: TaskKind::Train(segment),
                    configuration: Configuration::default(),
                    input: None,
                },
                prepared: Arc::clone(&prepared),
                shelf: store.shelf_of(attempt),
                stop: Arc::default(),
                reports: reports.clone(),
                log: Arc::new(AttemptLog::new(Arc::default())),
            }]);
            end_of_next(&mut reported)
        });
        attempts.collect()
    }

    fn end_of_next(reported: &mut UnboundedReceiver<Report>) -> Ended {
        loop {
            if let AttemptEvent::Ended(ended) = reported.blocking_recv().unwrap().event {
                return ended;
            }
        }
    }

    #[test]
    fn a_panic_in_training_fails_the_attempt_and_leaves_its_slot_to_the_next() {
        let ends = ends(&[false, true, false]);
        let Ended::Failed { reason } = &ends[1] else { panic!("{:?}", ends[1]) };
        assert_eq!(reason, "the training program panicked: the trap was set");
        assert!(matches!(ends[0], Ended::Trained { .. }), "{:?}", ends[0]);
        assert_eq!(ends[2], ends[0]);
    }
}
