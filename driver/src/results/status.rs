//! How far a run is, in a few lines.

use serde_json::json;

use super::measured::metric_text;
use super::remarks::{best_sentence, count_sentence, trials_text};
use super::show::configuration_pairs;
use crate::records::run::{RunRecord, Stage};

/// Whether it goes on, trials done of all, the best so far, time, executors; and what can be done `next`.
#[must_use]
pub fn status(run: &RunRecord, next: &str) -> String {
    let (counts, best) = (run.counts(), run.best());
    let ended = counts.ended();
    let configuration = best.map(|best| configuration_pairs(&best.configuration).collect::<Vec<_>>().join(" "));
    let configuration = configuration.filter(|pairs| !pairs.is_empty()).map(|pairs| format!("    {pairs}\n"));
    format!(
        "{} {}: {ended} of {} are over\n{}\n{}\n{}{next}\n",
        run.study,
        match run.stage {
            Stage::GoingOn => "is going on",
            Stage::Interrupted => "was interrupted",
            Stage::Over => "is over",
        },
        trials_text(run),
        count_sentence(run),
        best_sentence(run),
        configuration.unwrap_or_default(),
    )
}

/// The same for programs, with the command that can be typed `next`. What is absent, or no number, is `null`.
#[must_use]
pub fn status_json(run: &RunRecord, next: &str) -> String {
    let counts = run.counts();
    let best = run.best().map(|best| {
        let value = run.value_of(best);
        json!({
            "trial": best.trial.0,
            "metric": run.objective().metric,
            "value": value,
            "shown": value.map(|value| metric_text(run.loss, &run.objective().metric, value)),
        })
    });
    let status = json!({
        "study": run.study,
        "state": match run.stage {
            Stage::GoingOn => "going_on",
            Stage::Interrupted => "interrupted",
            Stage::Over => "over",
        },
        "trials": {
            "planned": counts.planned,
            "over": counts.ended(),
            "finished": counts.finished,
            "diverged": counts.diverged,
            "failed": counts.failed,
            "paused": counts.paused,
            "left_out": counts.left_out,
        },
        "best": best,
        "wall_s": run.wall_s,
        "executors": run.executors,
        "slots": run.slots,
        "next": next,
    });
    format!("{status:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::fixtures::{diverged, finished, not_run, run};

    #[test]
    fn a_status_says_how_far_a_run_is_and_what_is_best() {
        let mut record = run(vec![finished(0, 0.5), finished(1, 0.25), diverged(2, 1), not_run(3)]);
        record.stage = Stage::GoingOn;
        let text = status(&record, "to see more: look");
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].ends_with(" is going on: 3 of 4 trials are over"), "{text}");
        assert!(lines[1].starts_with("4 trials: 2 finished, 1 diverged, 1 not over yet; "), "{text}");
        assert_eq!(lines[2], "best so far: trial 1, validation error 25.00 %");
        assert_eq!(
            lines[3],
            format!("    {}", configuration_pairs(&record.trials[1].configuration).collect::<Vec<_>>().join(" "))
        );
        assert_eq!(lines[4..], ["to see more: look"]);

        for (stage, state) in
            [(Stage::GoingOn, "going_on"), (Stage::Interrupted, "interrupted"), (Stage::Over, "over")]
        {
            let status: serde_json::Value =
                serde_json::from_str(&status_json(&RunRecord { stage, ..record.clone() }, "next")).unwrap();
            assert_eq!(status["state"], state);
            assert_eq!((&status["trials"]["over"], &status["best"]["value"]), (&3.into(), &0.25.into()));
        }
    }

    #[test]
    fn a_run_without_a_result_has_no_best() {
        let record = run(vec![not_run(0)]);
        assert!(status(&record, "next").contains("no trial has a result"));
        let status: serde_json::Value = serde_json::from_str(&status_json(&record, "next")).unwrap();
        assert!(status["best"].is_null());
    }
}
