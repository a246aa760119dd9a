//! A program that rows are mapped through, on executors: each row once, whatever the program does.

#![cfg(feature = "mappers")]
#![expect(clippy::unwrap_used, reason = "a test fails by a panic, in its helping functions too")]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use broadsweep_tests::applications::{PARTITION_ROWS, parts, succeeded, table};
use broadsweep_tests::lab::Lab;
use broadsweep_tests::process::{Ended, Process, signal_to};
use broadsweep_tests::skip::skip;
use broadsweep_tests::wait::until;
use rustix::process::Signal;

const PROGRAM: &str = env!("CARGO_BIN_EXE_broadsweep-under-test");
/// Behaves as its first argument says, and notes what it does in the file of its second.
const MAPPER: &str = env!("CARGO_BIN_EXE_map-rows-under-test");

const ROWS: usize = 2_321;
const PARTITIONS: usize = 5;

fn lab() -> Lab {
    let lab = Lab::new(PROGRAM);
    lab.write("rows.csv", table(0..ROWS));
    lab
}

/// Begins to map `rows.csv` through the program that behaves so; its notes are beside the output.
fn begin(lab: &Lab, output: &str, mode: &str, flags: &[&str]) -> Process {
    let shown = |name: &str| lab.path(name).display().to_string();
    let program = format!("'{MAPPER}' {mode} '{}'", shown(&format!("{output}-notes")));
    let mut arguments = vec!["apply".to_owned(), "--program".to_owned(), program];
    for (flag, name) in [("--input", "rows.csv"), ("--output", output), ("--out", &format!("{output}-run"))] {
        arguments.extend([flag.to_owned(), shown(name)]);
    }
    arguments.extend(["--partition-rows".to_owned(), PARTITION_ROWS.to_string()]);
    if !flags.contains(&"--nodes") {
        arguments.extend(["--cache-dir".to_owned(), shown("cache")]);
    }
    lab.command(arguments.into_iter().chain(flags.iter().map(|flag| (*flag).to_owned())))
}

fn mapped(lab: &Lab, output: &str, mode: &str, flags: &[&str]) -> Ended {
    begin(lab, output, mode, flags).wait()
}

/// How often the program of this output noted that.
fn noted(lab: &Lab, output: &str, what: &str) -> usize {
    let notes = fs::read_to_string(lab.path(&format!("{output}-notes"))).unwrap_or_default();
    notes.lines().filter(|line| *line == what).count()
}

/// All rows of an output in CSV, without its header lines.
fn lines(lab: &Lab, output: &str) -> Vec<String> {
    let files = parts(&lab.path(output)).into_values();
    files
        .flat_map(|bytes| String::from_utf8(bytes).unwrap().lines().skip(1).map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

#[test]
fn each_row_is_answered_once_and_the_bytes_are_the_same_on_any_executors_with_one_start_a_slot() {
    let lab = lab();
    for format in ["csv", "jsonl", "parquet"] {
        let one = format!("one-{format}");
        let flags = ["--format", format, "--keep", "id,color", "--local"];
        succeeded(&mapped(&lab, &one, "flags", &[&flags[..], &["1x1"]].concat()));
        let expected = parts(&lab.path(&one));
        assert_eq!(expected.len(), PARTITIONS);
        assert_eq!((noted(&lab, &one, "started"), noted(&lab, &one, "partition")), (1, PARTITIONS));
        for (shape, slots) in [("1x2", 2), ("3x1", 3)] {
            let other = format!("{shape}-{format}");
            succeeded(&mapped(&lab, &other, "flags", &[&flags[..], &[shape, "--batch-rows", "500"]].concat()));
            assert!(noted(&lab, &other, "started") <= slots, "{shape}: it is started once a slot");
            assert_eq!(parts(&lab.path(&other)), expected, "{format} on {shape}");
        }
    }
    let text = table(0..ROWS);
    let mut wanted = Vec::new();
    for (row, line) in text.lines().skip(1).enumerate() {
        let cells: Vec<_> = line.split(',').collect();
        let (id, a): (_, f64) = (cells[0].trim_matches('"'), cells[1].parse().unwrap());
        let sign = if a < 0.0 { "below" } else { "above" };
        let mut told = format!("{id},{},{},{:?},{sign}", cells[3], id.len(), 2.0 * a);
        write!(told, ",{}", row_in_partition(row).is_multiple_of(2)).unwrap();
        wanted.push(told);
    }
    assert_eq!(lines(&lab, "one-csv"), wanted);
}

/// The number of a row among those of its partition, which are of nearly equal length.
fn row_in_partition(row: usize) -> usize {
    let share = |part: usize| ROWS * part / PARTITIONS;
    let marks = |part: usize| share(part) - share(part) % (PARTITION_ROWS / 32);
    row - (0..PARTITIONS).map(marks).filter(|first| *first <= row).max().unwrap()
}

#[test]
fn what_a_program_prints_is_in_the_logs_and_one_that_leaves_after_each_partition_is_started_anew() {
    let lab = lab();
    succeeded(&mapped(&lab, "good", "good", &["--format", "csv", "--keep", "id"]));
    for mode in ["prints", "once"] {
        succeeded(&mapped(&lab, mode, mode, &["--format", "csv", "--keep", "id", "--local", "1x2"]));
        assert!(parts(&lab.path(mode)) == parts(&lab.path("good")), "{mode}");
    }
    assert_eq!(noted(&lab, "once", "started"), PARTITIONS);
    let run = lab.path("prints-run");
    let logs = lab.command(["logs".as_ref(), run.as_os_str(), "t0.1".as_ref()]).wait();
    assert!(logs.stdout.contains("a row: xxx"), "{}{}", logs.stdout, logs.stderr);
}

#[test]
fn a_program_that_does_not_answer_as_it_should_is_named_with_what_it_did_and_nothing_is_written() {
    let lab = lab();
    let rows = [
        ("dies", "exit code 3", "printed at last: Traceback: no good row"),
        ("hangs", "it took no rows and gave no answers for 1 s", "it answered 0 of"),
        ("endless", "it took no rows and gave no answers for 1 s", "has to end its answers to each partition"),
        ("few", "each row needs one answer", "and was given"),
        ("garbage", "its answers are no Arrow stream", "Epoch 1/3"),
        ("huge", "whose description takes 2147483647 bytes", "may be"),
        ("uneven", "its answers have other columns than those of partition", "\"length\" is"),
    ];
    for (mode, what, more) in rows {
        let ended = mapped(&lab, mode, mode, &["--silent-max", "1s", "--local", "1x1"]);
        assert_eq!(ended.code, Some(1), "{mode}: {}", ended.stderr);
        assert!(ended.stderr.contains(what) && ended.stderr.contains(more), "{mode}: {}", ended.stderr);
        assert!(ended.stderr.contains("partition ") && ended.stderr.contains("rows.csv"), "{mode}: {}", ended.stderr);
        assert!(!lab.path(mode).exists(), "{mode}: something is visible");
    }
}

#[test]
fn an_executor_that_is_killed_and_a_driver_that_is_killed_change_no_byte() {
    let lab = lab();
    lab.write("rows.csv", table(0..20_000));
    succeeded(&mapped(&lab, "whole", "good", &[]));
    let over = |output: &str| fs::read_dir(lab.path(&format!("{output}-run/outputs")));
    let some_are_over = |output: &str| {
        until("some partitions are over", || over(output).is_ok_and(|found| found.count() > 3).then_some(()));
    };
    let driver = begin(&lab, "executor", "slow", &["--local", "2x1"]);
    some_are_over("executor");
    signal_to(driver.children()[0], Signal::KILL);
    succeeded(&driver.wait());
    assert!(parts(&lab.path("executor")) == parts(&lab.path("whole")), "other bytes");
    assert!(noted(&lab, "executor", "started") >= 2);
    let driver = begin(&lab, "driver", "slow", &["--local", "2x1"]);
    some_are_over("driver");
    driver.kill();
    assert!(!lab.path("driver").exists(), "something is visible");
    succeeded(&lab.resume("driver-run", &[]).wait());
    assert!(parts(&lab.path("driver")) == parts(&lab.path("whole")), "other bytes");
}

#[test]
fn nodes_run_programs_only_where_they_are_allowed() {
    let lab = lab();
    let files = lab.path(".");
    let files = files.to_str().unwrap();
    let closed = lab.executor_with("closed-cache", 1, &["--allow-files", files]);
    let refused = mapped(&lab, "closed", "good", &["--nodes", &closed.address, "--connect-timeout", "5"]);
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    assert!(refused.stderr.contains("--allow-programs"), "{}", refused.stderr);
    drop(closed);
    let open = lab.executor_with("open-cache", 2, &["--allow-files", files, "--allow-programs"]);
    succeeded(&mapped(&lab, "open", "good", &["--nodes", &open.address]));
    assert_eq!(parts(&lab.path("open")).len(), PARTITIONS);
    assert!((1..=2).contains(&noted(&lab, "open", "started")), "it is started once a slot");
}

#[test]
fn columns_that_are_not_there_are_refused_before_anything_runs() {
    let lab = lab();
    for (flags, what) in [
        (&["--columns", "id,b,a", "--keep", "idd"][..], "idd"),
        (&["--columns", "nobody"], "nobody"),
        (&["--files", "../up"], "not below the folder"),
        (&["--files", "gone.py"], "there is no"),
    ] {
        let refused = mapped(&lab, "refused", "good", flags);
        assert_eq!(refused.code, Some(2), "{flags:?}: {}", refused.stderr);
        assert!(refused.stderr.contains(what), "{}", refused.stderr);
        assert!(!lab.path("refused-run").exists());
    }
    let clash = mapped(&lab, "some", "good", &["--columns", "id,a", "--keep", "kind", "--format", "csv"]);
    succeeded(&clash);
    assert!(lines(&lab, "some")[0].ends_with("above") || lines(&lab, "some")[0].ends_with("below"));
}

/// The environment of the Python that has these: the one that CI makes, or the one that is active.
fn python_with(modules: &str) -> Option<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("target/venv");
    let prefix_of = |python: &Path| {
        let program = format!("import sys, {modules}; print(sys.prefix)");
        let tried = Command::new(python).args(["-c", &program]).output().ok()?;
        tried.status.success().then(|| PathBuf::from(String::from_utf8(tried.stdout).unwrap().trim()))
    };
    prefix_of(&own.join("bin/python3")).or_else(|| prefix_of(Path::new("python3")))
}

/// An IDX file of pictures of 28 by 28 bytes.
fn pictures(rows: usize) -> Vec<u8> {
    let sides = [rows, 28, 28].map(|side| (side as u32).to_be_bytes()).concat();
    let bytes = (0..rows * 784).map(|place| ((place * 7919) % 251) as u8);
    [0, 0, 8, 3].into_iter().chain(sides).chain(bytes).collect()
}

#[test]
fn the_programs_of_the_pages_answer_every_row_of_tables_and_of_arrays() {
    let Some(prefix) = python_with("pyarrow, sklearn") else {
        return skip("python3 has no pyarrow and scikit-learn: pip install them, or run .ci/run, which does");
    };
    let lab = lab();
    lab.write("pictures", pictures(700));
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("examples/any-program");
    for (name, input) in [("map_text.py", "rows.csv"), ("map_digits.py", "pictures")] {
        lab.write(name, fs::read(examples.join(name)).unwrap());
        for (output, more) in [("one", &["--local", "1x1"][..]), ("two", &["--local", "2x1", "--batch-rows", "64"])] {
            let output = format!("{name}-{output}");
            let shown = |name: &str| lab.path(name).display().to_string();
            let mut words = vec!["apply".to_owned(), "--program".to_owned(), format!("python3 {name}")];
            for (flag, value) in [
                ("--env-prefix", prefix.display().to_string()),
                ("--input", shown(input)),
                ("--output", shown(&output)),
                ("--out", shown(&format!("{output}-run"))),
                ("--cache-dir", shown("cache")),
                ("--format", "csv".to_owned()),
                ("--partition-rows", "300".to_owned()),
            ] {
                words.extend([flag.to_owned(), value]);
            }
            words.extend(more.iter().map(|word| (*word).to_owned()));
            succeeded(&lab.command(words).wait());
        }
        let [one, two] = ["one", "two"].map(|output| lines(&lab, &format!("{name}-{output}")));
        assert_eq!(one.len(), if input == "pictures" { 700 } else { ROWS }, "{name}");
        assert_eq!(one, two, "{name}");
    }
    // The first column is the number, as in "n0".
    assert_eq!(lines(&lab, "map_text.py-one")[9..11], ["2".to_owned(), "3".to_owned()]);
}
