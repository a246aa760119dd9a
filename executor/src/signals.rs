//! The signals that ask a process to end in order, for executors and drivers alike, and the one that must not end it.

use std::fs;
use std::future::poll_fn;
use std::io;
use std::task::Poll;

use rustix::process::Signal;
use tokio::signal::unix::{Signal as Arrivals, SignalKind, signal};

/// What a person or a service manager sends. A second one means "at once".
const ORDERS: [Signal; 2] = [Signal::INT, Signal::TERM];
/// What a closed terminal, a batch system or the system's limits send, some of them again and again.
const NOTICES: [Signal; 3] = [Signal::HUP, Signal::USR1, Signal::XCPU];

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// To end; the second time at once.
    ToEnd,
    /// To end in order, however often it is said.
    ToEndInOrder,
}

/// Hears signals as long as it lives.
pub struct EndSignals(Vec<(Asked, Arrivals)>);

impl EndSignals {
    /// Begins to listen, but for what whoever started this process had it ignore, as `nohup` does. To be called in a
    /// runtime.
    ///
    /// # Errors
    /// What the system said.
    pub fn listen() -> io::Result<Self> {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let orders = ORDERS.into_iter().map(|order| (Asked::ToEnd, order));
        let notices = NOTICES.into_iter().filter(|notice| !is_ignored(&status, *notice));
        let all = orders.chain(notices.map(|notice| (Asked::ToEndInOrder, notice)));
        Ok(Self(all.map(|(asked, kind)| Ok((asked, signal(kind_of(kind))?))).collect::<io::Result<_>>()?))
    }

    /// What the next signal asks for.
    pub async fn next(&mut self) -> Asked {
        poll_fn(|context| {
            let mut all = self.0.iter_mut();
            let came = all.find_map(|(asked, arrivals)| arrivals.poll_recv(context).is_ready().then_some(*asked));
            came.map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}

/// From now on a write beyond the largest file that is allowed (`ulimit -f`) is an error like any other, not the end of
/// the process.
pub fn survive_large_files() {
    let listened = tokio::runtime::Builder::new_current_thread().enable_io().build().and_then(|runtime| {
        let _guard = runtime.enter();
        // Who has listened once stays registered, and nobody has to hear it: the write says what happened.
        signal(kind_of(Signal::XFSZ)).map(drop)
    });
    if let Err(error) = listened {
        tracing::warn!(%error, "a write beyond the largest file that is allowed would end this process");
    }
}

fn kind_of(signal: Signal) -> SignalKind {
    SignalKind::from_raw(signal.as_raw())
}

/// Whether a process with this `status` (the text of `/proc/self/status`) ignores a signal.
fn is_ignored(status: &str, signal: Signal) -> bool {
    let mask = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal.as_raw() - 1) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_ignored_is_read_off_the_mask() {
        let status = "Name:\tx\nSigBlk:\tffffffffffffffff\nSigIgn:\t0000000000000001\nSigCgt:\t0000000000004002\n";
        assert!(is_ignored(status, Signal::HUP));
        assert!(!is_ignored(status, Signal::USR1) && !is_ignored("", Signal::HUP));
    }
}
