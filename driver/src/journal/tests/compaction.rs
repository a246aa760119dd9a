//! A journal that is rewritten: what it holds, what it costs, and what a crash leaves.

use super::*;

fn halves(count: usize) -> impl Iterator<Item = Event> {
    (0..count).map(|_| long(RECORD_BYTES_MAX / 2))
}

#[test]
fn a_compacted_journal_holds_the_new_records_and_is_appended_to() {
    let folder = tempfile::tempdir().unwrap();
    let storages: [Arc<dyn Storage>; 2] = [Arc::new(FolderStorage::new(folder.path())), memory()];
    for storage in storages {
        let mut journal = Journal::create(Arc::clone(&storage)).unwrap();
        commit(&mut journal, &[said("a"), said("b")]).unwrap();
        journal.append(&said("c")).unwrap();
        journal.compact([said("abc")].into_iter()).unwrap();
        assert_eq!(journal.records(), 1);
        commit(&mut journal, &[said("d")]).unwrap();
        assert_eq!(storage.journal_bytes().unwrap(), Some(journal.bytes()));

        let mut seen = Vec::new();
        let recovered = Journal::open(storage, |number, event: Event| seen.push((number, event))).unwrap();
        assert_eq!(seen, [(0, said("abc")), (1, said("d"))]);
        assert_eq!(recovered.torn, None);
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_journal_of_no_records_is_compacted_to_its_header_and_one_empty_frame() {
    let storage = memory();
    let mut journal = journal_of(&storage, &[&[said("a")]]);
    journal.compact([].into_iter()).unwrap();
    assert_eq!(journal.bytes(), (format::HEADER_BYTES + format::HEAD_BYTES) as u64);
    assert_eq!(events(&storage), []);
}

#[test]
fn a_compaction_takes_its_records_one_by_one_and_writes_them_in_bounded_pieces() {
    let storage = memory();
    let mut journal = Journal::create(Watched::new(&storage)).unwrap();
    journal.compact(halves(20)).unwrap();
    assert_eq!(journal.records(), 20);
    assert_eq!(events(&storage).len(), 20);
    let mut count = 0;
    let watched = Journal::open(Watched::new(&storage), |_, _: Event| count += 1).unwrap();
    assert_eq!((count, watched.records), (20, 20));
}

#[test]
fn a_journal_wants_compaction_once_it_has_doubled_and_remembers_that_when_opened() {
    let storage = memory();
    let mut journal = journal_of(&storage, &[]);
    journal.compact(halves(8)).unwrap();
    let compacted = journal.bytes();
    while !journal.wants_compaction() {
        assert!(journal.bytes() <= 2 * compacted + COMPACTION_SLACK_BYTES);
        assert!(!open(&storage).unwrap().0.journal.wants_compaction());
        commit(&mut journal, &[long(RECORD_BYTES_MAX / 2)]).unwrap();
    }
    assert!(journal.bytes() > 2 * compacted + COMPACTION_SLACK_BYTES);
    assert!(open(&storage).unwrap().0.journal.wants_compaction());
}

#[test]
fn a_journal_that_is_as_compact_as_it_can_be_waits_until_it_has_doubled_from_there() {
    let mut journal = journal_of(&memory(), &[]);
    while !journal.wants_compaction() {
        commit(&mut journal, &[long(RECORD_BYTES_MAX / 2)]).unwrap();
    }
    journal.is_compact();
    let compact = journal.bytes();
    while !journal.wants_compaction() {
        commit(&mut journal, &[long(RECORD_BYTES_MAX / 2)]).unwrap();
    }
    assert!(journal.bytes() > 2 * compact + COMPACTION_SLACK_BYTES);
}

/// Appends `records` records and compacts when asked; `kept` says how many of so many a compaction keeps. Bytes that
/// compactions wrote, and bytes that were appended.
fn work(records: usize, kept: impl Fn(usize) -> usize) -> (u64, u64) {
    let storage = memory();
    let mut journal = journal_of(&storage, &[]);
    let (mut compacted, mut appended) = (0, 0);
    for count in 1..=records {
        let before = journal.bytes();
        commit(&mut journal, &[long(32 << 10)]).unwrap();
        appended += journal.bytes() - before;
        if journal.wants_compaction() {
            journal.compact((0..kept(count)).map(|_| long(32 << 10))).unwrap();
            compacted += journal.bytes();
        }
    }
    (compacted, appended)
}

#[test]
fn all_compactions_together_write_no_more_than_was_appended() {
    let kept: [fn(usize) -> usize; 3] = [|_| 3, |count| count / 2, |count| count];
    for kept in kept {
        let (compacted, appended) = work(1000, kept);
        assert!(compacted > 0);
        assert!(compacted <= 2 * appended, "{compacted} bytes for {appended}");
    }
}

#[test]
fn a_compaction_that_cannot_be_written_changes_nothing_and_the_journal_goes_on() {
    let storage = memory();
    let mut journal = journal_of(&storage, &[&[said("a")]]);
    let too_large = [said("b"), long(RECORD_BYTES_MAX)].into_iter();
    assert!(matches!(journal.compact(too_large), Err(JournalError::TooLarge { .. })));
    storage.set_capacity(2000);
    let full = journal.compact((0..100).map(|_| long(100))).unwrap_err();
    assert!(matches!(full, JournalError::Storage(StorageError::Full { .. })), "{full}");
    commit(&mut journal, &[said("c")]).unwrap();
    assert_eq!(events(&storage), [said("a"), said("c")]);
}

#[test]
fn after_a_compaction_that_failed_the_next_one_waits_until_the_journal_has_doubled() {
    let storage = memory();
    let mut journal = journal_of(&storage, &[]);
    while !journal.wants_compaction() {
        commit(&mut journal, &[long(RECORD_BYTES_MAX / 2)]).unwrap();
    }
    storage.set_capacity(journal.bytes() + 10_000);
    assert!(journal.compact((0..200).map(|_| long(100))).is_err());
    assert!(journal.check_usable().is_ok());
    assert!(!journal.wants_compaction());
    commit(&mut journal, &[said("goes on")]).unwrap();
}

#[test]
fn a_crash_at_any_step_of_a_compaction_leaves_the_old_journal_or_the_new_one() {
    let (old, new): (Vec<_>, Vec<_>) = ((0..6).map(|_| said("old")).collect(), halves(5).collect());
    let (mut left_old, mut left_new) = (0, 0);
    let mut steps = 0;
    for seed in 0..24 {
        for step in 0.. {
            let storage = memory();
            let mut journal = journal_of(&storage, &[&old]);
            storage.halt_after(step);
            let done = journal.compact(new.iter().cloned());
            storage.crash(seed);
            let left = events(&storage);
            assert!(left == old || left == new, "{} records at step {step} of seed {seed}", left.len());
            if left == new {
                left_new += 1;
            } else {
                left_old += 1;
            }
            if done.is_ok() {
                steps = step;
                break;
            }
        }
    }
    // A new file, its header, five frames, the empty one, and the seal.
    assert_eq!(steps, 9);
    assert!(left_old > 24 && left_new > 24, "{left_old} and {left_new}");
}
