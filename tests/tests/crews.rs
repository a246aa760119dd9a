//! Which executors a run uses, and what they may take of a machine that they share.

use std::fs;

use broadsweep_common::size::ByteSize;
use broadsweep_executor::machine::memory_bytes;
use broadsweep_tests::chaos::waiting;
use broadsweep_tests::lab::Lab;
use broadsweep_tests::process::is_running;

const PROGRAM: &str = env!("CARGO_BIN_EXE_broadsweep-under-test");

#[test]
fn a_local_run_that_is_resumed_on_nodes_leaves_its_local_executors_behind() {
    let lab = Lab::new(PROGRAM);
    let study = waiting(&lab, 6, 1, 0.4, 60_000);
    let driver = lab.tune(&study, "out", &["--local", "2x1"]);
    driver.until_lines("launched", 2);
    let children = driver.children();
    driver.kill();
    let executor = lab.executor("cache", 1);
    let resumed = lab.resume("out", &["--nodes", &executor.address, "--connect-timeout", "1"]).wait();
    assert_eq!(resumed.code, Some(0), "{}", resumed.stderr);
    assert!(!children.iter().any(|child| is_running(*child)), "they go on for nobody");
    for name in ["local 0", "local 1"] {
        let told: Vec<_> = resumed.stderr.lines().filter(|line| line.starts_with(name)).collect();
        assert!(told.is_empty(), "{told:?}");
    }
    let again = lab.resume("out", &[]).wait();
    assert_eq!(again.code, Some(0), "{}", again.stderr);
}

#[test]
fn local_executors_share_the_memory_of_their_machine() {
    let lab = Lab::new(PROGRAM);
    let driver = lab.tune(&waiting(&lab, 3, 1, 3600.0, 0), "out", &["--local", "3x1"]);
    driver.until_lines("launched", 3);
    let shares = driver.children().into_iter().map(|child| {
        let arguments = fs::read_to_string(format!("/proc/{child}/cmdline")).unwrap();
        let share = arguments.split('\0').find_map(|argument| argument.strip_prefix("--memory-bytes=")?.parse().ok());
        share.map_or_else(memory_bytes, |ByteSize(bytes)| bytes)
    });
    let shares: Vec<_> = shares.collect();
    let (sum, machine) = (shares.iter().sum::<u64>(), memory_bytes());
    assert!(shares.len() == 3 && sum <= machine && sum > machine / 10 * 9, "{shares:?} of {machine}");
}
