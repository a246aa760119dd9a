//! Which metrics tables show, what they are called there, and how their values are written.

use broadsweep_common::metrics::MetricName;
use broadsweep_common::model::Loss;

use super::show::{error_text, printable, short_real};
use crate::records::run::RunRecord;

/// Metrics that every table of trials has a column for, whatever the trainer: readers of files find them in each run.
pub(crate) const USUAL: [MetricName; 5] = [
    MetricName::TRAINING_LOSS,
    MetricName::VALIDATION_LOSS,
    MetricName::VALIDATION_ERROR,
    MetricName::TEST_LOSS,
    MetricName::TEST_ERROR,
];
/// What people call the measures of numbers.
const OF_NUMBERS: [(&str, &str); 3] =
    [("error", "root mean square error"), ("mae", "mean absolute error"), ("r2", "R2")];
const PARTS: [&str; 3] = ["training", "validation", "test"];
/// Characters of a name for people.
const NAME_CHARACTERS_MAX: usize = 24;

/// Whether a metric has its place in every table, or, like the step size, in that of epochs alone.
pub(crate) fn is_usual(name: &MetricName) -> bool {
    *name == MetricName::LEARNING_RATE || USUAL.contains(name)
}

/// The metrics of a run that not every run has, in the order of their names.
pub(crate) fn further(run: &RunRecord) -> Vec<MetricName> {
    run.metric_names().into_iter().filter(|name| !is_usual(name)).collect()
}

/// Whether a metric is an error: a fraction wrong, or a root mean square.
pub(crate) fn is_error(name: &MetricName) -> bool {
    *name == MetricName::VALIDATION_ERROR || *name == MetricName::TEST_ERROR
}

/// Whether a metric is shown in percent.
pub(crate) fn is_percent(loss: Loss, name: &MetricName) -> bool {
    is_error(name) && loss == Loss::CrossEntropy
}

/// What people call a metric: `validation error`, or of numbers `validation root mean square error`; one of a trainer's
/// own as it is, if it is not too long.
pub(crate) fn title(loss: Loss, name: &MetricName) -> String {
    let of_numbers = || {
        let (part, word) = name.as_str().split_once('_')?;
        let (_, told) = OF_NUMBERS.iter().find(|(known, _)| *known == word)?;
        PARTS.contains(&part).then(|| format!("{part} {told}"))
    };
    let told = if loss == Loss::MeanSquaredError { of_numbers() } else { None };
    let own = || {
        if is_usual(name) { name.as_str().replace('_', " ") } else { printable(name.as_str(), NAME_CHARACTERS_MAX) }
    };
    told.unwrap_or_else(own)
}

/// The value of a metric for people.
pub(crate) fn metric_text(loss: Loss, name: &MetricName, value: f64) -> String {
    if is_error(name) { error_text(loss, value) } else { short_real(value) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::fixtures::{finished, run, with_own};

    #[test]
    fn a_metric_of_a_trainers_own_is_a_number_under_its_own_name() {
        let accuracy = MetricName::new("accuracy_top_5").unwrap();
        let shown = |name: &MetricName, value| {
            format!("{} {}", title(Loss::CrossEntropy, name), metric_text(Loss::CrossEntropy, name, value))
        };
        assert_eq!(shown(&accuracy, 0.987_654), "accuracy_top_5 0.987654");
        assert_eq!(shown(&MetricName::TEST_ERROR, 0.021), "test error 2.10 %");
        assert_eq!(shown(&MetricName::VALIDATION_ERROR, f64::NAN), "validation error NaN");
        let of_numbers = ["test_error", "validation_mae", "test_r2", "best_r2", "training_loss"];
        let told = of_numbers.map(|name| title(Loss::MeanSquaredError, &MetricName::new(name).unwrap()));
        let names =
            ["test root mean square error", "validation mean absolute error", "test R2", "best_r2", "training loss"];
        assert_eq!(told, names);
        let record = run(vec![finished(0, 0.1), with_own(finished(1, 0.1), "accuracy_top_5", 0.9)]);
        assert_eq!(further(&record), [accuracy]);
    }
}
