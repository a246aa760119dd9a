//! Folders and files of any name: a path is bytes, and what is said of it is for people and for their shells.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic, in its helping functions too")]

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use broadsweep_tests::lab::Lab;
use broadsweep_tests::process::Ended;

const PROGRAM: &str = env!("CARGO_BIN_EXE_broadsweep-under-test");

/// A space, quotes, an escape that clears the screen, a line end, and a byte that is no UTF-8.
const STRANGE: &[u8] = b"a b'c\"$d\x1b[2J\n\xff";

/// Two trials of no time, replayed from a file beside the study.
const STUDY: &str = "
name = 'paths'
[trainer]
kind = 'replay'
recorded = 'trials.csv'
[search]
sampler = 'grid'
[search.space]
rate = { values = [1, 2] }
";

const TRIALS: &str = "trial,rate,outcome,counted_epoch,epochs,training_loss,validation_loss,validation_error,\
                      test_loss,test_error,training_s,evaluation_s
0,1,finished,1,1,0.5,0.5,0.25,,,0,0
1,2,finished,1,1,0.5,0.5,0.5,,,0,0
";

/// A folder of this name in the lab, with a study in it.
fn place(lab: &Lab, name: &[u8]) -> PathBuf {
    let place = lab.path(".").canonicalize().unwrap().join(OsStr::from_bytes(name));
    fs::create_dir(&place).unwrap();
    fs::write(place.join("study.toml"), STUDY).unwrap();
    fs::write(place.join("trials.csv"), TRIALS).unwrap();
    place
}

/// The program with these arguments; it has to succeed.
fn succeeds(lab: &Lab, arguments: &[&OsStr]) -> Ended {
    let ended = lab.command(arguments).wait();
    assert_eq!(ended.code, Some(0), "{arguments:?}: {}", ended.stderr);
    ended
}

fn text(argument: &str) -> &OsStr {
    OsStr::new(argument)
}

#[test]
fn every_command_works_in_folders_of_any_name() {
    let lab = Lab::new(PROGRAM);
    let place = place(&lab, STRANGE);
    let (study, cache) = (place.join("study.toml"), place.join("cache"));
    let [run, series] = ["run", "series"].map(|name| place.join(name));
    let cache_dir = [text("--cache-dir"), cache.as_os_str()];
    let with = |arguments: &[&OsStr]| [arguments, &cache_dir].concat();
    succeeds(&lab, &[text("check"), study.as_os_str()]);
    succeeds(&lab, &with(&[text("tune"), study.as_os_str(), text("--out"), run.as_os_str()]));
    // Over already: the roster is read back, and the results are written again.
    fs::remove_file(run.join("summary.json")).unwrap();
    succeeds(&lab, &[text("resume"), run.as_os_str()]);
    assert!(run.join("summary.json").is_file());
    succeeds(&lab, &[text("report"), run.as_os_str(), text("--format"), text("html")]);
    let sizes = [text("--sizes"), text("1"), text("--repeats"), text("1")];
    let scale = [&[text("scale"), study.as_os_str(), text("--out"), series.as_os_str()][..], &sizes].concat();
    succeeds(&lab, &with(&scale));
    fs::remove_dir_all(series.join("1-1")).unwrap();
    succeeds(&lab, &[text("scale"), text("--resume"), series.as_os_str()]);
    succeeds(&lab, &with(&[text("cache"), text("list"), text("--json")]));
    succeeds(&lab, &with(&[text("cache"), text("clear")]));
}

#[test]
fn a_node_file_of_any_name_is_read_and_named_when_it_cannot_be_used() {
    let lab = Lab::new(PROGRAM);
    let place = place(&lab, STRANGE);
    let executor = lab.executor("node", 1);
    let nodes = place.join("nodes");
    fs::write(&nodes, format!("{}\n", executor.address)).unwrap();
    let (study, run) = (place.join("study.toml"), place.join("run"));
    let tune = [text("tune"), study.as_os_str(), text("--out"), run.as_os_str(), text("--nodes"), nodes.as_os_str()];
    succeeds(&lab, &tune);
    fs::remove_file(run.join("summary.json")).unwrap();
    succeeds(&lab, &[text("resume"), run.as_os_str()]);

    let missing = place.join("missing");
    let ended = lab.command([text("tune"), study.as_os_str(), text("--nodes"), missing.as_os_str()]).wait();
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    assert!(ended.stderr.contains("missing` is neither host:port"), "{}", ended.stderr);
    assert!(!Path::new("runs").exists() && !lab.path("runs").exists(), "something was left behind");
}
