//! What a constant guess gets, beside the best: what every model has to beat. And what a class is called.

use std::cmp::Ordering;

use broadsweep_common::dataset::Part;
use broadsweep_common::metrics::{Direction, MetricName};

use super::measured::{metric_text, title};
use crate::records::run::{DetailsRecord, RunRecord};

/// What people call a class: as the data does, or its number where that is not known.
#[must_use]
pub(crate) fn class_name(run: &RunRecord, class: u32) -> String {
    let labels = run.answers.as_ref().and_then(|answers| answers.labels.as_ref());
    let of_labels = labels.and_then(|labels| Some(&labels.classes.get(class as usize)?.class));
    run.class_names.get(class as usize).or(of_labels).cloned().unwrap_or_else(|| class.to_string())
}

/// `a constant guess gets validation error 88.65 %, test error 88.65 %`; `None` where nobody looked.
pub(super) fn guess_sentence(run: &RunRecord) -> Option<String> {
    let objective = run.objective();
    let named = |record: &DetailsRecord, name: &MetricName| {
        let value = record.details.guess.get(name)?;
        Some(format!("{} {}", title(run.loss, name), metric_text(run.loss, name, value)))
    };
    let mut parts = Vec::new();
    for record in &run.details {
        let [_, error] = MetricName::of_part(record.part);
        let apart = (objective.metric != error).then_some(&objective.metric);
        parts.extend(apart.into_iter().chain([&error]).filter_map(|name| named(record, name)));
    }
    if parts.is_empty() {
        return None;
    }
    let guess = run.details.iter().find_map(|record| record.details.guess.get(&objective.metric));
    let best = run.best().and_then(|best| run.value_of(best));
    let is_in_vain = guess.zip(best).is_some_and(|(guess, best)| is_no_better(objective.direction, best, guess));
    let verdict = if is_in_vain { "; the best is no better than that" } else { "" };
    Some(format!("a constant guess gets {}{verdict}", parts.join(", ")))
}

fn is_no_better(direction: Direction, best: f64, guess: f64) -> bool {
    direction.order(best, guess) != Ordering::Less
}

/// What the rows of a part are called, before a noun.
#[must_use]
pub(crate) fn part_rows(part: Part) -> &'static str {
    match part {
        Part::Train => "training rows",
        Part::Validation => "validation rows",
        Part::Test => "test rows",
    }
}

#[cfg(test)]
mod tests {
    use broadsweep_common::details::Details;
    use broadsweep_common::ids::TrialId;
    use broadsweep_common::metrics::{Metrics, Objective};

    use super::*;
    use crate::results::fixtures::{finished, run, with_own};

    fn looked(part: Part, guess: &[(&str, f64)]) -> DetailsRecord {
        let guess: Metrics = guess.iter().map(|(name, value)| (MetricName::new(name).unwrap(), *value)).collect();
        DetailsRecord { trial: TrialId(0), part, details: Details { guess, ..Details::default() } }
    }

    #[test]
    fn a_constant_guess_is_told_by_the_errors_and_by_what_ranks() {
        let mut record = run(vec![finished(0, 0.02)]);
        assert_eq!(guess_sentence(&record), None);
        record.details = vec![
            looked(Part::Validation, &[("validation_error", 0.9), ("validation_loss", 2.3)]),
            looked(Part::Test, &[("test_error", 0.875)]),
        ];
        let expected = "a constant guess gets validation error 90.00 %, test error 87.50 %";
        assert_eq!(guess_sentence(&record).as_deref(), Some(expected));
        record.details[0] = looked(Part::Validation, &[("validation_error", 0.02)]);
        assert!(guess_sentence(&record).unwrap().ends_with("; the best is no better than that"));
    }

    #[test]
    fn another_objective_stands_before_the_error() {
        let objective =
            Objective { metric: MetricName::new("validation_auc").unwrap(), direction: Direction::Maximize };
        let mut record = run(vec![with_own(finished(0, 0.02), "validation_auc", 0.75)]);
        record.objectives = objective.into();
        record.details = vec![looked(Part::Validation, &[("validation_error", 0.9), ("validation_auc", 0.5)])];
        let expected = "a constant guess gets validation_auc 0.5, validation error 90.00 %";
        assert_eq!(guess_sentence(&record).as_deref(), Some(expected));
    }
}
