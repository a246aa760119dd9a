//! The world around the links: what a simulation replaces, and where it looks.

use std::sync::Arc;

use broadsweep_common::ids::ExecutorId;

use super::{Connect, LinkEvent, Order, PartitionSource, SessionId, Vault};
use crate::logs::LogKeeper;

/// The world around the links.
#[derive(Clone)]
pub struct World {
    /// The network.
    pub connect: Arc<dyn Connect>,
    /// The run's files.
    pub vault: Arc<dyn Vault>,
    /// The rows that a model is applied to, for executors that cannot read them: `()` for none.
    pub rows: Arc<dyn PartitionSource>,
    /// Where what programs print is kept: `()` for nowhere.
    pub logs: Arc<dyn LogKeeper>,
    /// Who looks on: `()` for nobody.
    pub witness: Arc<dyn Witness>,
}

/// Looks on at what the run loop is told and what it tells, in that order and before anybody acts on it: a simulation
/// compares it with what is safe by then. On the network this cannot be seen, as it comes later.
pub trait Witness: Send + Sync {
    /// The run loop is about to hear of this.
    fn heard(&self, _: ExecutorId, _: &LinkEvent) {}

    /// The run loop has told this.
    fn told(&self, _: ExecutorId, _: SessionId, _: &[Order]) {}
}

impl Witness for () {}
