//! What a slot does with one attempt: train or measure, and report. Knows no network and no driver.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use broadsweep_common::attempt::{Durations, Ended, Launch, News, Report};
use broadsweep_common::configuration::Configuration;
use broadsweep_common::dataset::{Dataset, Part};
use broadsweep_common::ids::{AttemptId, Digest};
use broadsweep_common::metrics::{EpochReport, Training};
use broadsweep_common::seeds;
use broadsweep_common::task::{StudyDescription, Task};
use tokio::sync::mpsc::UnboundedSender;

use crate::nn::{self, Checkpoint, Control, Phase, TrainTask, Weights};
use crate::store::BlobStore;

/// The repeat that every trial has until studies repeat their trials.
const REPEAT: u32 = 0;

/// What all attempts of a run share.
pub(crate) struct Prepared {
    pub(crate) data: Dataset,
    pub(crate) study: StudyDescription,
}

/// One attempt's surroundings on its slot.
pub(crate) struct Attempt {
    pub(crate) prepared: Arc<Prepared>,
    pub(crate) store: Arc<BlobStore>,
    pub(crate) memory_bytes: u64,
    pub(crate) cancelled: Arc<AtomicBool>,
    pub(crate) reports: UnboundedSender<Report>,
}

impl Attempt {
    /// Does what `launch` asks and reports how it ended. A panic ends the attempt, not the executor.
    pub(crate) fn run(self, launch: &Launch) {
        let span = tracing::info_span!("attempt", attempt = %launch.attempt, trial = launch.task.trial().0);
        let _entered = span.enter();
        let mut control = SlotControl::new(launch.attempt, Arc::clone(&self.cancelled), self.reports.clone());
        let performed = catch_unwind(AssertUnwindSafe(|| self.perform(&launch.task, &mut control)));
        let ended = match performed {
            Ok(Ok(ended)) => ended,
            Ok(Err(reason)) => Ended::Failed { reason },
            Err(panic) => Ended::Failed { reason: format!("the training program panicked: {}", words_of(&*panic)) },
        };
        tracing::info!(?ended, "attempt ended");
        let durations = control.durations();
        control.send(Report { attempt: launch.attempt, durations, news: News::Ended(ended) });
    }

    fn perform(&self, task: &Task, control: &mut SlotControl) -> Result<Ended, String> {
        match task {
            Task::Train { configuration, .. } => self.train(configuration, control),
            Task::Measure { configuration, weights, .. } => self.measure(configuration, *weights, control),
        }
    }

    fn train(&self, configuration: &Configuration, control: &mut SlotControl) -> Result<Ended, String> {
        let study = &self.prepared.study;
        let model = study.model.resolve(configuration).map_err(in_words)?;
        let training = study.training.resolve(configuration).map_err(in_words)?;
        let header = self.prepared.data.header();
        let plan = nn::plan(&model, &header.shape, header.targets).map_err(in_words)?;
        let needed = plan.memory_bytes(&training);
        if needed > self.memory_bytes {
            return Err(format!("needs {needed} bytes of memory; a slot of this node has {}", self.memory_bytes));
        }
        let task = TrainTask {
            model: &model,
            training: &training,
            study_seed: study.seed,
            trial_seed: seeds::trial_seed(study.seed, configuration.digest(), REPEAT),
            repeat: REPEAT,
            select: study.select,
            test_every_trial: study.test_every_trial,
        };
        let trained = nn::train(&task, &self.prepared.data, None, control).map_err(in_words)?;
        match (trained.training, trained.weights) {
            (Training::Complete(report), Some(weights)) => {
                let bytes = weights.to_safetensors().map_err(in_words)?;
                Ok(Ended::Complete { report, weights: self.store.keep(bytes).map_err(in_words)? })
            }
            (Training::Complete(_), None) => Err("training ended without weights".to_owned()),
            (Training::Stopped(_), _) => Ok(Ended::Stopped),
            (Training::Diverged { epoch }, _) => Ok(Ended::Diverged { epoch }),
        }
    }

    fn measure(
        &self,
        configuration: &Configuration,
        weights: Digest,
        control: &mut SlotControl,
    ) -> Result<Ended, String> {
        let model = self.prepared.study.model.resolve(configuration).map_err(in_words)?;
        let header = self.prepared.data.header();
        let blob = self.store.get(weights).ok_or_else(|| format!("the weights {weights} are not here"))?;
        let weights = Weights::from_safetensors((*blob.content).as_ref(), &model, &header.shape, header.targets)
            .map_err(in_words)?;
        control.phase(Phase::Evaluation);
        nn::measure(&model, &weights, &self.prepared.data, Part::Test).map(Ended::Measured).map_err(in_words)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that `map_err` takes")]
fn in_words(error: impl ToString) -> String {
    error.to_string()
}

fn words_of(panic: &(dyn Any + Send)) -> &str {
    let literal = panic.downcast_ref::<&str>().copied();
    literal.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a message")
}

/// Answers the trainer between batches, times its phases and passes its reports on. Never waits.
struct SlotControl {
    attempt: AttemptId,
    cancelled: Arc<AtomicBool>,
    reports: UnboundedSender<Report>,
    phase: Option<(Phase, Instant)>,
    unreported: Durations,
}

impl SlotControl {
    fn new(attempt: AttemptId, cancelled: Arc<AtomicBool>, reports: UnboundedSender<Report>) -> Self {
        Self { attempt, cancelled, reports, phase: None, unreported: Durations::default() }
    }

    /// The time since the last report, by phase.
    fn durations(&mut self) -> Durations {
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

    fn send(&self, report: Report) {
        // The session may be over: then nobody waits for the report.
        let _ = self.reports.send(report);
    }
}

impl Control for SlotControl {
    fn go_on(&mut self) -> bool {
        !self.cancelled.load(Ordering::Relaxed)
    }

    fn phase(&mut self, phase: Phase) {
        self.unreported = self.durations();
        self.phase = Some((phase, Instant::now()));
    }

    fn epoch_ended(&mut self, report: &EpochReport, _checkpoint: &Checkpoint) -> bool {
        let durations = self.durations();
        self.send(Report { attempt: self.attempt, durations, news: News::Epoch(*report) });
        self.go_on()
    }
}

#[cfg(test)]
mod tests {
    use broadsweep_common::dataset::{AlignedBytes, DatasetBuilder, Element, Header, Scaling, TargetKind};
    use broadsweep_common::ids::{TaskId, TrialId};
    use broadsweep_common::model::{Activation, Initialization, LayerDescription, Loss, ModelDescription};
    use broadsweep_common::setting::Setting::Fixed;
    use broadsweep_common::task::Select;
    use broadsweep_common::training::{OptimizerKind, TrainingDescription};
    use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

    use super::*;
    use crate::slots::{SlotRunner, SlotThreads};

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

    fn description() -> StudyDescription {
        let units = Fixed(2);
        let (activation, initialization) = (Fixed(Activation::Linear), Fixed(Initialization::Glorot));
        let training = TrainingDescription {
            optimizer: Fixed(OptimizerKind::Sgd),
            learning_rate: Fixed(0.1),
            learning_rate_decay: Fixed(1.0),
            momentum: Fixed(0.0),
            nesterov: Fixed(false),
            beta1: Fixed(0.9),
            beta2: Fixed(0.999),
            epsilon: Fixed(1e-8),
            weight_decay: Fixed(0.0),
            l2: Fixed(0.0),
            batch_size: Fixed(2),
            epochs: Fixed(1),
            early_stop: None,
        };
        let layers = vec![LayerDescription::Dense { units, activation, initialization }];
        let model = ModelDescription { loss: Loss::CrossEntropy, layers };
        StudyDescription { seed: 1, model, training, select: Select::Validation, test_every_trial: false }
    }

    /// How one attempt after the other ends on a single slot; `trapped` says which find the trap set.
    fn ends(trapped: &[bool]) -> Vec<Ended> {
        let header = Header {
            shape: vec![3],
            element: Element::F32,
            targets: TargetKind::Classes { count: 2 },
            rows: [4, 2, 0],
            scaling: Scaling::Uniform { factor: 1.0, offset: 0.0 },
        };
        let set = Arc::new(AtomicBool::new(false));
        let bytes = DatasetBuilder::new(header).unwrap().finish();
        let data = Dataset::open(Arc::new(Trap { bytes, set: Arc::clone(&set) })).unwrap();
        let prepared = Arc::new(Prepared { data, study: description() });
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(BlobStore::open(folder.path()).unwrap());
        let slots = SlotThreads::start(1).unwrap();
        let (reports, mut reported) = unbounded_channel();
        let attempts = trapped.iter().zip(1..).map(|(trap, number)| {
            set.store(*trap, Ordering::Relaxed);
            let attempt = Attempt {
                prepared: Arc::clone(&prepared),
                store: Arc::clone(&store),
                memory_bytes: u64::MAX,
                cancelled: Arc::default(),
                reports: reports.clone(),
            };
            let task = Task::Train { trial: TrialId(0), configuration: Configuration::default() };
            let launch = Launch { attempt: AttemptId { task: TaskId(0), number }, task };
            slots.start(Box::new(move || attempt.run(&launch)));
            end_of_next(&mut reported)
        });
        attempts.collect()
    }

    fn end_of_next(reported: &mut UnboundedReceiver<Report>) -> Ended {
        loop {
            if let News::Ended(ended) = reported.blocking_recv().unwrap().news {
                return ended;
            }
        }
    }

    #[test]
    fn a_panic_in_training_fails_the_attempt_and_leaves_its_slot_to_the_next() {
        let ends = ends(&[false, true, false]);
        let Ended::Failed { reason } = &ends[1] else { panic!("{:?}", ends[1]) };
        assert_eq!(reason, "the training program panicked: the trap was set");
        assert!(matches!(ends[0], Ended::Complete { .. }), "{:?}", ends[0]);
        assert_eq!(ends[2], ends[0]);
    }
}
