//! What a chronicle is after a restart: what it goes on with, which files it needs, and what a crash within a commit leaves
//! of it and of the files that were to go with that.

use broadsweep_common::configuration::Configuration;
use broadsweep_common::ids::{AttemptId, ExecutorId};
use broadsweep_common::metrics::MetricName;
use broadsweep_common::task::Select;
use broadsweep_scheduler::Moment;
use broadsweep_search::Origin;

use super::*;
use crate::journal::{COMPACTION_SLACK_BYTES, MemoryStorage};
use crate::run::effects::{Effect, Effects};
use crate::run::record::{Finish, Row, SafeCheckpoint, Spent};

const TASK: TaskId = TaskId(0);

fn objective() -> Objectives {
    Select::Validation.objective().into()
}

fn start() -> Start {
    let [data, study, search] = [b"data  ", b"study ", b"search"].map(|name| Digest::of(name));
    Start { run: "run".to_owned(), kernel: None, data, study, search, partitions: Vec::new() }
}

/// A run of one trial.
fn begun(storage: &Arc<MemoryStorage>) -> Chronicle {
    let trial = TrialPlan {
        configuration: Configuration::default(),
        origin: Origin::Point(0),
        epochs: 9,
        parameters: 1,
        flops: 1,
        wait_us: 0,
        test_flops: 1,
        memory_bytes: 1,
        batch_size: 1,
    };
    let shared = Arc::clone(storage) as Arc<dyn Storage>;
    Chronicle::begin(shared, vec![trial], objective(), start()).unwrap()
}

fn state_after(epoch: u32) -> Blob<Bytes> {
    Blob::new(Bytes::from(format!("the state after epoch {epoch}"))).unwrap()
}

/// Puts the state after an epoch in the run folder, and notes it.
fn checkpoint(chronicle: &mut Chronicle, epoch: u32) -> Result<(), ChronicleError> {
    let state = state_after(epoch);
    chronicle.storage.write(&names::checkpoint(TASK, epoch), &state.content)?;
    let checkpoint = SafeCheckpoint { epoch, blob: state.manifest.digest() };
    chronicle.note(&Record::Checkpointed { task: TASK, checkpoint })
}

/// The second checkpoint takes the place of the first, in a commit after which the journal is compacted if it is `long`.
fn replace(chronicle: &mut Chronicle, long: bool) -> Result<(), ChronicleError> {
    checkpoint(chronicle, 2)?;
    for _ in 0..if long { 2 * COMPACTION_SLACK_BYTES / 1000 } else { 0 } {
        chronicle.note(&Record::Kernel("k".repeat(1000)))?;
    }
    let mut effects = Effects::default();
    effects.push(Effect::Drop(names::checkpoint(TASK, 1)));
    let safe = chronicle.commit()?;
    for effect in effects.take(&safe) {
        match effect {
            Effect::Drop(name) => chronicle.drop_file(&name, &safe),
            other => panic!("{other:?}"),
        }
    }
    Ok(())
}

#[test]
fn a_file_goes_only_after_the_commit_that_replaces_it_whenever_the_machine_crashes() {
    for long in [false, true] {
        for operations in 0.. {
            let mut has_ended = false;
            for seed in 0..8 {
                let storage = Arc::new(MemoryStorage::new());
                let mut chronicle = begun(&storage);
                checkpoint(&mut chronicle, 1).unwrap();
                chronicle.commit().unwrap();
                let bytes_before = chronicle.journal.bytes();
                let first = storage.operations();
                storage.halt_after(operations);
                let replaced = replace(&mut chronicle, long);
                has_ended = storage.operations() - first <= operations;
                if has_ended {
                    replaced.unwrap();
                    let is_compact = chronicle.journal.bytes() < bytes_before + COMPACTION_SLACK_BYTES;
                    assert!(is_compact, "the long one was not compacted");
                    assert_eq!(storage.list(names::CHECKPOINTS).unwrap(), ["t0-2"]);
                }
                drop(chronicle);
                storage.crash(seed);
                let shared = Arc::clone(&storage) as Arc<dyn Storage>;
                let (resumed, _) = Chronicle::resume(shared, objective(), start()).unwrap();
                let (task, safe) = resumed.book().checkpoints().next().expect("the first one was committed before");
                let found = load(&*storage, &names::checkpoint(task, safe.epoch));
                let wanted = state_after(safe.epoch).content;
                assert_eq!(found.ok(), Some(wanted), "long: {long}, operation {operations}, seed {seed}: {safe:?}");
            }
            if has_ended {
                break;
            }
        }
    }
}

/// The same run under its next driver.
fn resumed(storage: &Arc<MemoryStorage>, start: Start) -> Result<Chronicle, ChronicleError> {
    let shared = Arc::clone(storage) as Arc<dyn Storage>;
    Chronicle::resume(shared, objective(), start).map(|(chronicle, _)| chronicle)
}

fn other() -> Digest {
    Digest::of(b"other")
}

#[test]
fn a_run_goes_on_with_what_it_began_with_and_with_nothing_else() {
    let storage = Arc::new(MemoryStorage::new());
    let with_kernel = |kernel: &str| Start { kernel: Some(kernel.to_owned()), ..start() };
    let first = begun(&storage);
    assert_eq!(first.generation(), 1);
    drop(first);
    let second = resumed(&storage, Start { run: "another".to_owned(), ..with_kernel("fast") }).unwrap();
    assert_eq!((second.generation(), second.run(), second.kernel()), (2, "run", Some("fast")));
    let journal = storage.journal();
    for (start, wanted) in [
        (Start { study: other(), ..start() }, "the study"),
        (Start { search: other(), ..start() }, "the study"),
        (Start { data: other(), ..start() }, "the data set"),
        (with_kernel("portable"), "the kernel"),
    ] {
        let refused = resumed(&storage, start).err();
        assert!(matches!(refused, Some(ChronicleError::Changed { what }) if what == wanted), "{wanted}: {refused:?}");
        assert_eq!(storage.journal(), journal);
    }
    let third = resumed(&storage, start()).unwrap();
    assert_eq!(
        (third.generation(), third.kernel()),
        (3, Some("fast")),
        "a driver that asks for no kernel takes that one"
    );
}

/// The only trial is over, with these weights, which are not in the folder yet.
fn trained(chronicle: &mut Chronicle, weights: &Blob<Bytes>) {
    let (attempt, executor) = (AttemptId { task: TASK, number: 1 }, ExecutorId(0));
    let finish = Finish::Trained { epoch: 1, weights: Some(weights.manifest.digest()) };
    for record in [
        Record::Executor { executor, name: "node:1".to_owned() },
        Record::Names(vec![MetricName::VALIDATION_ERROR]),
        Record::Launched { attempt, executor, from_epoch: 0, at: Moment(1) },
        Record::Epoch { attempt, epoch: 1, row: Row { names: 0, values: vec![0.5] }, spent: Spent::default() },
        Record::Finished { task: TASK, finish, at: Moment(9) },
    ] {
        chronicle.note(&record).unwrap();
    }
    chronicle.commit().unwrap();
}

#[test]
fn the_best_weights_are_those_that_the_journal_names_or_the_run_does_not_go_on() {
    let (storage, name) = (Arc::new(MemoryStorage::new()), names::weights(TrialId(0)));
    let weights = state_after(1);
    trained(&mut begun(&storage), &weights);
    assert!(matches!(resumed(&storage, start()).err(), Some(ChronicleError::Storage(_))), "they are not there");
    storage.write(&name, b"others").unwrap();
    let refused = resumed(&storage, start()).err();
    assert!(matches!(&refused, Some(ChronicleError::Damaged { name: found }) if *found == name), "{refused:?}");
    storage.write(&name, &weights.content).unwrap();
    let chronicle = resumed(&storage, start()).unwrap();
    assert_eq!(chronicle.executors(), ["node:1"]);
    let best = chronicle.book().best_weights().map(|(trial, weights)| (trial, weights.content.clone()));
    assert_eq!(best, Some((TrialId(0), weights.content)));
}

#[test]
fn files_that_nothing_speaks_of_go_when_a_run_is_taken_up_and_no_others() {
    let storage = Arc::new(MemoryStorage::new());
    let weights = state_after(1);
    trained(&mut begun(&storage), &weights);
    let needed = names::weights(TrialId(0));
    for name in [&needed, "weights/7", "checkpoints/t0-1", "outputs/t3"] {
        storage.write(name, &weights.content).unwrap();
    }
    resumed(&storage, start()).unwrap();
    let left = [names::WEIGHTS, names::CHECKPOINTS, names::OUTPUTS].map(|folder| storage.list(folder).unwrap());
    assert_eq!(left, [vec!["0".to_owned()], vec![], vec![]]);
}

#[test]
fn partitions_are_tasks_once_and_a_run_is_over_when_no_more_tasks_come_and_all_have_ended() {
    let storage = Arc::new(MemoryStorage::new());
    let (weights, start) = (state_after(1), Start { partitions: vec![1; 2], ..start() });
    let shared = Arc::clone(&storage) as Arc<dyn Storage>;
    let mut chronicle = Chronicle::begin(shared, Vec::new(), objective(), start.clone()).unwrap();
    assert_eq!((chronicle.book().tasks().count(), chronicle.trials()), (2, (0, 0)));
    chronicle.note(&Record::AddingEnded).unwrap();
    for task in [0, 1].map(TaskId) {
        assert!(!chronicle.is_over_despite(&[]));
        let finish = Finish::Applied { output: weights.manifest.digest() };
        chronicle.note(&Record::Finished { task, finish, at: Moment(1) }).unwrap();
    }
    chronicle.commit().unwrap();
    let next = resumed(&storage, start).unwrap();
    assert_eq!((next.book().tasks().count(), next.is_over_despite(&[])), (2, true));
}

#[test]
fn trials_are_counted_and_nothing_is_written_where_nothing_was_noted() {
    let storage = Arc::new(MemoryStorage::new());
    let mut chronicle = begun(&storage);
    assert_eq!((chronicle.trials(), chronicle.is_over_despite(&[])), ((1, 0), false));
    trained(&mut chronicle, &state_after(1));
    assert_eq!((chronicle.trials(), chronicle.is_over_despite(&[])), ((1, 1), false), "more may come");
    let before = storage.operations();
    chronicle.commit().unwrap();
    assert_eq!(storage.operations(), before);
}

#[test]
fn records_that_contradict_each_other_are_named_unless_another_study_explains_them() {
    let storage = Arc::new(MemoryStorage::new());
    let first = begun(&storage);
    let begun = first.book().begun.clone().unwrap();
    let number = first.journal.records();
    drop(first);
    let mut journal = Journal::open(Arc::clone(&storage) as Arc<dyn Storage>, |_, _: Record| {}).unwrap().journal;
    let unknown = AttemptId { task: TASK, number: 9 };
    for record in [Record::Adopted(unknown), Record::Begun(Begun { study: other(), ..begun })] {
        journal.append(&record).unwrap();
    }
    journal.commit().unwrap();
    let found = resumed(&storage, Start { study: other(), ..start() }).err();
    assert!(matches!(found, Some(ChronicleError::Unfit { number: found, .. }) if found == number), "{found:?}");
    let found = resumed(&storage, start()).err();
    assert!(matches!(found, Some(ChronicleError::Changed { what: "the study" })), "{found:?}");
}
