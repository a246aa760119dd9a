//! Where each executor stands, seen from the run loop: dialled, answering, ready, lost or refused.

use std::time::{Duration, Instant};

use broadsweep_common::ids::ExecutorId;

use super::RunError;
use crate::cluster::{LinkError, SessionId};

/// Where one executor stands.
#[derive(Debug)]
enum Standing {
    /// Not there yet, or lost: the link dials. Holds what was wrong last.
    Dialling(Option<LinkError>),
    /// There, and taking the data.
    Answering,
    /// Has all it needs.
    Ready { session: SessionId, slots: u32 },
    /// Will not come.
    Refused(LinkError),
}

/// All executors of a run.
#[derive(Debug)]
pub(super) struct Fleet {
    names: Vec<String>,
    executors: Vec<Standing>,
    /// Slots that each executor ever had.
    slots_seen: Vec<u32>,
    /// Until enough nodes have answered, nothing is placed.
    admitted: bool,
    /// When too few executors are too few for too long.
    deadline: Option<Instant>,
}

impl Fleet {
    pub(super) fn new(names: &[String], deadline: Instant) -> Self {
        Self {
            names: names.to_vec(),
            executors: names.iter().map(|_| Standing::Dialling(None)).collect(),
            slots_seen: vec![0; names.len()],
            admitted: false,
            deadline: Some(deadline),
        }
    }

    pub(super) fn answering(&mut self, executor: ExecutorId) {
        self.set(executor, Standing::Answering);
    }

    /// An executor is ready. Returns those that may be used from now on, with their slots: none while too few are
    /// ready, then all at once.
    pub(super) fn ready_now(
        &mut self,
        executor: ExecutorId,
        session: SessionId,
        slots: u32,
        nodes_min: u32,
    ) -> Vec<(ExecutorId, u32)> {
        self.set(executor, Standing::Ready { session, slots });
        if let Some(seen) = self.slots_seen.get_mut(executor.0 as usize) {
            *seen = slots;
        }
        if self.admitted {
            return vec![(executor, slots)];
        }
        if self.ready().count() < nodes_min as usize {
            return Vec::new();
        }
        self.admitted = true;
        self.ready().filter_map(|executor| self.session(executor).map(|(_, slots)| (executor, slots))).collect()
    }

    /// Whether an executor was never ready before.
    pub(super) fn is_new(&self, executor: ExecutorId) -> bool {
        self.slots_seen.get(executor.0 as usize) == Some(&0)
    }

    /// An executor is gone, and its link dials. Returns whether it was in use.
    pub(super) fn gone(&mut self, executor: ExecutorId, error: Option<LinkError>) -> bool {
        let was_ready = self.session(executor).is_some();
        self.set(executor, Standing::Dialling(error));
        was_ready && self.admitted
    }

    pub(super) fn refused(&mut self, executor: ExecutorId, error: LinkError) {
        self.set(executor, Standing::Refused(error));
    }

    /// The session and slots of a ready executor.
    pub(super) fn session(&self, executor: ExecutorId) -> Option<(SessionId, u32)> {
        match self.executors.get(executor.0 as usize)? {
            Standing::Ready { session, slots } => Some((*session, *slots)),
            Standing::Dialling(_) | Standing::Answering | Standing::Refused(_) => None,
        }
    }

    /// The executors that are ready.
    pub(super) fn ready(&self) -> impl Iterator<Item = ExecutorId> {
        let executors = self.executors.iter().enumerate();
        executors
            .filter(|(_, standing)| matches!(standing, Standing::Ready { .. }))
            .map(|(number, _)| ExecutorId(number as u32))
    }

    /// Slots of the executors that are ready.
    pub(super) fn slots(&self) -> u32 {
        self.ready().filter_map(|executor| self.session(executor)).map(|(_, slots)| slots).sum()
    }

    /// How many answer, are ready, and are there at all.
    pub(super) fn counts(&self) -> (u32, u32, u32) {
        let ready = self.ready().count();
        let answering = self.executors.iter().filter(|standing| matches!(standing, Standing::Answering)).count();
        ((ready + answering) as u32, ready as u32, self.executors.len() as u32)
    }

    /// Executors that were ever ready, and their slots.
    pub(super) fn took_part(&self) -> (u32, u32) {
        (self.slots_seen.iter().filter(|slots| **slots > 0).count() as u32, self.slots_seen.iter().sum())
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
            Standing::Dialling(None) => {
                Some(LinkError::Unreachable { address: name.clone(), reason: "no answer so far".to_owned() })
            }
            Standing::Answering | Standing::Ready { .. } => None,
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
        let names: Vec<_> = (0..executors).map(|number| format!("node{number}:1")).collect();
        Fleet::new(&names, deadline)
    }

    fn refusal() -> LinkError {
        LinkError::Refused { address: "node1:1".into(), reason: "held".into() }
    }

    #[test]
    fn nothing_is_placed_until_enough_nodes_are_ready() {
        let mut fleet = fleet(3, Instant::now());
        assert_eq!(fleet.ready_now(ExecutorId(2), SessionId(1), 4, 2), []);
        assert_eq!(fleet.ready_now(ExecutorId(0), SessionId(1), 1, 2), [(ExecutorId(0), 1), (ExecutorId(2), 4)]);
        assert_eq!(fleet.ready_now(ExecutorId(1), SessionId(1), 2, 2), [(ExecutorId(1), 2)]);
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
        assert_eq!(error.to_string(), "1 of 2 nodes answered; at least 2 are needed\n  node1:1 refuses: held");
    }

    #[test]
    fn a_run_without_executors_waits_a_while_for_one_to_come_back() {
        let patience = Duration::from_secs(10);
        let mut fleet = fleet(1, Instant::now());
        fleet.ready_now(ExecutorId(0), SessionId(1), 1, 1);
        fleet.note_presence(patience);
        assert!(fleet.verdict(1, Instant::now() + patience * 2).is_none());
        assert!(fleet.gone(ExecutorId(0), None));
        fleet.note_presence(patience);
        assert!(fleet.verdict(1, Instant::now()).is_none());
        assert!(matches!(fleet.verdict(1, Instant::now() + patience * 2), Some(RunError::NoExecutorLeft { .. })));
        fleet.ready_now(ExecutorId(0), SessionId(2), 1, 1);
        fleet.note_presence(patience);
        assert!(fleet.verdict(1, Instant::now() + patience * 2).is_none());
    }
}
