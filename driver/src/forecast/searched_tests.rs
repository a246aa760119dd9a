//! Plays of searches that saw results, against what can be said by hand, and against a play that tells of every epoch.

use std::num::{NonZeroU32, NonZeroU64};

use broadsweep_common::ids::{AttemptId, TrialId};
use broadsweep_common::metrics::Metrics;
use broadsweep_common::task::Segment;
use broadsweep_search::{EpochEnd, PrunerKind, SearchClock, SegmentEnd, VirtualTime};

use super::recorded::{RecordedSearch, RecordedTrial};
use super::*;
use crate::records::attempt::{AttemptEnd, AttemptRecord};
use crate::records::run::{Purpose, RunRecord, TrialOutcome, TrialRecord};
use crate::records::searched::{SearchAct, SearchRecord, SearchStep};
use crate::records::standing::{Standing, StandingSince};
use crate::results::fixtures;

/// A search without anything decided.
pub(super) fn search(parallel: u32, is_asynchronous: bool) -> SearchRecord {
    SearchRecord { parallel, is_asynchronous, ..fixtures::searched_by(PrunerKind::None) }
}

fn start(v: u64, trial: u32, until_epoch: Option<u32>) -> SearchStep {
    SearchStep { v: VirtualTime(v), act: SearchAct::Start { trial: TrialId(trial), until_epoch } }
}

fn goes_on(v: u64, trial: u32, until_epoch: u32) -> SearchStep {
    SearchStep { v: VirtualTime(v), act: SearchAct::Continue { trial: TrialId(trial), until_epoch } }
}

fn ended(v: u64) -> SearchStep {
    SearchStep { v: VirtualTime(v), act: SearchAct::Ended }
}

fn finished(took_us: u64, last_epoch: u32) -> SegmentCourse {
    let end = SegmentEnd::Finished { epoch: last_epoch, metrics: Metrics::default() };
    SegmentCourse { took_us, last_epoch, end }
}

fn paused(took_us: u64, last_epoch: u32) -> SegmentCourse {
    let end = SegmentEnd::Paused { epoch: last_epoch, metrics: Metrics::default() };
    SegmentCourse { took_us, last_epoch, end }
}

fn trial(cost: u64, epochs: u32, courses: Vec<SegmentCourse>) -> RecordedTrial {
    RecordedTrial { cost, epochs: NonZeroU32::new(epochs).unwrap(), courses }
}

fn virtually(lag: u64, slots: u32, steps: Vec<SearchStep>, trials: Vec<RecordedTrial>) -> RecordedSearch {
    let clock = SearchClock::Virtual { lag: NonZeroU64::new(lag).unwrap() };
    RecordedSearch { clock, slots: NonZeroU32::new(slots).unwrap(), steps, trials }
}

/// The wall and the time of slots that waited for the order.
fn on(search: &RecordedSearch, executors: u32, slots: u32) -> (u64, u64) {
    let played = search.again(0).on(Cluster { executors, slots }).unwrap();
    assert_eq!(played.tasks as usize, search.segments(), "not everything was trained");
    (played.wall_us, played.order_us)
}

/// Eight trials that take what they are planned to, two at a time in virtual time.
fn eight_alike(lag: u64, epochs: u32) -> RecordedSearch {
    let steps = (0..8).map(|number| start(u64::from(number / 2) * 10, number, None)).chain([ended(40)]);
    virtually(lag, 2, steps.collect(), (0..8).map(|_| trial(10, epochs, vec![finished(10, epochs)])).collect())
}

#[test]
fn one_slot_takes_all_segments_one_after_the_other_and_others_as_many_as_the_order_allows() {
    // What ends at 10 is seen at 20: up to then, everything is decided at once.
    let search = eight_alike(10, 1);
    assert_eq!(on(&search, 1, 1), (80, 0));
    assert_eq!(on(&search, 2, 1), (40, 0));
    assert_eq!(on(&search, 4, 1), (20, 0), "as far as a lag goes, the cluster runs ahead");
    assert_eq!(on(&search, 1, 4), (20, 0), "slots of one executor are as good");
    assert_eq!(on(&search, 8, 1), (20, 40), "four of the slots have nothing to do before the first four are over");
    assert_eq!(on(&search, 100, 1), (20, 960), "nor have all others");
    // Without a lag to speak of, all but the last of ten epochs have to be known: two are under way at a time.
    assert_eq!(on(&eight_alike(1, 10), 4, 1), (40, 60));
    assert_eq!(search.again(0).on(Cluster { executors: 0, slots: 1 }), None);
}

#[test]
fn what_a_trial_takes_longer_than_it_was_planned_to_the_others_wait_for() {
    let mut search = eight_alike(10, 1);
    search.trials[0].courses[0].took_us = 100;
    // Three go on beside it, then nothing is decided before it ends; then what is left takes two rounds.
    assert_eq!(on(&search, 2, 1), (120, 70));
    assert_eq!(on(&search, 1, 1), (170, 0), "one slot never waits");
}

#[test]
fn a_segment_that_is_cut_frees_its_slot_a_lag_after_its_virtual_end() {
    let diverged = SegmentCourse { took_us: 10, last_epoch: 1, end: SegmentEnd::Diverged { epoch: 1 } };
    let stopped = SegmentCourse { took_us: 10, ..finished(10, 1) };
    for course in [diverged, stopped] {
        let trials = vec![trial(100, 10, vec![course]), trial(100, 10, vec![finished(100, 10)])];
        let search = virtually(1, 1, vec![start(0, 0, None), start(11, 1, None), ended(111)], trials);
        assert_eq!(on(&search, 1, 1), (110, 0));
        assert_eq!(on(&search, 2, 1), (110, 10), "the second slot waits for the first trial to be cut");
    }
    // One that is not cut holds its slot: whether it was, is known once it is over.
    let trials = vec![trial(100, 10, vec![finished(100, 10)]); 2];
    let search = virtually(1, 1, vec![start(0, 0, None), start(100, 1, None), ended(200)], trials);
    assert_eq!(on(&search, 2, 1), (200, 100));
    // With a lag of two epochs and a half, the second one begins when seven epochs are followed by another.
    let RecordedSearch { steps, trials, .. } = search;
    assert_eq!(on(&virtually(25, 1, steps, trials), 2, 1), (180, 80));
}

#[test]
fn a_trial_that_pauses_goes_on_when_it_was_seen_to_have_paused() {
    // Two pause after an epoch of ten, and the second one goes on.
    let trials = vec![trial(100, 10, vec![paused(10, 1)]), trial(100, 10, vec![paused(20, 1), finished(180, 10)])];
    let steps = vec![start(0, 0, Some(1)), start(0, 1, Some(1)), goes_on(20, 1, 10), ended(20)];
    let search = virtually(10, 2, steps, trials);
    assert_eq!(on(&search, 1, 1), (210, 0));
    assert_eq!(on(&search, 2, 1), (200, 10), "the first slot waits for the second trial's rung");
}

#[test]
fn results_that_count_as_they_come_let_no_slot_wait_and_a_trial_goes_on_only_after_it_has_paused() {
    let trials = vec![
        trial(100, 10, vec![paused(100, 1), finished(10, 10)]),
        trial(100, 10, vec![finished(10, 10)]),
        trial(100, 10, vec![finished(50, 10)]),
    ];
    let steps = vec![start(0, 0, Some(1)), start(0, 1, None), goes_on(1, 0, 10), start(1, 2, None), ended(3)];
    let search = RecordedSearch { clock: SearchClock::Arrivals, ..virtually(1, 2, steps, trials) };
    assert!(search.is_asynchronous());
    assert_eq!(on(&search, 1, 1), (170, 0));
    assert_eq!(on(&search, 2, 1), (110, 40), "trial 2 does not wait for trial 0, and nothing else is left to do");
}

/// The wall of a play on executors of one slot each that tells of every epoch as it ends, and knows no scheduler.
fn told_of_every_epoch(search: &RecordedSearch, executors: usize) -> u64 {
    let PlayedSearch { mut timeline, search: mut asked, course, .. } = search.again(0);
    let (mut now, mut waiting, mut configurations) = (0, Vec::new(), Vec::new());
    // Of each executor: the segment, its course, when it began and its next epoch.
    let mut at_work: Vec<Option<(Segment, SegmentCourse, u64, u32)>> = vec![None; executors];
    let end_of = |(segment, course, began, epoch): &(Segment, SegmentCourse, u64, u32)| {
        let (done, all) = (u64::from(epoch - segment.from_epoch), u64::from(course.last_epoch - segment.from_epoch));
        began + (course.took_us * done).div_ceil(all)
    };
    loop {
        for decided in timeline.advance(asked.as_mut()) {
            if let broadsweep_search::Decision::Start { configuration, .. } = decided.decision {
                configurations.push(configuration);
            }
            waiting.extend(decided.segment.map(|segment| (decided.v, segment)));
        }
        for executor in at_work.iter_mut().filter(|executor| executor.is_none()) {
            if !waiting.is_empty() {
                let (_, segment) = waiting.remove(0);
                let course = course(segment, &configurations[segment.replicate.trial.0 as usize]);
                *executor = Some((segment, course, now, segment.from_epoch + 1));
            }
        }
        let busy = at_work.iter_mut().filter(|executor| executor.is_some());
        let Some(next) = busy.min_by_key(|executor| executor.as_ref().map(end_of)) else { return now };
        let (segment, course, began, epoch) = next.take().unwrap();
        now = end_of(&(segment, course.clone(), began, epoch));
        if epoch < course.last_epoch {
            if epoch > segment.from_epoch + 1 {
                timeline.told(segment, epoch - 1, EpochEnd::GoesOn);
            }
            *next = Some((segment, course, began, epoch + 1));
            continue;
        }
        if epoch < segment.until_epoch && matches!(course.end, SegmentEnd::Finished { .. }) {
            timeline.told(segment, epoch, EpochEnd::StoppedEarly);
        }
        timeline.ended(segment, course.end);
    }
}

#[test]
fn telling_only_of_what_is_waited_for_is_as_good_as_telling_of_every_epoch() {
    let mut state = 1_u64;
    let mut draw = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let mut waited = 0;
    for _ in 0..60 {
        let (slots, lag) = (1 + draw(6), 1 + draw(2000));
        let trials: Vec<_> = (0..24)
            .map(|_| {
                let (cost, epochs) = (100 + draw(2000), 1 + draw(12) as u32);
                let last = if draw(4) == 0 { 1 + draw(u64::from(epochs)) as u32 } else { epochs };
                trial(cost, epochs, vec![finished(1 + (cost * (1 + draw(400)) / 100), last)])
            })
            .collect();
        // When it decides follows from the rule: asked anew at each moment, it has always something to start.
        let steps = (0..24).map(|number| start(0, number, None)).chain([ended(0)]).collect();
        let search = virtually(lag, slots as u32, steps, trials);
        for executors in [1, 3, 8] {
            let (wall_us, order_us) = on(&search, executors, 1);
            assert_eq!(
                wall_us,
                told_of_every_epoch(&search, executors as usize),
                "{executors} executors: {search:?}"
            );
            waited += u32::from(order_us > 0);
        }
    }
    assert!(waited > 60, "only {waited} plays waited for anything");
}

/// A run in which two trials paused, one went on and stopped early, one diverged, and one was given up, on one executor
/// that takes a second for each epoch.
fn recorded_run() -> RunRecord {
    let curves = |epochs: usize| fixtures::curves(vec![fixtures::epoch(0.5); epochs]);
    let trial = |number, outcome, epochs, rungs| TrialRecord {
        cost: 1000,
        epochs_max: 10,
        outcome,
        curves: curves(epochs),
        rungs,
        ..fixtures::finished(number, 0.1)
    };
    let trials = vec![
        trial(0, TrialOutcome::Paused { epoch: 2 }, 2, vec![]),
        trial(1, TrialOutcome::Finished { epoch: 5 }, 6, vec![2]),
        trial(2, TrialOutcome::Diverged { epoch: 1 }, 0, vec![]),
        trial(3, TrialOutcome::GivenUp { reason: "broken".to_owned() }, 0, vec![]),
    ];
    let steps = vec![
        start(0, 0, Some(2)),
        start(0, 1, Some(2)),
        start(200, 2, Some(2)),
        start(200, 3, Some(2)),
        goes_on(400, 1, 10),
        ended(400),
    ];
    let tasks = [0, 1, 2, 3, 1].map(|trial| Purpose::Training(TrialId(trial))).to_vec();
    let attempt = |(task, from_epoch, epochs, end): (u32, u32, u32, AttemptEnd)| AttemptRecord {
        attempt: AttemptId { task: TaskId(task), number: 1 },
        executor: ExecutorId(0),
        from_epoch,
        epoch: from_epoch + epochs,
        started_s: f64::from(task) * 10.0,
        ended_s: f64::from(task) * 10.0 + f64::from(epochs),
        training_s: f64::from(epochs),
        evaluation_s: 0.0,
        used: None,
        end: Some(end),
    };
    let failed = AttemptEnd::Failed { reason: "broken".to_owned() };
    let attempts = [
        (0, 0, 2, AttemptEnd::Completed),
        (1, 0, 2, AttemptEnd::Completed),
        (2, 0, 1, AttemptEnd::Completed),
        (3, 0, 1, failed),
        (4, 2, 4, AttemptEnd::Completed),
    ];
    let standings = vec![vec![StandingSince { at_s: 0.0, standing: Standing::Ready { slots: 1 } }]];
    let search = Some(SearchRecord { steps, lag: NonZeroU64::new(150), ..search(2, false) });
    let attempts = attempts.into_iter().map(attempt).collect();
    RunRecord { search, tasks, attempts, standings, wall_s: 44.0, ..fixtures::run(trials) }
}

#[test]
fn a_run_tells_what_came_of_each_segment_of_its_trials() {
    let basis = Basis::of(&recorded_run()).unwrap();
    let search = basis.search.clone().unwrap();
    assert_eq!(search.clock, SearchClock::Virtual { lag: NonZeroU64::new(150).unwrap() });
    let course = |took_s: u64, last_epoch, end| SegmentCourse { took_us: took_s * 1_000_000, last_epoch, end };
    let diverged = SegmentEnd::Diverged { epoch: 1 };
    let finished = SegmentEnd::Finished { epoch: 5, metrics: Metrics::default() };
    let told: Vec<_> = search.trials.iter().map(|trial| trial.courses.clone()).collect();
    let expected = [
        vec![paused(2_000_000, 2)],
        vec![paused(2_000_000, 2), course(4, 6, finished)],
        vec![course(1, 1, diverged)],
        // 200 of its 1000 units, at 6 s for the 1000 units of the trial that has a result.
        vec![SegmentCourse { took_us: 1_200_000, last_epoch: 2, end: SegmentEnd::GivenUp }],
    ];
    assert_eq!(told, expected);
    let mut old = recorded_run();
    old.search.as_mut().unwrap().lag = None;
    let of_an_old_run = Basis::of(&old).unwrap().search.unwrap();
    assert_eq!(of_an_old_run.clock, SearchClock::Virtual { lag: NonZeroU64::new(200).unwrap() }, "two of ten epochs");
    (old.search.as_mut().unwrap()).is_asynchronous = true;
    assert!(Basis::of(&old).unwrap().is_asynchronous());
}

#[test]
fn a_forecast_plays_the_order_in_which_the_run_decided() {
    let mut basis = Basis::of(&recorded_run()).unwrap();
    (basis.start_us, basis.broadcast_us, basis.close_us, basis.overhead_us) = (0, 0, 0, 0);
    let nodes = [1, 2, 13].map(|executors| Cluster { executors, slots: 1 });
    let forecasts = basis.forecasts(&nodes, Schedule::Queue);
    let walls: Vec<_> = forecasts.iter().map(|forecast| forecast.wall_us).collect();
    assert_eq!(walls, [10_200_000, 7_000_000, 6_000_000]);
    let waits: Vec<_> = forecasts.iter().map(|forecast| forecast.order_us).collect();
    // Of 13 slots, all but four have nothing to do at all, and these nothing else before the rung is reached at 2 s.
    assert_eq!(waits, [0, 0, 19_800_000]);
    assert_eq!(basis.enough(1, Schedule::Queue), 3);
    // All at once, the longest trial alone decides on two of them.
    basis.search = None;
    assert_eq!(basis.forecast(nodes[1], Schedule::Queue).wall_us, 6_000_000);
}
