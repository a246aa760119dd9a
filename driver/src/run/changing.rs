//! What changes a run while it goes on: somebody stops it or asks for more trials, or its time is over.

use std::num::NonZeroU32;

use broadsweep_common::ids::TaskId;
use broadsweep_common::task::TaskKind;
use broadsweep_scheduler::{Event, Moment};
use broadsweep_search::{Origin, TRIALS_MAX, VirtualTime};

use super::book::Book;
use super::record::{Decided, Finish, NewTask, Record};
use super::task::TaskBook;
use super::{Effect, OngoingSearch, Run};
use crate::records::change::{ChangeRecord, StoppedBy, stopped_by};
use crate::results::show::{counted, duration_text};
use crate::wishes::{Wish, Wished};

impl Run<'_> {
    /// What somebody asks for. One that cannot be granted any more stays where it is: whoever left it there sees that the
    /// driver ends.
    pub(super) fn heed(&mut self, wished: Wished) {
        let book = self.chronicle.book();
        if !book.granted.contains(&wished.number) {
            if self.stopping || (book.adding_ended && self.is_taken_up) {
                return; // the next driver will
            }
            match wished.wish {
                Wish::Stop if !self.is_taken_up => {
                    // Once it is known what had begun.
                    if let Some(earlier) = self.stop_due.replace(wished) {
                        self.let_go(earlier);
                    }
                    return;
                }
                Wish::Stop => self.end_search(StoppedBy::Somebody, Some(wished.number)),
                Wish::Extend(trials) => self.extend(trials, wished.number),
            }
        }
        self.let_go(wished);
    }

    /// What was granted is asked no more.
    fn let_go(&mut self, wished: Wished) {
        if !self.chronicle.book().granted.contains(&wished.number) {
            self.note(&Record::Granted(wished.number));
        }
        self.effects.push(Effect::Drop(wished.name()));
    }

    /// Ends the search if somebody asked for that before the run was taken up, if a driver was killed while it did so, or if
    /// its time is over.
    pub(super) fn end_search_if_due(&mut self) {
        if let Some(wished) = self.stop_due.take() {
            self.end_search(StoppedBy::Somebody, Some(wished.number));
            self.let_go(wished);
        }
        let now = self.now();
        if self.time_max.take_if(|time_max| Moment::since_start(*time_max) <= now).is_some() {
            self.end_search(StoppedBy::MaxTime, None);
        }
    }

    /// Nothing more is decided, and nothing is begun of which no attempt was launched; what was is trained to its end. Where
    /// that was written down before, it is done as far as it was not.
    pub(super) fn end_search(&mut self, by: StoppedBy, wish: Option<u64>) {
        let book = self.chronicle.book();
        if book.adding_ended {
            return;
        }
        let is_new = stopped_by(&book.changes).is_none();
        let unbegun: Vec<_> = book.unbegun().collect();
        let decided = self.search.as_mut().and_then(|search| search.timeline.stop());
        if unbegun.is_empty() && decided.is_none() {
            if is_new && by == StoppedBy::Somebody {
                self.say(
                    "`broadsweep stop`: nothing is left to begin; what is under way is trained to its end".into(),
                );
            }
            return;
        }
        if is_new {
            let why = match (by, self.study.search.max_time) {
                (StoppedBy::MaxTime, Some(time)) => format!("the time is over (max_time, {})", duration_text(time)),
                (StoppedBy::MaxTime | StoppedBy::Somebody, _) => "stopped (`broadsweep stop`)".to_owned(),
            };
            self.say(format!("{why}: nothing more is begun; what is under way is trained to its end"));
            let change = ChangeRecord::Stopped { by, at_s: self.now().seconds() };
            self.note(&Record::Changed { change, wish });
        }
        if let Some(ended) = decided {
            self.note_decision(ended.v, Decided::Ended);
        }
        self.is_told = true; // so that it hears of its end
        if !unbegun.is_empty() {
            self.feed(Event::TasksDropped(unbegun));
        }
    }

    /// So many trials more: first those that were left out, then those that the sampler picks.
    fn extend(&mut self, trials: NonZeroU32, wish: u64) {
        let book = self.chronicle.book();
        let (again, begun_anew) = book.left_out(trials.get());
        let picks = match self.picks_with(trials.get() - begun_anew) {
            Ok(picks) => picks,
            Err(reason) if again.is_empty() => {
                return self.say(format!("no trials are added (`broadsweep extend`): {reason}"));
            }
            Err(reason) => {
                self.say(format!(
                    "only {} were left out; beyond these, {reason}",
                    counted(begun_anew.into(), "trial")
                ));
                None
            }
        };
        let added = if picks.is_some() { trials.get() } else { begun_anew };
        self.say(format!("{} more, as asked (`broadsweep extend`)", counted(added.into(), "trial")));
        let change = ChangeRecord::Extended { trials: added, picks, at_s: self.now().seconds() };
        // Looks at what was the best until now: their weights may be gone by the time.
        let looks: Vec<_> = self.chronicle.book().unfinished_looks().collect();
        self.note(&Record::Changed { change, wish: Some(wish) });
        if let Some(stop) = self.stop_due.take() {
            self.let_go(stop); // that was before
        }
        self.time_max = None;
        if picks.is_some() {
            let study = self.chronicle.book().study_now(self.study);
            self.progress.planned(u32::try_from(study.trials_max()).unwrap_or(u32::MAX));
            self.search = OngoingSearch::of(&study, self.planner);
        }
        if !self.is_taken_up {
            for task in looks {
                self.note(&Record::Finished { task, finish: Finish::LeftOut, at: self.now() });
            }
            let noted = self.chronicle.note_tasks(again); // they are taken up with all others
            self.broken = self.broken.take().or(noted.err().map(Into::into));
            return;
        }
        self.add_tasks(again);
        if picks.is_some() {
            self.take_up_search();
        }
    }

    /// What the sampler is to pick in all, for so many trials more; `None` if none.
    fn picks_with(&self, more: u32) -> Result<Option<u32>, String> {
        if more == 0 {
            return Ok(None);
        }
        let book = self.chronicle.book();
        let study = book.study_now(self.study);
        let Some(asked) = study.search.sampler.wanted().filter(|_| study.unextendable().is_none()) else {
            return Err(study.unextendable().unwrap_or("there are no others").to_owned());
        };
        // Where it sees results, it may have ended before it had picked all.
        let started = book.trials().filter(|(_, trial)| !trial.origin.is_given()).count() as u32;
        let has_ended = study.sees_results() && book.search_has_ended();
        let picked = if has_ended { study.picked_for(started).min(asked) } else { asked };
        let picks = picked.saturating_add(more);
        if picks > TRIALS_MAX {
            return Err(format!("a run has {TRIALS_MAX} of them at most"));
        }
        Ok(Some(picks))
    }

    /// Starts the trials that somebody asked for, of a search that decides all before anything is trained.
    pub(super) fn draw_more(&mut self) {
        let book = self.chronicle.book();
        if book.picks().is_none() {
            return;
        }
        let known = book.trials.len();
        let drawn: Vec<(_, Origin)> = book.study_now(self.study).draw().skip(known).collect();
        if drawn.is_empty() {
            self.say("the space has no more configurations".to_owned());
        }
        for (configuration, origin) in drawn {
            self.start_trial(VirtualTime::default(), (configuration, origin), None, NewTask::by_cost);
        }
    }
}

impl Book {
    /// The trainings of which nothing was launched, and that are wanted.
    fn unbegun(&self) -> impl Iterator<Item = TaskId> {
        let is_unbegun =
            |task: &TaskBook| task.segment().is_some() && task.attempts.is_empty() && !task.is_finished();
        self.tasks().filter(move |(_, task)| is_unbegun(task)).map(|(number, _)| number)
    }

    /// Looks at the best and the control that are planned and not over.
    fn unfinished_looks(&self) -> impl Iterator<Item = TaskId> {
        let is_look = |kind| matches!(kind, TaskKind::Measure { .. } | TaskKind::Examine { .. });
        self.tasks().filter(move |(_, task)| is_look(task.kind()) && !task.is_finished()).map(|(number, _)| number)
    }

    /// The tasks that are to be begun after all, for so many trials more at most, and how many of these they are: what goes on
    /// from a pause is no trial more.
    fn left_out(&self, trials: u32) -> (Vec<NewTask>, u32) {
        let (mut again, mut begun_anew) = (Vec::new(), 0);
        for (_, trial) in self.trials() {
            let newest = trial.first().and_then(|replicate| replicate.segments.last());
            let Some(task) = newest.and_then(|task| self.task(*task)) else { continue };
            let Some((Finish::LeftOut, _)) = task.finish else { continue };
            if task.segment().is_some_and(|segment| segment.from_epoch > 0) {
                again.push(task.task.clone());
            } else if begun_anew < trials {
                begun_anew += 1;
                again.push(task.task.clone());
            }
        }
        (again, begun_anew)
    }
}

#[cfg(test)]
#[path = "changing_tests.rs"]
mod tests;
