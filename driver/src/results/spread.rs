//! What runs of one study have in common where its trials do not give the same numbers twice, and how far apart they are.

use std::collections::{BTreeMap, BTreeSet};

use broadsweep_common::configuration::{Configuration, ConfigurationDigest};
use serde::Serialize;

use super::comparison::{Member, median};
use super::show::{configuration_pairs, counted, short_real};
use crate::records::run::{TrialOutcome, TrialRecord};
use crate::study::Study;

/// Configurations that a run lacks and that are named; the rest is counted.
const NAMED_MAX: usize = 3;

/// What the runs of a study have to have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Sameness {
    /// All numbers, to the last bit.
    Bits,
    /// The configurations that have a result: their numbers are others each time.
    Configurations,
}

impl Sameness {
    /// What can be asked of a study's runs.
    #[must_use]
    pub fn of(study: &Study) -> Self {
        if study.is_deterministic() { Self::Bits } else { Self::Configurations }
    }
}

/// A run that has no result of configurations of which others have one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Lacking {
    /// Its folder, within that of the comparison.
    pub run: String,
    /// These.
    pub configurations: Vec<String>,
}

/// How far one configuration's objective is apart from run to run: the largest less the least value of all runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// What trials are ranked by.
    pub metric: String,
    /// Configurations that have it in every run.
    pub configurations: usize,
    /// Over these.
    pub median: f64,
    /// Of the one that is the farthest apart.
    pub largest: f64,
    /// That one.
    pub farthest: String,
}

impl Spread {
    /// Of these runs; `None` if there is only one, or no configuration has a finite value in all of them.
    pub(super) fn of(members: &[Member]) -> Option<Self> {
        let metric = &members.get(1)?.record.objective().metric;
        let mut values: BTreeMap<ConfigurationDigest, (&Configuration, Vec<f64>)> = BTreeMap::new();
        for trial in members.iter().flat_map(|member| &member.record.trials).filter(|trial| has_result(trial)) {
            let value = trial.metric(metric).filter(|value| value.is_finite());
            let (_, known) =
                values.entry(trial.configuration.digest()).or_insert_with(|| (&trial.configuration, Vec::new()));
            known.extend(value);
        }
        let in_all = values.into_values().filter(|(_, values)| values.len() == members.len());
        let apart: Vec<_> = in_all
            .map(|(configuration, values)| {
                let least = values.iter().copied().fold(f64::INFINITY, f64::min);
                (values.into_iter().fold(f64::NEG_INFINITY, f64::max) - least, configuration)
            })
            .collect();
        let (largest, farthest) = apart.iter().max_by(|one, other| one.0.total_cmp(&other.0))?;
        Some(Self {
            metric: metric.to_string(),
            configurations: apart.len(),
            median: median(apart.iter().map(|(apart, _)| *apart)),
            largest: *largest,
            farthest: shown(farthest),
        })
    }

    /// In words.
    pub(super) fn sentence(&self) -> String {
        let Self { metric, configurations, median, largest, farthest } = self;
        let have = if *configurations == 1 { "has" } else { "have" };
        let all = format!("{} {have} a result in every run", counted(*configurations as u64, "configuration"));
        if *largest == 0.0 {
            return format!("{all}, and the same {metric} in all of them");
        }
        format!(
            "{all}; from run to run, {metric} of one configuration differs by {} in the median, and by {} at most \
             ({farthest}): this program does not give the same numbers twice",
            short_real(*median),
            short_real(*largest),
        )
    }
}

impl Lacking {
    /// The runs that lack what others have.
    pub(super) fn of(members: &[Member]) -> Vec<Self> {
        let results = |member: &Member| {
            let trials = member.record.trials.iter().filter(|trial| has_result(trial));
            trials.map(|trial| trial.configuration.digest()).collect::<BTreeSet<_>>()
        };
        let all: BTreeSet<_> = members.iter().flat_map(results).collect();
        let lacking = members.iter().map(|member| {
            let own = results(member);
            let lacks = |trial: &&TrialRecord| {
                let digest = trial.configuration.digest();
                all.contains(&digest) && !own.contains(&digest)
            };
            let configurations = member.record.trials.iter().filter(lacks).map(|trial| shown(&trial.configuration));
            Self { run: member.folder.clone(), configurations: configurations.collect() }
        });
        lacking.filter(|lacking| !lacking.configurations.is_empty()).collect()
    }

    /// In words.
    pub(super) fn words(&self) -> String {
        let named: Vec<_> = self.configurations.iter().take(NAMED_MAX).cloned().collect();
        let more = match self.configurations.len() - named.len() {
            0 => String::new(),
            more => format!("; and {more} more"),
        };
        format!("{} has no result of {}{more}", self.run, named.join("; "))
    }
}

/// Whether a trial was trained to some result, good or bad.
fn has_result(trial: &TrialRecord) -> bool {
    match trial.outcome {
        TrialOutcome::Finished { .. } | TrialOutcome::Diverged { .. } | TrialOutcome::Paused { .. } => true,
        TrialOutcome::GivenUp { .. } | TrialOutcome::NotRun | TrialOutcome::LeftOut => false,
    }
}

fn shown(configuration: &Configuration) -> String {
    let pairs: Vec<_> = configuration_pairs(configuration).collect();
    if pairs.is_empty() { "the only configuration".to_owned() } else { pairs.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::fixtures::{diverged, finished, given_up, run};

    fn members(runs: Vec<Vec<TrialRecord>>) -> Vec<Member> {
        let member = |(repeat, trials): (u32, Vec<TrialRecord>)| Member {
            size: 1,
            repeat,
            folder: format!("1-{repeat}"),
            record: run(trials),
        };
        (1..).zip(runs).map(member).collect()
    }

    #[test]
    fn the_spread_is_of_each_configuration_over_all_runs() {
        let runs = members(vec![
            vec![finished(0, 0.25), finished(1, 0.5), finished(2, 0.125)],
            // In another order, as a search that learns could have them.
            vec![finished(1, 0.75), finished(0, 0.25), finished(2, 0.25)],
            vec![finished(0, 0.125), finished(1, 0.625), finished(2, 0.1875)],
        ]);
        let spread = Spread::of(&runs).unwrap();
        assert_eq!((spread.configurations, spread.median, spread.largest), (3, 0.125, 0.25));
        assert!(spread.farthest.starts_with("fc1=128 "), "{spread:?}");
        let told = spread.sentence();
        assert!(
            told.contains("3 configurations have a result") && told.contains("by 0.125 in the median, and by 0.25")
        );
        assert_eq!(Spread::of(&runs[..1]), None, "of one run there is none");
        let equal = Spread { largest: 0.0, median: 0.0, ..spread }.sentence();
        assert!(
            equal.ends_with("have a result in every run, and the same validation_error in all of them"),
            "{equal}"
        );
        assert!(Lacking::of(&runs).is_empty());
    }

    #[test]
    fn a_result_that_a_run_lacks_is_named_and_one_that_diverged_is_a_result() {
        let runs = members(vec![
            vec![finished(0, 0.25), finished(1, 0.5), finished(2, 0.5)],
            vec![finished(0, 0.5), given_up(1, "out of luck"), diverged(2, 1)],
        ]);
        let spread = Spread::of(&runs).unwrap();
        assert_eq!((spread.configurations, spread.largest), (1, 0.25));
        let lacking = Lacking::of(&runs);
        let [one] = &lacking[..] else { panic!("{lacking:?}") };
        assert_eq!(one.words(), "1-2 has no result of fc1=128 learning_rate=0.03333");
        let many = Lacking { run: "2-1".to_owned(), configurations: (0..5).map(|n| format!("a={n}")).collect() };
        assert_eq!(many.words(), "2-1 has no result of a=0; a=1; a=2; and 2 more");
    }
}
