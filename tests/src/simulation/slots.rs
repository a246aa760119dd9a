//! The slots of a simulated executor: replays as tasks in simulated time. What they report is noted as it truly is;
//! then it goes on, sometimes with lies beside it.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use broadsweep_common::attempt::{AttemptEvent, Durations, Ended, Report};
use broadsweep_common::ids::{AttemptId, Digest};
use broadsweep_common::metrics::{MetricName, Metrics};
use broadsweep_common::task::TaskKind;
use broadsweep_executor::slots::{Attempt, SlotRunner, Work};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::chance::Chance;
use super::node::Node;
use super::odd::odd;
use super::scenario::Fate;
use super::trace::Trace;
use super::truth::Truth;
use super::yields::{APPLICATION, MEASUREMENT, measured_of, output_of};

/// What may go wrong with trainings, wherever they run.
#[derive(Debug)]
pub(super) struct Malice {
    /// The study whose trainings are concerned.
    pub(super) study: u64,
    pub(super) fates: Vec<Fate>,
    /// How many lies are left.
    pub(super) lies: AtomicU32,
    pub(super) chance: Mutex<Chance>,
}

/// The slots of one executor process.
pub(super) struct TimedSlots {
    node: Arc<Node>,
    process: u64,
    trace: Arc<Trace>,
    truth: Arc<Truth>,
    malice: Arc<Malice>,
    free: Arc<Semaphore>,
}

impl TimedSlots {
    pub(super) fn new(
        node: Arc<Node>,
        process: u64,
        trace: Arc<Trace>,
        truth: Arc<Truth>,
        malice: Arc<Malice>,
    ) -> Self {
        let free = Arc::new(Semaphore::new(node.slots as usize));
        Self { node, process, trace, truth, malice, free }
    }

    fn fate(&self, attempt: &Attempt) -> Fate {
        let trial = attempt.launch().kind.trial();
        let is_meant = attempt.study_seed() == self.malice.study;
        let fate = trial.and_then(|trial| self.malice.fates.get(trial.0 as usize).copied());
        fate.filter(|_| is_meant).unwrap_or(Fate::Ordinary)
    }
}

impl SlotRunner for TimedSlots {
    fn start(&self, attempts: Vec<Attempt>) {
        for attempt in attempts {
            self.start_one(attempt);
        }
    }

    fn aside(&self, work: Work) {
        work(); // in no time
    }
}

impl TimedSlots {
    fn start_one(&self, mut attempt: Attempt) {
        let (study, id) = (attempt.study_seed(), attempt.launch().attempt);
        let kind = attempt.launch().kind;
        self.trace.say(&self.node.name, format!("study {study} {id} begins: {kind:?}"));
        self.truth.began(study, id, &self.node.name, self.process);
        if self.node.dies_at_launch() {
            self.node.is_dying.store(true, Ordering::Relaxed);
        }
        let fate = self.fate(&attempt);
        let (heard, reports) = unbounded_channel();
        let told = attempt.report_to(heard);
        let teller = Teller {
            study,
            node: Arc::clone(&self.node),
            trace: Arc::clone(&self.trace),
            truth: Arc::clone(&self.truth),
            malice: Arc::clone(&self.malice),
        };
        tokio::spawn(teller.pass_on(id, reports, told, fate));
        let (node, free) = (Arc::clone(&self.node), Arc::clone(&self.free));
        tokio::spawn(async move {
            let _slot = free.acquire_owned().await;
            let sleep = |wait: Duration| {
                if fate == Fate::KillsHost {
                    node.is_dying.store(true, Ordering::Relaxed);
                }
                tokio::time::sleep(wait.mul_f64(node.slowness()))
            };
            match kind {
                TaskKind::Apply { partition } => {
                    attempt.make_in_time(APPLICATION, output_of(partition), sleep).await;
                }
                TaskKind::Measure { .. } | TaskKind::Examine { .. } => {
                    attempt.measure_in_time(MEASUREMENT, measured_of, sleep).await;
                }
                TaskKind::Train(_) | TaskKind::Check(_) => {
                    attempt.run_in_time(&node.yields.bulk_of(kind), sleep).await;
                }
            }
        });
    }
}

/// Stands between an attempt and its session.
struct Teller {
    study: u64,
    node: Arc<Node>,
    trace: Arc<Trace>,
    truth: Arc<Truth>,
    malice: Arc<Malice>,
}

impl Teller {
    async fn pass_on(
        self,
        attempt: AttemptId,
        mut reports: UnboundedReceiver<Report>,
        told: UnboundedSender<Report>,
        fate: Fate,
    ) {
        if fate == Fate::Fails {
            let event = AttemptEvent::Ended(Ended::Failed { reason: "it always does".to_owned() });
            self.tell(&told, Report { attempt, durations: Durations::default(), event });
            return; // what it does besides is not heard
        }
        while let Some(report) = reports.recv().await {
            let lies = self.lies(&report);
            self.tell(&told, report);
            for lie in lies {
                self.trace.say(&self.node.name, format!("lies: {lie:?}"));
                let _ = told.send(lie); // the run may be over
            }
        }
    }

    fn tell(&self, told: &UnboundedSender<Report>, mut report: Report) {
        let attempt = report.attempt;
        if let AttemptEvent::Epoch { metrics, .. } = &mut report.event
            && self.node.is_odd
        {
            *metrics = odd(metrics);
        }
        match &report.event {
            AttemptEvent::Epoch { epoch, checkpoint, .. } => {
                let kept = if checkpoint.is_some() { ", with a checkpoint" } else { "" };
                self.trace.say(&self.node.name, format!("{attempt} epoch {epoch}{kept}"));
            }
            AttemptEvent::Ended(ended) => {
                self.trace.say(&self.node.name, format!("{attempt} ends: {ended:?}"));
            }
        }
        self.truth.reported(self.study, &report);
        let _ = told.send(report); // the run may be over
    }

    /// What a process that is broken or hostile says besides the truth.
    fn lies(&self, report: &Report) -> Vec<Report> {
        let AttemptEvent::Epoch { epoch, .. } = report.event else { return Vec::new() };
        let mut chance = self.malice.chance.lock().unwrap();
        let is_meant = self.study == self.malice.study;
        if !is_meant || self.malice.lies.load(Ordering::Relaxed) == 0 || !chance.one_in(3) {
            return Vec::new();
        }
        self.malice.lies.fetch_sub(1, Ordering::Relaxed);
        let said = |attempt, event| vec![Report { attempt, durations: Durations::default(), event }];
        let attempt = report.attempt;
        let elsewhere = self.truth.elsewhere(self.study, &self.node.name);
        let other = (!elsewhere.is_empty()).then(|| elsewhere[chance.below(elsewhere.len())]);
        match (chance.below(8), other) {
            (0 | 1, _) | (2..=4, None) => vec![report.clone()],
            (2, Some((other, last))) => {
                let checkpoint = chance.one_in(2).then(|| Digest::of(b"what nobody has"));
                said(other, false_epoch(last + 1, checkpoint))
            }
            (3, Some((other, last))) => said(other, AttemptEvent::Ended(false_end(&mut chance, last + 1))),
            (4, Some((other, _))) => {
                let never = AttemptId { task: other.task, number: other.number + 7 };
                said(never, AttemptEvent::Ended(false_end(&mut chance, 1)))
            }
            (5, _) => {
                self.truth.slander(attempt);
                said(attempt, false_epoch(epoch + 2, None))
            }
            (6, _) => {
                self.truth.slander(attempt);
                said(attempt, false_epoch(epoch, None))
            }
            _ => {
                let earlier = AttemptId { task: attempt.task, number: attempt.number.saturating_sub(1) };
                match self.truth.stay(self.study, earlier) {
                    Some(stay) if stay.node != self.node.name => {
                        said(earlier, AttemptEvent::Ended(false_end(&mut chance, epoch)))
                    }
                    _ => vec![report.clone()],
                }
            }
        }
    }
}

/// Numbers that no replay of a simulation has.
fn false_epoch(epoch: u32, checkpoint: Option<Digest>) -> AttemptEvent {
    let metrics = Metrics::from_iter([
        (MetricName::LEARNING_RATE, 0.5),
        (MetricName::TRAINING_LOSS, 0.125),
        (MetricName::VALIDATION_LOSS, 0.0625),
        (MetricName::VALIDATION_ERROR, 0.000_061_035_156_25),
    ]);
    AttemptEvent::Epoch { epoch, metrics, checkpoint }
}

fn false_end(chance: &mut Chance, epoch: u32) -> Ended {
    match chance.below(4) {
        0 => Ended::Trained { epoch, artifacts: Vec::new() },
        1 => Ended::Diverged { epoch: 1 },
        2 => Ended::Failed { reason: "a lie".to_owned() },
        _ => Ended::Stopped,
    }
}
