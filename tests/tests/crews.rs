//! Which executors a run uses: how they are named, how they change while it goes on, and what they may take of a machine
//! that they share.

use std::fs::{self, OpenOptions};
use std::io::Write;

use broadsweep_common::size::ByteSize;
use broadsweep_executor::machine::memory_bytes;
use broadsweep_tests::chaos::waiting;
use broadsweep_tests::lab::{Lab, free_port};
use broadsweep_tests::process::is_running;

const PROGRAM: &str = env!("CARGO_BIN_EXE_broadsweep-under-test");

#[test]
fn an_executor_listens_on_a_host_name_and_is_found_in_a_list_as_other_programs_write_it() {
    let lab = Lab::new(PROGRAM);
    let executor = lab.executor_listening_on("localhost:0");
    let list = lab.write("nodes.txt", format!("\u{feff}{}\tgpu\r\n", executor.address));
    let study = waiting(&lab, 2, 1, 0.0, 0);
    let mpi = lab.write("mpi.txt", format!("{} slots=2\n", executor.address));
    for (out, file) in [("list", list), ("mpi", mpi)] {
        assert_eq!(lab.tuned(&study, out, &["--nodes", file.to_str().unwrap()]).number("/trials/finished"), 2);
    }
}

#[test]
fn a_host_name_that_is_not_of_this_machine_alone_wants_a_word() {
    let lab = Lab::new(PROGRAM);
    for (listen, part) in [("0.0.0.0:0", "--insecure"), ("no host:0", "is not host:port")] {
        let ended = lab.command(["executor", "--listen", listen]).wait();
        assert_eq!(ended.code, Some(2), "{}", ended.stderr);
        assert!(ended.stderr.contains(part), "{part}: {}", ended.stderr);
    }
}

#[test]
fn of_what_an_edited_node_file_brings_good_lines_join_and_bad_ones_are_named_once() {
    let lab = Lab::new(PROGRAM);
    let [early, late, last] = ["a", "b", "c"].map(|cache| lab.executor(cache, 1));
    let nodes = lab.write("nodes", format!("{}\n", early.address));
    let driver = lab.tune(&waiting(&lab, 2, 1, 3600.0, 0), "out", &["--nodes", nodes.to_str().unwrap()]);
    let _ = driver.line_with("launched");
    let silent = format!("127.0.0.1:{}", free_port());
    let append = |line: &str| {
        let mut file = OpenOptions::new().append(true).open(&nodes).unwrap();
        file.write_all(line.as_bytes()).unwrap();
    };
    append(&format!("http://here\n{}\n{silent}\n", late.address));
    let is_there = |address: &str| format!("{address} is there, with 1 slot");
    for line in [is_there(&late.address), "`http://here` is not host:port".to_owned(), silent.clone()] {
        let _ = driver.line_with(&line);
    }
    append(&format!("{}\n", last.address));
    let _ = driver.line_with(&is_there(&last.address));
    fs::remove_file(&nodes).unwrap();
    let _ = driver.line_with("cannot read the node file");
    let said = driver.cut_off().stderr;
    assert!(said.contains("nodes:2: `http://here`"), "{said}");
    assert_eq!(said.matches("`http://here`").count(), 1, "{said}");
    assert_eq!(said.matches(&format!("no connection to {silent}")).count(), 1, "{said}");
}

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
        let share = arguments.split('\0').find_map(|argument| argument.strip_prefix("--memory=")?.parse().ok());
        share.map_or_else(memory_bytes, |ByteSize(bytes)| bytes)
    });
    let shares: Vec<_> = shares.collect();
    let (sum, machine) = (shares.iter().sum::<u64>(), memory_bytes());
    assert!(shares.len() == 3 && sum <= machine && sum > machine / 10 * 9, "{shares:?} of {machine}");
}
