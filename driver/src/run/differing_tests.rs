//! What a book knows of numbers that executors told differently.

use super::*;

/// Executors `a`, `b` and `c`; the first trial's first epoch was told by `a`, and `b` told another error of it.
fn differing(odd: Odd) -> Book {
    let mut book = book(2, false);
    for (number, name) in (0..).zip(["a", "b", "c"]) {
        applied(&mut book, &[Record::Executor { executor: ExecutorId(number), name: name.into() }]);
    }
    applied(&mut book, &one_epoch(0, 0.5));
    applied(&mut book, &[told_by(1, odd)]);
    book
}

fn told_by(other: u32, odd: Odd) -> Record {
    let Record::Differs { replicate, mut difference } = difference(0, odd) else { unreachable!() };
    difference.told.other = ExecutorId(other);
    Record::Differs { replicate, difference }
}

const REPLICATE: Replicate = Replicate { trial: TrialId(0), repeat: 0, fold: 0 };

#[test]
fn a_difference_is_between_executors_and_of_a_trial_that_are_there() {
    let mut book = differing(Odd::Sought);
    let Record::Differs { difference, .. } = told_by(1, Odd::Sought) else { unreachable!() };
    let (executor, trial) = (ExecutorId(3), TrialId(2));
    let with = |change: &dyn Fn(&mut Difference)| {
        let mut changed = difference.clone();
        change(&mut changed);
        changed
    };
    assert!(book.differ(REPLICATE, &difference).is_ok());
    for stray in [
        with(&|it| it.told.first = executor),
        with(&|it| it.told.other = executor),
        with(&|it| it.told.trial = TrialId(1)),
        with(&|it| it.row = Some(Row { names: 0, values: vec![0.5] })),
    ] {
        assert!(book.differ(REPLICATE, &stray).is_err(), "{stray:?} was taken");
    }
    assert!(book.differ(Replicate::first(trial), &with(&|it| it.told.trial = trial)).is_err());
}

#[test]
fn other_numbers_are_wrong_once_all_that_was_asked_about_is_settled() {
    let mut book = differing(Odd::Sought);
    let wrong = |book: &Book| (1..=3).filter(|epoch| book.are_wrong(REPLICATE, *epoch)).collect::<Vec<_>>();
    assert!(wrong(&book).is_empty());
    applied(&mut book, &[told_by(1, Odd::Other)]);
    assert_eq!(wrong(&book), [1, 2, 3]);
    let Record::Differs { replicate, mut difference } = told_by(1, Odd::Sought) else { unreachable!() };
    difference.told.epoch = 3;
    book.differ(replicate, &difference).unwrap();
    assert_eq!(wrong(&book), [1], "epoch 2 waits for what is found out of epoch 3");
    assert!(!book.are_wrong(Replicate::first(TrialId(1)), 1));
}

#[test]
fn a_check_is_not_asked_of_those_that_differ() {
    let book = differing(Odd::Sought);
    assert_eq!(book.parties_of(TaskKind::Check(segment(0, 0, 1))), [ExecutorId(0), ExecutorId(1)]);
    assert_eq!(book.parties_of(TaskKind::Check(segment(1, 0, 1))), []);
    assert_eq!(book.parties_of(TaskKind::Train(segment(0, 0, 1))), []);
}

#[test]
fn one_check_is_missing_until_it_is_there_or_nobody_asks_any_more() {
    let missing = differing(Odd::Sought).missing_checks();
    assert_eq!(missing.iter().map(|task| task.kind).collect::<Vec<_>>(), [TaskKind::Check(segment(0, 0, 1))]);
    for odd in [Odd::First, Odd::Other, Odd::Unknown] {
        assert_eq!(differing(odd).missing_checks(), [], "{odd:?}");
    }
    let mut book = differing(Odd::Sought);
    applied(&mut book, &[Record::TasksAdded { first: TaskId(2), tasks: missing }]);
    assert_eq!(book.missing_checks(), []);
}

#[test]
fn those_that_told_an_epoch_are_known_in_order() {
    let mut book = differing(Odd::Sought);
    let launch = |number, executor, from_epoch| Record::Launched {
        attempt: attempt(0, number),
        executor: ExecutorId(executor),
        from_epoch,
        at: Moment(2),
    };
    applied(&mut book, &[launch(2, 2, 0), epoch(attempt(0, 2), 1, 0.5), epoch(attempt(0, 2), 2, 0.4)]);
    applied(&mut book, &[launch(3, 1, 1), epoch(attempt(0, 3), 2, 0.4)]);
    for (number, executors) in [(1, vec![0, 2]), (2, vec![2, 1]), (3, Vec::new())] {
        let tellers: Vec<_> = book.tellers(REPLICATE, number).iter().map(|executor| executor.0).collect();
        assert_eq!(tellers, executors, "epoch {number}");
    }
}

#[test]
fn an_epoch_that_the_odd_one_was_the_first_to_tell_is_looked_into_too() {
    let told_two_epochs_first = |odd, executor| {
        let mut book = differing(odd);
        let (executor, at) = (ExecutorId(executor), Moment(2));
        let launched = Record::Launched { attempt: attempt(0, 2), executor, from_epoch: 0, at };
        applied(&mut book, &[launched, epoch(attempt(0, 2), 1, 0.5), epoch(attempt(0, 2), 2, 0.25)]);
        book
    };
    for (odd, executor, is_question) in [
        (Odd::Other, 1, true),
        (Odd::Other, 2, false),
        (Odd::Sought, 1, false),
        (Odd::First, 1, false),
        (Odd::Unknown, 1, false),
    ] {
        let book = told_two_epochs_first(odd, executor);
        assert_eq!(book.is_question(REPLICATE, 2), is_question, "{odd:?}, told by {executor}");
        assert!(!book.is_question(REPLICATE, 1), "{odd:?}: it was asked");
    }
    let mut book = told_two_epochs_first(Odd::Other, 1);
    assert!(book.is_question(Replicate::first(TrialId(1)), 1), "of that trial nobody told other numbers yet");
    let Record::Differs { mut difference, .. } = told_by(2, Odd::Sought) else { unreachable!() };
    (difference.told.epoch, difference.told.first, difference.attempt) = (2, ExecutorId(1), attempt(0, 3));
    applied(&mut book, &[Record::Differs { replicate: REPLICATE, difference }]);
    let known: Vec<_> = book.differences.values().map(|known| (known.told.epoch, known.told.odd)).collect();
    assert_eq!(known, [(1, Odd::Other), (2, Odd::Sought)], "what was found stands beside what is looked into");
    assert_eq!(
        book.missing_checks().iter().map(|task| task.kind).collect::<Vec<_>>(),
        [TaskKind::Check(segment(0, 0, 2))]
    );
    assert_eq!(book.parties_of(TaskKind::Check(segment(0, 0, 2))), [ExecutorId(1), ExecutorId(2)]);
    assert_eq!(book.disbelieved(attempt(0, 3)).map(|(_, epoch)| epoch), Some(2));
    assert_eq!(book.odd_by(ExecutorId(0), REPLICATE, (2, Some(&metrics(0.25)))), Some(Odd::Other));
}

#[test]
fn a_third_executor_names_the_odd_one_and_nobody_else_does() {
    let (standing, others, new) = (metrics(0.5), metrics(0.75), metrics(0.25));
    let book = differing(Odd::Sought);
    for (executor, epoch, metrics, odd) in [
        (2, 1, Some(&standing), Some(Odd::Other)),
        (2, 1, Some(&others), Some(Odd::First)),
        (2, 1, Some(&new), Some(Odd::Unknown)),
        (2, 1, None, Some(Odd::Unknown)),
        (1, 1, Some(&others), None),
        (0, 1, Some(&standing), None),
        (0, 1, Some(&others), Some(Odd::Unknown)),
        (2, 2, Some(&standing), None),
    ] {
        assert_eq!(book.odd_by(ExecutorId(executor), REPLICATE, (epoch, metrics)), odd, "{executor} of {epoch}");
    }
    assert_eq!(book.odd_by(ExecutorId(2), Replicate::first(TrialId(1)), (1, Some(&new))), None);
    for odd in [Odd::First, Odd::Other, Odd::Unknown] {
        assert_eq!(differing(odd).odd_by(ExecutorId(2), REPLICATE, (1, Some(&new))), None);
        assert_eq!(differing(odd).may_differ(REPLICATE), odd != Odd::Other);
    }
    assert!(!book.may_differ(REPLICATE));
    assert!(!book.may_differ(Replicate::first(TrialId(1))));
}

#[test]
fn the_attempt_that_differed_is_not_believed_later_and_every_other_is() {
    for (odd, number, is_believed) in [
        (Odd::Sought, 1, false),
        (Odd::Other, 1, false),
        (Odd::First, 1, true),
        (Odd::Unknown, 1, true),
        (Odd::Sought, 2, true),
        (Odd::Other, 2, true),
    ] {
        // The second is of the executor that differed, too.
        let mut book = differing(odd);
        let (executor, at) = (ExecutorId(1), Moment(2));
        applied(&mut book, &[Record::Launched { attempt: attempt(0, 2), executor, from_epoch: 0, at }]);
        let reason = book.disbelieved(attempt(0, number));
        assert_eq!(reason.is_none(), is_believed, "{odd:?}, attempt {number}: {reason:?}");
        if let Some((reason, epoch)) = reason {
            assert_eq!(epoch, 1);
            assert!(reason.contains("epoch 1") && reason.contains("other numbers"), "{reason}");
        }
    }
}
