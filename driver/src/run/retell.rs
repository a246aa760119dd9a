//! The records that a book can be told in: what a compaction of the journal leaves, and how a run begins.

use broadsweep_common::ids::{ExecutorId, TaskId};
use broadsweep_search::VirtualTime;

use super::book::{Asked, Book};
use super::record::{Decided, NewTask, Record, Row};
use super::task::{PIECE, PIECE_BYTES};

/// What a parameter takes in a record beside its letters.
const PARAMETER_BYTES: usize = 40;
/// What a decision takes beside its parameters.
const DECISION_BYTES: usize = 64;

/// The record of decisions that is filled now.
struct Filling {
    first: u32,
    v: VirtualTime,
    bytes: usize,
    decisions: Vec<Decided>,
}

/// Records of these decisions, the first of which has the number `first`; each comes with its moment.
pub(super) fn decided(
    first: u32,
    decisions: impl Iterator<Item = (VirtualTime, Decided)>,
) -> impl Iterator<Item = Record> {
    let mut decisions = decisions.peekable();
    let mut next = first;
    std::iter::from_fn(move || {
        let (v, decided) = decisions.next()?;
        let mut filling = Filling { first: next, v, bytes: bytes_of(&decided), decisions: vec![decided] };
        while filling.bytes < PIECE_BYTES
            && filling.decisions.len() < PIECE
            && let Some((_, decided)) = decisions.next_if(|(v, _)| *v == filling.v)
        {
            filling.bytes += bytes_of(&decided);
            filling.decisions.push(decided);
        }
        next += filling.decisions.len() as u32;
        Some(Record::Decided { first: filling.first, v: filling.v, decisions: filling.decisions })
    })
}

fn bytes_of(decided: &Decided) -> usize {
    let parameters = match decided {
        Decided::Start { configuration, .. } => configuration
            .iter()
            .map(|(name, value)| PARAMETER_BYTES + name.len() + value.to_string().len())
            .sum::<usize>(),
        Decided::Continue { .. } | Decided::Ended => 0,
    };
    DECISION_BYTES + parameters
}

/// Records of these tasks, the first of which has the number `first`.
pub(super) fn added(first: TaskId, tasks: Vec<NewTask>) -> impl Iterator<Item = Record> {
    let mut tasks = tasks.into_iter();
    let mut next = first;
    std::iter::from_fn(move || {
        let piece: Vec<_> = tasks.by_ref().take(PIECE).collect();
        let first = next;
        next.0 += piece.len() as u32;
        (!piece.is_empty()).then_some(Record::TasksAdded { first, tasks: piece })
    })
}

impl Book {
    /// What is known, in as few records as it takes.
    pub(super) fn records(&self) -> impl Iterator<Item = Record> {
        let names = self.names.iter().map(|names| Record::Names(names.to_vec()));
        let begun = self.begun.iter().cloned().map(Record::Begun);
        let executors = self
            .executors
            .iter()
            .zip(0..)
            .map(|(name, number)| Record::Executor { executor: ExecutorId(number), name: name.clone() });
        let processes = self
            .processes
            .iter()
            .map(|(executor, instance)| Record::Process { executor: *executor, instance: *instance });
        let standings = self.standings.iter().zip(0..).flat_map(|(standings, number)| {
            let executor = ExecutorId(number);
            standings.chunks(PIECE).map(move |piece| Record::Standings { executor, standings: piece.to_vec() })
        });
        let tasks = self.tasks().flat_map(|(number, task)| task.records(number));
        let adding_ended = self.adding_ended.then_some(Record::AddingEnded);
        let decided = decided(0, self.decided());
        // What was reported stands before the ends, by which trials are ranked.
        names
            .chain(begun)
            .chain(executors)
            .chain(processes)
            .chain(standings)
            .chain(decided)
            .chain(self.added())
            .chain(self.epochs())
            .chain(tasks)
            .chain(adding_ended)
            .chain([
                Record::Broadcast(self.broadcast),
                Record::Totals { repeated: self.repeated, latest: self.latest },
            ])
    }

    /// What the search decided, in order, each with its moment.
    pub(super) fn decided(&self) -> impl Iterator<Item = (VirtualTime, Decided)> {
        let mut moments = self.moments.iter().peekable();
        let mut v = VirtualTime::default();
        self.decisions.iter().zip(0..).filter_map(move |(decision, number)| {
            while let Some((_, moment)) = moments.next_if(|(first, _)| *first <= number) {
                v = *moment;
            }
            Some((v, self.decided_as(*decision)?))
        })
    }

    fn decided_as(&self, decision: Asked) -> Option<Decided> {
        Some(match decision {
            Asked::Start(trial) => {
                let trial = self.trial(trial)?;
                Decided::Start {
                    configuration: trial.configuration.clone(),
                    origin: trial.origin,
                    until_epoch: trial.until_epoch,
                    needs: trial.needs,
                }
            }
            Asked::Continue { trial, until_epoch } => Decided::Continue { trial, until_epoch },
            Asked::Ended => Decided::Ended,
        })
    }

    fn added(&self) -> impl Iterator<Item = Record> {
        let numbers = (0..).step_by(PIECE).map(TaskId);
        self.tasks.chunks(PIECE).zip(numbers).map(|(piece, first)| Record::TasksAdded {
            first,
            tasks: piece.iter().map(|task| task.task.clone()).collect(),
        })
    }

    fn epochs(&self) -> impl Iterator<Item = Record> {
        let replicates = self.trials().flat_map(|(number, trial)| trial.replicates(number));
        replicates.flat_map(|(replicate, known)| {
            let rows: Vec<Row> = known.curves.iter().filter_map(|(_, metrics)| self.row(&metrics)).collect();
            let pieces: Vec<_> = rows.chunks(PIECE).map(<[Row]>::to_vec).collect();
            pieces.into_iter().map(move |rows| Record::Epochs { replicate, rows })
        })
    }
}
