//! What the tests of whole clusters share: real processes in folders of their own, and peers that misbehave.
//!
//! | module | holds |
//! |---|---|
//! | [`wait`] | the one way to wait for something |
//! | [`process`] | a child process whose lines are read, and that ends with its test |
//! | [`lab`] | a test's folder: studies, drivers and executors that write there alone |
//! | [`outcome`] | what a run left, read back |
//! | [`made_up`] | runs that never were, for reports |
//! | [`results_v1`] | the digest of results as it was, to compare with runs from before |
//! | [`browser`] | a browser without a window and without a network |
//! | [`chaos`] | what the tests share that end things at random: a small study, its digest, dice |
//! | [`applications`] | a small trained model, and a table of rows to apply it to |
//! | [`small_disk`] | a file system that is soon full |
//! | [`skip`] | a word about what cannot be tested here |
//! | [`network`] | a network of two machines on this one, which can be cut |
//! | [`forged`] | manifests that describe no honest blob |
//! | [`hostile_driver`] | speaks to a real executor, badly |
//! | [`hostile_executor`] | is dialled by a real driver, and answers badly |
//! | [`decoders`] | everything that reads bytes from outside, to be fuzzed |
//! | [`papers`] | identities that a closed cluster does not take |
//! | [`attacks`] | floods an executor, or the driver that dials it |
//! | [`simulation`] | whole runs over a simulated network and in simulated time |
//!
//! Everything here panics where a test would: what goes wrong is the test's failure.

#![expect(
    clippy::expect_used,
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    reason = "a test fails by a panic, and this is the tests' crate"
)]

pub mod applications;
pub mod attacks;
pub mod browser;
pub mod chaos;
pub mod decoders;
pub mod forged;
pub mod hostile_driver;
pub mod hostile_executor;
pub mod lab;
pub mod made_up;
pub mod network;
pub mod outcome;
pub mod papers;
pub mod process;
pub mod results_v1;
pub mod simulation;
pub mod skip;
pub mod small_disk;
pub mod wait;
