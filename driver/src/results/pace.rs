//! How long the rest of a search will take.

use std::time::Duration;

/// The work of a search, in any one unit of cost (FLOPs, say), and how fast it has gone.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Work {
    /// Cost of what is finished, parts of running trials included.
    pub done: f64,
    /// Cost of what is not, all trials together.
    pub remaining: f64,
    /// Cost that the trial with the most ahead of it has left; 0 where that is not known.
    pub remaining_longest: f64,
    /// Since the first trial was launched.
    pub elapsed: Duration,
    /// Slots that train.
    pub slots: u32,
}

/// The time that the rest will take at the pace so far; `None` before anything is done.
///
/// The remaining work spread over all slots, or the longest trial on one of them, whichever takes longer: the
/// two lower bounds of Graham, "Bounds on Multiprocessing Timing Anomalies" (1969), which longest-first
/// placement comes close to. Without the second, the time left would stand still while the last trial runs.
#[must_use]
pub fn time_left(work: &Work) -> Option<Duration> {
    let Work { done, remaining, remaining_longest, elapsed, slots } = *work;
    if remaining <= 0.0 {
        return Some(Duration::ZERO);
    }
    let per_second = done / elapsed.as_secs_f64();
    let spread = remaining / per_second;
    let longest = remaining_longest * f64::from(slots) / per_second;
    let seconds = spread.max(longest);
    // Nothing done, no time elapsed, or a cost that is no number: then there is no pace to go by.
    if !(per_second > 0.0 && per_second.is_finite() && remaining.is_finite()) {
        return None;
    }
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn work(done: f64, remaining: f64, remaining_longest: f64, elapsed_s: u64, slots: u32) -> Work {
        Work { done, remaining, remaining_longest, elapsed: Duration::from_secs(elapsed_s), slots }
    }

    #[test]
    fn the_rest_goes_at_the_pace_so_far() {
        assert_eq!(time_left(&work(10.0, 30.0, 0.0, 20, 4)), Some(Duration::from_mins(1)));
        assert_eq!(time_left(&work(30.0, 10.0, 0.0, 60, 1)), Some(Duration::from_secs(20)));
    }

    #[test]
    fn one_long_trial_has_one_slot_to_itself() {
        // Four slots did 10 a second together, 2.5 each: what is left is one trial.
        assert_eq!(time_left(&work(100.0, 25.0, 25.0, 10, 4)), Some(Duration::from_secs(10)));
        assert_eq!(time_left(&work(100.0, 25.0, 5.0, 10, 4)), Some(Duration::from_millis(2500)));
    }

    #[test]
    fn there_is_no_guess_before_anything_is_done() {
        assert_eq!(time_left(&work(0.0, 10.0, 1.0, 5, 4)), None);
        assert_eq!(time_left(&work(0.0, 10.0, 1.0, 0, 4)), None);
        assert_eq!(time_left(&work(5.0, 10.0, 1.0, 0, 4)), None);
    }

    #[test]
    fn nothing_is_left_at_the_end() {
        assert_eq!(time_left(&work(10.0, 0.0, 0.0, 5, 4)), Some(Duration::ZERO));
        assert_eq!(time_left(&work(0.0, 0.0, 0.0, 0, 0)), Some(Duration::ZERO));
    }

    proptest! {
        #[test]
        fn no_input_crashes_it(bits in proptest::array::uniform3(any::<u64>()), elapsed in any::<u64>(), slots in any::<u32>()) {
            let [done, remaining, longest] = bits.map(f64::from_bits);
            let work = work(done, remaining, longest, elapsed, slots);
            prop_assert!(time_left(&work).is_none() || remaining <= 0.0 || done > 0.0);
        }

        #[test]
        fn more_work_never_takes_less_time(
            done in 1.0..1e12, remaining in 0.0..1e12, more in 0.0..1e12, elapsed in 1_u64..1_000_000, slots in 1_u32..1000,
        ) {
            let less = time_left(&work(done, remaining, 0.0, elapsed, slots)).unwrap();
            prop_assert!(time_left(&work(done, remaining + more, 0.0, elapsed, slots)).unwrap() >= less);
            prop_assert!(time_left(&work(done, remaining, more, elapsed, slots)).unwrap() >= less);
        }
    }
}
