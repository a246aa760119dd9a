//! The one loop where clock, links, scheduler and journal meet. It never waits on a slow executor.
//!
//! | module | holds |
//! |---|---|
//! | `record` | what a run writes down |
//! | `task` | all that is known of one task |
//! | `book` | what the records add up to: all tasks, and the weights that are worth keeping |
//! | `fold` | how records add up to it |
//! | `left` | the time that is left, now and then |
//! | `chronicle` | journal and book together: what is noted is journaled and known |
//! | `executors` | where each executor stands |
//! | `acks` | which messages of a session are safe |
//! | `checkpoints` | which checkpoints are fetched |
//! | `steps` | what each event of a link does |
//! | `reports` | what each report does |
//! | `commands` | what each command of the scheduler does |
//! | `error` | why a run cannot go on |
//! | `outcome` | what is left at the end |
//! | `read` | [`read`]: the same, from the folder of a run that others drive or drove |
//!
//! A turn of the loop takes what has come, notes what is new, makes that safe with one write, and only then acts on
//! it: launches, acknowledgements and what people are told wait in `orders` and `effects` until the journal has it.

mod acks;
mod book;
mod checkpoints;
mod chronicle;
mod commands;
mod error;
mod executors;
mod fold;
mod left;
mod outcome;
mod read;
mod record;
mod reports;
mod steps;
mod task;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use broadsweep_common::attempt::Report;
use broadsweep_common::ids::{AttemptId, ExecutorId, TaskId, TrialId};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use crate::cluster::{Cluster, Member, Order, Payload, SessionId, Traffic};
use crate::records::run::{Broadcast, RunRecord};
use crate::results::progress::{Progress, RunState};
use crate::study::{CheckpointSettings, Study};
use broadsweep_scheduler::{Event, History, Moment, Priority, Scheduler, SchedulingPolicy};

use acks::Acks;
use book::Contradiction;
use checkpoints::Checkpoints;
use executors::Executors;
use left::TimeLeft;
use record::Record;
use reports::Awaited;

pub use chronicle::{Chronicle, ChronicleError, Start};
pub use error::RunError;
pub use read::{ReadError, Reading, read, read_from};

/// How often the progress display moves at least.
const TICK: Duration = Duration::from_millis(200);
/// Events that one turn of the loop takes: they share one write of the journal.
const EVENTS_MAX: usize = 1024;

/// What a run is told besides its study.
#[derive(Clone, Debug)]
pub struct RunSettings {
    /// Nodes that have to answer before anything is placed.
    pub nodes_min: u32,
    /// How long to wait for them, and later for any executor to come back.
    pub connect_timeout: Duration,
    /// How often and where tasks are tried.
    pub scheduling: SchedulingPolicy,
    /// How much fetching checkpoints may take.
    pub checkpoints: CheckpointSettings,
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

/// What tells a run of the world outside it.
pub struct Signals {
    /// Something comes through when the run is to end early.
    pub interrupted: mpsc::Receiver<()>,
    /// Executors to dial: first those that the chronicle knows, in its order.
    pub members: Vec<Member>,
    /// Executors that join later.
    pub newcomers: mpsc::Receiver<Member>,
}

/// A run in progress.
pub struct Run<'a> {
    study: &'a Study,
    settings: RunSettings,
    payload: Arc<Payload>,
    cluster: Cluster,
    scheduler: Scheduler,
    executors: Executors,
    chronicle: Chronicle,
    progress: Progress,
    checkpoints: Checkpoints,
    /// Attempts that ended, whose end counts once a blob is here.
    awaited: BTreeMap<AttemptId, Awaited>,
    /// Attempts that contradicted what was known: cancelled, and not believed however they end.
    contradicted: BTreeMap<AttemptId, Contradiction>,
    /// What is to be acknowledged to each executor, and the executors for which that may have changed.
    acks: BTreeMap<ExecutorId, Acks>,
    settled: BTreeSet<ExecutorId>,
    /// Reports of executors on which the scheduler does not count yet, as too few are ready.
    early: Vec<(ExecutorId, u64, Vec<Report>)>,
    /// What waits for the journal: orders by session, and all else.
    orders: BTreeMap<(ExecutorId, SessionId), Vec<Order>>,
    effects: Vec<Effect>,
    /// Whether the best and the control were looked for.
    searching: bool,
    /// Whether the run is to end early.
    stopping: bool,
    broken: Option<RunError>,
    broadcast_s: f64,
    broadcast_before: Broadcast,
    started: Instant,
    /// Driven time before this driver.
    before: Moment,
    left: TimeLeft,
}

/// What happens once the journal has all that led to it.
enum Effect {
    Say(String),
    TrialEnded(TrialId),
    /// Files of the run that are worth nothing any more.
    Drop(String),
}

impl<'a> Run<'a> {
    /// A run of `study` that goes on where its chronicle ends.
    #[must_use]
    pub fn new(
        study: &'a Study,
        settings: RunSettings,
        payload: Arc<Payload>,
        cluster: Cluster,
        chronicle: Chronicle,
        progress: Progress,
    ) -> Self {
        let started = Instant::now();
        let before = chronicle.book().latest();
        let broadcast_before = chronicle.book().broadcast;
        Self {
            study,
            payload,
            scheduler: Scheduler::new(settings.scheduling),
            executors: Executors::new(started + settings.connect_timeout),
            checkpoints: Checkpoints::new(settings.checkpoints),
            settings,
            cluster,
            chronicle,
            progress,
            awaited: BTreeMap::new(),
            contradicted: BTreeMap::new(),
            acks: BTreeMap::new(),
            settled: BTreeSet::new(),
            early: Vec::new(),
            orders: BTreeMap::new(),
            effects: Vec::new(),
            searching: true,
            stopping: false,
            broken: None,
            broadcast_s: 0.0,
            broadcast_before,
            started,
            before,
            left: TimeLeft::default(),
        }
    }

    /// The executors that the run knows from an earlier driver, in their order.
    #[must_use]
    pub fn known_executors(&self) -> &[String] {
        self.chronicle.executors()
    }

    /// Runs until every trial has its verdict, or until something comes through `interrupted`: then until what runs
    /// has stopped with a checkpoint. Returns what there is in any case, with the reason if it ended early.
    pub async fn drive(mut self, mut signals: Signals) -> (RunOutcome, Option<RunError>) {
        let error = self.go_on(&mut signals).await.err();
        if error.is_some() {
            // What waits rests on something that could not be written down.
            self.orders.clear();
            self.effects.clear();
        }
        self.close();
        self.progress.finish();
        let spared = self.spared();
        let (outcome, cluster) = self.outcome();
        cluster.dismiss(spared).await;
        (outcome, error)
    }

    async fn go_on(&mut self, signals: &mut Signals) -> Result<(), RunError> {
        signals.members.drain(..).for_each(|member| self.join(member));
        self.payload.kernel.knows_all();
        self.add_tasks();
        self.commit()?;
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut events = Vec::new();
        while !self.is_over() {
            let deadline = self.next_deadline();
            // In this order, so that the same things happen in the same order; what is rare goes first.
            tokio::select! {
                biased;
                Some(()) = signals.interrupted.recv() => self.stop(),
                Some(member) = signals.newcomers.recv() => self.join(member),
                _ = ticks.tick() => self.show(),
                () = sleep_until(deadline) => self.feed(Event::Deadline),
                () = self.cluster.next(&mut events, EVENTS_MAX) => {
                    self.cluster.more(&mut events, EVENTS_MAX);
                    for (executor, event) in events.drain(..) {
                        self.on_link(executor, event);
                    }
                }
            }
            self.after_the_search();
            self.commit()?;
            if let Some(error) =
                self.broken.take().or_else(|| self.executors.verdict(self.settings.nodes_min, Instant::now()))
            {
                return Err(error);
            }
            self.executors.update_deadline(self.settings.connect_timeout);
        }
        Ok(())
    }

    /// Writes down what the whole of this driver's time took. All else is safe: a run does not fail for it.
    fn close(&mut self) {
        let (broadcast, now) = (self.broadcast(), self.now());
        self.note(&Record::Broadcast(broadcast));
        self.note(&Record::Closed(now));
        if let Err(error) = self.commit() {
            tracing::warn!(%error, "the end of the run is not written down");
        }
    }

    /// Whether nothing is left to wait for.
    fn is_over(&self) -> bool {
        if self.stopping {
            // What runs on an executor that is away goes on there until a driver resumes the run.
            let runs = |executor| self.live_on(executor).next().is_some();
            return !self.executors.ready().any(runs);
        }
        self.scheduler.is_done()
    }

    /// Executors on which something of the run may go on, although this driver ends.
    fn spared(&self) -> BTreeSet<ExecutorId> {
        let executors = (0..self.cluster.names().len() as u32).map(ExecutorId);
        let is_spared = |executor: &ExecutorId| {
            !self.executors.is_known(*executor) || self.scheduler.running_on(*executor).next().is_some()
        };
        if self.scheduler.is_done() { BTreeSet::new() } else { executors.filter(is_spared).collect() }
    }

    /// Gives the scheduler every task with what it went through under earlier drivers.
    fn add_tasks(&mut self) {
        let held_until = self.now().after(self.settings.scheduling.reconnect());
        for (trial, configuration, error) in self.chronicle.book().ended() {
            self.progress.remember(trial, configuration, error);
        }
        for (task, forecast) in self.chronicle.book().forecasts() {
            let history = self.chronicle.book().task(task).map(|book| book.history(held_until));
            let priority = Priority::longest_first(forecast.cost);
            self.feed(Event::TaskAdded { task, priority, forecast, history: history.unwrap_or_default() });
        }
        if self.chronicle.book().measures_are_planned() {
            self.searching = false;
            self.feed(Event::AddingEnded);
        }
        self.after_the_search();
    }

    /// Once every trial is trained, the best and the control look at the test rows, if the study says so.
    fn after_the_search(&mut self) {
        if !self.searching || self.scheduler.counts().finished < self.chronicle.book().trials() || self.stopping {
            return;
        }
        self.searching = false;
        let candidates = if self.study.tests_the_best() { self.chronicle.book().candidates() } else { Vec::new() };
        self.note(&Record::MeasuresPlanned(candidates));
        let planned = self.chronicle.book().forecasts().split_off(self.chronicle.book().trials());
        for (task, forecast) in planned {
            let priority = Priority::longest_first(forecast.cost);
            self.feed(Event::TaskAdded { task, priority, forecast, history: History::default() });
        }
        self.feed(Event::AddingEnded);
    }

    /// The run is to end early: what runs stops after its epoch, with a checkpoint.
    fn stop(&mut self) {
        if std::mem::replace(&mut self.stopping, true) {
            return;
        }
        self.feed(Event::PlacingEnded);
        let ready: Vec<_> = self.executors.ready().collect();
        let running: usize = ready.into_iter().map(|executor| self.stop_on(executor)).sum();
        if running > 0 {
            self.say(format!(
                "stopping: {} under way, so that nothing is lost; press Ctrl-C again to end at once",
                if running == 1 { "one attempt ends the epoch" } else { "attempts end the epochs" }
            ));
        }
    }

    /// What is live on an executor stops after its epoch; returns how many attempts that are.
    fn stop_on(&mut self, executor: ExecutorId) -> usize {
        let attempts: Vec<_> = self.live_on(executor).collect();
        let count = attempts.len();
        for attempt in attempts {
            self.tell(executor, Order::Cancel { attempt, at_epoch_end: true });
        }
        count
    }

    /// The live attempts on an executor: not those that were told to stop, which may never do so.
    fn live_on(&self, executor: ExecutorId) -> impl Iterator<Item = AttemptId> {
        let running = self.scheduler.running_on(executor);
        running.filter(move |attempt| self.scheduler.executor_of(*attempt) == Some(executor))
    }

    fn join(&mut self, member: Member) {
        let name = member.name.clone();
        let executor = self.cluster.add(member);
        self.executors.add(&name);
        if self.chronicle.book().executors.len() <= executor.0 as usize {
            self.note(&Record::Executor { executor, name });
        }
    }

    fn next_deadline(&self) -> Instant {
        let scheduled = self
            .scheduler
            .next_deadline()
            .map(|Moment(us)| self.started + Duration::from_micros(us.saturating_sub(self.before.0)));
        let far = Instant::now() + Duration::from_hours(1);
        // One that has passed has had its say; until something changes, the ticks look again.
        let patience = self.executors.deadline().filter(|deadline| *deadline > Instant::now());
        scheduled.unwrap_or(far).min(patience.unwrap_or(far))
    }

    /// The run's time: what passed under earlier drivers, and since this one began.
    fn now(&self) -> Moment {
        self.before.after(self.started.elapsed())
    }

    fn show(&mut self) {
        let (answered, ready, nodes) = self.executors.counts();
        if answered == 0 {
            self.progress.connecting(answered, nodes);
        } else if ready == 0 {
            let traffic = &self.payload.traffic;
            let arrived = Traffic::read(&traffic.arrived);
            let rate = (arrived as f64 / self.started.elapsed().as_secs_f64().max(1e-3)) as u64;
            self.progress.broadcasting(ready, nodes, (Traffic::read(&traffic.sent), arrived, rate));
        } else {
            let running =
                self.executors.ready().map(|executor| self.scheduler.running_on(executor).count() as u32).sum();
            let (attempts_lost, attempts_failed) = self.chronicle.book().misfortunes;
            let left = self.left.at(self.now(), &self.scheduler);
            self.progress.tick(RunState { running, attempts_lost, attempts_failed, left });
        }
    }

    /// Writes something down, and knows it.
    fn note(&mut self, record: &Record) {
        if let Err(error) = self.chronicle.note(record) {
            self.broken.get_or_insert(error.into());
        }
    }

    /// Makes safe what was noted, then does what waits for that.
    fn commit(&mut self) -> Result<(), RunError> {
        for executor in std::mem::take(&mut self.settled) {
            if let Some(sequence) = self.acks.get_mut(&executor).and_then(Acks::next) {
                self.tell(executor, Order::Acknowledge { sequence });
            }
        }
        self.chronicle.commit()?;
        if let Some(error) = self.broken.take() {
            return Err(error); // what could not be noted must not be acted on
        }
        for ((executor, session), orders) in std::mem::take(&mut self.orders) {
            self.cluster.tell(executor, session, orders);
        }
        for effect in self.effects.drain(..) {
            match effect {
                Effect::Say(line) => self.progress.println(&line),
                Effect::TrialEnded(trial) => {
                    let book = self.chronicle.book();
                    let configuration = &book.plan().trials[trial.0 as usize].configuration;
                    self.progress.trial_ended(trial, configuration, book.error_of(TaskId(trial.0)));
                }
                Effect::Drop(name) => self.chronicle.drop_file(&name),
            }
        }
        Ok(())
    }

    fn tell(&mut self, executor: ExecutorId, order: Order) {
        if let Some(session) = self.executors.session(executor) {
            self.orders.entry((executor, session)).or_default().push(order);
        }
    }

    fn say(&mut self, line: String) {
        self.effects.push(Effect::Say(line));
    }
}

/// The name of a task's checkpoint in the run folder.
fn checkpoint_name(task: TaskId, epoch: u32) -> String {
    format!("checkpoints/{task}-{epoch}")
}

/// The name of a trial's weights in the run folder.
fn weights_name(trial: TrialId) -> String {
    format!("weights/{}", trial.0)
}
