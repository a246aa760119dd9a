//! How records add up to a book.

use broadsweep_common::attempt::Used;
use broadsweep_common::ids::{AttemptId, ExecutorId, TaskId, TrialId};
use broadsweep_common::metrics::MetricName;
use broadsweep_common::task::Replicate;
use broadsweep_scheduler::Moment;
use broadsweep_search::ranking::Ranking;
use broadsweep_search::{Origin, VirtualTime};

use super::book::{Asked, Book, Unfit};
use super::record::{Begun, Decided, Finish, NewTask, Record, Row, Spent};
use super::task::TaskBook;
use super::trial::{ReplicateBook, TrialBook};
use crate::records::attempt::{AttemptEnd, AttemptRecord, Blame};
use crate::records::change::ChangeRecord;
use crate::records::standing::{Standing, StandingSince};

/// Epochs that a trial gets room for at its first: one that asks for a million may stop early.
const EPOCHS_AT_ONCE: u32 = 16;

/// What is remembered of how an executor stood.
const STANDINGS_MAX: usize = 10_000;

impl Book {
    /// Takes a record in.
    ///
    /// # Errors
    /// [`Unfit`], if the record speaks of a task or an attempt that is not there.
    pub(super) fn apply(&mut self, record: &Record) -> Result<(), Unfit> {
        match record {
            Record::Begun(begun) => self.begin(begun)?,
            Record::Decided { first, v, decisions } => self.decide(*first, *v, decisions)?,
            Record::TasksAdded { first, tasks } => self.add_tasks(*first, tasks)?,
            Record::AddingEnded => self.adding_ended = true,
            Record::Lag(lag) => self.lag = Some(*lag),
            Record::Kernel(kernel) => {
                let begun = self.begun.as_mut().ok_or_else(|| Unfit("a kernel came before the run".to_owned()))?;
                begun.kernel = Some(kernel.clone());
            }
            Record::Executor { executor, name } => self.add_executor(*executor, name)?,
            Record::Stands { executor, standing, at } => self.stands(*executor, *standing, *at)?,
            Record::Standings { executor, standings } => self.standings_mut(*executor)?.extend(standings),
            Record::Broadcast(broadcast) => self.broadcast = *broadcast,
            Record::Closed(at) => self.latest = self.latest.max(*at),
            Record::Names(names) => self.add_names(names)?,
            Record::Launched { attempt, executor, from_epoch, at } => {
                self.launched(*attempt, *executor, *from_epoch, *at)?;
            }
            Record::Adopted(attempt) => {
                let end = self.attempt_mut(*attempt)?.end.take();
                self.count(end.as_ref(), |count| count.saturating_sub(1));
            }
            Record::Epoch { attempt, epoch, row, spent } => self.epoch_done(*attempt, *epoch, row, *spent)?,
            Record::Checkpointed { task, checkpoint } => self.task_mut(*task)?.reach(*checkpoint),
            Record::Ended { attempt, end, spent, at } => self.ended_attempt(*attempt, end, *spent, *at)?,
            Record::Completed { attempt, spent, finish, at } => {
                self.ended_attempt(*attempt, &AttemptEnd::Completed, *spent, *at)?;
                self.finished(attempt.task, finish.clone(), *at)?;
            }
            Record::Finished { task, finish, at } => self.finished(*task, finish.clone(), *at)?,
            Record::Known { task, checkpoint, lost_on, refused_on, finish } => {
                let book = self.task_mut(*task)?;
                (book.checkpoint, book.lost_on) = (*checkpoint, lost_on.clone());
                book.refused_on.clone_from(refused_on);
                if let Some((finish, at)) = finish {
                    self.finished(*task, finish.clone(), *at)?;
                }
            }
            Record::Attempts(attempts) => {
                for attempt in attempts {
                    self.count(attempt.end.as_ref(), |count| count + 1);
                    self.task_mut(attempt.attempt.task)?.attempts.push(attempt.clone());
                }
            }
            Record::Epochs { replicate, rows } => {
                rows.iter().try_for_each(|row| self.push_epoch(*replicate, row))?;
            }
            Record::Process { executor, instance } => {
                self.standings_mut(*executor)?; // only of one that there is
                let before = self.processes.insert(*executor, *instance);
                if before.is_some_and(|before| before != *instance) {
                    // Another process may have more memory.
                    self.tasks.iter_mut().for_each(|task| task.refused_on.retain(|refused| refused != executor));
                }
            }
            Record::Differs { replicate, difference } => self.differ(*replicate, difference)?,
            Record::Changed { change, wish } => {
                self.change(*change);
                self.granted.extend(wish);
            }
            Record::Granted(number) => self.granted.push(*number),
            Record::Changes { changes, granted } => {
                (self.changes, self.granted) = (changes.clone(), granted.clone());
            }
            Record::Totals { repeated, latest } => {
                (self.repeated, self.latest) = (*repeated, self.latest.max(*latest));
            }
        }
        Ok(())
    }

    fn begin(&mut self, begun: &Begun) -> Result<(), Unfit> {
        self.latest = self.latest.max(begun.at);
        // Those that are still there have to answer the next driver first.
        for number in 0..self.executors.len() as u32 {
            self.stands(ExecutorId(number), Standing::Unasked, begun.at)?;
        }
        self.begun = Some(begun.clone());
        Ok(())
    }

    fn decide(&mut self, first: u32, v: VirtualTime, decisions: &[Decided]) -> Result<(), Unfit> {
        if first as usize != self.decisions.len() {
            return Err(Unfit(format!("decision {first} came where {} was due", self.decisions.len())));
        }
        if self.moments.last().is_none_or(|(_, last)| *last != v) {
            self.moments.push((first, v));
        }
        for decided in decisions {
            let decision = match decided {
                Decided::Start { configuration, origin, until_epoch, needs } => {
                    let trial = TrialId(self.trials.len() as u32);
                    if *origin == Origin::Control {
                        self.control = Some(trial);
                        self.ranking = Ranking::new(self.ranking.objectives().clone(), self.control);
                    }
                    let configuration = configuration.sharing(&mut self.parameters);
                    self.trials.push(TrialBook::new(configuration, *origin, *until_epoch, *needs));
                    Asked::Start(trial)
                }
                Decided::Continue { trial, until_epoch } => {
                    self.trial(*trial).ok_or_else(|| no_trial(*trial))?;
                    Asked::Continue { trial: *trial, until_epoch: *until_epoch }
                }
                Decided::Ended => Asked::Ended,
            };
            self.decisions.push(decision);
        }
        Ok(())
    }

    /// A search that is to pick more has not ended, and where more is begun, more tasks come.
    fn change(&mut self, change: ChangeRecord) {
        if let ChangeRecord::Extended { picks, .. } = change {
            self.adding_ended = false;
            if picks.is_some() && self.search_has_ended() {
                self.decisions.pop();
                self.moments.pop_if(|(first, _)| *first as usize >= self.decisions.len());
            }
        }
        self.changes.push(change);
    }

    fn add_tasks(&mut self, first: TaskId, tasks: &[NewTask]) -> Result<(), Unfit> {
        let next = TaskId(self.tasks.len() as u32);
        if first != next {
            return Err(Unfit(format!("{first} was added where {next} was due")));
        }
        for task in tasks {
            let number = TaskId(self.tasks.len() as u32);
            let book = TaskBook::new(task.clone());
            if let Some(trial) = book.trial() {
                let known = self.trials.get_mut(trial.0 as usize).ok_or_else(|| no_trial(trial))?;
                if let Some(segment) = book.segment() {
                    let before = known.newest_of(segment.replicate);
                    // One that was left out, and is begun after all, has its place.
                    let is_again = before.is_some_and(|task| self.tasks[task.0 as usize].segment() == Some(segment));
                    known.add_segment(segment.replicate, number, is_again);
                }
            }
            self.tasks.push(book);
        }
        Ok(())
    }

    fn add_executor(&mut self, executor: ExecutorId, name: &str) -> Result<(), Unfit> {
        let next = self.executors.len() as u32;
        if executor.0 != next {
            return Err(Unfit(format!("{executor} came where executor {next} was due")));
        }
        self.executors.push(name.to_owned());
        self.standings.push(Vec::new());
        Ok(())
    }

    fn stands(&mut self, executor: ExecutorId, standing: Standing, at: Moment) -> Result<(), Unfit> {
        self.latest = self.latest.max(at);
        let standings = self.standings_mut(executor)?;
        let is_full = standings.len() >= STANDINGS_MAX;
        match standings.last_mut() {
            Some(last) if last.standing == standing => {}
            None if matches!(standing, Standing::Gone | Standing::Unasked) => {}
            // Of one that comes and goes all day, this is all that is remembered.
            Some(last) if is_full => last.standing = standing,
            _ => standings.push(StandingSince { at_s: at.seconds(), standing }),
        }
        Ok(())
    }

    fn standings_mut(&mut self, executor: ExecutorId) -> Result<&mut Vec<StandingSince>, Unfit> {
        self.standings.get_mut(executor.0 as usize).ok_or_else(|| Unfit(format!("there is no {executor}")))
    }

    fn add_names(&mut self, names: &[MetricName]) -> Result<(), Unfit> {
        if !self.has_room_for_names() {
            return Err(Unfit("there are too many different metrics".to_owned()));
        }
        self.names.push(names.into());
        Ok(())
    }

    fn launched(
        &mut self,
        attempt: AttemptId,
        executor: ExecutorId,
        from_epoch: u32,
        at: Moment,
    ) -> Result<(), Unfit> {
        self.latest = self.latest.max(at);
        let task = self.task_mut(attempt.task)?;
        if attempt.number as usize != task.attempts.len() + 1 {
            return Err(Unfit(format!("{attempt} follows {} attempts", task.attempts.len())));
        }
        // Nearly all tasks have one attempt; a vector would begin with room for four.
        task.attempts.reserve_exact(1);
        task.attempts.push(AttemptRecord {
            attempt,
            executor,
            from_epoch,
            epoch: from_epoch,
            started_s: at.seconds(),
            ended_s: at.seconds(),
            training_s: 0.0,
            evaluation_s: 0.0,
            used: None,
            end: None,
        });
        Ok(())
    }

    fn epoch_done(&mut self, attempt: AttemptId, epoch: u32, row: &Row, spent: Spent) -> Result<(), Unfit> {
        let segment = self.task_mut(attempt.task)?.segment();
        let replicate = segment.ok_or_else(|| Unfit(format!("{attempt} has no epochs")))?.replicate;
        let record = self.attempt_mut(attempt)?;
        record.epoch = epoch;
        record.training_s += spent.training_s();
        record.evaluation_s += spent.evaluation_s();
        record.used = Used::sum([record.used, spent.used]);
        if self.replicate_mut(replicate)?.curves.epochs() < epoch {
            self.push_epoch(replicate, row)?;
        } else {
            self.repeated += 1;
        }
        Ok(())
    }

    /// The next epoch of a replicate.
    fn push_epoch(&mut self, replicate: Replicate, row: &Row) -> Result<(), Unfit> {
        let names = self.names_of(row)?;
        let expected = self.trial(replicate.trial).map_or(0, |trial| trial.needs.epochs).min(EPOCHS_AT_ONCE);
        let mut columns = std::mem::take(&mut self.columns);
        let pushed = self.replicate_mut(replicate).map(|known| {
            let is_first = known.curves.is_empty();
            known.curves.push_values(&names, &row.values, &mut columns);
            if is_first {
                known.curves.reserve(expected.saturating_sub(1) as usize);
            }
        });
        self.columns = columns;
        pushed
    }

    fn ended_attempt(&mut self, attempt: AttemptId, end: &AttemptEnd, spent: Spent, at: Moment) -> Result<(), Unfit> {
        self.latest = self.latest.max(at);
        let record = self.attempt_mut(attempt)?;
        let before = record.end.replace(end.clone());
        record.ended_s = at.seconds();
        record.training_s += spent.training_s();
        record.evaluation_s += spent.evaluation_s();
        record.used = Used::sum([record.used, spent.used]);
        let executor = record.executor;
        // As the scheduler counts: also one that comes back.
        if end.blames() == Blame::Executor {
            self.task_mut(attempt.task)?.lost_on.push(executor);
        }
        if matches!(end, AttemptEnd::Refused { .. }) {
            self.task_mut(attempt.task)?.refused_on.push(executor);
        }
        self.count(before.as_ref(), |count| count.saturating_sub(1));
        self.count(Some(end), |count| count + 1);
        Ok(())
    }

    fn finished(&mut self, task: TaskId, finish: Finish, at: Moment) -> Result<(), Unfit> {
        self.latest = self.latest.max(at);
        if let Finish::Trained { epoch, .. } = &finish
            && let Some((trial, _)) = self.trial_of(task)
            && let Some(value) = self.value_at(trial, *epoch)
        {
            self.ranking.note(trial, value);
        }
        let book = self.task_mut(task)?;
        let has_weights = matches!(book.finish, Some((Finish::Trained { weights: Some(_), .. }, _)));
        if !has_weights {
            book.finish = Some((finish, at)); // the first result counts, and its weights are not forgotten
        }
        for open in book.attempts.iter_mut().filter(|attempt| attempt.end.is_none()) {
            (open.end, open.ended_s) = (Some(AttemptEnd::Beaten), at.seconds());
        }
        Ok(())
    }

    /// Counts the end of an attempt where it is a misfortune.
    fn count(&mut self, end: Option<&AttemptEnd>, change: impl Fn(u32) -> u32) {
        let (lost, failed) = &mut self.misfortunes;
        match end.map_or(Blame::Nobody, AttemptEnd::blames) {
            Blame::Executor => *lost = change(*lost),
            Blame::Program => *failed = change(*failed),
            Blame::Nobody => {}
        }
    }

    fn task_mut(&mut self, task: TaskId) -> Result<&mut TaskBook, Unfit> {
        self.tasks.get_mut(task.0 as usize).ok_or_else(|| Unfit(format!("there is no task {task}")))
    }

    fn attempt_mut(&mut self, attempt: AttemptId) -> Result<&mut AttemptRecord, Unfit> {
        let index = (attempt.number as usize).wrapping_sub(1);
        let found = self.task_mut(attempt.task)?.attempts.get_mut(index);
        found.ok_or_else(|| Unfit(format!("{attempt} was never launched")))
    }

    fn replicate_mut(&mut self, wanted: Replicate) -> Result<&mut ReplicateBook, Unfit> {
        let trial = self.trials.get_mut(wanted.trial.0 as usize);
        let found = trial.and_then(|trial| trial.replicate_mut(wanted));
        found.ok_or_else(|| Unfit(format!("{} was never begun", wanted.trial)))
    }
}

fn no_trial(trial: TrialId) -> Unfit {
    Unfit(format!("there is no {trial}"))
}
