//! A machine that computes other numbers than the others: what it tells, and what has to be so in the end. What it told
//! first stands, since nobody can know better; whoever is called odd is that machine.

use std::collections::BTreeSet;

use broadsweep_common::ids::{ExecutorId, TaskId, TrialId};
use broadsweep_common::metrics::{MetricName, Metrics};
use broadsweep_driver::records::attempt::{AttemptEnd, AttemptRecord};
use broadsweep_driver::records::difference::Odd;
use broadsweep_driver::records::run::{Purpose, RunRecord, TrialRecord};

use super::driver::Campaign;
use super::scenario::Scenario;
use super::trace::Trace;
use super::truth::Truth;

/// What such a machine tells instead of these numbers. Every epoch of a replay has a training loss, and which trial is best
/// does not hang on it.
pub(super) fn odd(metrics: &Metrics) -> Metrics {
    let mut odd = metrics.clone();
    let loss = metrics.get(&MetricName::TRAINING_LOSS).expect("a training loss");
    odd.set(MetricName::TRAINING_LOSS, loss.next_up());
    odd
}

/// The tasks that train a trial, or train it once more.
fn tasks_of(record: &RunRecord, trial: TrialId) -> BTreeSet<TaskId> {
    let trains = |purpose: &Purpose| [Purpose::Training(trial), Purpose::Check(trial)].contains(purpose);
    let tasks = record.tasks.iter().zip(0..).filter(|(purpose, _)| trains(purpose));
    tasks.map(|(_, number)| TaskId(number)).collect()
}

/// The tasks of all trials of which other numbers were told.
pub(super) fn disputed(record: &RunRecord) -> BTreeSet<TaskId> {
    record.differences.iter().flat_map(|difference| tasks_of(record, difference.trial)).collect()
}

/// Takes over into what is wanted of a trial the rows that the odd machine may have told first.
pub(super) fn allow(
    scenario: &Scenario,
    campaign: &Campaign,
    (record, truth): (&RunRecord, &Truth),
    (found, wanted): (&TrialRecord, &mut TrialRecord),
) {
    let Some(name) = scenario.odd_node() else { return };
    let tasks = tasks_of(record, found.trial);
    let is_right = |epoch| {
        let (found, wanted) = (found.curves.at(epoch), wanted.curves.at(epoch));
        found == wanted
            || found == wanted.as_ref().map(odd) && truth.has_trained(campaign.study.seed, &name, &tasks, epoch)
    };
    if found.curves.epochs() == wanted.curves.epochs() && (1..=found.curves.epochs()).all(is_right) {
        wanted.curves = found.curves.clone();
    }
}

/// Whether an attempt may end without being believed, since its numbers are others than those that stand: the odd
/// machine's own may have failed by that, and nobody else's.
pub(super) fn may_be_doubted(scenario: &Scenario, end: &AttemptEnd, node: &str) -> bool {
    let Some(name) = scenario.odd_node() else { return false };
    matches!(end, AttemptEnd::Doubted { .. }) || name == node
}

/// Whoever is called odd is odd, and where two executors differ one of them is; who trained the same epoch as the odd
/// machine, and is believed, has been compared with it.
pub(super) fn check(scenario: &Scenario, record: &RunRecord, trace: &Trace) {
    let Some(name) = scenario.odd_node() else { return };
    let is_odd = |executor: ExecutorId| record.executor_names[executor.0 as usize] == name;
    for difference in &record.differences {
        let is_fair = match difference.odd {
            Odd::First => is_odd(difference.first),
            Odd::Other => is_odd(difference.other),
            Odd::Unknown => is_odd(difference.first) != is_odd(difference.other),
            Odd::Sought => false,
        };
        if !is_fair {
            trace.violate(format!("the odd machine is {name}, and not as {difference:?} says"));
        }
    }
    for trial in &record.trials {
        let tasks = tasks_of(record, trial.trial);
        let told =
            |attempt: &&AttemptRecord| tasks.contains(&attempt.attempt.task) && attempt.epoch > attempt.from_epoch;
        let (odd, sound): (Vec<_>, Vec<_>) =
            record.attempts.iter().filter(told).partition(|attempt| is_odd(attempt.executor));
        let shares = |one: &&AttemptRecord| {
            sound.iter().any(|other| one.from_epoch < other.epoch && other.from_epoch < one.epoch)
        };
        let is_known = record.differences.iter().any(|difference| difference.trial == trial.trial);
        if let Some(attempt) = odd.into_iter().find(shares).filter(|_| !is_known) {
            trace
                .violate(format!("{} told other numbers of {} than others, unnoticed", attempt.attempt, trial.trial));
        }
    }
}
