//! Holds every act of a driver that cannot be taken back against what its machine would leave if it crashed right then:
//! the journal as far as it is synced, and the files. A file that goes must not be named there, nor may one be missing
//! that is; what is acknowledged or released has to be told there, and what is launched, too.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};

use broadsweep_common::attempt::{AttemptEvent, Report};
use broadsweep_common::ids::{AttemptId, Digest, ExecutorId, TaskId};
use broadsweep_driver::cluster::{LinkEvent, Needs, Order, SessionId, Witness};
use broadsweep_driver::journal::{MemoryStorage, Storage};
use broadsweep_driver::records::attempt::AttemptRecord;
use broadsweep_driver::run::{ReadError, Reading, read_from};

use super::odd::disputed;
use super::trace::Trace;

/// The guard of one run.
#[derive(Debug)]
pub(super) struct Guard {
    pub(super) memory: Arc<MemoryStorage>,
    /// The text of its study.
    pub(super) study: String,
    pub(super) trace: Arc<Trace>,
    /// Whether executors may say what is not so: then a report need not be written down.
    pub(super) doubts_reports: bool,
    pub(super) state: Mutex<State>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    /// What the durable journal tells, and the digest of its bytes.
    safe: Option<(Digest, Arc<Safe>)>,
    /// The session of each executor, with the reports that were not acknowledged in it.
    sessions: BTreeMap<ExecutorId, (SessionId, Vec<(u64, Report)>)>,
    /// The attempts that said to have ended with a blob.
    makers: BTreeMap<(ExecutorId, Digest), BTreeSet<AttemptId>>,
}

/// What a crash would leave.
#[derive(Debug, Default)]
struct Safe {
    attempts: BTreeMap<AttemptId, AttemptRecord>,
    files: BTreeSet<String>,
    /// Tasks that train a trial of which other numbers were told: those that do not stand are not written down.
    disputed: BTreeSet<TaskId>,
}

impl Guard {
    /// A file is about to go.
    pub(super) fn removing(&self, name: &str) {
        let mut state = self.state.lock().unwrap();
        let safe = self.safe(&mut state);
        if safe.files.contains(name) {
            self.trace.violate(format!("{name} is removed although the durable journal names it"));
        }
        self.check_files(&safe);
    }

    /// The journal as a crash would leave it at this moment.
    fn safe(&self, state: &mut State) -> Arc<Safe> {
        let Some(journal) = self.memory.durable_journal() else { return Arc::default() };
        let digest = Digest::of(&journal);
        if let Some((_, safe)) = state.safe.as_ref().filter(|(known, _)| *known == digest) {
            return Arc::clone(safe);
        }
        let left = MemoryStorage::new();
        left.set_journal(journal);
        left.write("study.toml", self.study.as_bytes()).unwrap();
        let safe = match read_from(&left, Path::new("memory")) {
            Ok(Reading { record, files, .. }) => {
                let disputed = disputed(&record);
                let attempts = record.attempts.into_iter().map(|attempt| (attempt.attempt, attempt)).collect();
                Safe { attempts, files, disputed }
            }
            Err(ReadError::NotBegun(_)) => Safe::default(),
            Err(error) => {
                self.trace.violate(format!("the durable journal cannot be read: {error}"));
                Safe::default()
            }
        };
        let safe = Arc::new(safe);
        state.safe = Some((digest, Arc::clone(&safe)));
        safe
    }

    fn check_files(&self, safe: &Safe) {
        let files_of = |folder: &str| {
            let files = self.memory.list(folder).unwrap();
            files.into_iter().map(move |file| format!("{folder}/{file}")).collect::<Vec<_>>()
        };
        let there: BTreeSet<_> = ["weights", "checkpoints", "outputs"].into_iter().flat_map(files_of).collect();
        for missing in safe.files.difference(&there) {
            self.trace.violate(format!("the durable journal names {missing}, which is not there"));
        }
    }

    fn check_order(&self, state: &mut State, executor: ExecutorId, order: &Order) {
        let safe = self.safe(state);
        match order {
            Order::Acknowledge { through, settled } => {
                let Some((_, reports)) = state.sessions.get_mut(&executor) else { return };
                let acknowledged =
                    reports.extract_if(.., |(number, _)| *number <= *through || settled.contains(number));
                for (_, report) in acknowledged {
                    self.check_report(&safe, executor, &report);
                }
            }
            Order::Release(_, blob) => {
                let makers = state.makers.get(&(executor, *blob));
                let is_told = |attempt: &AttemptId| has_ended(&safe, executor, *attempt);
                if makers.is_some_and(|makers| !self.doubts_reports && !makers.iter().any(is_told)) {
                    self.trace.violate(format!("{blob} is released, and no durable end of {makers:?} tells of it"));
                }
            }
            Order::Launch { launch, needs } => {
                let attempt = launch.attempt;
                if safe.attempts.get(&attempt).is_none_or(|known| known.executor != executor) {
                    self.trace.violate(format!("{attempt} is launched, and not in the durable journal"));
                }
                // One that is over by now is told to stop next, and needs nothing.
                let is_over = has_ended(&safe, executor, attempt);
                for need in needs.iter().filter(|_| !is_over) {
                    if let Needs::Checkpoint { name, .. } = need
                        && !safe.files.contains(name)
                        && !has_newer(&safe, name)
                    {
                        self.trace.violate(format!("{attempt} is to go on from {name}, which is not safe"));
                    }
                }
            }
            Order::Cancel { .. } | Order::Pull(_) | Order::HangUp { .. } => {}
        }
    }

    /// What is acknowledged is told again by nobody.
    fn check_report(&self, safe: &Safe, executor: ExecutorId, report: &Report) {
        let attempt = report.attempt;
        let is_told = match report.event {
            AttemptEvent::Epoch { epoch, .. } => {
                let has_epoch = safe.attempts.get(&attempt).is_some_and(|known| known.epoch >= epoch);
                has_epoch || has_ended(safe, executor, attempt) || safe.disputed.contains(&attempt.task)
            }
            AttemptEvent::Ended(_) => has_ended(safe, executor, attempt),
        };
        if !is_told && !self.doubts_reports {
            self.trace.violate(format!("{report:?} is acknowledged, and not in the durable journal"));
        }
    }
}

/// Whether a later checkpoint of the same task is safe: it may come in the very commit that the launch waits for, and the
/// attempt then begins anew.
fn has_newer(safe: &Safe, name: &str) -> bool {
    let parts = |name: &str| {
        let (task, epoch) = name.rsplit_once('-')?;
        Some((task.to_owned(), epoch.parse::<u32>().ok()?))
    };
    let Some((task, epoch)) = parts(name) else { return false };
    safe.files.iter().filter_map(|file| parts(file)).any(|(other, newer)| other == task && newer > epoch)
}

/// Whether the end of an attempt is written down, or it is none of this executor's.
fn has_ended(safe: &Safe, executor: ExecutorId, attempt: AttemptId) -> bool {
    let known = safe.attempts.get(&attempt);
    known.is_some_and(|known| known.end.is_some() || known.executor != executor)
}

impl Witness for Guard {
    fn heard(&self, executor: ExecutorId, event: &LinkEvent) {
        let mut state = self.state.lock().unwrap();
        match event {
            LinkEvent::Ready(ready) => {
                state.sessions.insert(executor, (ready.session, Vec::new()));
            }
            LinkEvent::Reports { sequence, reports } => {
                for report in reports {
                    let made = if let AttemptEvent::Ended(ended) = &report.event { ended.artifacts() } else { &[] };
                    for artifact in made {
                        state.makers.entry((executor, artifact.blob)).or_default().insert(report.attempt);
                    }
                }
                if let Some((_, waiting)) = state.sessions.get_mut(&executor) {
                    waiting.extend(reports.iter().map(|report| (*sequence, report.clone())));
                }
            }
            _ => {}
        }
    }

    fn told(&self, executor: ExecutorId, session: SessionId, orders: &[Order]) {
        let mut state = self.state.lock().unwrap();
        if state.sessions.get(&executor).is_none_or(|(current, _)| *current != session) {
            return; // its link drops them
        }
        for order in orders {
            self.check_order(&mut state, executor, order);
        }
        let safe = self.safe(&mut state);
        self.check_files(&safe);
    }
}
