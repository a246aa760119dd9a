//! Which executors a run uses, and what they may take of a machine that they share.

use std::fs;

use broadsweep_common::size::ByteSize;
use broadsweep_executor::machine::memory_bytes;
use broadsweep_tests::chaos::waiting;
use broadsweep_tests::lab::Lab;

const PROGRAM: &str = env!("CARGO_BIN_EXE_broadsweep-under-test");

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
