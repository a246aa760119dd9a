//! The one way to wait for something: look, until it is there or patience ends.

use std::thread;
use std::time::{Duration, Instant};

/// Far above what the longest run takes on a busy machine: only a hang is slower.
const PATIENCE: Duration = Duration::from_mins(20);
const POLL: Duration = Duration::from_millis(5);

/// What `look` finds, as soon as it finds it; `what` names it if it never comes.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} for {what}");
        thread::sleep(POLL);
    }
}
