//! The signals that end a command in order; a second Ctrl-C or SIGTERM ends it at once. Where a run has a time, its end is as
//! good as the first one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use broadsweep_executor::signals::{Asked, EndSignals};
use tokio::sync::{mpsc, watch};

use super::INTERRUPTED;
use super::say::say;
use crate::cluster::roster::Roster;

/// Hears these signals as long as the process lives, over several runs if need be.
#[derive(Clone)]
pub(super) struct Interrupts {
    why: watch::Sender<Option<Why>>,
    /// Whose local executors end with the process.
    running: Arc<Mutex<Option<Roster>>>,
}

/// Why a command is to end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Why {
    Signal,
    TimeOver,
}

impl Interrupts {
    /// Begins to listen. The second Ctrl-C ends the process at once, and says `what_stays`. To be called in a runtime.
    pub(super) fn listen(what_stays: String) -> anyhow::Result<Self> {
        let mut signals = EndSignals::listen()?;
        let interrupts = Self { why: watch::Sender::new(None), running: Arc::default() };
        let (why, running) = (interrupts.why.clone(), Arc::clone(&interrupts.running));
        tokio::spawn(async move {
            loop {
                let asked = signals.next().await;
                if why.send_replace(Some(Why::Signal)).is_some() && asked == Asked::ToEnd {
                    held(&running).take().iter().for_each(Roster::kill_children);
                    say(format_args!("\nended at once; {what_stays}"));
                    std::process::exit(i32::from(INTERRUPTED));
                }
            }
        });
        Ok(interrupts)
    }

    /// Whether the first signal has come.
    pub(super) fn has_come(&self) -> bool {
        self.why.borrow().is_some()
    }

    /// Whether a run had used up its time before any signal came.
    pub(super) fn is_time_over(&self) -> bool {
        *self.why.borrow() == Some(Why::TimeOver)
    }

    /// What tells a run, with the executors in this roster, that it is to end: after so long at the latest.
    pub(super) fn during(&self, roster: Roster, time_max: Option<Duration>) -> mpsc::Receiver<()> {
        *held(&self.running) = Some(roster);
        let (told, heard) = mpsc::channel(1);
        let why = self.why.clone();
        tokio::spawn(async move {
            let mut asked = why.subscribe();
            let has_reason = asked.wait_for(Option::is_some);
            let is_told = match time_max {
                Some(time_max) => tokio::time::timeout(time_max, has_reason).await.is_ok(),
                None => has_reason.await.is_ok(),
            };
            if !is_told {
                why.send_if_modified(|why| why.is_none() && why.replace(Why::TimeOver).is_none());
            }
            let _ = told.send(()).await; // the run may just have ended
        });
        heard
    }
}

/// Ends the process at the next Ctrl-C or SIGTERM.
pub(super) async fn end_at_once(to_go_on: String) {
    let Ok(mut signals) = EndSignals::listen() else { return };
    while signals.next().await != Asked::ToEnd {}
    say(format_args!("\nended while the answers were gathered; nothing is lost\nto go on: {to_go_on}"));
    std::process::exit(i32::from(INTERRUPTED));
}

fn held(running: &Mutex<Option<Roster>>) -> MutexGuard<'_, Option<Roster>> {
    running.lock().unwrap_or_else(PoisonError::into_inner)
}
