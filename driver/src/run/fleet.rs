//! Where each executor stands, seen from the run loop: dialled, answering, ready, lost or refused.

use std::time::Duration;

use broadsweep_common::ids::{AttemptId, ExecutorId};
use tokio::time::Instant;

use super::RunError;
use crate::cluster::{LinkError, Ready, SessionId};

/// Where one executor stands.
#[derive(Debug)]
enum Standing {
    /// Not there yet, or lost: the link dials. Holds what was wrong last.
    Dialling(Option<LinkError>),
    /// There, and taking the data.
    Answering,
    /// Has all it needs.
    Ready(Ready),
    /// Will not come.
    Refused(LinkError),
}

/// All executors of a run.
#[derive(Debug)]
pub(super) struct Fleet {
    names: Vec<String>,
    executors: Vec<Standing>,
    /// The process that each executor was last.
    instances: Vec<Option<u64>>,
    /// Why each executor's last session ended.
    reasons: Vec<String>,
    /// Those of whom people heard that they are not there, or have just been named.
    missed: Vec<bool>,
    /// Those of whom people heard that another run holds them.
    held: Vec<bool>,
    /// Those whose session ended while the scheduler counts on them.
    away: Vec<bool>,
    /// Until enough nodes have answered, nothing is placed.
    admitted: bool,
    /// When too few executors are too few for too long.
    deadline: Option<Instant>,
}

impl Fleet {
    pub(super) fn new(deadline: Instant) -> Self {
        Self {
            names: Vec::new(),
            executors: Vec::new(),
            instances: Vec::new(),
            reasons: Vec::new(),
            missed: Vec::new(),
            held: Vec::new(),
            away: Vec::new(),
            admitted: false,
            deadline: Some(deadline),
        }
    }

    /// One more executor is dialled.
    pub(super) fn join(&mut self, name: &str) {
        self.names.push(name.to_owned());
        self.executors.push(Standing::Dialling(None));
        self.instances.push(None);
        self.reasons.push(String::new());
        self.missed.push(self.admitted);
        self.held.push(false);
        self.away.push(false);
    }

    pub(super) fn answering(&mut self, executor: ExecutorId) {
        self.set(executor, Standing::Answering);
    }

    /// An executor is ready. Returns those that may be used from now on, each with whether it is another process than
    /// before: none while too few are ready, then all at once.
    pub(super) fn ready_now(
        &mut self,
        executor: ExecutorId,
        ready: Ready,
        nodes_min: u32,
    ) -> Vec<(ExecutorId, Ready)> {
        self.set(executor, Standing::Ready(ready.clone()));
        if self.admitted {
            return vec![(executor, ready)];
        }
        if self.ready().count() < nodes_min as usize {
            return Vec::new();
        }
        self.admitted = true;
        self.ready().filter_map(|executor| Some((executor, self.standing(executor)?.clone()))).collect()
    }

    /// Whether enough nodes have been ready for anything to be placed.
    pub(super) fn is_admitted(&self) -> bool {
        self.admitted
    }

    /// The scheduler counts on an executor from now on. Returns whether it is another process than before.
    pub(super) fn admit(&mut self, executor: ExecutorId, instance: u64) -> bool {
        let number = executor.0 as usize;
        if let Some(away) = self.away.get_mut(number) {
            *away = false;
        }
        let before = self.instances.get_mut(number).and_then(|known| known.replace(instance));
        before.is_some_and(|before| before != instance)
    }

    /// An executor's session is over, and its link dials. Returns whether it was in use.
    pub(super) fn gone(&mut self, executor: ExecutorId, error: Option<LinkError>) -> bool {
        let was_ready = self.standing(executor).is_some() && self.admitted;
        self.set(executor, Standing::Dialling(error));
        if was_ready && let Some(away) = self.away.get_mut(executor.0 as usize) {
            *away = true;
        }
        was_ready
    }

    /// Whether people are to hear that an executor is not there, or is another run's: they are told once.
    pub(super) fn is_missed(&mut self, executor: ExecutorId, is_held: bool) -> bool {
        let number = executor.0 as usize;
        let was_missed = self.missed.get_mut(number).is_some_and(|missed| std::mem::replace(missed, true));
        let was_held = self.held.get_mut(number).is_some_and(|held| std::mem::replace(held, *held || is_held));
        if is_held { !was_held } else { !was_missed }
    }

    /// Whether people are to hear that an executor is there: they heard that it was not, or have just named it.
    pub(super) fn is_announced(&mut self, executor: ExecutorId) -> bool {
        self.held.get_mut(executor.0 as usize).into_iter().for_each(|held| *held = false);
        self.missed.get_mut(executor.0 as usize).is_some_and(std::mem::take)
    }

    /// An executor that was away will not come back as it was. Returns whether the scheduler counts on it.
    pub(super) fn given_up(&mut self, executor: ExecutorId) -> bool {
        self.away.get_mut(executor.0 as usize).is_some_and(std::mem::take)
    }

    /// An executor's session ended for this reason.
    pub(super) fn note_reason(&mut self, executor: ExecutorId, reason: String) {
        self.missed.get_mut(executor.0 as usize).into_iter().for_each(|missed| *missed = true);
        if let Some(known) = self.reasons.get_mut(executor.0 as usize) {
            *known = reason;
        }
    }

    /// Why an executor's last session ended.
    pub(super) fn reason(&self, executor: ExecutorId) -> &str {
        self.reasons.get(executor.0 as usize).map_or("", String::as_str)
    }

    pub(super) fn refused(&mut self, executor: ExecutorId, error: LinkError) {
        self.set(executor, Standing::Refused(error));
    }

    fn standing(&self, executor: ExecutorId) -> Option<&Ready> {
        match self.executors.get(executor.0 as usize)? {
            Standing::Ready(ready) => Some(ready),
            Standing::Dialling(_) | Standing::Answering | Standing::Refused(_) => None,
        }
    }

    /// The session of a ready executor.
    pub(super) fn session(&self, executor: ExecutorId) -> Option<SessionId> {
        self.standing(executor).map(|ready| ready.session)
    }

    /// Whether an executor held this attempt when its session began: it may have stopped it while nobody was there.
    pub(super) fn came_with(&self, executor: ExecutorId, attempt: AttemptId) -> bool {
        self.standing(executor).is_some_and(|ready| ready.held.contains(&attempt))
    }

    /// An executor is about to leave.
    pub(super) fn drains(&mut self, executor: ExecutorId) {
        if let Some(Standing::Ready(ready)) = self.executors.get_mut(executor.0 as usize) {
            ready.draining = true;
        }
    }

    /// Whether an executor is about to leave.
    pub(super) fn is_draining(&self, executor: ExecutorId) -> bool {
        self.standing(executor).is_some_and(|ready| ready.draining)
    }

    /// The executors that are ready.
    pub(super) fn ready(&self) -> impl Iterator<Item = ExecutorId> {
        let executors = self.executors.iter().enumerate();
        executors
            .filter(|(_, standing)| matches!(standing, Standing::Ready(_)))
            .map(|(number, _)| ExecutorId(number as u32))
    }

    /// Whether an executor is ready, and the scheduler knows what it holds.
    pub(super) fn is_known(&self, executor: ExecutorId) -> bool {
        self.standing(executor).is_some_and(|ready| self.admitted || ready.held.is_empty())
    }

    /// How many answer, are ready, and are there at all.
    pub(super) fn counts(&self) -> (u32, u32, u32) {
        let ready = self.ready().count();
        let answering = self.executors.iter().filter(|standing| matches!(standing, Standing::Answering)).count();
        ((ready + answering) as u32, ready as u32, self.executors.len() as u32)
    }

    /// When the verdict may change although nothing happens.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Starts the wait for executors when the last one has gone, and ends it when one is there.
    pub(super) fn note_presence(&mut self, patience: Duration) {
        let (answered, _, _) = self.counts();
        match (self.admitted, answered) {
            (false, _) => {}
            (true, 0) => self.deadline = self.deadline.or_else(|| Some(Instant::now() + patience)),
            (true, _) => self.deadline = None,
        }
    }

    /// Whether a run can go on with these executors.
    pub(super) fn verdict(&self, nodes_min: u32, now: Instant) -> Option<RunError> {
        let (answered, _, nodes) = self.counts();
        let refused = self.executors.iter().filter(|standing| matches!(standing, Standing::Refused(_))).count();
        let late = self.deadline.is_some_and(|deadline| deadline <= now);
        if self.admitted {
            let hopeless = refused as u32 == nodes || (late && answered == 0);
            return hopeless.then(|| self.none_left());
        }
        let hopeless = nodes - (refused as u32) < nodes_min || (late && answered < nodes_min);
        hopeless.then(|| RunError::TooFewNodes { answered, nodes, needed: nodes_min, errors: self.errors() })
    }

    /// No executor is left, and none will come.
    pub(super) fn none_left(&self) -> RunError {
        RunError::NoExecutorLeft { errors: self.errors() }
    }

    fn errors(&self) -> Vec<LinkError> {
        let errors = self.names.iter().zip(&self.executors).filter_map(|(name, standing)| match standing {
            Standing::Dialling(Some(error)) | Standing::Refused(error) => Some(error.clone()),
            Standing::Dialling(None) => Some(LinkError::Unreachable {
                address: name.clone(),
                reason: "no answer so far".to_owned(),
                nobody_listens: false,
            }),
            Standing::Answering | Standing::Ready(_) => None,
        });
        errors.collect()
    }

    fn set(&mut self, executor: ExecutorId, standing: Standing) {
        if let Some(place) = self.executors.get_mut(executor.0 as usize) {
            *place = standing;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fleet(executors: u32, deadline: Instant) -> Fleet {
        let mut fleet = Fleet::new(deadline);
        (0..executors).for_each(|number| fleet.join(&format!("node{number}:1")));
        fleet
    }

    fn ready(slots: u32) -> Ready {
        Ready {
            session: SessionId(1),
            slots,
            instance: 7,
            kernel: "portable".to_owned(),
            held: Vec::new(),
            draining: false,
        }
    }

    fn admitted(fleet: &mut Fleet, executor: u32, slots: u32, nodes_min: u32) -> Vec<(u32, u32)> {
        let now = fleet.ready_now(ExecutorId(executor), ready(slots), nodes_min);
        now.into_iter().map(|(executor, ready)| (executor.0, ready.slots)).collect()
    }

    fn refusal() -> LinkError {
        LinkError::Refused { address: "node1:1".into(), reason: "held".into() }
    }

    #[test]
    fn nothing_is_placed_until_enough_nodes_are_ready() {
        let mut fleet = fleet(3, Instant::now());
        assert_eq!(admitted(&mut fleet, 2, 4, 2), []);
        assert_eq!(admitted(&mut fleet, 0, 1, 2), [(0, 1), (2, 4)]);
        assert_eq!(admitted(&mut fleet, 1, 2, 2), [(1, 2)]);
    }

    #[test]
    fn a_restarted_process_is_told_from_a_mended_session() {
        let mut fleet = fleet(1, Instant::now());
        admitted(&mut fleet, 0, 1, 1);
        assert!(!fleet.admit(ExecutorId(0), 7));
        assert!(fleet.gone(ExecutorId(0), None));
        assert!(!fleet.admit(ExecutorId(0), 7));
        assert!(fleet.admit(ExecutorId(0), 8));
        assert!(!fleet.given_up(ExecutorId(0)), "it is not away");
    }

    #[test]
    fn too_few_nodes_are_an_error_at_the_deadline_and_at_once_when_no_more_can_come() {
        let now = Instant::now();
        let later = now + Duration::from_secs(10);
        let mut fleet = fleet(2, later);
        fleet.answering(ExecutorId(0));
        assert!(fleet.verdict(2, now).is_none());
        assert!(matches!(fleet.verdict(2, later), Some(RunError::TooFewNodes { answered: 1, .. })));
        assert!(fleet.verdict(1, later).is_none());
        fleet.refused(ExecutorId(1), refusal());
        let error = fleet.verdict(2, now).unwrap();
        assert_eq!(error.to_string(), "1 of 2 nodes can be used; at least 2 are needed\n  node1:1 refuses: held");
    }

    #[test]
    fn people_hear_once_that_a_node_is_missing_and_that_it_has_come() {
        let mut fleet = fleet(2, Instant::now());
        assert!(!fleet.is_announced(ExecutorId(0)), "it was there from the first");
        assert_eq!([(); 2].map(|()| fleet.is_missed(ExecutorId(1), false)), [true, false]);
        assert_eq!([(); 2].map(|()| fleet.is_missed(ExecutorId(1), true)), [true, false], "and who has it");
        assert_eq!([(); 2].map(|()| fleet.is_announced(ExecutorId(1))), [true, false]);
        admitted(&mut fleet, 0, 1, 1);
        fleet.note_reason(ExecutorId(0), "broken".into());
        assert!(!fleet.is_missed(ExecutorId(0), false), "the end of its session was told");
        assert!(fleet.is_announced(ExecutorId(0)));
        fleet.join("node2:1");
        assert!(fleet.is_announced(ExecutorId(2)));
    }

    #[test]
    fn a_run_without_executors_waits_a_while_for_one_to_come_back() {
        let patience = Duration::from_secs(10);
        let mut fleet = fleet(1, Instant::now());
        admitted(&mut fleet, 0, 1, 1);
        fleet.note_presence(patience);
        assert!(fleet.verdict(1, Instant::now() + patience * 2).is_none());
        assert!(fleet.gone(ExecutorId(0), None));
        fleet.note_presence(patience);
        assert!(fleet.verdict(1, Instant::now()).is_none());
        assert!(matches!(fleet.verdict(1, Instant::now() + patience * 2), Some(RunError::NoExecutorLeft { .. })));
        admitted(&mut fleet, 0, 1, 1);
        fleet.note_presence(patience);
        assert!(fleet.verdict(1, Instant::now() + patience * 2).is_none());
    }
}
