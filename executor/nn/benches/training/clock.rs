//! Wall time, and beside it the CPU time of this thread: on a shared machine the second is the steadier.

use std::time::Instant;

use rustix::time::{ClockId, clock_gettime};

/// A moment on both clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start {
    wall: Instant,
    cpu_s: f64,
}

/// How long something took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lap {
    /// On the wall.
    pub(crate) wall_s: f64,
    /// Of this thread's work alone.
    pub(crate) cpu_s: f64,
}

impl Start {
    pub(crate) fn now() -> Self {
        Self { wall: Instant::now(), cpu_s: thread_cpu_s() }
    }

    pub(crate) fn elapsed(&self) -> Lap {
        Lap { wall_s: self.wall.elapsed().as_secs_f64(), cpu_s: thread_cpu_s() - self.cpu_s }
    }
}

fn thread_cpu_s() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}
