//! What the order in virtual time promises.

mod by_hand;
mod edges;
mod play;
mod toy;

use by_hand::ByHand;
use play::{Play, World};
use proptest::prelude::*;
use toy::Toy;

use super::*;

/// One executor that reports one segment after the other, under one driver.
const PLAIN: World = World { seed: 0, real_slots: 1, kills: 0, repeats: 0 };

fn toys() -> impl Strategy<Value = Toy> {
    let sizes = (1_u32..30, 1_u32..6, 1_u32..6);
    let costs = prop_oneof![Just((1, 1)), (1_u64..60, 1_u64..60), (1_u64..200, 1_u64..4)];
    (any::<u64>(), sizes, costs, 0_u64..=60, 0_u64..=40).prop_map(|(seed, sizes, costs, cut, given_up)| {
        let ((trials, slots, epochs_max), (lag, cost_max)) = (sizes, costs);
        Toy { seed, trials, slots, lag, epochs_max, cost_max, cut, given_up }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn neither_executors_nor_their_order_nor_kills_change_what_is_decided_or_when(
        toy in toys(), seed: u64, real_slots in 1_usize..20, kills in 0_u64..10, repeats in 0_u64..30,
    ) {
        let expected = Play::new(toy, toy.clock(), PLAIN).decide_all();
        let world = World { seed, real_slots, kills, repeats };
        prop_assert_eq!(Play::new(toy, toy.clock(), world).decide_all(), expected);
    }

    #[test]
    fn decisions_and_their_moments_are_those_of_the_rule_played_by_hand(toy in toys()) {
        let decided = Play::new(toy, toy.clock(), PLAIN).decide_all().into_iter();
        prop_assert_eq!(decided.map(|new| (new.v.0, new.decision)).collect::<Vec<_>>(), ByHand::decisions(toy));
    }

    #[test]
    fn nothing_moves_without_the_blocker_and_something_does_with_it(toy in toys()) {
        let mut play = Play::new(toy, toy.clock(), PLAIN);
        play.advance();
        while let Some(blocker) = play.timeline.blocker() {
            let before = (play.timeline.v(), play.decisions.len());
            let others: Vec<_> = play.timeline.open().filter(|open| *open != blocker).collect();
            for other in others {
                while play.report(other) {}
                play.timeline.blocker = None; // or it would not look whether it can go on
                play.advance();
                prop_assert_eq!((play.timeline.v(), play.decisions.len()), before, "{:?} was not needed", blocker);
                prop_assert_eq!(play.timeline.blocker(), Some(blocker));
            }
            while play.report(blocker) {}
            play.advance();
            prop_assert!((play.timeline.v(), play.decisions.len()) > before, "{blocker:?} was not all");
        }
        prop_assert!(play.timeline.has_ended());
    }

    #[test]
    fn by_arrivals_no_decision_is_made_twice_and_every_result_is_waited_for(
        toy in toys(), seed: u64, real_slots in 1_usize..20, kills in 0_u64..10, repeats in 0_u64..30,
    ) {
        let world = World { seed, real_slots, kills, repeats };
        let decided = Play::new(toy, SearchClock::Arrivals, world).decide_all();
        prop_assert!(decided.iter().zip(0..).all(|(decision, index)| decision.index == index));
        prop_assert!(decided.is_sorted_by_key(|decision| decision.v));
        prop_assert_eq!(decided.last().map(|last| &last.decision), Some(&Decision::Ended));
    }
}
