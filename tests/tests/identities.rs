//! Closed clusters: with identities the results are the same, and whoever has none of the cluster is refused with a reason
//! that helps.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic, in its helping functions too")]

use std::fs;
use std::path::PathBuf;

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

fn node(lab: &Lab, cluster: &std::path::Path, number: u32) -> Executor {
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
