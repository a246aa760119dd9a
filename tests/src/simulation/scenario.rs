//! What a seed stands for: a study, a cluster, settings, and what goes wrong when.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use broadsweep_common::metrics::{MetricName, Metrics};
use broadsweep_common::replay::{Replay, ReplayEnd};
use broadsweep_driver::study::CheckpointSettings;
use broadsweep_scheduler::SchedulingConfig;

use super::chance::Chance;
use super::rungs::Ladder;
use super::yields::Yields;

/// What kind of things go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing, but that the driver stands still now and then.
    Calm,
    /// Drivers are killed, crash or are interrupted; executors stay within reach.
    DriverOnly,
    /// Some trainings kill their host or always fail; drivers are killed, too.
    Fates,
    /// Anything.
    Mixed,
}

/// What a trial's training does to its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Ordinary,
    /// Its executor's process ends with it.
    KillsHost,
    /// It fails at once.
    Fails,
}

/// Something that goes wrong, or is mended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Fault {
    Partition(usize),
    PartitionToNode(usize),
    PartitionToDriver(usize),
    /// Messages wait, and come later all at once.
    Hold(usize),
    Mend(usize),
    /// The process ends; its machine says so.
    KillNode(usize),
    /// The machine loses power: nobody says anything.
    CrashNode(usize),
    StartNode(usize),
    Slow(usize, f64),
    Drain(usize),
    /// The driver is told of a node that it did not know.
    Join(usize),
    KillDriver,
    /// The machine of the driver loses power, and with it what was not synced.
    CrashDriver(u64),
    /// The driver ends within the write that comes after so many more; with a seed, its machine does.
    HaltDriver(u64, Option<u64>),
    /// Likewise, but right after that write: it is whole, and what follows from it does not happen.
    EndDriver(u64, Option<u64>),
    StartDriver,
    Interrupt,
    /// The loop of the driver does nothing for a while: its process is stopped, or its disk stalls.
    FreezeDriver,
    ThawDriver,
    /// So many bytes are left.
    FillDisk(u64),
    FreeDisk,
    StartRival,
    KillRival,
}

/// Whether a machine can train at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Health {
    Sound,
    /// Its process ends with whatever is launched there; to the driver it may be the same process that comes back.
    DiesAtLaunch {
        comes_back_the_same: bool,
    },
}

/// A machine of the cluster.
#[derive(Clone, Copy, Debug)]
pub(super) struct NodePlan {
    pub(super) slots: u32,
    pub(super) slowness: f64,
    pub(super) health: Health,
    /// Whether it computes other numbers than the others do, and always the same ones.
    pub(super) is_odd: bool,
    /// Whether it runs from the beginning.
    pub(super) starts_early: bool,
    /// Whether the driver knows it from the beginning.
    pub(super) is_member: bool,
}

/// What a machine is called.
pub(super) fn node_name(number: usize) -> String {
    format!("e{number}")
}

/// A world.
#[derive(Clone, Debug)]
pub(super) struct Scenario {
    pub(super) seed: u64,
    pub(super) kind: Kind,
    pub(super) tick: Duration,
    pub(super) latency: Duration,
    pub(super) trials: Vec<Replay>,
    pub(super) fates: Vec<Fate>,
    pub(super) nodes: Vec<NodePlan>,
    pub(super) scheduling: SchedulingConfig,
    pub(super) checkpoints: CheckpointSettings,
    pub(super) orphan_timeout: Duration,
    pub(super) vault_ms: u64,
    pub(super) lies: u32,
    pub(super) rival_takes_over: bool,
    /// Whether a driver that was started again may soon end again.
    pub(super) relapses: bool,
    pub(super) ladder: Arc<Ladder>,
    /// Whether each act of the driver is held against what is durable then.
    pub(super) is_guarded: bool,
    pub(super) yields: Yields,
    /// Rows of the data set, 1 KiB each.
    pub(super) rows: usize,
    /// Tasks of a third kind.
    pub(super) partitions: u32,
    pub(super) agenda: Vec<(Duration, Fault)>,
    /// From then on nothing goes wrong any more.
    pub(super) healed_at: Duration,
}

impl Scenario {
    pub(super) fn new(seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        let kind = match chance.below(20) {
            0 | 1 => Kind::Calm,
            2..=6 => Kind::DriverOnly,
            7..=9 => Kind::Fates,
            _ => Kind::Mixed,
        };
        let is_wide = kind != Kind::Fates && chance.one_in(8);
        let count = if is_wide { chance.whole(60, 160) } else { chance.whole(5, 40) };
        let trials: Vec<_> = (0..count).map(|number| replay(&mut chance, number)).collect();
        let nodes = nodes(&mut chance, kind, is_wide);
        let mut fates = vec![Fate::Ordinary; trials.len()];
        if kind == Kind::Fates {
            let trial = chance.below(trials.len());
            fates[trial] = Fate::KillsHost;
            fates[(trial + 1) % trials.len()] = Fate::Fails;
        }
        let slots: u32 = nodes.iter().filter(|node| node.starts_early).map(|node| node.slots).sum();
        let waits: Duration = trials.iter().map(|trial| trial.wait).sum();
        let window = (waits.as_secs_f64() / f64::from(slots.max(1)) * 1.5).clamp(8.0, 90.0);
        let mut scenario = Self {
            seed,
            kind,
            tick: Duration::from_millis(chance.whole(5, 20)),
            latency: Duration::from_millis(chance.whole(1, 80)),
            trials,
            fates,
            scheduling: scheduling(&mut chance, kind),
            checkpoints: CheckpointSettings {
                interval_ms: [0, 0, 500, 5000][chance.below(4)],
                bytes_per_s: [64 << 20, 64 << 20, 20, 0][chance.below(4)],
            },
            orphan_timeout: match kind {
                Kind::Mixed => chance.seconds(8.0, 60.0),
                _ => Duration::from_mins(10),
            },
            vault_ms: [0, 20, 500][chance.below(3)],
            lies: if kind == Kind::Mixed { [0, 6, 16][chance.below(3)] } else { 0 },
            rival_takes_over: chance.one_in(2),
            relapses: kind != Kind::Calm && chance.one_in(2),
            ladder: Arc::default(),
            is_guarded: chance.one_in(3),
            yields: Yields::default(),
            rows: 0,
            partitions: 0,
            agenda: Vec::new(),
            healed_at: Duration::from_secs_f64(window),
            nodes,
        };
        scenario.plan_faults(&mut chance);
        if chance.one_in(2) {
            scenario.ladder = Arc::new(ladder(&mut chance, &scenario.trials));
        }
        scenario.partitions = if chance.one_in(2) { chance.whole(1, 12) as u32 } else { 0 };
        scenario.yields = Yields::draw(&mut chance);
        if chance.one_in(3) {
            scenario.rows = chance.log_range(1.0, 4e3) as usize;
        }
        let others = scenario.nodes.len() - 1;
        if kind == Kind::Mixed && others > 0 && chance.one_in(4) {
            let sick = 1 + chance.below(others);
            scenario.nodes[sick].health = Health::DiesAtLaunch { comes_back_the_same: chance.one_in(2) };
        } else if kind == Kind::Mixed && others > 0 && chance.one_in(3) {
            // Where others lie about it, nobody could tell who is odd.
            scenario.lies = 0;
            let odd = chance.below(scenario.nodes.len());
            scenario.nodes[odd].is_odd = true;
        }
        scenario.draw_clock(&mut chance);
        scenario
    }

    /// By what the moments of its search are counted, if that goes on.
    fn draw_clock(&mut self, chance: &mut Chance) {
        if self.ladder.is_used() && chance.one_in(2) {
            // In the unit of what trials cost: microseconds that they wait.
            Arc::make_mut(&mut self.ladder).lag = NonZeroU64::new(chance.log_range(1e3, 1e7) as u64);
        }
    }

    /// The name of the machine that computes other numbers, if there is one.
    pub(super) fn odd_node(&self) -> Option<String> {
        self.nodes.iter().position(|node| node.is_odd).map(node_name)
    }

    /// A small world, always the same, with all kinds of tasks: nothing goes wrong but what `faults` say from the very
    /// beginning on.
    pub(super) fn small(faults: &[Fault]) -> Self {
        let (seed, mut chance) = (0, Chance::new(7));
        let mut trials: Vec<_> = (0..6).map(|number| replay(&mut chance, number)).collect();
        for trial in &mut trials {
            trial.wait = trial.wait.min(Duration::from_secs(2));
        }
        let node = NodePlan {
            slots: 2,
            slowness: 1.0,
            health: Health::Sound,
            is_odd: false,
            starts_early: true,
            is_member: true,
        };
        Self {
            seed,
            kind: Kind::DriverOnly,
            tick: Duration::from_millis(10),
            latency: Duration::from_millis(5),
            fates: vec![Fate::Ordinary; trials.len()],
            ladder: Arc::new(Ladder { has_control: true, ..ladder(&mut chance, &trials) }),
            trials,
            nodes: vec![node; 2],
            scheduling: scheduling(&mut chance, Kind::DriverOnly),
            checkpoints: CheckpointSettings { interval_ms: 0, bytes_per_s: 64 << 20 },
            orphan_timeout: Duration::from_mins(10),
            vault_ms: 20,
            lies: 0,
            rival_takes_over: false,
            relapses: false,
            is_guarded: true,
            yields: Yields { checkpoint_bytes: 16, weights_bytes: Some(100) },
            rows: 1,
            partitions: 2,
            agenda: faults.iter().map(|fault| (Duration::ZERO, *fault)).collect(),
            healed_at: Duration::from_mins(1),
        }
    }

    fn plan_faults(&mut self, chance: &mut Chance) {
        let window = self.healed_at.as_secs_f64();
        let count = match self.kind {
            Kind::Calm => chance.whole(0, 3),
            Kind::DriverOnly => chance.whole(2, 10),
            Kind::Fates => chance.whole(0, 4),
            Kind::Mixed => chance.whole(1, 12),
        };
        for _ in 0..count {
            // What kills its hosts has soon done so.
            let at = chance.seconds(0.0, if self.kind == Kind::Fates { window.min(12.0) } else { window });
            let fault = match self.kind {
                Kind::Calm => Fault::FreezeDriver,
                Kind::DriverOnly | Kind::Fates => driver_fault(chance),
                Kind::Mixed => self.any_fault(chance),
            };
            self.agenda.push((at, fault));
            let later = at
                + if self.kind == Kind::Calm {
                    chance.seconds(1.0, 200.0)
                } else {
                    chance.seconds(0.05, window / 2.0)
                };
            if let Some(repair) = repair_of(fault) {
                self.agenda.push((later, repair));
            }
        }
        for (number, node) in self.nodes.iter().enumerate() {
            if !node.starts_early {
                self.agenda.push((chance.seconds(0.5, window), Fault::StartNode(number)));
            }
            if !node.is_member {
                self.agenda.push((chance.seconds(0.5, window), Fault::Join(number)));
            }
        }
        if self.kind == Kind::Calm {
            self.healed_at = self.agenda.iter().map(|(at, _)| *at).fold(self.healed_at, Duration::max);
        }
        // Stable: what was planned first comes first.
        self.agenda.sort_by_key(|(at, _)| *at);
    }

    fn any_fault(&self, chance: &mut Chance) -> Fault {
        let node = chance.below(self.nodes.len());
        match chance.below(20) {
            0 | 1 => Fault::Partition(node),
            2 => Fault::PartitionToNode(node),
            3 => Fault::PartitionToDriver(node),
            4 | 5 => Fault::Hold(node),
            6 | 7 => Fault::KillNode(node),
            8 => Fault::CrashNode(node),
            9 | 10 => Fault::Slow(node, chance.log_range(2.0, 500.0)),
            11 => Fault::Drain(node),
            12 => Fault::FillDisk(chance.whole(0, 300)),
            13 => Fault::StartRival,
            _ => driver_fault(chance),
        }
    }
}

fn driver_fault(chance: &mut Chance) -> Fault {
    match chance.below(10) {
        0 => Fault::Interrupt,
        1 => Fault::FreezeDriver,
        2 | 3 => Fault::KillDriver,
        4 => Fault::CrashDriver(chance.next()),
        5 | 6 => Fault::HaltDriver(operations(chance), chance.one_in(2).then(|| chance.next())),
        _ => Fault::EndDriver(operations(chance), chance.one_in(2).then(|| chance.next())),
    }
}

/// Often few: within a commit, or what a driver does first.
fn operations(chance: &mut Chance) -> u64 {
    if chance.one_in(2) { chance.whole(0, 8) } else { chance.log_range(1.0, 400.0) as u64 }
}

fn repair_of(fault: Fault) -> Option<Fault> {
    match fault {
        Fault::Partition(node)
        | Fault::PartitionToNode(node)
        | Fault::PartitionToDriver(node)
        | Fault::Hold(node) => Some(Fault::Mend(node)),
        Fault::KillNode(node) | Fault::CrashNode(node) | Fault::Drain(node) => Some(Fault::StartNode(node)),
        Fault::Slow(node, _) => Some(Fault::Slow(node, 1.0)),
        Fault::FillDisk(_) => Some(Fault::FreeDisk),
        Fault::StartRival => Some(Fault::KillRival),
        Fault::FreezeDriver => Some(Fault::ThawDriver),
        _ => None,
    }
}

fn replay(chance: &mut Chance, number: u64) -> Replay {
    let wait = Duration::from_secs_f64(chance.log_range(0.05, 20.0));
    let epochs = chance.whole(1, 6) as u32;
    if chance.one_in(10) {
        return Replay { wait, epochs: epochs - 1, end: ReplayEnd::Diverged };
    }
    let error = chance.share();
    let epoch = if chance.one_in(3) { chance.whole(1, u64::from(epochs)) as u32 } else { epochs };
    let metrics = Metrics::from_iter([
        (MetricName::LEARNING_RATE, 1.0 / (number + 1) as f64),
        (MetricName::TRAINING_LOSS, chance.share() * 2.0),
        (MetricName::VALIDATION_LOSS, error * 1.5),
        (MetricName::VALIDATION_ERROR, error),
    ]);
    Replay { wait, epochs, end: ReplayEnd::Complete { epoch, metrics } }
}

/// A trial pauses after some of its epochs, but not after its last one.
fn ladder(chance: &mut Chance, trials: &[Replay]) -> Ladder {
    let rungs: Vec<Vec<u32>> =
        trials.iter().map(|trial| (1..trial.epochs_begun()).filter(|_| chance.one_in(2)).collect()).collect();
    let abandoned = rungs.iter().map(|rungs| !rungs.is_empty() && chance.one_in(4)).collect();
    Ladder {
        rungs,
        abandoned,
        open_max: chance.whole(1, trials.len() as u64 / 2) as usize,
        has_control: chance.one_in(2),
        lag: None,
    }
}

/// In a wide world, nodes have as many slots as large machines have cores.
fn nodes(chance: &mut Chance, kind: Kind, is_wide: bool) -> Vec<NodePlan> {
    let count = if kind == Kind::Fates { chance.whole(2, 6) } else { chance.whole(1, 6) };
    let nodes = (0..count).map(|number| {
        let is_first = number == 0 || kind != Kind::Mixed;
        NodePlan {
            // What a training does to its host it must not do to another's losses.
            slots: match kind {
                Kind::Fates => 1,
                _ if is_wide => chance.whole(8, 64) as u32,
                _ => chance.whole(1, 4) as u32,
            },
            slowness: if chance.one_in(3) { chance.log_range(0.7, 3.0) } else { 1.0 },
            health: Health::Sound,
            is_odd: false,
            starts_early: is_first || !chance.one_in(5),
            is_member: is_first || !chance.one_in(5),
        }
    });
    nodes.collect()
}

fn scheduling(chance: &mut Chance, kind: Kind) -> SchedulingConfig {
    let (is_mixed, is_calm) = (kind == Kind::Mixed, kind == Kind::Calm);
    // Where others decide how often a trial is tried, no number of tries is too many.
    let (failures_max, losses_max) =
        if kind == Kind::Fates { (chance.whole(1, 4) as u32, chance.whole(1, 4) as u32) } else { (1000, 1000) };
    SchedulingConfig {
        failures_max,
        losses_max,
        backoff_ms: [0, 100, 1000][chance.below(3)],
        exclude_after: if is_mixed { chance.whole(1, 4) as u32 } else { 1000 },
        probe_ms: chance.whole(200, 2000),
        reconnect_ms: if is_mixed { [0, 500, 3000, 10_000][chance.below(4)] } else { 10_000 },
        hang_factor: if is_mixed || is_calm { chance.log_range(3.0, 30.0) } else { 1000.0 },
        // Longer than any epoch on a node that is not slow, and where nothing goes wrong on one that is: otherwise a
        // lone trial would hang for ever.
        hang_ms_min: match kind {
            Kind::Mixed => chance.whole(22_000, 60_000),
            Kind::Calm => chance.whole(61_000, 90_000),
            Kind::DriverOnly | Kind::Fates => 3_600_000,
        },
        copies: is_mixed && chance.one_in(2),
    }
}
