//! Decides what is trained. Pure: a decision depends on the study, on what was decided before, and on the results that
//! the search is shown; never on a clock.
//!
//! | module | holds |
//! |---|---|
//! | [`decision`] | what a search answers, and what it is shown |
//! | [`space`] | the values that parameters can take |
//! | [`condition`], [`constraint`] | when parameters are there, and what must hold between them |
//! | [`sampler`] | what picks the configurations |
//! | [`grid`], [`random`], [`sobol`] | samplers that need no results |
//! | [`tpe`], [`gaussian`], [`cma_es`] | samplers that learn from results |
//! | `combinations` | all configurations of a space that has an end |
//! | `coordinate`, `unit_point`, `tried`, `levelled`, `cholesky` | what samplers that learn share: places of values, what was started, losses at different rungs, factors |
//! | [`pruner`] | what says which trials are worth more epochs |
//! | [`stops`] | [`Stopping`]: a search that ends by a target, no progress, or a budget |
//! | [`ranking`] | which trial is better |
//! | `chosen` | which sampler suits a study that leaves it open ([`SamplerKind::chosen`]) |
//! | [`belief`] | what a sampler believes of one parameter, for people |
//! | [`importance`] | which parameters have to do with which trials are the best |
//! | [`virtual_time`] | [`Timeline`]: when a search is asked, and what it has seen by then |
//! | [`sampled`] | [`Sampled`]: the search of a study, the control first and then what its sampler picks |
//! | [`pruned`] | [`Pruned`]: the same, whose trials pause at rungs, and go on where a pruner says so |
//!
//! Whoever drives a run asks [`Search::next`] until it waits or has ended, and writes down what it answered. A later
//! driver tells it what was written down ([`Search::recall`]) and asks from there on: no decision is made twice. A
//! [`Timeline`] does so in an order that does not depend on how fast executors are.
//!
//! A new sampler is a file beside [`grid`] that implements [`Sampler`], and a variant of [`SamplerKind`]; a new pruner is a
//! file in `pruner/` that implements [`Pruner`], and a variant of [`PrunerKind`].

pub mod belief;
mod cholesky;
mod chosen;
pub mod cma_es;
mod combinations;
pub mod condition;
pub mod constraint;
mod coordinate;
pub mod decision;
pub mod gaussian;
pub mod grid;
pub mod importance;
mod levelled;
mod picks;
pub mod pruned;
pub mod pruner;
pub mod random;
pub mod ranking;
pub mod sampled;
pub mod sampler;
pub mod sobol;
pub mod space;
pub mod stops;
#[cfg(test)]
mod toy_search;
pub mod tpe;
mod tried;
mod unit_point;
pub mod virtual_time;

pub use belief::{Belief, Believed, DensityPair, ExpectedLoss};
pub use combinations::COUNTED_MAX;
pub use condition::{Condition, ConditionCycle};
pub use constraint::{Constraint, ConstraintError};
pub use decision::{Decision, Origin, Running, RunningTrial, Search, Seen, SegmentEnd, VirtualTime};
pub use pruned::Pruned;
pub use pruner::{Pruner, PrunerKind, RungSpacing};
pub use sampled::{Sampled, SamplerKind};
pub use sampler::{IN_FULL, Knowledge, Observation, Sampler};
pub use space::{Domain, Space};
pub use stops::{StopRules, Stopping};
pub use virtual_time::{EpochEnd, NewDecision, PlannedCosts, SearchClock, Strayed, Timeline};

/// Trials that one study may have.
pub const TRIALS_MAX: u32 = 1_000_000;
