//! What a book keeps, believes and writes down.

use broadsweep_common::attempt::Durations;
use broadsweep_common::configuration::{Configuration, Value};
use proptest::prelude::*;

use super::*;
use crate::plan::TrialPlan;
use crate::records::attempt::AttemptEnd;
use crate::run::record::{Kept, PlannedCost, Record, Spent};

const EPOCHS: u32 = 3;

fn plan(trials: u32, control: Option<TrialId>) -> StudyPlan {
    let trial = |number| TrialPlan {
        configuration: Configuration([("n".to_owned(), Value::Integer(number))].into()),
        epochs: EPOCHS,
        parameters: 1,
        flops: 300,
        test_flops: 10,
        memory_bytes: 1,
        batch_size: 0,
    };
    StudyPlan { trials: (0..i64::from(trials)).map(trial).collect(), control }
}

fn book(trials: u32, control: Option<TrialId>) -> Book {
    Book::new(plan(trials, control), Select::Validation)
}

fn report(epoch: u32, error: f64) -> EpochReport {
    let validation = Some(Score { loss: 1.0, error });
    EpochReport { epoch, learning_rate: 0.1, training_loss: 2.0, validation, test: None }
}

fn weights(trial: u32) -> Blob<Bytes> {
    Blob::new(Bytes::from(vec![trial as u8])).unwrap()
}

fn attempt(task: u32, number: u32) -> AttemptId {
    AttemptId { task: TaskId(task), number }
}

fn launched(attempt: AttemptId, from_epoch: u32) -> Record {
    Record::Launched { attempt, executor: ExecutorId(0), from_epoch, at: Moment(1) }
}

fn epoch(attempt: AttemptId, report: EpochReport) -> Record {
    Record::Epoch { attempt, report, spent: Spent::from(Durations::default()) }
}

fn trained(task: u32, report: EpochReport, weights: Option<&Blob<Bytes>>) -> Record {
    let weights = weights.map(|weights| weights.manifest.digest());
    Record::Finished { task: TaskId(task), finish: Finish::Trained { report, weights }, at: Moment(9) }
}

fn applied(book: &mut Book, records: &[Record]) {
    for record in records {
        book.apply(record).unwrap();
    }
}

#[test]
fn the_best_is_the_same_in_whatever_order_trials_end() {
    let errors = [0.3, 0.1, 0.1, 0.2];
    for order in [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]] {
        let mut book = book(4, Some(TrialId(0)));
        for number in order {
            let report = report(EPOCHS, errors[number as usize]);
            let blob = book.wants_weights(TrialId(number), &report).then(|| weights(number));
            applied(&mut book, &[trained(number, report, blob.as_ref())]);
            if let Some(blob) = blob {
                book.keep_weights(TrialId(number), blob);
            }
        }
        let (best, blob) = book.best_weights().unwrap();
        assert_eq!((best, &blob.content[..]), (TrialId(1), &[1][..]), "{order:?}");
        assert_eq!(book.candidates(), [TrialId(0), TrialId(1)], "others than the best and the control are kept");
        assert_eq!(book.weights_needed().into_keys().collect::<Vec<_>>(), [TrialId(0), TrialId(1)]);
    }
}

#[test]
fn weights_that_come_after_a_better_trials_are_not_kept() {
    let mut book = book(2, None);
    let [better, worse] = [report(EPOCHS, 0.1), report(EPOCHS, 0.2)];
    assert!(book.wants_weights(TrialId(0), &worse) && book.wants_weights(TrialId(1), &better));
    applied(&mut book, &[trained(1, better, Some(&weights(1)))]);
    assert_eq!(book.keep_weights(TrialId(1), weights(1)), []);
    applied(&mut book, &[trained(0, worse, None)]);
    assert_eq!(book.keep_weights(TrialId(0), weights(0)), [TrialId(0)]);
    assert_eq!(book.candidates(), [TrialId(1)]);
}

#[test]
fn an_attempt_ends_with_an_epoch_that_was_reported() {
    let mut book = book(1, None);
    applied(&mut book, &[launched(attempt(0, 1), 0), epoch(attempt(0, 1), report(1, 0.5))]);
    assert_eq!(book.agrees(TaskId(0), &report(1, 0.5)), Ok(()));
    for other in [report(1, 0.25), report(2, 0.5), report(0, 0.5)] {
        assert!(book.agrees(TaskId(0), &other).is_err(), "{other:?} was believed");
    }
}

#[test]
fn an_epoch_that_is_repeated_has_to_have_the_same_bits() {
    let mut book = book(1, None);
    let [first, second] = [attempt(0, 1), attempt(0, 2)];
    applied(&mut book, &[launched(first, 0), epoch(first, report(1, 0.5)), launched(second, 0)]);
    assert_eq!(book.judge(first, &report(1, 0.5)), Ok(Seen::Before), "handed over twice");
    assert_eq!(book.judge(second, &report(1, 0.5)), Ok(Seen::New));
    let other = report(1, 0.5 + f64::EPSILON);
    assert_eq!(book.judge(second, &other), Err(Contradiction { trial: TrialId(0), epoch: 1 }));
    applied(&mut book, &[epoch(second, report(1, 0.5))]);
    assert_eq!((book.repeated, book.task(TaskId(0)).unwrap().epochs.len()), (1, 1));
    for hostile in [0, 3, EPOCHS + 1, u32::MAX] {
        assert!(book.judge(second, &report(hostile, 0.5)).is_err(), "epoch {hostile} was taken");
    }
}

#[test]
fn an_attempt_that_goes_on_from_a_checkpoint_reports_the_epochs_after_it() {
    let mut book = book(1, None);
    let second = attempt(0, 2);
    applied(&mut book, &[launched(attempt(0, 1), 0), epoch(attempt(0, 1), report(1, 0.5)), launched(second, 1)]);
    assert_eq!(book.judge(second, &report(2, 0.4)), Ok(Seen::New));
    assert_eq!(book.judge(second, &report(1, 0.5)), Ok(Seen::Before), "it started at the beginning all the same");
    assert!(book.judge(second, &report(3, 0.4)).is_err());
}

#[test]
fn a_finished_task_leaves_no_attempt_open() {
    let mut book = book(1, None);
    applied(&mut book, &[launched(attempt(0, 1), 0), launched(attempt(0, 2), 0)]);
    let end = AttemptEnd::Completed;
    let ended = Record::Ended { attempt: attempt(0, 2), end, spent: Spent::default(), at: Moment(5) };
    applied(&mut book, &[ended, trained(0, report(1, 0.5), None)]);
    let ends: Vec<_> = book.attempts().map(|attempt| attempt.end.clone().unwrap()).collect();
    assert_eq!(ends, [AttemptEnd::Beaten, AttemptEnd::Completed]);
}

#[test]
fn a_record_that_fits_nothing_is_refused() {
    let stray = attempt(0, 2);
    for record in [
        launched(stray, 0),
        launched(attempt(7, 1), 0),
        Record::Adopted(stray),
        epoch(stray, report(1, 0.5)),
        Record::Executor { executor: ExecutorId(1), name: "b".into() },
        Record::Stands { executor: ExecutorId(0), standing: Standing::Answering, at: Moment(1) },
        Record::Presence { executor: ExecutorId(0), presence: Vec::new() },
        Record::Planned { first: TrialId(1), costs: vec![PlannedCost { epochs: 1, flops: 1, test_flops: 1 }] },
        trained(1, report(1, 0.5), None),
    ] {
        assert!(book(1, None).apply(&record).is_err(), "{record:?} was taken");
    }
}

/// Records that a run could write, in an order in which it could: `choices` drives a small random run.
fn story(choices: &[u8]) -> Vec<Record> {
    let mut records = vec![Record::Executor { executor: ExecutorId(0), name: "a".into() }];
    let mut tasks = [(0_u32, 0_u32, false); 3]; // attempts, epochs known, over
    for choice in choices {
        let number = usize::from(choice % 3);
        let (attempts, epochs, over) = &mut tasks[number];
        let task = TaskId(number as u32);
        let newest = AttemptId { task, number: *attempts };
        match choice / 3 % 5 {
            _ if *over => {}
            0 => {
                *attempts += 1;
                records.push(launched(AttemptId { task, number: *attempts }, *epochs));
            }
            1 if *attempts > 0 && *epochs < EPOCHS => {
                *epochs += 1;
                records.push(epoch(newest, report(*epochs, f64::from(*choice))));
            }
            2 if *epochs > 0 => {
                let checkpoint = Kept { epoch: *epochs, blob: Digest::of(&[*choice]) };
                records.push(Record::Checkpointed { task, checkpoint });
            }
            3 if *attempts > 0 => {
                let end = AttemptEnd::Lost { reason: format!("reason {choice}") };
                records.push(Record::Ended { attempt: newest, end, spent: Spent::default(), at: Moment(7) });
            }
            4 if *epochs > 0 && *attempts > 0 => {
                *over = true;
                let finish = Finish::Trained { report: report(*epochs, f64::from(*choice)), weights: None };
                records.push(Record::Completed { attempt: newest, spent: Spent::default(), finish, at: Moment(8) });
            }
            _ => {}
        }
    }
    records
}

proptest! {
    #[test]
    fn what_a_compaction_leaves_adds_up_to_the_same(choices in prop::collection::vec(any::<u8>(), 0..60)) {
        let (mut told, mut read) = (book(3, None), book(3, None));
        applied(&mut told, &story(&choices));
        applied(&mut read, &told.records().collect::<Vec<_>>());
        prop_assert_eq!(&read.executors, &told.executors);
        prop_assert_eq!(read.best, told.best);
        prop_assert_eq!(read.misfortunes, told.misfortunes);
        prop_assert_eq!(read.latest(), told.latest());
        for (read, told) in read.tasks.iter().zip(&told.tasks) {
            prop_assert_eq!(&read.epochs, &told.epochs);
            prop_assert_eq!(&read.attempts, &told.attempts);
            prop_assert_eq!((&read.finish, read.checkpoint), (&told.finish, told.checkpoint));
        }
    }
}
