//! What each event of a link does, and how the scheduler hears of it.

use std::time::Duration;

use broadsweep_common::ids::{AttemptId, ExecutorId};
use broadsweep_common::log::LogPiece;
use tokio::time::Instant;

use super::Run;
use super::record::Record;
use crate::cluster::{LinkError, LinkEvent, Order, Ready};
use crate::records::attempt::AttemptEnd;
use crate::records::standing::Standing;
use crate::results::show::{counted, duration_text};
use broadsweep_scheduler::Event;

/// The loop wakes at every tick: where a turn took so long, this process was stopped, or its disk stalled.
const STILL_MIN: Duration = Duration::from_secs(5);

impl Run<'_> {
    /// So much time has passed since the loop woke before. If that is long, whatever the reason, nobody was listened to
    /// meanwhile: what was due then has all of its time again, and what was told is read first.
    pub(super) fn on_turn(&mut self, took: Duration) {
        if took < STILL_MIN {
            return;
        }
        self.say(format!(
            "the driver was paused for {} (stopped, busy, or its disk stalled); nothing that executors did meanwhile is lost",
            duration_text(took)
        ));
        self.executors.on_stood_still(took);
        self.feed(Event::StoodStill);
    }

    pub(super) fn on_link(&mut self, executor: ExecutorId, event: LinkEvent) {
        match event {
            LinkEvent::Connected => {
                self.executors.on_answering(executor);
                self.note_standing(executor, Standing::Answering);
            }
            LinkEvent::Fed => self.say(format!(
                "{} gets no data from the other executors; it is sent from here, which takes longer. Can they reach each \
                 other? (`broadsweep executor --advertise` names the address)",
                self.cluster.name(executor)
            )),
            LinkEvent::Ready(ready) => self.on_ready(executor, ready),
            LinkEvent::Ended { reason } => self.on_session_end(executor, reason),
            LinkEvent::Unreachable(error) => {
                let nobody_listens = matches!(error, LinkError::Unreachable { nobody_listens: true, .. });
                // While people wait for all nodes, only one that may stay away for long is worth a line.
                let is_late = self.started.elapsed() >= self.settings.connect_timeout || self.executors.is_new(executor);
                let is_held = matches!(error, LinkError::Held { .. });
                if (is_late || is_held) && self.executors.should_tell_missing(executor, is_held) {
                    self.say(format!("{error}; going on without it until it can be used"));
                }
                self.executors.on_gone(executor, Some(error));
                self.note_standing(executor, Standing::Gone);
                if nobody_listens {
                    self.give_up(executor);
                }
            }
            LinkEvent::Refused(error) => {
                if self.executors.session(executor).is_some() {
                    self.on_session_end(executor, error.to_string());
                }
                let message = format!("{error}; going on without it");
                self.executors.on_refused(executor, error);
                self.note_standing(executor, Standing::Gone);
                self.give_up(executor);
                // The end of the run lists every node's error itself.
                if self.executors.verdict(self.settings.nodes_min, Instant::now()).is_none() {
                    self.say(message);
                }
            }
            LinkEvent::Reports { sequence, reports }
                if self.executors.is_admitted() && !self.mail.has_overflowed(executor) =>
            {
                self.on_reports(executor, sequence, reports);
            }
            LinkEvent::Reports { sequence, reports } => self.mail.keep_early(executor, sequence, reports),
            LinkEvent::Logged { pieces, room: _room } => self.on_logged(executor, pieces),
            LinkEvent::Draining => {
                self.executors.on_draining(executor);
                self.say(format!("{} is leaving; it takes no new trials", self.cluster.name(executor)));
                self.feed(Event::ExecutorDraining(executor));
            }
            LinkEvent::Pulled { attempt, cargo, content } => self.on_pulled(executor, attempt, cargo, content),
        }
    }

    /// Keeps what an executor says of the logs of attempts that were launched there, whether they are over or not.
    fn on_logged(&self, executor: ExecutorId, pieces: Vec<LogPiece>) {
        let book = self.chronicle.book();
        let is_its_own =
            |piece: &LogPiece| book.attempt(piece.attempt).is_some_and(|known| known.executor == executor);
        pieces.into_iter().filter(is_its_own).for_each(|piece| self.cluster.keep_log(piece));
    }

    fn on_ready(&mut self, executor: ExecutorId, ready: Ready) {
        if self.chronicle.book().slots_of(executor) == 0 {
            self.broadcast_s = self.started.elapsed().as_secs_f64();
        }
        if self.chronicle.kernel().is_none() {
            self.note(&Record::Kernel(ready.kernel.clone()));
        }
        self.note_standing(executor, Standing::Ready { slots: ready.slots });
        let broadcast = self.broadcast();
        self.note(&Record::Broadcast(broadcast));
        if self.executors.should_tell_there(executor) {
            let slots = counted(ready.slots.into(), "slot");
            self.say(format!("{} is there, with {slots}", self.cluster.name(executor)));
        }
        self.mail.session_began(executor);
        let used = self.executors.on_ready(executor, ready, self.settings.nodes_min);
        self.executors.tell_of(&used).into_iter().for_each(|line| self.say(line));
        for (executor, ready) in used {
            let restarted = self.admit(executor, ready.instance);
            let held = ready.held.iter().copied().filter(|attempt| self.may_run(executor, *attempt)).collect();
            self.feed(Event::ExecutorReady { executor, slots: ready.slots, held, restarted });
            if ready.draining {
                self.feed(Event::ExecutorDraining(executor));
            }
            if self.stopping {
                self.stop_on(executor);
            }
        }
        self.say_if_too_many_slots();
        if self.executors.is_admitted() {
            let (early, overflowed) = self.mail.take_early();
            for (executor, sequence, reports) in early {
                self.on_reports(executor, sequence, reports);
            }
            for executor in overflowed {
                self.tell(executor, Order::HangUp { reason: "more reports waited than there was room for" });
            }
        }
    }

    /// An executor is in use from now on. Returns whether it is another process than when it was last.
    fn admit(&mut self, executor: ExecutorId, instance: u64) -> bool {
        let known = self.chronicle.book().process_of(executor);
        if known != Some(instance) {
            self.note(&Record::Process { executor, instance });
        }
        known.is_some_and(|known| known != instance)
    }

    /// Whether an attempt that an executor holds may still run there, as far as the journal knows: it was launched
    /// there, and nobody told how it ended. One that was beaten or hung may: it takes its slot until it has stopped.
    fn may_run(&self, executor: ExecutorId, attempt: AttemptId) -> bool {
        let known = self.chronicle.book().attempt(attempt);
        known.is_none_or(|known| {
            known.executor == executor && known.end.as_ref().is_none_or(AttemptEnd::may_still_run)
        })
    }

    fn on_session_end(&mut self, executor: ExecutorId, reason: String) {
        let running = self.scheduler.running_on(executor).count();
        let name = self.cluster.name(executor).to_owned();
        let was_leaving = self.executors.is_draining(executor);
        self.say(match (running, was_leaving) {
            (0, true) => format!("{name} has left"),
            (0, false) => format!("the connection to {name} ended ({reason})"),
            (1, _) => format!("the connection to {name} ended ({reason}); its attempt goes on there if it can"),
            (more, _) => {
                format!("the connection to {name} ended ({reason}); its {more} attempts go on there if they can")
            }
        });
        self.executors.tell_session_ended(executor, reason);
        self.note_standing(executor, Standing::Gone);
        // What was ended and not acknowledged is told again in the next session.
        self.mail.session_ended(executor);
        self.attempts.session_ended(executor);
        self.checkpoints.session_ended(executor);
        if self.executors.on_gone(executor, None) {
            self.feed(Event::ExecutorAway(executor));
        }
        if was_leaving && running == 0 {
            self.give_up(executor);
        }
    }

    /// An executor that is away does not come back as it was.
    fn give_up(&mut self, executor: ExecutorId) {
        if self.executors.give_up(executor) {
            self.feed(Event::ExecutorLost(executor));
        }
    }

    /// Writes down how an executor stands, if that is new.
    pub(super) fn note_standing(&mut self, executor: ExecutorId, standing: Standing) {
        if self.chronicle.book().standing_of(executor) != standing {
            self.note(&Record::Stands { executor, standing, at: self.now() });
        }
    }

    /// Gives an event to the scheduler and takes note of its commands.
    pub(super) fn feed(&mut self, event: Event) {
        let now = self.now();
        let mut commands = Vec::new();
        match self.scheduler.handle(now, event, &mut commands) {
            Ok(()) => commands.into_iter().for_each(|command| self.on_command(command)),
            Err(rejected) => tracing::warn!(%rejected, "event rejected"),
        }
    }
}

#[cfg(test)]
#[path = "steps_tests.rs"]
mod tests;
