//! Losses that were observed at different rungs, on one scale.
//!
//! A loss after two epochs is larger than one after twenty, and so is what is expected from it. What the highest rung would
//! have said of a trial is estimated: between two rungs, losses fall by so much, by the median of the trials that were at both.
//! So a trial of a lower rung is better than one of a higher rung if it was much better where they met. Only then: to hold
//! that whoever got to a higher rung is better lets the first trials count as the best for good, which went on because there
//! was no other. To learn from the highest rung with enough results alone (BOHB: Falkner, Klein, Hutter, 2018) leaves out
//! most of what is known: with 100 trials, seven get there.

use std::collections::BTreeMap;

use super::sampler::Observation;

/// What is known of a configuration.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Levelled {
    /// The number of its last observation.
    pub(crate) number: usize,
    /// What it would have at the highest rung, by what was observed last; infinite if that was.
    pub(crate) loss: f64,
}

/// The last observations of configurations, in the order in which they were made. `histories` holds of each configuration
/// the numbers of its observations, in order.
///
/// It depends on what is in `observed` alone: with the first ones of many, it is what it was when there were no more.
pub(crate) fn levelled<'a>(observed: &[Observation], histories: impl Iterator<Item = &'a [usize]>) -> Vec<Levelled> {
    let known = |history: &'a [usize]| &history[..history.partition_point(|number| *number < observed.len())];
    let histories: Vec<_> = histories.map(known).filter(|history| !history.is_empty()).collect();
    let falls = falls(observed, &histories);
    let of_history = |history: &&[usize]| {
        let number = *history.last()?;
        let Observation { rung_epochs, loss, .. } = observed[number];
        Some(Levelled { number, loss: loss - falls.get(&rung_epochs).copied().unwrap_or(0.0) })
    };
    let mut levelled: Vec<_> = histories.iter().filter_map(of_history).collect();
    levelled.sort_unstable_by_key(|known| known.number);
    levelled
}

/// Of each rung, how far losses fall from there to the highest one.
fn falls(observed: &[Observation], histories: &[&[usize]]) -> BTreeMap<u32, f64> {
    let mut pairs: BTreeMap<u32, Vec<(u32, f64)>> = BTreeMap::new();
    for history in histories {
        for pair in history.windows(2) {
            let [before, after] = [&observed[pair[0]], &observed[pair[1]]];
            let fall = before.loss - after.loss;
            if fall.is_finite() && before.rung_epochs < after.rung_epochs {
                pairs.entry(before.rung_epochs).or_default().push((after.rung_epochs, fall));
            }
        }
    }
    let mut falls = BTreeMap::new();
    // From the highest one down: how far it goes on above is known.
    for (rung, pairs) in pairs.into_iter().rev() {
        let beyond = |higher: u32| falls.get(&higher).copied().unwrap_or(0.0);
        let mut whole: Vec<f64> = pairs.into_iter().map(|(higher, fall)| fall + beyond(higher)).collect();
        whole.sort_unstable_by(f64::total_cmp);
        falls.insert(rung, f64::midpoint(whole[(whole.len() - 1) / 2], whole[whole.len() / 2]));
    }
    falls
}

#[cfg(test)]
mod tests {
    use broadsweep_common::configuration::Configuration;

    use super::*;
    use crate::sampler::IN_FULL;

    fn observed(results: &[(u32, f64)]) -> Vec<Observation> {
        let result = |(rung_epochs, loss): &(u32, f64)| Observation {
            configuration: Configuration::default(),
            rung_epochs: *rung_epochs,
            loss: *loss,
        };
        results.iter().map(result).collect()
    }

    fn losses(observed: &[Observation], histories: &[&[usize]]) -> Vec<(usize, f64)> {
        let levelled = levelled(observed, histories.iter().copied());
        levelled.into_iter().map(|known| (known.number, known.loss)).collect()
    }

    #[test]
    fn a_loss_falls_as_far_as_the_median_of_the_trials_that_went_on() {
        let observed = observed(&[(1, 9.0), (1, 8.0), (1, 5.0), (3, 6.0), (3, 4.0), (IN_FULL, 1.0)]);
        let histories: [&[usize]; 3] = [&[2], &[0, 3], &[1, 4, 5]];
        // From 1 to 3 by 3 and 4, and from 3 to the end by 3: from 1 by 6 and by 7.
        assert_eq!(losses(&observed, &histories), [(2, 5.0 - 6.5), (3, 3.0), (5, 1.0)]);
        assert_eq!(losses(&observed[..4], &histories), [(1, 8.0 - 3.0), (2, 2.0), (3, 6.0)], "what was known then");
        assert_eq!(losses(&observed[..3], &histories), [(0, 9.0), (1, 8.0), (2, 5.0)]);
    }

    #[test]
    fn what_diverged_later_is_as_bad_as_what_diverged_at_once_and_says_nothing_of_others() {
        let observed = observed(&[(1, 9.0), (1, f64::INFINITY), (3, f64::INFINITY), (1, 2.0)]);
        let histories: [&[usize]; 3] = [&[0, 2], &[1], &[3]];
        assert_eq!(losses(&observed, &histories), [(1, f64::INFINITY), (2, f64::INFINITY), (3, 2.0)]);
    }

    #[test]
    fn without_rungs_losses_stay_what_they_are() {
        let observed = observed(&[(IN_FULL, 2.0), (IN_FULL, 1.0)]);
        assert_eq!(losses(&observed, &[&[1], &[0]]), [(0, 2.0), (1, 1.0)]);
    }
}
