//! Applications whose executors and drivers are killed at any moment, the commit included, and whose disk is full: each row is
//! there once in the end, and nothing is visible before.
//!
//! `tests/outside/run apply` sets `BROADSWEEP_APPLY_ROWS` and `BROADSWEEP_APPLY_KILLS` to more than these few.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic, in its helping functions too")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use broadsweep_tests::chaos::{Dice, kill_a_child};
use broadsweep_tests::lab::Lab;
use broadsweep_tests::process::{Ended, Process, is_running};
use broadsweep_tests::small_disk::SmallDisk;

const PROGRAM: &str = env!("CARGO_BIN_EXE_broadsweep-under-test");

const STUDY: &str = "
name = 'points'
seed = 3
[data]
format = 'csv'
train_file = 'train.csv'
label_column = 'kind'
leave_out = ['id']
validation_rows = 100
[model]
layers = [{ kind = 'dense', units = 8, activation = 'relu' }, { kind = 'dense', units = 2 }]
[training]
learning_rate = 0.05
epochs = 2
batch_size = 32
";

/// What the environment asks for, or so much.
fn asked(name: &str, otherwise: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

fn table(rows: usize) -> String {
    let wave = |place: usize| ((place as f64 * 12.9898 + 4.1414).sin() * 43_758.545_3).fract();
    (0..rows).fold("id,a,b,kind\n".to_owned(), |text, number| {
        let (a, b) = (wave(2 * number), wave(2 * number + 1));
        text + &format!("{number},{a},{b},{}\n", if a + b > 0.0 { "up" } else { "down" })
    })
}

/// A place with a trained model, and rows to apply it to.
fn trained(rows: usize) -> Lab {
    let lab = Lab::new(PROGRAM);
    lab.write("train.csv", table(500));
    lab.write("rows.csv", table(rows));
    let study = lab.write("study.toml", STUDY);
    let ended = lab.tune(&study, "run", &["--local", "1x1"]).wait();
    assert!(ended.code == Some(0), "{}", ended.stderr);
    lab
}

fn begin(lab: &Lab, output: &Path, run: &str, shape: &str) -> Process {
    let paths = [lab.path("run"), lab.path("rows.csv"), output.to_owned(), lab.path(run), lab.path("cache")];
    let [model, input, output, run, cache] = paths.map(|path: PathBuf| path.to_str().unwrap().to_owned());
    lab.command([
        "apply",
        &model,
        "--input",
        &input,
        "--output",
        &output,
        "--out",
        &run,
        "--cache-dir",
        &cache,
        "--local",
        shape,
        "--partition-rows",
        "500",
        "--format",
        "csv",
        "--keep",
        "id",
    ])
}

/// The files of an output but for its manifest, which names the run.
fn parts(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let named = |path: PathBuf| (path.file_name().unwrap().to_str().unwrap().to_owned(), path);
    let files = entries.map(named).filter(|(name, _)| name != "manifest.json");
    files.map(|(name, path)| (name, fs::read(path).unwrap())).collect()
}

fn succeeded(ended: &Ended) {
    assert!(ended.code == Some(0), "{}\n{}", ended.stdout, ended.stderr);
}

/// Lets a driver get somewhere: to some partition, or into its commit, or to its end.
fn let_run(dice: &mut Dice, driver: &Process, lab: &Lab, partitions: usize) {
    let (outputs, files) = (lab.path("out-run/outputs"), lab.path(".out.broadsweep/files"));
    let count = |folder: &Path| fs::read_dir(folder).map_or(0, Iterator::count);
    let (made, put) = match dice.roll(0..4) {
        0 => (partitions, dice.roll(0..partitions)),
        _ => (dice.roll(0..partitions), 0),
    };
    while is_running(driver.id()) && (count(&outputs) < made || count(&files) < put) {
        thread::sleep(Duration::from_micros(200));
    }
    thread::sleep(Duration::from_micros(dice.roll(0..5_000) as u64));
}

#[test]
fn whoever_is_killed_whenever_each_row_is_there_once_and_none_before_all_are() {
    let (rows, kills) = (asked("BROADSWEEP_APPLY_ROWS", 10_000), asked("BROADSWEEP_APPLY_KILLS", 8));
    let lab = trained(rows);
    succeeded(&begin(&lab, &lab.path("whole"), "whole-run", "1x1").wait());
    let whole = parts(&lab.path("whole"));
    assert!(whole.len() >= rows.div_ceil(500), "{} partitions", whole.len());
    let mut dice = Dice::new(rows as u64 + kills as u64);
    for round in 0..kills {
        let output = lab.path("out");
        let is_over = Arc::new(AtomicBool::new(false));
        let reader = {
            let (output, files, is_over) = (output.clone(), whole.len() + 1, Arc::clone(&is_over));
            thread::spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    let seen = fs::read_dir(&output).map_or(0, Iterator::count);
                    assert!([0, files].contains(&seen), "{seen} of {files} files are visible");
                    thread::sleep(Duration::from_micros(500));
                }
            })
        };
        let driver = begin(&lab, &output, "out-run", ["1x1", "2x1", "1x2"][dice.roll(0..3)]);
        let_run(&mut dice, &driver, &lab, whole.len());
        if round % 3 == 2 {
            kill_a_child(&mut dice, &driver);
            let_run(&mut dice, &driver, &lab, whole.len());
        }
        driver.kill();
        if lab.path("out-run/journal").is_file() {
            succeeded(&lab.resume("out-run", &[]).wait());
        } else {
            // It had not begun: nothing of it is in anybody's way.
            let again = begin(&lab, &output, "out-again", "1x2").wait();
            succeeded(&again);
        }
        is_over.store(true, Ordering::Relaxed);
        reader.join().unwrap();
        assert!(parts(&output) == whole, "other bytes after {round} kills");
        for left in ["out", "out-run", "out-again", ".out.broadsweep"] {
            let _ = fs::remove_dir_all(lab.path(left)); // some were never there
        }
    }
}

#[test]
fn a_full_disk_ends_an_application_in_order_and_once_there_is_room_it_goes_on() {
    let lab = trained(4_000);
    succeeded(&begin(&lab, &lab.path("whole"), "whole-run", "1x2").wait());
    let Some(disk) = SmallDisk::mount(lab.path("disk"), 2) else { return };
    let output = lab.path("disk/out");
    let filler = disk.fill();
    let full = begin(&lab, &output, "out-run", "1x2").wait();
    assert_eq!(full.code, Some(1), "{}", full.stderr);
    assert!(full.stderr.contains("full") || full.stderr.contains("No space"), "{}", full.stderr);
    assert!(!output.exists(), "something is visible");
    fs::remove_file(filler).unwrap();
    // Room for the claim, but not for all rows.
    let filler = disk.fill();
    fs::OpenOptions::new().write(true).open(&filler).unwrap().set_len((2 << 20) - (128 << 10)).unwrap();
    let first = begin(&lab, &output, "second-run", "1x2").wait();
    assert_eq!(first.code, Some(1), "{}", first.stderr);
    assert!(first.stderr.contains("broadsweep resume"), "{}", first.stderr);
    assert!(!output.exists(), "something is visible");
    fs::remove_file(filler).unwrap();
    succeeded(&lab.resume("second-run", &[]).wait());
    assert!(parts(&output) == parts(&lab.path("whole")), "other bytes");
}
