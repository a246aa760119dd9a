//! Tests of the run folder, on a real file system.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use tempfile::TempDir;

use super::*;
use crate::results::fixtures::{diverged, finished, run};

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_795_366_862)
}

fn temporary() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// The folder `out` itself.
fn at(out: &Path) -> Result<RunFolder, FolderError> {
    RunFolder::create(Some(out), Path::new("/nonexistent/runs"), "quick", now())
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_run_gets_a_folder_of_its_study_and_time_even_in_the_same_second() {
    let home = temporary();
    let runs = home.path().join("a/runs");
    let folders: Vec<_> = (0..3).map(|_| RunFolder::create(None, &runs, "quick", now()).unwrap()).collect();
    let expected = ["quick-20261122T170102Z", "quick-20261122T170102Z-2", "quick-20261122T170102Z-3"];
    assert_eq!(names(&runs), expected);
    assert_eq!(folders[2].path(), runs.join(expected[2]));
}

#[test]
fn out_is_the_run_folder_itself_and_made_if_missing() {
    let home = temporary();
    let out = home.path().join("deep/er");
    let folder = at(&out).unwrap();
    assert_eq!(folder.path(), out);
    folder.write_study("name = \"quick\"\n").unwrap();
    assert_eq!(fs::read_to_string(out.join("study.toml")).unwrap(), "name = \"quick\"\n");
}

#[test]
fn of_a_run_that_never_began_no_folder_stays_unless_it_was_there_or_has_logs() {
    let home = temporary();
    let runs = home.path().join("runs");
    let [unnamed, with_logs] = [0, 1].map(|_| RunFolder::create(None, &runs, "quick", now()).unwrap());
    let named = at(&home.path().join("deep/named")).unwrap();
    let there = home.path().join("there");
    fs::create_dir(&there).unwrap();
    let found = at(&there).unwrap();
    fs::create_dir(with_logs.path().join("logs")).unwrap();
    for folder in [unnamed, with_logs, named, found] {
        folder.write_study("name = \"quick\"\n").unwrap();
    }
    assert_eq!(names(home.path()), ["runs", "there"]);
    assert_eq!(names(&runs), ["quick-20261122T170102Z-2"]);
    assert_eq!(names(&runs.join("quick-20261122T170102Z-2")), ["logs"]);
    assert_eq!(names(&there), Vec::<String>::new());
    let mut begun = at(&there).unwrap();
    begun.begin();
    drop(begun);
    assert_eq!(names(&there), [LOCK]);
}

#[test]
fn a_folder_that_cannot_be_made_leaves_none_of_those_above_it() {
    let home = temporary();
    let too_long = "x".repeat(300);
    let error = at(&home.path().join("a/b").join(too_long)).unwrap_err();
    assert!(error.to_string().contains("a/b/xxx"), "{error}");
    assert_eq!(names(home.path()), Vec::<String>::new());
}

#[test]
fn a_folder_that_is_not_empty_is_refused_and_left_as_it_was() {
    let home = temporary();
    fs::write(home.path().join("thesis.txt"), "years of work").unwrap();
    let error = at(home.path()).unwrap_err();
    assert!(matches!(error, FolderError::NotEmpty(_)), "{error}");
    assert!(error.to_string().contains(&home.path().display().to_string()), "{error}");
    assert_eq!(names(home.path()), ["thesis.txt"]);
}

#[test]
fn a_folder_is_locked_while_its_run_lives_and_free_after_it() {
    let home = temporary();
    let first = at(home.path()).unwrap();
    let error = at(home.path()).unwrap_err();
    assert!(matches!(error, FolderError::Locked(_)), "{error}");
    drop(first);
    at(home.path()).expect("a run that wrote nothing leaves the folder usable");
}

#[test]
fn no_error_speaks_of_a_flag_that_only_some_commands_have() {
    for kind in [io::ErrorKind::StorageFull, io::ErrorKind::PermissionDenied, io::ErrorKind::NotADirectory] {
        let error = FolderError::from_io(Path::new("run/lock"), kind.into());
        assert!(!error.to_string().contains("--out"), "{error}");
        assert_eq!(error.is_full(), kind == io::ErrorKind::StorageFull);
    }
}

#[test]
fn a_run_is_seen_by_its_lock_and_those_who_look_do_not_keep_it_out() {
    let home = temporary();
    assert!(!is_held(home.path()), "no run was ever there");
    drop(at(home.path()).unwrap());
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let _ = is_held(home.path());
                }
            });
        }
        let refused = (0..2000).filter(|_| at(home.path()).is_err()).count();
        stop.store(true, Ordering::Relaxed);
        assert_eq!(refused, 0);
    });
    let run = at(home.path()).unwrap();
    assert!(is_held(home.path()));
    drop(run);
    assert!(!is_held(home.path()));
}

#[test]
fn a_file_where_a_folder_is_needed_is_an_error_that_names_it() {
    let home = temporary();
    let file = home.path().join("file");
    fs::write(&file, "").unwrap();
    for path in [file.clone(), file.join("below")] {
        let error = at(&path).unwrap_err();
        assert!(matches!(error, FolderError::NotAFolder(_)), "{error:?}");
        assert!(error.to_string().contains("file"), "{error}");
    }
    let error = RunFolder::create(None, &file, "quick", now()).unwrap_err();
    assert!(matches!(error, FolderError::NotAFolder(_)), "{error:?}");
    assert_eq!(names(home.path()), ["file"]);
}

/// A folder without write permission stops no root, and these tests may run as root; what the system says is
/// sorted by a function of its own, so that is what is checked.
#[test]
fn an_error_of_the_system_says_what_to_do() {
    let path = Path::new("runs/x");
    for (kind, advice) in [
        (io::ErrorKind::StorageFull, "free some space"),
        (io::ErrorKind::PermissionDenied, "see to it that you may"),
        (io::ErrorKind::ReadOnlyFilesystem, "see to it that you may"),
        (io::ErrorKind::NotADirectory, "is not a folder"),
    ] {
        let message = FolderError::from_io(path, kind.into()).to_string();
        assert!(message.contains("runs/x") && message.contains(advice), "{message}");
    }
}

#[test]
fn a_write_that_cannot_be_finished_leaves_no_half_written_file() {
    let home = temporary();
    let folder = at(home.path()).unwrap();
    fs::create_dir(home.path().join("summary.json")).unwrap();
    let error = folder.write_results(&run(vec![finished(0, 0.1)])).unwrap_err();
    assert!(error.to_string().contains("summary.json"), "{error}");
    assert_eq!(
        names(home.path()),
        ["attempts.csv", "epochs.csv", LOCK, "summary.json", "trials.csv", "trials.parquet"]
    );
}

/// A device that is always full stands in for the disk.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_told_as_such_and_leaves_the_former_file() {
    let home = temporary();
    let folder = at(home.path()).unwrap();
    folder.write_study("name = \"former\"\n").unwrap();
    std::os::unix::fs::symlink("/dev/full", home.path().join(".study.toml.partial")).unwrap();
    let error = folder.write_study("name = \"later\"\n").unwrap_err();
    assert!(matches!(error, FolderError::Full { .. }), "{error:?}");
    assert_eq!(names(home.path()), [LOCK, "study.toml"]);
    assert_eq!(fs::read_to_string(home.path().join("study.toml")).unwrap(), "name = \"former\"\n");
}

#[test]
fn a_file_that_is_made_while_it_is_written_has_no_name_before_it_is_whole() {
    let home = temporary();
    let (path, partial) = (home.path().join("out.csv"), home.path().join(".out.csv.partial"));
    fs::write(&path, "former").unwrap();
    fs::write(&partial, "of a process that was ended").unwrap();
    let has_unnamed = unnamed(home.path()).is_some();
    write_whole_by(&path, |file| {
        file.write_all(b"later")?;
        file.flush()?;
        assert_eq!(fs::read_to_string(&path)?, "former");
        let stands_there = fs::read_to_string(&partial)?;
        assert_eq!(stands_there, if has_unnamed { "of a process that was ended" } else { "later" });
        Ok(())
    })
    .unwrap();
    assert_eq!(
        (names(home.path()), fs::read_to_string(&path).unwrap().as_str()),
        (vec!["out.csv".to_owned()], "later")
    );
    let plain = home.path().join("plain.csv");
    fs::write(&plain, "").unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().mode();
    assert_eq!(mode(&path), mode(&plain), "whoever may read others may read it");
    let failed = write_whole_by(&path, |_| Err(io::Error::other("no")));
    assert!(failed.is_err() && names(home.path()) == ["out.csv", "plain.csv"], "{failed:?}");
}

#[test]
fn results_are_written_whole_and_written_again() {
    let home = temporary();
    let folder = at(home.path()).unwrap();
    folder.write_results(&run(vec![diverged(0, 1)])).unwrap();
    let record = run(vec![finished(0, 0.1), finished(1, 0.2)]);
    folder.write_results(&record).unwrap();
    assert_eq!(
        names(home.path()),
        ["attempts.csv", "epochs.csv", LOCK, "summary.json", "trials.csv", "trials.parquet"]
    );
    let read = |name: &str| fs::read(home.path().join(name)).unwrap();
    assert_eq!(read("trials.csv"), trials_csv(&record).unwrap());
    assert_eq!(read("epochs.csv"), epochs_csv(&record).unwrap());
    assert_eq!(String::from_utf8(read("summary.json")).unwrap().trim_end(), summary_json(&record));
}
