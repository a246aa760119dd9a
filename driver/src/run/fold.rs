//! How records add up to a book, and the records that a book can be told in.

use broadsweep_common::ids::{AttemptId, ExecutorId, TaskId, TrialId};
use broadsweep_common::metrics::EpochReport;

use super::book::{Book, Unfit, selected};
use super::record::{Finish, PlannedCost, Record, Spent};
use super::task::{PIECE, TaskBook};
use crate::plan::TrialPlan;
use crate::records::attempt::{AttemptEnd, AttemptRecord};
use crate::records::standing::{Standing, StandingSince};
use broadsweep_scheduler::Moment;

/// Epochs that a task gets room for at its first: a trial that asks for a million may stop early.
const EPOCHS_AT_ONCE: usize = 16;

/// What is remembered of how an executor stood.
const PRESENCE_MAX: usize = 10_000;

impl Book {
    /// Takes a record in.
    ///
    /// # Errors
    /// [`Unfit`], if the record speaks of a task or an attempt that is not there.
    pub(super) fn apply(&mut self, record: &Record) -> Result<(), Unfit> {
        match record {
            Record::Begun(begun) => {
                self.latest = self.latest.max(begun.at);
                // Those that are still there have to answer the next driver first.
                for number in 0..self.executors.len() as u32 {
                    self.stands(ExecutorId(number), Standing::Unasked, begun.at)?;
                }
                self.begun = Some(begun.clone());
            }
            Record::Planned { first, costs } => self.planned(*first, costs)?,
            Record::Kernel(kernel) => {
                let begun = self.begun.as_mut().ok_or_else(|| Unfit("a kernel came before the run".to_owned()))?;
                begun.kernel = Some(kernel.clone());
            }
            Record::Executor { executor, name } => {
                let next = self.executors.len() as u32;
                if executor.0 != next {
                    return Err(Unfit(format!("{executor} came where executor {next} was due")));
                }
                self.executors.push(name.clone());
                self.presence.push(Vec::new());
            }
            Record::Stands { executor, standing, at } => self.stands(*executor, *standing, *at)?,
            Record::Presence { executor, presence } => self.presence_mut(*executor)?.extend(presence),
            Record::Broadcast(broadcast) => self.broadcast = *broadcast,
            Record::Closed(at) => self.latest = self.latest.max(*at),
            Record::MeasuresPlanned(trials) => {
                self.tasks.truncate(self.plan.trials.len());
                self.tasks.extend(trials.iter().map(|_| TaskBook::default()));
                self.measures = Some(trials.clone());
            }
            Record::Launched { attempt, executor, from_epoch, at } => {
                self.launched(*attempt, *executor, *from_epoch, *at)?;
            }
            Record::Adopted(attempt) => {
                let end = self.attempt_mut(*attempt)?.end.take();
                self.count(end.as_ref(), |count| count.saturating_sub(1));
            }
            Record::Epoch { attempt, report, spent } => self.epoch_done(*attempt, report, *spent)?,
            Record::Checkpointed { task, checkpoint } => self.task_mut(*task)?.checkpoint = Some(*checkpoint),
            Record::Ended { attempt, end, spent, at } => self.ended_attempt(*attempt, end, *spent, *at)?,
            Record::Completed { attempt, spent, finish, at } => {
                self.ended_attempt(*attempt, &AttemptEnd::Completed, *spent, *at)?;
                self.finished(attempt.task, finish.clone(), *at)?;
            }
            Record::Finished { task, finish, at } => self.finished(*task, finish.clone(), *at)?,
            Record::Known { task, checkpoint, finish } => {
                self.task_mut(*task)?.checkpoint = *checkpoint;
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
            Record::Epochs { task, reports } => self.task_mut(*task)?.epochs.extend(reports),
            Record::Totals { repeated, latest } => {
                (self.repeated, self.latest) = (*repeated, self.latest.max(*latest));
            }
        }
        Ok(())
    }

    /// The costs of these trials are as they were forecast when the run began.
    fn planned(&mut self, first: TrialId, costs: &[PlannedCost]) -> Result<(), Unfit> {
        let (start, end) = (first.0 as usize, (first.0 as usize).saturating_add(costs.len()));
        let trials = self.plan.trials.get_mut(start..end);
        let trials = trials.ok_or_else(|| Unfit(format!("{first} is planned, and there is no such trial")))?;
        for (trial, cost) in trials.iter_mut().zip(costs) {
            (trial.epochs, trial.flops, trial.test_flops) = (cost.epochs, cost.flops, cost.test_flops);
        }
        Ok(())
    }

    fn stands(&mut self, executor: ExecutorId, standing: Standing, at: Moment) -> Result<(), Unfit> {
        self.latest = self.latest.max(at);
        let presence = self.presence_mut(executor)?;
        let is_full = presence.len() >= PRESENCE_MAX;
        match presence.last_mut() {
            Some(last) if last.standing == standing => {}
            None if matches!(standing, Standing::Gone | Standing::Unasked) => {}
            // Of one that comes and goes all day, this is all that is remembered.
            Some(last) if is_full => last.standing = standing,
            _ => presence.push(StandingSince { at_s: at.seconds(), standing }),
        }
        Ok(())
    }

    fn presence_mut(&mut self, executor: ExecutorId) -> Result<&mut Vec<StandingSince>, Unfit> {
        self.presence.get_mut(executor.0 as usize).ok_or_else(|| Unfit(format!("there is no {executor}")))
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
            end: None,
        });
        Ok(())
    }

    fn epoch_done(&mut self, attempt: AttemptId, report: &EpochReport, spent: Spent) -> Result<(), Unfit> {
        let record = self.attempt_mut(attempt)?;
        record.epoch = report.epoch;
        record.training_s += spent.training_s();
        record.evaluation_s += spent.evaluation_s();
        let expected = (self.epochs_of(attempt.task) as usize).min(EPOCHS_AT_ONCE);
        let epochs = &mut self.task_mut(attempt.task)?.epochs;
        if epochs.len() < report.epoch as usize {
            if epochs.capacity() == 0 {
                epochs.reserve_exact(expected);
            }
            epochs.push(*report);
        } else {
            self.repeated += 1;
        }
        Ok(())
    }

    fn ended_attempt(&mut self, attempt: AttemptId, end: &AttemptEnd, spent: Spent, at: Moment) -> Result<(), Unfit> {
        self.latest = self.latest.max(at);
        let record = self.attempt_mut(attempt)?;
        let before = record.end.replace(end.clone());
        record.ended_s = at.seconds();
        record.training_s += spent.training_s();
        record.evaluation_s += spent.evaluation_s();
        self.count(before.as_ref(), |count| count.saturating_sub(1));
        self.count(Some(end), |count| count + 1);
        Ok(())
    }

    fn finished(&mut self, task: TaskId, finish: Finish, at: Moment) -> Result<(), Unfit> {
        self.latest = self.latest.max(at);
        if let Finish::Trained { report, .. } = &finish
            && let Some(error) = selected(report, self.select)
            && self.beats_the_best(TrialId(task.0), report)
        {
            self.best = Some((error, TrialId(task.0)));
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

    /// What is known, in as few records as it takes.
    pub(super) fn records(&self) -> impl Iterator<Item = Record> {
        let begun = self.begun.iter().cloned().map(Record::Begun);
        let executors = self
            .executors
            .iter()
            .enumerate()
            .map(|(number, name)| Record::Executor { executor: ExecutorId(number as u32), name: name.clone() });
        let planned = self.plan_records();
        let presence = self.presence.iter().zip(0..).flat_map(|(presence, number)| {
            let executor = ExecutorId(number);
            presence.chunks(PIECE).map(move |piece| Record::Presence { executor, presence: piece.to_vec() })
        });
        let measures = self.measures.iter().cloned().map(Record::MeasuresPlanned);
        let tasks = self.tasks.iter().enumerate().flat_map(|(number, task)| task.records(TaskId(number as u32)));
        planned.chain(begun).chain(executors).chain(presence).chain(measures).chain(tasks).chain([
            Record::Broadcast(self.broadcast),
            Record::Totals { repeated: self.repeated, latest: self.latest },
        ])
    }

    /// What the trials are forecast to cost.
    pub(super) fn plan_records(&self) -> impl Iterator<Item = Record> {
        self.plan.trials.chunks(PIECE).zip(0..).map(|(piece, number)| {
            let cost = |trial: &TrialPlan| PlannedCost {
                epochs: trial.epochs,
                flops: trial.flops,
                test_flops: trial.test_flops,
            };
            Record::Planned { first: TrialId(number * PIECE as u32), costs: piece.iter().map(cost).collect() }
        })
    }

    /// Counts the end of an attempt where it is a misfortune.
    fn count(&mut self, end: Option<&AttemptEnd>, change: impl Fn(u32) -> u32) {
        let (lost, failed) = &mut self.misfortunes;
        match end {
            Some(AttemptEnd::Lost { .. }) => *lost = change(*lost),
            Some(AttemptEnd::Failed { .. } | AttemptEnd::Hung { .. }) => *failed = change(*failed),
            _ => {}
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
}
