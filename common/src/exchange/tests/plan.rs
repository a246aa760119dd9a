//! What the simulated network is like, and what happens in it.

use std::time::Duration;

use super::wire::Host;

/// Which peers reach each other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Reach {
    All,
    None,
    /// The nodes below this one reach each other, and the others do.
    Islands(usize),
}

#[derive(Clone, Debug)]
pub(super) struct NodePlan {
    pub(super) joins: Duration,
    pub(super) dies: Option<Duration>,
    /// Its link in blocks a second, each way.
    pub(super) rate: f64,
    /// What it has when it joins.
    pub(super) have: Vec<u32>,
    /// Every block that it gives to a peer is corrupt.
    pub(super) lies: bool,
    /// It takes requests of peers and never answers.
    pub(super) hangs: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) len: u32,
    pub(super) seed: u64,
    pub(super) driver_rate: f64,
    /// The least delay of a message; some pairs have up to three times as much.
    pub(super) delay: Duration,
    pub(super) reach: Reach,
    /// The part of requests that fail, and of pushes; of those as many again arrive, and the answer says they failed.
    pub(super) lost_requests: f64,
    pub(super) lost_pushes: f64,
    /// After which time a call without an answer is given up.
    pub(super) time_out: Duration,
    pub(super) nodes: Vec<NodePlan>,
    /// When the network is watched no longer.
    pub(super) limit: Duration,
}

impl Plan {
    /// Equal links of 100 blocks a second, nothing that goes wrong, and nobody has anything.
    pub(super) fn quiet(nodes: usize, len: u32, seed: u64) -> Self {
        let node =
            NodePlan { joins: Duration::ZERO, dies: None, rate: 100.0, have: Vec::new(), lies: false, hangs: false };
        Self {
            len,
            seed,
            driver_rate: 100.0,
            delay: Duration::from_micros(100),
            reach: Reach::All,
            lost_requests: 0.0,
            lost_pushes: 0.0,
            time_out: Duration::from_secs(30),
            nodes: vec![node; nodes],
            limit: Duration::from_hours(1),
        }
    }

    pub(super) fn at_rate(mut self, rate: f64) -> Self {
        self.driver_rate = rate;
        self.nodes.iter_mut().for_each(|node| node.rate = rate);
        self
    }

    pub(super) fn reach(&self, one: usize, other: usize) -> bool {
        match self.reach {
            Reach::All => true,
            Reach::None => false,
            Reach::Islands(border) => (one < border) == (other < border),
        }
    }

    /// How long a message takes: always the same between two, so that none overtakes another.
    pub(super) fn delay(&self, from: Host, to: Host) -> Duration {
        let pair = from.map_or(0, |from| from + 1) + 7 * to.map_or(0, |to| to + 1);
        self.delay * (1 + pair as u32 % 3)
    }
}

/// Chance that is the same in every run of a seed.
#[derive(Debug)]
pub(super) struct Dice(pub(super) u64);

impl Dice {
    /// Whether something of this probability happens.
    pub(super) fn falls(&mut self, probability: f64) -> bool {
        // Knuth's MMIX; its low bits are poor, so the high ones are taken.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 11) as f64) < probability * (1_u64 << 53) as f64
    }
}
