//! The search of a study: the control first, then its starting points, and then what its sampler picks.
//!
//! A sampler that does not learn is shown nothing: all that it picks is decided before anything is trained. One that
//! learns is shown what has ended and what is under way; when it is asked is not decided here.

use std::collections::BTreeSet;

use broadsweep_common::configuration::Configuration;
use broadsweep_common::ids::TrialId;
use broadsweep_common::metrics::Objective;

use super::cma_es::CmaEs;
use super::decision::{Decision, Origin, Running, RunningTrial, Search, Seen, SegmentEnd, VirtualTime};
use super::gaussian::Gaussian;
use super::grid::Grid;
use super::picks::Picks;
use super::random::Random;
use super::ranking::finite_loss;
use super::sampler::{IN_FULL, Observation, Sampler};
use super::sobol::Sobol;
use super::space::{Space, size};
use super::tpe::Tpe;

/// Which configurations are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SamplerKind {
    /// Every combination of the values of all parameters.
    Grid,
    /// So many different draws; from the `count` values of a range where it has one.
    Random {
        /// Number of draws.
        trials: u32,
    },
    /// So many points of a sequence that fills the space evenly.
    Sobol {
        /// Number of points.
        trials: u32,
    },
    /// So many configurations where earlier results were good: the tree-structured Parzen estimator.
    Tpe {
        /// Number of configurations.
        trials: u32,
    },
    /// So many configurations from which a Gaussian process, given the earlier results, expects most.
    Gaussian {
        /// Number of configurations.
        trials: u32,
    },
    /// So many configurations from a distribution that follows the better results: the covariance matrix adaptation
    /// evolution strategy.
    CmaEs {
        /// Number of configurations.
        trials: u32,
    },
}

impl SamplerKind {
    /// Its word in study files.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Grid => "grid",
            Self::Random { .. } => "random",
            Self::Sobol { .. } => "sobol",
            Self::Tpe { .. } => "tpe",
            Self::Gaussian { .. } => "gp",
            Self::CmaEs { .. } => "cmaes",
        }
    }

    /// Whether what it picks depends on results.
    #[must_use]
    pub fn learns(self) -> bool {
        match self {
            Self::Grid | Self::Random { .. } | Self::Sobol { .. } => false,
            Self::Tpe { .. } | Self::Gaussian { .. } | Self::CmaEs { .. } => true,
        }
    }

    /// How many configurations it picks at most.
    #[must_use]
    pub fn trials_max(self, space: &Space) -> u64 {
        match self {
            Self::Grid => size(space).unwrap_or(u64::MAX),
            Self::Random { trials }
            | Self::Sobol { trials }
            | Self::Tpe { trials }
            | Self::Gaussian { trials }
            | Self::CmaEs { trials } => u64::from(trials),
        }
    }

    /// How many different configurations the study asks it for; `None` if it takes what there is.
    #[must_use]
    pub fn wanted(self) -> Option<u32> {
        match self {
            Self::Grid => None,
            Self::Random { trials }
            | Self::Sobol { trials }
            | Self::Tpe { trials }
            | Self::Gaussian { trials }
            | Self::CmaEs { trials } => Some(trials),
        }
    }

    /// The same, picking so many configurations; a grid takes what there is.
    #[must_use]
    pub fn picking(self, trials: u32) -> Self {
        match self {
            Self::Grid => Self::Grid,
            Self::Random { .. } => Self::Random { trials },
            Self::Sobol { .. } => Self::Sobol { trials },
            Self::Tpe { .. } => Self::Tpe { trials },
            Self::Gaussian { .. } => Self::Gaussian { trials },
            Self::CmaEs { .. } => Self::CmaEs { trials },
        }
    }

    /// A sampler of this kind over `space`.
    #[must_use]
    pub fn sampler(self, seed: u64, space: &Space) -> Box<dyn Sampler> {
        match self {
            Self::Grid => Box::new(Grid::new(space)),
            Self::Random { trials } => Box::new(Random::new(seed, space, trials)),
            Self::Sobol { trials } => Box::new(Sobol::new(seed, space, trials)),
            Self::Tpe { trials } => Box::new(Tpe::new(seed, space, trials)),
            Self::Gaussian { trials } => Box::new(Gaussian::new(seed, space, trials)),
            Self::CmaEs { trials } => Box::new(CmaEs::new(seed, space, trials)),
        }
    }
}

/// What the study gives, and then what a sampler picks; each configuration once.
pub struct Sampled {
    picks: Picks,
    objective: Objective,
    /// What is kept for a sampler that learns.
    lessons: Lessons,
}

/// What the trials that were started taught so far.
#[derive(Default)]
struct Lessons {
    /// By trial.
    configurations: Vec<Configuration>,
    /// Trials of which some replicate has ended, in the order of the last one, with the losses of all that have.
    ended: Vec<(TrialId, Vec<f64>)>,
    observed: Vec<Observation>,
}

impl Lessons {
    fn note(&mut self, seen: &Seen, objective: &Objective) {
        let trial = seen.segment.replicate.trial;
        let Some(loss) = loss(&seen.end, objective) else { return };
        let known = self.ended.iter().position(|(ended, _)| *ended == trial);
        let mut losses = known.map(|place| self.ended.remove(place).1).unwrap_or_default();
        losses.push(loss);
        self.ended.push((trial, losses));
    }

    /// A trial of which nothing is under way any more is observed: the mean of its replicates.
    fn settle(&mut self, running: &BTreeSet<TrialId>) {
        let settled = self.ended.extract_if(.., |(trial, _)| !running.contains(trial));
        self.observed.extend(settled.filter_map(|(trial, losses)| {
            let configuration = self.configurations.get(trial.0 as usize)?.clone();
            let loss = losses.iter().sum::<f64>() / losses.len() as f64;
            Some(Observation { configuration, rung_epochs: IN_FULL, loss })
        }));
    }
}

/// What a segment's end says of its trial: what is no finite number is as bad as to diverge, and a pause says nothing yet.
fn loss(end: &SegmentEnd, objective: &Objective) -> Option<f64> {
    match end {
        SegmentEnd::Finished { metrics, .. } => Some(finite_loss(objective, metrics)),
        SegmentEnd::Diverged { .. } | SegmentEnd::GivenUp => Some(f64::INFINITY),
        SegmentEnd::Paused { .. } => None,
    }
}

impl Sampled {
    /// A search that has decided nothing yet, whose sampler makes what `objective` says better. A sampler that picks the
    /// control picks nothing new.
    #[must_use]
    pub fn new(control: Option<Configuration>, sampler: Box<dyn Sampler>, objective: Objective) -> Self {
        Self { picks: Picks::new(control, sampler), objective, lessons: Lessons::default() }
    }

    /// With these starting points: behind the control, and before what the sampler picks.
    #[must_use]
    pub fn starting_from(mut self, initial: Vec<Configuration>) -> Self {
        self.picks.give(initial);
        self
    }

    /// How many of the configurations that the study gives the sampler has picked as well.
    #[must_use]
    pub fn given_picked(&self) -> usize {
        self.picks.given_picked()
    }

    fn note_start(&mut self, configuration: &Configuration) {
        if self.picks.learns() {
            self.lessons.configurations.push(configuration.clone());
        }
    }

    fn pick(&mut self, running: &dyn Running) -> Option<(Configuration, Origin)> {
        let (mut under_way, mut known): (Vec<(TrialId, Configuration)>, _) = (Vec::new(), BTreeSet::new());
        if self.picks.learns() && !self.picks.given_is_due() {
            for RunningTrial { segment, configuration } in running.trials() {
                let trial = segment.replicate.trial;
                if known.insert(trial) {
                    under_way.push((trial, configuration.clone()));
                }
            }
            self.lessons.settle(&under_way.iter().map(|(trial, _)| *trial).collect());
        }
        let under_way: Vec<_> = under_way.into_iter().map(|(_, configuration)| configuration).collect();
        self.picks.next(&self.lessons.observed, &under_way)
    }
}

impl Search for Sampled {
    fn next(&mut self, _: VirtualTime, seen: &[Seen], running: &dyn Running) -> Decision {
        if self.picks.learns() {
            for seen in seen {
                self.lessons.note(seen, &self.objective);
            }
        }
        let Some((configuration, origin)) = self.pick(running) else { return Decision::Ended };
        self.note_start(&configuration);
        Decision::Start { configuration, origin, until_epoch: None }
    }

    fn recall(&mut self, decision: &Decision) {
        if let Decision::Start { configuration, origin, .. } = decision {
            self.note_start(configuration);
            self.picks.recall(configuration, *origin);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::{Arc, Mutex};

    use broadsweep_common::configuration::Value;
    use broadsweep_common::metrics::{Direction, MetricName, Metrics};
    use broadsweep_common::task::{Replicate, Segment, Select};
    use proptest::prelude::*;

    use super::*;
    use crate::sampler::Knowledge;
    use crate::space::Domain;

    fn space(whole: i64, words: usize) -> Space {
        let words = ["a", "b", "c"][..words].iter().map(|word| Value::Choice((*word).to_owned())).collect();
        let whole = Domain::Integers { min: 1, max: whole, log: false, count: Some(whole as u32) };
        [("whole".to_owned(), whole), ("word".to_owned(), Domain::Values(words))].into()
    }

    fn control(whole: i64) -> Configuration {
        let values = [("whole", Value::Integer(whole)), ("word", Value::Choice("a".to_owned()))];
        Configuration::from_iter(values)
    }

    fn search(kind: SamplerKind, space: &Space, control: Option<Configuration>) -> Sampled {
        Sampled::new(control, kind.sampler(7, space), Select::Validation.objective())
    }

    fn decisions(search: &mut Sampled, max: usize) -> Vec<Decision> {
        (0..max).map(|_| search.next(VirtualTime(0), &[], &())).collect()
    }

    #[test]
    fn the_control_comes_first_and_is_not_started_twice() {
        let mut grid = search(SamplerKind::Grid, &space(3, 1), Some(control(2)));
        let shown: Vec<_> = decisions(&mut grid, 5)
            .into_iter()
            .map(|decision| match decision {
                Decision::Start { configuration, origin, .. } => format!("{configuration} {origin:?}"),
                other => format!("{other:?}"),
            })
            .collect();
        let expected =
            ["whole=2 word=a Control", "whole=1 word=a Point(0)", "whole=3 word=a Point(2)", "Ended", "Ended"];
        assert_eq!(shown, expected);
    }

    #[test]
    fn starting_points_come_behind_the_control_and_are_not_picked_again_whoever_asks() {
        let (points, outside) = ([control(3), control(9)], "whole=9 word=a Initial(1)");
        let begin = || search(SamplerKind::Grid, &space(3, 1), Some(control(2))).starting_from(points.to_vec());
        let expected =
            ["whole=2 word=a Control", "whole=3 word=a Initial(0)", outside, "whole=1 word=a Point(0)", "Ended"];
        let shown = |decision: &Decision| match decision {
            Decision::Start { configuration, origin, .. } => format!("{configuration} {origin:?}"),
            other => format!("{other:?}"),
        };
        for told in 0..5 {
            let mut first = begin();
            let before = decisions(&mut first, told);
            let mut later = begin();
            for decision in &before {
                later.recall(decision);
            }
            let all: Vec<_> = before.iter().chain(&decisions(&mut later, 5 - told)).map(shown).collect();
            assert_eq!(all, expected, "{told} were told");
        }
        let mut all = begin();
        decisions(&mut all, 5);
        assert_eq!(all.given_picked(), 2, "the control and one of the points are of the grid");
        // They are not among those that a sampler is asked for.
        for kind in [SamplerKind::Random { trials: 2 }, SamplerKind::Tpe { trials: 2 }] {
            let mut search = search(kind, &space(6, 3), Some(control(2))).starting_from(points.to_vec());
            let origins = decisions(&mut search, 9).into_iter().filter_map(|decision| match decision {
                Decision::Start { origin, .. } => Some(origin),
                _ => None,
            });
            let picked = origins.filter(|origin| !origin.is_given()).count();
            assert_eq!(picked + search.given_picked(), 2, "{kind:?}");
        }
    }

    #[test]
    fn a_search_without_parameters_starts_one_trial() {
        let mut grid = search(SamplerKind::Grid, &Space::new(), None);
        let [first, second] = [(); 2].map(|()| grid.next(VirtualTime(0), &[], &()));
        assert!(matches!(first, Decision::Start { configuration, .. } if configuration.is_empty()));
        assert_eq!(second, Decision::Ended);
    }

    /// Picks the numbers from 1 on, and writes down what it was shown.
    struct Witness(Arc<Mutex<Vec<String>>>);

    impl Sampler for Witness {
        fn next(&mut self, knowledge: Knowledge<'_>) -> Option<(Configuration, Origin)> {
            let observed = knowledge.observed.iter().map(|known| format!("{} {}, ", known.configuration, known.loss));
            let under_way = knowledge.under_way.iter().map(|configuration| format!("{configuration}, "));
            let shown = [observed.collect::<String>(), under_way.collect()].join("| ");
            self.0.lock().unwrap().push(shown);
            let number = knowledge.decision as i64;
            Some((Configuration::from_iter([("it", Value::Integer(number))]), Origin::Draw(knowledge.decision)))
        }

        fn recall(&mut self, _: &Configuration, _: Origin) {}

        fn learns(&self) -> bool {
            true
        }
    }

    struct UnderWay(Vec<(Segment, Configuration)>);

    impl Running for UnderWay {
        fn trials(&self) -> Box<dyn Iterator<Item = RunningTrial<'_>> + '_> {
            Box::new(self.0.iter().map(|(segment, configuration)| RunningTrial { segment: *segment, configuration }))
        }
    }

    fn segment(trial: u32, repeat: u32) -> Segment {
        let replicate = Replicate { trial: TrialId(trial), repeat, fold: 0 };
        Segment { replicate, from_epoch: 0, until_epoch: 3 }
    }

    fn finished(trial: u32, repeat: u32, value: f64) -> Seen {
        let metrics: Metrics = [(MetricName::VALIDATION_ERROR, value)].into_iter().collect();
        Seen { segment: segment(trial, repeat), end: SegmentEnd::Finished { epoch: 3, metrics } }
    }

    #[test]
    fn a_sampler_that_learns_is_shown_means_of_whole_trials_with_the_smaller_the_better() {
        let shown = Arc::new(Mutex::new(Vec::new()));
        let objective = Objective { metric: MetricName::VALIDATION_ERROR, direction: Direction::Maximize };
        let control = Configuration::from_iter([("it", Value::Integer(0))]);
        let mut search = Sampled::new(Some(control.clone()), Box::new(Witness(Arc::clone(&shown))), objective);
        let it = |number| Configuration::from_iter([("it", Value::Integer(number))]);
        let both = |trial| [0, 1].map(|repeat| (segment(trial, repeat), it(i64::from(trial))));
        let mut next = |seen: &[Seen], running: Vec<(Segment, Configuration)>| {
            search.next(VirtualTime(0), seen, &UnderWay(running));
        };
        next(&[], vec![]);
        next(&[], both(0).into());
        next(&[finished(0, 1, 4.0)], [both(0)[..1].to_vec(), both(1).to_vec()].concat());
        let diverged = Seen { segment: segment(1, 0), end: SegmentEnd::Diverged { epoch: 1 } };
        next(&[finished(0, 0, 2.0), diverged, finished(1, 1, 1.0)], both(2).into());
        next(&[finished(2, 1, f64::NAN), finished(2, 0, 1.0)], vec![]);
        let expected =
            ["| it=0, ", "| it=0, it=1, ", "it=0 -3, it=1 inf, | it=2, ", "it=0 -3, it=1 inf, it=2 inf, | "];
        assert_eq!(*shown.lock().unwrap(), expected);
    }

    fn kinds() -> impl Strategy<Value = SamplerKind> {
        (1_u32..20, 0_usize..5).prop_map(|(trials, kind)| {
            let with_trials = [
                SamplerKind::Random { trials },
                SamplerKind::Sobol { trials },
                SamplerKind::Tpe { trials },
                SamplerKind::CmaEs { trials },
            ];
            with_trials.get(kind).copied().unwrap_or(SamplerKind::Grid)
        })
    }

    proptest! {
        #[test]
        fn a_search_that_is_told_what_it_decided_goes_on_where_it_stood(
            whole in 1_i64..6, words in 1_usize..4, kind in kinds(), with_control: bool, told in 0_usize..20,
        ) {
            let space = space(whole, words);
            let control = with_control.then(|| control(1));
            let all = decisions(&mut search(kind, &space, control.clone()), 40);
            let mut again = search(kind, &space, control);
            let told = told.min(all.iter().position(|decision| *decision == Decision::Ended).unwrap());
            all[..told].iter().for_each(|decision| again.recall(decision));
            prop_assert_eq!(&decisions(&mut again, 40 - told)[..], &all[told..]);
        }

        #[test]
        fn no_configuration_is_started_twice(whole in 1_i64..6, words in 1_usize..4, kind in kinds()) {
            let mut seen = BTreeSet::new();
            for decision in decisions(&mut search(kind, &space(whole, words), Some(control(1))), 40) {
                if let Decision::Start { configuration, .. } = decision {
                    prop_assert!(seen.insert(configuration.digest()), "{configuration} twice");
                }
            }
        }
    }
}
