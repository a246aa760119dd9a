//! The one loop where clock, links and scheduler meet. It never waits on a slow executor.
//!
//! | module | holds |
//! |---|---|
//! | `book` | what is known of each trial |
//! | `fleet` | where each executor stands |
//! | `steps` | what each event and command does |

mod book;
mod fleet;
mod steps;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use broadsweep_common::attempt::Ended;
use broadsweep_common::ids::{AttemptId, Digest, TrialId};
use broadsweep_common::metrics::EpochReport;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, sleep_until};

use crate::cluster::{Cluster, LinkError, Payload};
use crate::plan::StudyPlan;
use crate::results::progress::{Progress, RunState};
use crate::results::record::{Broadcast, RunRecord};
use crate::scheduler::{Event, RetryPolicy, Scheduler, Time};
use crate::study::{Study, TestUse};

use book::{Book, Contradiction};
use fleet::Fleet;

/// How often the progress display moves at least.
const TICK: Duration = Duration::from_millis(200);

/// What a run is told besides its study.
#[derive(Clone, Copy, Debug)]
pub struct RunSettings {
    /// Nodes that have to answer before anything is placed.
    pub nodes_min: u32,
    /// How long to wait for them, and later for any executor to come back.
    pub connect_timeout: Duration,
}

/// What a run leaves.
#[derive(Debug)]
pub struct RunOutcome {
    /// All that was measured.
    pub record: RunRecord,
    /// The best trial and its weights.
    pub best: Option<(TrialId, Vec<u8>)>,
    /// Trials whose test error was due and could not be had.
    pub unmeasured: u32,
}

/// Why a run cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Fewer nodes answered than are needed.
    #[error("{answered} of {nodes} nodes answered; at least {needed} are needed{}", list(errors))]
    TooFewNodes {
        /// How many did.
        answered: u32,
        /// How many there are.
        nodes: u32,
        /// How many have to.
        needed: u32,
        /// What was wrong with the others.
        errors: Vec<LinkError>,
    },
    /// Every executor was lost, and none came back.
    #[error("no executor is left{}", list(errors))]
    NoExecutorLeft {
        /// What was wrong with each.
        errors: Vec<LinkError>,
    },
}

fn list(errors: &[LinkError]) -> String {
    const SHOWN_MAX: usize = 20;
    let mut lines: Vec<_> = errors.iter().take(SHOWN_MAX).map(|error| format!("\n  {error}")).collect();
    if errors.len() > SHOWN_MAX {
        lines.push(format!("\n  and {} more", errors.len() - SHOWN_MAX));
    }
    lines.concat()
}

/// A run in progress.
pub struct Run<'a> {
    study: &'a Study,
    settings: RunSettings,
    payload: Arc<Payload>,
    cluster: Cluster,
    scheduler: Scheduler,
    fleet: Fleet,
    book: Book,
    progress: Progress,
    /// Ended attempts whose weights are on their way here: their results count when those have come.
    pulling: BTreeMap<AttemptId, Pulling>,
    /// Attempts that contradicted what was known: cancelled, and not believed however they end.
    contradicted: BTreeMap<AttemptId, Contradiction>,
    /// Why the last attempt of a task failed.
    failures: BTreeMap<TrialId, String>,
    /// Trials whose test error could not be had.
    unmeasured: u32,
    searching: bool,
    broadcast_s: f64,
    started: Instant,
}

struct Pulling {
    report: EpochReport,
    blob: Digest,
    tries: u32,
}

impl<'a> Run<'a> {
    /// A run of `study` on the executors of `cluster`.
    #[must_use]
    pub fn new(
        study: &'a Study,
        plan: StudyPlan,
        policy: RetryPolicy,
        settings: RunSettings,
        payload: Arc<Payload>,
        cluster: Cluster,
        progress: Progress,
    ) -> Self {
        let started = Instant::now();
        Self {
            study,
            settings,
            payload,
            scheduler: Scheduler::new(policy),
            fleet: Fleet::new(cluster.names(), started + settings.connect_timeout),
            cluster,
            book: Book::new(plan, study.search.select),
            progress,
            pulling: BTreeMap::new(),
            contradicted: BTreeMap::new(),
            failures: BTreeMap::new(),
            unmeasured: 0,
            searching: true,
            broadcast_s: 0.0,
            started,
        }
    }

    /// Runs until every trial has its verdict, or until something comes through `interrupted`: then with what there is.
    ///
    /// # Errors
    /// [`RunError`], with what there is until then.
    pub async fn drive(mut self, interrupted: &mut mpsc::Receiver<()>) -> (RunOutcome, Option<RunError>) {
        let control = self.plan_control();
        for (task, cost) in self.book.trainings().collect::<Vec<_>>() {
            self.feed(Event::TaskAdded { task, cost });
        }
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut error = None;
        let mut was_interrupted = false;
        while !self.scheduler.is_done() && error.is_none() && !was_interrupted {
            let deadline = self.next_deadline();
            tokio::select! {
                event = self.cluster.next() => match event {
                    Some((executor, event)) => self.on_link(executor, event),
                    None => error = Some(self.fleet.none_left()),
                },
                () = sleep_until(deadline.into()) => {
                    self.feed(Event::Deadline);
                }
                _ = ticks.tick() => self.show(),
                _ = interrupted.recv() => was_interrupted = true,
            }
            self.after_the_search();
            error = error.or_else(|| self.fleet.verdict(self.settings.nodes_min, Instant::now()));
            self.fleet.note_presence(self.settings.connect_timeout);
        }
        self.progress.finish();
        (self.outcome(control, was_interrupted || error.is_some()), error)
    }

    fn plan_control(&self) -> Option<TrialId> {
        self.study.control.is_some().then_some(TrialId(0))
    }

    /// Once every trial is trained, the best and the control look at the test rows, if the study says so.
    fn after_the_search(&mut self) {
        if !self.searching || self.scheduler.counts().finished < self.book.trials.len() {
            return;
        }
        self.searching = false;
        let look = self.study.data.test == TestUse::Winner
            && self.study.data.source.has_test()
            && !self.study.description().test_every_trial;
        if look {
            for (task, cost) in self.book.plan_measures() {
                self.feed(Event::TaskAdded { task, cost });
            }
        }
        self.feed(Event::AddingEnded);
    }

    fn next_deadline(&self) -> Instant {
        let scheduled = self.scheduler.next_deadline().map(|Time(us)| self.started + Duration::from_micros(us));
        let far = Instant::now() + Duration::from_hours(1);
        // One that has passed has had its say; until something changes, the ticks look again.
        let patience = self.fleet.deadline().filter(|deadline| *deadline > Instant::now());
        scheduled.unwrap_or(far).min(patience.unwrap_or(far))
    }

    fn show(&mut self) {
        let (answered, ready, nodes) = self.fleet.counts();
        if answered == 0 {
            self.progress.connecting(answered, nodes);
        } else if ready == 0 {
            self.progress.broadcasting(ready, nodes, self.payload.sent_bytes());
        } else {
            let running: Vec<_> =
                self.fleet.ready().flat_map(|executor| self.scheduler.running_on(executor)).collect();
            let trials = running.iter().filter_map(|attempt| self.book.trial_of(attempt.task));
            let work = self.book.work(trials, self.started.elapsed(), self.fleet.slots());
            self.progress.tick(RunState {
                running: running.len() as u32,
                attempts_lost: self.book.attempts_lost,
                attempts_failed: self.book.attempts_failed,
                work,
            });
        }
    }

    fn outcome(self, control: Option<TrialId>, interrupted: bool) -> RunOutcome {
        let best = self.book.best_weights().map(|(trial, weights)| (trial, weights.content.to_vec()));
        let (executors, slots) = self.fleet.took_part();
        let unmeasured = self.unmeasured;
        let record = RunRecord {
            study: self.study.name.clone(),
            seed: self.study.seed,
            select: self.study.search.select,
            loss: self.study.model.loss,
            kernel: self.payload.kernel.clone(),
            build: env!("CARGO_PKG_VERSION").to_owned(),
            executors,
            slots,
            interrupted,
            attempts: self.book.attempts,
            trials: self.book.trials,
            control,
            wall_s: self.started.elapsed().as_secs_f64(),
            broadcast: Broadcast {
                data_bytes: self.payload.data_bytes(),
                sent_bytes: self.payload.sent_bytes(),
                wall_s: self.broadcast_s,
            },
        };
        RunOutcome { record, best, unmeasured }
    }
}

/// An outcome that no training has.
fn is_out_of_place(ended: &Ended, measure: bool) -> bool {
    match ended {
        Ended::Measured(_) => !measure,
        Ended::Complete { .. } | Ended::Diverged { .. } => measure,
        Ended::Stopped | Ended::Failed { .. } => false,
    }
}
