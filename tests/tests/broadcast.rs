//! The broadcast over real links: thirteen machines on one switch, each by 100 Mbit/s in either direction.

#![expect(clippy::print_stdout, reason = "what encryption costs is for whoever measures it")]
#![expect(clippy::unwrap_used, reason = "a test fails by a panic, in its helping functions too")]

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use broadsweep_tests::lab::{Executor, Lab, examples, studies};
use broadsweep_tests::network::Switch;
use broadsweep_tests::outcome::Outcome;
use broadsweep_tests::papers::Papers;
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
    switch_at(nodes, "100mbit")
}

fn switch_at(nodes: u32, rate: &str) -> Option<Switch> {
    let made = Switch::new(nodes + 1, rate);
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

/// One run on thirteen fresh executors, all of them with the identity of a node and the driver with its own, or none with
/// any.
fn fresh_run(lab: &Lab, switch: &Switch, study: &Path, papers: Option<&Papers>) -> Outcome {
    let of_node = papers.map(|papers| papers.good.to_str().unwrap());
    let of_driver = papers.map(|papers| papers.driver.to_str().unwrap());
    let flags = of_node.map_or(vec!["--insecure"], |identity| vec!["--identity", identity]);
    let machines = switch.machines()[1..].iter().enumerate();
    let cache = |number| format!("fresh-{number}");
    let executors: Vec<_> =
        machines.map(|(number, machine)| lab.executor_at_with(machine, &cache(number), 1, &flags)).collect();
    let mut flags = vec!["--nodes-min", "13", "--nodes"];
    let nodes = list(&executors);
    flags.push(&nodes);
    flags.extend(of_driver.iter().flat_map(|identity| ["--identity", identity]));
    let ended = lab.tune_at(&switch.machines()[0], study, "fresh", &flags).wait();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let outcome = lab.outcome("fresh");
    drop(executors);
    fs::remove_dir_all(lab.path("fresh")).unwrap();
    (0..NODES as usize).for_each(|number| fs::remove_dir_all(lab.path(&cache(number))).unwrap());
    outcome
}

/// Random rows of the size of MNIST's, which do not shrink on the way, and a study that only broadcasts them.
fn random_rows(lab: &Lab) -> PathBuf {
    const ROWS: u32 = 160_000;
    let mut images = [&[0, 0, 8, 3][..], &ROWS.to_be_bytes(), &28_u32.to_be_bytes(), &28_u32.to_be_bytes()].concat();
    let mut state = 1_u64;
    images.extend((0..ROWS as usize * 784).map(|_| {
        // Marsaglia's xorshift (2003).
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    }));
    lab.write("images", images);
    let labels = (0..ROWS).map(|row| (row % 10) as u8);
    lab.write("labels", [&[0, 0, 8, 1][..], &ROWS.to_be_bytes(), &labels.collect::<Vec<_>>()].concat());
    lab.write(
        "random.toml",
        r#"
name = "random"
[data]
format = "idx"
train_features = "images"
train_labels = "labels"
validation_rows = 1000
[trainer]
kind = "replay"
seconds = 0
error = "$error"
[search]
sampler = "grid"
[search.space]
error = { values = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.15, 0.25, 0.35, 0.45] }
"#,
    )
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

/// `tests/outside/run encrypted` does it in more pairs, over faster links, also with data that does not shrink, and says
/// what it costs.
#[test]
fn an_encrypted_broadcast_sends_as_little_and_all_is_the_same() {
    let pairs = env::var("BROADSWEEP_PAIRS").ok().map(|pairs| pairs.parse::<usize>().unwrap());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(switch) = switch_at(NODES, pairs.map_or("100mbit", |_| "1gbit")) else { return };
    let lab = Lab::new(PROGRAM);
    let papers = Papers::make(&lab.path(""));
    let mut studies = vec![studies().join("glance.toml")];
    studies.extend(pairs.map(|_| random_rows(&lab)));
    for study in studies {
        let mut both = [const { Vec::new() }; 2];
        for pair in 0..pairs.unwrap_or(1) {
            for side in [pair % 2, 1 - pair % 2] {
                both[side].push(fresh_run(&lab, &switch, &study, [None, Some(&papers)][side]));
            }
        }
        for (open, closed) in both[0].iter().zip(&both[1]) {
            assert_eq!(closed.digest(), open.digest());
            assert!((1.0..1.2).contains(&closed.sent_share()), "{}", closed.summary);
        }
        let broadcast_s = |outcome: &Outcome| outcome.summary["broadcast"]["wall_s"].as_f64().unwrap();
        let rest_s = |outcome: &Outcome| outcome.summary["wall_s"].as_f64().unwrap() - broadcast_s(outcome);
        for (what, seconds) in [("broadcast", &broadcast_s as &dyn Fn(&Outcome) -> f64), ("all else", &rest_s)] {
            let [open, closed] = both.each_ref().map(|side| side.iter().map(seconds).collect::<Vec<_>>());
            let ratios = closed.iter().zip(&open).map(|(closed, open)| closed / open).collect();
            println!(
                "{}, {what}: {:.3} s open, {:.3} s encrypted, medians; median of paired ratios {:.3}",
                study.file_stem().unwrap().display(),
                median(open),
                median(closed),
                median(ratios)
            );
        }
    }
}
