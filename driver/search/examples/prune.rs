//! A study with a pruner that is asked on standard input, in virtual time, so that other programs can measure what pruners
//! lose and what they save: `tests/rivals/curves.py` does, on learning curves of real trainings.
//!
//! A line is a study, as `sampler=tpe pruner=asha seed=3 epochs=50`, with what [`Study::read`] knows; it is played to its end.
//!
//! Of each trial that it starts, it prints `trial`, and the place of each parameter from 0 to 1; the answer is a line with
//! what is minimised after each epoch, from 1 on. A training diverged where that is `nan`. After the last one comes `end`,
//! the number of the best trial of those that were trained to their end, from 0 on (`-` if there is none), and how many epochs
//! were trained.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Write};
use std::num::{NonZeroU32, NonZeroU64};
use std::ops::Range;

use broadsweep_common::configuration::{Configuration, Value};
use broadsweep_common::metrics::{Direction, MetricName, Objective};
use broadsweep_common::task::Segment;
use broadsweep_search::{
    Decision, Domain, EpochEnd, PlannedCosts, Pruned, PrunerKind, RungSpacing, SamplerKind, SearchClock, SegmentEnd,
    Space, Timeline,
};

/// What is measured after each epoch of a trial, from 1 on.
type Curve = Vec<f64>;

/// What is played.
#[derive(Clone, Copy)]
struct Study {
    seed: u64,
    sampler: SamplerKind,
    pruner: PrunerKind,
    parameters: usize,
    epochs: NonZeroU32,
    slots: NonZeroU32,
}

impl Study {
    /// From words as `name=value`: `seed`, `sampler`, `trials`, `slots`, `parameters`, `epochs`, `pruner` with `first`
    /// (its first rung), `eta_percent`, `results` (of `median`) and `k` (of `top_k`).
    fn read(line: &str) -> io::Result<Self> {
        let words: BTreeMap<_, _> = line.split_whitespace().filter_map(|word| word.split_once('=')).collect();
        let number = |name: &str, default: u32| -> io::Result<u32> {
            let wrong = |word: &&str| io::Error::other(format!("{name}={word}: not a number"));
            words.get(name).map_or(Ok(default), |word| word.parse().map_err(|_| wrong(word)))
        };
        let positive = |name: &str, default: u32| -> io::Result<NonZeroU32> {
            NonZeroU32::new(number(name, default)?).ok_or_else(|| io::Error::other(format!("{name}=0: too small")))
        };
        let (trials, epochs) = (number("trials", 100)?, positive("epochs", 50)?);
        let sampler = match words.get("sampler").copied().unwrap_or("random") {
            "random" => SamplerKind::Random { trials },
            "sobol" => SamplerKind::Sobol { trials },
            "tpe" => SamplerKind::Tpe { trials },
            "gp" => SamplerKind::Gaussian { trials },
            "cmaes" => SamplerKind::CmaEs { trials },
            other => return Err(io::Error::other(format!("sampler={other}: there is none"))),
        };
        let word = words.get("pruner").copied().unwrap_or("none");
        let even = RungSpacing::even(epochs);
        let (first, percent) = match word {
            "hyperband" => (1, 300),
            "median" => (2, 200),
            "top_k" => (1, 100),
            _ => (even.min_epochs.get(), even.eta_percent.get()),
        };
        let [min_epochs, eta_percent] = [positive("first", first)?, positive("eta_percent", percent)?];
        let spacing = RungSpacing { min_epochs, eta_percent, epochs_max: epochs };
        let pruner = match word {
            "none" => PrunerKind::None,
            "asha" => PrunerKind::Asha(spacing),
            "hyperband" => PrunerKind::Hyperband(spacing),
            "median" => PrunerKind::Median { spacing, results_min: positive("results", 5)? },
            "top_k" => PrunerKind::TopK { rung: min_epochs, k: positive("k", 15)? },
            other => return Err(io::Error::other(format!("pruner={other}: there is none"))),
        };
        let (seed, slots) = (u64::from(number("seed", 0)?), positive("slots", 13)?);
        let parameters = number("parameters", 1)? as usize;
        Ok(Self { seed, sampler, pruner, parameters, epochs, slots })
    }

    fn space(&self) -> Space {
        let unit = Domain::Reals { min: 0.0, max: 1.0, log: false, count: None };
        (0..self.parameters).map(|parameter| (name_of(parameter), unit.clone())).collect()
    }

    fn places(&self, configuration: &Configuration) -> Vec<f64> {
        let place = |parameter: usize| match configuration.get(&name_of(parameter)) {
            Some(Value::Real(place)) => *place,
            _ => 0.0,
        };
        (0..self.parameters).map(place).collect()
    }

    /// The epochs of the first segment of most trials.
    fn lag(&self) -> NonZeroU32 {
        match self.pruner {
            PrunerKind::None => self.epochs,
            PrunerKind::Asha(spacing) | PrunerKind::Hyperband(spacing) | PrunerKind::Median { spacing, .. } => {
                spacing.min_epochs.min(self.epochs)
            }
            PrunerKind::TopK { rung, .. } => rung.min(self.epochs),
        }
    }

    /// Plays it. `measured` says what comes of a trial with parameters at these places.
    fn play(&self, mut measured: impl FnMut(&[f64]) -> io::Result<Curve>) -> io::Result<Outcome> {
        let objective = Objective { metric: MetricName::VALIDATION_LOSS, direction: Direction::Minimize };
        let sampler = self.sampler.sampler(self.seed, &self.space());
        let costs = Epochs(self.epochs);
        let mut search = Pruned::new(None, sampler, self.pruner.pruner(), objective, Box::new(costs));
        let clock = SearchClock::Virtual { lag: self.lag().into() };
        let mut timeline = Timeline::new(clock, self.slots, Box::new(costs));
        let mut curves: Vec<Curve> = Vec::new();
        let mut outcome = Outcome { winner: None, epochs: 0 };
        loop {
            for new in timeline.advance(&mut search) {
                if let Decision::Start { configuration, .. } = &new.decision {
                    curves.push(measured(&self.places(configuration))?);
                }
            }
            let Some(segment) = timeline.open().next() else { return Ok(outcome) };
            let trial = segment.replicate.trial.0 as usize;
            let (end, epoch) = end_of(segment, &curves[trial], self.epochs.get());
            if let SegmentEnd::Finished { .. } = end {
                outcome.note(trial, curves[trial][epoch as usize - 1]);
            }
            if let SegmentEnd::Diverged { .. } = end {
                timeline.told(segment, epoch, EpochEnd::Diverged);
            }
            outcome.epochs += epoch - segment.from_epoch;
            timeline.ended(segment, end);
        }
    }
}

/// Numbers that sort as their names do, up to 100.
fn name_of(parameter: usize) -> String {
    format!("x{parameter:02}")
}

/// An epoch costs 1.
#[derive(Clone, Copy)]
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
struct Outcome {
    /// The best trial that was trained to its end, and its loss.
    winner: Option<(usize, f64)>,
    epochs: u32,
}

impl Outcome {
    fn note(&mut self, trial: usize, loss: f64) {
        if self.winner.is_none_or(|(_, least)| loss < least) {
            self.winner = Some((trial, loss));
        }
    }
}

/// How a segment ends, and in which epoch.
fn end_of(segment: Segment, curve: &[f64], epochs: u32) -> (SegmentEnd, u32) {
    let Segment { from_epoch, until_epoch, .. } = segment;
    let diverged = (from_epoch + 1..=until_epoch).find(|epoch| !curve[*epoch as usize - 1].is_finite());
    if let Some(epoch) = diverged {
        return (SegmentEnd::Diverged { epoch }, epoch);
    }
    let measured = (MetricName::VALIDATION_LOSS, curve[until_epoch as usize - 1]);
    let (epoch, metrics) = (until_epoch, [measured].into_iter().collect());
    let end = if until_epoch == epochs {
        SegmentEnd::Finished { epoch, metrics }
    } else {
        SegmentEnd::Paused { epoch, metrics }
    };
    (end, until_epoch)
}

fn main() -> io::Result<()> {
    let (mut lines, mut answers) = (io::stdin().lock().lines(), io::stdout().lock());
    while let Some(line) = lines.next().transpose()? {
        let study = Study::read(&line)?;
        let outcome = study.play(|places| {
            write!(answers, "trial")?;
            places.iter().try_for_each(|place| write!(answers, " {place}"))?;
            writeln!(answers)?;
            answers.flush()?;
            let curve = lines.next().transpose()?.unwrap_or_default();
            let curve: Curve = curve.split_whitespace().map(|loss| loss.parse().unwrap_or(f64::NAN)).collect();
            if curve.len() < study.epochs.get() as usize {
                return Err(io::Error::other(format!("the curve has {} epochs, not {}", curve.len(), study.epochs)));
            }
            Ok(curve)
        })?;
        let winner = outcome.winner.map_or_else(|| "-".to_owned(), |(trial, _)| trial.to_string());
        writeln!(answers, "end {winner} {}", outcome.epochs)?;
        answers.flush()?;
    }
    Ok(())
}
