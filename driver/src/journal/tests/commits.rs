//! What is appended, committed and read again; a full disk.

use super::*;

#[test]
fn a_journal_gives_back_what_was_committed_in_its_order() {
    let folder = tempfile::tempdir().unwrap();
    let storages: [Arc<dyn Storage>; 2] = [Arc::new(FolderStorage::new(folder.path())), memory()];
    for storage in storages {
        let mut journal = Journal::create(Arc::clone(&storage)).unwrap();
        commit(&mut journal, &[said("a"), said("b")]).unwrap();
        commit(&mut journal, &[]).unwrap();
        commit(&mut journal, &[Event::Ended]).unwrap();
        assert_eq!(journal.records(), 3);
        let bytes = journal.bytes();
        drop(journal);

        let mut seen = Vec::new();
        let mut recovered = Journal::open(Arc::clone(&storage), |number, event| seen.push((number, event))).unwrap();
        assert_eq!(seen, [(0, said("a")), (1, said("b")), (2, Event::Ended)]);
        assert_eq!((recovered.records, recovered.torn, recovered.journal.bytes()), (3, None, bytes));

        commit(&mut recovered.journal, &[said("c")]).unwrap();
        let mut last = None;
        Journal::open(storage, |number, event: Event| last = Some((number, event))).unwrap();
        assert_eq!(last, Some((3, said("c"))));
    }
}

#[test]
fn what_was_appended_and_not_committed_is_not_there() {
    let storage = memory();
    let mut journal = journal_of(&storage, &[&[said("a")]]);
    journal.append(&said("b")).unwrap();
    drop(journal);
    assert_eq!(events(&storage), [said("a")]);
}

#[test]
fn a_commit_is_one_write_and_one_sync_however_many_records_it_has() {
    let storage = memory();
    let mut journal = journal_of(&storage, &[]);
    let before = storage.operations();
    commit(&mut journal, &vec![Event::Ended; 100]).unwrap();
    assert_eq!(storage.operations() - before, 2);
}

#[test]
fn more_records_than_memory_for_a_commit_holds_are_committed_on_the_way() {
    let storage = memory();
    let mut journal = Journal::create(Watched::new(&storage)).unwrap();
    for _ in 0..5 {
        journal.append(&long(RECORD_BYTES_MAX / 2)).unwrap();
    }
    assert_eq!(journal.records(), 4);
    journal.commit().unwrap();
    assert_eq!(events(&storage).len(), 5);
}

#[test]
fn a_record_of_the_largest_size_is_taken_and_a_larger_one_is_refused_and_the_journal_goes_on() {
    let storage = memory();
    let mut journal = Journal::create(Watched::new(&storage)).unwrap();
    let half = RECORD_BYTES_MAX / 2;
    let overhead = broadsweep_common::codec::pack(&long(half)).unwrap().len() - half;
    journal.append(&said("small")).unwrap();
    journal.append(&long(RECORD_BYTES_MAX - overhead)).unwrap();
    let refused = journal.append(&long(RECORD_BYTES_MAX - overhead + 1)).unwrap_err();
    assert!(matches!(refused, JournalError::TooLarge { bytes } if bytes == RECORD_BYTES_MAX + 1));
    commit(&mut journal, &[said("last")]).unwrap();
    assert_eq!(events(&storage).len(), 3);
}

#[test]
fn a_second_journal_is_not_made_over_the_first_and_none_is_opened_where_none_is() {
    let storage = memory();
    assert!(matches!(open(&storage), Err(JournalError::Missing(path)) if path == storage.journal_path()));
    journal_of(&storage, &[&[said("a")]]);
    let second = Journal::<Event>::create(Arc::clone(&storage) as _);
    assert!(matches!(second, Err(JournalError::Exists(path)) if path == storage.journal_path()));
    assert_eq!(events(&storage), [said("a")]);
}

#[test]
fn a_disk_that_is_full_within_a_commit_leaves_no_torn_record_and_the_error_is_repeated() {
    let storage = memory();
    let mut journal = journal_of(&storage, &[&[said("a")]]);
    let bytes = journal.bytes();
    storage.set_capacity(bytes + 20);
    let full = commit(&mut journal, &[said("b"), said("c")]).unwrap_err();
    assert!(matches!(full, JournalError::Storage(StorageError::Full { .. })), "{full}");
    assert_eq!(storage.journal().unwrap().len() as u64, bytes);

    storage.set_capacity(u64::MAX);
    for repeated in [journal.append(&said("d")), journal.commit(), journal.compact([].into_iter())] {
        assert_eq!(repeated.unwrap_err().to_string(), full.to_string());
    }
    assert_eq!(events(&storage), [said("a")]);
    let (mut recovered, _) = open(&storage).unwrap();
    commit(&mut recovered.journal, &[said("b")]).unwrap();
    assert_eq!(events(&storage), [said("a"), said("b")]);
}

#[test]
fn records_that_a_killed_process_left_are_durable_once_they_were_shown() {
    let storage = memory();
    let mut journal = journal_of(&storage, &[]);
    storage.halt_after(1); // within the sync
    assert!(commit(&mut journal, &[said("a")]).is_err());
    storage.restart();
    assert_eq!(events(&storage), [said("a")]);
    for seed in 0..32 {
        storage.crash(seed);
        assert_eq!(events(&storage), [said("a")]);
    }
}

#[test]
fn two_drivers_that_write_one_journal_are_told() {
    let storage = memory();
    let mut one = journal_of(&storage, &[&[said("a")]]);
    let (mut other, _) = open(&storage).unwrap();
    commit(&mut one, &[said("b")]).unwrap();
    let refused = commit(&mut other.journal, &[said("c")]).unwrap_err();
    assert!(refused.to_string().contains("another process writes it"), "{refused}");
    assert_eq!(events(&storage), [said("a"), said("b")]);
}
