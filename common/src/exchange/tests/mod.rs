//! Block sets, each side by itself against plain rules, and both sides together in a simulated network.

use super::BlockSet;

mod blocks;
mod broadcast;
mod fetching;
mod fetching_rules;
mod mesh;
mod network;
mod outcome;
mod plan;
mod scattering;
mod scattering_rules;
mod wire;

fn set_of(len: u32, blocks: impl IntoIterator<Item = u32>) -> BlockSet {
    let mut set = BlockSet::empty(len);
    for index in blocks {
        set.insert(index);
    }
    set
}
