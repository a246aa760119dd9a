//! What to try when no trial has a usable result.

use broadsweep_common::model::Loss;

use super::show::{counted, short_real};
use broadsweep_common::metrics::MetricName;

use crate::records::run::{RunRecord, Stage};

/// Learning rates that are listed; of more, the least and the largest.
const RATES_MAX: usize = 6;
/// How many powers of ten below the least rate are worth a try.
const POWERS: usize = 3;

/// What to try, where all trials are over, and none has a result because they diverged.
pub(super) fn advice(run: &RunRecord) -> Vec<String> {
    let counts = run.counts();
    let has_none = run.stage == Stage::Over && run.best().is_none();
    if !has_none || counts.diverged == 0 {
        return Vec::new();
    }
    let mut sentences = vec![format!(
        "{} diverged: a loss became infinite or no number, mostly since steps were too large",
        counted(counts.diverged as u64, "trial")
    )];
    sentences.extend(rates(run).map(|rates| format!("try {rates}")));
    sentences
        .push("try features on one scale: scaling = \"standard\" in [data], where another one is written".to_owned());
    if run.loss == Loss::MeanSquaredError {
        sentences
            .push("try targets of mean 0 and variance 1: leave target_scaling = \"none\" out of [data], where it is written".to_owned());
    }
    sentences
}

/// `smaller learning rates, as 0.1, 0.01 or 0.001; those tried were 1 and 10`.
fn rates(run: &RunRecord) -> Option<String> {
    let (least, largest) = (run.learning_rates.first()?, run.learning_rates.last()?);
    let tried: Vec<_> = run.learning_rates.iter().map(|rate| short_real(*rate)).collect();
    let tried = match &tried[..] {
        [one] => format!("the one tried was {one}"),
        [first @ .., last] if tried.len() <= RATES_MAX => format!("those tried were {} and {last}", first.join(", ")),
        _ => format!("those tried were {} to {}", short_real(*least), short_real(*largest)),
    };
    let mut smaller = [0.0; POWERS];
    let mut rate = power_of_ten_below(*least);
    for slot in &mut smaller {
        *slot = rate;
        rate /= 10.0;
    }
    let [first, second, third] = smaller.map(short_real);
    Some(format!("smaller learning rates, as {first}, {second} or {third}; {tried}"))
}

fn power_of_ten_below(rate: f64) -> f64 {
    let power = 10.0_f64.powi(rate.log10().ceil() as i32);
    if power < rate * 0.999 { power } else { power / 10.0 }
}

/// Objectives by which ties were to be decided, and that no trial reported.
pub(super) fn unreported(run: &RunRecord) -> Vec<String> {
    let finished = || run.trials.iter().filter(|trial| trial.counted().is_some());
    let is_missing = |metric: &MetricName| finished().all(|trial| trial.at_counted(metric).is_none());
    let ties = run.objectives.iter().skip(1).filter(|_| finished().next().is_some());
    let missing = ties.filter(|objective| is_missing(&objective.metric));
    missing
        .map(|objective| format!("no trial reported `{}`, which was to decide where trials tie", objective.metric))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::fixtures::{diverged, finished, given_up, run};

    fn with_rates(rates: &[f64]) -> RunRecord {
        RunRecord { learning_rates: rates.to_vec(), ..run(vec![diverged(0, 1), diverged(1, 1)]) }
    }

    #[test]
    fn a_run_of_divergences_says_what_to_try_by_powers_of_ten_below_what_was_tried() {
        let expected = [
            "2 trials diverged: a loss became infinite or no number, mostly since steps were too large",
            "try smaller learning rates, as 0.1, 0.01 or 0.001; those tried were 1 and 10",
            "try features on one scale: scaling = \"standard\" in [data], where another one is written",
        ];
        assert_eq!(advice(&with_rates(&[1.0, 10.0])), expected);
        let numbers = RunRecord { loss: Loss::MeanSquaredError, ..with_rates(&[0.5]) };
        assert!(advice(&numbers)[3].contains("target_scaling"));
        assert!(
            advice(&numbers)[1].ends_with("as 0.1, 0.01 or 0.001; the one tried was 0.5"),
            "{:?}",
            advice(&numbers)
        );
        let many: Vec<_> = (1..=7).map(|rate| f64::from(rate) * 3.0).collect();
        assert!(advice(&with_rates(&many))[1].ends_with("as 1, 0.1 or 0.01; those tried were 3 to 21"));
        assert_eq!(advice(&with_rates(&[])).len(), 2, "no rates are known");
    }

    #[test]
    fn nothing_is_advised_where_there_is_a_result_or_nothing_diverged_or_more_may_come() {
        assert_eq!(advice(&run(vec![diverged(0, 1), finished(1, 0.5)])), [""; 0]);
        assert_eq!(advice(&run(vec![given_up(0, "x")])), [""; 0]);
        assert_eq!(advice(&RunRecord { stage: Stage::GoingOn, ..with_rates(&[1.0]) }), [""; 0]);
    }
}
