//! What cannot be tested on this machine: a word about it that nobody misses.

use std::fs::File;
use std::io::{Write, stderr};
use std::os::unix::process::parent_id;
use std::path::PathBuf;
use std::{env, fs};

/// Says that a test is not done here, and why: at once, and again when all tests are over (`tests/tests/zz_skipped.rs`).
/// Under `CI` every test is done: there it fails.
pub fn skip(why: &str) {
    assert!(env::var_os("CI").is_none(), "under CI no test is skipped: {why}");
    // Past the harness, which keeps to itself what a test says that does not fail.
    let _ = writeln!(stderr(), "skipped: {why}");
    let list = File::options().create(true).append(true).open(list());
    let _ = list.and_then(|mut list| writeln!(list, "{why}"));
}

/// All that was skipped in this run of the tests, each reason once; the next time there is nothing.
#[must_use]
pub fn take_skipped() -> Vec<String> {
    let text = fs::read_to_string(list()).unwrap_or_default();
    let _ = fs::remove_file(list());
    let mut reasons: Vec<String> = text.lines().map(str::to_owned).collect();
    reasons.sort_unstable();
    reasons.dedup();
    reasons
}

/// One list for all test programs that one `cargo test` starts.
fn list() -> PathBuf {
    env::temp_dir().join(format!("broadsweep-skipped-{}", parent_id()))
}
