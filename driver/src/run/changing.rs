//! What changes a run while it goes on: somebody stops it or asks for more trials, or its time is over.

use std::num::NonZeroU32;

use broadsweep_common::ids::TaskId;
use broadsweep_scheduler::{Event, Moment};
use broadsweep_search::{Origin, TRIALS_MAX, VirtualTime};

use super::book::Book;
use super::record::{Decided, Finish, NewTask, Record};
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
                Wish::Stop if !self.is_taken_up => self.is_stop_due = true,
                Wish::Stop => self.end_search(StoppedBy::Somebody),
                Wish::Extend(trials) => self.extend(trials),
            }
            self.note(&Record::Granted(wished.number));
        }
        self.effects.push(Effect::Drop(wished.name()));
    }

    /// Ends the search if somebody asked for that before the run was taken up, or if its time is over.
    pub(super) fn end_search_if_due(&mut self) {
        if std::mem::take(&mut self.is_stop_due) {
            self.end_search(StoppedBy::Somebody);
        }
        let now = self.now();
        if self.time_max.take_if(|time_max| Moment::since_start(*time_max) <= now).is_some() {
            self.end_search(StoppedBy::MaxTime);
        }
    }

    /// Nothing more is decided, and nothing is begun of which no attempt was launched; what was is trained to its end.
    fn end_search(&mut self, by: StoppedBy) {
        let book = self.chronicle.book();
        if book.adding_ended || stopped_by(&book.changes).is_some() {
            return;
        }
        let unbegun: Vec<_> = book.unbegun().collect();
        let decided = self.search.as_mut().and_then(|search| search.timeline.stop());
        if unbegun.is_empty() && decided.is_none() {
            if by == StoppedBy::Somebody {
                self.say(
                    "`broadsweep stop`: nothing is left to begin; what is under way is trained to its end".into(),
                );
            }
            return;
        }
        let why = match (by, self.study.search.max_time) {
            (StoppedBy::MaxTime, Some(time)) => format!("the time is over (max_time, {})", duration_text(time)),
            (StoppedBy::MaxTime | StoppedBy::Somebody, _) => "stopped (`broadsweep stop`)".to_owned(),
        };
        self.say(format!("{why}: nothing more is begun; what is under way is trained to its end"));
        self.note(&Record::Changed(ChangeRecord::Stopped { by, at_s: self.now().seconds() }));
        if let Some(ended) = decided {
            self.note_decision(ended.v, Decided::Ended);
        }
        self.is_told = true; // so that it hears of its end
        if !unbegun.is_empty() {
            self.feed(Event::TasksDropped(unbegun));
        }
    }

    /// So many trials more: first those that were left out, then those that the sampler picks.
    fn extend(&mut self, trials: NonZeroU32) {
        let book = self.chronicle.book();
        let (again, begun_anew) = book.left_out(trials.get());
        let picks = match self.picks_with(trials.get() - begun_anew) {
            Ok(picks) => picks,
            Err(reason) => return self.say(format!("no trials are added (`broadsweep extend`): {reason}")),
        };
        let (more, at_s) = (counted(trials.get().into(), "trial"), self.now().seconds());
        self.say(format!("{more} more, as asked (`broadsweep extend`)"));
        self.note(&Record::Changed(ChangeRecord::Extended { trials: trials.get(), picks, at_s }));
        (self.is_stop_due, self.time_max) = (false, None);
        if picks.is_some() {
            let study = self.chronicle.book().study_now(self.study);
            self.progress.planned(u32::try_from(study.trials_max()).unwrap_or(u32::MAX));
            self.search = OngoingSearch::of(&study, self.planner);
        }
        if !self.is_taken_up {
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
        let picked = book.trials().filter(|(_, trial)| !trial.origin.is_given()).count() as u32;
        let given = u32::from(study.control.is_some()) + study.initial.len() as u32;
        // It may have picked what the study gives as well, or it has ended before it had picked all.
        let has_ended_early = study.sees_results() && book.search_has_ended() && picked + given < asked;
        let picks = if has_ended_early { picked } else { asked }.saturating_add(more);
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
        let is_unbegun = |task: &super::task::TaskBook| {
            task.segment().is_some() && task.attempts.is_empty() && !task.is_finished()
        };
        self.tasks().filter(move |(_, task)| is_unbegun(task)).map(|(number, _)| number)
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
