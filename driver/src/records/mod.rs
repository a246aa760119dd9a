//! What is remembered of a run, as plain data: the run loop fills it, tables, files, ledger and report read it.
//!
//! | module | holds |
//! |---|---|
//! | [`run`] | one execution of a study, and its trials |
//! | [`counts`] | how many trials, or partitions, ended in which way |
//! | [`answers`] | what an applied model answered |
//! | [`curves`] | what a trial reported, epoch by epoch |
//! | [`attempt`] | one attempt: where it ran, and how it ended |
//! | [`difference`] | where two executors told different numbers |
//! | [`searched`] | how a search was asked that saw results |
//! | [`change`] | what people, or the clock, changed about a run |
//! | [`standing`] | how an executor stood |
//!
//! Nothing here decides anything about a run.

pub mod answers;
pub mod attempt;
pub mod change;
pub mod counts;
pub mod curves;
pub mod difference;
pub mod run;
pub mod searched;
pub mod standing;
