//! Folders and files of any name: a path is bytes, and what is said of it is for people and for their shells.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic, in its helping functions too")]

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use broadsweep_tests::lab::Lab;
use broadsweep_tests::process::Ended;
use rustix::process::Signal;
use serde_json::Value;

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

/// The program with these arguments; it has to succeed, and to leave the terminal alone.
fn succeeds(lab: &Lab, arguments: &[&OsStr]) -> Ended {
    let ended = lab.command(arguments).wait();
    assert_eq!(ended.code, Some(0), "{arguments:?}: {}", ended.stderr);
    assert_harmless(&ended);
    ended
}

/// Nothing that was said gives a terminal an order.
fn assert_harmless(ended: &Ended) {
    let said = format!("{}{}", ended.stdout, ended.stderr);
    let orders = |character: char| character.is_control() && character != '\n';
    assert!(!said.contains(orders), "{said:?}");
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
    succeeds(&lab, &[text("check"), study.as_os_str()]);
    let tune = [text("tune"), study.as_os_str(), text("--out"), run.as_os_str()];
    succeeds(&lab, &[&tune[..], &cache_dir].concat());
    // Over already: the roster is read back, and the results are written again.
    fs::remove_file(run.join("summary.json")).unwrap();
    succeeds(&lab, &[text("resume"), run.as_os_str()]);
    assert!(run.join("summary.json").is_file());
    succeeds(&lab, &[text("report"), run.as_os_str(), text("--format"), text("html")]);
    let sizes = [text("--sizes"), text("1"), text("--repeats"), text("1")];
    let scale = [text("scale"), study.as_os_str(), text("--out"), series.as_os_str()];
    succeeds(&lab, &[&scale[..], &sizes, &cache_dir].concat());
    fs::remove_dir_all(series.join("1-1")).unwrap();
    succeeds(&lab, &[text("scale"), text("--resume"), series.as_os_str()]);
    succeeds(&lab, &[&["cache", "list", "--json"].map(text)[..], &cache_dir].concat());
    succeeds(&lab, &[&["cache", "clear"].map(text)[..], &cache_dir].concat());
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

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn a_relative_cache_folder_is_written_down_from_the_root() {
    let lab = Lab::new(PROGRAM);
    let place = place(&lab, b"study");
    let cache = place.parent().unwrap().join("cache");
    let flags = ["study/study.toml", "--cache-dir", "cache", "--out"].map(text);
    succeeds(&lab, &[&[text("tune")], &flags[..], &[text("run")]].concat());
    assert_eq!(json(&lab.path("run/executors.json"))["crew"]["local"]["cache"], cache.to_str().unwrap());
    succeeds(&lab, &[&[text("scale"), text("--sizes"), text("1")], &flags[..], &[text("series")]].concat());
    assert_eq!(json(&lab.path("series/series.json"))["crew"]["local"]["cache"], cache.to_str().unwrap());
}

#[test]
fn a_run_goes_on_where_study_and_data_were_moved_to() {
    let lab = Lab::new(PROGRAM);
    let place = place(&lab, b"old");
    succeeds(&lab, &["tune", "old/study.toml", "--out", "old/run"].map(text));
    fs::rename(place, lab.path("new")).unwrap();
    let ended = lab.command(["resume", "new/run"]).wait();
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    assert!(ended.stderr.contains("trials.csv: no such file") && ended.stderr.contains("--data-dir"), "{ended:?}");
    // A recording of the same trials, but with another number.
    fs::create_dir(lab.path("other")).unwrap();
    fs::write(lab.path("other/trials.csv"), TRIALS.replace("0.25", "0.125")).unwrap();
    let before = fs::read(lab.path("new/run/executors.json")).unwrap();
    let rows = [("nowhere", 2, "nowhere is no folder"), ("other", 1, "the study is not what it began with")];
    for (folder, code, fragment) in rows {
        let ended = lab.command(["resume", "new/run", "--data-dir", folder]).wait();
        assert!(ended.code == Some(code) && ended.stderr.contains(fragment), "{ended:?}");
        assert_eq!(fs::read(lab.path("new/run/executors.json")).unwrap(), before, "{folder} is remembered");
    }
    succeeds(&lab, &["resume", "new/run", "--data-dir", "new"].map(text));
    succeeds(&lab, &["resume", "new/run"].map(text)); // it is remembered
}

/// Thirty trials of a fifth of a second.
const SLOW: &str = "
name = 'slow'
[trainer]
kind = 'replay'
seconds = 0.2
error = '$error'
[search]
sampler = 'grid'
[search.space]
error = { range = [0.1, 0.9], count = 30 }
";

#[test]
fn a_run_goes_on_with_this_machine_and_with_other_executors_of_it() {
    let lab = Lab::new(PROGRAM);
    let study = lab.write("slow.toml", SLOW);
    let executor = lab.executor("node", 1);
    let nodes: &[&str] = &["tune", study.to_str().unwrap(), "--out", "run", "--nodes", &executor.address];
    let two: &[&str] = &["resume", "run", "--local", "2x1"];
    let interrupted = |arguments: &[&str]| {
        let driver = lab.command([arguments, &["-v"]].concat());
        let _ = driver.line_with("running"); // trials are under way
        driver.signal(Signal::INT);
        let ended = driver.wait();
        assert_eq!(ended.code, Some(130), "{arguments:?}: {}", ended.stderr);
    };
    interrupted(nodes);
    let ended = lab.command(["resume", "run", "--cache-dir", "other"]).wait();
    assert!(ended.code == Some(2) && ended.stderr.contains("add --local"), "{ended:?}");
    drop(executor);
    interrupted(two);
    let last = lab.command(["resume", "run", "--local", "1x2", "--cache-dir", "other"]).wait();
    assert_eq!(last.code, Some(0), "{}", last.stderr);
    assert!(lab.path("other").is_dir());
    let summary = json(&lab.path("run/summary.json"));
    assert_eq!(summary["trials"]["finished"], 30, "{summary}");
    let crew = &json(&lab.path("run/executors.json"))["crew"]["local"];
    assert_eq!((&crew["shape"], crew["cache"].as_str().unwrap().starts_with('/')), (&"1x2".into(), true));
}

#[test]
fn what_a_file_holds_never_reaches_the_terminal_raw() {
    let lab = Lab::new(PROGRAM);
    lab.write("table.csv", "\u{1b}[2J,\u{9b}\n1,2\n3,4\n");
    lab.write(
        "table.toml",
        "name = 'table'\n[data]\nformat = 'csv'\ntrain_file = 'table.csv'\nlabel_column = 'price'\n\
         validation_rows = 1\n[model]\nloss = 'mean_squared_error'\nlayers = [{ kind = 'dense', units = 1 }]\n\
         [training]\nlearning_rate = 0.1\nepochs = 1\n",
    );
    let ended = lab.command(["check", "table.toml"]).wait();
    assert!(ended.code == Some(2) && ended.stderr.contains("it has: \\u{1b}[2J, \\u{9b}"), "{ended:?}");
    assert_harmless(&ended);
}

/// What the program says on standard error when its results cannot be written; it has to fail.
fn without_room(lab: &Lab, arguments: &[&OsStr]) -> String {
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let output = Command::new(PROGRAM)
        .args(arguments)
        .current_dir(lab.path("."))
        .env("HOME", lab.path("."))
        .stdout(full)
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
    assert!(said.contains("cannot write to the standard output"), "{arguments:?}: {said}");
    said
}

#[test]
fn results_that_cannot_be_printed_are_safe_and_what_is_said_can_be_typed() {
    let lab = Lab::new(PROGRAM);
    let place = place(&lab, STRANGE);
    let (study, run) = (place.join("study.toml"), place.join("run"));
    let [series, again] = ["series", "again"].map(|name| place.join(name));
    let scale = ["scale", "--sizes", "1", "--repeats", "1", "--out"].map(text);
    let rows = [
        [&[text("tune"), study.as_os_str(), text("--out"), run.as_os_str()][..], &[]],
        [&[text("tune"), study.as_os_str(), text("--json"), text("--out"), again.as_os_str()], &[]],
        [&scale, &[series.as_os_str(), study.as_os_str()]],
    ];
    for row in rows {
        let said = without_room(&lab, &row.concat());
        assert!(said.contains("the results are safe in "), "{said}");
        let hint = said.lines().find_map(|line| line.strip_prefix("to see them: ")).unwrap();
        let typed = format!("broadsweep() {{ {PROGRAM} \"$@\"; }}; {hint}");
        let shown = Command::new("bash").args(["-c", &typed]).output().unwrap();
        assert!(shown.status.success(), "{hint}: {}", String::from_utf8_lossy(&shown.stderr));
    }
    for arguments in [&["check"][..], &["report"], &["executor", "--about"]] {
        let path = if arguments[0] == "check" { &study } else { &run };
        let path = (arguments[0] != "executor").then_some(path.as_os_str());
        let arguments: Vec<_> = arguments.iter().copied().map(text).chain(path).collect();
        let _ = without_room(&lab, &arguments);
    }
}
