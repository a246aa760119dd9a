//! Closed clusters: with identities the results are the same, and whoever has none of the cluster is refused with a reason
//! that helps.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic, in its helping functions too")]

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use broadsweep_tests::hostile_driver::dial;
use broadsweep_tests::lab::{Executor, Lab};
use broadsweep_tests::process::Ended;
use tokio::runtime::Runtime;

const PROGRAM: &str = env!("CARGO_BIN_EXE_broadsweep-under-test");

/// Makes the identities of a cluster of two nodes; returns their folder.
fn made(lab: &Lab, folder: &str) -> PathBuf {
    let path = lab.path(folder);
    let nodes = "127.0.0.1,127.0.0.2";
    let ended = lab.command(["cluster", "init", "--nodes", nodes, "--out", path.to_str().unwrap()]).wait();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    path
}

fn node(lab: &Lab, cluster: &Path, number: u32) -> Executor {
    let file = cluster.join(format!("nodes/127.0.0.{number}.pem"));
    lab.executor_with(&format!("cache-{number}"), 1, &["--identity", file.to_str().unwrap()])
}

fn tuned(lab: &Lab, out: &str, flags: &[&str]) -> Ended {
    lab.tune(&lab.short(), out, &[flags, &["--connect-timeout", "2"]].concat()).wait()
}

#[test]
fn a_closed_cluster_gives_the_same_results_and_lets_nobody_else_in() {
    let lab = Lab::new(PROGRAM);
    let (cluster, other) = (made(&lab, "cluster"), made(&lab, "other"));
    let open = lab.executor("cache-open", 1);
    let truth = lab.tuned(&lab.short(), "open", &["--nodes", &open.address, "--insecure"]);
    let closed = [node(&lab, &cluster, 1), node(&lab, &cluster, 2)];
    let nodes = format!("{},{}", closed[0].address, closed[1].address);
    let driver = cluster.join("driver.pem");
    let own = ["--nodes", &nodes, "--nodes-min", "2", "--identity", driver.to_str().unwrap()];
    assert_eq!(lab.tuned(&lab.short(), "closed", &own).digest(), truth.digest());

    let foreign = other.join("driver.pem");
    let executors = cluster.join("nodes/127.0.0.1.pem");
    let rows = [
        ("nameless", vec!["--insecure"], 1, "name your identity with --identity"),
        ("foreign", vec!["--identity", foreign.to_str().unwrap()], 1, "is of another authority"),
        ("executors", vec!["--identity", executors.to_str().unwrap()], 2, "name its own file"),
    ];
    for (out, flags, code, fragment) in rows {
        let ended = tuned(&lab, out, &[&["--nodes", &nodes], &flags[..]].concat());
        assert_eq!(ended.code, Some(code), "{out}: {}", ended.stderr);
        assert!(ended.stderr.contains(fragment), "{out}: {}", ended.stderr);
    }
    let ended = tuned(&lab, "towards-open", &["--nodes", &open.address, "--identity", driver.to_str().unwrap()]);
    assert!(ended.stderr.contains("the other side speaks without encryption"), "{}", ended.stderr);
    // After all of them the cluster works as before.
    assert_eq!(lab.tuned(&lab.short(), "again", &own).digest(), truth.digest());
}

#[test]
fn an_executor_that_runs_takes_its_new_identity_and_refuses_one_that_was_revoked() {
    let lab = Lab::new(PROGRAM);
    let cluster = made(&lab, "cluster");
    let executor = node(&lab, &cluster, 1);
    let driver = cluster.join("driver.pem");
    let own = ["--nodes", &executor.address, "--identity", driver.to_str().unwrap()];
    let before = lab.tuned(&lab.short(), "before", &own);
    let folder = cluster.to_str().unwrap();
    for command in [vec!["cluster", "renew", "--in", folder], vec!["cluster", "revoke", "127.0.0.2", "--in", folder]]
    {
        let ended = lab.command(command).wait();
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    }
    assert_eq!(lab.tuned(&lab.short(), "after", &own).digest(), before.digest());
    assert!(!cluster.join("nodes/127.0.0.2.pem").exists());
    let shown = lab.command(["cluster", "show", "--in", folder]).wait();
    assert!(shown.stdout.contains("127.0.0.2") && shown.stdout.contains("revoked"), "{}", shown.stdout);
}

/// Puts a new file into the place of an old one, as a copy from another machine does.
fn copy(from: &Path, to: &Path) {
    let beside = to.with_extension("new");
    fs::copy(from, &beside).unwrap();
    fs::rename(beside, to).unwrap();
}

#[test]
fn a_driver_that_is_revoked_in_the_middle_of_a_run_loses_its_executors_and_another_one_may_have_them() {
    let lab = Lab::new(PROGRAM);
    let cluster = made(&lab, "cluster");
    let folder = cluster.to_str().unwrap();
    assert_eq!(lab.command(["cluster", "add", "anna", "--driver", "--in", folder]).wait().code, Some(0));
    let (anna, nodes_file) = (lab.path("anna.pem"), lab.path("node.pem"));
    fs::copy(cluster.join("drivers/anna.pem"), &anna).unwrap();
    fs::copy(cluster.join("nodes/127.0.0.1.pem"), &nodes_file).unwrap();
    let executor = lab.executor_with("cache", 1, &["--identity", nodes_file.to_str().unwrap()]);
    let of_anna = ["--nodes", &executor.address, "--identity", anna.to_str().unwrap()];
    let running = lab.tune(&lab.endless(), "hers", &of_anna);
    running.until_file(&lab.path("hers/journal"));
    let _ = running.line_with("epoch done");

    // Nobody else goes on with her run: that it exists is no secret.
    let driver = cluster.join("driver.pem");
    let of_driver = ["--nodes", &executor.address, "--identity", driver.to_str().unwrap()];
    let ended = tuned(&lab, "his", &of_driver);
    assert!(ended.stderr.contains("held by run hers"), "{}", ended.stderr);

    assert_eq!(lab.command(["cluster", "revoke", "anna", "--in", folder]).wait().code, Some(0));
    copy(&cluster.join("nodes/127.0.0.1.pem"), &nodes_file);
    // Whether it hears more than that depends on which side is the first to know that the connection has ended.
    let ended = running.wait();
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("no executor is left"), "{}", ended.stderr);
    let taken = [&of_driver[..], &["--take-over"]].concat();
    let _ = lab.tuned(&lab.short(), "his-own", &taken);
}

#[test]
fn a_run_that_is_resumed_remembers_who_its_driver_was() {
    let lab = Lab::new(PROGRAM);
    let cluster = made(&lab, "cluster");
    let executor = node(&lab, &cluster, 1);
    let driver = cluster.join("driver.pem");
    let own = ["--nodes", &executor.address, "--identity", driver.to_str().unwrap()];
    let running = lab.tune(&lab.tiny(), "run", &own);
    running.until_file(&lab.path("run/journal"));
    running.kill();
    let ended = lab.resume("run", &[]).wait();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(lab.outcome("run").digest(), lab.tuned(&lab.tiny(), "whole", &["--local", "1"]).digest());
}

#[test]
fn a_local_executor_serves_the_driver_that_started_it_and_nobody_else() {
    let lab = Lab::new(PROGRAM);
    let running = lab.tune(&lab.endless(), "run", &["--local", "1x1"]);
    running.until_file(&lab.path("run/journal"));
    let _ = running.line_with("epoch done");
    let roster = lab.path("run/executors.json");
    assert_eq!(fs::metadata(&roster).unwrap().mode() & 0o777, 0o600);
    let roster: serde_json::Value = serde_json::from_slice(&fs::read(&roster).unwrap()).unwrap();
    let local = &roster["crew"]["local"];
    let child = &local["children"][0];
    let (address, secret) = (child["address"].as_str().unwrap(), local["secret"].as_str().unwrap());
    for said in ["cmdline", "environ"] {
        let said = fs::read(format!("/proc/{}/{said}", child["pid"])).unwrap();
        assert!(!String::from_utf8_lossy(&said).contains(secret), "others can see the secret");
    }
    let driver = made(&lab, "cluster").join("driver.pem");
    let rows = [
        ("plain", vec!["--insecure"], "a local executor of another driver"),
        ("identity", vec!["--identity", driver.to_str().unwrap()], "the other side speaks without encryption"),
    ];
    for (out, flags, fragment) in rows {
        let ended = tuned(&lab, out, &[&["--nodes", address, "--take-over"], &flags[..]].concat());
        assert_eq!(ended.code, Some(1), "{out}: {}", ended.stderr);
        assert!(ended.stderr.contains(fragment), "{out}: {}", ended.stderr);
    }
    running.kill();
}

#[test]
fn a_file_that_others_can_read_is_refused_before_anything_listens() {
    let lab = Lab::new(PROGRAM);
    let file = made(&lab, "cluster").join("nodes/127.0.0.1.pem");
    fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let ended = lab.command(["executor", "--listen", "127.0.0.1:0", "--identity", file.to_str().unwrap()]).wait();
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    assert!(ended.stderr.contains("chmod 600"), "{}", ended.stderr);
}

#[test]
fn a_stranger_that_says_nothing_costs_nobody_anything() {
    let lab = Lab::new(PROGRAM);
    let cluster = made(&lab, "cluster");
    let executor = node(&lab, &cluster, 1);
    let silent: Vec<_> = (0..32).map(|_| std::net::TcpStream::connect(&executor.address).unwrap()).collect();
    let driver = cluster.join("driver.pem");
    let own = ["--nodes", &executor.address, "--identity", driver.to_str().unwrap()];
    let _ = lab.tuned(&lab.short(), "beside", &own);
    drop(silent);
    let _ = Runtime::new().unwrap().block_on(dial(&executor.address)); // speaks without encryption, and is let go
}
