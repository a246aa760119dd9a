//! What a chronicle leaves when its machine crashes within a commit, and the files that were to go with it.

use broadsweep_common::configuration::Configuration;
use broadsweep_common::metrics::{Direction, MetricName};
use broadsweep_search::Origin;

use super::*;
use crate::journal::{COMPACTION_SLACK_BYTES, MemoryStorage};
use crate::run::effects::{Effect, Effects};
use crate::run::record::SafeCheckpoint;

const TASK: TaskId = TaskId(0);

fn objective() -> Objective {
    Objective { metric: MetricName::VALIDATION_ERROR, direction: Direction::Minimize }
}

fn start() -> Start {
    let [data, study, search] = [b"data  ", b"study ", b"search"].map(|name| Digest::of(name));
    Start { run: "run".to_owned(), kernel: None, data, study, search, partitions: 0 }
}

/// A run of one trial.
fn begun(storage: &Arc<MemoryStorage>) -> Chronicle {
    let trial = TrialPlan {
        configuration: Configuration::default(),
        origin: Origin::Point(0),
        epochs: 9,
        parameters: 1,
        flops: 1,
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
