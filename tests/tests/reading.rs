//! Data sets that are large enough to be written into a file while they are read: where that lies, and who finds it.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic, in its helping functions too")]

use std::fs;
use std::path::{Path, PathBuf};

use broadsweep_tests::lab::Lab;

const PROGRAM: &str = env!("CARGO_BIN_EXE_broadsweep-under-test");
/// Bytes of a row.
const ROW: usize = 1000;
/// Rows of a file: more than is kept in memory.
const ROWS: usize = 20_000;

/// A trial of no time on rows that are of no use but to be sent.
const STUDY: &str = "
name = 'large'
[data]
format = 'npy'
train_features = 'x.npy'
train_labels = 'y.npy'
validation_rows = 100
[trainer]
kind = 'replay'
seconds = 0
error = 0.5
";

fn npy(kind: &str, shape: &str, values: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}");
    let padded = (10 + header.len() + 1).next_multiple_of(64) - 10;
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((padded as u16).to_le_bytes());
    file.extend(format!("{header:<width$}\n", width = padded - 1).bytes());
    file.extend(values);
    file
}

/// A lab with the study and its files.
fn lab() -> (Lab, PathBuf) {
    let lab = Lab::new(PROGRAM);
    let values: Vec<u8> = (0..ROW * ROWS).map(|place| (place * 31 % 251) as u8).collect();
    lab.write("x.npy", npy("|u1", &format!("({ROWS}, {ROW})"), &values));
    lab.write("y.npy", npy("|u1", &format!("({ROWS},)"), &values[..ROWS].iter().map(|v| v % 10).collect::<Vec<_>>()));
    let study = lab.write("large.toml", STUDY);
    (lab, study)
}

/// The blobs of a cache folder: names, without the lock.
fn blobs(cache: &Path) -> Vec<String> {
    let Ok(files) = fs::read_dir(cache.join("blobs")) else { return Vec::new() };
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name != "lock").collect()
}

#[test]
fn local_executors_find_what_the_driver_wrote_and_a_cold_run_sends_it_and_leaves_nothing() {
    let (lab, study) = lab();
    let tuned = |out: &str, flags: &[&str]| lab.tuned(&study, out, flags);
    let first = tuned("first", &["--local", "2x1"]);
    assert!(first.sent_share() < 0.05, "sent: {} copies", first.sent_share());
    let kept = blobs(&lab.path("cache"));
    assert!(kept.len() == 1 && kept[0].len() == 64, "{kept:?}");
    let again = tuned("again", &["--local", "1"]);
    assert!(again.sent_share() < 0.05 && blobs(&lab.path("cache")) == kept);
    let cold = tuned("cold", &["--local", "1", "--cold"]);
    assert!(cold.sent_share() >= 0.9, "sent: {} copies", cold.sent_share());
    assert_eq!([again.digest(), cold.digest()], [first.digest(), first.digest()]);
    let left = fs::read_dir(lab.path(".")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert!(left.into_iter().all(|name| !name.starts_with("broadsweep-cold") && !name.starts_with(".tmp")));
}

#[test]
fn a_cache_that_may_not_have_as_much_is_named_before_executors_refuse_the_data() {
    let (lab, study) = lab();
    let flags = ["tune", study.to_str().unwrap(), "--out", "out", "--cache-bytes", "1MB", "--cache-dir", "small"];
    let ended = lab.command(flags).wait();
    assert!(ended.stderr.contains("note: 19.2 MiB of data do not fit into its cache"), "{}", ended.stderr);
    assert!(ended.stderr.contains("not kept for later runs") && ended.code == Some(1), "{}", ended.stderr);
    assert!(blobs(&lab.path("small")).is_empty());
}

#[test]
fn a_driver_of_nodes_keeps_the_data_in_the_cache_of_its_user() {
    let (lab, study) = lab();
    let node = lab.executor("node", 1);
    let run = lab.tuned(&study, "out", &["--nodes", &node.address]);
    assert!(run.sent_share() >= 0.9, "sent: {} copies", run.sent_share());
    assert_eq!(blobs(&lab.path("broadsweep")), blobs(&lab.path("node")));
}

#[test]
fn a_check_says_what_is_broadcast_and_writes_nothing() {
    let (lab, study) = lab();
    let before = fs::read_dir(lab.path(".")).unwrap().count();
    let ended = lab.command(["check", study.to_str().unwrap()]).wait();
    assert!(ended.stdout.contains("broadcast    19.2 MiB"), "{}", ended.stdout);
    assert_eq!(fs::read_dir(lab.path(".")).unwrap().count(), before);
}
