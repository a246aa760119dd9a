//! Executors that fall silent: frozen, or behind a firewall that drops everything. Nobody is told; keep-alive notices.

use broadsweep_tests::chaos::{attempts, ended_so, recovered, waiting};
use broadsweep_tests::lab::Lab;
use broadsweep_tests::network::Namespace;
use broadsweep_tests::skip::skip;
use rustix::process::Signal;

const PROGRAM: &str = env!("CARGO_BIN_EXE_broadsweep-under-test");

#[test]
fn an_executor_that_wakes_in_time_loses_nothing_and_one_that_wakes_late_only_its_attempts() {
    let lab = Lab::new(PROGRAM);
    let nodes = ["in-time", "late", "awake"].map(|cache| lab.executor(cache, 1));
    let [in_time, late, awake] = &nodes;
    let list = format!("{},{},{}", in_time.address, late.address, awake.address);
    let digest = lab.tuned(&waiting(&lab, 6, 16, 0.0, 0), "undisturbed", &["--local", "1"]).digest().to_owned();
    let study = waiting(&lab, 6, 16, 0.5, 1500);
    let driver = lab.tune(&study, "out", &["--nodes", &list, "--nodes-min", "3"]);
    driver.until_lines("epoch done", 3);
    for frozen in [in_time, late] {
        frozen.process.signal(Signal::STOP);
    }
    let _ = driver.line_with(&format!("the connection to {} ended", in_time.address));
    in_time.process.signal(Signal::CONT);
    let _ = driver.line_with(&format!("is lost with {}", late.address));
    late.process.signal(Signal::CONT);
    let ended = driver.wait();
    let outcome = recovered("after a freeze", &ended, &lab, "out", &digest);
    let lost: Vec<_> = attempts(&outcome).into_iter().filter(|attempt| attempt.end == "lost").collect();
    assert!(lost.iter().all(|attempt| attempt.executor == late.address), "{lost:?}\n{}", ended.stderr);
    assert!(outcome.number("/epochs_repeated") <= 1, "{}", ended.stderr);
}

#[test]
fn a_network_that_is_cut_and_heals_in_time_costs_no_attempt_and_no_epoch() {
    let lab = Lab::new(PROGRAM);
    let namespace = match Namespace::new() {
        Ok(namespace) => namespace,
        Err(why) => return skip(&format!("there can be no second machine on the network here: {why}")),
    };
    let executor = lab.executor_in(&namespace, "cache", 2);
    let digest = lab.tuned(&waiting(&lab, 4, 20, 0.0, 0), "undisturbed", &["--local", "1"]).digest().to_owned();
    let study = waiting(&lab, 4, 20, 0.5, 60_000);
    let flags = ["--nodes", &executor.address, "--connect-timeout", "60"];
    let driver = lab.tune(&study, "out", &flags);
    driver.until_lines("epoch done", 4);
    namespace.cut();
    let _ = driver.line_with(&format!("the connection to {} ended", executor.address));
    namespace.heal();
    let ended = driver.wait();
    let outcome = recovered("after a cut", &ended, &lab, "out", &digest);
    assert_eq!((outcome.number("/epochs_repeated"), ended_so(&outcome, "lost")), (0, 0), "{}", ended.stderr);
    assert_eq!(outcome.number("/attempts"), 4, "{}", ended.stderr);
}
