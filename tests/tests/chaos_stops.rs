//! Runs that are stopped, resumed, and fought over: Ctrl-C, drained executors, nodes that come late, second drivers.

use std::fs::OpenOptions;
use std::io::Write;
use std::time::{Duration, Instant};

use broadsweep_tests::chaos::{attempts, ended_so, recovered, small, undisturbed, waiting};
use broadsweep_tests::lab::Lab;
use broadsweep_tests::process::is_running;
use broadsweep_tests::wait::until;
use rustix::process::Signal;

const PROGRAM: &str = env!("CARGO_BIN_EXE_broadsweep-under-test");

#[test]
fn an_interrupted_run_is_resumed_without_an_epoch_trained_twice() {
    let lab = Lab::new(PROGRAM);
    let driver = lab.tune(&small(&lab, &[]), "out", &["--local", "2x1"]);
    driver.until_lines("epoch done", 7);
    let children = driver.children();
    driver.signal(Signal::INT);
    let interrupted = driver.wait();
    assert_eq!(interrupted.code, Some(130), "{}", interrupted.stderr);
    for part in ["under way, so that nothing is lost", "to go on: broadsweep resume "] {
        assert!(interrupted.stderr.contains(part), "{part}: {}", interrupted.stderr);
    }
    assert!(!children.iter().any(|child| is_running(*child)), "its executors outlive it");
    let ended = lab.resume("out", &[]).wait();
    assert!(ended.stderr.contains("resuming: "), "{}", ended.stderr);
    let outcome = recovered("after Ctrl-C", &ended, &lab, "out", &undisturbed(PROGRAM));
    assert_eq!(outcome.number("/epochs_repeated"), 0, "{}{}", interrupted.stderr, ended.stderr);
    assert!(ended_so(&outcome, "stopped") >= 1, "{}", outcome.summary);
}

#[test]
fn a_run_that_was_interrupted_twice_is_over_at_once_and_can_be_resumed() {
    let lab = Lab::new(PROGRAM);
    let study = waiting(&lab, 2, 2, 2.0, 10_000);
    let driver = lab.tune(&study, "out", &["--local", "2x1"]);
    driver.until_lines("launched", 2);
    let children = driver.children();
    let pressed = Instant::now();
    driver.signal(Signal::INT);
    let _ = driver.line_with("press Ctrl-C again to end at once");
    driver.signal(Signal::INT);
    assert_eq!(driver.wait().code, Some(130));
    until("the end of the local executors", || (!children.iter().any(|child| is_running(*child))).then_some(()));
    assert!(pressed.elapsed() < Duration::from_secs(1), "it took {:?}", pressed.elapsed());
    let ended = lab.resume("out", &[]).wait();
    let at_once = waiting(&lab, 2, 2, 0.0, 0);
    let digest = lab.tuned(&at_once, "undisturbed", &["--local", "1"]).digest().to_owned();
    drop(recovered("after two", &ended, &lab, "out", &digest));
}

#[test]
fn an_executor_that_is_told_to_leave_hands_its_trial_on_without_an_epoch_trained_twice() {
    let lab = Lab::new(PROGRAM);
    let (leaving, staying) = (lab.executor("cache-a", 1), lab.executor("cache-b", 1));
    let list = format!("{},{}", leaving.address, staying.address);
    let driver = lab.tune(&small(&lab, &[]), "out", &["--nodes", &list, "--nodes-min", "2"]);
    driver.until_lines("epoch done", 3);
    leaving.process.signal(Signal::TERM);
    assert_eq!(leaving.process.wait().code, Some(0));
    let ended = driver.wait();
    let outcome = recovered("after SIGTERM", &ended, &lab, "out", &undisturbed(PROGRAM));
    assert_eq!(outcome.number("/epochs_repeated"), 0, "{}", ended.stderr);
    assert_eq!((ended_so(&outcome, "lost"), ended_so(&outcome, "stopped")), (0, 1), "{}", ended.stderr);
    for part in ["is leaving; it takes no new trials", "has left"] {
        assert!(ended.stderr.contains(part), "{part}: {}", ended.stderr);
    }
}

#[test]
fn a_node_that_is_added_to_the_file_in_mid_run_gets_attempts() {
    let lab = Lab::new(PROGRAM);
    let (early, late) = (lab.executor("cache-a", 1), lab.executor("cache-b", 1));
    let nodes = lab.write("nodes", format!("{}\n", early.address));
    let study = waiting(&lab, 12, 1, 0.4, 10_000);
    let driver = lab.tune(&study, "out", &["--nodes", nodes.to_str().unwrap()]);
    let _ = driver.line_with("epoch done");
    writeln!(OpenOptions::new().append(true).open(nodes).unwrap(), "{}", late.address).unwrap();
    let ended = driver.wait();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let attempts = attempts(&lab.outcome("out"));
    assert!(attempts.iter().any(|attempt| attempt.executor == late.address), "{attempts:?}");
}

#[test]
fn an_executor_is_kept_for_the_run_of_a_killed_driver_until_nobody_comes() {
    let lab = Lab::new(PROGRAM);
    let executor = lab.forgetful_executor("cache", 1, 2);
    let driver = lab.tune(&lab.endless(), "first", &["--nodes", &executor.address]);
    let _ = driver.line_with("epoch done");
    let locked = lab.resume("first", &[]).wait();
    assert_eq!(locked.code, Some(2), "{}", locked.stderr);
    assert!(locked.stderr.contains("belongs to a run that is still going"), "{}", locked.stderr);
    // Who waits for longer than the hold lasts is served.
    let impatient = ["--nodes", &executor.address, "--connect-timeout", "1"];
    let second = lab.tune(&lab.short(), "second", &impatient).wait();
    assert_eq!(second.code, Some(1));
    assert!(second.stderr.contains("held by run first-"), "{}", second.stderr);
    driver.kill();
    let _ = executor.process.line_with("session ended");
    let third = lab.tune(&lab.short(), "third", &impatient).wait();
    assert_eq!(third.code, Some(1));
    for part in ["held by run first-", "whose driver has been gone for", "the hold ends 2 s after that"] {
        assert!(third.stderr.contains(part), "{part}: {}", third.stderr);
    }
    let _ = executor.process.line_with("its driver stayed away");
    assert_eq!(lab.tuned(&lab.short(), "fourth", &["--nodes", &executor.address]).number("/trials/failed"), 0);
}
