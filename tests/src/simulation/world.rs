//! All of a world together: its hosts, its time, and what goes wrong in it.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use broadsweep_common::ids::Digest;
use tempfile::TempDir;
use turmoil::Sim;

use super::chance::Chance;
use super::driver::Campaign;
use super::node::{self, Node};
use super::oracle;
use super::scenario::{Fault, Scenario, node_name};
use super::slots::Malice;
use super::studies::{DRIVER, RIVAL, campaign};
use super::trace::Trace;
use super::truth::Truth;
use super::{RunFolder, Verdict};

/// Beyond what its trainings take in all, a run may take so long after everything was mended.
const PATIENCE: Duration = Duration::from_mins(10);

/// A message is under way for so long at least.
const LATENCY_MIN: Duration = Duration::from_millis(1);

/// One world.
pub(super) struct World {
    scenario: Scenario,
    sim: Sim<'static>,
    chance: Chance,
    nodes: Arc<Vec<Arc<Node>>>,
    driver: Arc<Campaign>,
    rival: Arc<Campaign>,
    trace: Arc<Trace>,
    truth: Arc<Truth>,
    malice: Arc<Malice>,
    /// What is planned, the next one last.
    agenda: Vec<(Duration, Fault)>,
    is_healed: bool,
    /// What becomes of the disk when the driver ends within a write: its machine may end with it.
    halt_seed: Option<u64>,
    /// The executors' caches go with it.
    _folder: TempDir,
}

impl World {
    pub(super) fn new(scenario: Scenario) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let trace = Arc::new(Trace::default());
        trace.say("world", format!("{scenario:?}"));
        let mut chance = Chance::new(!scenario.seed);
        let truth = Arc::new(Truth::new(Arc::clone(&trace)));
        let nodes = scenario.nodes.iter().enumerate().map(|(number, plan)| {
            let name = node_name(number);
            let node = Node::new(name.clone(), plan, folder.path().join(name), &scenario);
            node.is_on.store(plan.starts_early, Ordering::Relaxed);
            node.slow_down(plan.slowness);
            Arc::new(node)
        });
        let nodes: Arc<Vec<_>> = Arc::new(nodes.collect());
        let driver = campaign(DRIVER, &scenario, scenario.trials.clone(), &nodes, &trace, chance.next());
        let few = scenario.trials.iter().take(3).cloned().collect();
        let rival = campaign(RIVAL, &scenario, few, &nodes, &trace, chance.next());
        let names = |is_member: &dyn Fn(usize) -> bool| {
            let members = nodes.iter().enumerate().filter(|(number, _)| is_member(*number));
            members.map(|(_, node)| node.name.clone()).collect()
        };
        driver.desk.lock().unwrap().members = names(&|number| scenario.nodes[number].is_member);
        rival.desk.lock().unwrap().members = names(&|_| true);
        rival.takes_over.store(scenario.rival_takes_over, Ordering::Relaxed);
        driver.is_on.store(true, Ordering::Relaxed);
        let malice = Malice {
            study: driver.study.seed,
            fates: scenario.fates.clone(),
            lies: AtomicU32::new(scenario.lies),
            chance: Mutex::new(Chance::new(chance.next())),
        };
        let agenda = scenario.agenda.iter().rev().copied().collect();
        let mut world = Self {
            sim: sim(&scenario),
            scenario,
            chance,
            nodes,
            driver,
            rival,
            trace,
            truth,
            malice: Arc::new(malice),
            agenda,
            is_healed: false,
            halt_seed: None,
            _folder: folder,
        };
        world.add_hosts();
        world
    }

    fn add_hosts(&mut self) {
        for node in self.nodes.iter() {
            let parts =
                (Arc::clone(node), Arc::clone(&self.trace), Arc::clone(&self.truth), Arc::clone(&self.malice));
            let nodes = Arc::clone(&self.nodes);
            self.sim.host(node.name.as_str(), move || {
                let (node, trace, truth, malice) = parts.clone();
                node::software(node, trace, truth, malice, Arc::clone(&nodes))
            });
        }
        for campaign in [&self.driver, &self.rival] {
            let campaign = Arc::clone(campaign);
            self.sim.host(campaign.who, move || Arc::clone(&campaign).software());
        }
    }

    /// Lives until the run is over, and checks it.
    pub(super) fn run(mut self) -> Verdict {
        let waits: Duration = self.scenario.trials.iter().map(|trial| trial.wait).sum();
        let end = self.scenario.healed_at + waits * 4 + PATIENCE;
        self.strike_what_is_due(Duration::ZERO);
        while !self.driver.is_over() && self.trace.violations().is_empty() {
            self.step();
            if self.sim.elapsed() > end {
                self.trace.violate("the run is not over although all was mended long ago");
            }
        }
        let outcome = self.driver.desk.lock().unwrap().outcome.clone();
        let [moved, applied, measured] = outcome.as_ref().map_or([0; 3], |outcome| oracle::counts(&outcome.record));
        if let Some(outcome) = outcome {
            oracle::check(&self.scenario, &self.driver, &outcome, &self.truth, &self.trace);
            self.check_that_executors_are_free();
            oracle::check_read(&self.driver, &outcome.record, &self.trace);
            self.reopen(&outcome.record);
        }
        let journal = self.driver.disk.memory.journal().unwrap_or_default();
        let traces = [self.trace.digest().0, Digest::of(&journal).0].concat();
        Verdict {
            seed: self.scenario.seed,
            violations: self.trace.violations(),
            lines: self.trace.lines(),
            trace: Digest::of(&traces),
            simulated: self.sim.elapsed(),
            moved,
            applied,
            measured,
            writes: self.driver.disk.memory.operations(),
            left: RunFolder { study: self.driver.study.text().to_owned(), start: self.driver.start(), journal },
        }
    }

    /// What was told that the run is over, or was left alone for long enough, trains nothing of it any more.
    fn check_that_executors_are_free(&mut self) {
        self.agenda.clear();
        self.heal();
        let patience = if self.truth_running().is_empty() { Duration::ZERO } else { self.scenario.orphan_timeout };
        let until = self.sim.elapsed() + patience.min(Duration::from_mins(1)) + Duration::from_secs(25);
        while self.sim.elapsed() < until && !self.truth_running().is_empty() {
            self.step();
        }
        let running = self.truth_running();
        if !running.is_empty() {
            self.trace.violate(format!("{running:?} still run although the run is over"));
        }
    }

    fn truth_running(&self) -> Vec<broadsweep_common::ids::AttemptId> {
        self.truth.running(self.driver.study.seed, |name, process| {
            self.nodes.iter().any(|node| node.name == name && node.is_alive() && node.process() == process)
        })
    }

    fn reopen(&mut self, record: &broadsweep_driver::records::run::RunRecord) {
        self.driver.disk.restart();
        self.driver.disk.memory.crash(self.chance.next());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(oracle::check_reopened(&self.scenario, &self.driver, record, &self.trace));
    }

    fn step(&mut self) {
        if let Err(error) = self.sim.step() {
            self.trace.violate(format!("a host failed: {error}"));
        }
        let now = self.sim.elapsed();
        self.trace.set_time(now);
        for number in 0..self.nodes.len() {
            let node = Arc::clone(&self.nodes[number]);
            if node.has_left.swap(false, Ordering::Relaxed) {
                node.is_on.store(false, Ordering::Relaxed);
                self.end_host(&node.name, true);
                if self.is_healed {
                    self.plan(Duration::from_secs(1), Fault::StartNode(number));
                }
            }
            if node.is_dying.swap(false, Ordering::Relaxed) {
                self.strike(Fault::KillNode(number));
                // Before the driver dials again, if it is not to notice.
                let longest_s = if node.comes_back_the_same() { 0.05 } else { 2.0 };
                let later = self.chance.seconds(0.0, longest_s);
                self.plan(later, Fault::StartNode(number));
            }
        }
        if self.driver.disk.has_halted.load(Ordering::Relaxed) && self.driver.is_on.load(Ordering::Relaxed) {
            match self.halt_seed {
                Some(seed) => self.crash_driver(seed),
                None => self.end_driver(),
            }
        }
        self.strike_what_is_due(now);
        if now >= self.scenario.healed_at && !self.is_healed {
            self.heal();
        }
    }

    fn strike_what_is_due(&mut self, now: Duration) {
        while self.agenda.last().is_some_and(|(at, _)| *at <= now) {
            if let Some((_, fault)) = self.agenda.pop() {
                self.strike(fault);
            }
        }
    }

    /// Ends all that runs on a host, then starts its software anew if `starts`. The order in which a runtime drops its
    /// tasks is not the seed's: what their connections send at their end is under way for as long, whatever that was.
    fn end_host(&mut self, name: &str, starts: bool) {
        let is_node = self.nodes.iter().any(|node| node.name == name);
        let nodes = self.nodes.iter().map(|node| node.name.clone());
        let others: Vec<_> = if is_node { vec![DRIVER.to_owned(), RIVAL.to_owned()] } else { nodes.collect() };
        for other in &others {
            self.sim.set_link_latency(name, other.as_str(), LATENCY_MIN);
        }
        if starts {
            self.sim.bounce(name);
        } else {
            self.sim.crash(name);
        }
        for other in &others {
            self.sim.set_link_max_message_latency(name, other.as_str(), self.scenario.latency);
        }
    }

    fn plan(&mut self, later: Duration, fault: Fault) {
        let at = self.sim.elapsed() + later;
        let place = self.agenda.partition_point(|(planned, _)| *planned > at);
        self.agenda.insert(place, (at, fault));
    }

    /// Something goes wrong, or is mended.
    fn strike(&mut self, fault: Fault) {
        self.trace.say("world", format!("{fault:?}"));
        match fault {
            Fault::Partition(node) => self.cut(node, |sim, node| sim.partition(node, DRIVER)),
            Fault::PartitionToNode(node) => self.cut(node, |sim, node| sim.partition_oneway(DRIVER, node)),
            Fault::PartitionToDriver(node) => self.cut(node, |sim, node| sim.partition_oneway(node, DRIVER)),
            Fault::Hold(node) => self.cut(node, |sim, node| sim.hold(node, DRIVER)),
            Fault::Mend(node) => self.mend(node),
            Fault::KillNode(node) => self.kill_node(node),
            Fault::CrashNode(node) => self.crash_node(node),
            Fault::StartNode(node) => self.start_node(node),
            Fault::Slow(node, factor) => self.nodes[node].slow_down(factor * self.scenario.nodes[node].slowness),
            Fault::Drain(node) => self.nodes[node].drain(),
            Fault::Join(node) => self.driver.join(&self.nodes[node].name),
            Fault::KillDriver => self.end_driver(),
            Fault::CrashDriver(seed) => self.crash_driver(seed),
            Fault::HaltDriver(operations, seed) => {
                self.halt_seed = seed;
                self.driver.disk.memory.halt_after(operations);
            }
            Fault::EndDriver(operations, seed) => {
                self.halt_seed = seed;
                self.driver.disk.end_after(operations);
            }
            Fault::StartDriver => self.start_driver(),
            Fault::Interrupt => self.driver.interrupt(),
            Fault::FreezeDriver => self.driver.ice.freeze(),
            Fault::ThawDriver => self.driver.ice.thaw(),
            Fault::FillDisk(room) => {
                let used = self.driver.disk.memory.journal().map_or(0, |journal| journal.len() as u64);
                self.driver.disk.memory.set_capacity(used + room);
            }
            Fault::FreeDisk => self.driver.disk.memory.set_capacity(u64::MAX),
            Fault::StartRival => self.start_rival(),
            Fault::KillRival => self.kill_rival(),
        }
    }

    fn cut(&mut self, node: usize, how: impl FnOnce(&Sim<'_>, &str)) {
        // One thing at a time for each link: the simulated network knows no more.
        if self.nodes[node].is_near.swap(false, Ordering::Relaxed) {
            how(&self.sim, &self.nodes[node].name);
        }
    }

    fn mend(&self, node: usize) {
        let node = &self.nodes[node];
        if !node.is_near.swap(true, Ordering::Relaxed) {
            self.sim.repair(node.name.as_str(), DRIVER);
            self.sim.release(node.name.as_str(), DRIVER);
        }
    }

    fn kill_node(&mut self, node: usize) {
        let node = Arc::clone(&self.nodes[node]);
        if node.is_on.swap(false, Ordering::Relaxed) {
            self.end_host(&node.name, true);
        }
    }

    /// No packet says that the machine is gone: what its connections send at their end is lost.
    fn crash_node(&mut self, number: usize) {
        let node = Arc::clone(&self.nodes[number]);
        if node.is_on.swap(false, Ordering::Relaxed) {
            node.is_powered.store(false, Ordering::Relaxed);
            let was_near = node.is_near.load(Ordering::Relaxed);
            for other in [DRIVER, RIVAL] {
                if was_near || other == RIVAL {
                    self.sim.partition(node.name.as_str(), other);
                }
            }
            self.end_host(&node.name, false);
            for other in [DRIVER, RIVAL] {
                if was_near || other == RIVAL {
                    self.sim.repair(node.name.as_str(), other);
                }
            }
        }
    }

    fn start_node(&mut self, node: usize) {
        let node = Arc::clone(&self.nodes[node]);
        if !node.is_on.swap(true, Ordering::Relaxed) {
            node.is_powered.store(true, Ordering::Relaxed);
            self.end_host(&node.name, true);
        }
    }

    /// The driver's process is gone; a person starts the next one some time later.
    fn end_driver(&mut self) {
        if !self.driver.is_on.swap(false, Ordering::Relaxed) || self.driver.is_over() {
            return;
        }
        self.end_host(DRIVER, true);
        self.driver.ice.thaw();
        self.driver.forget_driver();
        self.driver.disk.restart();
        let later = self.chance.seconds(0.05, 5.0);
        self.plan(later, Fault::StartDriver);
        if self.scenario.relapses && !self.is_healed && self.chance.one_in(2) {
            let seed = self.chance.one_in(2).then(|| self.chance.next());
            let relapse = Fault::EndDriver(self.chance.whole(0, 12), seed);
            self.plan(later, relapse);
        }
    }

    fn crash_driver(&mut self, seed: u64) {
        let near: Vec<_> =
            self.nodes.iter().filter(|node| node.is_near.load(Ordering::Relaxed)).map(Arc::clone).collect();
        for node in &near {
            self.sim.partition(node.name.as_str(), DRIVER);
        }
        self.end_driver();
        self.driver.disk.memory.crash(seed);
        for node in &near {
            self.sim.repair(node.name.as_str(), DRIVER);
        }
    }

    fn start_driver(&mut self) {
        if !self.driver.is_on.swap(true, Ordering::Relaxed) {
            self.end_host(DRIVER, true);
        }
    }

    fn start_rival(&mut self) {
        if !self.rival.is_on.swap(true, Ordering::Relaxed) {
            self.end_host(RIVAL, true);
        }
    }

    fn kill_rival(&mut self) {
        if self.rival.is_on.swap(false, Ordering::Relaxed) {
            self.end_host(RIVAL, true);
            self.rival.forget_driver();
        }
    }

    /// From now on nothing goes wrong.
    fn heal(&mut self) {
        self.is_healed = true;
        self.trace.say("world", "all is mended");
        self.agenda.retain(|(_, fault)| matches!(fault, Fault::StartDriver | Fault::StartNode(_) | Fault::Join(_)));
        self.malice.lies.store(0, Ordering::Relaxed);
        self.kill_rival();
        self.driver.ice.thaw();
        self.driver.disk.memory.set_capacity(u64::MAX);
        self.driver.takes_over.store(true, Ordering::Relaxed);
        for number in 0..self.nodes.len() {
            self.mend(number);
            self.start_node(number);
            self.nodes[number].slow_down(1.0);
            self.nodes[number].cure();
        }
    }
}

fn sim(scenario: &Scenario) -> Sim<'static> {
    turmoil::Builder::new()
        .rng_seed(scenario.seed)
        .epoch(SystemTime::UNIX_EPOCH)
        .tick_duration(scenario.tick)
        .min_message_latency(LATENCY_MIN)
        .max_message_latency(scenario.latency)
        .simulation_duration(Duration::MAX)
        .tcp_capacity(1024)
        .build()
}
