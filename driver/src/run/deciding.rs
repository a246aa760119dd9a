//! Asks the search what is to be trained, writes down what it answers, and gives the scheduler the tasks that follow
//! from it.

use broadsweep_common::configuration::Configuration;
use broadsweep_common::dataset::Part;
use broadsweep_common::ids::{Digest, TaskId, TrialId};
use broadsweep_common::task::{Replicate, Segment, TaskKind};
use broadsweep_scheduler::{Cost, Event, History, Moment, Priority};
use broadsweep_search::{Decision, NewDecision, Origin, Search, SearchClock, Stopping, Timeline, VirtualTime};

use super::book::{Asked, Book};
use super::record::{Decided, Finish, Input, NewTask, Record, TrialNeeds};
use super::task::TaskBook;
use super::{Effect, Run, names, telling};
use crate::plan::{Planner, TrialPlan};
use crate::records::change::stopped_by;
use crate::study::{Order, Study};

impl TrialNeeds {
    pub(super) fn of(plan: &TrialPlan) -> Self {
        Self {
            epochs: plan.epochs.max(1),
            cost: plan.flops,
            test_cost: plan.test_flops,
            memory_bytes: plan.memory_bytes,
            makes_weights: plan.parameters > 0,
        }
    }
}

/// A search that goes on while trials are trained, and what says when it is asked.
pub struct OngoingSearch<'a> {
    /// When, and what it has seen by then. Nothing was recalled to it.
    pub timeline: Timeline<'a>,
    /// Who decides; it has not decided anything.
    pub search: Box<dyn Search + 'a>,
}

impl<'a> OngoingSearch<'a> {
    /// That of a study, whose trials are planned by `planner`; `None` if all is decided before anything is trained.
    #[must_use]
    pub fn of(study: &Study, planner: Planner<'a>) -> Option<Self> {
        if !study.sees_results() {
            return None;
        }
        let Order { parallel, is_asynchronous } = study.search.order;
        let clock = if is_asynchronous { SearchClock::Arrivals } else { SearchClock::Virtual { lag: planner.lag() } };
        let timeline = Timeline::new(clock, parallel, Box::new(planner));
        let (rules, objective) = (study.search.stop, study.objectives().first().clone());
        let search = Box::new(Stopping::new(study.search(), rules, objective, Box::new(planner)));
        Some(Self { timeline, search })
    }
}

/// The task that trains a trial from one epoch to another: its share of the trial's cost.
fn training(needs: &TrialNeeds, segment: Segment, input: Option<Input>) -> NewTask {
    let epochs = u128::from(segment.until_epoch - segment.from_epoch);
    let cost = u128::from(needs.cost) * epochs / u128::from(needs.epochs.max(1));
    let cost = u64::try_from(cost).unwrap_or(u64::MAX);
    let priority = Priority::longest_first(Cost(cost));
    NewTask { kind: TaskKind::Train(segment), cost, priority, inputs: input.into_iter().collect() }
}

impl NewTask {
    /// The same, placed by what it costs.
    pub(super) fn by_cost(self) -> Self {
        Self { priority: Priority::longest_first(Cost(self.cost)), ..self }
    }

    /// The same, placed in the order in which it was decided.
    fn decided_at(self, v: VirtualTime) -> Self {
        Self { priority: Priority::in_order(v.0), ..self }
    }
}

/// The first task of a trial: to its end, or to where it pauses first.
pub(super) fn first_training(trial: TrialId, needs: &TrialNeeds, until_epoch: Option<u32>) -> NewTask {
    let until_epoch = until_epoch.map_or(needs.epochs, |until_epoch| until_epoch.clamp(1, needs.epochs));
    training(needs, Segment { replicate: Replicate::first(trial), from_epoch: 0, until_epoch }, None)
}

/// The task that trains a replicate once more, up to this epoch: before all others, since a result may be wrong.
pub(super) fn check(needs: &TrialNeeds, replicate: Replicate, until_epoch: u32) -> NewTask {
    let segment = Segment { replicate, from_epoch: 0, until_epoch };
    let priority = Priority::longest_first(Cost(u64::MAX));
    NewTask { kind: TaskKind::Check(segment), priority, ..training(needs, segment, None) }
}

/// The task that applies the model to a partition.
pub(super) fn application(partition: u32, cost: u64) -> NewTask {
    let priority = Priority::longest_first(Cost(cost));
    NewTask { kind: TaskKind::Apply { partition }, cost, priority, inputs: Vec::new() }
}

impl Run<'_> {
    /// Gives the scheduler every task with what it went through under earlier drivers, and the search every decision and
    /// every result.
    pub(super) fn take_up(&mut self) {
        let held_until = self.now().after(self.settings.scheduling.reconnect());
        for (trial, book, value) in self.chronicle.book().ended() {
            self.progress.remember(trial, &book.configuration, value);
        }
        for (_, task) in self.chronicle.book().tasks() {
            if let (TaskKind::Apply { partition }, true) = (task.kind(), task.is_finished()) {
                self.progress.remember_partition(partition);
            }
        }
        self.schedule_from(TaskId(0), held_until);
        self.take_up_differences(held_until);
        let book = self.chronicle.book();
        let adding_ended = book.adding_ended;
        self.is_taken_up = true;
        if adding_ended {
            self.feed(Event::AddingEnded);
        } else {
            self.take_up_search();
        }
    }

    /// Tells the search, which knows nothing yet, all that was decided and what came of it, and asks it to go on.
    pub(super) fn take_up_search(&mut self) {
        let book = self.chronicle.book();
        if book.search_has_ended() {
            self.search = None; // it knows nothing of what it decided, and is not asked any more
            return;
        }
        let Some(OngoingSearch { timeline, .. }) = &mut self.search else {
            // All was decided before anything was trained, unless somebody asked for more.
            let missing = missing_tasks(self.chronicle.book());
            self.add_tasks(missing.into_iter().map(NewTask::by_cost).collect());
            self.draw_more();
            self.note_decision(VirtualTime::default(), Decided::Ended);
            return;
        };
        for (v, decided) in book.decided() {
            timeline.recall(as_decision(decided), v);
        }
        telling::tell_all(book, timeline);
        let (clock, missing) = (timeline.clock(), missing_tasks(book));
        if let (SearchClock::Virtual { lag }, None) = (clock, book.lag) {
            self.note(&Record::Lag(lag));
        }
        self.add_tasks(missing);
        if let Some(by) = stopped_by(&self.chronicle.book().changes) {
            self.end_search(by, None); // as far as an earlier driver did not
        }
        self.decide();
    }

    /// Tells the scheduler of the tasks from this one on.
    fn schedule_from(&mut self, first: TaskId, held_until: Moment) {
        for number in first.0..self.chronicle.book().tasks.len() as u32 {
            let (task, book_of) = (TaskId(number), self.chronicle.book());
            let Some(book) = book_of.task(task) else { continue };
            let (priority, forecast) = (book.task.priority, book.forecast());
            let mut history = if book.attempts.is_empty() && !book.is_finished() {
                History::default()
            } else {
                book.history(held_until, |executor| !self.executors.is_former(executor))
            };
            history.parties = book_of.parties_of(book.kind());
            if !history.parties.is_empty() && !book.is_finished() {
                // Executors come back one by one: those that it is about may be the first.
                history.held_until = Some(held_until);
            }
            self.feed(Event::TaskAdded { task, priority, forecast, history });
        }
    }

    /// What the search may be shown of an epoch that was written down.
    pub(super) fn on_epoch_noted(&mut self, task: TaskId) {
        self.show_search(task, telling::tell_epochs);
    }

    /// A segment is over: the search will be shown how.
    pub(super) fn on_segment_end(&mut self, task: TaskId) {
        self.show_search(task, telling::tell_end);
    }

    fn show_search(&mut self, task: TaskId, what: impl FnOnce(&Book, &TaskBook, &mut Timeline<'_>)) {
        let book = self.chronicle.book();
        if let (Some(OngoingSearch { timeline, .. }), Some(known)) = (&mut self.search, book.task(task))
            && !timeline.has_ended()
        {
            what(book, known, timeline);
            self.is_told = true;
        }
    }

    /// Asks the search, if it may decide something new, until it waits or has ended.
    pub(super) fn decide_if_due(&mut self) {
        if self.is_told && !self.stopping {
            self.decide();
        }
        self.plan_measures();
    }

    fn decide(&mut self) {
        // A trial that cannot be trained has its end at once, and something may follow from that.
        loop {
            self.is_told = false;
            let Some(OngoingSearch { timeline, search }) = &mut self.search else { return };
            let decisions = timeline.advance(search.as_mut());
            if let Some(strayed) = timeline.strayed()
                && self.strayed.replace(strayed).is_none()
            {
                tracing::error!(?strayed, "a decision comes at another moment than it was made at");
            }
            if decisions.is_empty() {
                return self.tell_awaited();
            }
            for decision in decisions {
                self.carry_out(decision);
            }
        }
    }

    /// Tells the scheduler which task the search waits for: slots that are free meanwhile may copy it.
    fn tell_awaited(&mut self) {
        let blocker = self.search.as_ref().and_then(|search| search.timeline.blocker());
        let book = self.chronicle.book();
        let awaited = blocker.and_then(|segment| {
            let task = book.trial(segment.replicate.trial)?.newest_of(segment.replicate)?;
            (book.task(task)?.segment() == Some(segment)).then_some(task)
        });
        if std::mem::replace(&mut self.awaited, awaited) != awaited {
            self.feed(Event::Awaited(awaited));
        }
    }

    fn carry_out(&mut self, NewDecision { v, decision, .. }: NewDecision) {
        match decision {
            Decision::Start { configuration, origin, until_epoch } => {
                self.start_trial(v, (configuration, origin), until_epoch, |task| task.decided_at(v));
            }
            Decision::Continue { trial, until_epoch } => self.continue_trial(v, trial, until_epoch),
            Decision::Wait => {}
            Decision::Ended => self.note_decision(v, Decided::Ended),
        }
    }

    pub(super) fn note_decision(&mut self, v: VirtualTime, decided: Decided) {
        let first = self.chronicle.book().decisions.len() as u32;
        self.note(&Record::Decided { first, v, decisions: vec![decided] });
        self.progress.planned(self.chronicle.book().trials.len() as u32);
    }

    pub(super) fn add_tasks(&mut self, tasks: Vec<NewTask>) {
        self.add_tasks_held(tasks, Moment::default());
    }

    /// Tasks of which nothing is placed before `held_until` if their executors may still come back.
    pub(super) fn add_tasks_held(&mut self, tasks: Vec<NewTask>, held_until: Moment) {
        let first = TaskId(self.chronicle.book().tasks.len() as u32);
        if let Err(error) = self.chronicle.note_tasks(tasks) {
            self.broken.get_or_insert(error.into());
        }
        self.schedule_from(first, held_until);
    }

    pub(super) fn start_trial(
        &mut self,
        v: VirtualTime,
        (configuration, origin): (Configuration, Origin),
        until_epoch: Option<u32>,
        placed: impl FnOnce(NewTask) -> NewTask,
    ) {
        let trial = TrialId(self.chronicle.book().trials.len() as u32);
        let planned = self.planner.plan(trial, configuration.clone(), origin);
        let needs = planned.as_ref().map_or(TrialNeeds { epochs: 1, ..TrialNeeds::default() }, TrialNeeds::of);
        self.note_decision(v, Decided::Start { configuration, origin, until_epoch, needs });
        let task = TaskId(self.chronicle.book().tasks.len() as u32);
        let first = placed(first_training(trial, &needs, until_epoch));
        if let Err(unfit) = planned {
            // It fits neither the data nor itself: known before anything of it is trained.
            let reason = unfit.to_string();
            self.say(format!("{trial} cannot be trained: {reason}"));
            self.note(&Record::TasksAdded { first: task, tasks: vec![first] });
            self.note(&Record::Finished { task, finish: Finish::GivenUp { reason }, at: self.now() });
            self.schedule_from(task, Moment::default());
            self.effects.push(Effect::TrialEnded(trial));
            self.on_segment_end(task);
            return;
        }
        self.add_tasks(vec![first]);
    }

    fn continue_trial(&mut self, v: VirtualTime, trial: TrialId, until_epoch: u32) {
        self.note_decision(v, Decided::Continue { trial, until_epoch });
        // The timeline lets nobody continue what has not paused.
        let task = continuation(self.chronicle.book(), trial, until_epoch).map(|task| task.decided_at(v));
        self.add_tasks(task.into_iter().collect());
    }

    /// Once every trial is trained, the best and the control look at the test rows, if the study says so, and what the
    /// best answers is looked at closely.
    fn plan_measures(&mut self) {
        let book = self.chronicle.book();
        let is_due = book.search_has_ended() && !book.adding_ended && !self.stopping;
        if !is_due || self.scheduler.counts().finished < book.tasks.len() {
            return;
        }
        // Nobody continues what has paused.
        let paused: Vec<_> = book.checkpoints().map(|(task, safe)| names::checkpoint(task, safe.epoch)).collect();
        let looks = looks(self.study, book);
        self.effects.extend(paused.into_iter().map(Effect::Drop));
        self.add_tasks(looks);
        self.note(&Record::AddingEnded);
        self.feed(Event::AddingEnded);
    }
}

/// The task that goes on where a trial has paused; `None` if it has not.
fn continuation(book: &Book, trial: TrialId, until_epoch: u32) -> Option<NewTask> {
    let known = book.trial(trial)?;
    let task = *known.first()?.segments.last()?;
    let Some((Finish::Paused { checkpoint, .. }, _)) = &book.task(task)?.finish else { return None };
    let from_epoch = checkpoint.epoch;
    let until_epoch = until_epoch.clamp(from_epoch + 1, known.needs.epochs.max(from_epoch + 1));
    let segment = Segment { replicate: Replicate::first(trial), from_epoch, until_epoch };
    Some(training(&known.needs, segment, Some(Input::Checkpoint { task, checkpoint: *checkpoint })))
}

/// The tasks of decisions that were written down without them: their driver ended in between.
fn missing_tasks(book: &Book) -> Vec<NewTask> {
    let v = book.moments.last().map(|(_, v)| *v).unwrap_or_default();
    let unscheduled = book.trials().filter(|(_, trial)| trial.first().is_none());
    let first = unscheduled.map(|(number, trial)| first_training(number, &trial.needs, trial.until_epoch));
    let last = match book.decisions.last() {
        // Paused where the decision ends, it has been trained already.
        Some(Asked::Continue { trial, until_epoch })
            if book.paused_at(*trial).is_some_and(|at| at < *until_epoch) =>
        {
            continuation(book, *trial, *until_epoch)
        }
        Some(Asked::Continue { .. } | Asked::Start(_) | Asked::Ended) | None => None,
    };
    first.chain(last).map(|task| task.decided_at(v)).collect()
}

/// All that is looked at once every trial is trained.
fn looks(study: &Study, book: &Book) -> Vec<NewTask> {
    let measured = if study.tests_the_best() { measurements(book) } else { Vec::new() };
    let examined = book.best_candidate().into_iter().flat_map(|best| examinations(study, book, best));
    // Where somebody asked for more trials, some were looked at before.
    measured.into_iter().chain(examined).filter(|look| !book.has_task(look.kind)).collect()
}

/// The closer looks at what the best answers.
fn examinations(study: &Study, book: &Book, (trial, weights): (TrialId, Digest)) -> Vec<NewTask> {
    let cost = book.trial(trial).map_or(0, |known| known.needs.test_cost);
    let examination = |part| NewTask {
        kind: TaskKind::Examine { replicate: Replicate::first(trial), weights, part },
        cost,
        priority: Priority::longest_first(Cost(cost)),
        inputs: vec![Input::Weights { trial, blob: weights }],
    };
    study.examined_parts().into_iter().map(examination).collect()
}

/// The last looks at the test rows: of the best and of the control.
fn measurements(book: &Book) -> Vec<NewTask> {
    let measurement = |(trial, weights)| {
        let cost = book.trial(trial).map_or(0, |known| known.needs.test_cost);
        NewTask {
            kind: TaskKind::Measure { replicate: Replicate::first(trial), weights, part: Part::Test },
            cost,
            priority: Priority::longest_first(Cost(cost)),
            inputs: vec![Input::Weights { trial, blob: weights }],
        }
    };
    book.candidates().map(measurement).collect()
}

/// What was written down of a decision, as the search said it.
fn as_decision(decided: Decided) -> Decision {
    match decided {
        Decided::Start { configuration, origin, until_epoch, .. } => {
            Decision::Start { configuration, origin, until_epoch }
        }
        Decided::Continue { trial, until_epoch } => Decision::Continue { trial, until_epoch },
        Decided::Ended => Decision::Ended,
    }
}

#[cfg(test)]
#[path = "deciding_tests.rs"]
mod tests;
