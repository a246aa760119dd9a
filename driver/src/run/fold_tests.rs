//! What records add up to.

use std::time::Duration;

use super::*;

const EXECUTOR: ExecutorId = ExecutorId(0);

/// A book of one trial that knows so many executors.
fn with_executors(number: u32) -> Book {
    let mut book = book(1, false);
    for number in 0..number {
        let name = format!("node{number}:1");
        applied(&mut book, &[Record::Executor { executor: ExecutorId(number), name }]);
    }
    book
}

fn stands(executor: u32, standing: Standing, at_s: u64) -> Record {
    Record::Stands { executor: ExecutorId(executor), standing, at: Moment(at_s * 1_000_000) }
}

fn ended(number: u32, end: AttemptEnd) -> Record {
    Record::Ended { attempt: attempt(0, number), end, spent: Spent::default(), at: Moment(9) }
}

fn lost(number: u32) -> Record {
    ended(number, AttemptEnd::Lost { reason: "gone".to_owned() })
}

fn failed(number: u32) -> Record {
    ended(number, AttemptEnd::Failed { reason: "broken".to_owned() })
}

#[test]
fn what_a_process_refused_it_is_not_asked_again_and_another_process_is() {
    let mut book = with_executors(2);
    let other = ExecutorId(1);
    let refused = AttemptEnd::Refused { needed_bytes: 2, available_bytes: 1 };
    let on_other = Record::Launched { attempt: attempt(0, 2), executor: other, from_epoch: 0, at: Moment(2) };
    applied(&mut book, &[launched(attempt(0, 1), 0), ended(1, refused.clone()), on_other, ended(2, refused)]);
    let refused_on = |book: &Book| book.task(TaskId(0)).unwrap().refused_on.clone();
    for (instance, executors) in [(7, vec![EXECUTOR, other]), (7, vec![EXECUTOR, other]), (8, vec![other])] {
        applied(&mut book, &[Record::Process { executor: EXECUTOR, instance }]);
        assert_eq!((book.process_of(EXECUTOR), refused_on(&book)), (Some(instance), executors));
    }
    assert_eq!(book.process_of(other), None);
}

#[test]
fn how_an_executor_stood_is_remembered_where_it_changed_and_not_without_end() {
    let mut book = with_executors(1);
    applied(&mut book, &[stands(0, Standing::Gone, 1), stands(0, Standing::Unasked, 2)]);
    assert_eq!(book.standings[0], [], "it was not there before");
    let ready = Standing::Ready { slots: 3 };
    for (standing, at_s) in [(Standing::Answering, 3), (Standing::Answering, 4), (ready, 5), (Standing::Gone, 6)] {
        applied(&mut book, &[stands(0, standing, at_s)]);
    }
    let since = |at_s, standing| StandingSince { at_s, standing };
    let expected = [since(3.0, Standing::Answering), since(5.0, ready), since(6.0, Standing::Gone)];
    assert_eq!(book.standings[0], expected);
    for at_s in 7..10_101 {
        applied(&mut book, &[stands(0, if at_s % 2 == 0 { Standing::Gone } else { Standing::Answering }, at_s)]);
    }
    assert_eq!((book.standings[0].len(), book.standing_of(EXECUTOR)), (10_000, Standing::Gone));
}

#[test]
fn those_took_part_that_were_ever_ready_with_the_slots_that_they_had_last() {
    let mut book = with_executors(3);
    for (executor, slots) in [(0, 9), (0, 3), (1, 2)] {
        applied(&mut book, &[stands(executor, Standing::Ready { slots }, 1), stands(executor, Standing::Gone, 2)]);
    }
    assert_eq!(book.took_part(), (2, 5));
}

#[test]
fn an_attempt_took_what_its_epochs_and_its_end_took() {
    let mut book = with_executors(1);
    let spent =
        Spent::from(Durations { training: Duration::from_secs(4), evaluation: Duration::from_secs(1), used: None });
    let of_epoch = |number| {
        let row = Row { names: 0, values: vec![2.0, 0.5] };
        Record::Epoch { attempt: attempt(0, 1), epoch: number, row, spent }
    };
    let end = Record::Ended { attempt: attempt(0, 1), end: AttemptEnd::Completed, spent, at: Moment(9_000_000) };
    applied(&mut book, &[launched(attempt(0, 1), 0), of_epoch(1), of_epoch(2), end]);
    let record = book.attempt(attempt(0, 1)).unwrap();
    let took = [record.training_s, record.evaluation_s, record.ended_s].map(|seconds| seconds as u64);
    assert_eq!(took, [12, 3, 9]);
}

#[test]
fn misfortunes_are_counted_until_one_turns_out_to_be_none() {
    let mut book = with_executors(1);
    applied(&mut book, &[launched(attempt(0, 1), 0), lost(1), launched(attempt(0, 2), 0), failed(2)]);
    assert_eq!(book.misfortunes, (1, 1));
    applied(&mut book, &[Record::Adopted(attempt(0, 1))]);
    assert_eq!(book.misfortunes, (0, 1));
    applied(&mut book, &[lost(1), launched(attempt(0, 3), 0), lost(3)]);
    assert_eq!(book.misfortunes, (2, 1));
}

#[test]
fn a_task_is_held_for_what_may_still_run_and_keeps_off_where_its_program_failed() {
    let mut book = with_executors(1);
    let history = |book: &Book, may_hold| book.task(TaskId(0)).unwrap().history(Moment(5), |_| may_hold);
    applied(&mut book, &[launched(attempt(0, 1), 0)]);
    let held = [true, false].map(|may_hold| history(&book, may_hold).held_until);
    assert_eq!(held, [Some(Moment(5)), None]);
    applied(&mut book, &[failed(1), launched(attempt(0, 2), 0), lost(2)]);
    let told = history(&book, true);
    assert_eq!((told.held_until, told.attempts), (None, 2));
    assert_eq!((told.failed_on, told.lost_on), (vec![EXECUTOR], vec![EXECUTOR]));
    let doubted = AttemptEnd::Doubted { reason: "odd".to_owned() };
    applied(&mut book, &[launched(attempt(0, 3), 0), ended(3, doubted)]);
    let told = history(&book, true);
    assert_eq!((told.failed_on.len(), told.doubted_on), (1, vec![EXECUTOR]));
}

#[test]
fn the_attempt_with_the_result_is_its_tasks_and_otherwise_the_last_one() {
    let mut book = with_executors(1);
    applied(&mut book, &[launched(attempt(0, 1), 0), lost(1), launched(attempt(0, 2), 0)]);
    let completing = |book: &Book| book.task(TaskId(0)).unwrap().completing().unwrap().attempt.number;
    assert_eq!(completing(&book), 2);
    let finish = Finish::Trained { epoch: 1, weights: None };
    let completed = Record::Completed { attempt: attempt(0, 2), spent: Spent::default(), finish, at: Moment(9) };
    applied(&mut book, &[epoch(attempt(0, 2), 1, 0.5), launched(attempt(0, 3), 0), completed]);
    assert_eq!(completing(&book), 2, "the third one was beaten");
}

#[test]
fn a_task_reports_an_epoch_at_least() {
    let task = TaskBook::new(training(segment(0, 2, 2), Vec::new()));
    assert_eq!((task.forecast().from_epoch, task.forecast().until_epoch), (2, 3));
}

#[test]
fn attempts_are_written_down_in_records_that_the_journal_takes() {
    let mut book = with_executors(1);
    for number in 1..=5 {
        let end = AttemptEnd::Failed { reason: "x".repeat(50_000) };
        applied(&mut book, &[launched(attempt(0, number), 0), ended(number, end)]);
    }
    let pieces = book.task(TaskId(0)).unwrap().records(TaskId(0)).map(|record| match record {
        Record::Attempts(attempts) => attempts.len(),
        other => panic!("{other:?}"),
    });
    assert_eq!(pieces.collect::<Vec<_>>(), [2, 2, 1]);
}

#[test]
fn a_run_is_over_once_no_task_comes_and_all_that_came_are_finished() {
    let mut book = with_executors(1);
    assert!(!book.is_over());
    applied(&mut book, &[Record::AddingEnded]);
    assert!(!book.is_over(), "a trial is not trained");
    applied(&mut book, &[launched(attempt(0, 1), 0), epoch(attempt(0, 1), 1, 0.5), trained(0, 1, None)]);
    assert!(book.is_over());
    book.adding_ended = false;
    assert!(!book.is_over(), "more may come");
}

#[test]
fn lists_of_metrics_have_an_end() {
    let mut book = Book::new(objective());
    let list = |number: u32| Record::Names(vec![MetricName::new(&format!("metric {number}")).unwrap()]);
    for number in 0..4096 {
        assert!(book.has_room_for_names(), "list {number}");
        applied(&mut book, &[list(number)]);
    }
    assert!(!book.has_room_for_names() && book.apply(&list(4096)).is_err());
}

#[test]
fn a_run_is_known_up_to_whatever_happened_last() {
    let mut book = book(1, false);
    assert_eq!(book.latest(), Moment(0));
    applied(&mut book, &one_epoch(0, 0.5));
    assert_eq!(book.latest(), Moment(1));
    applied(&mut book, &[trained(0, 1, None)]);
    assert_eq!(book.latest(), Moment(9));
    applied(&mut book, &[Record::Closed(Moment(5))]);
    assert_eq!(book.latest(), Moment(9), "a clock that goes back takes nothing away");
}

#[test]
fn what_came_out_of_partitions_stays_in_the_folder() {
    let mut book = book(1, false);
    let partition =
        |partition| NewTask { kind: TaskKind::Apply { partition }, ..training(segment(0, 0, EPOCHS), Vec::new()) };
    let finish = Finish::Applied { output: Digest::of(b"rows") };
    applied(
        &mut book,
        &[
            Record::TasksAdded { first: TaskId(1), tasks: vec![partition(0), partition(1)] },
            Record::Finished { task: TaskId(2), finish, at: Moment(2) },
        ],
    );
    assert_eq!(book.outputs().collect::<Vec<_>>(), [TaskId(2)]);
    assert_eq!(crate::run::names::needed(&book).into_iter().collect::<Vec<_>>(), ["outputs/t2"]);
}
