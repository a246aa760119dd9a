//! Edge cases of the order in virtual time, with searches that answer from a list.

use broadsweep_common::configuration::Value;
use broadsweep_common::ids::TrialId;
use broadsweep_common::metrics::Metrics;
use broadsweep_common::task::Replicate;

use crate::decision::{Origin, Running};
use crate::virtual_time::*;

/// Every trial has four epochs, and an epoch costs as much as the trial's only value says.
struct ByValue;

impl PlannedCosts for ByValue {
    fn epochs(&self, _: &Configuration) -> NonZeroU32 {
        NonZeroU32::new(4).unwrap()
    }

    fn cost(&self, configuration: &Configuration, epochs: Range<u32>) -> NonZeroU64 {
        let Some(Value::Integer(cost)) = configuration.get("cost") else { panic!("no cost") };
        NonZeroU64::new((*cost as u64).saturating_mul(u64::from(epochs.end - epochs.start))).unwrap()
    }
}

/// Answers from a list, and then that it has ended. Remembers what it was shown, and when.
#[derive(Default)]
struct Script {
    answers: VecDeque<Decision>,
    shown: Vec<(u64, Vec<Seen>)>,
    running: Vec<Vec<Segment>>,
    recalled: usize,
}

impl Search for Script {
    fn next(&mut self, v: VirtualTime, seen: &[Seen], running: &dyn Running) -> Decision {
        self.shown.push((v.0, seen.to_vec()));
        self.running.push(running.trials().map(|trial| trial.segment).collect());
        self.answers.pop_front().unwrap_or(Decision::Ended)
    }

    fn recall(&mut self, _: &Decision) {
        self.recalled += 1;
    }
}

fn script(answers: impl IntoIterator<Item = Decision>) -> Script {
    Script { answers: answers.into_iter().collect(), ..Script::default() }
}

fn start(cost: i64, until_epoch: Option<u32>) -> Decision {
    let configuration = Configuration::from_iter([("cost", Value::Integer(cost))]);
    Decision::Start { configuration, origin: Origin::Point(0), until_epoch }
}

fn go_on(trial: u32, until_epoch: u32) -> Decision {
    Decision::Continue { trial: TrialId(trial), until_epoch }
}

fn segment(trial: u32, from_epoch: u32, until_epoch: u32) -> Segment {
    Segment { replicate: Replicate::first(TrialId(trial)), from_epoch, until_epoch }
}

fn paused(epoch: u32) -> SegmentEnd {
    SegmentEnd::Paused { epoch, metrics: Metrics::default() }
}

fn finished() -> SegmentEnd {
    SegmentEnd::Finished { epoch: 4, metrics: Metrics::default() }
}

fn timeline(slots: u32, lag: u64) -> Timeline<'static> {
    let clock = SearchClock::Virtual { lag: NonZeroU64::new(lag).unwrap() };
    Timeline::new(clock, NonZeroU32::new(slots).unwrap(), Box::new(ByValue))
}

fn moments(decided: &[NewDecision]) -> Vec<u64> {
    decided.iter().map(|decision| decision.v.0).collect()
}

#[test]
fn on_one_slot_a_search_sees_each_result_a_lag_after_its_end() {
    let (mut timeline, mut search) = (timeline(1, 1), script((0..3).map(|_| start(1, Some(1)))));
    // Of the first trial nothing has to be known before 2, and so the second is decided at 1.
    let mut decided = timeline.advance(&mut search);
    assert_eq!((moments(&decided), timeline.v()), (vec![0, 1], VirtualTime(1)));
    for trial in 0..2 {
        assert_eq!((timeline.blocker(), timeline.free_slots()), (Some(segment(trial, 0, 1)), 0));
        timeline.ended(segment(trial, 0, 1), finished());
        decided.extend(timeline.advance(&mut search));
    }
    timeline.ended(segment(2, 0, 1), finished());
    timeline.advance(&mut search);
    // The slot is free at 1, 2 and 3; each result is seen one later, with the question after it.
    assert_eq!(moments(&decided), [0, 1, 2, 3]);
    let shown: Vec<_> = search.shown.iter().map(|(v, seen)| (*v, seen.len())).collect();
    assert_eq!(shown, [(0, 0), (1, 0), (2, 1), (3, 1)]);
    assert!(timeline.is_over() && timeline.blocker().is_none() && timeline.reports.is_empty());
}

#[test]
fn where_all_trials_diverge_in_their_first_epoch_slots_are_free_a_lag_later() {
    let (mut timeline, mut search) = (timeline(2, 3), script((0..6).map(|_| start(10, None))));
    let mut decided = timeline.advance(&mut search);
    while let Some(blocker) = timeline.blocker() {
        timeline.told(blocker, 1, EpochEnd::Diverged);
        timeline.ended(blocker, SegmentEnd::Diverged { epoch: 1 });
        decided.extend(timeline.advance(&mut search));
    }
    // Planned for 40 each; the first epoch ends after 10.
    assert_eq!(moments(&decided), [0, 0, 13, 13, 26, 26, 39]);
}

#[test]
fn results_of_one_moment_are_shown_in_the_order_of_their_trials_whichever_came_first() {
    let (mut timeline, mut search) = (timeline(3, 2), script((0..3).map(|_| start(1, None)).chain([Decision::Wait])));
    timeline.advance(&mut search);
    for trial in [2, 0, 1] {
        timeline.ended(segment(trial, 0, 4), finished());
        timeline.advance(&mut search);
    }
    let (v, seen) = &search.shown[4];
    let trials: Vec<_> = seen.iter().map(|seen| seen.segment.replicate.trial.0).collect();
    assert_eq!((*v, trials), (6, vec![0, 1, 2]));
}

#[test]
fn a_search_is_shown_what_is_under_way_until_its_result_is_seen() {
    let answers = [start(1, Some(2)), start(5, None), Decision::Wait, go_on(0, 9)];
    let (mut timeline, mut search) = (timeline(3, 2), script(answers));
    timeline.ended(segment(0, 0, 2), paused(2));
    timeline.ended(segment(1, 0, 4), finished());
    let decided = timeline.advance(&mut search);
    assert_eq!(moments(&decided), [0, 0, 4, 4]);
    assert_eq!(decided[2].segment, Some(segment(0, 2, 4)));
    let (first, second) = (segment(0, 0, 2), segment(1, 0, 4));
    assert_eq!(
        search.running,
        [vec![], vec![first], vec![first, second], vec![second], vec![second, segment(0, 2, 4)]]
    );
}

#[test]
fn a_search_that_waits_is_asked_again_once_a_result_is_seen_and_not_when_a_slot_is_free() {
    let answers = [start(1, None), start(2, None), Decision::Wait, Decision::Wait];
    let (mut timeline, mut search) = (timeline(2, 10), script(answers));
    timeline.advance(&mut search);
    timeline.ended(segment(0, 0, 4), finished());
    timeline.ended(segment(1, 0, 4), finished());
    timeline.advance(&mut search);
    // Slots are free at 4 and 8, results seen at 14 and 18.
    let asked: Vec<_> = search.shown.iter().map(|(v, _)| *v).collect();
    assert_eq!(asked, [0, 0, 4, 14, 18]);
}

#[test]
fn what_is_reported_twice_or_of_nobody_changes_nothing_and_is_not_kept() {
    let (mut timeline, mut search) = (timeline(1, 1), script([start(1, Some(1)), start(1, None)]));
    timeline.advance(&mut search);
    timeline.told(segment(0, 0, 1), 0, EpochEnd::Diverged);
    timeline.told(segment(0, 0, 1), 2, EpochEnd::Diverged);
    timeline.ended(segment(0, 0, 1), finished());
    timeline.advance(&mut search);
    timeline.ended(segment(1, 0, 4), finished());
    timeline.advance(&mut search);
    let second_fold = Replicate { fold: 1, ..Replicate::first(TrialId(9)) };
    for stray in
        [segment(0, 0, 1), segment(1, 0, 4), segment(1, 0, 2), Segment { replicate: second_fold, ..segment(9, 0, 1) }]
    {
        timeline.told(stray, 1, EpochEnd::Diverged);
        timeline.gave_up(stray);
    }
    assert!(timeline.is_over() && timeline.reports.is_empty() && timeline.advance(&mut search).is_empty());
}

#[test]
fn a_search_that_continues_what_has_not_paused_has_ended() {
    for trial in [0, 7] {
        let (mut timeline, mut search) =
            (timeline(2, 1), script([start(1, Some(1)), go_on(trial, 2), start(1, None)]));
        let decided = timeline.advance(&mut search);
        assert_eq!(decided.last().map(|last| (last.index, &last.decision)), Some((1, &Decision::Ended)));
        assert!(timeline.has_ended() && !timeline.is_over());
    }
}

#[test]
fn a_trial_that_is_seen_to_be_over_is_not_continued() {
    let (mut timeline, mut search) = (timeline(1, 1), script([start(1, Some(1)), Decision::Wait, go_on(0, 2)]));
    timeline.ended(segment(0, 0, 1), finished());
    let decided = timeline.advance(&mut search);
    assert_eq!(
        decided.iter().map(|new| (new.v.0, new.segment)).collect::<Vec<_>>(),
        [(0, Some(segment(0, 0, 1))), (2, None)]
    );
}

#[test]
#[cfg_attr(debug_assertions, should_panic(expected = "nothing is under way"))]
fn a_search_that_waits_for_nothing_has_ended() {
    let decided = timeline(2, 1).advance(&mut script([Decision::Wait, start(1, None)]));
    assert_eq!(decided.last().map(|last| &last.decision), Some(&Decision::Ended));
}

#[test]
fn costs_beyond_all_numbers_make_rounds_that_end() {
    let (mut timeline, mut search) = (timeline(2, u64::MAX), script((0..5).map(|_| start(i64::MAX, None))));
    let mut decided = timeline.advance(&mut search);
    while let Some(blocker) = timeline.blocker() {
        timeline.ended(blocker, finished());
        decided.extend(timeline.advance(&mut search));
    }
    assert_eq!(moments(&decided), [0, 0, u64::MAX, u64::MAX, u64::MAX, u64::MAX]);
}

#[test]
fn slots_for_which_nothing_is_decided_are_counted() {
    let (mut timeline, mut search) = (timeline(3, 2), script([start(1, None), start(1, None), start(1, None)]));
    assert_eq!((timeline.idle_slots(5), timeline.free_slots()), (5, 3));
    timeline.advance(&mut search);
    assert_eq!((timeline.idle_slots(5), timeline.idle_slots(2), timeline.free_slots()), (2, 0, 0));
    timeline.ended(segment(1, 0, 4), finished());
    assert_eq!(timeline.open().collect::<Vec<_>>(), [segment(0, 0, 4), segment(2, 0, 4)]);
    assert_eq!(timeline.idle_slots(5), 3);
    // The slots are free at 4, once nothing can have been cut before 2: the search ends there.
    for trial in [0, 2] {
        timeline.told(segment(trial, 0, 4), 2, EpochEnd::GoesOn);
    }
    timeline.advance(&mut search);
    assert_eq!((timeline.idle_slots(5), timeline.blocker(), timeline.has_ended()), (0, None, true));
}

#[test]
fn a_recorded_decision_that_comes_at_another_moment_is_told() {
    let (mut timeline, mut search) = (timeline(1, 1), script([]));
    timeline.recall(start(1, Some(1)), VirtualTime(0));
    timeline.recall(start(1, Some(1)), VirtualTime(3));
    timeline.recall(Decision::Ended, VirtualTime(4));
    timeline.ended(segment(0, 0, 1), finished());
    timeline.ended(segment(1, 0, 1), finished());
    assert_eq!(timeline.advance(&mut search), []);
    // It waited at 1, when the slot was free, and at 2, when the result was seen: then nothing is left to wait for.
    let strayed = Strayed { index: 1, recorded: VirtualTime(3), now: VirtualTime(2) };
    assert_eq!((timeline.strayed(), search.recalled, timeline.is_over()), (Some(strayed), 3, true));
}

#[test]
fn a_search_that_is_stopped_ends_where_it_stands_under_this_driver_and_under_a_later_one() {
    // Two slots that are taken at 0; the first is free at 4, and a third trial starts there.
    let answers = || [start(1, None), start(5, None), start(1, None), start(1, None)];
    let (mut first, mut search) = (timeline(2, 4), script(answers()));
    let mut decided = first.advance(&mut search);
    assert_eq!((moments(&decided), first.free_slots()), (vec![0, 0, 4], 0));
    decided.extend(first.stop());
    assert_eq!(first.stop(), None);
    assert_eq!((first.advance(&mut search), first.has_ended(), first.stop()), (vec![], true, None));
    let (mut second, mut search) = (timeline(2, 4), script(answers()));
    for NewDecision { decision, v, .. } in decided {
        second.recall(decision, v);
    }
    let segments = [segment(0, 0, 4), segment(1, 0, 4), segment(2, 0, 4)];
    for segment in segments {
        second.ended(segment, finished());
    }
    assert_eq!((second.advance(&mut search), search.shown.len(), search.recalled), (vec![], 0, 4));
    assert_eq!((second.strayed(), second.is_over()), (None, true));
}

#[test]
fn by_arrivals_moments_count_results_and_slots_are_free_at_once() {
    let answers = [start(1, Some(2)), start(1, None), start(1, None), go_on(0, 4)];
    let mut search = script(answers);
    let mut timeline = Timeline::new(SearchClock::Arrivals, NonZeroU32::new(2).unwrap(), Box::new(ByValue));
    let mut decided = timeline.advance(&mut search);
    timeline.told(segment(1, 0, 4), 1, EpochEnd::Diverged);
    for (ended, end) in [(segment(1, 0, 4), SegmentEnd::Diverged { epoch: 1 }), (segment(0, 0, 2), paused(2))] {
        timeline.ended(ended, end);
        decided.extend(timeline.advance(&mut search));
    }
    assert_eq!(moments(&decided), [0, 0, 1, 2]);
    timeline.ended(segment(2, 0, 4), finished());
    timeline.gave_up(segment(0, 2, 4));
    decided.extend(timeline.advance(&mut search));
    assert_eq!(moments(&decided), [0, 0, 1, 2, 4]);
    assert_eq!(search.shown.last().map(|(v, seen)| (*v, seen.len())), Some((4, 2)));
}

#[test]
fn by_arrivals_a_later_driver_goes_on_where_the_recorded_decisions_end() {
    let mut search = script([start(1, None)]);
    let mut timeline = Timeline::new(SearchClock::Arrivals, NonZeroU32::new(2).unwrap(), Box::new(ByValue));
    for (decision, v) in [(start(1, Some(1)), 0), (start(1, None), 0), (go_on(0, 2), 1)] {
        timeline.recall(decision, VirtualTime(v));
    }
    timeline.ended(segment(0, 0, 1), paused(1));
    timeline.ended(segment(1, 0, 4), finished());
    let decided = timeline.advance(&mut search);
    assert_eq!(decided.iter().map(|new| (new.index, new.v.0)).collect::<Vec<_>>(), [(3, 2)]);
    assert_eq!((search.recalled, search.shown[0].1.len(), timeline.strayed()), (3, 2, None));
    assert_eq!(timeline.open().collect::<Vec<_>>(), [segment(0, 1, 2), segment(2, 0, 4)]);
}

#[test]
fn by_arrivals_a_trial_that_was_continued_has_not_paused_whatever_is_told_of_it_later() {
    let mut search = script([go_on(0, 3)]);
    let mut timeline = Timeline::new(SearchClock::Arrivals, NonZeroU32::new(2).unwrap(), Box::new(ByValue));
    for (decision, v) in [(start(1, Some(1)), 0), (start(1, None), 0), (go_on(0, 2), 1)] {
        timeline.recall(decision, VirtualTime(v));
    }
    // The other way round than under the earlier driver.
    timeline.ended(segment(1, 0, 4), finished());
    timeline.ended(segment(0, 0, 1), paused(1));
    let decided = timeline.advance(&mut search);
    assert_eq!(decided.last().map(|last| &last.decision), Some(&Decision::Ended));
    assert_eq!(timeline.open().collect::<Vec<_>>(), [segment(0, 1, 2)]);
}
