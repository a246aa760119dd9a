//! Promotions by hand, on small cases.

use super::*;

fn number(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

/// `eta` whole, up to the rung 81.
fn spacing(min_epochs: u32, eta: u32) -> RungSpacing {
    RungSpacing { min_epochs: number(min_epochs), eta_percent: number(100 * eta), epochs_max: number(120) }
}

fn arrival(trial: u32, loss: f64) -> RungArrival {
    RungArrival { trial: TrialId(trial), loss, epochs_max: Some(120), is_paused: true }
}

/// The first bracket of a pruner, in whose first rung these trials have paused with these losses.
fn paused(pruner: &dyn Pruner, losses: &[(u32, f64)]) -> Bracket {
    let mut bracket = Bracket::new(pruner.rungs().swap_remove(0));
    let until_epoch = bracket.next_pause(0, u32::MAX).unwrap();
    for (trial, loss) in losses {
        bracket.expect(until_epoch);
        bracket.note(until_epoch, arrival(*trial, *loss));
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
fn rungs_grow_by_eta_up_to_a_part_of_the_epochs() {
    let rungs = |min_epochs: u32, eta_percent: u32, epochs_max: u32| {
        let [min_epochs, eta_percent, epochs_max] = [min_epochs, eta_percent, epochs_max].map(number);
        RungSpacing { min_epochs, eta_percent, epochs_max }.rungs()
    };
    assert_eq!(spacing(1, 3).rungs(), [1, 3, 9, 27, 81]);
    assert_eq!(rungs(2, 400, 40), [2, 8]);
    assert_eq!(rungs(2, 150, 50), [2, 3, 5, 7, 10, 15, 23, 34]);
    assert_eq!(rungs(1, 110, 10), [1, 2, 3, 4, 5, 6, 7], "never twice the same");
    assert_eq!(rungs(1, 1, 10), rungs(1, ETA_PERCENT_MIN, 10));
    assert_eq!(rungs(1 << 30, 200, u32::MAX), [1 << 30, 1 << 31]);
    assert_eq!((rungs(8, 200, 10), rungs(10, 200, 10)), (vec![8], vec![]));
}

#[test]
fn with_even_rungs_asha_takes_a_fifth_of_the_epochs() {
    let even = |epochs_max| RungSpacing::even(number(epochs_max));
    assert_eq!(even(50).rungs(), [3, 5, 7, 10, 15, 23, 34]);
    assert_eq!(even(200).rungs(), [12, 18, 27, 41, 61, 91, 137]);
    assert_eq!((even(1).rungs(), even(10).rungs()), (vec![], vec![1, 2, 3, 5]));
    for epochs_max in 24..1000 {
        let (mut trials, mut epochs, mut before) = (100_u32, 0, 0);
        for rung in even(epochs_max).rungs() {
            epochs += trials * (rung - before);
            (trials, before) = (even(epochs_max).part(trials as usize) as u32, rung);
        }
        epochs += trials * (epochs_max - before);
        assert!(
            epochs <= 100 * epochs_max / 5 && epochs > 100 * epochs_max / 8,
            "{epochs} of 100 times {epochs_max}"
        );
    }
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
    bracket.note(1, arrival(3, 9.0));
    assert_eq!(asha.promoted(&bracket, false), Some(TrialId(2)), "two of four");
    bracket.promote(1, TrialId(2));
    bracket.note(2, arrival(1, 0.5));
    bracket.note(2, arrival(2, 0.4));
    for trial in [4, 5] {
        bracket.note(1, arrival(trial, 0.0));
    }
    assert_eq!(asha.promoted(&bracket, false), Some(TrialId(2)), "to the third rung");
}

#[test]
fn asha_promotes_no_more_than_its_part_however_much_better_the_later_ones_are() {
    let asha = Asha::new(spacing(1, 3));
    let mut bracket = paused(&asha, &[]);
    let mut promoted = Vec::new();
    for trial in 0..12 {
        bracket.note(1, arrival(trial, -f64::from(trial)));
        promoted.extend(going_on(&asha, &mut bracket, false));
    }
    assert_eq!((promoted, bracket.rungs()[0].promoted()), (vec![2, 5, 8, 11], 4));
}

#[test]
fn trials_are_ranked_by_what_they_will_have_in_the_end() {
    let mut bracket = Bracket::new(vec![2, 4]);
    for (trial, loss) in [(0, 1.0), (1, 3.0), (2, 1.1), (3, f64::INFINITY)] {
        bracket.note(2, arrival(trial, loss));
    }
    // Of 20 epochs: from 2 to 4 a loss falls by b / 4, and from there by b / 5.
    let last = |arrival| RungArrival { epochs_max: Some(20), ..arrival };
    bracket.note(4, last(arrival(0, 0.9)));
    bracket.note(4, last(arrival(1, 1.0)));
    bracket.note(4, last(arrival(2, 1.2)));
    bracket.note(4, last(arrival(3, 0.7)));
    let outlooks: Vec<_> =
        bracket.rungs()[1].results().iter().map(|result| (result.trial.0, result.outlook)).collect();
    let expected = [(1, -0.6), (3, 0.7), (0, 0.82), (2, 1.2)];
    assert!(
        outlooks.iter().zip(expected).all(|(one, other)| one.0 == other.0 && (one.1 - other.1).abs() < 1e-12),
        "{outlooks:?}"
    );
    let mut ended = Bracket::new(vec![2, 4]);
    ended.note(2, arrival(1, 3.0));
    ended.note(4, RungArrival { epochs_max: None, is_paused: false, ..arrival(1, 1.0) });
    assert!(ended.rungs()[1].results()[0].outlook >= 1.0, "what has ended falls no more");
}

#[test]
fn what_has_ended_takes_its_place_among_the_best() {
    let asha = Asha::new(spacing(1, 3));
    let mut bracket = paused(&asha, &[(0, 1.0), (1, 2.0)]);
    bracket.note(1, RungArrival { is_paused: false, ..arrival(2, 0.5) });
    assert_eq!(asha.promoted(&bracket, false), None);
    assert_eq!(asha.promoted(&bracket, true), None, "the best has ended");
}

#[test]
fn of_a_rung_that_gets_no_more_results_one_trial_goes_on_at_least() {
    let asha = Asha::new(spacing(1, 3));
    let mut bracket = paused(&asha, &[(0, 2.0), (1, 1.0)]);
    assert_eq!(asha.promoted(&bracket, false), None);
    assert_eq!(going_on(&asha, &mut bracket, true), [1]);
    bracket.note(3, arrival(1, 1.0));
    assert_eq!(asha.promoted(&bracket, false), None);
    assert_eq!(asha.promoted(&bracket, true), Some(TrialId(1)));
    bracket.expect(1);
    assert_eq!(asha.promoted(&bracket, true), None, "another one may come");
}

#[test]
fn hyperband_gives_brackets_the_shares_of_the_paper() {
    let hyperband = Hyperband::new(RungSpacing { epochs_max: number(81), ..spacing(1, 3) });
    let rungs = [&[1, 3, 9, 27][..], &[3, 9, 27], &[9, 27], &[27], &[]];
    assert_eq!(hyperband.rungs(), rungs);
    assert_eq!(hyperband.shares, [81, 34, 15, 8, 5], "table 1 of the paper");
    let mut counts = [0_u32; 5];
    (0..143).for_each(|trial| counts[hyperband.bracket_of(TrialId(trial))] += 1);
    let differences = counts.iter().zip([81, 34, 15, 8, 5]).map(|(count, share)| count.abs_diff(share));
    assert!(differences.max() <= Some(2), "{counts:?}");
    let none = RungSpacing { epochs_max: number(5), ..spacing(5, 3) };
    assert_eq!(Hyperband::new(none).rungs(), vec![Vec::<u32>::new()]);
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
    bracket.note(1, RungArrival { is_paused: false, ..arrival(4, f64::INFINITY) });
    assert_eq!(going_on(&top, &mut bracket, true), [1, 2]);
}
