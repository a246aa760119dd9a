//! What a book keeps, believes and writes down.

use broadsweep_common::attempt::{Artifact, ArtifactName, Durations, Ended};
use broadsweep_common::configuration::{Configuration, Value};
use broadsweep_common::task::{Replicate, Segment, Select};
use broadsweep_scheduler::{Cost, Priority};
use broadsweep_search::Origin;
use proptest::prelude::*;

use super::*;
use crate::records::attempt::AttemptEnd;
use crate::records::difference::{DifferenceRecord, Odd};
use crate::run::judge::{Contradiction, JudgedEnd, Seen};
use crate::run::record::{Decided, Input, NewTask, Record, Spent, TrialNeeds};

#[path = "differing_tests.rs"]
mod differing;
#[path = "fold_tests.rs"]
mod folding;
#[path = "judge_tests.rs"]
mod judging;

const EPOCHS: u32 = 3;
const NEEDS: TrialNeeds =
    TrialNeeds { epochs: EPOCHS, cost: 300, test_cost: 10, memory_bytes: 1, makes_weights: true };

fn objective() -> Objectives {
    Select::Validation.objective().into()
}

fn start(number: u32, origin: Origin) -> Decided {
    let configuration = Configuration::from_iter([("n", Value::Integer(i64::from(number)))]);
    Decided::Start { configuration, origin, until_epoch: None, needs: NEEDS }
}

fn segment(trial: u32, from_epoch: u32, until_epoch: u32) -> Segment {
    Segment { replicate: Replicate::first(TrialId(trial)), from_epoch, until_epoch }
}

fn training(segment: Segment, inputs: Vec<Input>) -> NewTask {
    let priority = Priority::longest_first(Cost(300));
    NewTask { kind: TaskKind::Train(segment), cost: 300, priority, inputs }
}

/// An executor told other numbers of an epoch than it did before.
fn difference(trial: u32, odd: Odd) -> Record {
    let (trial, executor) = (TrialId(trial), ExecutorId(0));
    let row = Some(Row { names: 0, values: vec![2.0, 0.75] });
    let told = DifferenceRecord { trial, epoch: 1, first: executor, other: executor, odd };
    Record::Differs {
        replicate: Replicate::first(trial),
        difference: Difference { told, attempt: attempt(0, 1), row },
    }
}

/// Trials that train to their end, the first of them the control if there is one.
fn begun(trials: u32, has_control: bool) -> Vec<Record> {
    let origin = |number| if has_control && number == 0 { Origin::Control } else { Origin::Point(u64::from(number)) };
    let decisions = (0..trials).map(|number| start(number, origin(number))).collect();
    let tasks = (0..trials).map(|number| training(segment(number, 0, EPOCHS), Vec::new())).collect();
    vec![
        Record::Names(vec![MetricName::TRAINING_LOSS, MetricName::VALIDATION_ERROR]),
        Record::Decided { first: 0, v: VirtualTime(0), decisions },
        Record::TasksAdded { first: TaskId(0), tasks },
    ]
}

fn book(trials: u32, has_control: bool) -> Book {
    let mut book = Book::new(objective());
    applied(&mut book, &begun(trials, has_control));
    book
}

fn metrics(error: f64) -> Metrics {
    [(MetricName::TRAINING_LOSS, 2.0), (MetricName::VALIDATION_ERROR, error)].into_iter().collect()
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

fn epoch(attempt: AttemptId, epoch: u32, error: f64) -> Record {
    let row = Row { names: 0, values: vec![2.0, error] };
    Record::Epoch { attempt, epoch, row, spent: Spent::from(Durations::default()) }
}

fn trained(task: u32, epoch: u32, weights: Option<&Blob<Bytes>>) -> Record {
    let weights = weights.map(|weights| weights.manifest.digest());
    Record::Finished { task: TaskId(task), finish: Finish::Trained { epoch, weights }, at: Moment(9) }
}

/// A training of one epoch, up to its end.
fn one_epoch(task: u32, error: f64) -> [Record; 2] {
    [launched(attempt(task, 1), 0), epoch(attempt(task, 1), 1, error)]
}

fn applied(book: &mut Book, records: &[Record]) {
    for record in records {
        book.apply(record).unwrap();
    }
}

/// Whether the report of an epoch is news, and whether it differs from what stands.
fn judge(book: &Book, attempt: AttemptId, epoch: u32, error: f64) -> Result<(Seen, bool), Contradiction> {
    let judged = book.judge_epoch(attempt, epoch, &metrics(error)).unwrap();
    judged.map(|judged| (judged.seen, judged.differs))
}

#[test]
fn the_best_is_the_same_in_whatever_order_trials_end() {
    let errors = [0.3, 0.1, 0.1, 0.2];
    for order in [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]] {
        let mut book = book(4, true);
        for number in order {
            applied(&mut book, &one_epoch(number, errors[number as usize]));
            let blob = book.wants_weights(TrialId(number), 1).then(|| weights(number));
            applied(&mut book, &[trained(number, 1, blob.as_ref())]);
            if let Some(blob) = blob {
                book.keep_weights(TrialId(number), blob);
            }
        }
        let (best, blob) = book.best_weights().unwrap();
        assert_eq!((best, &blob.content[..]), (TrialId(1), &[1][..]), "{order:?}");
        let kept: Vec<_> = book.candidates().map(|(trial, _)| trial).collect();
        assert_eq!(kept, [TrialId(0), TrialId(1)], "others than the best and the control are kept");
        assert_eq!(book.weights_needed().into_keys().collect::<Vec<_>>(), [TrialId(0), TrialId(1)]);
    }
}

#[test]
fn weights_that_come_after_a_better_trials_are_not_kept() {
    let mut book = book(2, false);
    applied(&mut book, &[one_epoch(0, 0.2), one_epoch(1, 0.1)].concat());
    assert!(book.wants_weights(TrialId(0), 1) && book.wants_weights(TrialId(1), 1));
    applied(&mut book, &[trained(1, 1, Some(&weights(1)))]);
    assert_eq!(book.keep_weights(TrialId(1), weights(1)), []);
    applied(&mut book, &[trained(0, 1, None)]);
    assert_eq!(book.keep_weights(TrialId(0), weights(0)), [TrialId(0)]);
    assert_eq!(book.candidates().map(|(trial, _)| trial).collect::<Vec<_>>(), [TrialId(1)]);
}

#[test]
fn an_attempt_that_goes_on_from_a_checkpoint_reports_the_epochs_after_it() {
    let mut book = book(1, false);
    let second = attempt(0, 2);
    applied(&mut book, &[launched(attempt(0, 1), 0), epoch(attempt(0, 1), 1, 0.5), launched(second, 1)]);
    assert_eq!(judge(&book, second, 2, 0.4), Ok((Seen::New, false)));
    assert_eq!(judge(&book, second, 1, 0.5), Ok((Seen::Before, false)), "it started at the beginning all the same");
    assert!(judge(&book, second, 3, 0.4).is_err());
}

/// A trial that pauses after its first epoch, and what it pauses with.
fn paused() -> (Book, SafeCheckpoint) {
    let mut book = Book::new(objective());
    let [names, _, _] = begun(0, false).try_into().unwrap();
    let Decided::Start { configuration, origin, needs, .. } = start(0, Origin::Point(0)) else { unreachable!() };
    let decided = Decided::Start { configuration, origin, until_epoch: Some(1), needs };
    let checkpoint = SafeCheckpoint { epoch: 1, blob: Digest::of(b"state") };
    let finish = Finish::Paused { epoch: 1, checkpoint };
    let spent = Spent::default();
    applied(
        &mut book,
        &[
            names,
            Record::Decided { first: 0, v: VirtualTime(0), decisions: vec![decided] },
            Record::TasksAdded { first: TaskId(0), tasks: vec![training(segment(0, 0, 1), Vec::new())] },
            launched(attempt(0, 1), 0),
            epoch(attempt(0, 1), 1, 0.5),
            Record::Completed { attempt: attempt(0, 1), spent, finish, at: Moment(5) },
        ],
    );
    (book, checkpoint)
}

fn continued(checkpoint: SafeCheckpoint) -> [Record; 2] {
    let decisions = vec![Decided::Continue { trial: TrialId(0), until_epoch: EPOCHS }];
    let input = Input::Checkpoint { task: TaskId(0), checkpoint };
    let tasks = vec![training(segment(0, 1, EPOCHS), vec![input])];
    [Record::Decided { first: 1, v: VirtualTime(1), decisions }, Record::TasksAdded { first: TaskId(1), tasks }]
}

#[test]
fn a_segment_goes_on_where_the_one_before_it_paused() {
    let (mut book, checkpoint) = paused();
    assert_eq!(book.ended().count(), 0, "a trial that has paused is not over");
    assert_eq!(book.checkpoints().collect::<Vec<_>>(), [(TaskId(0), checkpoint)]);
    assert_eq!(book.paused_at(TrialId(0)), Some(1));
    applied(&mut book, &continued(checkpoint));
    assert_eq!(book.paused_at(TrialId(0)), None);
    assert_eq!(book.trial(TrialId(0)).unwrap().segments().collect::<Vec<_>>(), [TaskId(0), TaskId(1)]);
    let task = book.task(TaskId(1)).unwrap();
    assert_eq!(
        (task.begins_after(), task.needs(TaskId(1))),
        (1, vec![Input::Checkpoint { task: TaskId(0), checkpoint }])
    );
    let second = attempt(1, 1);
    applied(&mut book, &[launched(second, 1)]);
    assert!(judge(&book, second, EPOCHS + 1, 0.5).is_err());
    assert_eq!(judge(&book, second, 1, 0.5), Ok((Seen::Before, false)), "the checkpoint was lost");
    assert_eq!(judge(&book, second, 1, 0.25), Ok((Seen::Before, true)), "what the segment before reported stands");
    applied(&mut book, &[epoch(second, 2, 0.4), epoch(second, 3, 0.3)]);
    let paused_again = Ended::Trained {
        epoch: 3,
        artifacts: vec![Artifact { name: ArtifactName::Checkpoint, blob: Digest::of(b"x") }],
    };
    assert!(book.judge_end(TaskId(1), &paused_again).is_err(), "nothing is left to pause for");
    applied(&mut book, &[trained(1, 3, None)]);
    assert_eq!(book.ranking.best(), Some((TrialId(0), 0.3.into())));
    assert_eq!(book.checkpoints().count(), 0, "nobody needs what lies between two segments that are over");
    assert_eq!(book.ended().count(), 1);
}

#[test]
fn a_loss_counts_until_a_newer_checkpoint_is_safe_wherever_its_attempt_began() {
    let mut book = book(1, false);
    let lost = |number| Record::Ended {
        attempt: attempt(0, number),
        end: AttemptEnd::Lost { reason: "gone".into() },
        spent: Spent::default(),
        at: Moment(number.into()),
    };
    let safe = |epoch| Record::Checkpointed {
        task: TaskId(0),
        checkpoint: SafeCheckpoint { epoch, blob: Digest::of(&[epoch as u8]) },
    };
    let lost_on = |book: &Book| book.task(TaskId(0)).unwrap().history(Moment(0), |_| true).lost_on.len();
    applied(&mut book, &[launched(attempt(0, 1), 0), lost(1)]);
    assert_eq!(lost_on(&book), 1);
    // It comes to its checkpoint, and is lost behind it: that is no loss before the checkpoint.
    applied(&mut book, &[launched(attempt(0, 2), 0), epoch(attempt(0, 2), 1, 0.5), safe(1), lost(2)]);
    assert_eq!(lost_on(&book), 1);
    applied(&mut book, &[launched(attempt(0, 3), 1), safe(1), lost(3)]);
    assert_eq!(lost_on(&book), 2, "the same checkpoint is no news");
    let mut read = Book::new(objective());
    applied(&mut read, &book.records().collect::<Vec<_>>());
    assert_eq!(lost_on(&read), 2);
    assert_same(&read, &book);
    applied(&mut read, &[launched(attempt(0, 4), 1), epoch(attempt(0, 4), 2, 0.5), safe(2)]);
    assert_eq!(lost_on(&read), 0);
}

#[test]
fn a_finished_task_leaves_no_attempt_open() {
    let mut book = book(1, false);
    applied(&mut book, &[launched(attempt(0, 1), 0), launched(attempt(0, 2), 0), epoch(attempt(0, 2), 1, 0.5)]);
    let end = AttemptEnd::Completed;
    let ended = Record::Ended { attempt: attempt(0, 2), end, spent: Spent::default(), at: Moment(5) };
    applied(&mut book, &[ended, trained(0, 1, None)]);
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
        epoch(stray, 1, 0.5),
        Record::Executor { executor: ExecutorId(1), name: "b".into() },
        Record::Stands { executor: ExecutorId(0), standing: Standing::Answering, at: Moment(1) },
        Record::Standings { executor: ExecutorId(0), standings: Vec::new() },
        Record::Decided { first: 2, v: VirtualTime(0), decisions: Vec::new() },
        Record::Decided {
            first: 1,
            v: VirtualTime(0),
            decisions: vec![Decided::Continue { trial: TrialId(1), until_epoch: 2 }],
        },
        Record::TasksAdded { first: TaskId(2), tasks: Vec::new() },
        Record::TasksAdded { first: TaskId(1), tasks: vec![training(segment(1, 0, 1), Vec::new())] },
        Record::Epochs { replicate: Replicate::first(TrialId(0)), rows: vec![Row { names: 1, values: vec![0.5] }] },
        Record::Epochs {
            replicate: Replicate { trial: TrialId(0), repeat: 1, fold: 0 },
            rows: vec![Row { names: 0, values: vec![2.0, 0.5] }],
        },
        trained(1, 1, None),
    ] {
        assert!(book(1, false).apply(&record).is_err(), "{record:?} was taken");
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
                records.push(epoch(newest, *epochs, f64::from(*choice)));
            }
            2 if *epochs > 0 => {
                let checkpoint = SafeCheckpoint { epoch: *epochs, blob: Digest::of(&[*choice]) };
                records.push(Record::Checkpointed { task, checkpoint });
            }
            3 if *attempts > 0 => {
                let end = AttemptEnd::Lost { reason: format!("reason {choice}") };
                records.push(Record::Ended { attempt: newest, end, spent: Spent::default(), at: Moment(7) });
            }
            4 if *epochs > 0 && *attempts > 0 => {
                *over = true;
                let finish = Finish::Trained { epoch: *epochs, weights: None };
                records.push(Record::Completed { attempt: newest, spent: Spent::default(), finish, at: Moment(8) });
            }
            _ => {}
        }
    }
    records
}

fn assert_same(read: &Book, told: &Book) {
    assert_eq!(read.executors, told.executors);
    assert_eq!(read.ranking, told.ranking);
    assert_eq!(read.misfortunes, told.misfortunes);
    assert_eq!(read.latest(), told.latest());
    assert_eq!((&read.decisions, &read.moments), (&told.decisions, &told.moments));
    assert_eq!((&read.trials, &read.tasks, &read.differences), (&told.trials, &told.tasks, &told.differences));
    assert_eq!((read.adding_ended, read.control), (told.adding_ended, told.control));
}

#[test]
fn a_compaction_keeps_decisions_segments_and_their_moments() {
    let (mut told, checkpoint) = paused();
    applied(&mut told, &continued(checkpoint));
    applied(
        &mut told,
        &[
            Record::Decided {
                first: 2,
                v: VirtualTime(1),
                decisions: vec![start(1, Origin::Draw(4)), Decided::Ended],
            },
            Record::TasksAdded { first: TaskId(2), tasks: vec![training(segment(1, 0, EPOCHS), Vec::new())] },
            Record::Executor { executor: ExecutorId(0), name: "a".to_owned() },
            difference(1, Odd::Unknown),
            difference(0, Odd::Sought),
        ],
    );
    assert_eq!(told.moments, [(0, VirtualTime(0)), (1, VirtualTime(1))]);
    assert_eq!(told.missing_checks().len(), 1, "one is not looked into");
    applied(&mut told, &[Record::AddingEnded]);
    assert_eq!(told.missing_checks().len(), 0, "it is too late");
    let mut read = Book::new(objective());
    applied(&mut read, &told.records().collect::<Vec<_>>());
    assert_same(&read, &told);
    assert!(read.search_has_ended());
}

proptest! {
    #[test]
    fn what_a_compaction_leaves_adds_up_to_the_same(choices in prop::collection::vec(any::<u8>(), 0..60)) {
        let (mut told, mut read) = (book(3, true), Book::new(objective()));
        applied(&mut told, &story(&choices));
        applied(&mut read, &told.records().collect::<Vec<_>>());
        assert_same(&read, &told);
    }
}
