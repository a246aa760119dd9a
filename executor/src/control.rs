//! The trainer's control on a slot: answers between batches, times the phases, passes reports and checkpoints on.

use std::sync::Arc;
use std::time::Duration;

use broadsweep_common::attempt::{Artifact, ArtifactName, AttemptEvent, Durations, Ended, Report, Used};
use broadsweep_common::ids::{AttemptId, Digest};
use broadsweep_common::measure::Reported;
use broadsweep_common::metrics::Metrics;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::Instant;

use crate::log::AttemptLog;
use crate::stop::Stop;
use broadsweep_nn::{Checkpoint, Control, EpochReport, Phase};
use broadsweep_store::{Made, Shelf, StoreError};

/// Checkpoints may cost one part of so many of a training's time.
const CHECKPOINT_SHARE: u32 = 20;

/// One attempt's control. It never waits.
pub(crate) struct SlotControl {
    attempt: AttemptId,
    /// The segment's last epoch, whose state is an artifact and no checkpoint of the attempt.
    until_epoch: u32,
    stop: Arc<Stop>,
    shelf: Shelf,
    reports: UnboundedSender<Report>,
    log: Arc<AttemptLog>,
    phase: Option<(Phase, Instant)>,
    unreported: Durations,
    /// What networks are measured by beside loss and error.
    measures: Vec<Reported>,
    /// The newest checkpoint, which the store keeps for the driver.
    checkpoint: Option<Digest>,
    /// When the last checkpoint was taken, and how long that took.
    taken: Option<(Instant, Duration)>,
}

impl SlotControl {
    pub(crate) fn new(
        attempt: AttemptId,
        until_epoch: u32,
        stop: Arc<Stop>,
        shelf: Shelf,
        (reports, log): (UnboundedSender<Report>, Arc<AttemptLog>),
    ) -> Self {
        let unreported = Durations::default();
        let (phase, checkpoint, taken) = (None, None, None);
        let measures = Vec::new();
        Self { attempt, until_epoch, stop, shelf, reports, log, phase, unreported, measures, checkpoint, taken }
    }

    /// The names of what a network is measured by.
    pub(crate) fn measures(&mut self, measures: &[Reported]) {
        self.measures = measures.to_vec();
    }

    /// Which attempt it is.
    pub(crate) fn attempt(&self) -> AttemptId {
        self.attempt
    }

    /// The time since the last report, by phase.
    pub(crate) fn durations(&mut self) -> Durations {
        let now = Instant::now();
        if let Some((phase, since)) = &mut self.phase {
            let spent = match phase {
                Phase::Training => &mut self.unreported.training,
                Phase::Evaluation => &mut self.unreported.evaluation,
            };
            *spent += now - *since;
            *since = now;
        }
        std::mem::take(&mut self.unreported)
    }

    /// The processes of a program have used this, and have ended.
    pub(crate) fn used(&mut self, used: Used) {
        self.unreported.used = Used::sum([self.unreported.used, Some(used)]);
    }

    pub(crate) fn send(&self, report: Report) {
        // The run may be over: then nobody waits for the report.
        let _ = self.reports.send(report);
    }

    /// Adds to the attempt's log.
    pub(crate) fn log(&self, text: &[u8]) {
        self.log.push(text);
    }

    /// How a segment ends that made this: the store keeps it for the driver.
    pub(crate) fn trained(&self, epoch: u32, name: ArtifactName, bytes: Vec<u8>) -> Ended {
        self.keep(name, bytes).map_or_else(Ended::failed, |artifacts| Ended::Trained { epoch, artifacts })
    }

    /// How a partition ends that gave this: likewise.
    pub(crate) fn applied(&self, output: Vec<u8>) -> Ended {
        self.keep(ArtifactName::Output, output).map_or_else(Ended::failed, |artifacts| Ended::Applied { artifacts })
    }

    fn keep(&self, name: ArtifactName, bytes: Vec<u8>) -> Result<Vec<Artifact>, String> {
        let blob = self.shelf.keep(bytes, Made::Result).map_err(|error| error.to_string())?;
        Ok(vec![Artifact { name, blob }])
    }

    /// The attempt has a result: its checkpoint is worth nothing any more.
    pub(crate) fn drop_checkpoint(&mut self) {
        if let Some(checkpoint) = self.checkpoint.take() {
            self.shelf.release(checkpoint);
        }
    }

    /// Whether the attempt may go on within its epoch.
    pub(crate) fn allows_a_batch(&self) -> bool {
        self.stop.allows_a_batch()
    }

    /// Reports an epoch, and keeps the state after it where that pays; says whether another one may begin.
    pub(crate) fn epoch_done(
        &mut self,
        epoch: u32,
        metrics: Metrics,
        (is_last, state): (bool, impl FnOnce() -> Vec<u8>),
    ) -> bool {
        let checkpoint = self.take(is_last || epoch >= self.until_epoch, state);
        let durations = self.durations();
        let event = AttemptEvent::Epoch { epoch, metrics, checkpoint };
        self.send(Report { attempt: self.attempt, durations, event });
        self.stop.allows_an_epoch()
    }

    /// Keeps the state for the driver, unless it is worth nothing or was kept a moment ago.
    fn take(&mut self, is_last: bool, bytes: impl FnOnce() -> Vec<u8>) -> Option<Digest> {
        let is_affordable = self.taken.is_none_or(|(at, cost)| at.elapsed() >= cost * CHECKPOINT_SHARE);
        let is_wanted = is_affordable || !self.stop.allows_an_epoch();
        if is_last || !is_wanted {
            return None;
        }
        let began = Instant::now();
        let kept = self.shelf.keep(bytes(), Made::Checkpoint);
        self.taken = Some((Instant::now(), began.elapsed()));
        match kept {
            Ok(digest) => {
                if let Some(older) = self.checkpoint.replace(digest).filter(|older| *older != digest) {
                    self.shelf.release(older);
                }
                Some(digest)
            }
            Err(StoreError::RunOver) => None, // nobody waits for it
            Err(error) => {
                tracing::warn!(attempt = %self.attempt, %error, "a checkpoint could not be kept");
                None
            }
        }
    }
}

impl Control for SlotControl {
    fn go_on(&mut self) -> bool {
        self.allows_a_batch()
    }

    fn phase(&mut self, phase: Phase) {
        self.unreported = self.durations();
        self.phase = Some((phase, Instant::now()));
    }

    fn epoch_ended(&mut self, report: &EpochReport, checkpoint: &Checkpoint) -> bool {
        self.epoch_done(
            report.epoch,
            report.metrics(&self.measures),
            (checkpoint.is_last(), || checkpoint.to_bytes()),
        )
    }
}

#[cfg(test)]
mod tests {
    use broadsweep_common::blob::Manifest;
    use broadsweep_common::configuration::Configuration;
    use broadsweep_common::ids::TaskId;
    use broadsweep_common::setting::Setting::Fixed;
    use broadsweep_common::task::TrainerDescription;
    use broadsweep_nn::{Kernel, TrainTask, TrainingEnd, train};
    use tempfile::TempDir;
    use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

    use super::*;
    use crate::fixtures;
    use broadsweep_store::BlobStore;

    const ATTEMPT: AttemptId = AttemptId { task: TaskId(3), number: 1 };
    const SECOND: Duration = Duration::from_secs(1);

    /// As the store names a blob.
    fn name_of(content: &[u8]) -> Digest {
        Manifest::of(content).unwrap().digest()
    }

    /// A control of a segment of nine epochs, and all that it acts on.
    struct Bench {
        control: SlotControl,
        stop: Arc<Stop>,
        store: Arc<BlobStore>,
        reported: UnboundedReceiver<Report>,
        _folder: TempDir,
    }

    fn bench() -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(BlobStore::open(folder.path()).unwrap());
        let (stop, (reports, reported)) = (Arc::<Stop>::default(), unbounded_channel());
        let log = Arc::new(AttemptLog::new(Arc::default()));
        let control = SlotControl::new(ATTEMPT, 9, Arc::clone(&stop), store.shelf_of(ATTEMPT), (reports, log));
        Bench { control, stop, store, reported, _folder: folder }
    }

    impl Bench {
        /// Ends an epoch whose state is its number; returns whether another may begin.
        fn end_epoch(&mut self, epoch: u8, is_last: bool) -> bool {
            self.control.epoch_done(epoch.into(), Metrics::default(), (is_last, || vec![epoch]))
        }

        /// The checkpoint of the next report, which has to be of this epoch.
        fn offered(&mut self, of_epoch: u32) -> Option<Digest> {
            let Report { attempt: ATTEMPT, event, .. } = self.reported.try_recv().unwrap() else {
                panic!("not its own")
            };
            let AttemptEvent::Epoch { epoch, checkpoint, .. } = event else { panic!("{event:?}") };
            assert_eq!(epoch, of_epoch);
            checkpoint
        }

        fn keeps(&self, content: &[u8]) -> bool {
            self.store.get(name_of(content)).is_some()
        }

        /// Trains the smallest network for two epochs, as a slot does.
        fn train(&mut self) -> TrainingEnd {
            let study = fixtures::description();
            let TrainerDescription::Network { model, mut training } = study.trainer else { panic!("no network") };
            training.epochs = Fixed(2);
            let nothing_varies = Configuration::default();
            let task = TrainTask {
                model: &model.resolve(&nothing_varies).unwrap(),
                training: &training.resolve(&nothing_varies).unwrap(),
                study_seed: study.seed,
                trial_seed: 1,
                repeat: 0,
                select: study.select,
                watched: study.watched,
                measures: &[],
                test_every_trial: study.test_every_trial,
                kernel: Kernel::PORTABLE,
            };
            train(&task, &fixtures::data([4, 2, 0]), None, &mut self.control).unwrap().training
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_since_the_last_report_is_told_by_phase_and_once() {
        let mut bench = bench();
        tokio::time::advance(SECOND).await; // before any phase: nobody's
        for (phase, seconds) in [(Phase::Training, 2), (Phase::Evaluation, 3), (Phase::Training, 4)] {
            bench.control.phase(phase);
            tokio::time::advance(SECOND * seconds).await;
        }
        bench.end_epoch(1, false);
        let durations = bench.reported.try_recv().unwrap().durations;
        assert_eq!((durations.training, durations.evaluation), (SECOND * 6, SECOND * 3));
        tokio::time::advance(SECOND * 5).await;
        let durations = bench.control.durations();
        assert_eq!((durations.training, durations.evaluation), (SECOND * 5, Duration::ZERO));
        assert_eq!(bench.control.durations(), Durations::default());
    }

    #[tokio::test(start_paused = true)]
    async fn the_newest_checkpoint_is_kept_until_the_attempt_has_a_result() {
        let mut bench = bench();
        for epoch in [1, 2] {
            assert!(bench.end_epoch(epoch, false));
            assert_eq!(bench.offered(epoch.into()), Some(name_of(&[epoch])));
        }
        assert!(!bench.keeps(&[1]) && bench.keeps(&[2]));
        bench.control.epoch_done(3, Metrics::default(), (false, || vec![2]));
        assert_eq!(bench.offered(3), Some(name_of(&[2])));
        assert!(bench.keeps(&[2]), "a state that did not change is the newest one, too");
        bench.control.drop_checkpoint();
        assert!(!bench.keeps(&[2]));
    }

    #[tokio::test(start_paused = true)]
    async fn the_state_after_a_last_epoch_is_no_checkpoint() {
        let mut bench = bench();
        for (epoch, is_last) in [(4, true), (9, false), (10, false)] {
            bench.end_epoch(epoch, is_last);
            assert_eq!(bench.offered(epoch.into()), None);
            assert!(!bench.keeps(&[epoch]));
        }
        bench.end_epoch(8, false);
        assert!(bench.offered(8).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn checkpoints_cost_a_twentieth_of_the_time_unless_the_attempt_has_to_end() {
        let mut bench = bench();
        bench.control.taken = Some((Instant::now(), SECOND));
        tokio::time::advance(SECOND * 19).await;
        assert!(bench.end_epoch(1, false));
        assert_eq!(bench.offered(1), None);
        tokio::time::advance(SECOND).await;
        bench.end_epoch(2, false);
        assert!(bench.offered(2).is_some());
        bench.control.taken = Some((Instant::now(), SECOND));
        bench.stop.at_epoch_end();
        assert!(!bench.end_epoch(3, false));
        assert!(bench.offered(3).is_some(), "all that will be left of it");
    }

    #[tokio::test]
    async fn an_attempt_goes_on_until_it_is_told_to_stop() {
        let mut bench = bench();
        assert!(bench.control.go_on() && bench.control.allows_a_batch());
        bench.stop.now();
        assert!(!bench.control.go_on() && !bench.control.allows_a_batch());
    }

    #[tokio::test]
    async fn a_training_reports_each_epoch_and_ends_after_one_that_it_was_told_to_end_with() {
        for (has_to_end, epochs) in [(false, 2), (true, 1)] {
            let mut bench = bench();
            if has_to_end {
                bench.stop.at_epoch_end();
            }
            let ended = bench.train();
            assert_eq!(matches!(ended, TrainingEnd::Stopped(Some(_))), has_to_end, "{ended:?}");
            assert_eq!(matches!(ended, TrainingEnd::Complete(_)), !has_to_end, "{ended:?}");
            for epoch in 1..=epochs {
                assert_eq!(bench.offered(epoch).is_some(), epoch == 1, "the state after the last one is its result");
            }
            assert!(bench.reported.try_recv().is_err(), "one report an epoch");
        }
    }

    #[tokio::test]
    async fn a_result_is_kept_under_its_name_and_one_of_a_run_that_is_over_fails() {
        let bench = bench();
        let artifact = |name, content: &[u8]| vec![Artifact { name, blob: name_of(content) }];
        let (weights, output) = (artifact(ArtifactName::Weights, b"w"), artifact(ArtifactName::Output, b"o"));
        let trained = bench.control.trained(5, ArtifactName::Weights, b"w".to_vec());
        assert_eq!(trained, Ended::Trained { epoch: 5, artifacts: weights });
        assert_eq!(bench.control.applied(b"o".to_vec()), Ended::Applied { artifacts: output });
        assert!(bench.keeps(b"w") && bench.keeps(b"o") && bench.store.holds_results());
        bench.store.forget_run();
        assert!(matches!(bench.control.applied(b"o".to_vec()), Ended::Failed { .. }));
    }
}
