//! The records that a book can be told in: what a compaction of the journal leaves, and how a run begins.

use broadsweep_common::ids::{ExecutorId, TaskId};
use broadsweep_search::VirtualTime;

use super::book::{Asked, Book};
use super::record::{Decided, NewTask, Record, Row};
use super::task::{PIECE, PIECE_BYTES};
use crate::records::searched::{SearchAct, SearchStep};

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
        let differences = self
            .differences
            .iter()
            .map(|((replicate, _), known)| Record::Differs { replicate: *replicate, difference: known.clone() });
        let adding_ended = self.adding_ended.then_some(Record::AddingEnded);
        let changes = (!self.changes.is_empty() || !self.granted.is_empty())
            .then(|| Record::Changes { changes: self.changes.clone(), granted: self.granted.clone() });
        let lag = self.lag.map(Record::Lag);
        let decided = decided(0, self.decided());
        // What was reported stands before the ends, by which trials are ranked.
        names
            .chain(begun)
            .chain(executors)
            .chain(processes)
            .chain(standings)
            .chain(lag)
            .chain(decided)
            .chain(self.added())
            .chain(self.epochs())
            .chain(tasks)
            .chain(differences)
            .chain(adding_ended)
            .chain(changes)
            .chain([
                Record::Broadcast(self.broadcast),
                Record::Totals { repeated: self.repeated, latest: self.latest },
            ])
    }

    /// What the search decided, in order, each with its moment.
    pub(super) fn decided(&self) -> impl Iterator<Item = (VirtualTime, Decided)> {
        self.asked().filter_map(|(v, asked)| Some((v, self.decided_as(asked)?)))
    }

    /// The same for readers, who know the trials by their numbers.
    pub(super) fn search_steps(&self) -> impl Iterator<Item = SearchStep> {
        let act = |asked: Asked| match asked {
            Asked::Start(trial) => {
                let until_epoch = self.trial(trial).and_then(|known| known.until_epoch);
                SearchAct::Start { trial, until_epoch }
            }
            Asked::Continue { trial, until_epoch } => SearchAct::Continue { trial, until_epoch },
            Asked::Ended => SearchAct::Ended,
        };
        self.asked().map(move |(v, asked)| SearchStep { v, act: act(asked) })
    }

    fn asked(&self) -> impl Iterator<Item = (VirtualTime, Asked)> {
        let mut moments = self.moments.iter().peekable();
        let mut v = VirtualTime::default();
        self.decisions.iter().zip(0..).map(move |(asked, number)| {
            while let Some((_, moment)) = moments.next_if(|(first, _)| *first <= number) {
                v = *moment;
            }
            (v, *asked)
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

#[cfg(test)]
mod tests {
    use broadsweep_common::codec;
    use broadsweep_common::configuration::{Configuration, Value};
    use broadsweep_common::ids::{AttemptId, TrialId};
    use broadsweep_common::task::{Select, TaskKind};
    use broadsweep_scheduler::{Cost, Moment, Priority};
    use broadsweep_search::Origin;

    use super::*;
    use crate::records::attempt::AttemptEnd;
    use crate::run::record::{Spent, TrialNeeds};

    /// An executor and a task.
    fn book(records: &[Record]) -> Book {
        let mut book = Book::new(Select::Validation.objective().into());
        let kind = TaskKind::Apply { partition: 0 };
        let task = NewTask { kind, cost: 1, priority: Priority::longest_first(Cost(1)), inputs: Vec::new() };
        for record in [
            Record::Executor { executor: ExecutorId(0), name: "a:1".into() },
            Record::TasksAdded { first: TaskId(0), tasks: vec![task] },
        ] {
            book.apply(&record).unwrap();
        }
        for record in records {
            book.apply(record).unwrap();
        }
        book
    }

    fn told_again(book: &Book) -> (Vec<Record>, Book) {
        let records: Vec<_> = book.records().collect();
        let mut read = Book::new(book.ranking.objectives().clone());
        for record in &records {
            read.apply(record).unwrap();
        }
        (records, read)
    }

    #[test]
    fn the_process_of_an_executor_is_known_to_the_next_driver() {
        let process = |number, instance| Record::Process { executor: ExecutorId(number), instance };
        let mut book = book(&[process(0, 7), process(0, 8)]);
        let (_, read) = told_again(&book);
        assert_eq!((read.process_of(ExecutorId(0)), read.process_of(ExecutorId(1))), (Some(8), None));
        assert!(book.apply(&process(1, 7)).is_err(), "there is no such executor");
    }

    #[test]
    fn a_refusal_is_told_on_until_its_executor_is_another_process() {
        let (attempt, at) = (AttemptId { task: TaskId(0), number: 1 }, Moment(0));
        let process = |instance| Record::Process { executor: ExecutorId(0), instance };
        let end = AttemptEnd::Refused { needed_bytes: 2, available_bytes: 1 };
        let refused = [
            process(7),
            Record::Launched { attempt, executor: ExecutorId(0), from_epoch: 0, at },
            Record::Ended { attempt, end, spent: Spent::default(), at },
        ];
        let (_, mut read) = told_again(&book(&refused));
        let refused_on = |book: &Book| book.tasks[0].history(at, |_| true).refused_on;
        assert_eq!(refused_on(&read), [ExecutorId(0)]);
        read.apply(&process(7)).unwrap();
        assert_eq!(refused_on(&read), [ExecutorId(0)]);
        read.apply(&process(8)).unwrap();
        assert_eq!(refused_on(&read), []);
        assert_eq!(refused_on(&told_again(&read).1), []);
    }

    /// The number of the first decision of each record, and how many there are.
    fn told(decisions: Vec<(VirtualTime, Decided)>) -> Vec<(u32, usize)> {
        let told = decided(5, decisions.into_iter()).map(|record| match record {
            Record::Decided { first, decisions, .. } => (first, decisions.len()),
            other => panic!("{other:?}"),
        });
        told.collect()
    }

    #[test]
    fn decisions_of_one_moment_share_a_record_as_far_as_it_goes() {
        let go_on = |v| (VirtualTime(v), Decided::Continue { trial: TrialId(0), until_epoch: 1 });
        assert_eq!(told(vec![go_on(0), go_on(0), go_on(1)]), [(5, 2), (7, 1)]);
        let pieces = [(5, PIECE), (5 + PIECE as u32, PIECE), (5 + 2 * PIECE as u32, 1)];
        assert_eq!(told(vec![go_on(0); 2 * PIECE + 1]), pieces);

        let start = |letters: usize| Decided::Start {
            configuration: Configuration::from_iter([("name", Value::Choice("x".repeat(letters)))]),
            origin: Origin::Point(0),
            until_epoch: None,
            needs: TrialNeeds::default(),
        };
        let letters = Value::Choice(String::new()).to_string().len();
        assert_eq!(bytes_of(&start(3)), DECISION_BYTES + PARAMETER_BYTES + "name".len() + letters + 3);
        let quarter = start(PIECE_BYTES / 4 - bytes_of(&start(0)));
        assert_eq!(told(vec![(VirtualTime(0), quarter); 9]), [(5, 4), (9, 4), (13, 1)]);
    }

    #[test]
    fn tasks_fill_records_that_say_which_is_the_first() {
        let kind = TaskKind::Apply { partition: 0 };
        let task = NewTask { kind, cost: 1, priority: Priority::longest_first(Cost(1)), inputs: Vec::new() };
        let told = added(TaskId(5), vec![task; 2 * PIECE + 1]).map(|record| match record {
            Record::TasksAdded { first, tasks } => (first.0, tasks.len()),
            other => panic!("{other:?}"),
        });
        let pieces = [(5, PIECE), (5 + PIECE as u32, PIECE), (5 + 2 * PIECE as u32, 1)];
        assert_eq!(told.collect::<Vec<_>>(), pieces);
        assert_eq!(added(TaskId(5), Vec::new()).count(), 0);
    }

    #[test]
    fn attempts_whose_ends_have_long_reasons_fill_several_records() {
        let failed = (1..=1000).flat_map(|number| {
            let (attempt, at) = (AttemptId { task: TaskId(0), number }, Moment(0));
            let end = AttemptEnd::Failed { reason: "x".repeat(4096) };
            [
                Record::Launched { attempt, executor: ExecutorId(0), from_epoch: 0, at },
                Record::Ended { attempt, end, spent: Spent::default(), at },
            ]
        });
        let book = book(&failed.collect::<Vec<_>>());
        let (records, read) = told_again(&book);
        let largest = records.iter().map(|record| codec::pack(record).unwrap().len()).max();
        assert!(largest.unwrap() < 1 << 20, "{largest:?}");
        assert_eq!(read.tasks, book.tasks);
    }
}
