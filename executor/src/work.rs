//! What a slot does with one attempt: train or measure, and report. Knows no network and no driver.

use std::any::Any;
use std::fmt::Display;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use broadsweep_common::attempt::{Ended, Launch, News, Report};
use broadsweep_common::configuration::Configuration;
use broadsweep_common::dataset::{Dataset, Part};
use broadsweep_common::ids::{Digest, TrialId};
use broadsweep_common::metrics::Training;
use broadsweep_common::model::ModelDescription;
use broadsweep_common::replay::ReplayDescription;
use broadsweep_common::seeds;
use broadsweep_common::task::{StudyDescription, Task, TrainerDescription};
use broadsweep_common::training::TrainingDescription;
use tokio::sync::mpsc::UnboundedSender;

use crate::control::SlotControl;
use crate::replay::{self, ReplayState};
use crate::stop::Stop;
use crate::store::BlobStore;
use broadsweep_nn::{self as nn, Checkpoint, Control, Kernel, Phase, TrainTask, Weights};

/// The repeat that every trial has until studies repeat their trials.
const REPEAT: u32 = 0;

/// What all attempts of a run share.
pub(crate) struct Prepared {
    pub(crate) data: Dataset,
    pub(crate) study: StudyDescription,
    pub(crate) kernel: Kernel,
}

/// One attempt, with all that its slot needs for it.
pub struct Attempt {
    pub(crate) launch: Launch,
    pub(crate) prepared: Arc<Prepared>,
    pub(crate) store: Arc<BlobStore>,
    /// What the slot has.
    pub(crate) memory_bytes: u64,
    pub(crate) stop: Arc<Stop>,
    pub(crate) reports: UnboundedSender<Report>,
}

impl Attempt {
    /// Does what it was launched for and reports how that ended. A panic ends the attempt, not the executor.
    pub fn run(self) {
        let launch = &self.launch;
        let span = tracing::debug_span!("attempt", attempt = %launch.attempt, trial = launch.task.trial().0);
        let _entered = span.enter();
        let mut control = self.control();
        let performed = catch_unwind(AssertUnwindSafe(|| self.perform(&launch.task, &mut control)));
        let ended = match performed {
            Ok(Ok(ended)) => ended,
            Ok(Err(reason)) => Ended::Failed { reason },
            Err(panic) => Ended::Failed { reason: format!("the training program panicked: {}", words_of(&*panic)) },
        };
        self.conclude(&mut control, ended);
    }

    /// As [`Self::run`], for a simulation: `sleep` does the waiting of a replay. Nothing else can be simulated.
    pub async fn run_in_time<S: Future<Output = ()>>(self, sleep: impl Fn(Duration) -> S) {
        let mut control = self.control();
        let performed = match (&self.launch.task, &self.prepared.study.trainer) {
            (Task::Train { trial, configuration }, TrainerDescription::Replay(replay)) => {
                match replay.resolve(*trial, configuration) {
                    Ok(replay) => {
                        let state = self.begin_replay(*trial, &mut control);
                        Ok(replayed(&replay::run_in_time(&replay, state, &mut control, sleep).await))
                    }
                    Err(error) => Err(error.to_string()),
                }
            }
            _ => Err("only replays are simulated".to_owned()),
        };
        let ended = performed.unwrap_or_else(|reason| Ended::Failed { reason });
        self.conclude(&mut control, ended);
    }

    /// What it is to do.
    #[must_use]
    pub fn launch(&self) -> &Launch {
        &self.launch
    }

    /// What the run's executors were told of the study.
    #[must_use]
    pub fn study(&self) -> &StudyDescription {
        &self.prepared.study
    }

    /// Lets it report to `reports`; returns where it reported so far. A simulation listens in between.
    pub fn report_to(&mut self, reports: UnboundedSender<Report>) -> UnboundedSender<Report> {
        std::mem::replace(&mut self.reports, reports)
    }

    fn control(&self) -> SlotControl {
        let (stop, store) = (Arc::clone(&self.stop), Arc::clone(&self.store));
        SlotControl::new(self.launch.attempt, stop, store, self.reports.clone())
    }

    /// Reports the end.
    fn conclude(&self, control: &mut SlotControl, ended: Ended) {
        if matches!(ended, Ended::Complete { .. } | Ended::Diverged { .. }) {
            control.drop_checkpoint();
        }
        tracing::debug!(?ended, "attempt ended");
        let durations = control.durations();
        control.send(Report { attempt: self.launch.attempt, durations, news: News::Ended(ended) });
    }

    fn perform(&self, task: &Task, control: &mut SlotControl) -> Result<Ended, String> {
        match (task, &self.prepared.study.trainer) {
            (Task::Train { configuration, .. }, TrainerDescription::Network { model, training }) => {
                self.train(model, training, configuration, control)
            }
            (Task::Measure { configuration, weights, .. }, TrainerDescription::Network { model, .. }) => {
                self.measure(model, configuration, *weights, control)
            }
            (Task::Train { trial, configuration }, TrainerDescription::Replay(replay)) => {
                self.replay(replay, *trial, configuration, control)
            }
            (Task::Measure { .. }, TrainerDescription::Replay(_)) => {
                Err("a replay has no weights to measure".to_owned())
            }
        }
    }

    fn train(
        &self,
        model: &ModelDescription,
        training: &TrainingDescription,
        configuration: &Configuration,
        control: &mut SlotControl,
    ) -> Result<Ended, String> {
        let study = &self.prepared.study;
        let model = model.resolve(configuration).map_err(in_words)?;
        let training = training.resolve(configuration).map_err(in_words)?;
        let header = self.prepared.data.header();
        let plan = nn::plan(&model, &header.shape, header.targets).map_err(in_words)?;
        let kernel = self.prepared.kernel;
        let needed = nn::memory_bytes(&model, &plan, &training, kernel);
        if needed > self.memory_bytes {
            return Ok(Ended::Refused { needed_bytes: needed, available_bytes: self.memory_bytes });
        }
        let task = TrainTask {
            model: &model,
            training: &training,
            study_seed: study.seed,
            trial_seed: seeds::trial_seed(study.seed, configuration.digest(), REPEAT),
            repeat: REPEAT,
            select: study.select,
            test_every_trial: study.test_every_trial,
            kernel,
        };
        let from = self.checkpoint(|bytes| Checkpoint::from_bytes(bytes, &task, self.prepared.data.header()));
        let trained = nn::train(&task, &self.prepared.data, from, control).map_err(in_words)?;
        match (trained.training, trained.weights) {
            (Training::Complete(report), Some(weights)) => {
                let bytes = weights.to_safetensors().map_err(in_words)?;
                Ok(Ended::Complete { report, weights: Some(self.store.keep(bytes).map_err(in_words)?) })
            }
            (Training::Complete(_), None) => Err("training ended without weights".to_owned()),
            (Training::Stopped(_), _) => Ok(Ended::Stopped),
            (Training::Diverged { epoch }, _) => Ok(Ended::Diverged { epoch }),
        }
    }

    /// The checkpoint to go on from. One that is not there or does not fit costs time, not the trial: the attempt starts
    /// at the beginning.
    fn checkpoint<C, E: Display>(&self, read: impl FnOnce(&[u8]) -> Result<C, E>) -> Option<C> {
        let name = self.launch.checkpoint?;
        let Some(blob) = self.store.get(name) else {
            tracing::warn!(checkpoint = %name, "the checkpoint is not here; starting at the beginning");
            return None;
        };
        self.store.took_in(name);
        match read((*blob.content).as_ref()) {
            Ok(checkpoint) => Some(checkpoint),
            Err(error) => {
                tracing::warn!(checkpoint = %name, %error, "the checkpoint does not fit; starting at the beginning");
                None
            }
        }
    }

    fn replay(
        &self,
        replay: &ReplayDescription,
        trial: TrialId,
        configuration: &Configuration,
        control: &mut SlotControl,
    ) -> Result<Ended, String> {
        let replay = replay.resolve(trial, configuration).map_err(in_words)?;
        let state = self.begin_replay(trial, control);
        Ok(replayed(&replay::run(&replay, state, control)))
    }

    /// Where a replay begins.
    fn begin_replay(&self, trial: TrialId, control: &mut SlotControl) -> ReplayState {
        let state = self.checkpoint(|bytes| ReplayState::from_bytes(bytes, trial));
        control.phase(Phase::Training);
        state.unwrap_or(ReplayState::new(trial))
    }

    fn measure(
        &self,
        model: &ModelDescription,
        configuration: &Configuration,
        weights: Digest,
        control: &mut SlotControl,
    ) -> Result<Ended, String> {
        let model = model.resolve(configuration).map_err(in_words)?;
        let header = self.prepared.data.header();
        let blob = self.store.get(weights).ok_or_else(|| format!("the weights {weights} are not here"))?;
        let weights = Weights::from_safetensors((*blob.content).as_ref(), &model, &header.shape, header.targets)
            .map_err(in_words)?;
        control.phase(Phase::Evaluation);
        let Prepared { data, kernel, .. } = &*self.prepared;
        nn::measure(&model, &weights, data, Part::Test, *kernel).map(Ended::Measured).map_err(in_words)
    }
}

fn replayed(training: &Training) -> Ended {
    match training {
        Training::Complete(report) => Ended::Complete { report: *report, weights: None },
        Training::Stopped(_) => Ended::Stopped,
        Training::Diverged { epoch } => Ended::Diverged { epoch: *epoch },
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use broadsweep_common::dataset::{AlignedBytes, DatasetBuilder, Element, Header, Scaling, TargetKind};
    use broadsweep_common::ids::{AttemptId, TaskId, TrialId};
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
        let trainer = TrainerDescription::Network { model, training };
        StudyDescription { seed: 1, trainer, select: Select::Validation, test_every_trial: false }
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
        let prepared = Arc::new(Prepared { data, study: description(), kernel: Kernel::PORTABLE });
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(BlobStore::open(folder.path()).unwrap());
        let slots = SlotThreads::start(1).unwrap();
        let (reports, mut reported) = unbounded_channel();
        let attempts = trapped.iter().zip(1..).map(|(trap, number)| {
            set.store(*trap, Ordering::Relaxed);
            let task = Task::Train { trial: TrialId(0), configuration: Configuration::default() };
            slots.start(vec![Attempt {
                launch: Launch { attempt: AttemptId { task: TaskId(0), number }, task, checkpoint: None },
                prepared: Arc::clone(&prepared),
                store: Arc::clone(&store),
                memory_bytes: u64::MAX,
                stop: Arc::default(),
                reports: reports.clone(),
            }]);
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
