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

use crate::nn::{self, Control, Phase, TrainTask, Weights};
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
            return Err(format!("needs {needed} bytes of memory; this node has {}", self.memory_bytes));
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
        let trained = nn::train(&task, &self.prepared.data, control).map_err(in_words)?;
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

    fn epoch_ended(&mut self, report: &EpochReport) -> bool {
        let durations = self.durations();
        self.send(Report { attempt: self.attempt, durations, news: News::Epoch(*report) });
        self.go_on()
    }
}
