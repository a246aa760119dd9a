//! What pruners lose and what they save: replays learning curves of real trainings instead of training. The curves are
//! those of Google's `TaskSet` (Apache-2.0) as the repository `releaunifreiburg/DyHPO` has them: a list of trainings a file,
//! `hp` with the parameters, `valid.loss` with the losses after 0 to 50 epochs, in JSON that is packed by gzip.
//!
//! `cargo run --release -p broadsweep-search --example prune -- FILE...`
//!
//! The winner is the best of the trials that were trained to their end. Its regret is how much larger its validation loss
//! is than that of the winner of the same sampler's 100 trials without a pruner; a random search draws the same ones.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::num::{NonZeroU32, NonZeroU64};
use std::ops::Range;
use std::sync::Arc;

use broadsweep_common::configuration::{Configuration, Value};
use broadsweep_common::metrics::{Direction, MetricName, Objective};
use broadsweep_common::task::Segment;
use broadsweep_search::{
    Decision, Domain, EpochEnd, PlannedCosts, Pruned, PrunerKind, RungSpacing, SamplerKind, SearchClock, SegmentEnd,
    Space, Timeline,
};
use flate2::read::GzDecoder;

const TRIALS: u32 = 100;
const SEEDS: u64 = 10;
const SLOTS: u32 = 13;

/// The trainings of one file.
struct Table {
    /// Of each training, what is measured after each epoch from 1 on; it diverged where that is none.
    curves: Vec<Vec<Option<f64>>>,
    /// Of each training, its place in the space, each parameter from 0 to 1 in its logarithm.
    points: Vec<Vec<f64>>,
    epochs: u32,
}

impl Table {
    fn read(path: &str) -> io::Result<Self> {
        let mut text = String::new();
        GzDecoder::new(File::open(path)?).read_to_string(&mut text)?;
        let text = text.replace("-Infinity", "null").replace("Infinity", "null").replace("NaN", "null");
        let trainings: Vec<serde_json::Value> = serde_json::from_str(&text)?;
        let curve = |training: &serde_json::Value| -> Vec<Option<f64>> {
            let losses = training["valid"]["loss"].as_array().into_iter().flatten();
            losses.skip(1).map(serde_json::Value::as_f64).collect()
        };
        let place = |training: &serde_json::Value| -> Vec<f64> {
            let values = training["hp"].as_object().into_iter().flat_map(serde_json::Map::values);
            values.map(|value| libm::log(value.as_f64().unwrap_or(1.0))).collect()
        };
        let curves: Vec<_> = trainings.iter().map(curve).collect();
        let mut points: Vec<_> = trainings.iter().map(place).collect();
        for parameter in 0..points.first().map_or(0, Vec::len) {
            let least = points.iter().map(|point| point[parameter]).fold(f64::INFINITY, f64::min);
            let most = points.iter().map(|point| point[parameter]).fold(f64::NEG_INFINITY, f64::max);
            for point in &mut points {
                point[parameter] = (point[parameter] - least) / (most - least);
            }
        }
        let epochs = curves.iter().map(Vec::len).min().unwrap_or(0) as u32;
        Ok(Self { curves, points, epochs })
    }

    /// A random search takes rows of the table, one that learns takes points, each of which stands for the nearest row.
    fn space(&self, sampler: SamplerKind) -> Space {
        if matches!(sampler, SamplerKind::Tpe { .. }) {
            let unit = Domain::Reals { min: 0.0, max: 1.0, log: false, count: None };
            let parameters = 0..self.points.first().map_or(0, Vec::len);
            return parameters.map(|parameter| (parameter.to_string(), unit.clone())).collect();
        }
        let rows = (0..self.curves.len() as i64).map(Value::Integer);
        [("row".to_owned(), Domain::Values(rows.collect()))].into()
    }

    fn curve(&self, configuration: &Configuration) -> &[Option<f64>] {
        if let Some(Value::Integer(row)) = configuration.get("row") {
            return &self.curves[*row as usize];
        }
        let distance = |point: &[f64]| -> f64 {
            let place = |parameter: usize| match configuration.get(&parameter.to_string()) {
                Some(Value::Real(place)) => *place,
                _ => 0.0,
            };
            point.iter().enumerate().map(|(parameter, it)| (it - place(parameter)) * (it - place(parameter))).sum()
        };
        let rows = self.points.iter().zip(&self.curves).map(|(point, curve)| (distance(point), curve));
        rows.min_by(|one, other| one.0.total_cmp(&other.0)).map_or(&[], |(_, curve)| curve)
    }
}

/// An epoch costs 1.
struct Epochs(NonZeroU32);

impl PlannedCosts for Epochs {
    fn epochs(&self, _: &Configuration) -> NonZeroU32 {
        self.0
    }

    fn cost(&self, _: &Configuration, epochs: Range<u32>) -> NonZeroU64 {
        NonZeroU64::MIN.saturating_add(u64::from(epochs.end - epochs.start).saturating_sub(1))
    }
}

/// What came of a study.
#[derive(Clone, Copy)]
struct Outcome {
    winner: f64,
    epochs: f64,
}

fn play(table: &Table, sampler: SamplerKind, pruner: PrunerKind, seed: u64) -> Outcome {
    let epochs = number(table.epochs);
    let objective = Objective { metric: MetricName::VALIDATION_LOSS, direction: Direction::Minimize };
    let picks = sampler.sampler(seed, &table.space(sampler));
    let mut search = Pruned::new(None, picks, pruner.pruner(), objective, Box::new(Epochs(epochs)));
    // Half of the trials or more have this as their first segment.
    let lag = match pruner {
        PrunerKind::None => epochs,
        PrunerKind::Asha(spacing) | PrunerKind::Hyperband { spacing, .. } | PrunerKind::Median { spacing, .. } => {
            spacing.min_epochs
        }
        PrunerKind::TopK { rung, .. } => rung,
    };
    let mut timeline =
        Timeline::new(SearchClock::Virtual { lag: lag.into() }, number(SLOTS), Box::new(Epochs(epochs)));
    let mut curves: Vec<Arc<[Option<f64>]>> = Vec::new();
    let mut outcome = Outcome { winner: f64::INFINITY, epochs: 0.0 };
    loop {
        for new in timeline.advance(&mut search) {
            if let Decision::Start { configuration, .. } = &new.decision {
                curves.push(table.curve(configuration).into());
            }
        }
        let Some(segment) = timeline.open().next() else { return outcome };
        let curve = &curves[segment.replicate.trial.0 as usize];
        let (end, epoch) = end_of(segment, curve, table.epochs);
        if let SegmentEnd::Finished { .. } = end {
            outcome.winner = outcome.winner.min(curve[epoch as usize - 1].unwrap_or(f64::INFINITY));
        }
        if let SegmentEnd::Diverged { .. } = end {
            timeline.told(segment, epoch, EpochEnd::Diverged);
        }
        outcome.epochs += f64::from(epoch - segment.from_epoch);
        timeline.ended(segment, end);
    }
}

/// How a segment ends, and in which epoch.
fn end_of(segment: Segment, curve: &[Option<f64>], epochs: u32) -> (SegmentEnd, u32) {
    let Segment { from_epoch, until_epoch, .. } = segment;
    let diverged = (from_epoch + 1..=until_epoch).find(|epoch| curve[*epoch as usize - 1].is_none());
    if let Some(epoch) = diverged {
        return (SegmentEnd::Diverged { epoch }, epoch);
    }
    let measured = curve[until_epoch as usize - 1].map(|loss| (MetricName::VALIDATION_LOSS, loss));
    let (epoch, metrics) = (until_epoch, measured.into_iter().collect());
    let end = if until_epoch == epochs {
        SegmentEnd::Finished { epoch, metrics }
    } else {
        SegmentEnd::Paused { epoch, metrics }
    };
    (end, until_epoch)
}

fn number(number: u32) -> NonZeroU32 {
    NonZeroU32::MIN.saturating_add(number.saturating_sub(1))
}

/// What is measured, by name.
fn pruners(epochs: u32) -> BTreeMap<String, PrunerKind> {
    let spacing = |min_epochs, eta| RungSpacing { min_epochs: number(min_epochs), eta: number(eta) };
    let spacings = [(1, 2), (1, 3), (1, 4), (2, 2), (2, 3), (3, 2), (3, 3), (4, 3), (5, 2), (5, 3)];
    let mut pruners = BTreeMap::new();
    for (min_epochs, eta) in spacings {
        let spacing = spacing(min_epochs, eta);
        let hyperband = PrunerKind::Hyperband { spacing, epochs_max: number(epochs) };
        pruners.insert(format!("asha, from {min_epochs} by {eta}"), PrunerKind::Asha(spacing));
        pruners.insert(format!("hyperband, from {min_epochs} by {eta}"), hyperband);
        let median = PrunerKind::Median { spacing, results_min: number(10) };
        pruners.insert(format!("median, from {min_epochs} by {eta}"), median);
    }
    for (rung, k) in [(1, 5), (1, 10), (1, 15), (1, 18), (2, 15)] {
        let kind = PrunerKind::TopK { rung: number(rung), k: number(k) };
        pruners.insert(format!("after {rung}, the top {k:2}"), kind);
    }
    pruners
}

#[expect(clippy::print_stdout, reason = "this is what it is for")]
fn main() -> io::Result<()> {
    let tables: Vec<_> = std::env::args().skip(1).map(|path| Table::read(&path)).collect::<io::Result<_>>()?;
    let epochs = tables.iter().map(|table| table.epochs).max().unwrap_or(1);
    println!(
        "regret in % of the loss (standard error), the worst file's, epochs in % of those of all trials in full"
    );
    for sampler in [SamplerKind::Random { trials: TRIALS }, SamplerKind::Tpe { trials: TRIALS }] {
        let full: Vec<Vec<_>> = tables
            .iter()
            .map(|table| (0..SEEDS).map(|seed| play(table, sampler, PrunerKind::None, seed)).collect())
            .collect();
        println!("\n{:26}{:>9}{:>9}{:>9}{:>9}", sampler.word(), "regret", "", "worst", "epochs");
        for (name, pruner) in pruners(epochs) {
            let mut regrets = Vec::new();
            let (mut spent, mut spent_in_full, mut worst) = (0.0, 0.0, f64::NEG_INFINITY);
            for (table, full) in tables.iter().zip(&full) {
                let pruned: Vec<_> = (0..SEEDS).map(|seed| play(table, sampler, pruner, seed)).collect();
                let of_table =
                    pruned.iter().zip(full).map(|(pruned, full)| 100.0 * (pruned.winner / full.winner - 1.0));
                let of_table: Vec<_> = of_table.collect();
                worst = f64::max(worst, of_table.iter().sum::<f64>() / SEEDS as f64);
                regrets.extend(of_table);
                spent += pruned.iter().map(|outcome| outcome.epochs).sum::<f64>();
                spent_in_full += full.iter().map(|outcome| outcome.epochs).sum::<f64>();
            }
            let studies = regrets.len() as f64;
            let mean = regrets.iter().sum::<f64>() / studies;
            let variance = regrets.iter().map(|regret| (regret - mean) * (regret - mean)).sum::<f64>() / studies;
            let error = libm::sqrt(variance / studies);
            println!(
                "{name:26}{mean:9.2}{:>9}{worst:9.2}{:9.1}",
                format!("({error:.2})"),
                100.0 * spent / spent_in_full
            );
        }
    }
    Ok(())
}
