//! The broadcast over real links: thirteen machines on one switch, each by 100 Mbit/s in either direction.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic, in its helping functions too")]

use std::fs;
use std::sync::{Mutex, PoisonError};

use broadsweep_tests::lab::{Executor, Lab, examples, studies};
use broadsweep_tests::network::Switch;
use broadsweep_tests::outcome::Outcome;
use broadsweep_tests::process::Ended;
use broadsweep_tests::skip::skip;
use broadsweep_tests::wait::until;
use rustix::process::Signal;

const PROGRAM: &str = env!("CARGO_BIN_EXE_broadsweep-under-test");
/// Executors; one machine more has the driver.
const NODES: u32 = 13;
/// Bits that a link carries in a second.
const RATE: f64 = 100e6;
/// MNIST takes 15 MiB on the wire.
const HALF_A_COPY_BYTES: u64 = 7 << 20;

/// Thirteen nodes on one machine want all of it: two such tests at the same time would measure each other.
static ALONE: Mutex<()> = Mutex::new(());

/// A machine for the driver and one for each of `nodes` executors; `None`, and a word about it, where that cannot be.
fn switch(nodes: u32) -> Option<Switch> {
    let made = Switch::new(nodes + 1, "100mbit");
    made.map_err(|why| skip(&format!("there can be no network of several machines here: {why}"))).ok()
}

/// Executors on all machines but the first.
fn executors(lab: &Lab, switch: &Switch) -> Vec<Executor> {
    let machines = switch.machines()[1..].iter().enumerate();
    machines.map(|(number, machine)| lab.executor_at(machine, &format!("cache-{number}"), 1)).collect()
}

/// A node file's text.
fn lines(executors: &[Executor]) -> String {
    executors.iter().map(|executor| executor.address.as_str()).collect::<Vec<_>>().join("\n")
}

fn list(executors: &[Executor]) -> String {
    executors.iter().map(|executor| executor.address.as_str()).collect::<Vec<_>>().join(",")
}

/// A run of `glance.toml` that ended well, and how its broadcast went.
fn ended(lab: &Lab, out: &str, ended: &Ended) -> Outcome {
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let outcome = lab.outcome(out);
    let [raw, encoded] = links_needed(&outcome);
    eprintln!(
        "{out}: {:.3} copies from the driver; last node ready after {raw:.2} x what one link needs for the data, \
         {encoded:.2} x what it needs for the data as it is sent",
        outcome.sent_share(),
    );
    outcome
}

/// The time until the last node was ready, by the time that one link needs for the data as it is, and as it is sent.
fn links_needed(outcome: &Outcome) -> [f64; 2] {
    let wall_s = outcome.summary["broadcast"]["wall_s"].as_f64().unwrap();
    let bytes = ["/broadcast/data_raw_bytes", "/broadcast/data_bytes"].map(|place| outcome.number(place) as f64);
    bytes.map(|bytes| wall_s / (bytes * 8.0 / RATE))
}

#[test]
fn thirteen_nodes_cost_the_driver_what_one_costs_and_a_second_run_nothing() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(switch) = switch(NODES) else { return };
    let lab = Lab::new(PROGRAM);
    let executors = executors(&lab, &switch);
    let driver = &switch.machines()[0];
    let nodes = list(&executors);
    let flags = ["--nodes", &nodes, "--nodes-min", "13"];
    let first = ended(&lab, "first", &lab.tune_at(driver, &studies().join("glance.toml"), "first", &flags).wait());
    assert!((1.0..1.2).contains(&first.sent_share()), "{}", first.summary);
    assert!(links_needed(&first)[0] < 2.2, "{}", first.summary);
    let [data_bytes, raw_bytes] =
        ["data_bytes", "data_raw_bytes"].map(|name| first.number(&format!("/broadcast/{name}")));
    assert!(data_bytes < raw_bytes / 2, "pictures shrink: {}", first.summary);
    let received = first.number("/broadcast/sent_bytes") + first.number("/broadcast/from_peers_bytes");
    assert!((received as f64) < data_bytes as f64 * 13.2, "blocks came twice: {}", first.summary);

    let second = ended(&lab, "second", &lab.tune_at(driver, &studies().join("glance.toml"), "second", &flags).wait());
    assert!(second.sent_share() < 0.01, "{}", second.summary);
    assert_eq!(second.number("/broadcast/from_cache_bytes"), raw_bytes * 13);
    assert_eq!(second.digest(), first.digest());
    // In the ledger, it costs each of the thirteen slots what it took; and the second time next to nothing.
    let booked = |outcome: &Outcome| outcome.summary["ledger"]["broadcast_s"].as_f64().unwrap();
    let wall_s = first.summary["broadcast"]["wall_s"].as_f64().unwrap();
    assert!((wall_s * 8.0..wall_s * 13.5).contains(&booked(&first)), "{}", first.summary);
    assert!(booked(&second) < booked(&first) / 4.0, "{}", second.summary);
}

#[test]
fn killed_and_late_nodes_cost_no_more_than_the_blocks_that_died_with_them() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(switch) = switch(NODES) else { return };
    let lab = Lab::new(PROGRAM);
    let executors = executors(&lab, &switch);
    let early = &executors[..12];
    let nodes = lab.write("nodes", lines(early));
    let flags = ["--nodes", nodes.to_str().unwrap(), "--nodes-min", "11", "--connect-timeout", "60"];
    // Long enough for the late one to take part.
    let text = fs::read_to_string(studies().join("glance.toml")).unwrap();
    let text = text.replace("../../examples", examples().to_str().unwrap()).replace("epochs = 1", "epochs = 8");
    let driver = &switch.machines()[0];
    let tuned = lab.tune_at(driver, &lab.write("long.toml", text), "out", &flags);
    let _ = tuned.line_with("broadcasting: 0 of 12 nodes ready");
    until("half of the driver's copy on its link", || (driver.sent_bytes() >= HALF_A_COPY_BYTES).then_some(()));
    for victim in &early[..2] {
        victim.process.signal(Signal::KILL);
    }
    lab.write("nodes", lines(&executors));
    let outcome = ended(&lab, "out", &tuned.wait());
    // Each of the two had a twelfth of the blocks alone at the very most, and as much was under way.
    assert!((1.0..1.2 + 4.0 / 12.0).contains(&outcome.sent_share()), "{}", outcome.summary);
    assert_eq!(outcome.number("/executors"), 11, "the late one took part: {}", outcome.summary);
}

#[test]
fn nodes_that_cannot_reach_each_other_are_sent_a_copy_each_and_that_is_said_once() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(switch) = switch(NODES) else { return };
    let lab = Lab::new(PROGRAM);
    let executors = executors(&lab, &switch);
    let driver = &switch.machines()[0];
    switch.machines()[1..].iter().for_each(|machine| machine.hear_only(driver));
    let nodes = list(&executors);
    let flags = ["--nodes", &nodes, "--nodes-min", "13", "--connect-timeout", "120"];
    let tuned = lab.tune_at(driver, &studies().join("glance.toml"), "out", &flags).wait();
    let outcome = ended(&lab, "out", &tuned);
    assert!((12.5..=13.1).contains(&outcome.sent_share()), "{}", outcome.summary);
    // What the exchange saves: these are plain sends, one link's time for each node.
    assert!(links_needed(&outcome)[1] > 12.5, "{}", outcome.summary);
    for executor in &executors {
        let said = format!("{} gets no data from the other executors", executor.address);
        assert_eq!(tuned.stderr.matches(&said).count(), 1, "{}", tuned.stderr);
    }
}
