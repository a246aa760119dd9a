//! What happened in a simulation, line by line, each with its simulated time: shown on a failure, and compared as a
//! digest to see that a seed always gives the same.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use broadsweep_common::ids::Digest;

/// The lines so far.
#[derive(Debug, Default)]
pub(super) struct Trace {
    now_ms: AtomicU64,
    lines: Mutex<Vec<String>>,
    /// What must never happen, and did.
    violations: Mutex<Vec<String>>,
}

impl Trace {
    pub(super) fn set_time(&self, now: Duration) {
        self.now_ms.store(now.as_millis() as u64, Ordering::Relaxed);
    }

    pub(super) fn say(&self, who: &str, what: impl AsRef<str>) {
        let seconds = self.now_ms.load(Ordering::Relaxed) as f64 / 1e3;
        self.lines.lock().unwrap().push(format!("{seconds:9.3} {who}: {}", what.as_ref()));
    }

    /// A promise is broken.
    pub(super) fn violate(&self, what: impl AsRef<str>) {
        self.say("VIOLATION", what.as_ref());
        self.violations.lock().unwrap().push(what.as_ref().to_owned());
    }

    pub(super) fn violations(&self) -> Vec<String> {
        self.violations.lock().unwrap().clone()
    }

    pub(super) fn digest(&self) -> Digest {
        Digest::of(self.lines.lock().unwrap().join("\n").as_bytes())
    }

    pub(super) fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }
}

/// What one process writes for people, as lines of the trace.
pub(super) struct Screen {
    pub(super) who: &'static str,
    pub(super) trace: Arc<Trace>,
    pub(super) partial: Vec<u8>,
}

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for byte in bytes {
            if *byte == b'\n' {
                let line = String::from_utf8_lossy(&self.partial).into_owned();
                complain(&self.trace, &line);
                self.trace.say(self.who, line);
                self.partial.clear();
            } else {
                self.partial.push(*byte);
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What no peer of ours may ever say of the other: that it breaks the protocol.
const ACCUSATIONS: [&str; 8] = [
    "a launch ",
    "greeted twice",
    "was due",
    "a second hello",
    "generation changed",
    "before it was ready",
    "did not answer the hello",
    "makes no sense",
];

fn complain(trace: &Trace, line: &str) {
    if let Some(accusation) = ACCUSATIONS.into_iter().find(|accusation| line.contains(accusation)) {
        trace.violate(format!("the protocol was broken ({accusation:?}): {line}"));
    }
}
