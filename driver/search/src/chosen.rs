//! Which sampler suits a study that leaves it open.

use super::coordinate::{PlaceKind, coordinates};
use super::sampled::SamplerKind;
use super::space::{Domain, Space, size};

/// Results that samplers which learn wait for.
const RESULTS_MIN: u32 = 8;
/// Trials up to which a Gaussian process is the best one.
const GAUSSIAN_TRIALS_MAX: u32 = 500;
/// Parameters and trials under way up to which it was measured, rounded up; what is under way makes each pick dearer.
const GAUSSIAN_PARAMETERS_MAX: usize = 50;
const GAUSSIAN_PARALLEL_MAX: u32 = 100;
/// Trials for each that is under way from which on CMA-ES has enough generations.
const TRIALS_PER_SLOT_MIN: u32 = 25;

/// Why a sampler suits.
#[derive(Clone, Copy)]
enum Reason {
    AllFit { points: u64 },
    NoResults,
    Conditions,
    Choices,
    FewTrials,
    ManyTrials,
    FewGenerations,
    NoneElse,
}

/// What a choice depends on.
#[derive(Clone, Copy)]
struct StudySize {
    /// Parameters whose values have an order: ranges, and lists of numbers.
    numeric: usize,
    /// Parameters whose values have none.
    choices: usize,
    trials: u32,
    parallel: u32,
}

impl SamplerKind {
    /// The sampler for a study that wants so many `trials`, `parallel` of them under way at a time, and does not say by which
    /// sampler. The first rule that holds:
    ///
    /// | study | sampler | because |
    /// |---|---|---|
    /// | a space of no more points than trials, all of which a grid can take | grid | all are tried anyway |
    /// | trials up to those under way and eight more | Sobol | nothing would be learnt: too few results are seen in time |
    /// | a parameter that is there on conditions only | TPE | it has a density for each set of parameters that are there together |
    /// | half of the parameters or more are choices without an order | TPE | it models choices one by one; with few trials a Gaussian process was as good on such tables, with many it looks at too few results |
    /// | up to 500 trials, 50 parameters and 100 under way | Gaussian process | the best on all functions with 250 trials, and at least as good as TPE on tables |
    /// | any choice without an order | TPE | CMA-ES was no better on tables of real trainings with 600 trials, and is no method for choices |
    /// | 25 trials or more for each that is under way | CMA-ES | it follows how parameters depend on each other, at no growing cost, where a Gaussian process gets no better |
    /// | up to 50 parameters and 100 under way | Gaussian process | CMA-ES would have too few generations |
    /// | all others | TPE | its cost does not grow, and it needs no generations |
    ///
    /// Medians measured by the example `ask` (`tests/rivals/search_tables.py` has the functions); of the Gaussian process those
    /// with 64 under way are after 500 trials, since it was no better after more:
    ///
    /// | | under way | trials | TPE | Gaussian process | CMA-ES |
    /// |---|---|---|---|---|---|
    /// | Rosenbrock, 5 parameters | 13 | 250 | 15 | 3.4 | 19 |
    /// | | 13 | 1000 | 5.6 | 3.1 | 1.5 |
    /// | | 64 | 1000 | 7.4 | 3.7 | 20 |
    /// | Ackley, 5 parameters, its best away from the middle | 13 | 250 | 5.2 | 1.7 | 5.2 |
    /// | | 13 | 1000 | 2.9 | 1.0 | 0.005 |
    /// | | 64 | 1000 | 3.0 | 2.0 | 3.7 |
    /// | | 64 | 2000 | 2.7 | | 0.3 |
    /// | Rosenbrock, 20 parameters | 13 | 250 | 32,000 | 720 | 6,700 |
    /// | | 13 | 1000 | 1,400 | 240 | 67 |
    /// | | 64 | 1000 | 10,000 | 210 | 18,000 |
    /// | | 64 | 2000 | 3,400 | | 920 |
    /// | the sphere, 40 parameters | 13 | 250 | 90 | 19 | 31 |
    ///
    /// It is the same with a pruner. With 100 trials and `asha`, at a fifth of the epochs, on the developed half of the curves of
    /// `tests/rivals/curves.py` (two to ten seeds), the validation error of the winner beside that of a random search of 100 full
    /// trainings, in points with the standard error: Gaussian process -1.5 (0.7), TPE 0.0 (0.4), Sobol 0.1 (0.3), CMA-ES 3.8 (0.9).
    #[must_use]
    pub fn chosen(space: &Space, trials: u32, parallel: u32) -> Self {
        match StudySize::new(space, trials, parallel).reason(space) {
            Reason::AllFit { .. } => Self::Grid,
            Reason::NoResults => Self::Sobol { trials },
            Reason::Conditions | Reason::Choices | Reason::NoneElse => Self::Tpe { trials },
            Reason::FewTrials | Reason::FewGenerations => Self::Gaussian { trials },
            Reason::ManyTrials => Self::CmaEs { trials },
        }
    }

    /// Which sampler [`Self::chosen`] is, and why, for the user: "gp: 3 numeric parameters and 100 trials".
    #[must_use]
    pub fn why_chosen(space: &Space, trials: u32, parallel: u32) -> String {
        let word = Self::chosen(space, trials, parallel).word();
        let study = StudySize::new(space, trials, parallel);
        let parameters = study.parameters();
        let trials = counted(u64::from(trials), "trial");
        match study.reason(space) {
            Reason::AllFit { points } => {
                format!("{word}: the space has only {}, and {trials} are allowed", counted(points, "configuration"))
            }
            Reason::NoResults => {
                format!("{word}: with {trials}, {parallel} at a time, there is no time to learn from results")
            }
            Reason::Conditions => format!("{word}: {parameters}, some only there on conditions, and {trials}"),
            Reason::Choices | Reason::FewTrials | Reason::ManyTrials => format!("{word}: {parameters} and {trials}"),
            Reason::FewGenerations | Reason::NoneElse => {
                format!("{word}: {parameters} and {trials}, {parallel} at a time")
            }
        }
    }
}

impl StudySize {
    fn new(space: &Space, trials: u32, parallel: u32) -> Self {
        // A parameter with one value leaves nothing to learn.
        let mut coordinates = coordinates(space);
        coordinates.retain(|coordinate| coordinate.kind.count() != Some(1));
        let is_choice = |kind: &PlaceKind| matches!(kind, PlaceKind::Choices(_));
        let choices = coordinates.iter().filter(|coordinate| is_choice(&coordinate.kind)).count();
        Self { numeric: coordinates.len() - choices, choices, trials, parallel }
    }

    fn reason(self, space: &Space) -> Reason {
        let closed = size(space).filter(|_| !space.values().any(Domain::is_open));
        if let Some(points) = closed.filter(|points| *points <= u64::from(self.trials)) {
            return Reason::AllFit { points };
        }
        if self.trials <= self.parallel.saturating_add(RESULTS_MIN) {
            return Reason::NoResults;
        }
        if space.keys().any(|name| !space.conditions(name).is_empty()) {
            return Reason::Conditions;
        }
        if self.choices >= self.numeric {
            return Reason::Choices;
        }
        let parameters = self.numeric + self.choices;
        let gaussian_fits = parameters <= GAUSSIAN_PARAMETERS_MAX && self.parallel <= GAUSSIAN_PARALLEL_MAX;
        if gaussian_fits && self.trials <= GAUSSIAN_TRIALS_MAX {
            return Reason::FewTrials;
        }
        if self.choices > 0 {
            return Reason::Choices;
        }
        if self.trials / TRIALS_PER_SLOT_MIN >= self.parallel {
            return Reason::ManyTrials;
        }
        if gaussian_fits { Reason::FewGenerations } else { Reason::NoneElse }
    }

    /// "3 numeric parameters", "2 choices", or both.
    fn parameters(self) -> String {
        let numeric = counted(self.numeric as u64, "numeric parameter");
        let choices = counted(self.choices as u64, "choice");
        match (self.numeric, self.choices) {
            (_, 0) => numeric,
            (0, _) => choices,
            _ => format!("{numeric}, {choices}"),
        }
    }
}

fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use broadsweep_common::configuration::Value;

    use super::*;
    use crate::condition::Condition;

    /// So many numbers and words.
    fn space(numeric: usize, choices: usize) -> Space {
        let real = Domain::Reals { min: 0.0, max: 1.0, log: false, count: None };
        let words = Domain::Values(["a", "b"].map(|word| Value::Choice(word.to_owned())).into());
        let numeric = (0..numeric).map(|number| (format!("x{number}"), real.clone()));
        numeric.chain((0..choices).map(|number| (format!("y{number}"), words.clone()))).collect()
    }

    #[test]
    fn each_rule_says_in_plain_words_what_it_went_by() {
        let rows = [
            (space(0, 2), 4, 1, "grid: the space has only 4 configurations, and 4 trials are allowed"),
            (space(0, 2), 3, 1, "sobol: with 3 trials, 1 at a time, there is no time to learn from results"),
            (space(3, 0), 20, 13, "sobol: with 20 trials, 13 at a time, there is no time to learn from results"),
            (space(3, 0), 100, 13, "gp: 3 numeric parameters and 100 trials"),
            (space(1, 0), 500, 64, "gp: 1 numeric parameter and 500 trials"),
            (space(3, 1), 100, 1, "gp: 3 numeric parameters, 1 choice and 100 trials"),
            (space(3, 1), 501, 1, "tpe: 3 numeric parameters, 1 choice and 501 trials"),
            (space(2, 2), 100, 1, "tpe: 2 numeric parameters, 2 choices and 100 trials"),
            (space(0, 7), 100, 1, "tpe: 7 choices and 100 trials"),
            (space(3, 0), 501, 13, "cmaes: 3 numeric parameters and 501 trials"),
            (space(51, 0), 325, 13, "cmaes: 51 numeric parameters and 325 trials"),
            (space(51, 0), 324, 13, "tpe: 51 numeric parameters and 324 trials, 13 at a time"),
            (space(3, 0), 1000, 64, "gp: 3 numeric parameters and 1000 trials, 64 at a time"),
            (space(3, 0), 1600, 64, "cmaes: 3 numeric parameters and 1600 trials"),
            (space(3, 0), 400, 101, "tpe: 3 numeric parameters and 400 trials, 101 at a time"),
        ];
        for (space, trials, parallel, why) in rows {
            assert_eq!(SamplerKind::why_chosen(&space, trials, parallel), why);
            assert!(why.starts_with(SamplerKind::chosen(&space, trials, parallel).word()));
        }
    }

    #[test]
    fn parameters_that_are_there_on_conditions_are_for_groups() {
        let mut space = space(3, 1);
        let condition = Condition { parent: "y0".to_owned(), values: vec![Value::Choice("a".to_owned())] };
        space.set_conditions([("x0".to_owned(), vec![condition])].into()).unwrap();
        let why = "tpe: 3 numeric parameters, 1 choice, some only there on conditions, and 100 trials";
        assert_eq!(SamplerKind::why_chosen(&space, 100, 1), why);
    }

    #[test]
    fn lists_of_numbers_are_numeric_and_a_grid_takes_no_open_range() {
        let layers = |count| Domain::Integers { min: 1, max: 3, log: false, count };
        let space = |domain| Space::from([("layers".to_owned(), domain)]);
        let chosen = |domain| SamplerKind::chosen(&space(domain), 60, 1);
        assert_eq!(chosen(layers(None)), SamplerKind::Gaussian { trials: 60 });
        assert_eq!(chosen(layers(Some(3))), SamplerKind::Grid);
        let numbers: Vec<_> = (0..100).map(Value::Integer).collect();
        assert_eq!(chosen(Domain::Values(numbers)), SamplerKind::Gaussian { trials: 60 });
    }

    #[test]
    fn a_parameter_with_one_value_counts_for_nothing() {
        let mut space = space(2, 0);
        for name in ["a", "b", "c"] {
            space.insert(name.to_owned(), Domain::Values(vec![Value::Choice("only".to_owned())]));
        }
        assert_eq!(SamplerKind::why_chosen(&space, 100, 1), "gp: 2 numeric parameters and 100 trials");
    }

    #[test]
    fn a_space_without_parameters_and_no_trials_are_no_harm() {
        assert_eq!(SamplerKind::chosen(&Space::new(), 5, 1), SamplerKind::Grid);
        assert_eq!(SamplerKind::chosen(&space(2, 0), 0, u32::MAX), SamplerKind::Sobol { trials: 0 });
    }
}
