//! Drivers and executors ended with `kill -9` at random moments: the results of an undisturbed run, and no epoch twice
//! that was safe.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic, in its helping functions too")]

use std::collections::BTreeMap;

use broadsweep_tests::chaos::{
    AttemptRow, Dice, EPOCHS, attempts, ended_so, kill_a_child, recovered, small, undisturbed,
};
use broadsweep_tests::lab::Lab;
use broadsweep_tests::process::Ended;

const PROGRAM: &str = env!("CARGO_BIN_EXE_broadsweep-under-test");
/// Runs of each kind of cluster whose driver is killed.
const DRIVER_KILLS: u64 = 10;
/// Runs whose executors are killed.
const EXECUTOR_KILLS: u64 = 5;
/// How often one run's driver is killed at most.
const KILLS_MAX: usize = 4;

/// Drives a run to its end over drivers that are killed: the first one always, later ones with probability 1/3. Returns
/// how the last one ended, and what all of them said.
fn drive_over_kills(lab: &Lab, dice: &mut Dice, out: &str, flags: &[&str]) -> (Ended, String) {
    let mut driver = lab.tune(&small(lab, &[]), out, flags);
    // Before it has a journal, there is no run that could be resumed.
    driver.until_file(&lab.path(out).join("journal"));
    let mut said = String::new();
    for kills in 1.. {
        dice.let_run(&driver, EPOCHS / kills);
        said += &driver.cut_off().stderr;
        driver = lab.resume(out, &[]);
        if kills == KILLS_MAX || dice.roll(0..3) > 0 {
            break;
        }
    }
    let ended = driver.wait();
    said += &ended.stderr;
    (ended, said)
}

fn assert_nothing_is_repeated(what: &str, ended: &Ended, lab: &Lab, out: &str, said: &str) {
    let outcome = recovered(what, ended, lab, out, &undisturbed(PROGRAM));
    assert_eq!(outcome.number("/epochs_repeated"), 0, "{what}:\n{said}");
    // A launch that its driver wrote down and did not send any more is all that can be lost.
    let lost: Vec<_> = attempts(&outcome).into_iter().filter(|attempt| attempt.end == "lost").collect();
    assert!(lost.iter().all(|attempt| attempt.epoch == attempt.from_epoch), "{what}: {lost:?}\n{said}");
}

#[test]
fn a_run_whose_driver_is_killed_is_resumed_on_its_local_executors_without_an_epoch_trained_twice() {
    let lab = Lab::new(PROGRAM);
    for seed in 0..DRIVER_KILLS {
        let (out, mut dice) = (format!("run-{seed}"), Dice::new(seed));
        let (ended, said) = drive_over_kills(&lab, &mut dice, &out, &["--local", "2x1"]);
        assert_nothing_is_repeated(&format!("seed {seed}"), &ended, &lab, &out, &said);
    }
}

#[test]
fn a_run_whose_driver_is_killed_is_resumed_on_its_nodes_without_an_epoch_trained_twice() {
    let lab = Lab::new(PROGRAM);
    let nodes = [lab.executor("cache-a", 1), lab.executor("cache-b", 1)];
    let list = format!("{},{}", nodes[0].address, nodes[1].address);
    for seed in 100..100 + DRIVER_KILLS {
        let (out, mut dice) = (format!("run-{seed}"), Dice::new(seed));
        let (ended, said) = drive_over_kills(&lab, &mut dice, &out, &["--nodes", &list]);
        assert_nothing_is_repeated(&format!("seed {seed}"), &ended, &lab, &out, &said);
    }
}

/// The word after `name=` in a line of the log.
fn field<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    line.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
}

/// Every attempt begins where the newest checkpoint of its task is: neither earlier nor later.
fn assert_attempts_begin_at_checkpoints(what: &str, said: &str) {
    let mut safe = BTreeMap::new();
    for line in said.lines() {
        if line.contains("checkpoint safe") {
            safe.insert(field(line, "task").unwrap(), field(line, "epoch").unwrap());
        } else if line.contains(": launched ") {
            let (task, _) = field(line, "attempt").unwrap().split_once('.').unwrap();
            let newest = safe.get(task).copied().unwrap_or("0");
            assert_eq!(field(line, "from_epoch"), Some(newest), "{what}: {line}\n{said}");
        }
    }
}

/// Epochs that a task's attempts trained although an earlier attempt had reported them: those behind the checkpoint that
/// they began with, and no others.
fn repeated(rows: &[AttemptRow]) -> u64 {
    let mut reached: BTreeMap<u32, u32> = BTreeMap::new();
    let mut repeated = 0;
    for row in rows {
        let before = reached.entry(row.task).or_default();
        repeated += u64::from(row.epoch.min(*before).saturating_sub(row.from_epoch));
        *before = row.epoch.max(*before);
    }
    repeated
}

#[test]
fn a_run_whose_executors_are_killed_repeats_only_epochs_that_no_checkpoint_held() {
    let lab = Lab::new(PROGRAM);
    let mut lost = 0;
    for seed in 200..200 + EXECUTOR_KILLS {
        let (what, out, mut dice) = (format!("seed {seed}"), format!("run-{seed}"), Dice::new(seed));
        let driver = lab.tune(&small(&lab, &[]), &out, &["--local", "2x1"]);
        for kill in 1..=3 {
            driver.until_lines("epoch done", dice.roll(0..EPOCHS / 3 * kill));
            kill_a_child(&mut dice, &driver);
        }
        let ended = driver.wait();
        let outcome = recovered(&what, &ended, &lab, &out, &undisturbed(PROGRAM));
        assert_attempts_begin_at_checkpoints(&what, &ended.stderr);
        assert_eq!(outcome.number("/epochs_repeated"), repeated(&attempts(&outcome)), "{what}: {}", ended.stderr);
        lost += ended_so(&outcome, "lost");
    }
    assert!(lost > 0, "no attempt was lost in {EXECUTOR_KILLS} runs");
}

#[test]
fn a_run_whose_driver_and_executors_are_killed_ends_as_if_nothing_had_happened() {
    let lab = Lab::new(PROGRAM);
    for seed in 300..300 + EXECUTOR_KILLS {
        let (what, out, mut dice) = (format!("seed {seed}"), format!("run-{seed}"), Dice::new(seed));
        let mut driver = lab.tune(&small(&lab, &[]), &out, &["--local", "2x1"]);
        driver.until_file(&lab.path(&out).join("journal"));
        for _ in 0..2 {
            dice.let_run(&driver, EPOCHS / 2);
            kill_a_child(&mut dice, &driver);
            driver.kill();
            driver = lab.resume(&out, &[]);
        }
        let ended = driver.wait();
        drop(recovered(&what, &ended, &lab, &out, &undisturbed(PROGRAM)));
    }
}
