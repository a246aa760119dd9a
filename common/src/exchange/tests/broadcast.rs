//! Both sides together: whatever the network does, every node that stays gets every block, and at what price.

use std::time::Duration;

use proptest::prelude::*;

use super::super::{LIES_MAX, PATIENCE_FACTOR, PATIENCE_MIN, PEERS_MAX, PUSHES_PER_NODE, SLOW_MIN};
use super::network::Network;
use super::outcome::Outcome;
use super::plan::{NodePlan, Plan, Reach};

/// Blocks that one node gets twice at most where the network is disturbed: a window of requests that were slow at the
/// end, and a window of pushes while it was fed.
const DUPLICATES_MAX: u32 = 18;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Equal links, from a modem's to a data centre's.
fn quiet() -> impl Strategy<Value = Plan> {
    // Many short ones: that is where it is the hardest to spread.
    let len = prop_oneof![3 => 1_u32..60, 1 => 60_u32..=300];
    let rate = prop_oneof![Just(0.5), Just(10.0), Just(100.0), Just(2000.0)];
    (1_usize..=20, len, any::<u64>(), rate, 1_u64..2000).prop_map(|(nodes, len, seed, rate, delay_us)| {
        let plan = Plan::quiet(nodes, len, seed).at_rate(rate);
        let slow = Duration::from_secs_f64(200.0 / rate);
        Plan {
            delay: Duration::from_micros(delay_us),
            time_out: plan.time_out.max(slow),
            limit: plan.limit + 40 * slow,
            ..plan
        }
    })
}

/// The same at 10 to 2000 blocks a second, with links that differ up to four times, and nodes that have some blocks.
fn mixed() -> impl Strategy<Value = Plan> {
    let rate = prop_oneof![Just(10.0), Just(100.0), Just(2000.0)];
    (quiet(), rate, any::<u64>()).prop_flat_map(|(plan, rate, _)| {
        let part = prop_oneof![
            20 => Just(Vec::new()),
            6 => prop::collection::vec(0..plan.len, 0..20),
            1 => Just((0..plan.len).collect()),
        ];
        let node = (1_u32..=4, part);
        let nodes = prop::collection::vec(node, plan.nodes.len());
        nodes.prop_map(move |nodes| {
            let mut plan = plan.clone().at_rate(rate);
            for (node, (slower, have)) in plan.nodes.iter_mut().zip(nodes) {
                *node = NodePlan { rate: rate / f64::from(slower), have, ..node.clone() };
            }
            plan
        })
    })
}

/// Every second node or so comes later or dies; some stay.
fn churned() -> impl Strategy<Value = Plan> {
    mixed().prop_flat_map(|plan| {
        // The time that one copy takes, at which most of it happens.
        let copy_ms = (f64::from(plan.len) / plan.driver_rate * 2000.0) as u64 + 10;
        let fate = prop_oneof![
            4 => Just((None, None)),
            2 => (0..copy_ms).prop_map(|joins| (Some(joins), None)),
            2 => (0..copy_ms).prop_map(|dies| (None, Some(dies))),
            1 => (0..copy_ms, 1..copy_ms).prop_map(|(joins, lives)| (Some(joins), Some(joins + lives))),
        ];
        prop::collection::vec(fate, plan.nodes.len()).prop_map(move |fates| {
            let mut plan = plan.clone();
            for (node, (joins, dies)) in plan.nodes.iter_mut().zip(fates) {
                if let Some(joins) = joins {
                    // What it had would be scattered before it comes, and no bound could be told.
                    (node.joins, node.have) = (ms(joins), Vec::new());
                }
                node.dies = dies.map(|dies| ms(dies).max(node.joins + ms(1)));
            }
            plan
        })
    })
}

fn absent_blocks(plan: &Plan) -> u64 {
    let has = |index: &u32| plan.nodes.iter().any(|node| node.have.contains(index));
    (0..plan.len).filter(|index| !has(index)).count() as u64
}

fn run(plan: &Plan) -> Outcome {
    let outcome = Network::run(plan.clone());
    assert!(outcome.ended, "some node that stays never got every block");
    let twice = outcome.nodes.iter().map(|node| node.duplicates).max();
    assert!(twice <= Some(DUPLICATES_MAX), "{twice:?} blocks came twice to one node");
    outcome
}

/// How often the driver may act on old news: both windows of each node, full.
fn slack(plan: &Plan) -> u64 {
    (2 * PUSHES_PER_NODE * plan.nodes.len()) as u64
}

/// The time in which the driver sends `copies`, and before that runs out of patience.
fn fed_within_s(plan: &Plan, copies: f64) -> f64 {
    let push_s = (PUSHES_PER_NODE * plan.nodes.len()) as f64 / plan.driver_rate;
    let factor = f64::from(PATIENCE_FACTOR).max(plan.nodes.len() as f64);
    let patience_s = PATIENCE_MIN.as_secs_f64().max(factor * push_s);
    // Where the delay is what limits: each round trip, of six delays at most, both windows of each node.
    let round_s = 6.0 * plan.delay.as_secs_f64() / (PUSHES_PER_NODE * plan.nodes.len()) as f64;
    copies * f64::from(plan.len) * (1.0 / plan.driver_rate + round_s) + patience_s + push_s + 1.0
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn in_a_quiet_network_each_block_is_sent_once_and_comes_once(plan in quiet()) {
        let outcome = run(&plan);
        prop_assert_eq!(outcome.sends(), u64::from(plan.len));
        prop_assert_eq!((outcome.duplicates(), outcome.fed()), (0, 0));
    }

    #[test]
    fn what_some_node_has_is_not_sent(plan in mixed()) {
        let outcome = run(&plan);
        // A holder whose link is slower than the driver's may try its patience.
        let fed = u64::from(outcome.fed());
        prop_assert!(fed <= 2 * slack(&plan), "{fed} fed");
        prop_assert!(outcome.sends() - fed <= absent_blocks(&plan) + slack(&plan), "{} sends", outcome.sends());
    }

    #[test]
    fn what_dies_with_its_only_holder_is_sent_again_and_nothing_else(plan in churned()) {
        let outcome = run(&plan);
        let needed = absent_blocks(&plan) + outcome.died + outcome.failed_pushes;
        // As above: a slow holder may try the driver's patience.
        let fed = u64::from(outcome.fed());
        prop_assert!(fed <= 2 * slack(&plan), "{fed} fed");
        prop_assert!(outcome.sends() - fed <= needed + slack(&plan), "{} sends, {needed} needed", outcome.sends());
    }

    #[test]
    fn nodes_that_reach_no_other_are_sent_one_copy_each(plan in quiet()) {
        let plan = Plan { reach: Reach::None, ..plan };
        let outcome = run(&plan);
        let copies = plan.nodes.len();
        prop_assert_eq!(outcome.sends(), copies as u64 * u64::from(plan.len));
        prop_assert_eq!(outcome.duplicates(), 0);
        prop_assert!(outcome.seconds() <= fed_within_s(&plan, copies as f64), "{} s", outcome.seconds());
    }

    #[test]
    fn an_island_is_sent_one_copy_whatever_its_size(plan in quiet(), border in 1_usize..10) {
        let plan = Plan { reach: Reach::Islands(border), ..plan };
        let outcome = run(&plan);
        // While the nodes of an island hand round the last blocks, the driver goes on feeding.
        prop_assert!(outcome.sends() <= 2 * u64::from(plan.len) + 2 * slack(&plan), "{} sends", outcome.sends());
        // Three copies' time: the islands also exchange what they got.
        prop_assert!(outcome.seconds() <= 2.0 * fed_within_s(&plan, 3.0), "{} s", outcome.seconds());
    }

    #[test]
    fn loss_lies_and_silence_cost_a_copy_a_node_at_most(
        plan in mixed(), lost_requests in 0.0..0.3, lost_pushes in 0.0..0.3, liars in 0_usize..4, silent in 0_usize..2,
    ) {
        let mut plan = Plan { lost_requests, lost_pushes, ..plan };
        plan.nodes.iter_mut().take(liars).for_each(|node| node.lies = true);
        plan.nodes.iter_mut().rev().take(silent).for_each(|node| node.hangs = true);
        let outcome = run(&plan);
        let copies = plan.nodes.len() as u64 * u64::from(plan.len);
        prop_assert!(outcome.sends() <= copies + outcome.failed_pushes, "{} sends", outcome.sends());
        let lies = outcome.nodes.iter().flat_map(|node| node.lies.values()).max();
        prop_assert!(lies <= Some(&LIES_MAX), "{lies:?} lies of one peer were listened to");
    }

    /// The last blocks reach twelve others after the driver sent them: that costs about 30 blocks' time, however many
    /// there are.
    #[test]
    fn thirteen_nodes_cost_little_more_time_than_one(len in 52_u32..=300, seed in any::<u64>(), rate in 10.0..2000.0) {
        let outcome = run(&Plan { delay: Duration::from_micros(10), ..Plan::quiet(13, len, seed).at_rate(rate) });
        let blocks = outcome.seconds() * rate;
        prop_assert!(blocks <= 2.2 * f64::from(len), "as long as {blocks} blocks");
        prop_assert!(blocks <= 1.1 * f64::from(len) + 30.0, "as long as {blocks} blocks");
    }
}

#[test]
fn a_thousand_nodes_are_sent_one_copy_and_each_watches_few_others() {
    let (nodes, len) = (1000, 16);
    let mut plan = Plan::quiet(nodes, len, 1);
    // They come one after the other, as they do where one driver dials them.
    plan.nodes.iter_mut().zip(0..).for_each(|(node, place)| node.joins = ms(place));
    let outcome = run(&plan);
    assert_eq!((outcome.sends(), outcome.fed()), (u64::from(len), 0));
    let heard = outcome.nodes.iter().map(|node| node.watched).max();
    assert!(heard <= Some(PEERS_MAX), "{heard:?} others were watched at a time");
    eprintln!("a thousand nodes: {:.2} times what one link needs", outcome.seconds() * 100.0 / f64::from(len));
}

#[test]
fn a_peer_that_never_answers_holds_nobody_up_for_as_long_as_its_requests_are_waited_for() {
    let mut plan = Plan::quiet(4, 40, 1);
    plan.nodes[0].have = (0..40).collect();
    plan.nodes[1].have = (0..40).collect();
    plan.nodes[0].hangs = true;
    let outcome = run(&plan);
    assert!(outcome.seconds() < SLOW_MIN.as_secs_f64() + 2.0, "{} s", outcome.seconds());
    assert!(outcome.sends() <= slack(&plan), "{} sends", outcome.sends());
    assert_eq!((outcome.fed(), outcome.duplicates()), (0, 0));
}
