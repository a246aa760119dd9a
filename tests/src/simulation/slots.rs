//! The slots of a simulated executor: replays as tasks in simulated time. What they report is noted as it truly is;
//! then it goes on, sometimes with lies beside it.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use broadsweep_common::attempt::{Durations, Ended, News, Report};
use broadsweep_common::ids::{AttemptId, Digest};
use broadsweep_common::metrics::{EpochReport, Score};
use broadsweep_executor::slots::{Attempt, SlotRunner};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::chance::Chance;
use super::node::Node;
use super::scenario::Fate;
use super::trace::Trace;
use super::truth::Truth;

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
        let trial = attempt.launch().task.trial().0 as usize;
        let is_meant = attempt.study().seed == self.malice.study;
        self.malice.fates.get(trial).copied().filter(|_| is_meant).unwrap_or(Fate::Ordinary)
    }
}

impl SlotRunner for TimedSlots {
    fn start(&self, attempts: Vec<Attempt>) {
        for attempt in attempts {
            self.start_one(attempt);
        }
    }
}

impl TimedSlots {
    fn start_one(&self, mut attempt: Attempt) {
        let (study, id) = (attempt.study().seed, attempt.launch().attempt);
        let trial = attempt.launch().task.trial();
        self.trace.say(&self.node.name, format!("study {study} {id} of {trial} begins"));
        self.truth.began(study, id, &self.node.name, self.process);
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
            attempt.run_in_time(sleep).await;
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
            let news = News::Ended(Ended::Failed { reason: "it always does".to_owned() });
            self.tell(&told, Report { attempt, durations: Durations::default(), news });
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

    fn tell(&self, told: &UnboundedSender<Report>, report: Report) {
        let (attempt, news) = (report.attempt, &report.news);
        match news {
            News::Epoch { report, checkpoint } => {
                let kept = if checkpoint.is_some() { ", with a checkpoint" } else { "" };
                self.trace.say(&self.node.name, format!("{attempt} epoch {}{kept}", report.epoch));
            }
            News::Ended(ended) => {
                self.trace.say(&self.node.name, format!("{attempt} ends: {ended:?}"));
            }
        }
        self.truth.reported(self.study, &report);
        let _ = told.send(report); // the run may be over
    }

    /// What a process that is broken or hostile says besides the truth.
    fn lies(&self, report: &Report) -> Vec<Report> {
        let News::Epoch { report: epoch, .. } = &report.news else { return Vec::new() };
        let mut chance = self.malice.chance.lock().unwrap();
        let is_meant = self.study == self.malice.study;
        if !is_meant || self.malice.lies.load(Ordering::Relaxed) == 0 || !chance.one_in(3) {
            return Vec::new();
        }
        self.malice.lies.fetch_sub(1, Ordering::Relaxed);
        let said = |attempt, news| vec![Report { attempt, durations: Durations::default(), news }];
        let attempt = report.attempt;
        let elsewhere = self.truth.elsewhere(self.study, &self.node.name);
        let other = (!elsewhere.is_empty()).then(|| elsewhere[chance.below(elsewhere.len())]);
        match (chance.below(8), other) {
            (0 | 1, _) | (2..=4, None) => vec![report.clone()],
            (2, Some((other, last))) => {
                let checkpoint = chance.one_in(2).then(|| Digest::of(b"what nobody has"));
                said(other, News::Epoch { report: false_report(last + 1), checkpoint })
            }
            (3, Some((other, last))) => said(other, News::Ended(false_end(&mut chance, last + 1))),
            (4, Some((other, _))) => {
                let never = AttemptId { task: other.task, number: other.number + 7 };
                said(never, News::Ended(false_end(&mut chance, 1)))
            }
            (5, _) => {
                self.truth.slander(attempt);
                said(attempt, News::Epoch { report: false_report(epoch.epoch + 2), checkpoint: None })
            }
            (6, _) => {
                self.truth.slander(attempt);
                said(attempt, News::Epoch { report: false_report(epoch.epoch), checkpoint: None })
            }
            _ => {
                let earlier = AttemptId { task: attempt.task, number: attempt.number.saturating_sub(1) };
                match self.truth.stay(self.study, earlier) {
                    Some(stay) if stay.node != self.node.name => {
                        said(earlier, News::Ended(false_end(&mut chance, epoch.epoch)))
                    }
                    _ => vec![report.clone()],
                }
            }
        }
    }
}

/// Numbers that no replay of a simulation has.
fn false_report(epoch: u32) -> EpochReport {
    let validation = Some(Score { loss: 0.0625, error: 0.000_061_035_156_25 });
    EpochReport { epoch, learning_rate: 0.5, training_loss: 0.125, validation, test: None }
}

fn false_end(chance: &mut Chance, epoch: u32) -> Ended {
    match chance.below(4) {
        0 => Ended::Complete { report: false_report(epoch), weights: None },
        1 => Ended::Diverged { epoch: 1 },
        2 => Ended::Failed { reason: "a lie".to_owned() },
        _ => Ended::Stopped,
    }
}
