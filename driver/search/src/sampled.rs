//! The search of a study: the control first, and then what its sampler picks. It sees no results: all of it is decided
//! before anything is trained.

use broadsweep_common::configuration::Configuration;

use super::decision::{Decision, Origin, Running, Search, Seen, VirtualTime};
use super::grid::Grid;
use super::random::Random;
use super::sampler::Sampler;
use super::space::{Space, size};

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
}

impl SamplerKind {
    /// Its word in study files.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Grid => "grid",
            Self::Random { .. } => "random",
        }
    }

    /// How many configurations it picks at most.
    #[must_use]
    pub fn trials_max(self, space: &Space) -> u64 {
        match self {
            Self::Grid => size(space).unwrap_or(u64::MAX),
            Self::Random { trials } => u64::from(trials),
        }
    }

    /// How many different configurations the study asks it for; `None` if it takes what there is.
    #[must_use]
    pub fn wanted(self) -> Option<u32> {
        match self {
            Self::Grid => None,
            Self::Random { trials } => Some(trials),
        }
    }

    /// A sampler of this kind over `space`.
    #[must_use]
    pub fn sampler(self, seed: u64, space: &Space) -> Box<dyn Sampler> {
        match self {
            Self::Grid => Box::new(Grid::new(space)),
            Self::Random { trials } => Box::new(Random::new(seed, space, trials)),
        }
    }
}

/// The control, where a study has one, and then what a sampler picks; each configuration once.
pub struct Sampled {
    control: Option<Configuration>,
    has_started: bool,
    has_picked_control: bool,
    sampler: Box<dyn Sampler>,
}

impl Sampled {
    /// A search that has decided nothing yet. A sampler that picks the control picks nothing new.
    #[must_use]
    pub fn new(control: Option<Configuration>, sampler: Box<dyn Sampler>) -> Self {
        Self { control, has_started: false, has_picked_control: false, sampler }
    }

    /// Whether the sampler has picked the control as well.
    #[must_use]
    pub fn has_picked_control(&self) -> bool {
        self.has_picked_control
    }
}

impl Search for Sampled {
    fn next(&mut self, _: VirtualTime, _: &[Seen], _: &dyn Running) -> Decision {
        if !std::mem::replace(&mut self.has_started, true)
            && let Some(control) = &self.control
        {
            return Decision::Start { configuration: control.clone(), origin: Origin::Control, until_epoch: None };
        }
        while let Some((configuration, origin)) = self.sampler.next() {
            if self.control.as_ref() != Some(&configuration) {
                return Decision::Start { configuration, origin, until_epoch: None };
            }
            self.has_picked_control = true;
        }
        Decision::Ended
    }

    fn recall(&mut self, decision: &Decision) {
        self.has_started = true;
        if let Decision::Start { configuration, origin, .. } = decision {
            self.sampler.recall(configuration, *origin);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use broadsweep_common::configuration::Value;
    use proptest::prelude::*;

    use super::*;
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
        Sampled::new(control, kind.sampler(7, space))
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
    fn a_search_without_parameters_starts_one_trial() {
        let mut grid = search(SamplerKind::Grid, &Space::new(), None);
        let [first, second] = [(); 2].map(|()| grid.next(VirtualTime(0), &[], &()));
        assert!(matches!(first, Decision::Start { configuration, .. } if configuration.is_empty()));
        assert_eq!(second, Decision::Ended);
    }

    proptest! {
        #[test]
        fn a_search_that_is_told_what_it_decided_goes_on_where_it_stood(
            whole in 1_i64..6, words in 1_usize..4, trials in proptest::option::of(1_u32..12), with_control: bool,
            told in 0_usize..20,
        ) {
            let space = space(whole, words);
            let kind = trials.map_or(SamplerKind::Grid, |trials| SamplerKind::Random { trials });
            let control = with_control.then(|| control(1));
            let all = decisions(&mut search(kind, &space, control.clone()), 40);
            let mut again = search(kind, &space, control);
            let told = told.min(all.iter().position(|decision| *decision == Decision::Ended).unwrap());
            all[..told].iter().for_each(|decision| again.recall(decision));
            prop_assert_eq!(&decisions(&mut again, 40 - told)[..], &all[told..]);
        }

        #[test]
        fn no_configuration_is_started_twice(whole in 1_i64..6, words in 1_usize..4, trials in 1_u32..12) {
            for kind in [SamplerKind::Grid, SamplerKind::Random { trials }] {
                let mut seen = BTreeSet::new();
                for decision in decisions(&mut search(kind, &space(whole, words), Some(control(1))), 40) {
                    if let Decision::Start { configuration, .. } = decision {
                        prop_assert!(seen.insert(configuration.digest()), "{configuration} twice");
                    }
                }
            }
        }
    }
}
