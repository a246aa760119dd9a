//! The example of the README, and that a study gives one digest on every kind of cluster. A run of the example takes a
//! minute of both cores, so the clusters are compared on its networks with fewer epochs; all runs stand in one test, one
//! after the other.

use std::fs;
use std::time::Instant;

use broadsweep_tests::lab::{Lab, examples};
use broadsweep_tests::process::signal_to;
use rustix::process::Signal;

const PROGRAM: &str = env!("CARGO_BIN_EXE_broadsweep-under-test");

#[test]
fn the_quick_example_learns_and_gives_one_digest_on_every_cluster_and_whoever_is_killed() {
    let lab = Lab::new(PROGRAM);
    let example = examples().join("mnist/quick.toml");
    let outcome = lab.tuned(&example, "whole", &["--local", "2x1"]);
    let accuracy = 1.0 - outcome.summary["best"]["test_error"].as_f64().unwrap();
    assert!(accuracy > 0.975, "the best is right on {accuracy} of the test rows");

    let text = fs::read_to_string(&example).unwrap();
    let data = format!("\"{}/", example.with_file_name("data").display());
    let shorter = text.replace("\"data/", &data).replace("epochs = 6", "epochs = 2");
    assert!(shorter.contains("epochs = 2") && shorter.contains(&data), "{shorter}");
    let study = lab.write("quick.toml", shorter);
    let mut digests = Vec::new();
    let mut told = |cluster: &str, began: Instant, digest: &str| {
        eprintln!("{cluster}: {digest} in {:.0?}", began.elapsed());
        digests.push(digest.to_owned());
    };
    for shape in ["1", "2x1", "13x1"] {
        let began = Instant::now();
        let outcome = lab.tuned(&study, shape, &["--local", shape, "--connect-timeout", "60"]);
        told(shape, began, outcome.digest());
    }

    let began = Instant::now();
    let driver = lab.tune(&study, "killed", &["--local", "2x1"]);
    let _ = driver.line_with("10/25 trials");
    signal_to(driver.children()[1], Signal::KILL);
    let ended = driver.wait();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stderr.contains(" is lost with "), "no attempt was lost: {}", ended.stderr);
    told("2x1, one killed", began, lab.outcome("killed").digest());

    let began = Instant::now();
    let nodes = [lab.executor("node-a", 1), lab.executor("node-b", 1)];
    let list = format!("{},{}", nodes[0].address, nodes[1].address);
    told("two by hand", began, lab.tuned(&study, "nodes", &["--nodes", &list, "--nodes-min", "2"]).digest());

    assert!(digests.iter().all(|digest| *digest == digests[0]), "{digests:?}");
}
