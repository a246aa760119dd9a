//! What there is to say about a run, in sentences.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use broadsweep_common::attempt::Used;
use broadsweep_common::metrics::MetricName;

use super::advice::{advice, unreported};
use super::answered::answered_sentence;
use super::guess::guess_sentence;
use super::measured::{is_error, metric_text, title};
use super::order::{change_sentences, end_sentence, order_sentence};
use super::show::{bytes_text, counted, duration_text, error_text, printable};
use crate::ledger::{self, Ledger};
use crate::records::attempt::Blame;
use crate::records::difference::{DifferenceRecord, Odd};
use crate::records::run::{RunRecord, Stage, TrialOutcome, TrialRecord};

/// Trials that were given up and are told of, each with its reason.
const REASONS_MAX: usize = 5;
/// Characters of a reason: it may hold what a failing program wrote.
const REASON_CHARACTERS_MAX: usize = 200;

/// `best: trial 12, validation error 2.00 %, test error 2.10 %, 34 % lower than the control's 3.18 %`.
#[must_use]
pub fn best_sentence(run: &RunRecord) -> String {
    let goes_on = run.stage == Stage::GoingOn;
    if !run.trains() {
        return answered_sentence(run);
    }
    let Some(best) = run.best() else {
        let yet = if goes_on { " yet" } else { "" };
        return format!("no trial has a result{yet}, so there is no best configuration");
    };
    let is_control = Some(best.trial) == run.control;
    let so_far = if goes_on { " so far" } else { "" };
    let mut parts = Vec::new();
    parts.push(if is_control {
        format!("best{so_far}: the control, which no other trial beat")
    } else {
        format!("best{so_far}: {}", best.trial)
    });
    let objective = &run.objective().metric;
    if *objective != MetricName::TEST_ERROR {
        parts.extend(run.value_of(best).map(|value| named(run, objective, value)));
    }
    if let Some(error) = best.metric(&MetricName::TEST_ERROR) {
        parts.push(named(run, &MetricName::TEST_ERROR, error));
        if !is_control {
            parts.extend(comparison(run));
        }
    } else if !is_control && !is_error(objective) {
        let control = run.control_trial().and_then(|control| run.value_of(control));
        parts.extend(control.map(|value| format!("the control's is {}", metric_text(run.loss, objective, value))));
    }
    parts.join(", ")
}

fn named(run: &RunRecord, metric: &MetricName, value: f64) -> String {
    format!("{} {}", title(run.loss, metric), metric_text(run.loss, metric, value))
}

/// `34 % lower than the control's 3.18 %`, where both were tested.
fn comparison(run: &RunRecord) -> Option<String> {
    let control = error_text(run.loss, run.control_trial()?.metric(&MetricName::TEST_ERROR)?);
    Some(match run.error_reduction() {
        None => format!("the control's is {control}"),
        Some(reduction) if reduction > 0.0 => format!("{} lower than the control's {control}", percent(reduction)),
        Some(reduction) if reduction < 0.0 => format!("{} higher than the control's {control}", percent(reduction)),
        Some(_) => "the same as the control's".to_owned(),
    })
}

/// Whole percents; a digit more below one.
fn percent(fraction: f64) -> String {
    let percent = fraction.abs() * 100.0;
    if percent < 0.95 { format!("{percent:.1} %") } else { format!("{percent:.0} %") }
}

/// What one should know besides: how trustworthy the error is, what went wrong, what it took.
#[must_use]
pub fn remarks(run: &RunRecord) -> Vec<String> {
    let mut sentences = Vec::new();
    if run.is_chosen_by_test_rows() && run.best().is_some() {
        sentences.push(
            "the test rows chose the best, so its error on them is no estimate of its error on new data".to_owned(),
        );
    }
    sentences.extend(guess_sentence(run));
    sentences.extend(unreported(run));
    sentences.extend(advice(run));
    sentences.push(count_sentence(run));
    sentences.extend(change_sentences(run));
    sentences.extend(end_sentence(run));
    sentences.extend(order_sentence(run));
    sentences.extend(differences(run));
    sentences.extend(unfinished(run));
    sentences.extend(given_up(run));
    sentences.extend(used_sentence(run));
    sentences.extend(stage_sentence(run));
    sentences.push(broadcast_sentence(run));
    sentences.extend(ledger::sentences(&Ledger::of(run), run));
    sentences
}

/// Where executors told different numbers, and what that means.
fn differences(run: &RunRecord) -> Vec<String> {
    let sentence = |difference: &DifferenceRecord| {
        let DifferenceRecord { trial, epoch, first, other, odd } = *difference;
        let (first, other) = (run.executor_name(first), run.executor_name(other));
        let found = match odd {
            Odd::Sought => "which of them is wrong is not known yet".to_owned(),
            Odd::First => format!("{first} is wrong, as a third one showed, and its numbers stand here"),
            Odd::Other => format!("{other} is wrong, as a third one showed; check what it computed for other trials"),
            Odd::Unknown => "which of them is wrong could not be found out".to_owned(),
        };
        format!("{trial}, epoch {epoch}: {first} and {other} computed different numbers; {found}")
    };
    let mut sentences: Vec<_> = run.differences.iter().take(REASONS_MAX).map(sentence).collect();
    let more = run.differences.len().saturating_sub(REASONS_MAX);
    if more > 0 {
        sentences.push(format!("{} more: summary.json holds them", counted(more as u64, "such difference")));
    }
    if run.is_suspect() {
        sentences.push(
            "the run is suspect: results above may be wrong; find the odd machine, and run the study again without it"
                .to_owned(),
        );
    }
    sentences
}

/// What a trial is called that has no end.
#[must_use]
pub fn without_an_end(run: &RunRecord) -> &'static str {
    if run.stage == Stage::GoingOn { "not over yet" } else { "not run" }
}

/// What is said of a trial of which nothing was begun, since the run was stopped.
pub const LEFT_OUT: &str = "left out";

/// What programs used, where that is known.
fn used_sentence(run: &RunRecord) -> Option<String> {
    let all = Used::sum(run.attempts.iter().map(|attempt| attempt.used))?;
    let largest = run.attempts.iter().max_by_key(|attempt| attempt.used.map(|used| used.memory_peak_bytes))?;
    Some(format!(
        "programs used {} of processor time, and {} of memory at most, in attempt {}",
        duration_text(seconds(all.cpu_s())),
        bytes_text(all.memory_peak_bytes),
        largest.attempt
    ))
}

/// Why there is not all that was planned.
fn stage_sentence(run: &RunRecord) -> Option<String> {
    let counts = run.counts();
    match run.stage {
        Stage::GoingOn => {
            let (ended, trials) = (counts.ended(), trials_text(run));
            Some(format!("the run goes on: {ended} of {trials} are over so far, and the results are theirs"))
        }
        Stage::Interrupted => {
            Some(format!("the run was interrupted: the results are those of the {}s that ended before", run.noun()))
        }
        Stage::Over => None,
    }
}

/// `25 trials`, or `up to 500 trials` while a search decides on more.
#[must_use]
pub fn trials_text(run: &RunRecord) -> String {
    match run.trials_at_most() {
        Some(at_most) => format!("up to {}", counted(at_most, "trial")),
        None => counted(run.counts().planned as u64, run.noun()),
    }
}

/// `25 trials: 24 finished, 1 diverged; 27 attempts in 36 s on 1 executor with 2 slots`.
pub(super) fn count_sentence(run: &RunRecord) -> String {
    let counts = run.counts();
    let kinds = [
        (counts.finished, "finished"),
        (counts.diverged, "diverged"),
        (counts.failed, "given up"),
        (counts.paused, "not continued"),
        (counts.not_run, without_an_end(run)),
        (counts.left_out, LEFT_OUT),
    ];
    let told = kinds.into_iter().enumerate().filter(|(place, (count, _))| *place == 0 || *count > 0);
    let told: Vec<_> = told.map(|(_, (count, kind))| format!("{count} {kind}")).collect();
    format!(
        "{}: {}; {} in {} on {} with {}",
        counted(counts.planned as u64, run.noun()),
        told.join(", "),
        counted(run.attempts.len() as u64, "attempt"),
        duration_text(seconds(run.wall_s)),
        counted(run.executors.into(), "executor"),
        counted(run.slots.into(), "slot"),
    )
}

/// Why attempts did not end with a result: one sentence a kind of end, with the reasons that came most often.
fn unfinished(run: &RunRecord) -> Vec<String> {
    let mut kinds: BTreeMap<&str, (u64, BTreeMap<String, u64>)> = BTreeMap::new();
    for attempt in &run.attempts {
        let Some(end) = attempt.end_without_result() else { continue };
        let (count, reasons) = kinds.entry(end.word()).or_default();
        *count += 1;
        let reason = match end.blames() {
            // The executor is why, whatever its connection died of.
            Blame::Executor => format!("with {}", run.executor_name(attempt.executor)),
            Blame::Nobody | Blame::Program => end.reason(),
        };
        if !reason.is_empty() {
            *reasons.entry(printable(&reason, REASON_CHARACTERS_MAX)).or_default() += 1;
        }
    }
    let sentence = |(word, (count, reasons)): (&str, (u64, BTreeMap<String, u64>))| {
        let mut reasons: Vec<_> = reasons.into_iter().collect();
        reasons.sort_by_key(|(_, count)| Reverse(*count));
        let more = reasons.len().saturating_sub(REASONS_MAX);
        reasons.truncate(REASONS_MAX);
        let times =
            |(reason, count): (String, u64)| if count == 1 { reason } else { format!("{reason} ({count} times)") };
        let mut told: Vec<_> = reasons.into_iter().map(times).collect();
        if more > 0 {
            told.push(format!("{} more", counted(more as u64, "reason")));
        }
        let colon = if told.is_empty() { "" } else { ": " };
        format!("{} {word}{colon}{}", counted(count, "attempt"), told.join("; "))
    };
    kinds.into_iter().map(sentence).collect()
}

fn given_up(run: &RunRecord) -> Vec<String> {
    let with_reason = |trial: &TrialRecord| match &trial.outcome {
        TrialOutcome::GivenUp { reason } => {
            Some(format!("{} was given up: {}", trial.trial, printable(reason, REASON_CHARACTERS_MAX)))
        }
        TrialOutcome::Finished { .. }
        | TrialOutcome::Diverged { .. }
        | TrialOutcome::Paused { .. }
        | TrialOutcome::NotRun
        | TrialOutcome::LeftOut => None,
    };
    let mut sentences: Vec<_> = run.trials.iter().filter_map(with_reason).collect();
    let more = sentences.len().saturating_sub(REASONS_MAX);
    sentences.truncate(REASONS_MAX);
    if more > 0 {
        sentences.push(format!("{more} more were given up: trials.csv holds all reasons"));
    }
    sentences
}

fn broadcast_sentence(run: &RunRecord) -> String {
    let broadcast = run.broadcast;
    let data = bytes_text(broadcast.data_raw_bytes);
    let encoded = (broadcast.data_bytes < broadcast.data_raw_bytes)
        .then(|| format!(" ({} on the wire)", bytes_text(broadcast.data_bytes)));
    let encoded = encoded.unwrap_or_default();
    let sent = bytes_text(broadcast.sent_bytes);
    let others = [(broadcast.from_peers_bytes, "between executors"), (broadcast.from_cache_bytes, "from caches")];
    let others = others.into_iter().filter(|(bytes, _)| *bytes > 0);
    let others: Vec<_> = others.map(|(bytes, how)| format!(", {} {how}", bytes_text(bytes))).collect();
    let others = others.concat();
    format!("broadcast: {data} of data{encoded}, {sent} sent{others} in {:.1} s", broadcast.wall_s)
}

/// Durations come from a clock, yet a record may be made by hand: what is no duration is shown as none.
pub(super) fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use broadsweep_common::ids::{ExecutorId, TrialId};
    use broadsweep_common::task::Select;

    use super::*;
    use crate::results::fixtures::{at, diverged, finished, given_up, not_run, run, tested, with_own};
    use broadsweep_common::metrics::{Direction, Objective};
    use broadsweep_search::ranking::Objectives;

    fn with_control(trials: Vec<TrialRecord>) -> RunRecord {
        RunRecord { control: Some(TrialId(0)), ..run(trials) }
    }

    #[test]
    fn an_objective_that_was_to_decide_ties_and_that_no_trial_reported_is_named() {
        let named = |name: &str| Objective { metric: MetricName::new(name).unwrap(), direction: Direction::Maximize };
        let error = Select::Validation.objective();
        for (tie, is_named) in [("auc", true), ("validation_loss", false)] {
            let objectives = Objectives::new(error.clone(), vec![named(tie)]);
            let record = RunRecord { objectives, ..run(vec![finished(0, 0.1)]) };
            let said = remarks(&record).join("\n");
            assert_eq!(said.contains(&format!("no trial reported `{tie}`, which was to decide")), is_named, "{said}");
        }
    }

    #[test]
    fn a_difference_is_told_with_who_is_wrong_and_what_that_means() {
        let told = |odd| {
            let (first, other) = (ExecutorId(0), ExecutorId(1));
            let difference = DifferenceRecord { trial: TrialId(0), epoch: 2, first, other, odd };
            let stage = if odd == Odd::Sought { Stage::GoingOn } else { Stage::Over };
            remarks(&RunRecord { differences: vec![difference], stage, ..run(vec![finished(0, 0.1)]) }).join("\n")
        };
        let rows = [
            (Odd::Sought, "which of them is wrong is not known yet", false),
            (Odd::First, "127.0.0.1:7070 is wrong, as a third one showed, and its numbers stand here", true),
            (Odd::Other, "127.0.0.1:7071 is wrong, as a third one showed; check what it computed", false),
            (Odd::Unknown, "which of them is wrong could not be found out", true),
        ];
        for (odd, found, is_suspect) in rows {
            let said = told(odd);
            assert!(said.contains("trial 0, epoch 2: 127.0.0.1:7070 and 127.0.0.1:7071 computed"), "{said}");
            assert!(said.contains(found) && said.contains("the run is suspect") == is_suspect, "{said}");
        }
    }

    #[test]
    fn the_best_is_compared_with_the_control() {
        for (best, expected) in [
            (
                0.0210,
                "best: trial 1, validation error 2.00 %, test error 2.10 %, 34 % lower than the control's 3.18 %",
            ),
            (
                0.0401,
                "best: trial 1, validation error 2.00 %, test error 4.01 %, 26 % higher than the control's 3.18 %",
            ),
            (
                0.0317,
                "best: trial 1, validation error 2.00 %, test error 3.17 %, 0.3 % lower than the control's 3.18 %",
            ),
            (0.0318, "best: trial 1, validation error 2.00 %, test error 3.18 %, the same as the control's"),
        ] {
            let record = with_control(vec![tested(finished(0, 0.03), 0.0318), tested(finished(1, 0.02), best)]);
            assert_eq!(best_sentence(&record), expected);
        }
    }

    #[test]
    fn without_a_comparison_the_best_stands_alone() {
        let trials = vec![finished(0, 0.03), tested(finished(1, 0.02), 0.021)];
        let alone = "best: trial 1, validation error 2.00 %, test error 2.10 %";
        assert_eq!(best_sentence(&run(trials.clone())), alone);
        assert_eq!(best_sentence(&with_control(trials)), alone);
        let record = with_control(vec![tested(finished(0, 0.03), 0.0), tested(finished(1, 0.02), 0.021)]);
        assert_eq!(best_sentence(&record), format!("{alone}, the control's is 0.00 %"));
        assert_eq!(best_sentence(&run(vec![finished(1, 0.02)])), "best: trial 1, validation error 2.00 %");
    }

    #[test]
    fn another_objective_is_told_by_its_name_beside_the_controls() {
        let accuracy = |trial, value| with_own(finished(trial, 0.1), "accuracy", value);
        let objective = Objective { metric: MetricName::new("accuracy").unwrap(), direction: Direction::Maximize };
        let record =
            RunRecord { objectives: objective.into(), ..with_control(vec![accuracy(0, 0.5), accuracy(1, 0.75)]) };
        assert_eq!(best_sentence(&record), "best: trial 1, accuracy 0.75, the control's is 0.5");
    }

    #[test]
    fn a_control_that_wins_is_told_as_such() {
        let record = with_control(vec![tested(finished(0, 0.01), 0.02), finished(1, 0.02)]);
        let expected = "best: the control, which no other trial beat, validation error 1.00 %, test error 2.00 %";
        assert_eq!(best_sentence(&record), expected);
    }

    #[test]
    fn a_run_without_results_says_so() {
        let record = run(vec![diverged(0, 1)]);
        assert_eq!(best_sentence(&record), "no trial has a result, so there is no best configuration");
    }

    #[test]
    fn test_rows_that_chose_the_best_are_no_estimate() {
        let mut record = run(vec![at(finished(0, 0.5), 2, &MetricName::TEST_ERROR, Some(0.02))]);
        record.objectives = Select::Test.objective().into();
        assert_eq!(best_sentence(&record), "best: trial 0, test error 2.00 %");
        let warned = |record: &RunRecord| remarks(record).iter().any(|sentence| sentence.contains("no estimate"));
        assert!(warned(&record));
        record.objectives = Select::Validation.objective().into();
        assert!(!warned(&record));
    }

    #[test]
    fn what_went_wrong_is_counted() {
        let mut record = run(vec![finished(0, 0.1), diverged(1, 1), given_up(2, "no\nroom"), not_run(3)]);
        record.stage = Stage::Interrupted;
        let expected = [
            "4 trials: 1 finished, 1 diverged, 1 given up, 1 not run; 6 attempts in 12 s on 2 executors with 4 slots",
            "3 attempts failed: out of luck (3 times)",
            "trial 2 was given up: no\\nroom",
            "the run was interrupted: the results are those of the trials that ended before",
            "broadcast: 1000 B of data, 2.0 KiB sent, 4.0 KiB between executors in 0.2 s",
        ];
        assert_eq!(remarks(&record)[..5], expected);
        assert_eq!(remarks(&record)[5..], ledger::sentences(&Ledger::of(&record), &record));
        record.broadcast.data_raw_bytes = 2048;
        assert_eq!(
            broadcast_sentence(&record),
            "broadcast: 2.0 KiB of data (1000 B on the wire), 2.0 KiB sent, 4.0 KiB between executors in 0.2 s"
        );
        assert_eq!(
            remarks(&run(vec![finished(0, 0.1)]))[0],
            "1 trial: 1 finished; 1 attempt in 12 s on 2 executors with 4 slots"
        );
    }

    #[test]
    fn a_run_that_goes_on_is_told_as_it_is_so_far() {
        let going_on = |trials| RunRecord { stage: Stage::GoingOn, ..run(trials) };
        let record = going_on(vec![finished(0, 0.1), not_run(1), not_run(2)]);
        assert_eq!(best_sentence(&record), "best so far: trial 0, validation error 10.00 %");
        let expected = [
            "3 trials: 1 finished, 2 not over yet; 1 attempt in 12 s on 2 executors with 4 slots",
            "the run goes on: 1 of 3 trials are over so far, and the results are theirs",
        ];
        assert_eq!(remarks(&record)[..2], expected);
        let begun = going_on(vec![not_run(0)]);
        assert_eq!(best_sentence(&begun), "no trial has a result yet, so there is no best configuration");
    }

    #[test]
    fn reasons_are_bounded_in_number_and_length() {
        let long = "x".repeat(10_000);
        let record = run((0..8).map(|trial| given_up(trial, &long)).collect());
        let told: Vec<_> = remarks(&record).into_iter().filter(|line| line.contains("was given up:")).collect();
        assert_eq!(told.len(), REASONS_MAX);
        assert!(told.iter().all(|line| line.chars().count() < REASON_CHARACTERS_MAX + 40));
        assert!(remarks(&record).contains(&"3 more were given up: trials.csv holds all reasons".to_owned()));
    }

    #[test]
    fn a_time_that_is_no_duration_is_no_crash() {
        for wall_s in [f64::NAN, f64::INFINITY, -1.0] {
            let record = RunRecord { wall_s, ..run(vec![]) };
            assert_eq!(remarks(&record)[0], "0 trials: 0 finished; 0 attempts in 0 s on 2 executors with 4 slots");
        }
    }
}
