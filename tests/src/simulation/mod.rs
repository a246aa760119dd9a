//! Whole runs over a simulated network and in simulated time: driver and executor as they are, and an agenda of all
//! that goes wrong in a cluster. One seed is one world; the same seed gives the same world, to the last byte of its
//! trace.
//!
//! | module | holds |
//! |---|---|
//! | `chance` | random numbers from the seed |
//! | `scenario` | what a seed stands for: study, cluster, settings, agenda |
//! | `network` | streams, dialler and listener of the simulated network |
//! | `node` | a machine and its executor |
//! | `rungs` | a search that decides while its run goes on |
//! | `studies` | what the driver and its rival begin with |
//! | `slots` | trainings in simulated time, and lies about them |
//! | `disk` | the run folder |
//! | `guard` | what a driver does, against what is durable then |
//! | `ice` | what a driver stands still in |
//! | `driver` | a run, its drivers and its person |
//! | `world` | all of them together, and what goes wrong |
//! | `truth` | what really happened |
//! | `yields` | what tasks leave besides their numbers |
//! | `odd` | a machine that computes other numbers |
//! | `oracle` | what has to be so in the end |
//! | `trace` | what was seen, with its time |

mod chance;
mod disk;
mod driver;
mod guard;
mod ice;
mod network;
mod node;
mod odd;
mod oracle;
mod rungs;
mod scenario;
mod slots;
mod studies;
mod trace;
mod truth;
mod world;
mod yields;

use std::time::Duration;

use broadsweep_common::ids::Digest;
use broadsweep_driver::run::Start;

use scenario::{Fault, Scenario};
use world::World;

/// What became of a world.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// Which one it was.
    pub seed: u64,
    /// Which promises were broken; none, if all is well.
    pub violations: Vec<String>,
    /// What was seen, line by line, each with its time.
    pub lines: Vec<String>,
    /// Of the lines and of the journal: the same for the same seed.
    pub trace: Digest,
    /// How long it took in its own time.
    pub simulated: Duration,
    /// Trials that paused on one executor and were continued on another one.
    pub moved: usize,
    /// Partitions that came out.
    pub applied: usize,
    /// Trials whose weights were measured.
    pub measured: usize,
    /// Writes to the run folder.
    pub writes: u64,
    /// What the run folder had in the end.
    pub left: RunFolder,
}

/// What a run left.
#[derive(Clone, Debug)]
pub struct RunFolder {
    /// The text of its study.
    pub study: String,
    /// What its drivers started from.
    pub start: Start,
    /// The bytes of its journal.
    pub journal: Vec<u8>,
}

/// How a driver ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Within a write, which is done in part.
    Within,
    /// After a write, and before anything that follows from it.
    After,
}

/// Lives through a small world in which the driver ends with write number `write`, counted from 0; with `crash`, its
/// machine does, and what was not durable is lost as that seed says.
#[must_use]
pub fn simulate_end(ending: Ending, write: u64, crash: Option<u64>) -> Verdict {
    let fault = match ending {
        Ending::Within => Fault::HaltDriver(write, crash),
        Ending::After => Fault::EndDriver(write, crash),
    };
    World::new(Scenario::small(&[fault])).run()
}

/// What the run of the world of `seed` leaves.
#[must_use]
pub fn run_folder(seed: u64) -> RunFolder {
    simulate(seed).left
}

/// Lives through the world of `seed`.
#[must_use]
pub fn simulate(seed: u64) -> Verdict {
    World::new(Scenario::new(seed)).run()
}
