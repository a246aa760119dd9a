//! The one loop where clock, links, search, scheduler and journal meet. It never waits on a slow executor.
//!
//! | module | holds |
//! |---|---|
//! | `record` | what a run writes down |
//! | `trial`, `task` | all that is known of one trial, and of one task |
//! | `book` | what the records add up to |
//! | `fold` | how they do |
//! | `retell` | the records that a book can be told in |
//! | `chronicle` | journal and book together: what is noted is journaled and known |
//! | `names` | the files beside the journal |
//! | `deciding`, `telling` | asks the search, and adds the tasks that follow; what it is told |
//! | `changing` | what somebody asks of the run, and what its time does |
//! | `judge` | which reports can be believed |
//! | `differing` | what follows where two executors tell different numbers |
//! | `executors`, `told` | where each executor stands, and what it said of itself |
//! | `attempts` | where an attempt stands between its launch and its end |
//! | `effects` | what people are told, and which files go, once the journal has what led to it |
//! | `mailbox`, `acks` | what waits on the way from and to executors, and which messages are safe |
//! | `checkpoints` | which checkpoints are fetched |
//! | `steps` | what each event of a link does |
//! | `reports` | what each report does |
//! | `arrivals` | what each fetched blob does |
//! | `commands` | what each command of the scheduler does |
//! | `showing`, `left` | what people see of how far the run is, and of the time that is left |
//! | `ending` | what goes on, and what stops, where a driver ends early |
//! | `error` | why a run cannot go on |
//! | `outcome` | what is left at the end |
//! | `read` | [`read`]: the same, from the folder of a run that others drive or drove |
//! | `bench` | a run whose links are silent, for tests |
//!
//! A turn of the loop takes what has come, notes what is new, makes that safe with one write, and only then acts on
//! it: launches, acknowledgements and what people are told wait in `mail` and `effects`, which give nothing away without
//! the proof of that write (`Safe` in `chronicle`).

mod acks;
mod arrivals;
mod attempts;
#[cfg(test)]
mod bench;
mod book;
mod changing;
mod checkpoints;
mod chronicle;
mod commands;
mod deciding;
mod differing;
mod effects;
mod ending;
mod error;
mod executors;
mod fold;
mod judge;
mod left;
mod mailbox;
mod names;
mod outcome;
mod read;
mod record;
mod reports;
mod retell;
mod showing;
mod steps;
mod task;
mod telling;
#[cfg(test)]
mod tests;
mod told;
mod trial;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use broadsweep_common::ids::{ExecutorId, TaskId, TrialId};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use crate::cluster::{Cluster, Member, Newcomer, Order, Payload};
use crate::plan::Planner;
use crate::records::change::{is_extended, stopped_by};
use crate::records::run::{BroadcastRecord, RunRecord};
use crate::records::standing::Standing;
use crate::results::progress::Progress;
use crate::study::{CheckpointSettings, Study};
use crate::wishes::Wished;
use broadsweep_scheduler::{Event, Moment, Scheduler, SchedulingPolicy};
use broadsweep_search::Strayed;

use attempts::Attempts;
use checkpoints::Checkpoints;
use effects::{Effect, Effects};
use executors::Executors;
use left::TimeLeft;
use mailbox::Mailboxes;
use record::Record;

pub use chronicle::{Chronicle, ChronicleError, Start};
pub use deciding::OngoingSearch;
pub use error::RunError;
pub use outcome::PartitionOutcome;
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
    /// The control's weights.
    pub control: Option<Vec<u8>>,
    /// Whether these are no weights, but archives of what a program made.
    pub are_outputs: bool,
    /// What came of each partition of an input, in their order.
    pub partitions: Vec<PartitionOutcome>,
    /// Trials whose test error was due and could not be had.
    pub unmeasured: u32,
}

/// What tells a run of the world outside it.
pub struct Signals {
    /// Something comes through when the run is to end early.
    pub interrupted: mpsc::Receiver<()>,
    /// Executors to dial: first those that the chronicle knows, in its order.
    pub members: Vec<Member>,
    /// Executors that join later, and what there is to say of their list.
    pub newcomers: mpsc::Receiver<Newcomer>,
    /// What people ask of the run.
    pub wishes: mpsc::Receiver<Wished>,
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
    /// `None` if all was decided before anything was trained.
    search: Option<OngoingSearch<'a>>,
    planner: Planner<'a>,
    progress: Progress,
    checkpoints: Checkpoints,
    attempts: Attempts,
    mail: Mailboxes,
    /// How many lists of metrics each executor was the first to report.
    name_lists: BTreeMap<ExecutorId, u32>,
    /// What else waits for the journal.
    effects: Effects,
    /// Whether the search was told of something since it was asked.
    is_told: bool,
    /// The task that the search waits for.
    awaited: Option<TaskId>,
    /// A decision that came at another moment than an earlier driver made it at.
    strayed: Option<Strayed>,
    /// Slots of which people were told that some are idle for the order's sake.
    slots_told: u32,
    /// Whether what earlier drivers left is known to scheduler and search.
    is_taken_up: bool,
    /// Somebody asked to end the search, which is done as soon as that is.
    stop_due: Option<Wished>,
    /// The time of the run after which its search ends, unless it did before.
    time_max: Option<Duration>,
    /// Whether the run is to end early.
    stopping: bool,
    broken: Option<RunError>,
    broadcast_s: f64,
    broadcast_before: BroadcastRecord,
    started: Instant,
    /// Driven time before this driver.
    before: Moment,
    left: TimeLeft,
}

/// What begins a turn of the loop.
enum Woken {
    /// Somebody wants the run to end early.
    Interrupted,
    Newcomer(Newcomer),
    Wished(Wished),
    Tick,
    Deadline,
    /// Something has happened on links.
    Links,
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
        (search, planner): (Option<OngoingSearch<'a>>, Planner<'a>),
        progress: Progress,
    ) -> Self {
        let started = Instant::now();
        let before = chronicle.book().latest();
        let broadcast_before = chronicle.book().broadcast;
        let time_max = study.search.max_time.filter(|_| !is_extended(&chronicle.book().changes));
        Self {
            study,
            payload,
            scheduler: Scheduler::new(settings.scheduling),
            executors: Executors::new(started + settings.connect_timeout),
            checkpoints: Checkpoints::new(settings.checkpoints),
            settings,
            cluster,
            chronicle,
            search,
            planner,
            progress,
            attempts: Attempts::default(),
            mail: Mailboxes::default(),
            name_lists: BTreeMap::new(),
            effects: Effects::default(),
            is_told: false,
            awaited: None,
            strayed: None,
            slots_told: 0,
            is_taken_up: false,
            stop_due: None,
            time_max,
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
            self.mail.discard_orders();
            self.effects.discard();
        }
        self.close();
        self.progress.finish();
        let spared = self.spared();
        let (outcome, cluster) = self.outcome();
        cluster.dismiss(spared).await;
        (outcome, error)
    }

    async fn go_on(&mut self, signals: &mut Signals) -> Result<(), RunError> {
        let mut woken_at = Instant::now();
        signals.members.drain(..).for_each(|member| self.join(member));
        self.payload.kernel.knows_all();
        while let Ok(wished) = signals.wishes.try_recv() {
            self.heed(wished);
        }
        self.take_up();
        if let Some(by) = stopped_by(&self.chronicle.book().changes) {
            self.end_search(by, None); // as far as an earlier driver did not
        }
        self.end_search_if_due();
        self.decide_if_due();
        self.commit()?;
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut events = Vec::new();
        while !self.is_over() {
            let deadline = self.next_deadline();
            // In this order, so that the same things happen in the same order; what is rare goes first.
            let woken = tokio::select! {
                biased;
                Some(()) = signals.interrupted.recv() => Woken::Interrupted,
                Some(newcomer) = signals.newcomers.recv() => Woken::Newcomer(newcomer),
                Some(wished) = signals.wishes.recv() => Woken::Wished(wished),
                _ = ticks.tick() => Woken::Tick,
                () = sleep_until(deadline) => Woken::Deadline,
                () = self.cluster.next(&mut events, EVENTS_MAX) => Woken::Links,
            };
            let turn = std::mem::replace(&mut woken_at, Instant::now());
            self.on_turn(woken_at.duration_since(turn));
            match woken {
                Woken::Interrupted => self.stop(),
                Woken::Newcomer(Newcomer::Executor(member)) => self.join(member),
                Woken::Newcomer(Newcomer::Remark(line)) => self.say(line),
                Woken::Wished(wished) => self.heed(wished),
                Woken::Tick => {
                    self.end_search_if_due();
                    self.fetch_due_checkpoints();
                    self.show();
                }
                Woken::Deadline => self.feed(Event::Deadline),
                Woken::Links => {
                    self.cluster.more(&mut events, EVENTS_MAX);
                    for (executor, event) in events.drain(..) {
                        self.on_link(executor, event);
                    }
                }
            }
            self.decide_if_due();
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

    fn join(&mut self, member: Member) {
        let (name, is_former) = (member.name.clone(), member.is_former);
        let executor = self.cluster.add(member);
        if is_former {
            self.executors.add_former(&name);
            self.note_standing(executor, Standing::Gone);
            return;
        }
        self.executors.add(&name);
        if self.chronicle.book().executors.len() <= executor.0 as usize {
            self.note(&Record::Executor { executor, name });
        }
    }

    fn next_deadline(&self) -> Instant {
        let scheduled = self.scheduler.next_deadline().map(|moment| self.started + moment.since(self.before));
        let far = Instant::now() + Duration::from_hours(1);
        // One that has passed has had its say; until something changes, the ticks look again.
        let patience = self.executors.deadline().filter(|deadline| *deadline > Instant::now());
        scheduled.unwrap_or(far).min(patience.unwrap_or(far))
    }

    /// The run's time: what passed under earlier drivers, and since this one began.
    fn now(&self) -> Moment {
        self.before.after(self.started.elapsed())
    }

    /// Writes something down, and knows it.
    fn note(&mut self, record: &Record) {
        if let Err(error) = self.chronicle.note(record) {
            self.broken.get_or_insert(error.into());
        }
    }

    /// Makes safe what was noted, then does what waits for that.
    fn commit(&mut self) -> Result<(), RunError> {
        for (executor, acknowledgement) in self.mail.acknowledgeable() {
            self.tell(executor, acknowledgement);
        }
        let safe = self.chronicle.commit()?;
        if let Some(error) = self.broken.take() {
            return Err(error); // what could not be noted must not be acted on
        }
        for ((executor, session), orders) in self.mail.take_orders(&safe) {
            self.cluster.tell(executor, session, orders);
        }
        for effect in self.effects.take(&safe) {
            match effect {
                Effect::Say(line) => self.progress.println(&line),
                Effect::TrialEnded(trial) => {
                    let book = self.chronicle.book();
                    if let Some(known) = book.trial(trial) {
                        self.progress.trial_ended(trial, &known.configuration, book.value_of(trial));
                    }
                }
                Effect::PartitionEnded(partition) => self.progress.partition_ended(partition),
                Effect::Drop(name) => self.chronicle.drop_file(&name, &safe),
            }
        }
        Ok(())
    }

    fn tell(&mut self, executor: ExecutorId, order: Order) {
        if let Some(session) = self.executors.session(executor) {
            self.mail.order(executor, session, order);
        }
    }

    fn say(&mut self, line: String) {
        self.effects.push(Effect::Say(line));
    }
}
