//! What a finished run says of its trials, and of all else that takes time.

use broadsweep_common::blob::BLOCK_BYTES;

use super::recorded::RecordedSearch;
use crate::ledger::Ledger;
use crate::records::run::{RunRecord, Stage, TrialOutcome};
use crate::results::show::counted;

/// One trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TaskTime {
    /// By which trials are ordered.
    pub(super) cost: u64,
    /// Its work, in microseconds of a slot.
    pub(super) took_us: u64,
}

/// What a forecast starts from. All times are in microseconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Basis {
    /// In trial order.
    pub(super) tasks: Vec<TaskTime>,
    /// What decided on the trials while others were trained; `None` where all was decided before.
    pub(super) search: Option<RecordedSearch>,
    /// The looks at the test rows after the search; where nothing is trained, the partitions that a model was applied to.
    pub(super) measures_us: Vec<u64>,
    /// What an attempt takes beside its work.
    pub(super) overhead_us: u64,
    /// Until the first launch, without the broadcast.
    pub(super) start_us: u64,
    pub(super) broadcast_us: u64,
    /// From the last result to the end.
    pub(super) close_us: u64,
    /// How many executors there were: what is forecast for more of them was not measured.
    pub(super) executors: u32,
    /// Blocks of one copy of the data.
    pub(super) blocks: u64,
    slots: u32,
}

/// A run that is not over says nothing of what has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {}", .open.in_words(), if *.goes_on {
    "the run goes on, wait for its end"
} else {
    "end the run first, with `broadsweep resume`"
})]
pub struct NotOver {
    /// What has not ended.
    pub open: Open,
    /// Whether it will without help: the run's driver is at work.
    pub goes_on: bool,
}

/// What has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Open {
    /// So many of so many trials.
    Trials {
        /// Without an end.
        open: usize,
        /// All that there are so far.
        trials: usize,
        /// Whether a search may start more.
        may_be_more: bool,
    },
    /// The looks at the test rows after the search.
    Measurements,
}

impl Open {
    fn in_words(self) -> String {
        match self {
            Self::Trials { open: 0, .. } => {
                "the search has not ended, so nobody knows what the trials take that it has not started".to_owned()
            }
            Self::Trials { open, trials, may_be_more } => {
                let (trials, have) = (counted(trials as u64, "trial"), if open == 1 { "has" } else { "have" });
                let so_far = if may_be_more { " so far" } else { "" };
                format!("{open} of {trials}{so_far} {have} not ended, so nobody knows what the rest takes")
            }
            Self::Measurements => {
                "all trials have ended, but not the looks at the test rows after them, so nobody knows what these take"
                    .to_owned()
            }
        }
    }
}

impl Basis {
    /// What this run says.
    ///
    /// # Errors
    /// [`NotOver`].
    pub fn of(run: &RunRecord) -> Result<Self, NotOver> {
        let open = run.trials.iter().filter(|trial| trial.outcome == TrialOutcome::NotRun).count();
        let goes_on = run.stage == Stage::GoingOn;
        let may_be_more = run.search.as_ref().is_some_and(|search| !search.has_ended());
        if open > 0 || may_be_more && !run.is_over() {
            return Err(NotOver { open: Open::Trials { open, trials: run.trials.len(), may_be_more }, goes_on });
        }
        if !run.is_over() {
            return Err(NotOver { open: Open::Measurements, goes_on });
        }
        let ledger = Ledger::of(run);
        let mut segments_us = vec![Vec::new(); run.trials.len()];
        let mut measures_us = Vec::new();
        for attempts in (0..run.attempts.len())
            .collect::<Vec<_>>()
            .chunk_by(|one, other| run.attempts[*one].attempt.task == run.attempts[*other].attempt.task)
        {
            let worth_us: u64 = attempts.iter().map(|number| ledger.worth_us[*number]).sum();
            match run.trained_by(run.attempts[attempts[0]].attempt.task) {
                Some(trial) => segments_us[trial.trial.0 as usize].push(worth_us),
                None if run.is_check(run.attempts[attempts[0]].attempt.task) => {} // another run has no reason for it
                None => measures_us.push(worth_us),
            }
        }
        let took_us: Vec<u64> = segments_us.iter().map(|segments| segments.iter().sum()).collect();
        let pace = pace(run, &took_us);
        let search = RecordedSearch::of(run, &segments_us, pace);
        // Nobody waits for what was left out.
        let begun = run.trials.iter().zip(took_us).filter(|(trial, _)| trial.outcome != TrialOutcome::LeftOut);
        let tasks = begun.map(|(trial, took_us)| TaskTime {
            cost: trial.cost,
            took_us: match (&search, &trial.outcome) {
                (Some(search), _) => search.took_us(trial.trial),
                // One that was given up has no result; elsewhere it would have.
                (None, TrialOutcome::GivenUp { .. }) => (trial.cost as f64 * pace) as u64,
                (
                    None,
                    TrialOutcome::Finished { .. }
                    | TrialOutcome::Diverged { .. }
                    | TrialOutcome::Paused { .. }
                    | TrialOutcome::NotRun
                    | TrialOutcome::LeftOut,
                ) => took_us,
            },
        });
        let tasks = tasks.collect();
        let (until_launch_us, close_us) = ledger.edges_us();
        let broadcast_us = ledger.broadcast_us().min(until_launch_us);
        Ok(Self {
            tasks,
            search,
            measures_us,
            overhead_us: ledger.overhead_us(),
            start_us: until_launch_us - broadcast_us,
            broadcast_us,
            close_us,
            executors: ledger.accounts.len().max(1) as u32,
            blocks: run.broadcast.data_raw_bytes.div_ceil(BLOCK_BYTES as u64).max(1),
            slots: ledger.accounts.iter().map(|account| account.slots).max().unwrap_or(1),
        })
    }

    /// Slots that an executor of the run had at most.
    #[must_use]
    pub fn slots(&self) -> u32 {
        self.slots
    }

    /// Executors of the run: beyond them nothing was measured.
    #[must_use]
    pub fn executors(&self) -> u32 {
        self.executors
    }

    /// The work of all trials together, in microseconds of a slot.
    #[must_use]
    pub fn work_us(&self) -> u64 {
        self.tasks
            .iter()
            .map(|task| task.took_us)
            .chain(self.measures_us.iter().copied())
            .fold(0, u64::saturating_add)
    }

    /// Whether trials were decided on in the order in which results came: then another cluster would have decided on
    /// others.
    #[must_use]
    pub fn is_asynchronous(&self) -> bool {
        self.search.as_ref().is_some_and(RecordedSearch::is_asynchronous)
    }

    /// Whether a search decided on trials while others were trained.
    #[must_use]
    pub fn is_searched(&self) -> bool {
        self.search.is_some()
    }

    /// Trainings that are placed: of a trial each segment.
    pub(super) fn trainings(&self) -> usize {
        self.search.as_ref().map_or(self.tasks.len(), RecordedSearch::segments)
    }

    /// How many trials there are.
    #[must_use]
    pub fn trials(&self) -> usize {
        self.tasks.len()
    }

    /// Partitions that a model was applied to, of a run that trains nothing.
    #[must_use]
    pub fn partitions(&self) -> usize {
        if self.tasks.is_empty() { self.measures_us.len() } else { 0 }
    }
}

/// What a unit of cost took, on the mean of the trials that have a result.
fn pace(run: &RunRecord, took_us: &[u64]) -> f64 {
    let finished = run.trials.iter().zip(took_us).filter(|(trial, _)| trial.counted().is_some());
    let (cost, took) =
        finished.fold((0.0, 0.0), |(cost, took), (trial, us)| (cost + trial.cost as f64, took + *us as f64));
    if cost > 0.0 { took / cost } else { 0.0 }
}
