//! The ledger closes whatever a record says, and each kind of trouble lands in its line.

use broadsweep_common::ids::{AttemptId, TaskId, TrialId};
use broadsweep_search::PrunerKind;
use proptest::prelude::*;

use super::*;
use crate::records::attempt::{AttemptEnd, AttemptRecord};
use crate::records::run::{Purpose, Stage, TrialOutcome, TrialRecord};
use crate::records::searched::SearchRecord;
use crate::records::standing::{Standing, StandingSince};
use crate::results::fixtures;

/// Microseconds in a second.
const S: u64 = 1_000_000;

/// A trial of so many seconds of work on an executor that is not slow: four epochs.
fn trial(number: u32, work_s: u64) -> TrialRecord {
    TrialRecord { cost: work_s * 100, epochs_max: 4, ..fixtures::finished(number, 0.1) }
}

/// An attempt of one task: number, executor, when it ran, its work, and how it ended.
fn attempt(
    (task, number): (u32, u32),
    executor: u32,
    (started_s, ended_s): (f64, f64),
    work_s: f64,
    end: AttemptEnd,
) -> AttemptRecord {
    AttemptRecord {
        attempt: AttemptId { task: TaskId(task), number },
        executor: ExecutorId(executor),
        from_epoch: 0,
        epoch: 4,
        started_s,
        ended_s,
        training_s: work_s,
        evaluation_s: 0.0,
        used: None,
        end: Some(end),
    }
}

fn completed(task: u32, executor: u32, span: (f64, f64)) -> AttemptRecord {
    attempt((task, 1), executor, span, span.1 - span.0, AttemptEnd::Completed)
}

fn lost() -> AttemptEnd {
    AttemptEnd::Lost { reason: "a: gone".to_owned() }
}

/// One slot, ready from the first moment on.
fn at_once() -> Vec<StandingSince> {
    vec![StandingSince { at_s: 0.0, standing: Standing::Ready { slots: 1 } }]
}

/// A run of these attempts on executors of one slot each; trials end with their last attempts.
fn run(
    wall_s: f64,
    standings: Vec<Vec<StandingSince>>,
    trials: Vec<TrialRecord>,
    attempts: Vec<AttemptRecord>,
) -> RunRecord {
    let ended = |trial: TrialRecord| {
        let own = attempts.iter().filter(|attempt| attempt.attempt.task.0 == trial.trial.0);
        TrialRecord { ended_s: own.map(|attempt| attempt.ended_s).fold(0.0, f64::max), ..trial }
    };
    let trials = trials.into_iter().map(ended).collect();
    let names = (0..standings.len()).map(|number| format!("node{number}:1")).collect();
    fixtures::with_attempts(RunRecord { wall_s, standings, executor_names: names, ..fixtures::run(trials) }, attempts)
}

/// The lines that are not 0, of all executors together.
fn told(run: &RunRecord) -> Vec<(Line, u64)> {
    let ledger = Ledger::of(run);
    closes(run, &ledger);
    let total = ledger.total();
    Line::ALL.into_iter().map(|line| (line, total[line])).filter(|(_, us)| *us > 0).collect()
}

/// Slots times wall is what the lines add up to: of each executor, and so of all.
fn closes(run: &RunRecord, ledger: &Ledger) {
    for account in &ledger.accounts {
        assert_eq!(account.lines.sum(), u64::from(account.slots) * microseconds(run.wall_s), "{account:?}");
    }
}

#[test]
fn a_run_without_trouble_is_training_with_a_start_and_an_end() {
    let ready = StandingSince { at_s: 3.0, standing: Standing::Ready { slots: 1 } };
    let presence = vec![StandingSince { at_s: 1.0, standing: Standing::Answering }, ready];
    let attempts = vec![attempt((0, 1), 0, (4.0, 10.0), 5.5, AttemptEnd::Completed)];
    let run = run(12.0, vec![presence], vec![trial(0, 5)], attempts);
    // Started after 1 s, the data was there after 2 more, launched 1 s later; closed 2 s after the result.
    let expected =
        [(Line::Training, 5 * S + S / 2), (Line::Broadcast, 2 * S), (Line::StartUp, 4 * S), (Line::Waiting, S / 2)];
    assert_eq!(told(&run), expected);
}

#[test]
fn a_slow_broadcast_to_one_costs_those_that_wait_for_it_too() {
    let slow = vec![
        StandingSince { at_s: 0.0, standing: Standing::Answering },
        StandingSince { at_s: 8.0, standing: Standing::Ready { slots: 1 } },
    ];
    let attempts = vec![completed(0, 0, (8.0, 10.0)), completed(1, 1, (8.0, 10.0))];
    let run = run(10.0, vec![at_once(), slow], vec![trial(0, 2), trial(1, 2)], attempts);
    assert_eq!(told(&run), [(Line::Training, 4 * S), (Line::Broadcast, 16 * S)]);
}

#[test]
fn a_last_long_trial_leaves_the_others_idle() {
    let attempts = vec![completed(0, 0, (0.0, 10.0)), completed(1, 1, (0.0, 2.0))];
    let run = run(10.0, vec![at_once(), at_once()], vec![trial(0, 10), trial(1, 2)], attempts);
    assert_eq!(told(&run), [(Line::Training, 12 * S), (Line::Tail, 8 * S)]);
    let sentences = sentences(&Ledger::of(&run), &run);
    assert_eq!(sentences[0], "of 2 slots x 10.0 s: training 60.0 %, tail idle 40.0 %");
    assert!(
        sentences[1].starts_with("tail idle cost 40.0 %: trial 0 ended last, 10.0 s after it began"),
        "{sentences:?}"
    );
}

#[test]
fn a_search_that_decides_in_order_leaves_slots_idle_until_the_trial_that_it_waits_for_has_gone_on() {
    let attempts = vec![completed(0, 0, (0.0, 10.0)), completed(1, 1, (0.0, 2.0)), completed(2, 1, (6.0, 9.0))];
    let mut run = run(10.0, vec![at_once(), at_once()], vec![trial(0, 10), trial(1, 2), trial(2, 3)], attempts);
    run.search = Some(SearchRecord { parallel: 2, trials_max: 3, ..fixtures::searched_by(PrunerKind::None) });
    assert_eq!(told(&run), [(Line::Training, 15 * S), (Line::Order, 4 * S), (Line::Tail, S)]);
    let sentences = sentences(&Ledger::of(&run), &run);
    let expected = "waiting for order cost 20.0 %: the search went on only after trial 0, for 4.0 s of it; a larger \
                    `parallel`, or costs that forecast better, leave less of it";
    assert_eq!(sentences[1], expected);
    if let Some(search) = &mut run.search {
        search.parallel = 1;
    }
    let sentences = super::sentences(&Ledger::of(&run), &run);
    assert!(sentences[1].ends_with("`parallel` is 1: one of at least 2 keeps all slots busy"), "{}", sentences[1]);
}

#[test]
fn what_is_trained_once_more_to_see_who_is_right_is_lost_time_and_nobody_waits_for_it() {
    let attempts = vec![completed(0, 0, (0.0, 10.0)), completed(1, 1, (4.0, 10.0))];
    let mut run = run(10.0, vec![at_once(), at_once()], vec![trial(0, 10)], attempts);
    run.tasks[1] = Purpose::Check(TrialId(0));
    assert_eq!(told(&run), [(Line::Training, 10 * S), (Line::Lost, 6 * S), (Line::Tail, 4 * S)]);
}

#[test]
fn an_executor_that_is_killed_loses_what_no_checkpoint_saved_and_the_time_that_it_is_gone() {
    let gone = vec![at_once()[0], StandingSince { at_s: 6.0, standing: Standing::Gone }];
    // Of three epochs that were reported until it was lost, two had a checkpoint that the second attempt went on from.
    let first = AttemptRecord { epoch: 3, training_s: 4.5, ..attempt((0, 1), 0, (0.0, 6.0), 4.5, lost()) };
    let second = AttemptRecord { from_epoch: 2, ..attempt((0, 2), 1, (7.0, 10.0), 3.0, AttemptEnd::Completed) };
    let attempts = vec![first, second, completed(1, 1, (0.0, 7.0))];
    let run = run(10.0, vec![gone, at_once()], vec![trial(0, 6), trial(1, 7)], attempts);
    let expected = [(Line::Training, 3 * S + 3 * S + 7 * S), (Line::Lost, 3 * S + 4 * S)];
    assert_eq!(told(&run), expected);
    let sentences = sentences(&Ledger::of(&run), &run);
    assert!(sentences[1].starts_with("lost attempts cost 35.0 %: 1 attempt lost"), "{sentences:?}");
}

#[test]
fn a_new_driver_starts_up_and_loses_nothing_with_executors_that_it_has_not_reached() {
    let at = |at_s, standing| StandingSince { at_s, standing };
    let back = vec![
        at_once()[0],
        at(4.0, Standing::Unasked),
        at(5.0, Standing::Answering),
        at(6.0, Standing::Ready { slots: 1 }),
        at(8.0, Standing::Gone),
    ];
    let left = vec![at_once()[0], at(4.0, Standing::Unasked)];
    let stopped = |task, executor| attempt((task, 1), executor, (0.0, 4.0), 4.0, AttemptEnd::Stopped);
    let rest = |task, span: (f64, f64)| AttemptRecord {
        from_epoch: 4,
        ..attempt((task, 2), 0, span, span.1 - span.0, AttemptEnd::Completed)
    };
    let attempts = vec![
        AttemptRecord { epoch: 4, ..stopped(0, 0) },
        rest(0, (6.0, 7.0)),
        AttemptRecord { epoch: 4, ..stopped(1, 1) },
        rest(1, (7.0, 8.0)),
        completed(2, 0, (9.0, 10.0)),
    ];
    let run = run(10.0, vec![back, left], vec![trial(0, 5), trial(1, 5), trial(2, 1)], attempts);
    let told = told(&run);
    let of = |line| told.iter().find(|(told, _)| *told == line).map_or(0, |(_, us)| *us);
    // One second until it answered, and six of the one that was never asked; what was gone under this driver is lost.
    assert_eq!((of(Line::StartUp), of(Line::Broadcast), of(Line::Lost)), (7 * S, S, S), "{told:?}");
}

#[test]
fn a_slot_that_waits_for_a_task_is_no_attempts_overhead() {
    // The only task fails at once and rests for seven seconds; its attempts take half a second beside their work.
    let failed = attempt((0, 1), 0, (0.0, 1.0), 1.0, AttemptEnd::Failed { reason: "x".into() });
    let second = attempt((0, 2), 0, (8.0, 10.0), 1.5, AttemptEnd::Completed);
    let run = run(10.0, vec![at_once()], vec![trial(0, 2)], vec![failed, second]);
    let ledger = Ledger::of(&run);
    assert_eq!((ledger.total()[Line::Waiting], ledger.overhead_us()), (7 * S + S / 2, S / 2));
}

#[test]
fn each_way_to_end_without_a_result_is_lost_work_and_a_stop_with_a_checkpoint_is_not() {
    let ends = [
        AttemptEnd::Failed { reason: "x".into() },
        AttemptEnd::Hung { silent_s: 1 },
        AttemptEnd::Refused { needed_bytes: 2, available_bytes: 1 },
        AttemptEnd::Beaten,
        AttemptEnd::NeverArrived,
        AttemptEnd::Orphaned,
        lost(),
    ];
    for end in ends {
        let attempts = vec![
            attempt((0, 1), 0, (0.0, 4.0), 1.0, end.clone()),
            attempt((0, 2), 0, (4.0, 8.0), 4.0, AttemptEnd::Completed),
        ];
        let run = run(8.0, vec![at_once()], vec![trial(0, 4)], attempts);
        assert_eq!(told(&run), [(Line::Training, 4 * S), (Line::Lost, 4 * S)], "{end:?}");
    }
    let first = AttemptRecord { epoch: 2, ..attempt((0, 1), 0, (0.0, 4.0), 3.0, AttemptEnd::Stopped) };
    let second = AttemptRecord { from_epoch: 2, ..attempt((0, 2), 0, (4.0, 8.0), 4.0, AttemptEnd::Completed) };
    let run = run(8.0, vec![at_once()], vec![trial(0, 4)], vec![first, second]);
    assert_eq!(told(&run), [(Line::Training, 7 * S), (Line::Waiting, S)]);
}

#[test]
fn a_trial_that_is_given_up_was_for_nothing() {
    let failed = AttemptEnd::Failed { reason: "x".into() };
    let mut given_up = trial(0, 4);
    given_up.outcome = TrialOutcome::GivenUp { reason: "x".into() };
    let run = run(4.0, vec![at_once()], vec![given_up], vec![attempt((0, 1), 0, (0.0, 4.0), 4.0, failed)]);
    assert_eq!(told(&run), [(Line::Lost, 4 * S)]);
}

#[test]
fn a_node_at_a_quarter_of_the_speed_has_its_excess_in_a_line_of_its_own() {
    // Three nodes do a trial of 2 s in 2 s, the fourth takes 8 s; one of its attempts is beaten by a copy.
    let mut attempts: Vec<_> = (0..9_u32)
        .map(|task| {
            let start = f64::from(task / 3) * 2.0;
            completed(task, task % 3, (start, start + 2.0))
        })
        .collect();
    attempts.push(completed(9, 3, (0.0, 8.0)));
    attempts.push(attempt((10, 1), 3, (8.0, 10.0), 1.5, AttemptEnd::Beaten));
    attempts.push(attempt((10, 2), 0, (8.0, 10.0), 2.0, AttemptEnd::Completed));
    let trials = (0..11).map(|number| trial(number, 2)).collect();
    let run = run(10.0, vec![at_once(); 4], trials, attempts);
    let expected =
        [(Line::Training, 22 * S), (Line::Waiting, 6 * S), (Line::Slow, 6 * S + 2 * S), (Line::Tail, 4 * S)];
    assert_eq!(told(&run), expected);
    let ledger = Ledger::of(&run);
    let slowness: Vec<_> = ledger.accounts.iter().map(|account| account.slowness.unwrap()).collect();
    assert_eq!(slowness, [1.0, 1.0, 1.0, 4.0]);
    assert_eq!(ledger.accounts[3].lines[Line::Slow], 8 * S);
    let sentences = sentences(&ledger, &run).join("\n");
    assert!(sentences.contains("node3:1 took 4.0 times as long as the others for the same work"), "{sentences}");
}

#[test]
fn a_slot_that_is_free_while_a_task_waits_is_no_idle_tail() {
    let failed = AttemptEnd::Failed { reason: "x".into() };
    // The second attempt waits 3 s for its turn.
    let attempts =
        vec![attempt((0, 1), 0, (0.0, 1.0), 1.0, failed), attempt((0, 2), 0, (4.0, 6.0), 2.0, AttemptEnd::Completed)];
    let run = run(6.0, vec![at_once(), at_once()], vec![trial(0, 2)], attempts);
    let expected = [(Line::Training, 2 * S), (Line::Waiting, 6 * S), (Line::Lost, S), (Line::Tail, 3 * S)];
    assert_eq!(told(&run), expected);
}

#[test]
fn what_a_run_that_goes_on_has_under_way_is_training() {
    let mut open = attempt((0, 1), 0, (1.0, 1.0), 0.0, AttemptEnd::Completed);
    open.end = None;
    let mut record = run(5.0, vec![at_once()], vec![trial(0, 2)], vec![open]);
    record.trials[0].outcome = TrialOutcome::NotRun;
    record.stage = Stage::GoingOn;
    assert_eq!(told(&record), [(Line::Training, 4 * S), (Line::StartUp, S)]);
}

#[test]
fn a_run_without_executors_has_an_empty_ledger() {
    let run = run(5.0, vec![Vec::new()], vec![trial(0, 2)], Vec::new());
    let ledger = Ledger::of(&run);
    assert_eq!((ledger.accounts.len(), ledger.total().sum(), ledger.overhead_us()), (0, 0, 0));
    assert_eq!(sentences(&ledger, &run), Vec::<String>::new());
}

fn ends() -> impl Strategy<Value = Option<AttemptEnd>> {
    prop_oneof![
        3 => Just(Some(AttemptEnd::Completed)),
        1 => Just(Some(AttemptEnd::Beaten)),
        1 => Just(Some(AttemptEnd::Stopped)),
        1 => Just(Some(lost())),
        1 => Just(Some(AttemptEnd::Failed { reason: String::new() })),
        1 => Just(None),
    ]
}

/// Seconds that a record may hold: some of them no sane ones.
fn times() -> impl Strategy<Value = f64> {
    prop_oneof![20 => 0.0..30.0, 1 => Just(f64::NAN), 1 => -5.0..0.0, 1 => Just(1e30)]
}

fn attempts() -> impl Strategy<Value = Vec<AttemptRecord>> {
    let one = (0_u32..8, 0_u32..4, times(), times(), (times(), times()), (0_u32..6, 0_u32..6), ends());
    prop::collection::vec(one, 0..40).prop_map(|rows| {
        let mut attempts: Vec<_> = rows
            .into_iter()
            .map(|(task, executor, started_s, took_s, (training_s, evaluation_s), (from_epoch, epoch), end)| {
                AttemptRecord {
                    attempt: AttemptId { task: TaskId(task), number: 1 },
                    executor: ExecutorId(executor),
                    from_epoch,
                    epoch,
                    started_s,
                    ended_s: started_s + took_s,
                    training_s,
                    evaluation_s,
                    used: None,
                    end,
                }
            })
            .collect();
        attempts.sort_by_key(|attempt| attempt.attempt.task);
        attempts
    })
}

fn stays() -> impl Strategy<Value = Vec<StandingSince>> {
    let standing = prop_oneof![
        Just(Standing::Gone),
        Just(Standing::Answering),
        Just(Standing::Unasked),
        (0_u32..4).prop_map(|slots| Standing::Ready { slots }),
    ];
    let change = (times(), standing).prop_map(|(at_s, standing)| StandingSince { at_s, standing });
    prop::collection::vec(change, 0..6)
}

proptest! {
    #[test]
    fn it_closes_whatever_the_record_says(
        wall_s in times(),
        standings in prop::collection::vec(stays(), 3),
        attempts in attempts(),
        outcomes in prop::collection::vec((0_u8..4, times(), 0_u64..5), 6),
        is_over in any::<bool>(),
    ) {
        let trials = outcomes.into_iter().zip(0..).map(|((outcome, ended_s, cost), number)| TrialRecord {
            trial: TrialId(number),
            ended_s,
            cost,
            outcome: match outcome {
                0 => TrialOutcome::NotRun,
                1 => TrialOutcome::GivenUp { reason: String::new() },
                2 => TrialOutcome::Diverged { epoch: 1 },
                _ => fixtures::finished(number, 0.1).outcome,
            },
            ..trial(number, 1)
        });
        let stage = if is_over { Stage::Over } else { Stage::Interrupted };
        let record = RunRecord { stage, standings, wall_s, ..fixtures::run(trials.collect()) };
        let record = fixtures::with_attempts(record, attempts);
        let ledger = Ledger::of(&record);
        for account in &ledger.accounts {
            prop_assert_eq!(account.lines.sum(), u64::from(account.slots) * ledger.wall_us);
        }
        prop_assert!(sentences(&ledger, &record).iter().all(|sentence| !sentence.contains("NaN")));
    }
}
