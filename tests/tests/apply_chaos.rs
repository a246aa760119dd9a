//! Applications whose executors and drivers are killed at any moment, the commit included, and whose disk is full: each row is
//! there once in the end, and nothing is visible before.
//!
//! `tests/outside/run apply` sets `BROADSWEEP_APPLY_ROWS` and `BROADSWEEP_APPLY_KILLS` to more than these few.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use broadsweep_tests::applications::{PARTITION_ROWS, begin, parts, succeeded, trained};
use broadsweep_tests::chaos::{Dice, kill_a_child};
use broadsweep_tests::lab::Lab;
use broadsweep_tests::process::{Process, is_running};
use broadsweep_tests::small_disk::SmallDisk;

const PROGRAM: &str = env!("CARGO_BIN_EXE_broadsweep-under-test");

/// What the environment asks for, or so much.
fn asked(name: &str, otherwise: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// Begins to apply the model on this shape of executors.
fn started(lab: &Lab, output: &str, run: &str, shape: &str) -> Process {
    begin(lab, output, run, &["--local", shape, "--format", "csv", "--keep", "id"])
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
    let lab = trained(PROGRAM, rows);
    succeeded(&started(&lab, "whole", "whole-run", "1x1").wait());
    let whole = parts(&lab.path("whole"));
    assert!(whole.len() >= rows.div_ceil(PARTITION_ROWS), "{} partitions", whole.len());
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
        let driver = started(&lab, "out", "out-run", ["1x1", "2x1", "1x2"][dice.roll(0..3)]);
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
            let again = started(&lab, "out", "out-again", "1x2").wait();
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
    let lab = trained(PROGRAM, 4_000);
    succeeded(&started(&lab, "whole", "whole-run", "1x2").wait());
    let Some(disk) = SmallDisk::mount(lab.path("disk"), 2) else { return };
    let output = lab.path("disk/out");
    let filler = disk.fill();
    let full = started(&lab, "disk/out", "out-run", "1x2").wait();
    assert_eq!(full.code, Some(1), "{}", full.stderr);
    assert!(full.stderr.contains("full") || full.stderr.contains("No space"), "{}", full.stderr);
    assert!(!output.exists(), "something is visible");
    fs::remove_file(filler).unwrap();
    // Room for the claim, but not for all rows.
    let filler = disk.fill();
    fs::OpenOptions::new().write(true).open(&filler).unwrap().set_len((2 << 20) - (128 << 10)).unwrap();
    let first = started(&lab, "disk/out", "second-run", "1x2").wait();
    assert_eq!(first.code, Some(1), "{}", first.stderr);
    assert!(first.stderr.contains("broadsweep resume"), "{}", first.stderr);
    assert!(!output.exists(), "something is visible");
    fs::remove_file(filler).unwrap();
    succeeded(&lab.resume("second-run", &[]).wait());
    assert!(parts(&output) == parts(&lab.path("whole")), "other bytes");
}
