//! How an executor stood in the course of a run: what the ledger tells waiting from being away by.

use serde::{Deserialize, Serialize};

/// From this moment on, until the next one in its list, an executor stood like this.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct StandingSince {
    /// From the run's start, by the driver's clock.
    pub at_s: f64,
    /// How it stood.
    pub standing: Standing,
}

/// How an executor stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Standing {
    /// There is no session with it.
    Gone,
    /// It has answered, and the data is on its way.
    Answering,
    /// It has all it needs.
    Ready {
        /// Attempts that run there at the same time.
        slots: u32,
    },
    /// A new driver has taken the run up, and has not reached it.
    Unasked,
}
