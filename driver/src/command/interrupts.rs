//! The signals that end a command in order; a second Ctrl-C or SIGTERM ends it at once.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use broadsweep_executor::signals::{Asked, EndSignals};
use tokio::sync::{mpsc, watch};

use super::INTERRUPTED;
use super::say::say;
use crate::cluster::roster::Roster;

/// Hears these signals as long as the process lives, over several runs if need be.
#[derive(Clone)]
pub(super) struct Interrupts {
    pressed: watch::Receiver<bool>,
    /// Whose local executors end with the process.
    running: Arc<Mutex<Option<Roster>>>,
}

impl Interrupts {
    /// Begins to listen. The second Ctrl-C ends the process at once, and says `what_stays`. To be called in a runtime.
    pub(super) fn listen(what_stays: String) -> anyhow::Result<Self> {
        let mut signals = EndSignals::listen()?;
        let (press, pressed) = watch::channel(false);
        let interrupts = Self { pressed, running: Arc::default() };
        let running = Arc::clone(&interrupts.running);
        tokio::spawn(async move {
            loop {
                let asked = signals.next().await;
                if press.send_replace(true) && asked == Asked::ToEnd {
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
        *self.pressed.borrow()
    }

    /// What tells a run, with the executors in this roster, that it is to end.
    pub(super) fn during(&self, roster: Roster) -> mpsc::Receiver<()> {
        *held(&self.running) = Some(roster);
        let (told, heard) = mpsc::channel(1);
        let mut pressed = self.pressed.clone();
        tokio::spawn(async move {
            if pressed.wait_for(|pressed| *pressed).await.is_ok() {
                let _ = told.send(()).await; // the run may just have ended
            }
        });
        heard
    }
}

fn held(running: &Mutex<Option<Roster>>) -> MutexGuard<'_, Option<Roster>> {
    running.lock().unwrap_or_else(PoisonError::into_inner)
}
