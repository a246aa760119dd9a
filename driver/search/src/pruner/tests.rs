//! Promotions by hand, on small cases.

use super::*;

fn number(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

fn spacing(min_epochs: u32, eta: u32) -> RungSpacing {
    RungSpacing { min_epochs: number(min_epochs), eta: number(eta) }
}

/// The first bracket of a pruner, in whose first rung these trials have paused with these losses.
fn paused(pruner: &dyn Pruner, losses: &[(u32, f64)]) -> Bracket {
    let mut bracket = Bracket::new(pruner.rungs().swap_remove(0));
    let until_epoch = bracket.next_pause(0, u32::MAX).unwrap();
    for (trial, loss) in losses {
        bracket.expect(until_epoch);
        bracket.note(until_epoch, RungResult { trial: TrialId(*trial), loss: *loss, is_paused: true });
    }
    bracket
}

/// The trials that go on from the first rung, in order, while none of them ends.
fn going_on(pruner: &dyn Pruner, bracket: &mut Bracket, all_started: bool) -> Vec<u32> {
    let mut promoted = Vec::new();
    while let Some(trial) = pruner.promoted(bracket, all_started) {
        let epoch = bracket.next_pause(0, u32::MAX).unwrap();
        bracket.promote(epoch, trial);
        bracket.expect(bracket.next_pause(epoch, u32::MAX).unwrap_or(u32::MAX));
        promoted.push(trial.0);
    }
    promoted
}

#[test]
fn rungs_grow_by_eta_as_far_as_numbers_go() {
    assert_eq!(spacing(1, 3).rungs()[..5], [1, 3, 9, 27, 81]);
    assert_eq!(spacing(2, 4).rungs()[..4], [2, 8, 32, 128]);
    assert_eq!(spacing(1 << 30, 2).rungs(), [1 << 30, 1 << 31]);
    assert_eq!(spacing(u32::MAX, 1).rungs(), [u32::MAX]);
    assert_eq!(spacing(1, 1).rungs().len(), 32, "eta is at least 2");
}

#[test]
fn trials_pause_at_rungs_below_their_own_last_epoch() {
    let bracket = Bracket::new(vec![1, 3, 9]);
    let pauses = [(0, 50), (1, 50), (3, 50), (9, 50), (0, 1), (1, 3), (1, 4)];
    let pauses = pauses.map(|(epochs, epochs_max)| bracket.next_pause(epochs, epochs_max));
    assert_eq!(pauses, [Some(1), Some(3), Some(9), None, None, None, Some(3)]);
    assert_eq!([1, 2, 3, 5, 9, 10].map(|until| bracket.rung_epochs(until)), [1, 3, 3, 9, 9, u32::MAX]);
}

#[test]
fn asha_promotes_the_best_part_rounded_down_and_of_equal_trials_the_lower_one() {
    let asha = Asha::new(spacing(1, 3));
    for (losses, expected) in [
        (&[(0, 1.0), (1, 2.0)][..], &[][..]),
        (&[(0, 1.0), (1, 0.5), (2, 2.0)], &[1]),
        (&[(0, 1.0), (1, 0.5), (2, 2.0), (3, 0.1), (4, 3.0)], &[3]),
        (&[(5, 1.0), (1, 1.0), (2, 1.0), (3, 1.0), (4, 1.0), (0, f64::INFINITY)], &[1, 2]),
        (&[(0, f64::INFINITY), (1, f64::INFINITY), (2, f64::INFINITY)], &[0]),
    ] {
        assert_eq!(going_on(&asha, &mut paused(&asha, losses), false), expected, "{losses:?}");
    }
}

#[test]
fn asha_promotes_a_paused_trial_later_and_the_highest_rung_first() {
    let asha = Asha::new(spacing(1, 2));
    let mut bracket = paused(&asha, &[(0, 3.0), (1, 1.0), (2, 2.0)]);
    assert_eq!(going_on(&asha, &mut bracket, false), [1]);
    let result = |trial, loss| RungResult { trial: TrialId(trial), loss, is_paused: true };
    bracket.note(1, result(3, 9.0));
    assert_eq!(asha.promoted(&bracket, false), Some(TrialId(2)), "two of four");
    bracket.promote(1, TrialId(2));
    bracket.note(2, result(1, 0.5));
    bracket.note(2, result(2, 0.4));
    for trial in [4, 5] {
        bracket.note(1, result(trial, 0.0));
    }
    assert_eq!(asha.promoted(&bracket, false), Some(TrialId(2)), "to the third rung");
}

#[test]
fn what_has_ended_takes_its_place_among_the_best() {
    let asha = Asha::new(spacing(1, 3));
    let mut bracket = paused(&asha, &[(0, 1.0), (1, 2.0)]);
    bracket.note(1, RungResult { trial: TrialId(2), loss: 0.5, is_paused: false });
    assert_eq!(asha.promoted(&bracket, false), None);
    assert_eq!(asha.promoted(&bracket, true), None, "the best has ended");
}

#[test]
fn of_a_rung_that_gets_no_more_results_one_trial_goes_on_at_least() {
    let asha = Asha::new(spacing(1, 3));
    let mut bracket = paused(&asha, &[(0, 2.0), (1, 1.0)]);
    assert_eq!(asha.promoted(&bracket, false), None);
    assert_eq!(going_on(&asha, &mut bracket, true), [1]);
    bracket.note(3, RungResult { trial: TrialId(1), loss: 1.0, is_paused: true });
    assert_eq!(asha.promoted(&bracket, false), None);
    assert_eq!(asha.promoted(&bracket, true), Some(TrialId(1)));
    bracket.expect(1);
    assert_eq!(asha.promoted(&bracket, true), None, "another one may come");
}

#[test]
fn hyperband_gives_brackets_the_shares_of_the_paper() {
    let hyperband = Hyperband::new(spacing(1, 3), number(81));
    let rungs = [&[1, 3, 9, 27][..], &[3, 9, 27], &[9, 27], &[27], &[]];
    assert_eq!(hyperband.rungs(), rungs);
    assert_eq!(hyperband.shares, [81, 34, 15, 8, 5], "table 1 of the paper");
    let mut counts = [0_u32; 5];
    (0..143).for_each(|trial| counts[hyperband.bracket_of(TrialId(trial))] += 1);
    let differences = counts.iter().zip([81, 34, 15, 8, 5]).map(|(count, share)| count.abs_diff(share));
    assert!(differences.max() <= Some(2), "{counts:?}");
    assert_eq!(Hyperband::new(spacing(5, 3), number(5)).rungs(), vec![Vec::<u32>::new()]);
}

#[test]
fn the_median_rule_lets_trials_go_on_that_are_no_worse_than_the_others() {
    let median = Median::new(spacing(1, 3), number(3));
    for (losses, expected) in [
        (&[(0, 9.0), (1, 1.0)][..], &[1, 0][..]),
        (&[(0, 1.0), (1, 2.0), (2, 3.0)], &[0, 1]),
        (&[(0, 1.0), (1, 2.0), (2, 3.0), (3, 4.0)], &[0, 1]),
        (&[(0, 1.0), (1, 1.0), (2, 1.0)], &[0, 1, 2]),
        (&[(0, 1.0), (1, f64::INFINITY), (2, f64::INFINITY)], &[0, 1, 2]),
        (&[(0, 1.0), (1, 2.0), (2, 2.0), (3, 2.0), (4, f64::INFINITY)], &[0, 1, 2, 3]),
    ] {
        assert_eq!(going_on(&median, &mut paused(&median, losses), false), expected, "{losses:?}");
    }
}

#[test]
fn the_top_k_go_on_once_all_are_there() {
    let top = TopK::new(number(1), number(2));
    let mut bracket = paused(&top, &[(0, 3.0), (1, 1.0), (2, 1.0), (3, 1.0)]);
    assert_eq!(top.promoted(&bracket, false), None);
    bracket.expect(1);
    assert_eq!(top.promoted(&bracket, true), None);
    bracket.note(1, RungResult { trial: TrialId(4), loss: f64::INFINITY, is_paused: false });
    assert_eq!(going_on(&top, &mut bracket, true), [1, 2]);
}
