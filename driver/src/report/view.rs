//! What all pictures of a run start from: its parameters, what its trials are ranked by, and who is the best.

use std::cmp::Ordering;

use broadsweep_common::metrics::Direction;
use broadsweep_common::model::Loss;
use broadsweep_search::ranking;

use super::among_best::{AmongBest, among_best};
use super::belief::{Beliefs, PARAMETERS_MAX, beliefs};
use super::importance::{Importance, importance};
use super::parameters::{Parameter, parameters};
use super::rungs::{Rungs, rungs};
use super::text::{label, long_label};
use crate::records::run::{RunRecord, TrialOutcome, TrialRecord};
use crate::results::measured::{is_error, is_percent, metric_text, title};
use crate::results::show::configuration_pairs;

/// Characters of the name of what ranks.
const NAME_CHARACTERS_MAX: usize = 40;
/// Characters of a configuration beside a point.
const CONFIGURATION_CHARACTERS_MAX: usize = 120;

/// A run as its pictures see it.
pub(super) struct View<'a> {
    /// The run.
    pub(super) run: &'a RunRecord,
    /// Its searched parameters, by name.
    pub(super) parameters: Vec<Parameter<'a>>,
    /// What they have to do with what ranks.
    pub(super) importance: Option<Importance>,
    /// What they have to do with being among the best.
    pub(super) among_best: Option<AmongBest>,
    /// What its sampler believes of the most important ones.
    pub(super) beliefs: Option<Beliefs>,
    /// What its pruner stopped.
    pub(super) rungs: Option<Rungs>,
    /// Trials that can be compared, best first: their places among all, with the value that is.
    pub(super) ranking: Vec<(usize, f64)>,
    /// Places of the trials that diverged.
    pub(super) diverged: Vec<usize>,
}

impl<'a> View<'a> {
    pub(super) fn of(run: &'a RunRecord) -> Self {
        let parameters = parameters(run);
        let importance = importance(run, &parameters);
        let among_best = among_best(run, &parameters);
        let values = run.trials.iter().enumerate().filter_map(|(place, trial)| {
            let value = run.value_of(trial).filter(|value| value.is_finite())?;
            Some((place, value))
        });
        let mut ranking: Vec<_> = values.collect();
        let valued = |place: usize| run.values_of(&run.trials[place]).unwrap_or_else(|| f64::NAN.into());
        ranking::sort(&run.objectives, &mut ranking, |(place, _)| (run.trials[*place].trial, valued(*place)));
        let has_diverged = |trial: &TrialRecord| matches!(trial.outcome, TrialOutcome::Diverged { .. });
        let places = run.trials.iter().enumerate();
        let diverged = places.filter(|(_, trial)| has_diverged(trial)).map(|(place, _)| place).collect();
        let rungs = rungs(run);
        let mut view = Self { run, parameters, importance, among_best, beliefs: None, rungs, ranking, diverged };
        let asked = view.by_importance().into_iter().take(PARAMETERS_MAX);
        let names: Vec<_> = asked.map(|place| view.parameters[place].name).collect();
        view.beliefs = beliefs(run, &names);
        view
    }

    /// Places among the parameters, the most important first: for the order of all trials, or else for being among the
    /// best, or else by name.
    pub(super) fn by_importance(&self) -> Vec<usize> {
        let mut places: Vec<_> = match (&self.importance, &self.among_best) {
            (Some(importance), _) => importance.ranked.iter().map(|(place, _)| *place).collect(),
            (None, Some(among_best)) => among_best.ranked.iter().map(|one| one.place).collect(),
            (None, None) => Vec::new(),
        };
        let others: Vec<_> = (0..self.parameters.len()).filter(|place| !places.contains(place)).collect();
        places.extend(others);
        places
    }

    /// Places of the trials to draw, best first, and their values: all of them, or the best half of `count` and an even
    /// sample of the others. The control is among them.
    pub(super) fn sample(&self, count: usize) -> Vec<(usize, f64)> {
        if self.ranking.len() <= count {
            return self.ranking.clone();
        }
        let (best, others) = self.ranking.split_at(count / 2);
        let wanted = count - best.len();
        let control = others.iter().position(|(place, _)| Some(*place) == self.control());
        let mut chosen: Vec<_> = (0..wanted).map(|place| place * others.len() / wanted).collect();
        chosen.extend(control);
        chosen.sort_unstable();
        chosen.dedup();
        best.iter().copied().chain(chosen.into_iter().map(|place| others[place])).collect()
    }

    /// The place of the control.
    pub(super) fn control(&self) -> Option<usize> {
        let control = self.run.control?;
        self.run.trials.iter().position(|trial| trial.trial == control)
    }

    /// `validation error`, for one: what trials are ranked by.
    pub(super) fn objective_name(&self) -> String {
        long_label(&title(self.run.loss, &self.run.objective().metric), NAME_CHARACTERS_MAX)
    }

    /// The same, with its unit.
    pub(super) fn objective_title(&self) -> String {
        let (name, metric) = (self.objective_name(), &self.run.objective().metric);
        match self.run.loss {
            Loss::CrossEntropy if is_error(metric) => format!("{name} (%)"),
            Loss::CrossEntropy | Loss::MeanSquaredError => name,
        }
    }

    /// Whether trials are ranked by an error.
    pub(super) fn is_of_errors(&self) -> bool {
        is_error(&self.run.objective().metric)
    }

    /// Whether values stand on their axis in percent.
    pub(super) fn is_percent(&self) -> bool {
        is_percent(self.run.loss, &self.run.objective().metric)
    }

    /// A value of the objective in the unit of its axis.
    pub(super) fn on_axis(&self, value: f64) -> f64 {
        if self.is_percent() { value * 100.0 } else { value }
    }

    /// A value of the objective for people.
    pub(super) fn value_text(&self, value: f64) -> String {
        metric_text(self.run.loss, &self.run.objective().metric, value)
    }

    /// Whether the best value is the smallest.
    pub(super) fn minimizes(&self) -> bool {
        self.run.objective().direction == Direction::Minimize
    }

    /// Whether the first of two values is the better one.
    pub(super) fn is_better(&self, one: f64, other: f64) -> bool {
        self.run.objective().direction.order(one, other) == Ordering::Less
    }

    /// What a trial is called.
    pub(super) fn trial_name(&self, place: usize) -> String {
        if Some(place) == self.control() {
            "the control".to_owned()
        } else {
            self.run.trials[place].trial.to_string()
        }
    }

    /// What stands beside the point of a trial: its name, `about` it, and its configuration.
    pub(super) fn point_text(&self, place: usize, about: &str) -> String {
        let trial = &self.run.trials[place];
        let mut text = format!("{}<br>{about}", self.trial_name(place));
        let mut characters = 0;
        for pair in configuration_pairs(&trial.configuration) {
            characters += pair.chars().count();
            if characters > CONFIGURATION_CHARACTERS_MAX {
                text.push_str("<br>…");
                break;
            }
            text.push_str("<br>");
            text.push_str(&label(&pair));
        }
        text
    }
}

/// The quartiles of numbers in order; `None` where there are none.
pub(super) fn quartiles(sorted: &[f64]) -> Option<[f64; 3]> {
    let last = sorted.len().checked_sub(1)?;
    Some([0.25, 0.5, 0.75].map(|share| {
        let place = share * last as f64;
        let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
        below + (above - below) * (place - place.floor())
    }))
}

#[cfg(test)]
mod tests {
    use broadsweep_common::ids::TrialId;

    use super::*;
    use crate::results::fixtures::{diverged, finished, given_up, run};

    #[test]
    fn trials_are_ranked_and_diverged_ones_stand_apart() {
        let record =
            run(vec![finished(0, 0.3), diverged(1, 1), finished(2, 0.1), given_up(3, "x"), finished(4, f64::NAN)]);
        let view = View::of(&record);
        assert_eq!((&view.ranking[..], &view.diverged[..]), (&[(2, 0.1), (0, 0.3)][..], &[1][..]));
    }

    #[test]
    fn a_sample_holds_the_best_and_the_control() {
        let mut record = run((0..1000).map(|trial| finished(trial, f64::from(trial) / 1000.0)).collect());
        record.control = Some(TrialId(777));
        let sample = View::of(&record).sample(100);
        assert!((100..=101).contains(&sample.len()), "{}", sample.len());
        assert!((0..50).all(|place| sample[place].0 == place));
        assert!(sample.iter().any(|(place, _)| *place == 777));
        assert!(sample.windows(2).all(|pair| pair[0].1 < pair[1].1));
        assert!(sample.last().unwrap().0 > 950);
    }

    #[test]
    fn quartiles_lie_between_numbers() {
        assert_eq!(quartiles(&[1.0, 2.0, 3.0, 4.0]), Some([1.75, 2.5, 3.25]));
        assert_eq!((quartiles(&[5.0]), quartiles(&[])), (Some([5.0; 3]), None));
    }
}
