//! A run whose links are silent, for tests of what it does with what it hears: each turn of its loop is given, and what it
//! tells and says is kept. What goes wrong between machines is the simulation's.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::num::{NonZeroU32, NonZeroU64};
use std::sync::Mutex;

use broadsweep_common::attempt::{Artifact, ArtifactName, AttemptEvent, Durations, Ended, Report};
use broadsweep_common::blob::Blob;
use broadsweep_common::ids::{AttemptId, Digest};
use broadsweep_common::log::LogPiece;
use broadsweep_common::metrics::{MetricName, Metrics};
use broadsweep_proto::dial::Connecting;
use broadsweep_scheduler::SchedulingConfig;
use broadsweep_search::{Decision, Running, Search, SearchClock, Seen, Timeline, VirtualTime};
use bytes::Bytes;
use tonic::transport::Endpoint;

use super::*;
use crate::cluster::{
    BlockingVault, Cargo, Connect, KernelChoice, LinkEvent, Needs, PullError, Ready, SessionId, Witness, World,
};
use crate::journal::{MemoryStorage, Storage};
use crate::logs::LogKeeper;
use crate::records::attempt::AttemptEnd;
use crate::study;
use broadsweep_data as data;

const TEXT: &str = "name = 'bench'\ntrainer = { kind = 'replay', seconds = 1, epochs = '$n', error = 0.25 }\n\
                    [search]\nsampler = 'grid'\n[search.space]\nn = { values = [1, 2, 3, 4] }\n";

/// What is measured in the end depends on the trainer: this one makes weights.
const TRAINED: &str = "name = 'trained'\n[data]\nformat = 'idx'\ntrain_features = 'a'\ntrain_labels = 'b'\n\
                       test_features = 'c'\ntest_labels = 'd'\nvalidation_rows = 1\n[[model.layers]]\n\
                       kind = 'batch_norm'\n[training]\nlearning_rate = 1\nepochs = 3\n";

/// Epochs of each trial.
pub(super) const EPOCHS: u32 = 3;
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// A run, and whoever looks on.
pub(super) struct Bench {
    pub(super) run: Run<'static>,
    pub(super) storage: Arc<MemoryStorage>,
    /// Of the executors that come.
    pub(super) slots: u32,
    /// Where they find the study's program.
    pub(super) programs: Vec<&'static str>,
    /// Why executors that come cannot read the input.
    pub(super) lacks: Option<&'static str>,
    ears: Arc<Ears>,
    sessions: u64,
    messages: u64,
}

/// What a run has told and said.
#[derive(Default)]
struct Ears {
    orders: Mutex<Vec<String>>,
    acknowledgements: Mutex<Vec<String>>,
    lines: Mutex<Vec<u8>>,
    shown: Mutex<Vec<(u64, Vec<Seen>)>>,
    recalled: Mutex<Vec<Decision>>,
    logged: Mutex<Vec<u8>>,
}

/// What a run begins with.
#[derive(Default)]
struct Setup {
    trials: usize,
    decisions: Vec<Decision>,
    /// By what its moments are counted, and its virtual slots, if not by results and without a limit.
    order: Option<(SearchClock, NonZeroU32)>,
    /// Whether the best trial is measured in the end.
    measures: bool,
}

impl Witness for Ears {
    fn told(&self, executor: ExecutorId, _: SessionId, orders: &[Order]) {
        for order in orders {
            let heard =
                if matches!(order, Order::Acknowledge { .. }) { &self.acknowledgements } else { &self.orders };
            heard.lock().unwrap().push(format!("{}: {}", executor.0, words(order)));
        }
    }
}

impl LogKeeper for Ears {
    fn keep(&self, piece: LogPiece) {
        self.logged.lock().unwrap().extend_from_slice(&piece.text);
    }
}

fn words(order: &Order) -> String {
    match order {
        Order::Launch { launch, needs } => {
            let needs = needs.iter().map(|need| match need {
                Needs::Weights(_) => " with weights".to_owned(),
                Needs::Checkpoint { name, .. } => format!(" with {name}"),
                Needs::Rows { partition } => format!(" with rows of partition {partition}"),
            });
            format!("launch {}{}", launch.attempt, needs.collect::<String>())
        }
        Order::Cancel { attempt, at_epoch_end: false } => format!("stop {attempt}"),
        Order::Cancel { attempt, at_epoch_end: true } => format!("stop {attempt} after its epoch"),
        Order::Pull(pull) => format!("pull {} of {}, {} MiB at most", pull.name, pull.attempt, pull.bytes_max >> 20),
        Order::Release(attempt, blob) => released(*attempt, *blob),
        Order::HangUp { .. } => "hang up".to_owned(),
        Order::Acknowledge { through, settled } => format!("{through} {settled:?}"),
    }
}

fn released(attempt: AttemptId, blob: Digest) -> String {
    format!("release {} of {attempt}", &blob.to_string()[..8])
}

/// How an order reads that releases something.
pub(super) fn release(executor: u32, attempt: AttemptId, blob: &Blob<Bytes>) -> String {
    format!("{executor}: {}", released(attempt, blob.manifest.digest()))
}

struct Screen(Arc<Ears>);

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lines.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A network on which nobody ever answers.
struct Silence;

impl Connect for Silence {
    fn connect(&self, _: Endpoint) -> Connecting {
        Box::pin(std::future::pending())
    }
}

/// A search that answers from a list, and then that it has ended.
struct Script {
    decisions: VecDeque<Decision>,
    ears: Arc<Ears>,
}

impl Search for Script {
    fn next(&mut self, v: VirtualTime, seen: &[Seen], _: &dyn Running) -> Decision {
        if !seen.is_empty() {
            self.ears.shown.lock().unwrap().push((v.0, seen.to_vec()));
        }
        self.decisions.pop_front().unwrap_or(Decision::Ended)
    }

    fn recall(&mut self, decision: &Decision) {
        self.ears.recalled.lock().unwrap().push(decision.clone());
    }
}

/// Nobody can be reached, and all is heard.
fn world(vault: Arc<BlockingVault>, ears: &Arc<Ears>) -> World {
    World {
        connect: Arc::new(Silence),
        vault,
        rows: Arc::new(()),
        logs: Arc::clone(ears) as Arc<dyn LogKeeper>,
        witness: Arc::clone(ears) as Arc<dyn Witness>,
    }
}

impl Bench {
    /// A run of so many trials that leave weights.
    pub(super) fn new(trials: usize, executors: &[&str]) -> Self {
        Self::over(Arc::default(), Setup { trials, ..Setup::default() }, executors)
    }

    /// Likewise, and the weights of the best are measured in the end.
    pub(super) fn measuring(trials: usize, executors: &[&str]) -> Self {
        Self::over(Arc::default(), Setup { trials, measures: true, ..Setup::default() }, executors)
    }

    /// A run whose search decides this, one after the other; its trials leave no weights.
    pub(super) fn scripted(decisions: Vec<Decision>, executors: &[&str]) -> Self {
        Self::over(Arc::default(), Setup { decisions, ..Setup::default() }, executors)
    }

    /// Likewise, one trial after the other in virtual time, whose results are seen a microsecond after their virtual ends.
    pub(super) fn in_order(decisions: Vec<Decision>, executors: &[&str]) -> Self {
        let order = Some((SearchClock::Virtual { lag: NonZeroU64::MIN }, NonZeroU32::MIN));
        Self::over(Arc::default(), Setup { decisions, order, ..Setup::default() }, executors)
    }

    /// The same run under its next driver, whose search decides nothing more.
    pub(super) fn resumed(self, executors: &[&str]) -> Self {
        self.resumed_deciding(Vec::new(), executors)
    }

    /// The same run under its next driver, whose search decides this if it is asked.
    pub(super) fn resumed_deciding(self, decisions: Vec<Decision>, executors: &[&str]) -> Self {
        Self::over(self.storage, Setup { decisions, ..Setup::default() }, executors)
    }

    fn over(storage: Arc<MemoryStorage>, setup: Setup, executors: &[&str]) -> Self {
        // A run borrows them, and a test ends soon.
        let mut study = study::parse(TEXT, "study.toml").unwrap();
        let trainer = Box::leak(Box::new(study.description(Vec::new()).trainer));
        if setup.measures {
            let trained = study::parse(TRAINED, "trained.toml").unwrap();
            (study.trainer, study.data) = (trained.trainer, trained.data);
        }
        let study: &'static Study = Box::leak(Box::new(study));
        let header = Box::leak(Box::new(data::without_rows().unwrap().header));
        let planner = Planner::new(study, trainer, header);
        let shared = Arc::clone(&storage) as Arc<dyn Storage>;
        let blob = content(0);
        let start = Start {
            run: "run".to_owned(),
            kernel: Some("portable".to_owned()),
            data: blob.manifest.digest(),
            study: blob.manifest.digest(),
            search: study.search_digest(),
            partitions: Vec::new(),
        };
        let chronicle = if storage.journal().is_some() {
            Chronicle::resume(shared, study.objectives().clone(), start).unwrap().0
        } else {
            let drawn = study.drawn().unwrap();
            let mut plans = planner.plan_all(drawn).unwrap();
            plans.truncate(setup.trials);
            for plan in &mut plans {
                (plan.epochs, plan.flops, plan.parameters, plan.memory_bytes) = (EPOCHS, 300, 1, 1 << 20);
            }
            Chronicle::begin(shared, plans, study.objectives().clone(), start).unwrap()
        };
        let ears = Arc::new(Ears::default());
        let payload = Arc::new(Payload {
            run: "run".to_owned(),
            generation: chronicle.generation(),
            take_over: false,
            data: blob.clone(),
            study: blob,
            kernel: KernelChoice::fixed("portable"),
            traffic: Arc::default(),
        });
        let vault = Arc::new(BlockingVault::new(Arc::clone(&storage) as Arc<dyn Storage>));
        let cluster = Cluster::new(Arc::clone(&payload), world(vault, &ears));
        let scheduling =
            SchedulingConfig { backoff_ms: 0, exclude_after: 1000, copies: false, ..SchedulingConfig::default() };
        let settings = RunSettings {
            nodes_min: 1,
            connect_timeout: CONNECT_TIMEOUT,
            scheduling: scheduling.validate().unwrap(),
            checkpoints: CheckpointSettings { interval_ms: 0, bytes_per_s: u64::MAX },
        };
        let screen = Box::new(Screen(Arc::clone(&ears)));
        let progress = Progress::in_lines(4, study.loss(), study.objectives().clone(), screen);
        let script = Script { decisions: setup.decisions.into(), ears: Arc::clone(&ears) };
        let (clock, slots) = setup.order.unwrap_or((SearchClock::Arrivals, NonZeroU32::MAX));
        let timeline = Timeline::new(clock, slots, Box::new(planner));
        let decides = (Some(OngoingSearch { timeline, search: Box::new(script) }), planner);
        let mut run = Run::new(study, settings, payload, cluster, chronicle, decides, progress);
        for name in executors {
            run.join(Member::node(name));
        }
        run.take_up();
        let mut bench =
            Self { run, storage, slots: 1, programs: Vec::new(), lacks: None, ears, sessions: 0, messages: 0 };
        assert_eq!(bench.turn(), [""; 0], "something was told to executors that are not there");
        bench
    }

    /// What an event of a link leads to, up to the end of the turn: what is told, but for acknowledgements.
    pub(super) fn hear(&mut self, executor: u32, event: LinkEvent) -> Vec<String> {
        self.run.on_link(ExecutorId(executor), event);
        self.turn()
    }

    /// An executor sends this piece of an attempt's log; returns what is kept of it.
    pub(super) fn logs(&mut self, executor: u32, attempt: AttemptId, text: &'static str) -> String {
        let pieces = vec![LogPiece { attempt, offset: 0, text: text.as_bytes().into() }];
        let room = Arc::new(tokio::sync::Semaphore::new(1)).try_acquire_owned().unwrap();
        self.hear(executor, LinkEvent::Logged { pieces, room });
        String::from_utf8(std::mem::take(&mut *self.ears.logged.lock().unwrap())).unwrap()
    }

    /// A turn of the loop comes to its end.
    pub(super) fn turn(&mut self) -> Vec<String> {
        self.run.decide_if_due();
        self.run.commit().unwrap();
        std::mem::take(&mut *self.ears.orders.lock().unwrap())
    }

    /// An executor is there, as this process, and holds what it says.
    pub(super) fn is_ready(&mut self, executor: u32, instance: u64, held: &[AttemptId]) -> Vec<String> {
        self.sessions += 1;
        let (session, slots, kernel) = (SessionId(self.sessions), self.slots, "portable".to_owned());
        let program = self.programs.get(executor as usize).map(|program| (*program).to_owned());
        let lacks = self.lacks.map(ToOwned::to_owned);
        let ready = Ready { session, slots, instance, kernel, program, lacks, held: held.to_vec(), draining: false };
        self.hear(executor, LinkEvent::Ready(ready))
    }

    /// An executor is gone for good, with all that ran there.
    pub(super) fn is_lost(&mut self, executor: u32) -> Vec<String> {
        let ended = self.hear(executor, session_end());
        assert_eq!(ended, [""; 0], "it may come back");
        self.hear(executor, unreachable(true))
    }

    /// An executor reports this in one message, the first of which has number 1.
    pub(super) fn tells(&mut self, executor: u32, attempt: AttemptId, event: AttemptEvent) -> Vec<String> {
        self.messages += 1;
        let reports = vec![Report { attempt, durations: Durations::default(), event }];
        self.hear(executor, LinkEvent::Reports { sequence: self.messages, reports })
    }

    /// What was asked for is in the run folder under this name.
    pub(super) fn brings(
        &mut self,
        executor: u32,
        attempt: AttemptId,
        (cargo, name): (Cargo, &str),
        blob: &Blob<Bytes>,
    ) -> Vec<String> {
        self.storage.write(name, &blob.content).unwrap();
        let content: Result<_, PullError> = Ok(blob.clone());
        self.hear(executor, LinkEvent::Pulled { attempt, cargo, content })
    }

    /// The state after an epoch of the first task is in the run folder.
    pub(super) fn brings_state(
        &mut self,
        executor: u32,
        attempt: AttemptId,
        epoch: u32,
        blob: &Blob<Bytes>,
    ) -> Vec<String> {
        let name = names::checkpoint(attempt.task, epoch);
        self.brings(executor, attempt, (Cargo::Checkpoint { epoch }, &name), blob)
    }

    /// What was acknowledged since this was asked.
    pub(super) fn acknowledged(&mut self) -> Vec<String> {
        std::mem::take(&mut *self.ears.acknowledgements.lock().unwrap())
    }

    /// What people were told since this was asked.
    pub(super) fn said(&mut self) -> String {
        String::from_utf8(std::mem::take(&mut *self.ears.lines.lock().unwrap())).unwrap()
    }

    /// What the search was shown since this was asked, each time with the moment of its clock.
    pub(super) fn shown(&mut self) -> Vec<(u64, Vec<Seen>)> {
        std::mem::take(&mut *self.ears.shown.lock().unwrap())
    }

    /// What the search was told of earlier decisions.
    pub(super) fn recalled(&self) -> Vec<Decision> {
        self.ears.recalled.lock().unwrap().clone()
    }

    /// Epochs that are written down of a trial.
    pub(super) fn epochs(&self, trial: u32) -> u32 {
        let known = self.run.chronicle.book().trial(TrialId(trial)).unwrap();
        known.first().unwrap().curves.epochs()
    }

    /// How an attempt ended, as far as that is written down.
    pub(super) fn end(&self, attempt: AttemptId) -> Option<AttemptEnd> {
        self.run.chronicle.book().attempt(attempt).unwrap().end.clone()
    }

    /// The epoch of the newest checkpoint of the first task.
    pub(super) fn safe_epoch(&self) -> Option<u32> {
        self.run.chronicle.book().task(TaskId(0)).unwrap().checkpoint.map(|safe| safe.epoch)
    }

    /// The states in the run folder.
    pub(super) fn states(&self) -> Vec<String> {
        self.storage.list(names::CHECKPOINTS).unwrap()
    }
}

/// An attempt at a task, both by number.
pub(super) fn attempt(task: u32, number: u32) -> AttemptId {
    AttemptId { task: TaskId(task), number }
}

/// Something that an attempt made, told apart by a number.
pub(super) fn content(number: u8) -> Blob<Bytes> {
    Blob::new(Bytes::from(vec![number; 16])).unwrap()
}

pub(super) fn metrics(error: f64) -> Metrics {
    Metrics::from_iter([(MetricName::VALIDATION_ERROR, error)])
}

pub(super) fn epoch(epoch: u32, error: f64) -> AttemptEvent {
    AttemptEvent::Epoch { epoch, metrics: metrics(error), checkpoint: None }
}

/// An epoch with the state after it.
pub(super) fn epoch_with(epoch: u32, error: f64, state: &Blob<Bytes>) -> AttemptEvent {
    AttemptEvent::Epoch { epoch, metrics: metrics(error), checkpoint: Some(state.manifest.digest()) }
}

/// A training came to its end with what it made.
pub(super) fn trained(epoch: u32, name: ArtifactName, blob: &Blob<Bytes>) -> AttemptEvent {
    let artifacts = vec![Artifact { name, blob: blob.manifest.digest() }];
    AttemptEvent::Ended(Ended::Trained { epoch, artifacts })
}

pub(super) fn stopped() -> AttemptEvent {
    AttemptEvent::Ended(Ended::Stopped)
}

pub(super) fn failed() -> AttemptEvent {
    AttemptEvent::Ended(Ended::failed("it is broken"))
}

pub(super) fn session_end() -> LinkEvent {
    LinkEvent::Ended { reason: "cut".to_owned() }
}

/// An executor does not answer, and maybe its process is gone.
pub(super) fn unreachable(nobody_listens: bool) -> LinkEvent {
    let (address, reason) = ("a".to_owned(), "silent".to_owned());
    LinkEvent::Unreachable(crate::cluster::LinkError::Unreachable { address, reason, nobody_listens })
}
