//! Where each executor stands, seen from the run loop, and what people were told of it.

use std::time::Duration;

use broadsweep_common::ids::{AttemptId, ExecutorId};
use tokio::time::Instant;

use super::RunError;
use super::told::Told;
use crate::cluster::{LinkError, Ready, SessionId};

/// All of where one executor stands.
///
/// The scheduler counts on an executor that is in use, and goes on to do so when its session ends: what ran there may
/// still run. That ends when it is in use again, or when it will not come back as it was.
#[derive(Debug)]
enum ExecutorState {
    /// An earlier driver's, which nobody dials: only its number is still of use.
    Former,
    /// Not there yet, or lost: the link dials.
    Dialling {
        /// What was wrong last.
        error: Option<LinkError>,
    },
    /// Its session ended while it was in use: the link dials, and the scheduler counts on it.
    Away {
        /// What was wrong last.
        error: Option<LinkError>,
    },
    /// There, and taking the data.
    Answering {
        /// Whether it was away before, so that the scheduler counts on it.
        was_away: bool,
    },
    /// Has all it needs, and is in use once enough nodes are ready.
    Ready(Ready),
    /// Will not come.
    Refused {
        /// Why.
        error: LinkError,
        /// Whether it was away before, and the scheduler has not heard of it.
        was_away: bool,
    },
}

impl ExecutorState {
    /// Whether the scheduler counts on it although it is not there.
    fn is_away(&self) -> bool {
        match self {
            Self::Away { .. } => true,
            Self::Answering { was_away } | Self::Refused { was_away, .. } => *was_away,
            Self::Former | Self::Dialling { .. } | Self::Ready(_) => false,
        }
    }

    fn dialling(error: Option<LinkError>, is_away: bool) -> Self {
        if is_away { Self::Away { error } } else { Self::Dialling { error } }
    }

    fn ready(&self) -> Option<&Ready> {
        match self {
            Self::Ready(ready) => Some(ready),
            Self::Former
            | Self::Dialling { .. }
            | Self::Away { .. }
            | Self::Answering { .. }
            | Self::Refused { .. } => None,
        }
    }

    /// What is wrong with it, if anything is.
    fn error(&self, name: &str) -> Option<LinkError> {
        match self {
            Self::Dialling { error: None } | Self::Away { error: None } => Some(LinkError::Unreachable {
                address: name.to_owned(),
                reason: "no answer so far".to_owned(),
                nobody_listens: false,
            }),
            Self::Dialling { error: Some(error) }
            | Self::Away { error: Some(error) }
            | Self::Refused { error, .. } => Some(error.clone()),
            Self::Former | Self::Answering { .. } | Self::Ready(_) => None,
        }
    }
}

/// One executor.
#[derive(Debug)]
struct Entry {
    name: String,
    state: ExecutorState,
    /// Why its last session ended.
    end_reason: String,
    /// Whether people heard that it is not there.
    told_missing: bool,
    /// Whether people named it in the middle of the run, and it has not been there yet.
    is_new: bool,
    /// Whether people heard that another run holds it.
    told_held: bool,
}

/// All executors of a run.
#[derive(Debug)]
pub(super) struct Executors {
    /// Executor `n` is the `n`th.
    entries: Vec<Entry>,
    /// Until enough nodes are ready, nothing is placed.
    admitted: bool,
    /// When too few executors are too few for too long.
    deadline: Option<Instant>,
    /// Where they have found the study's program, and why they cannot read the input.
    programs: Told,
    lacks: Told,
}

impl Executors {
    pub(super) fn new(deadline: Instant) -> Self {
        Self {
            entries: Vec::new(),
            admitted: false,
            deadline: Some(deadline),
            programs: Told::default(),
            lacks: Told::default(),
        }
    }

    /// One more executor is dialled. One that is named in the middle of a run is announced when it is there.
    pub(super) fn add(&mut self, name: &str) {
        self.push(name, ExecutorState::Dialling { error: None });
    }

    /// One more executor has a number, and nobody dials it.
    pub(super) fn add_former(&mut self, name: &str) {
        self.push(name, ExecutorState::Former);
    }

    fn push(&mut self, name: &str, state: ExecutorState) {
        self.entries.push(Entry {
            name: name.to_owned(),
            state,
            end_reason: String::new(),
            told_missing: false,
            is_new: self.admitted,
            told_held: false,
        });
    }

    /// An executor has answered, and takes the data.
    pub(super) fn on_answering(&mut self, executor: ExecutorId) {
        self.change(executor, |state| ExecutorState::Answering { was_away: state.is_away() });
    }

    /// An executor is ready. Returns those that may be used from now on: none while too few are ready, then all at once.
    pub(super) fn on_ready(
        &mut self,
        executor: ExecutorId,
        ready: Ready,
        nodes_min: u32,
    ) -> Vec<(ExecutorId, Ready)> {
        self.change(executor, |_| ExecutorState::Ready(ready.clone()));
        if self.admitted {
            return vec![(executor, ready)];
        }
        if self.ready().count() < nodes_min as usize {
            return Vec::new();
        }
        self.admitted = true;
        self.ready().filter_map(|executor| Some((executor, self.ready_one(executor)?.clone()))).collect()
    }

    /// What people are told of executors that are used from now on: where they have found the study's program, and why they
    /// cannot read the input.
    pub(super) fn tell_of(&mut self, used: &[(ExecutorId, Ready)]) -> Vec<String> {
        let name = |executor: &ExecutorId| self.entries.get(executor.0 as usize).map(|entry| entry.name.as_str());
        let programs = used.iter().filter_map(|(executor, ready)| Some((name(executor)?, ready.program.as_deref()?)));
        let programs = self.programs.tell(programs, |path, place| format!("program: {path} on {place}"));
        let lacks = used.iter().filter_map(|(executor, ready)| Some((name(executor)?, ready.lacks.as_deref()?)));
        let lacks = self.lacks.tell(lacks, |reason, place| format!("rows are sent to {place}: {reason}"));
        [programs, lacks].concat()
    }

    /// Whether an executor cannot read the input.
    pub(super) fn lacks(&self, executor: ExecutorId) -> bool {
        self.ready_one(executor).is_some_and(|ready| ready.lacks.is_some())
    }

    /// Whether enough nodes have been ready for anything to be placed.
    pub(super) fn is_admitted(&self) -> bool {
        self.admitted
    }

    /// An executor has no session, and its link dials. Returns whether it was in use: the scheduler counts on it until
    /// it is [given up](Self::give_up) or in use again.
    pub(super) fn on_gone(&mut self, executor: ExecutorId, error: Option<LinkError>) -> bool {
        let was_in_use = self.admitted && self.ready_one(executor).is_some();
        self.change(executor, |state| ExecutorState::dialling(error, was_in_use || state.is_away()));
        was_in_use
    }

    /// An executor will not come.
    pub(super) fn on_refused(&mut self, executor: ExecutorId, error: LinkError) {
        self.change(executor, |state| ExecutorState::Refused { error, was_away: state.is_away() });
    }

    /// An executor that is away will not come back as it was. Returns whether the scheduler counted on it until now.
    pub(super) fn give_up(&mut self, executor: ExecutorId) -> bool {
        let was_away = self.entry(executor).is_some_and(|entry| entry.state.is_away());
        self.change(executor, |state| match state {
            ExecutorState::Away { error } => ExecutorState::Dialling { error },
            ExecutorState::Answering { .. } => ExecutorState::Answering { was_away: false },
            ExecutorState::Refused { error, .. } => ExecutorState::Refused { error, was_away: false },
            ExecutorState::Former | ExecutorState::Dialling { .. } | ExecutorState::Ready(_) => state,
        });
        was_away
    }

    /// Whether people are to hear that an executor is not there, or is another run's: they are told each once.
    pub(super) fn should_tell_missing(&mut self, executor: ExecutorId, is_held: bool) -> bool {
        let Some(entry) = self.entry_mut(executor) else { return false };
        let is_news = if is_held { !entry.told_held } else { !entry.told_missing };
        entry.told_missing = true;
        entry.told_held |= is_held;
        is_news
    }

    /// Whether people named an executor in the middle of the run and wait for it.
    pub(super) fn is_new(&self, executor: ExecutorId) -> bool {
        self.entry(executor).is_some_and(|entry| entry.is_new)
    }

    /// Whether people are to hear that an executor is there: they heard that it was not, or have just named it.
    pub(super) fn should_tell_there(&mut self, executor: ExecutorId) -> bool {
        let Some(entry) = self.entry_mut(executor) else { return false };
        entry.told_held = false;
        std::mem::take(&mut entry.told_missing) | std::mem::take(&mut entry.is_new)
    }

    /// An executor's session ended for this reason, and people were told.
    pub(super) fn tell_session_ended(&mut self, executor: ExecutorId, reason: String) {
        if let Some(entry) = self.entry_mut(executor) {
            entry.told_missing = true;
            entry.end_reason = reason;
        }
    }

    /// Why an executor's last session ended.
    pub(super) fn end_reason(&self, executor: ExecutorId) -> &str {
        self.entry(executor).map_or("", |entry| &entry.end_reason)
    }

    /// The session of a ready executor.
    pub(super) fn session(&self, executor: ExecutorId) -> Option<SessionId> {
        self.ready_one(executor).map(|ready| ready.session)
    }

    /// Whether an executor held this attempt when its session began: it may have stopped it while nobody was there.
    pub(super) fn came_with(&self, executor: ExecutorId, attempt: AttemptId) -> bool {
        self.ready_one(executor).is_some_and(|ready| ready.held.contains(&attempt))
    }

    /// An executor is about to leave.
    pub(super) fn on_draining(&mut self, executor: ExecutorId) {
        if let Some(Entry { state: ExecutorState::Ready(ready), .. }) = self.entry_mut(executor) {
            ready.draining = true;
        }
    }

    /// Whether an executor is about to leave.
    pub(super) fn is_draining(&self, executor: ExecutorId) -> bool {
        self.ready_one(executor).is_some_and(|ready| ready.draining)
    }

    /// The executors that are ready.
    pub(super) fn ready(&self) -> impl Iterator<Item = ExecutorId> {
        let numbered = (0..).map(ExecutorId).zip(&self.entries);
        numbered.filter(|(_, entry)| entry.state.ready().is_some()).map(|(executor, _)| executor)
    }

    /// Whether an executor is ready, and the scheduler knows what it holds.
    pub(super) fn is_known(&self, executor: ExecutorId) -> bool {
        self.ready_one(executor).is_some_and(|ready| self.admitted || ready.held.is_empty())
    }

    /// Whether nobody dials an executor any more, so that nothing of the run goes on there.
    pub(super) fn is_former(&self, executor: ExecutorId) -> bool {
        self.entry(executor).is_some_and(|entry| matches!(entry.state, ExecutorState::Former))
    }

    /// How many answer, are ready, and are there at all.
    pub(super) fn counts(&self) -> (u32, u32, u32) {
        let ready = self.count(|state| state.ready().is_some());
        let answering = self.count(|state| matches!(state, ExecutorState::Answering { .. }));
        let nodes = self.count(|state| !matches!(state, ExecutorState::Former));
        (ready + answering, ready, nodes)
    }

    /// When the verdict may change although nothing happens.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// This driver listened to nobody for so long: that is not waiting.
    pub(super) fn on_stood_still(&mut self, took: Duration) {
        self.deadline = self.deadline.map(|deadline| deadline + took);
    }

    /// Starts the wait for executors when the last one has gone, and ends it when one is there.
    pub(super) fn update_deadline(&mut self, patience: Duration) {
        let (answered, _, _) = self.counts();
        match (self.admitted, answered) {
            (false, _) => {}
            (true, 0) => self.deadline = self.deadline.or_else(|| Some(Instant::now() + patience)),
            (true, _) => self.deadline = None,
        }
    }

    /// Why a run cannot go on with these executors, if so.
    pub(super) fn verdict(&self, nodes_min: u32, now: Instant) -> Option<RunError> {
        let (answered, _, nodes) = self.counts();
        let refused = self.count(|state| matches!(state, ExecutorState::Refused { .. }));
        let late = self.deadline.is_some_and(|deadline| deadline <= now);
        if self.admitted {
            let hopeless = refused == nodes || (late && answered == 0);
            return hopeless.then(|| RunError::NoExecutorLeft { errors: self.errors() });
        }
        let hopeless = nodes - refused < nodes_min || (late && answered < nodes_min);
        hopeless.then(|| RunError::TooFewNodes { answered, nodes, needed: nodes_min, errors: self.errors() })
    }

    fn errors(&self) -> Vec<LinkError> {
        self.entries.iter().filter_map(|entry| entry.state.error(&entry.name)).collect()
    }

    fn count(&self, counts: impl Fn(&ExecutorState) -> bool) -> u32 {
        self.entries.iter().filter(|entry| counts(&entry.state)).count() as u32
    }

    fn entry(&self, executor: ExecutorId) -> Option<&Entry> {
        self.entries.get(executor.0 as usize)
    }

    fn entry_mut(&mut self, executor: ExecutorId) -> Option<&mut Entry> {
        self.entries.get_mut(executor.0 as usize)
    }

    fn ready_one(&self, executor: ExecutorId) -> Option<&Ready> {
        self.entry(executor)?.state.ready()
    }

    fn change(&mut self, executor: ExecutorId, change: impl FnOnce(ExecutorState) -> ExecutorState) {
        if let Some(entry) = self.entry_mut(executor) {
            let before = std::mem::replace(&mut entry.state, ExecutorState::Dialling { error: None });
            entry.state = change(before);
        }
    }
}

#[cfg(test)]
#[path = "executors_tests.rs"]
mod tests;
