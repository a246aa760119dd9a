//! A run as its drivers and the person before the screen see it: begun, resumed after whatever happened, until it is
//! over.

use std::num::{NonZeroU32, NonZeroU64};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use broadsweep_common::blob::Blob;
use broadsweep_common::codec;
use broadsweep_common::configuration::{Configuration, Value};
use broadsweep_common::dataset::Header;
use broadsweep_common::task::StudyDescription;
use broadsweep_driver::cluster::{Cluster, KernelChoice, Member, Newcomer, Payload, Witness, World};
use broadsweep_driver::journal::Storage;
use broadsweep_driver::plan::{Planner, TrialPlan};
use broadsweep_driver::results::progress::Progress;
use broadsweep_driver::run::{
    Chronicle, ChronicleError, OngoingSearch, Run, RunError, RunOutcome, RunSettings, Signals, Start,
};
use broadsweep_driver::study::Study;
use broadsweep_nn as nn;
use broadsweep_scheduler::SchedulingPolicy;
use broadsweep_search::PlannedCosts;
use bytes::Bytes;
use tokio::sync::{mpsc, watch};

use super::chance::Chance;
use super::disk::{Disk, SlowVault};
use super::ice::Ice;
use super::network::{Dialler, PORT};
use super::node::Node;
use super::rungs::{DecisionLog, Ladder, Rungs};
use super::trace::{Screen, Trace};

/// A run and all of it that outlives its drivers.
pub(super) struct Campaign {
    pub(super) who: &'static str,
    pub(super) study: Study,
    pub(super) description: StudyDescription,
    pub(super) header: Header,
    pub(super) data: Blob<Bytes>,
    /// What an undisturbed search starts, in order.
    pub(super) trials: Vec<TrialPlan>,
    pub(super) ladder: Arc<Ladder>,
    /// What its drivers decided on it.
    pub(super) decided: Arc<DecisionLog>,
    pub(super) partitions: u32,
    pub(super) policy: SchedulingPolicy,
    pub(super) disk: Arc<Disk>,
    pub(super) vault_ms: u64,
    pub(super) nodes: Arc<Vec<Arc<Node>>>,
    pub(super) trace: Arc<Trace>,
    pub(super) chance: Mutex<Chance>,
    /// Whether its host runs a driver.
    pub(super) is_on: AtomicBool,
    /// What its loop is caught in while it stands still.
    pub(super) ice: Ice,
    pub(super) takes_over: AtomicBool,
    /// Drivers so far.
    pub(super) generation: AtomicU64,
    pub(super) desk: Mutex<Desk>,
}

/// The plans of the trials whose searched parameter is their number.
pub(super) struct ByNumber<'a>(&'a [TrialPlan]);

impl ByNumber<'_> {
    fn plan(&self, configuration: &Configuration) -> &TrialPlan {
        let Some(Value::Integer(number)) = configuration.get("n") else { unreachable!() };
        &self.0[*number as usize]
    }
}

impl PlannedCosts for ByNumber<'_> {
    fn epochs(&self, configuration: &Configuration) -> NonZeroU32 {
        NonZeroU32::new(self.plan(configuration).epochs).unwrap_or(NonZeroU32::MIN)
    }

    fn cost(&self, configuration: &Configuration, epochs: Range<u32>) -> NonZeroU64 {
        self.plan(configuration).cost_of(epochs)
    }
}

/// What goes in and out of the driver that runs now.
#[derive(Default)]
pub(super) struct Desk {
    /// Names of the nodes that its person names.
    pub(super) members: Vec<String>,
    interrupt: Option<mpsc::Sender<()>>,
    newcomers: Option<mpsc::Sender<Newcomer>>,
    /// Whereabouts stay known as long as their senders live.
    senders: Vec<watch::Sender<Option<String>>>,
    /// What the run left once it was over.
    pub(super) outcome: Option<Arc<RunOutcome>>,
}

/// Why a driver ended without the run being over.
#[derive(Debug)]
pub(super) enum End {
    /// A person can do something about it, or wait.
    Mendable(String),
    /// Nobody can.
    Broken(String),
}

impl Campaign {
    /// The software of the driver's machine: drives, and drives again until the run is over.
    pub(super) async fn software(self: Arc<Self>) -> turmoil::Result {
        let power = Arc::new(AtomicBool::new(true));
        *self.disk.power.lock().unwrap() = Arc::clone(&power);
        while self.is_on.load(Ordering::Relaxed) {
            match Box::pin(self.drive(&power)).await {
                Ok(outcome) => {
                    self.trace.say(self.who, "the run is over");
                    self.desk.lock().unwrap().outcome = Some(Arc::new(outcome));
                    break;
                }
                Err(End::Mendable(reason)) => self.trace.say(self.who, format!("ended: {reason}")),
                Err(End::Broken(reason)) => {
                    self.trace.violate(format!("the run cannot go on: {reason}"));
                    break;
                }
            }
            let patience = self.chance.lock().unwrap().seconds(0.1, 3.0);
            tokio::time::sleep(patience).await;
        }
        std::future::pending().await
    }

    /// Somebody presses Ctrl-C.
    pub(super) fn interrupt(&self) {
        if let Some(interrupt) = &self.desk.lock().unwrap().interrupt {
            let _ = interrupt.try_send(()); // the driver may just have ended
        }
    }

    /// One more node is named.
    pub(super) fn join(&self, name: &str) {
        let mut desk = self.desk.lock().unwrap();
        if desk.members.iter().any(|member| member == name) {
            return;
        }
        desk.members.push(name.to_owned());
        let member = desk.member(name);
        if let Some(newcomers) = &desk.newcomers {
            let _ = newcomers.try_send(Newcomer::Executor(member)); // otherwise the next driver hears of it
        }
    }

    /// The driver that ran is gone.
    pub(super) fn forget_driver(&self) {
        let mut desk = self.desk.lock().unwrap();
        (desk.interrupt, desk.newcomers) = (None, None);
        desk.senders.clear();
    }

    pub(super) fn is_over(&self) -> bool {
        self.desk.lock().unwrap().outcome.is_some()
    }

    async fn drive(&self, power: &Arc<AtomicBool>) -> Result<RunOutcome, End> {
        let run = self.open(power)?;
        let is_over = run.1;
        let signals = self.signals(if is_over { &[] } else { run.0.known_executors() }, is_over);
        let (outcome, error) = self.ice.around(run.0.drive(signals)).await;
        self.forget_driver();
        match error {
            None if outcome.record.is_over() => Ok(outcome),
            None => Err(End::Mendable("interrupted".to_owned())),
            Some(RunError::Chronicle(error)) => Err(self.sort(&error)),
            Some(error) => Err(End::Mendable(error.to_string())),
        }
    }

    /// The search of a driver, if it goes on while trials are trained.
    fn search<'a>(&'a self, planner: Planner<'a>) -> Option<OngoingSearch<'a>> {
        if !self.ladder.is_used() {
            return OngoingSearch::of(&self.study, planner);
        }
        let (timeline, log) = (self.ladder.timeline(Box::new(self.costs())), Arc::clone(&self.decided));
        Some(OngoingSearch { timeline, search: Box::new(Rungs::new(Arc::clone(&self.ladder), log)) })
    }

    /// What its trials are planned to cost.
    pub(super) fn costs(&self) -> ByNumber<'_> {
        ByNumber(&self.trials)
    }

    /// Takes the run up: a driver that has not dialled anybody yet. The second value says whether nothing is left.
    pub(super) fn open(&self, power: &Arc<AtomicBool>) -> Result<(Run<'_>, bool), End> {
        let is_new = self.disk.journal_bytes().map_err(|error| self.sort(&error.into()))?.is_none();
        let chronicle = self.chronicle(is_new).map_err(|error| self.sort(&error))?;
        let generation = chronicle.generation();
        let earlier = self.generation.swap(generation, Ordering::Relaxed);
        if generation <= earlier {
            self.trace.violate(format!("driver {generation} follows driver {earlier}"));
        }
        let (begun, over) = chronicle.trials();
        self.trace.say(self.who, format!("driver {generation}: {over} of {begun} trials are over"));
        let (data, study) = self.blobs();
        let payload = Arc::new(Payload {
            run: chronicle.run().to_owned(),
            generation,
            take_over: self.takes_over.load(Ordering::Relaxed),
            data,
            study,
            kernel: KernelChoice::fixed(nn::Kernel::PORTABLE.name()),
            traffic: Arc::default(),
        });
        let seed = self.chance.lock().unwrap().next();
        let vault = SlowVault {
            disk: Arc::clone(&self.disk),
            chance: Mutex::new(Chance::new(seed)),
            slowest_ms: self.vault_ms,
        };
        let connect = Dialler { nodes: Arc::clone(&self.nodes), power: Arc::clone(power) };
        let witness: Arc<dyn Witness> = match &self.disk.guard {
            Some(guard) => Arc::clone(guard) as Arc<dyn Witness>,
            None => Arc::new(()),
        };
        let (connect, vault) = (Arc::new(connect), Arc::new(vault));
        let world = World { connect, vault, rows: Arc::new(()), logs: Arc::new(()), witness };
        let settings = RunSettings {
            nodes_min: 1,
            connect_timeout: Duration::from_secs(20),
            scheduling: self.policy,
            checkpoints: self.study.checkpoints,
        };
        let screen = Screen { who: self.who, trace: Arc::clone(&self.trace), partial: Vec::new() };
        let progress = Progress::in_lines(
            self.trials.len() as u32,
            self.study.loss(),
            self.study.objectives().clone(),
            Box::new(screen),
        );
        let is_over = chronicle.is_over_despite(&[]);
        let cluster = Cluster::new(Arc::clone(&payload), world);
        let planner = Planner::new(&self.study, &self.description.trainer, &self.header);
        let decides = (self.search(planner), planner);
        Ok((Run::new(&self.study, settings, payload, cluster, chronicle, decides, progress), is_over))
    }

    /// What its drivers start from.
    pub(super) fn start(&self) -> Start {
        let (data, study) = self.blobs();
        Start {
            run: format!("{}-run", self.who),
            kernel: Some(nn::Kernel::PORTABLE.name().to_owned()),
            data: data.manifest.digest(),
            study: study.manifest.digest(),
            search: self.study.search_digest(),
            partitions: vec![1; self.partitions as usize],
        }
    }

    fn chronicle(&self, is_new: bool) -> Result<Chronicle, ChronicleError> {
        let start = self.start();
        let storage: Arc<dyn Storage> = Arc::clone(&self.disk) as Arc<dyn Storage>;
        let objective = self.study.objectives().clone();
        if is_new {
            let first = if self.ladder.is_used() { Vec::new() } else { self.trials.clone() };
            return Chronicle::begin(storage, first, objective, start);
        }
        let (chronicle, torn) = Chronicle::resume(storage, objective, start)?;
        if let Some(torn) = torn {
            self.trace.say(self.who, torn.to_string());
        }
        Ok(chronicle)
    }

    fn blobs(&self) -> (Blob<Bytes>, Blob<Bytes>) {
        let study = Bytes::from(codec::encode(&self.description).unwrap());
        (self.data.clone(), Blob::new(study).unwrap())
    }

    pub(super) fn signals(&self, known: &[String], is_over: bool) -> Signals {
        let (interrupt, interrupted) = mpsc::channel(1);
        let (newcomer, newcomers) = mpsc::channel(16);
        let mut desk = self.desk.lock().unwrap();
        let others: Vec<_> = desk.members.iter().filter(|name| !known.contains(name)).cloned().collect();
        let names = known.iter().cloned().chain(others).filter(|_| !is_over);
        let members = names.collect::<Vec<_>>().iter().map(|name| desk.member(name)).collect();
        (desk.interrupt, desk.newcomers) = (Some(interrupt), Some(newcomer));
        let (_, wishes) = mpsc::channel(1);
        Signals { interrupted, members, newcomers, wishes }
    }

    /// A full disk gets room again, and a process that ended is started again. Anything else is the run's end.
    fn sort(&self, error: &ChronicleError) -> End {
        let reason = error.to_string();
        let is_full = reason.contains("free some space");
        if is_full || self.disk.has_halted.load(Ordering::Relaxed) {
            End::Mendable(reason)
        } else {
            End::Broken(reason)
        }
    }
}

impl Desk {
    fn member(&mut self, name: &str) -> Member {
        let sender = watch::Sender::new(Some(format!("{name}:{PORT}")));
        let whereabouts = sender.subscribe();
        self.senders.push(sender);
        Member { name: name.to_owned(), whereabouts, is_former: false }
    }
}
