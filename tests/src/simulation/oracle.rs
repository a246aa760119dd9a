//! What has to be so when a run is over: computed from the scenario and from what really happened.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use broadsweep_common::attempt::Ended;
use broadsweep_common::ids::{ExecutorId, TaskId, TrialId};
use broadsweep_common::metrics::{MetricName, Metrics};
use broadsweep_common::replay::{Replay, ReplayEnd};
use broadsweep_common::task::Segment;
use broadsweep_driver::journal::Storage;
use broadsweep_driver::plan::TrialPlan;
use broadsweep_driver::records::attempt::{AttemptEnd, AttemptRecord};
use broadsweep_driver::records::curves::{Columns, Curves};
use broadsweep_driver::records::run::{Purpose, RunRecord, TrialOutcome, TrialRecord};
use broadsweep_driver::results::digest::results_sha256;
use broadsweep_driver::run::{Reading, RunOutcome, read_from};
use broadsweep_executor::trainers::replay;
use broadsweep_search::SegmentEnd;

use super::driver::Campaign;
use super::odd;
use super::scenario::{Fate, Kind, Scenario};
use super::trace::Trace;
use super::truth::Truth;
use super::yields::{measured_of, output_of};

/// What an undisturbed run of these trials gives: whatever is said of a trial's segments, its epochs are those of the
/// whole.
fn expected(scenario: &Scenario, campaign: &Campaign) -> Vec<TrialRecord> {
    let mut columns = Columns::default();
    let looked_at = candidates(scenario);
    let mut expected = |(trial, plan): (&Replay, &TrialPlan), number: usize| {
        let last = scenario.ladder.last_epoch(number);
        let mut curves = Curves::default();
        for step in replay::steps(trial, 1).take_while(|step| last.is_none_or(|last| step.epoch <= last)) {
            curves.push(&step.metrics, &mut columns);
        }
        TrialRecord {
            trial: TrialId(number as u32),
            configuration: plan.configuration.clone(),
            cost: plan.flops,
            epochs_max: plan.epochs,
            outcome: match (&trial.end, last) {
                (_, Some(last)) => TrialOutcome::Paused { epoch: last },
                (ReplayEnd::Complete { epoch, .. }, None) => TrialOutcome::Finished { epoch: *epoch },
                (ReplayEnd::Diverged, None) => TrialOutcome::Diverged { epoch: trial.epochs + 1 },
            },
            rungs: scenario.ladder.continued_at(number),
            curves,
            measured: looked_at.measured(scenario, TrialId(number as u32)),
            attempts: 1,
            executor: None,
            training_s: 0.0,
            evaluation_s: 0.0,
            used: None,
            started_s: 0.0,
            ended_s: 0.0,
        }
    };
    scenario.trials.iter().zip(&campaign.trials).zip(0..).map(|(both, number)| expected(both, number)).collect()
}

/// The trials whose weights are kept.
#[derive(Default)]
struct Candidates {
    best: Option<TrialId>,
    control: Option<TrialId>,
}

impl Candidates {
    fn all(&self) -> BTreeSet<TrialId> {
        self.best.into_iter().chain(self.control).collect()
    }

    /// What the test rows say in the end of a trial's weights, if they are looked at.
    fn measured(&self, scenario: &Scenario, trial: TrialId) -> Metrics {
        let weights = scenario.yields.weights_of(trial).filter(|_| self.all().contains(&trial));
        weights.map(|weights| measured_of(&weights)).unwrap_or_default()
    }
}

fn candidates(scenario: &Scenario) -> Candidates {
    if scenario.yields.weights_bytes.is_none() {
        return Candidates::default();
    }
    let value = |number: usize| {
        let is_over = scenario.fates[number] == Fate::Ordinary && scenario.ladder.last_epoch(number).is_none();
        match &scenario.trials[number].end {
            ReplayEnd::Complete { metrics, .. } if is_over => metrics.get(&MetricName::VALIDATION_ERROR),
            ReplayEnd::Complete { .. } | ReplayEnd::Diverged => None,
        }
    };
    let values = (0..scenario.trials.len()).filter_map(|number| Some((number, value(number)?)));
    let best = values.min_by(|(_, one), (_, other)| one.total_cmp(other)).map(|(number, _)| TrialId(number as u32));
    let control = (scenario.ladder.has_control && value(0).is_some()).then_some(TrialId(0));
    Candidates { best, control }
}

/// Checks a run that is over.
pub(super) fn check(scenario: &Scenario, campaign: &Campaign, outcome: &RunOutcome, truth: &Truth, trace: &Trace) {
    let record = &outcome.record;
    check_results(scenario, campaign, (record, truth), trace);
    check_best(scenario, outcome, trace);
    check_order(scenario, campaign, trace);
    for attempt in &record.attempts {
        check_attempt((scenario, campaign), record, attempt, truth, trace);
    }
    if matches!(scenario.kind, Kind::Calm | Kind::DriverOnly) {
        if record.epochs_repeated != 0 {
            trace.violate(format!("{} epochs are said to be trained again", record.epochs_repeated));
        }
        for again in truth.trained_again(campaign.study.seed) {
            trace.violate(format!("trained again although every executor was there: {again}"));
        }
    }
    if scenario.kind == Kind::Calm && record.attempts.len() != record.tasks.len() {
        trace.violate(format!("{} attempts at {} tasks", record.attempts.len(), record.tasks.len()));
    }
    check_outputs(campaign, record, trace);
    odd::check(scenario, record, trace);
}

/// The best trial comes with its own weights, and nothing that was to be measured was left out.
fn check_best(scenario: &Scenario, outcome: &RunOutcome, trace: &Trace) {
    let best = candidates(scenario).best;
    let wanted = best.and_then(|best| Some((best, scenario.yields.weights_of(best)?)));
    if outcome.best != wanted {
        let found = outcome.best.as_ref().map(|(trial, weights)| (trial, weights.len()));
        trace.violate(format!("the best is {found:?}, not {best:?} with its own weights"));
    }
    let looked_at = wanted.iter().map(|(trial, weights)| (*trial, measured_of(weights))).collect::<Vec<_>>();
    let mut told: Vec<_> = outcome.record.details.iter().map(|one| (one.trial, one.details.guess.clone())).collect();
    told.dedup();
    if told != looked_at {
        trace.violate(format!("of what the best answers, {told:?} is told, not {looked_at:?}"));
    }
    if outcome.unmeasured != 0 {
        trace.violate(format!("{} trials were not measured", outcome.unmeasured));
    }
}

/// Where moments are virtual, the drivers decided what an undisturbed one decides on any cluster, at the same moments.
fn check_order(scenario: &Scenario, campaign: &Campaign, trace: &Trace) {
    if scenario.ladder.lag.is_none() || scenario.odd_node().is_some() {
        return; // of numbers that are wrong, nobody decides as if they were right
    }
    let end = |segment: Segment| {
        let number = segment.replicate.trial.0 as usize;
        let (epoch, metrics) = (segment.until_epoch, Metrics::default());
        match &scenario.trials[number].end {
            _ if scenario.fates[number] != Fate::Ordinary => SegmentEnd::GivenUp,
            _ if epoch < campaign.trials[number].epochs => SegmentEnd::Paused { epoch, metrics },
            ReplayEnd::Complete { epoch, .. } => SegmentEnd::Finished { epoch: *epoch, metrics },
            ReplayEnd::Diverged => SegmentEnd::Diverged { epoch },
        }
    };
    let (wanted, made) = (scenario.ladder.undisturbed(Box::new(campaign.costs()), end), campaign.decided.made());
    for (index, (wanted, made)) in wanted.iter().zip(&made).enumerate().filter(|(_, (wanted, made))| wanted != made) {
        trace.violate(format!("decision {index} is {made:?}, and undisturbed it is {wanted:?}"));
    }
    if wanted.len() != made.len() {
        trace.violate(format!("there were {} decisions, and undisturbed there are {}", made.len(), wanted.len()));
    }
    campaign.decided.strayed().into_iter().for_each(|strayed| trace.violate(strayed));
}

/// Trials that moved, partitions that came out, and trials that were measured.
pub(super) fn counts(record: &RunRecord) -> [usize; 3] {
    let of_kind = |is_it: fn(&Purpose) -> bool| record.tasks.iter().filter(|purpose| is_it(purpose)).count();
    let applied = of_kind(|purpose| matches!(purpose, Purpose::Application { .. }));
    [moved(record), applied, of_kind(|purpose| matches!(purpose, Purpose::Measurement(_)))]
}

/// Trials that paused on one executor and were continued on another one.
fn moved(record: &RunRecord) -> usize {
    let mut executors: BTreeMap<TrialId, BTreeSet<ExecutorId>> = BTreeMap::new();
    for attempt in record.attempts.iter().filter(|attempt| attempt.has_result()) {
        if let Some(Purpose::Training(trial)) = record.purpose_of(attempt.attempt.task) {
            executors.entry(trial).or_default().insert(attempt.executor);
        }
    }
    executors.into_values().filter(|executors| executors.len() > 1).count()
}

/// Each partition came out once, and as it is.
fn check_outputs(campaign: &Campaign, record: &RunRecord, trace: &Trace) {
    let mut partitions = BTreeSet::new();
    for (purpose, number) in record.tasks.iter().zip(0..) {
        let Purpose::Application { partition } = purpose else { continue };
        let name = format!("outputs/{}", TaskId(number));
        let found = campaign.disk.memory.read(&name, 1 << 20).unwrap();
        if found.as_deref() != Some(&output_of(*partition)[..]) {
            trace.violate(format!("{name} of partition {partition} is {found:?}"));
        }
        if !partitions.insert(*partition) {
            trace.violate(format!("partition {partition} came out twice"));
        }
    }
    if partitions.len() != campaign.partitions as usize {
        trace.violate(format!("{} of {} partitions came out", partitions.len(), campaign.partitions));
    }
}

fn check_results(scenario: &Scenario, campaign: &Campaign, (record, truth): (&RunRecord, &Truth), trace: &Trace) {
    let mut wanted = expected(scenario, campaign);
    for both in record.trials.iter().zip(&mut wanted) {
        odd::allow(scenario, campaign, (record, truth), both);
    }
    for (trial, fate) in record.trials.iter().zip(&scenario.fates) {
        if *fate != Fate::Ordinary {
            check_fate(scenario, record, trial, *fate, trace);
            let place = &mut wanted[trial.trial.0 as usize];
            (place.outcome, place.curves) = (trial.outcome.clone(), trial.curves.clone());
            place.rungs.clone_from(&trial.rungs);
        }
    }
    if results_sha256(&record.trials) == results_sha256(&wanted) && record.trials.len() == wanted.len() {
        return;
    }
    for (found, wanted) in record.trials.iter().zip(&wanted) {
        if (&found.outcome, &found.curves) != (&wanted.outcome, &wanted.curves) {
            let (outcome, epochs) = (&found.outcome, found.curves.epochs());
            trace.violate(format!("{} has {outcome:?} and {epochs} epochs, not {wanted:?}", found.trial));
        }
    }
    trace.violate("the results are not those of an undisturbed run");
}

/// A trial that kills its hosts or always fails is given up after exactly as many tries as it may have, however many
/// drivers counted them.
fn check_fate(scenario: &Scenario, record: &RunRecord, trial: &TrialRecord, fate: Fate, trace: &Trace) {
    let ends = record
        .attempts
        .iter()
        .filter(|attempt| record.purpose_of(attempt.attempt.task) == Some(Purpose::Training(trial.trial)));
    let counts = |end: &AttemptEnd| match fate {
        Fate::Fails => matches!(end, AttemptEnd::Failed { .. }),
        Fate::KillsHost | Fate::Ordinary => matches!(end, AttemptEnd::Lost { .. }),
    };
    let counted = ends.filter(|attempt| attempt.end.as_ref().is_some_and(counts)).count() as u32;
    let most = if fate == Fate::Fails { scenario.scheduling.failures_max } else { scenario.scheduling.losses_max };
    if counted != most || !matches!(trial.outcome, TrialOutcome::GivenUp { .. }) {
        let (name, outcome) = (trial.trial, &trial.outcome);
        trace.violate(format!("{name} of fate {fate:?} has {outcome:?} after {counted} tries of {most}"));
    }
}

/// What is written of an attempt has to be what happened.
fn check_attempt(
    (scenario, campaign): (&Scenario, &Campaign),
    record: &RunRecord,
    attempt: &AttemptRecord,
    truth: &Truth,
    trace: &Trace,
) {
    let id = attempt.attempt;
    let Some(stay) = truth.stay(campaign.study.seed, id) else {
        let is_possible = attempt.end.as_ref().is_some_and(AttemptEnd::may_still_run);
        if !is_possible {
            trace.violate(format!("{id} was never begun, and is written down as {:?}", attempt.end));
        }
        return;
    };
    let name = &record.executor_names[attempt.executor.0 as usize];
    if *name != stay.node {
        trace.violate(format!("{id} ran on {}, and is written down for {name}", stay.node));
    }
    if attempt.epoch > stay.last.max(attempt.from_epoch) {
        trace.violate(format!("{id} came to epoch {}, and is believed for {}", stay.last, attempt.epoch));
    }
    // A newer checkpoint may take the place of the one that an attempt was to go on from before that was read.
    let is_outdated = {
        let outdated = campaign.disk.outdated.lock().unwrap();
        // It may be one that an earlier segment of the trial left.
        let of_its_trial =
            (0..=id.task.0).map(TaskId).filter(|task| record.purpose_of(*task) == record.purpose_of(id.task));
        of_its_trial.into_iter().any(|task| outdated.contains(&format!("checkpoints/{task}-{}", attempt.from_epoch)))
    };
    let starts = [attempt.from_epoch + 1, if is_outdated { 1 } else { attempt.from_epoch + 1 }];
    if let Some(first) = stay.first.filter(|first| !starts.contains(first)) {
        trace.violate(format!("{id} began with epoch {first}, not after {}", attempt.from_epoch));
    }
    let begins_anew = attempt.from_epoch > 0 && stay.first == Some(1);
    let said = format!("{id} on {name} could not use its checkpoint");
    if begins_anew
        && attempt.end == Some(AttemptEnd::Completed)
        && !trace.lines().iter().any(|line| line.contains(&said))
    {
        trace.violate(format!("{id} began anew, and nobody was told"));
    }
    let fits = match (&attempt.end, &stay.ended) {
        (Some(AttemptEnd::Completed), ended) => {
            matches!(
                ended,
                Some(
                    Ended::Trained { .. }
                        | Ended::Diverged { .. }
                        | Ended::Applied { .. }
                        | Ended::Measured(_)
                        | Ended::Examined(_)
                )
            )
        }
        (Some(AttemptEnd::Failed { .. }), Some(Ended::Failed { .. })) => true,
        (Some(end @ (AttemptEnd::Failed { .. } | AttemptEnd::Doubted { .. })), _) => {
            truth.is_slandered(id) || odd::may_be_doubted(scenario, end, &stay.node)
        }
        (Some(AttemptEnd::Stopped), ended) => *ended == Some(Ended::Stopped),
        (None | Some(AttemptEnd::Refused { .. }), _) => false,
        (Some(_), _) => true,
    };
    if !fits {
        trace.violate(format!("{id} ended as {:?}, and is written down as {:?}", stay.ended, attempt.end));
    }
}

/// A run that is over is the same to one who only reads its folder.
pub(super) fn check_read(campaign: &Campaign, record: &RunRecord, trace: &Trace) {
    let storage = &*campaign.disk.memory;
    // A driver may have been about to end just when it was done.
    storage.restart();
    storage.write("study.toml", campaign.study.text().as_bytes()).unwrap();
    match read_from(storage, Path::new("memory")) {
        Ok(Reading { record: read, .. }) => {
            // A disk that was full just then may lack the very last record.
            let read = RunRecord { wall_s: record.wall_s, broadcast: record.broadcast, ..read };
            if read != *record {
                trace.violate("the finished run is another one when it is read");
                trace.say("oracle", format!("{record:?} is read as {read:?}"));
            }
        }
        Err(error) => trace.violate(format!("the finished run cannot be read: {error}")),
    }
}

/// A run that is over is the same when its journal is read again, after a crash too; and nothing else is left of it.
pub(super) async fn check_reopened(scenario: &Scenario, campaign: &Campaign, record: &RunRecord, trace: &Trace) {
    let Ok((run, is_over)) = campaign.open(&Arc::new(AtomicBool::new(true))) else {
        trace.violate("the journal of the finished run cannot be read again");
        return;
    };
    if !is_over {
        trace.violate("the finished run is not over when its journal is read again");
        return;
    }
    let (again, error) = run.drive(campaign.signals(&[], true)).await;
    let again = again.record;
    let same = (&again.trials, &again.attempts, again.epochs_repeated, &again.executor_names)
        == (&record.trials, &record.attempts, record.epochs_repeated, &record.executor_names);
    if error.is_some() || !again.is_over() || !same {
        trace.violate(format!("the finished run is another one when its journal is read again ({error:?})"));
        for (before, after) in record.attempts.iter().zip(&again.attempts).filter(|(before, after)| before != after) {
            trace.say("oracle", format!("{before:?} became {after:?}"));
        }
        for (before, after) in record.trials.iter().zip(&again.trials).filter(|(before, after)| before != after) {
            trace.say("oracle", format!("{before:?} became {after:?}"));
        }
    }
    let kept = candidates(scenario).all();
    let weights: BTreeSet<_> = kept.into_iter().map(|trial| trial.0.to_string()).collect();
    for (folder, wanted) in [("checkpoints", BTreeSet::new()), ("weights", weights)] {
        let left: BTreeSet<_> = campaign.disk.list(folder).unwrap().into_iter().collect();
        if left != wanted {
            trace.violate(format!("{folder} of the finished run are {left:?}, not {wanted:?}"));
        }
    }
}
