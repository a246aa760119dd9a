//! The real folder: it answers as the one in memory does, and a limit of the system leaves it whole.

use std::process::Command;
use std::{env, fs};

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Write(&'static str, Vec<u8>),
    Read(&'static str),
    Remove(&'static str),
    List(&'static str),
    Append(Vec<u8>),
    Truncate(u64),
    Replace(Vec<u8>),
    Sync,
}

fn step() -> impl Strategy<Value = Step> {
    let name = prop::sample::select(vec![
        "address",
        "weights/t7",
        "weights/t8",
        "checkpoints/t7-3",
        "",
        "a/",
        "/a",
        "../a",
        "a/../b",
        "a/b/c",
        ".a",
        "a/.b",
        "a\0",
    ]);
    let folder = prop::sample::select(vec!["weights", "checkpoints", "none", "", "..", "a/b"]);
    let bytes = || prop::collection::vec(any::<u8>(), 0..20);
    prop_oneof![
        (name.clone(), bytes()).prop_map(|(name, bytes)| Step::Write(name, bytes)),
        name.clone().prop_map(Step::Read),
        name.prop_map(Step::Remove),
        folder.prop_map(Step::List),
        bytes().prop_map(Step::Append),
        (0_u64..20).prop_map(Step::Truncate),
        bytes().prop_map(Step::Replace),
        Just(Step::Sync),
    ]
}

/// What is answered, and then the whole journal. An error is told by its kind.
fn answer(storage: &dyn Storage, step: &Step) -> Result<String, &'static str> {
    let length = storage.journal_bytes().map_err(|error| kind(&error))?;
    let done = match step {
        Step::Write(name, bytes) => storage.write(name, bytes).map(|()| String::new()),
        Step::Read(name) => storage.read(name, 16).map(|bytes| format!("{bytes:?}")),
        Step::Remove(name) => storage.remove(name).map(|()| String::new()),
        Step::List(folder) => storage.list(folder).map(|names| format!("{names:?}")),
        Step::Append(bytes) => storage.append_journal(length.unwrap_or(0), bytes).map(|()| String::new()),
        Step::Truncate(bytes) => storage.truncate_journal((*bytes).min(length.unwrap_or(0))).map(|()| String::new()),
        Step::Replace(bytes) => replace(storage, bytes).map(|()| String::new()),
        Step::Sync => storage.sync_journal().map(|()| String::new()),
    };
    let done = done.map_err(|error| kind(&error))?;
    let mut journal = vec![0; storage.journal_bytes().map_err(|error| kind(&error))?.unwrap_or(0) as usize];
    if !journal.is_empty() {
        storage.read_journal(0, &mut journal).map_err(|error| kind(&error))?;
    }
    Ok(format!("{done} {journal:?}"))
}

fn replace(storage: &dyn Storage, bytes: &[u8]) -> Result<(), StorageError> {
    let mut new = storage.new_journal()?;
    new.append(bytes)?;
    new.append(bytes)?;
    new.seal()
}

fn kind(error: &StorageError) -> &'static str {
    match error {
        StorageError::Full { .. } => "full",
        StorageError::Denied { .. } => "denied",
        StorageError::Failed { .. } => "failed",
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn a_real_folder_answers_as_the_one_in_memory_does(steps in prop::collection::vec(step(), 0..25)) {
        let folder = tempfile::tempdir().unwrap();
        let (real, simulated) = (FolderStorage::new(folder.path()), MemoryStorage::new());
        for step in steps {
            prop_assert_eq!(answer(&real, &step), answer(&simulated, &step), "{:?}", step);
        }
    }
}

#[test]
fn a_file_that_is_longer_than_whoever_reads_it_takes_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let storages: [Arc<dyn Storage>; 2] = [Arc::new(FolderStorage::new(folder.path())), memory()];
    for storage in storages {
        storage.write("weights/t1", b"one").unwrap();
        assert_eq!(storage.read("weights/t1", 3).unwrap().unwrap(), b"one");
        let refused = storage.read("weights/t1", 2).unwrap_err();
        assert!(refused.to_string().contains("it has 3 bytes, more than the 2 that it may have"), "{refused}");
    }
}

#[test]
fn what_a_folder_refuses_is_told_by_what_people_can_do_about_it() {
    use std::io::{Error, ErrorKind};
    for (refusal, wanted) in [
        (ErrorKind::StorageFull, "full"),
        (ErrorKind::PermissionDenied, "denied"),
        (ErrorKind::ReadOnlyFilesystem, "denied"),
        (ErrorKind::NotFound, "failed"),
    ] {
        let error = StorageError::from_io("write", "runs/a".as_ref(), Error::from(refusal));
        assert_eq!(kind(&error), wanted, "{error}");
    }
}

#[test]
fn a_folder_in_memory_takes_as_many_bytes_as_it_has_room_for_and_those_of_a_journal_given_up_are_free_again() {
    let storage = MemoryStorage::new();
    storage.set_capacity(4);
    let mut new = storage.new_journal().unwrap();
    new.append(b"four").unwrap();
    assert!(new.append(b"!").is_err());
    drop(new);
    storage.write("weights/t1", b"four").unwrap();
    assert!(storage.write("weights/t2", b"!").is_err());
}

#[test]
fn an_unfinished_file_is_not_listed_and_is_overwritten_by_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let storage = Arc::new(FolderStorage::new(folder.path()));
    storage.write("weights/t1", b"one").unwrap();
    fs::write(folder.path().join("weights/.t1.partial"), "half").unwrap();
    fs::write(folder.path().join(".journal.partial"), "half of a journal").unwrap();
    assert_eq!(storage.list("weights").unwrap(), ["t1"]);
    storage.write("weights/t1", b"two").unwrap();
    assert_eq!(storage.read("weights/t1", 3).unwrap().unwrap(), b"two");
    Journal::<Event>::create(Arc::clone(&storage) as _).unwrap();
    assert_eq!(events(&storage), []);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    assert_eq!(fs::read_dir(folder.path().join("weights")).unwrap().count(), 1);
}

#[test]
fn a_new_journal_that_is_given_up_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let storage = FolderStorage::new(folder.path());
    let mut new = storage.new_journal().unwrap();
    new.append(b"half").unwrap();
    drop(new);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_folder_that_is_not_there_is_named() {
    let storage = FolderStorage::new("/nonexistent/run");
    let error = Journal::<Event>::create(Arc::new(storage)).unwrap_err();
    assert!(error.to_string().contains("/nonexistent/run/journal"), "{error}");
}

#[test]
fn whoever_only_reads_a_journal_cannot_write_it() {
    let folder = tempfile::tempdir().unwrap();
    Journal::<Event>::create(Arc::new(FolderStorage::new(folder.path()))).unwrap();
    let reader = FolderStorage::for_reading(folder.path());
    let bytes = reader.journal_bytes().unwrap().unwrap();
    assert!(reader.append_journal(bytes, b"more").is_err());
    assert_eq!(reader.journal_bytes().unwrap(), Some(bytes));
}

#[test]
fn a_file_in_the_place_of_a_folder_is_told_and_does_not_pass_for_an_empty_folder() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("weights"), "").unwrap();
    let storage = FolderStorage::new(folder.path());
    let done =
        [storage.read("weights/t1", 9).map(drop), storage.remove("weights/t1"), storage.list("weights").map(drop)];
    for (done, doing) in done.into_iter().zip(["read", "remove", "list"]) {
        assert!(done.is_err(), "{doing}");
    }
}

/// Set in the process that has the limit.
const LIMITED: &str = "BROADSWEEP_TEST_LIMITED_FOLDER";

/// Runs itself again in a process that may write no file beyond 1 KiB (2 KiB where a shell counts so): there a write
/// is short first and fails then, as on a full disk.
#[test]
fn a_write_that_the_system_cuts_short_is_cut_off_again_and_told_as_full() {
    let Some(folder) = env::var_os(LIMITED) else {
        let folder = tempfile::tempdir().unwrap();
        let (_, module) = module_path!().split_once("::").unwrap();
        let own_name = format!("{module}::a_write_that_the_system_cuts_short_is_cut_off_again_and_told_as_full");
        let status = Command::new("sh")
            .args(["-c", "trap '' XFSZ; ulimit -f 2; exec \"$@\"", "sh"])
            .arg(env::current_exe().unwrap())
            .args(["--exact", &own_name])
            .env(LIMITED, folder.path())
            .output()
            .unwrap();
        assert!(status.status.success(), "{}", String::from_utf8_lossy(&status.stdout));
        assert!(folder.path().join("journal").exists(), "the limited process ran no test");
        return;
    };
    let storage = Arc::new(FolderStorage::new(&folder));
    let mut journal = Journal::create(Arc::clone(&storage) as _).unwrap();
    commit(&mut journal, &[said("a")]).unwrap();
    let full = commit(&mut journal, &[long(4000)]).unwrap_err();
    assert!(matches!(full, JournalError::Storage(StorageError::Full { .. })), "{full}");
    assert_eq!(fs::metadata(storage.journal_path()).unwrap().len(), journal.bytes());
    assert_eq!(journal.commit().unwrap_err().to_string(), full.to_string());

    let (mut recovered, left) = open(&storage).unwrap();
    assert_eq!((left, recovered.torn), (vec![said("a")], None));
    assert!(recovered.journal.compact([long(4000)].into_iter()).is_err());
    commit(&mut recovered.journal, &[said("b")]).unwrap();
    assert!(storage.write("weights/t1", &[7; 4000]).is_err());
    assert_eq!(events(&storage), [said("a"), said("b")]);
    assert_eq!(fs::read_dir(storage.journal_path().with_file_name("weights")).unwrap().count(), 0);
}
