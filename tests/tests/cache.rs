//! The cache folder between runs of real processes: bounded, finished after a crash, listed and cleared; and what a
//! run says of a node that has no room.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic, in its helping functions too")]

use std::fs;
use std::path::{Path, PathBuf};

use broadsweep_common::blob::Blob;
use broadsweep_proto::wire::manifest_message;
use broadsweep_tests::hostile_driver::HostileDriver;
use broadsweep_tests::lab::{Lab, free_port, tiny_with};
use broadsweep_tests::process::Ended;
use broadsweep_tests::small_disk::SmallDisk;
use broadsweep_tests::wait::until;
use bytes::Bytes;
use rustix::process::Signal;
use serde_json::Value;
use tonic::Code;

const PROGRAM: &str = env!("CARGO_BIN_EXE_broadsweep-under-test");
/// The changes that make `tiny.toml` a study which is over at once.
const SHORT: [(&str, &str); 2] = [("epochs = 12", "epochs = 1"), ("count = 4", "count = 2")];

/// A short study whose data is as large as that of `tiny.toml`, and other bytes.
fn other_data(lab: &Lab) -> PathBuf {
    let changes = [&SHORT[..], &[("validation_rows = 2000", "validation_rows = 1000")]].concat();
    lab.write("other.toml", tiny_with(&changes))
}

/// The names of the files with blobs in a cache folder.
fn blobs(cache: &Path) -> Vec<String> {
    let files = fs::read_dir(cache.join("blobs")).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name != "lock").collect();
    names.sort();
    names
}

/// `broadsweep cache` with arguments, for a folder of the lab.
fn cache(lab: &Lab, verb: &str, folder: &str, flags: &[&str]) -> String {
    let path = lab.path(folder).display().to_string();
    let Ended { code, stdout, stderr } =
        lab.command([&["cache", verb, "--cache-dir", &path][..], flags].concat()).wait();
    assert_eq!(code, Some(0), "cache {verb}: {stderr}");
    stdout
}

fn listed(lab: &Lab, folder: &str) -> Value {
    serde_json::from_str(&cache(lab, "list", folder, &["--json"])).unwrap()
}

#[test]
fn of_two_data_sets_that_do_not_both_fit_the_cache_keeps_the_one_used_last() {
    let lab = Lab::new(PROGRAM);
    let (first, second) = (lab.short(), other_data(&lab));
    let sent = |out: &str, study: &Path| {
        let flags = ["--local", "1", "--cache-bytes", "20MiB"];
        let share = lab.tuned(study, out, &flags).sent_share();
        (share > 0.9, blobs(&lab.path("cache")).len())
    };
    assert_eq!(sent("a", &first), (true, 1));
    assert_eq!(sent("a-again", &first), (false, 1));
    assert_eq!(sent("b", &second), (true, 1));
    assert_eq!(sent("b-again", &second), (false, 1));
    assert_eq!(sent("a-anew", &first), (true, 1));
}

#[test]
fn a_run_that_takes_over_waits_for_the_room_that_the_last_one_still_uses() {
    let lab = Lab::new(PROGRAM);
    let executor = lab.executor_with("cache", 2, &["--cache-bytes", "20MiB"]);
    let holder = lab.tune(&lab.endless(), "holder", &["--nodes", &executor.address]);
    let _ = holder.line_with("epoch done");
    let taken = lab.tuned(&other_data(&lab), "taker", &["--nodes", &executor.address, "--take-over"]);
    assert!(taken.sent_share() > 0.9);
    assert_eq!(blobs(&lab.path("cache")).len(), 1);
    // It would take the executor back, now that it is free.
    holder.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_executor_that_is_killed_within_its_broadcast_fetches_only_the_rest() {
    let lab = Lab::new(PROGRAM);
    let whole = lab.tuned(&lab.short(), "before", &["--local", "1"]).sent_share();
    let name = &blobs(&lab.path("cache"))[0];
    let data = Blob::new(fs::read(lab.path("cache/blobs").join(name)).unwrap()).unwrap();
    let blocks = data.manifest.blocks().len() as u32;

    let executor = lab.executor("node", 1);
    let driver = HostileDriver::hold(&executor.address, "cut-off").await;
    driver.offer(manifest_message(&data.manifest), true).await.unwrap();
    let arrived = blocks / 2;
    for index in 0..arrived {
        let content = Bytes::copy_from_slice(data.block(index as usize).unwrap());
        driver.push(&data.manifest.digest().0, index, content).await.unwrap();
    }
    executor.process.kill();
    assert_eq!(blobs(&lab.path("node")), [format!("{name}.part")]);
    assert_eq!(listed(&lab, "node")["entries"][0]["half_written"], true);

    let executor = lab.executor("node", 1);
    let rest = lab.tuned(&lab.short(), "after", &["--nodes", &executor.address]).sent_share();
    let expected = whole * f64::from(blocks - arrived) / f64::from(blocks);
    assert!((rest - expected).abs() < 0.05, "sent {rest} copies where {expected} were missing");
    assert_eq!(blobs(&lab.path("node")).join(" "), *name);
}

#[test]
fn a_standing_executor_whose_cache_folder_was_removed_makes_it_again_and_says_so_once() {
    let lab = Lab::new(PROGRAM);
    let executor = lab.executor("node", 1);
    let nodes = ["--nodes", &executor.address];
    for (out, copies) in [("before", 1.0), ("after", 1.0), ("again", 0.0)] {
        let share = lab.tuned(&lab.short(), out, &nodes).sent_share();
        assert!((share - copies).abs() < 0.2, "{out}: sent {share} copies");
        if out == "before" {
            fs::remove_dir_all(lab.path("node")).unwrap();
        }
    }
    assert_eq!(blobs(&lab.path("node")).len(), 1);
    let Ended { stderr, .. } = executor.process.cut_off();
    assert_eq!(stderr.matches("was removed").count(), 1, "{stderr}");
}

#[test]
fn an_executor_that_is_killed_and_started_again_with_its_cache_is_sent_nothing() {
    let lab = Lab::new(PROGRAM);
    let port = free_port();
    let (steady, before) = (lab.executor("steady", 1), lab.executor_on(PROGRAM, port, "mortal", 1));
    let is_there = format!("{} is there, with 1 slot", before.address);
    let nodes = format!("{},{}", steady.address, before.address);
    let driver = lab.tune(&lab.endless(), "out", &["--nodes", &nodes, "--nodes-min", "2"]);
    let _ = driver.line_with("epoch done");
    before.process.kill();
    let _after = lab.executor_on(PROGRAM, port, "mortal", 1);
    let _ = driver.line_with(&is_there);
    driver.signal(Signal::INT);
    assert_eq!(driver.wait().code, Some(130));
    let outcome = lab.outcome("out");
    let [data, sent, from_peers, from_cache] =
        ["data_raw_bytes", "sent_bytes", "from_peers_bytes", "from_cache_bytes"]
            .map(|name| outcome.number(&format!("/broadcast/{name}")));
    assert_eq!(from_cache, data, "{}", outcome.summary);
    // Two copies for two nodes, and the study's description three times.
    assert!((2 * data..2 * data + 10_000).contains(&(sent + from_peers)), "{}", outcome.summary);
}

#[test]
fn the_cache_is_listed_and_cleared_beside_an_executor_that_uses_it() {
    let lab = Lab::new(PROGRAM);
    assert!(cache(&lab, "list", "cache", &[]).starts_with("no executor has kept anything in "));
    assert_eq!(listed(&lab, "cache")["entries"], serde_json::json!([]));
    let _ = lab.tuned(&other_data(&lab), "before", &["--local", "1", "--cache-bytes", "1GiB"]);
    let driver = lab.tune(&lab.endless(), "out", &["--local", "1", "--cache-bytes", "1GiB"]);
    let _ = driver.line_with("epoch done");
    let table = cache(&lab, "list", "cache", &[]);
    for part in ["data set", "last used", "in use", "2 data sets, 30.1 MiB of at most 1.0 GiB, in "] {
        assert!(table.contains(part), "{part}: {table}");
    }
    let entries = listed(&lab, "cache");
    assert_eq!(entries["bytes_max"], 1 << 30);
    let in_use: Vec<_> = entries["entries"].as_array().unwrap().iter().map(|entry| &entry["in_use"]).collect();
    assert_eq!(in_use, [true, false], "the last used comes first: {entries}");

    let cleared = cache(&lab, "clear", "cache", &[]);
    for part in ["1 data set removed", "15.0 MiB freed", "1 data set stays, 15.0 MiB: in use"] {
        assert!(cleared.contains(part), "{part}: {cleared}");
    }
    driver.signal(Signal::INT);
    assert_eq!(driver.wait().code, Some(130));
    until("the end of its use", || cache(&lab, "clear", "cache", &[]).contains("1 data set removed").then_some(()));
    assert!(blobs(&lab.path("cache")).is_empty());
}

#[test]
fn a_node_whose_cache_is_too_small_for_the_data_is_named_and_the_others_go_on() {
    let lab = Lab::new(PROGRAM);
    let (large, small) = (lab.executor("cache-a", 1), lab.executor_with("cache-b", 1, &["--cache-bytes", "4MiB"]));
    let nodes = format!("{},{}", large.address, small.address);
    let ended = lab.tune(&lab.short(), "out", &["--nodes", &nodes]).wait();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let said = format!(
        "{} cannot take the data: 15.0 MiB of data do not fit into its cache, which may have 4.0 MiB; start the \
         executor with a larger --cache-bytes; going on without it",
        small.address
    );
    assert!(ended.stderr.contains(&said), "{said}:\n{}", ended.stderr);
    assert_eq!(lab.outcome("out").number("/executors"), 1);
    let alone = lab.tune(&lab.short(), "alone", &["--nodes", &small.address]).wait();
    assert_eq!(alone.code, Some(1), "{}", alone.stderr);
    assert!(alone.stderr.contains("a larger --cache-bytes"), "{}", alone.stderr);
}

#[test]
fn a_node_whose_disk_is_too_small_for_the_data_is_named_and_the_others_go_on() {
    let lab = Lab::new(PROGRAM);
    let Some(_disk) = SmallDisk::mount(lab.path("disk"), 4) else { return };
    let flags = ["--cache-bytes", "1GiB"];
    let (large, small) = (lab.executor("cache", 1), lab.executor_with("disk/cache", 1, &flags));
    let ended = lab.tune(&lab.short(), "out", &["--nodes", &format!("{},{}", large.address, small.address)]).wait();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let said = format!("{} cannot take the data: 15.0 MiB of data do not fit on the disk", small.address);
    for part in [&said, "4.0 MiB are free; free some space, or name a folder on another disk with --cache-dir"] {
        assert!(ended.stderr.contains(part), "{part}:\n{}", ended.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_others_fill_within_a_broadcast_has_kept_the_room_for_it_and_refuses_the_next() {
    let lab = Lab::new(PROGRAM);
    let Some(disk) = SmallDisk::mount(lab.path("disk"), 4) else { return };
    let executor = lab.executor_with("disk/cache", 1, &["--cache-bytes", "1GiB"]);
    let driver = HostileDriver::hold(&executor.address, "run").await;
    let [data, more] = [1, 2].map(|fill| Blob::new(vec![fill; 3 << 20]).unwrap());
    assert_eq!(driver.offer(manifest_message(&data.manifest), true).await.unwrap(), [0, 1, 2]);
    let filler = disk.fill();
    for index in 0..3 {
        let content = Bytes::copy_from_slice(data.block(index).unwrap());
        driver.push(&data.manifest.digest().0, index as u32, content).await.unwrap();
    }
    assert_eq!(blobs(&lab.path("disk/cache")), [data.manifest.digest().to_string()]);
    let full = driver.offer(manifest_message(&more.manifest), true).await.unwrap_err();
    assert_eq!(full.code(), Code::ResourceExhausted, "{full}");
    for part in ["3.0 MiB of data do not fit on the disk", "--cache-dir"] {
        assert!(full.message().contains(part), "{part}: {full}");
    }
    assert_eq!(
        blobs(&lab.path("disk/cache")),
        [data.manifest.digest().to_string()],
        "the refused one left something"
    );
    fs::remove_file(filler).unwrap();
}

#[test]
fn a_size_that_is_none_says_how_to_write_one() {
    let lab = Lab::new(PROGRAM);
    for command in [&["executor"][..], &["tune", "study.toml"], &["resume", "run"]] {
        let ended = lab.command([command, &["--cache-bytes", "20G"]].concat()).wait();
        assert_eq!(ended.code, Some(2), "{command:?}");
        assert!(ended.stderr.contains("write 20GB, 512MiB or 1073741824"), "{command:?}: {}", ended.stderr);
    }
}
