//! What the order in virtual time costs: the time that a study takes in it, over the time of free asynchronous search on
//! the same executors, where planned costs are more or less wrong. Nothing is trained, and no clock is read.
//!
//! `cargo run --release -p broadsweep-search --example virtual_time_cost` makes its trials up. With a file of what real
//! trainings took, each trial takes what one of them did, and plans are as wrong as each row says:
//! `tests/rivals/order.sh` makes that file. A line of it is a table: its name, and then seconds, with blanks between them.

use std::num::{NonZeroU32, NonZeroU64};
use std::ops::Range;
use std::sync::Arc;

use broadsweep_common::configuration::{Configuration, Value};
use broadsweep_common::metrics::Metrics;
use broadsweep_common::task::Segment;
use broadsweep_search::virtual_time::{LAG_DRAWS, lag};
use broadsweep_search::{
    Decision, EpochEnd, Origin, PlannedCosts, Running, Search, SearchClock, Seen, SegmentEnd, Timeline, VirtualTime,
};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Workers of a cluster, the most last: on fewer, only the rows that say so are played.
const WORKERS: [usize; 3] = [1, 2, 13];
/// Trials of a study, a table each.
const TRIALS: [u32; 3] = [50, 100, 200];
const EPOCHS: u32 = 20;
const SEEDS: u64 = 40;
/// The same of each table.
const TABLE_SEEDS: u64 = 10;
/// Virtual slots, a column each.
const SLOTS: [u32; 3] = [13, 16, 39];
/// The planned cost of an epoch where all trials have the same; of trainings in a table, that of the middle one.
const EPOCH_COST: f64 = 1000.0;

/// How far the true times are from the planned ones.
#[derive(Clone, Copy)]
enum Error {
    /// A factor whose logarithm is normal, with this standard deviation.
    Lognormal(f64),
    /// As likely as not, this factor.
    Half(f64),
    /// A factor from its inverse to itself, evenly in the logarithm.
    UpTo(f64),
}

/// A row of the table.
struct Case {
    name: &'static str,
    error: Error,
    /// Planned costs differ by up to this factor, evenly in the logarithm.
    spread: f64,
    /// What one of the workers does while the others do 1.
    slowest: f64,
    /// The share of trials that are cut, in any of their epochs.
    cut: f64,
}

/// What real trainings took, each in parts of what the middle one did.
struct Table {
    name: String,
    took: Vec<f64>,
}

const CASES: [Case; 9] = [
    Case { name: "planned costs are true", error: Error::Lognormal(0.0), spread: 10.0, slowest: 1.0, cut: 0.0 },
    Case { name: "off by sigma 0.3", error: Error::Lognormal(0.3), spread: 10.0, slowest: 1.0, cut: 0.0 },
    Case { name: "off by sigma 1", error: Error::Lognormal(1.0), spread: 10.0, slowest: 1.0, cut: 0.0 },
    Case { name: "half take ten times as long", error: Error::Half(10.0), spread: 10.0, slowest: 1.0, cut: 0.0 },
    Case {
        name: "off by up to ten times, either way",
        error: Error::UpTo(10.0),
        spread: 10.0,
        slowest: 1.0,
        cut: 0.0,
    },
    Case {
        name: "off by sigma ln 10",
        error: Error::Lognormal(std::f64::consts::LN_10),
        spread: 10.0,
        slowest: 1.0,
        cut: 0.0,
    },
    Case { name: "default cost, true spread 0.8", error: Error::Lognormal(0.8), spread: 1.0, slowest: 1.0, cut: 0.0 },
    Case {
        name: "one worker at a quarter, sigma 0.3",
        error: Error::Lognormal(0.3),
        spread: 10.0,
        slowest: 0.25,
        cut: 0.0,
    },
    Case { name: "30 % cut, sigma 0.3", error: Error::Lognormal(0.3), spread: 10.0, slowest: 1.0, cut: 0.3 },
];

/// What a trial is planned to cost, what it takes, and the epoch in which it is cut, if it is.
#[derive(Clone, Copy)]
struct Trial {
    cost: NonZeroU64,
    epoch_s: f64,
    cut_in: Option<u32>,
}

/// The trials of a study, by number.
#[derive(Clone)]
struct Trials(Arc<[Trial]>);

fn even(rng: &mut ChaCha8Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
}

/// By Box and Muller (1958).
fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let radius = libm::sqrt(-2.0 * libm::log(1.0 - even(rng)));
    radius * libm::cos(std::f64::consts::TAU * even(rng))
}

impl Error {
    fn factor(self, rng: &mut ChaCha8Rng) -> f64 {
        match self {
            Self::Lognormal(sigma) => libm::exp(sigma * normal(rng)),
            Self::Half(factor) => [1.0, factor][(rng.next_u64() % 2) as usize],
            Self::UpTo(factor) => libm::pow(factor, 2.0 * even(rng) - 1.0),
        }
    }
}

impl Case {
    /// Whether it is played on fewer workers, too.
    fn is_of_all_sizes(&self) -> bool {
        matches!(self.error, Error::Lognormal(0.3)) && self.slowest >= 1.0 && self.cut <= 0.0
    }

    fn trial(&self, table: Option<&Table>, rng: &mut ChaCha8Rng) -> Trial {
        let drawn = even(rng);
        let factor = self.error.factor(rng);
        let (epoch_cost, epoch_s) = match table {
            None => {
                let epoch_cost = EPOCH_COST * libm::pow(self.spread, drawn);
                (epoch_cost, epoch_cost * factor)
            }
            Some(Table { took, .. }) => {
                let epoch_s = EPOCH_COST * took[(drawn * took.len() as f64) as usize];
                // Where all are planned alike, what they take is as far apart as it is.
                (if self.spread > 1.0 { epoch_s / factor } else { EPOCH_COST }, epoch_s)
            }
        };
        let cost = (epoch_cost * f64::from(EPOCHS)) as u64;
        let cut_in = 1 + (rng.next_u64() % u64::from(EPOCHS)) as u32;
        let is_cut = even(rng) < self.cut && cut_in < EPOCHS;
        Trial { cost: NonZeroU64::MIN.saturating_add(cost), epoch_s, cut_in: is_cut.then_some(cut_in) }
    }
}

impl Trials {
    fn of(&self, configuration: &Configuration) -> Option<Trial> {
        let Some(Value::Integer(number)) = configuration.get("number") else { return None };
        self.0.get(*number as usize).copied()
    }
}

impl PlannedCosts for Trials {
    fn epochs(&self, _: &Configuration) -> NonZeroU32 {
        NonZeroU32::MIN.saturating_add(EPOCHS - 1)
    }

    fn cost(&self, configuration: &Configuration, _: Range<u32>) -> NonZeroU64 {
        self.of(configuration).map_or(NonZeroU64::MIN, |trial| trial.cost)
    }
}

/// Starts one trial after the other: like samplers that learn from results, it never waits.
struct InTurn {
    started: u32,
    trials: u32,
}

impl Search for InTurn {
    fn next(&mut self, _: VirtualTime, _: &[Seen], _: &dyn Running) -> Decision {
        if self.started == self.trials {
            return Decision::Ended;
        }
        let configuration = Configuration::from_iter([("number", Value::Integer(self.started.into()))]);
        let origin = Origin::Point(self.started.into());
        self.started += 1;
        Decision::Start { configuration, origin, until_epoch: None }
    }

    fn recall(&mut self, _: &Decision) {}
}

/// A worker: how long everything takes it, and the segment that it is at work on with its next epoch and when that ends.
struct Worker {
    slowness: f64,
    at_work: Option<(Segment, u32, f64)>,
}

/// How long a study takes: each segment goes to the fastest idle worker, in the order in which they are decided.
fn makespan_s(case: &Case, workers: usize, trials: &Trials, clock: SearchClock, slots: u32) -> f64 {
    let slots = NonZeroU32::MIN.saturating_add(slots - 1);
    let mut timeline = Timeline::new(clock, slots, Box::new(trials.clone()));
    let mut search = InTurn { started: 0, trials: trials.0.len() as u32 };
    let slowness = |number| if number + 1 == workers { 1.0 / case.slowest } else { 1.0 };
    let mut workers: Vec<_> =
        (0..workers).map(|number| Worker { slowness: slowness(number), at_work: None }).collect();
    let mut now_s = 0.0;
    loop {
        timeline.advance(&mut search);
        let is_idle = |segment: &Segment| {
            workers.iter().all(|worker| worker.at_work.is_none_or(|(at_work, ..)| at_work != *segment))
        };
        let waiting: Vec<_> = timeline.open().filter(is_idle).collect();
        let idle = workers.iter_mut().filter(|worker| worker.at_work.is_none());
        for (worker, segment) in idle.zip(waiting) {
            let epoch_s = trials.0[segment.replicate.trial.0 as usize].epoch_s;
            worker.at_work = Some((segment, 1, now_s + epoch_s * worker.slowness));
        }
        let ends = workers.iter_mut().filter_map(|worker| Some((worker.at_work?.2, worker)));
        let Some((end_s, worker)) = ends.min_by(|(one, _), (other, _)| one.total_cmp(other)) else { return now_s };
        now_s = end_s;
        worker.at_work = worker.at_work.and_then(|at_work| report(&mut timeline, trials, at_work, worker.slowness));
    }
}

/// Reports an epoch; returns what follows it.
fn report(
    timeline: &mut Timeline<'_>,
    trials: &Trials,
    (segment, epoch, end_s): (Segment, u32, f64),
    slowness: f64,
) -> Option<(Segment, u32, f64)> {
    let trial = trials.0[segment.replicate.trial.0 as usize];
    let is_cut = trial.cut_in == Some(epoch);
    timeline.told(segment, epoch, if is_cut { EpochEnd::StoppedEarly } else { EpochEnd::GoesOn });
    if is_cut || epoch == segment.until_epoch {
        timeline.ended(segment, SegmentEnd::Finished { epoch, metrics: Metrics::default() });
        return None;
    }
    Some((segment, epoch + 1, end_s + trial.epoch_s * slowness))
}

/// The ratios of one study, one for each number of virtual slots.
fn ratios(case: &Case, table: Option<&Table>, workers: usize, trials: u32, seed: u64) -> [f64; SLOTS.len()] {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let lag = lag((0..LAG_DRAWS).map(|_| case.trial(table, &mut rng).cost));
    let trials = Trials((0..trials).map(|_| case.trial(table, &mut rng)).collect());
    let free_s = makespan_s(case, workers, &trials, SearchClock::Arrivals, workers as u32);
    SLOTS.map(|slots| makespan_s(case, workers, &trials, SearchClock::Virtual { lag }, slots) / free_s)
}

/// The mean ratios over some studies.
fn mean_ratios(case: &Case, table: Option<&Table>, workers: usize, trials: u32, seeds: u64) -> [f64; SLOTS.len()] {
    let mut sums = [0.0; SLOTS.len()];
    for seed in 0..seeds {
        let ratios = ratios(case, table, workers, trials, seed);
        sums.iter_mut().zip(ratios).for_each(|(sum, ratio)| *sum += ratio);
    }
    sums.map(|sum| sum / seeds as f64)
}

impl Table {
    fn of(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let name = words.next()?.to_owned();
        let mut took: Vec<f64> = words.map(str::parse).collect::<Result<_, _>>().ok()?;
        took.sort_by(f64::total_cmp);
        let middle = *took.get(took.len() / 2)?;
        let is_usable = took.iter().all(|took_s| took_s.is_finite() && *took_s > 0.0);
        is_usable.then(|| Self { name, took: took.iter().map(|took_s| took_s / middle).collect() })
    }

    /// The standard deviation of the logarithm.
    fn spread(&self) -> f64 {
        let logarithms = || self.took.iter().map(|took| libm::log(*took));
        let mean = logarithms().sum::<f64>() / self.took.len() as f64;
        libm::sqrt(logarithms().map(|log| (log - mean) * (log - mean)).sum::<f64>() / self.took.len() as f64)
    }
}

#[expect(clippy::print_stdout, reason = "this is what it is for")]
fn made_up() {
    let workers = WORKERS[WORKERS.len() - 1];
    println!("makespan over free asynchronous search: {workers} workers, mean of {SEEDS} studies");
    for trials in TRIALS {
        println!("\n{:38}{:>8}{:>8}{:>8}", format!("{trials} trials"), "V = 13", "V = 16", "V = 39");
        for case in &CASES {
            let [first, second, third] = mean_ratios(case, None, workers, trials, SEEDS);
            println!("{:38}{first:8.2}{second:8.2}{third:8.2}", case.name);
        }
    }
}

/// The mean over the tables, and the greatest ratio of one of them.
#[expect(clippy::print_stdout, reason = "this is what it is for")]
fn of_tables(tables: &[Table]) {
    let spreads: Vec<_> = tables.iter().map(|table| format!("{} {:.2}", table.name, table.spread())).collect();
    println!("{} tables, each with the standard deviation of the logarithm of its times:", tables.len());
    println!("{}\n", spreads.join(", "));
    println!(
        "makespan over free asynchronous search: mean over the tables (greatest of one), {TABLE_SEEDS} studies each"
    );
    for trials in TRIALS {
        println!("\n{:50}{:>14}{:>14}{:>14}", format!("{trials} trials"), "V = 13", "V = 16", "V = 39");
        for (case, workers) in CASES.iter().flat_map(|case| WORKERS.map(|workers| (case, workers))) {
            if workers != WORKERS[WORKERS.len() - 1] && !case.is_of_all_sizes() {
                continue;
            }
            let ratios: Vec<_> =
                tables.iter().map(|table| mean_ratios(case, Some(table), workers, trials, TABLE_SEEDS)).collect();
            let cells = [0, 1, 2].map(|place| {
                let of_each = || ratios.iter().map(|ratios| ratios[place]);
                let mean = of_each().sum::<f64>() / tables.len() as f64;
                format!("{mean:.3} ({:.3})", of_each().fold(0.0, f64::max))
            });
            let name = if case.spread > 1.0 { case.name } else { "all planned alike, whatever they take" };
            let [first, second, third] = cells;
            println!(
                "{:50}{first:>14}{second:>14}{third:>14}",
                format!("{name}, {workers} worker{}", if workers == 1 { "" } else { "s" })
            );
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let Some(file) = std::env::args().nth(1) else {
        made_up();
        return Ok(());
    };
    let text = std::fs::read_to_string(&file).map_err(|error| format!("cannot read {file}: {error}"))?;
    let tables: Option<Vec<_>> = text.lines().map(Table::of).collect();
    let tables = tables.filter(|tables| !tables.is_empty());
    of_tables(&tables.ok_or("each line of the file is a name and then seconds above 0, with blanks between them")?);
    Ok(())
}
