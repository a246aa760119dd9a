//! What really happened on the executors, seen where trainings report: no driver and no journal is asked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use broadsweep_common::attempt::{AttemptEvent, Ended, Report};
use broadsweep_common::ids::{AttemptId, Digest, TaskId};

use super::trace::Trace;

/// All attempts that any executor began.
#[derive(Debug)]
pub(super) struct Truth {
    trace: Arc<Trace>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    stays: BTreeMap<(u64, AttemptId), Stay>,
    /// Attempts under whose own name something false was reported: they may fail.
    slandered: BTreeSet<AttemptId>,
}

/// One attempt on one executor.
#[derive(Clone, Debug)]
pub(super) struct Stay {
    pub(super) node: String,
    pub(super) process: u64,
    /// The first epoch that it trained.
    pub(super) first: Option<u32>,
    /// The last one.
    pub(super) last: u32,
    pub(super) ended: Option<Ended>,
}

impl Truth {
    pub(super) fn new(trace: Arc<Trace>) -> Self {
        Self { trace, state: Mutex::default() }
    }

    /// The number that a process has and no other.
    pub(super) fn instance(node: &str, process: u64) -> u64 {
        let digest = Digest::of(format!("{node} {process}").as_bytes());
        u64::from_le_bytes(*digest.0.first_chunk().unwrap())
    }

    pub(super) fn began(&self, study: u64, attempt: AttemptId, node: &str, process: u64) {
        let stay = Stay { node: node.to_owned(), process, first: None, last: 0, ended: None };
        if let Some(before) = self.state.lock().unwrap().stays.insert((study, attempt), stay) {
            self.trace.violate(format!("{attempt} was launched twice: on {} and on {node}", before.node));
        }
    }

    pub(super) fn reported(&self, study: u64, report: &Report) {
        let mut state = self.state.lock().unwrap();
        let Some(stay) = state.stays.get_mut(&(study, report.attempt)) else { return };
        match &report.event {
            AttemptEvent::Epoch { epoch, .. } => {
                stay.first.get_or_insert(*epoch);
                stay.last = *epoch;
            }
            AttemptEvent::Ended(ended) => stay.ended = Some(ended.clone()),
        }
    }

    pub(super) fn stay(&self, study: u64, attempt: AttemptId) -> Option<Stay> {
        self.state.lock().unwrap().stays.get(&(study, attempt)).cloned()
    }

    /// Attempts of a study that began elsewhere, each with the last epoch that it trained.
    pub(super) fn elsewhere(&self, study: u64, node: &str) -> Vec<(AttemptId, u32)> {
        let state = self.state.lock().unwrap();
        let stays = state.stays.iter().filter(|((known, _), stay)| *known == study && stay.node != node);
        stays.map(|((_, attempt), stay)| (*attempt, stay.last)).collect()
    }

    /// Whether a machine trained an epoch in an attempt at one of these tasks.
    pub(super) fn has_trained(&self, study: u64, node: &str, tasks: &BTreeSet<TaskId>, epoch: u32) -> bool {
        let state = self.state.lock().unwrap();
        state.stays.iter().any(|((known, attempt), stay)| {
            let epochs = stay.first.unwrap_or(u32::MAX)..=stay.last;
            *known == study && stay.node == node && tasks.contains(&attempt.task) && epochs.contains(&epoch)
        })
    }

    pub(super) fn slander(&self, attempt: AttemptId) {
        self.state.lock().unwrap().slandered.insert(attempt);
    }

    pub(super) fn is_slandered(&self, attempt: AttemptId) -> bool {
        self.state.lock().unwrap().slandered.contains(&attempt)
    }

    /// How often each epoch of a task was trained, by task and epoch; more than once only.
    pub(super) fn trained_again(&self, study: u64) -> Vec<String> {
        let mut trained: BTreeMap<_, Vec<AttemptId>> = BTreeMap::new();
        for ((_, attempt), stay) in self.state.lock().unwrap().stays.iter().filter(|((known, _), _)| *known == study)
        {
            for epoch in stay.first.unwrap_or(1)..=stay.last {
                trained.entry((attempt.task, epoch)).or_default().push(*attempt);
            }
        }
        let twice = trained.into_iter().filter(|(_, by)| by.len() > 1);
        twice.map(|((task, epoch), by)| format!("epoch {epoch} of {task} by {by:?}")).collect()
    }

    /// Attempts that still run in a process that lives.
    pub(super) fn running(&self, study: u64, lives: impl Fn(&str, u64) -> bool) -> Vec<AttemptId> {
        let state = self.state.lock().unwrap();
        let running = state
            .stays
            .iter()
            .filter(|((known, _), stay)| *known == study && stay.ended.is_none() && lives(&stay.node, stay.process));
        running.map(|((_, attempt), _)| *attempt).collect()
    }
}
