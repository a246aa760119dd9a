//! What follows where two executors tell different numbers of one epoch: those that were written down first stand, and a
//! third executor trains the trial once more up to there. It names the odd one; if that is the first, or nobody can say,
//! the run is suspect.

use broadsweep_common::ids::{AttemptId, ExecutorId, TaskId};
use broadsweep_common::metrics::Metrics;
use broadsweep_common::task::{Replicate, TaskKind};
use broadsweep_scheduler::Moment;

use super::Run;
use super::attempts::Phase;
use super::book::{Book, Unfit};
use super::deciding::check;
use super::record::{Difference, NewTask, Record, Row};
use super::task::TaskBook;
use crate::cluster::Order;
use crate::records::attempt::AttemptEnd;
use crate::records::difference::{DifferenceRecord, Odd};

impl Book {
    /// Takes in what is known of a difference.
    pub(super) fn differ(&mut self, replicate: Replicate, difference: &Difference) -> Result<(), Unfit> {
        let DifferenceRecord { trial, first, other, .. } = difference.told;
        let is_known = |executor: ExecutorId| self.executors.get(executor.0 as usize).is_some();
        if trial != replicate.trial || self.trial(trial).is_none() || !is_known(first) || !is_known(other) {
            return Err(Unfit(format!("two executors differ in {trial}, and one of the three is not there")));
        }
        if let Some(row) = &difference.row {
            self.names_of(row)?;
        }
        self.differences.insert((replicate, difference.told.epoch), difference.clone());
        Ok(())
    }

    /// What is known of a replicate, by epochs. One of them is looked into at a time.
    fn differences_of(&self, replicate: Replicate) -> impl Iterator<Item = &Difference> {
        self.differences.range((replicate, 0)..=(replicate, u32::MAX)).map(|(_, known)| known)
    }

    /// That of which it is not known yet who is right.
    fn open_difference(&self, replicate: Replicate) -> Option<&Difference> {
        self.differences_of(replicate).find(|known| known.told.odd == Odd::Sought)
    }

    /// Whether other numbers of an epoch than those that stand are to be looked into. If an odd one was found already, it is
    /// the one to blame, but for an epoch that it was the first to tell.
    pub(super) fn is_question(&self, replicate: Replicate, epoch: u32) -> bool {
        let first = self.tellers(replicate, epoch).first().copied();
        let mut known = self.differences_of(replicate).map(|known| &known.told).peekable();
        let is_first_time = known.peek().is_none();
        // Whether the first to tell this epoch was found odd; `None` if the epoch was asked about before, or if what stands
        // of another one was not found right.
        let first_is_odd = known.try_fold(false, |is_odd, told| {
            let stands = told.odd == Odd::Other && told.epoch != epoch;
            stands.then_some(is_odd || Some(told.other) == first)
        });
        is_first_time || first_is_odd == Some(true)
    }

    /// Whether numbers of an epoch that differ from those that stand are known to be wrong. If that epoch was asked about,
    /// the answer says so; otherwise what stands must have been found right in all epochs that were, and in one at least.
    pub(super) fn are_wrong(&self, replicate: Replicate, epoch: u32) -> bool {
        let stands = |known: &Difference| known.told.odd == Odd::Other;
        let mut all = self.differences_of(replicate).peekable();
        match self.differences.get(&(replicate, epoch)) {
            Some(asked) => stands(asked),
            None => all.peek().is_some() && all.all(stands),
        }
    }

    /// Those that a check is about, and which are not asked: none for any other task.
    pub(super) fn parties_of(&self, kind: TaskKind) -> Vec<ExecutorId> {
        let TaskKind::Check(segment) = kind else { return Vec::new() };
        let difference = self.differences.get(&(segment.replicate, segment.until_epoch));
        difference.into_iter().flat_map(|known| [known.told.first, known.told.other]).collect()
    }

    /// The checks that their driver had no time to add.
    pub(super) fn missing_checks(&self) -> Vec<NewTask> {
        let sought = self.differences.iter().filter(|(_, known)| known.told.odd == Odd::Sought);
        let is_there = |of: (Replicate, u32)| {
            let checks =
                |task: &TaskBook| matches!(task.kind(), TaskKind::Check(it) if (it.replicate, it.until_epoch) == of);
            self.tasks.iter().any(checks)
        };
        let missing = sought.filter(|(of, _)| !self.adding_ended && !is_there(**of));
        missing.filter_map(|((replicate, epoch), _)| self.check_of(*replicate, *epoch)).collect()
    }

    fn check_of(&self, replicate: Replicate, epoch: u32) -> Option<NewTask> {
        Some(check(&self.trial(replicate.trial)?.needs, replicate, epoch))
    }

    /// The executors that told what stands of an epoch, an earlier attempt's first.
    pub(super) fn tellers(&self, replicate: Replicate, epoch: u32) -> Vec<ExecutorId> {
        let known = self.trial(replicate.trial).and_then(|trial| trial.replicate(replicate));
        let tasks = known.into_iter().flat_map(|known| &known.segments).filter_map(|task| self.task(*task));
        let attempts = tasks.flat_map(|task| &task.attempts);
        let told = attempts.filter(|attempt| attempt.from_epoch < epoch && epoch <= attempt.epoch);
        told.map(|attempt| attempt.executor).collect()
    }

    /// Whether numbers of a replicate may differ from those that stand: nobody can say that these are right.
    pub(super) fn may_differ(&self, replicate: Replicate) -> bool {
        self.differences_of(replicate).any(|known| matches!(known.told.odd, Odd::First | Odd::Unknown))
    }

    /// Why an attempt is not believed that this driver never heard differ, and in which epoch it did: an earlier driver
    /// heard it, and it was to stop there.
    pub(super) fn disbelieved(&self, attempt: AttemptId) -> Option<(String, u32)> {
        let replicate = self.task(attempt.task)?.segment()?.replicate;
        let epoch = self.differences_of(replicate).find(|known| known.attempt == attempt)?.told.epoch;
        (!self.may_differ(replicate)).then(|| (other_numbers(attempt, replicate, epoch), epoch))
    }

    fn metrics_of(&self, row: &Row) -> Option<Metrics> {
        let names = self.names_of(row).ok()?;
        Some(names.iter().cloned().zip(row.values.iter().copied()).collect())
    }

    /// What the numbers of another executor say of a difference that is open: those of a third one in the epoch in question
    /// tell who is right.
    pub(super) fn odd_by(&self, third: ExecutorId, replicate: Replicate, (epoch, metrics): Told<'_>) -> Option<Odd> {
        let known = self.open_difference(replicate)?;
        let DifferenceRecord { first, other, .. } = known.told;
        if third == other {
            return None;
        }
        let standing = self.trial(replicate.trial)?.replicate(replicate)?.curves.at(epoch)?;
        let agrees = metrics == Some(&standing);
        if known.told.epoch != epoch || third == first {
            // More than two are at odds, or the first one is with itself: no vote tells who is right.
            return (!agrees).then_some(Odd::Unknown);
        }
        let others = known.row.as_ref().and_then(|row| self.metrics_of(row));
        Some(if agrees {
            Odd::Other
        } else if metrics == others.as_ref() {
            Odd::First
        } else {
            Odd::Unknown
        })
    }
}

/// An epoch, and what was measured then; nothing where the training diverged.
pub(super) type Told<'a> = (u32, Option<&'a Metrics>);

fn other_numbers(attempt: AttemptId, replicate: Replicate, epoch: u32) -> String {
    let trial = replicate.trial;
    format!(
        "{attempt} computed other numbers for {trial} in epoch {epoch} than were told before; executors of one run have \
         to agree on bits"
    )
}

impl Run<'_> {
    /// An executor tells other numbers of an epoch than those that stand. Says whether its attempt may go on: otherwise
    /// it is stopped, and tried again elsewhere.
    pub(super) fn on_other_numbers(
        &mut self,
        executor: ExecutorId,
        attempt: AttemptId,
        replicate: Replicate,
        told: Told<'_>,
    ) -> bool {
        if self.chronicle.book().is_question(replicate, told.0) {
            let row = told.1.map(|metrics| self.row_of(executor, metrics));
            if row == Some(None) {
                self.doubt(executor, attempt, "it reports other metrics at each epoch".to_owned());
                return false;
            }
            self.begin_difference((executor, attempt), replicate, (told.0, row.flatten()));
        }
        self.compare(executor, replicate, told);
        if self.chronicle.book().may_differ(replicate) {
            return true;
        }
        let reason = other_numbers(attempt, replicate, told.0);
        tracing::warn!(%executor, "{reason}");
        self.tell(executor, Order::Cancel { attempt, at_epoch_end: false });
        self.attempts.enter(attempt, Phase::Doubted { reason, differs: Some(told.0) });
        false
    }

    /// What an attempt ends with whose numbers of an epoch differ: it has failed where they are known to be wrong.
    pub(super) fn end_of_other_numbers(&self, attempt: AttemptId, epoch: u32, reason: String) -> AttemptEnd {
        let book = self.chronicle.book();
        let replicate = book.task(attempt.task).and_then(TaskBook::segment).map(|segment| segment.replicate);
        if replicate.is_some_and(|of| book.are_wrong(of, epoch)) {
            AttemptEnd::Failed { reason }
        } else {
            AttemptEnd::Doubted { reason }
        }
    }

    /// Goes on with what an earlier driver of the run was looking into.
    pub(super) fn take_up_differences(&mut self, held_until: Moment) {
        let unchecked = self.chronicle.book().missing_checks();
        self.add_tasks_held(unchecked, held_until);
        let is_over = |task: &TaskBook| matches!(task.kind(), TaskKind::Check(_)) && task.is_finished();
        let book = self.chronicle.book();
        let over: Vec<_> = book.tasks().filter(|(_, task)| is_over(task)).map(|(number, _)| number).collect();
        for task in over {
            self.end_check(task);
        }
    }

    fn begin_difference(
        &mut self,
        (other, attempt): (ExecutorId, AttemptId),
        replicate: Replicate,
        (epoch, row): (u32, Option<Row>),
    ) {
        let tellers = self.chronicle.book().tellers(replicate, epoch);
        let Some(first) = tellers.first().copied() else { return };
        let told = DifferenceRecord { trial: replicate.trial, epoch, first, other, odd: Odd::Sought };
        self.note(&Record::Differs { replicate, difference: Difference { told, attempt, row } });
        if let Some(second) = tellers.into_iter().find(|teller| *teller != first && *teller != other) {
            return self.conclude_difference(replicate, Odd::Other, Some(second));
        }
        let name = self.cluster.name(other);
        let before = if first == other { "it" } else { self.cluster.name(first) };
        self.say(format!(
            "{}, epoch {epoch}: {name} computed other numbers than {before} did before, which stand; another executor \
             trains it once more up to there, to see who is right",
            replicate.trial
        ));
        let check = self.chronicle.book().check_of(replicate, epoch);
        self.add_tasks(check.into_iter().collect());
    }

    /// If a third executor is asked for these numbers, here they are.
    pub(super) fn compare(&mut self, third: ExecutorId, replicate: Replicate, told: Told<'_>) {
        if let Some(odd) = self.chronicle.book().odd_by(third, replicate, told) {
            self.conclude_difference(replicate, odd, Some(third));
        }
    }

    /// A task is over; if it was a check that found nothing out, nobody will.
    pub(super) fn end_check(&mut self, task: TaskId) {
        let Some(TaskKind::Check(segment)) = self.chronicle.book().task(task).map(TaskBook::kind) else { return };
        let known = self.chronicle.book().open_difference(segment.replicate);
        if known.is_some_and(|known| known.told.epoch == segment.until_epoch) {
            self.conclude_difference(segment.replicate, Odd::Unknown, None);
        }
    }

    fn conclude_difference(&mut self, replicate: Replicate, odd: Odd, third: Option<ExecutorId>) {
        let Some(mut difference) = self.chronicle.book().open_difference(replicate).cloned() else { return };
        difference.told.odd = odd;
        let DifferenceRecord { trial, epoch, first, other, .. } = difference.told;
        self.note(&Record::Differs { replicate, difference });
        let name = |executor: ExecutorId| self.cluster.name(executor);
        let (first, other, third) = (name(first), name(other), third.map(name));
        let found = match (odd, third) {
            (Odd::Other, Some(third)) => format!(
                "{third} computed the same as {first}: {other} is the odd one, and what it computed for other trials may \
                 be wrong, too"
            ),
            (Odd::First, Some(third)) => format!(
                "{third} computed the same as {other}: {first} is the odd one. Its numbers stand, so the run is suspect"
            ),
            (_, Some(third)) => {
                format!("{third} computed others again: nobody can say who is right, and the run is suspect")
            }
            (_, None) => {
                format!("no third executor could tell whether {first} or {other} is right, so the run is suspect")
            }
        };
        self.say(format!("{trial}, epoch {epoch}: {found}"));
    }
}
