//! Which reports a book believes.

use broadsweep_common::dataset::Part;

use super::*;

/// A book with one training that has reported its first epoch, and a second task of this kind.
fn with_task(kind: TaskKind) -> Book {
    let mut book = book(1, false);
    applied(&mut book, &one_epoch(0, 0.5));
    let task = NewTask { kind, cost: 1, priority: Priority::longest_first(Cost(1)), inputs: Vec::new() };
    applied(&mut book, &[Record::TasksAdded { first: TaskId(1), tasks: vec![task] }]);
    book
}

fn artifact(name: ArtifactName) -> Artifact {
    Artifact { name, blob: Digest::of(b"blob") }
}

fn trained_with(epoch: u32, names: &[ArtifactName]) -> Ended {
    Ended::Trained { epoch, artifacts: names.iter().map(|name| artifact(*name)).collect() }
}

#[test]
fn an_attempt_ends_with_an_epoch_that_was_reported_and_with_what_its_task_makes() {
    let mut book = book(1, false);
    applied(&mut book, &one_epoch(0, 0.5));
    let blob = Digest::of(b"blob");
    let artifact = |name| Artifact { name, blob };
    let end = |epoch, artifacts| book.judge_end(TaskId(0), &Ended::Trained { epoch, artifacts });
    let weights = || vec![artifact(ArtifactName::Weights)];
    assert_eq!(end(1, weights()), Ok(JudgedEnd::Trained { epoch: 1, weights: Some(blob) }));
    for (epoch, artifacts) in [
        (0, weights()),
        (2, weights()),
        (1, Vec::new()),
        (1, vec![artifact(ArtifactName::Checkpoint)]),
        (1, vec![artifact(ArtifactName::Output)]),
    ] {
        assert!(end(epoch, artifacts.clone()).is_err(), "epoch {epoch} with {artifacts:?} was believed");
    }
    for other in [Ended::Measured(metrics(0.5)), Ended::Applied { artifacts: vec![artifact(ArtifactName::Output)] }] {
        let refused = book.judge_end(TaskId(0), &other);
        assert_eq!(refused, Err("it reported an outcome that its task does not have".to_owned()), "{other:?}");
    }
}

#[test]
fn an_epoch_that_is_repeated_differs_unless_it_has_the_same_bits() {
    let mut book = book(1, false);
    let [first, second] = [attempt(0, 1), attempt(0, 2)];
    applied(&mut book, &[launched(first, 0), epoch(first, 1, 0.5), launched(second, 0)]);
    assert_eq!(judge(&book, first, 1, 0.5), Ok((Seen::Before, false)), "handed over twice");
    assert_eq!(judge(&book, second, 1, 0.5), Ok((Seen::New, false)));
    assert_eq!(judge(&book, second, 1, 0.5 + f64::EPSILON), Ok((Seen::New, true)));
    let other_names = Metrics::from_iter([(MetricName::VALIDATION_ERROR, 0.5)]);
    assert!(book.judge_epoch(second, 1, &other_names).unwrap().unwrap().differs);
    applied(&mut book, &[epoch(second, 1, 0.5)]);
    assert_eq!((book.repeated, book.trials[0].first().unwrap().curves.epochs()), (1, 1));
    for hostile in [0, 3, EPOCHS + 1, u32::MAX] {
        assert!(judge(&book, second, hostile, 0.5).is_err(), "epoch {hostile} was taken");
    }
}

#[test]
fn a_trial_that_makes_names_up_is_not_believed() {
    let mut book = book(1, false);
    applied(&mut book, &[launched(attempt(0, 1), 0)]);
    let with = |numbers: std::ops::Range<u32>| -> Metrics {
        numbers.map(|number| (MetricName::new(&format!("metric {number}")).unwrap(), 0.5)).collect()
    };
    for (number, names) in (1..).zip([0..64, 64..128]) {
        let metrics = with(names);
        let judged = book.judge_epoch(attempt(0, 1), number, &metrics).unwrap();
        assert_eq!(judged.map(|judged| judged.seen), Ok(Seen::New));
        let names: Vec<_> = metrics.iter().map(|(name, _)| name.clone()).collect();
        let (row, spent) = (Row { names: number, values: vec![0.5; 64] }, Spent::default());
        let known = Record::Epoch { attempt: attempt(0, 1), epoch: number, row, spent };
        applied(&mut book, &[Record::Names(names), known]);
    }
    assert!(book.judge_epoch(attempt(0, 1), 3, &with(0..64)).unwrap().is_ok());
    assert!(book.judge_epoch(attempt(0, 1), 3, &with(100..130)).unwrap().is_err());
}

#[test]
fn a_measurement_is_the_loss_and_the_error_of_its_rows_and_what_else_was_measured_there() {
    let replicate = Replicate::first(TrialId(0));
    let book = with_task(TaskKind::Measure { replicate, weights: Digest::of(b"weights"), part: Part::Test });
    let judge = |names: &[MetricName]| {
        let metrics = names.iter().map(|name| (name.clone(), 0.5)).collect();
        book.judge_end(TaskId(1), &Ended::Measured(metrics)).is_ok()
    };
    let named = |name: &str| MetricName::new(name).unwrap();
    let with = |further: &[&str]| {
        let further = further.iter().map(|name| named(name));
        [MetricName::TEST_LOSS, MetricName::TEST_ERROR].into_iter().chain(further).collect::<Vec<_>>()
    };
    assert!(judge(&with(&[])) && judge(&with(&["test_auc", "test_f1"])));
    let many: Vec<_> = (0..9).map(|number| format!("test_f1_of_{number}")).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    assert!(judge(&with(&many[1..])) && !judge(&with(&many)) && !judge(&with(&["validation_auc"])));
    for names in [
        &[][..],
        &[MetricName::TEST_ERROR],
        &[MetricName::VALIDATION_LOSS, MetricName::VALIDATION_ERROR],
        &[MetricName::VALIDATION_ERROR, MetricName::TEST_LOSS, MetricName::TEST_ERROR],
    ] {
        assert!(!judge(names), "{names:?} were believed");
    }
}

/// A trial that pauses at `until_epoch`, of whose epochs so many are reported.
fn pausing(until_epoch: u32, reported: u32) -> Book {
    let mut book = Book::new(objective());
    let [names, _, _] = begun(0, false).try_into().unwrap();
    let Decided::Start { configuration, origin, needs, .. } = start(0, Origin::Point(0)) else { unreachable!() };
    let decisions = vec![Decided::Start { configuration, origin, until_epoch: Some(until_epoch), needs }];
    let decided = Record::Decided { first: 0, v: VirtualTime(0), decisions };
    let tasks = vec![training(segment(0, 0, until_epoch), Vec::new())];
    applied(&mut book, &[names, decided, Record::TasksAdded { first: TaskId(0), tasks }, launched(attempt(0, 1), 0)]);
    (1..=reported).for_each(|number| applied(&mut book, &[epoch(attempt(0, 1), number, 0.5)]));
    book
}

#[test]
fn a_training_pauses_where_its_segment_ends_and_with_nothing_but_its_state() {
    let state = trained_with(2, &[ArtifactName::Checkpoint]);
    let paused = JudgedEnd::Paused { epoch: 2, until_epoch: 2, checkpoint: Digest::of(b"blob") };
    assert_eq!(pausing(2, 2).judge_end(TaskId(0), &state), Ok(paused));
    for more in [ArtifactName::Weights, ArtifactName::Output] {
        let ended = trained_with(2, &[ArtifactName::Checkpoint, more]);
        assert!(pausing(2, 2).judge_end(TaskId(0), &ended).is_err(), "{more:?} was believed of a pause");
    }
    let early = trained_with(1, &[ArtifactName::Checkpoint]);
    assert!(pausing(2, 1).judge_end(TaskId(0), &early).is_err(), "an epoch is missing");
    assert!(pausing(EPOCHS, EPOCHS).judge_end(TaskId(0), &state).is_err(), "nothing is left to pause for");
}

#[test]
fn a_training_without_a_network_ends_without_weights() {
    let mut book = Book::new(objective());
    let mut records = begun(1, false);
    let Record::Decided { decisions, .. } = &mut records[1] else { unreachable!() };
    let Decided::Start { needs, .. } = &mut decisions[0] else { unreachable!() };
    needs.makes_weights = false;
    applied(&mut book, &[records, one_epoch(0, 0.5).to_vec()].concat());
    assert_eq!(book.judge_end(TaskId(0), &trained_with(1, &[])), Ok(JudgedEnd::Trained { epoch: 1, weights: None }));
}

#[test]
fn a_training_diverges_in_one_of_its_epochs_after_all_before_it_were_told() {
    let mut book = book(1, false);
    applied(&mut book, &[launched(attempt(0, 1), 0)]);
    for told in 0..=EPOCHS {
        for epoch in 0..=EPOCHS + 1 {
            let judged = book.judge_end(TaskId(0), &Ended::Diverged { epoch });
            let expected = (1..=EPOCHS.min(told + 1)).contains(&epoch).then_some(JudgedEnd::Diverged { epoch });
            assert_eq!(judged.ok(), expected, "epoch {epoch} after {told}");
        }
        if told < EPOCHS {
            applied(&mut book, &[epoch(attempt(0, 1), told + 1, 0.5)]);
        }
    }
}

#[test]
fn a_check_ends_as_a_training_does_and_only_its_divergence_is_told() {
    let book = with_task(TaskKind::Check(segment(0, 0, 1)));
    let judged = |ended: &Ended| book.judge_end(TaskId(1), ended);
    assert_eq!(judged(&trained_with(1, &[ArtifactName::Weights])), Ok(JudgedEnd::Checked { diverged: None }));
    assert_eq!(judged(&Ended::Diverged { epoch: 1 }), Ok(JudgedEnd::Checked { diverged: Some(1) }));
    assert!(judged(&Ended::Measured(metrics(0.5))).is_err());
    assert_eq!(book.judge_epoch(attempt(1, 1), 1, &metrics(0.5)), None, "its epochs do not count");
}

#[test]
fn a_partition_ends_with_what_came_out_of_it() {
    let book = with_task(TaskKind::Apply { partition: 0 });
    let applied_with = |name| Ended::Applied { artifacts: vec![artifact(name)] };
    let output = Digest::of(b"blob");
    assert_eq!(book.judge_end(TaskId(1), &applied_with(ArtifactName::Output)), Ok(JudgedEnd::Applied { output }));
    assert!(book.judge_end(TaskId(1), &applied_with(ArtifactName::Weights)).is_err());
    assert!(book.judge_end(TaskId(1), &trained_with(1, &[ArtifactName::Weights])).is_err());
}

#[test]
fn any_attempt_may_end_without_a_result_and_says_why() {
    let book = book(1, false);
    let judged = |ended: &Ended| book.judge_end(TaskId(0), ended);
    assert_eq!(judged(&Ended::Stopped), Ok(JudgedEnd::Stopped));
    let failed = AttemptEnd::Failed { reason: "why".to_owned() };
    assert_eq!(judged(&Ended::failed("why")), Ok(JudgedEnd::Without(failed)));
    let (needed_bytes, available_bytes) = (2, 1);
    let refused = AttemptEnd::Refused { needed_bytes, available_bytes };
    assert_eq!(judged(&Ended::Refused { needed_bytes, available_bytes }), Ok(JudgedEnd::Without(refused)));
}
