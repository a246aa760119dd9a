//! The run folder, the tables, the progress on the terminal.
//!
//! | module | holds |
//! |---|---|
//! | [`record`] | what a run leaves behind, as plain data: the run loop fills it, all else reads it |
//! | [`digest`] | the digest by which runs on different clusters are compared |
//!
//! Nothing here decides anything about a run.

pub mod digest;
pub mod record;

#[cfg(test)]
mod fixtures;
