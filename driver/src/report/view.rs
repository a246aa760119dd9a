//! What all pictures of a run start from: its parameters, its errors, and who is the best.

use std::cmp::Ordering;

use broadsweep_common::model::Loss;
use broadsweep_common::task::Select;

use super::importance::{Importance, importance};
use super::parameters::{Parameter, parameters};
use super::text::label;
use crate::records::run::{RunRecord, TrialOutcome, TrialRecord};
use crate::results::show::{configuration_pairs, error_text};

/// Characters of a configuration beside a point.
const CONFIGURATION_CHARACTERS_MAX: usize = 120;

/// A run as its pictures see it.
pub(super) struct View<'a> {
    /// The run.
    pub(super) run: &'a RunRecord,
    /// Its searched parameters, by name.
    pub(super) parameters: Vec<Parameter<'a>>,
    /// What they have to do with the error.
    pub(super) importance: Option<Importance>,
    /// Trials that can be compared, best first: their places among all, with the error that is compared.
    pub(super) ranking: Vec<(usize, f64)>,
    /// Places of the trials that diverged.
    pub(super) diverged: Vec<usize>,
}

impl<'a> View<'a> {
    pub(super) fn of(run: &'a RunRecord) -> Self {
        let parameters = parameters(run);
        let importance = importance(run, &parameters);
        let errors = run.trials.iter().enumerate().filter_map(|(place, trial)| {
            let error = trial.selected_error(run.select).filter(|error| error.is_finite())?;
            Some((place, error))
        });
        let mut ranking: Vec<_> = errors.collect();
        ranking.sort_by(|(place, error), (other_place, other)| {
            error.partial_cmp(other).unwrap_or(Ordering::Equal).then(place.cmp(other_place))
        });
        let has_diverged = |trial: &TrialRecord| matches!(trial.outcome, TrialOutcome::Diverged { .. });
        let places = run.trials.iter().enumerate();
        let diverged = places.filter(|(_, trial)| has_diverged(trial)).map(|(place, _)| place).collect();
        Self { run, parameters, importance, ranking, diverged }
    }

    /// Places among the parameters, the most important first; by name where that is not known.
    pub(super) fn by_importance(&self) -> Vec<usize> {
        match &self.importance {
            Some(importance) => importance.ranked.iter().map(|(place, _)| *place).collect(),
            None => (0..self.parameters.len()).collect(),
        }
    }

    /// Places of the trials to draw, best first, and their errors: all of them, or the best half of `count` and an even
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

    /// `validation error` or `test error`: what trials are compared by.
    pub(super) fn error_name(&self) -> &'static str {
        match self.run.select {
            Select::Validation => "validation error",
            Select::Test => "test error",
        }
    }

    /// The same, with its unit.
    pub(super) fn error_title(&self) -> String {
        match self.run.loss {
            Loss::CrossEntropy => format!("{} (%)", self.error_name()),
            Loss::MeanSquaredError => format!("{} (root mean square)", self.error_name()),
        }
    }

    /// An error in the unit of its axis.
    pub(super) fn error_number(&self, error: f64) -> f64 {
        match self.run.loss {
            Loss::CrossEntropy => error * 100.0,
            Loss::MeanSquaredError => error,
        }
    }

    /// An error for people.
    pub(super) fn error_text(&self, error: f64) -> String {
        error_text(self.run.loss, error)
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
