//! Run folders that were damaged, changed, or filled while their driver was gone, or under its hands.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic, in its helping functions too")]

use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use broadsweep_tests::chaos::{recovered, small, undisturbed, waiting};
use broadsweep_tests::lab::{Lab, examples};
use broadsweep_tests::small_disk::SmallDisk;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

const PROGRAM: &str = env!("CARGO_BIN_EXE_broadsweep-under-test");
const LABELS: &str = "t10k-labels-idx1-ubyte.gz";

/// A run whose driver was killed in the middle: its journal.
fn killed(lab: &Lab, study: &Path) -> PathBuf {
    let driver = lab.tune(study, "out", &["--local", "2x1"]);
    driver.until_lines("epoch done", 10);
    driver.kill();
    lab.path("out").join("journal")
}

#[test]
fn a_torn_end_of_the_journal_is_cut_off_and_said_and_the_run_goes_on() {
    let lab = Lab::new(PROGRAM);
    let journal = killed(&lab, &small(&lab, &[]));
    // A commit of 64 bytes of which the first few were written.
    let torn = [&64_u32.to_le_bytes()[..], &[7; 21]].concat();
    OpenOptions::new().append(true).open(journal).unwrap().write_all(&torn).unwrap();
    let ended = lab.resume("out", &[]).wait();
    assert!(ended.stderr.contains("ended in an unfinished commit: 25 bytes after its first"), "{}", ended.stderr);
    let outcome = recovered("a torn end", &ended, &lab, "out", &undisturbed(PROGRAM));
    assert_eq!(outcome.number("/epochs_repeated"), 0, "{}", ended.stderr);
}

#[test]
fn a_flipped_bit_in_the_journal_is_an_error_that_names_its_place_and_changes_nothing() {
    let lab = Lab::new(PROGRAM);
    let journal = killed(&lab, &small(&lab, &[]));
    let good = fs::read(&journal).unwrap();
    let mut damaged = good.clone();
    damaged[good.len() / 2] ^= 4;
    fs::write(&journal, &damaged).unwrap();
    let refused = lab.resume("out", &[]).wait();
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    for part in ["is damaged: record ", ", at byte ", "nothing was changed"] {
        assert!(refused.stderr.contains(part), "{part}: {}", refused.stderr);
    }
    assert_eq!(fs::read(&journal).unwrap(), damaged);
    fs::write(&journal, &good).unwrap();
    drop(recovered("mended", &lab.resume("out", &[]).wait(), &lab, "out", &undisturbed(PROGRAM)));
}

/// The labels with one more or less of some digit.
fn relabelled(packed: &[u8]) -> Vec<u8> {
    let mut labels = Vec::new();
    GzDecoder::new(packed).read_to_end(&mut labels).unwrap();
    let last = labels.last_mut().unwrap();
    *last = (*last + 1) % 10;
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(&labels).unwrap();
    packed.finish().unwrap()
}

#[test]
fn a_run_does_not_go_on_with_another_study_or_with_other_data() {
    let lab = Lab::new(PROGRAM);
    let packed = fs::read(examples().join("mnist/data").join(LABELS)).unwrap();
    let labels = lab.write(LABELS, &packed);
    let elsewhere = examples().join("mnist/data").join(LABELS).to_str().unwrap().to_owned();
    let journal = killed(&lab, &small(&lab, &[(&elsewhere, labels.to_str().unwrap())]));
    let study = lab.path("out").join("study.toml");
    let good_study = fs::read_to_string(&study).unwrap();
    let before = fs::read(&journal).unwrap();
    let other_seed = good_study.replace("seed = 1", "seed = 2");
    let fewer_trials = good_study.replace("[16, 32]", "[16]");
    let other_labels = relabelled(&packed);
    let rows = [
        ("another seed", &study, other_seed.as_bytes(), good_study.as_bytes(), "the study is not what it began with"),
        ("fewer trials", &study, fewer_trials.as_bytes(), good_study.as_bytes(), "the study is not what it began"),
        ("another label", &labels, &other_labels, &packed, "the data set is not what it began with"),
    ];
    for (name, file, changed, good, fragment) in rows {
        fs::write(file, changed).unwrap();
        let refused = lab.resume("out", &[]).wait();
        assert_eq!(refused.code, Some(1), "{name}: {}", refused.stderr);
        assert!(refused.stderr.contains(fragment), "{name}: {}", refused.stderr);
        fs::write(file, good).unwrap();
    }
    assert_eq!(fs::read(&journal).unwrap(), before, "the journal was changed");
    drop(recovered("as it was", &lab.resume("out", &[]).wait(), &lab, "out", &undisturbed(PROGRAM)));
}

#[test]
fn a_run_whose_disk_is_full_stops_with_the_reason_and_goes_on_when_there_is_room() {
    let lab = Lab::new(PROGRAM);
    let Some(disk) = SmallDisk::mount(lab.path("disk"), 2) else { return };
    let digest = lab.tuned(&waiting(&lab, 4, 10, 0.0, 0), "undisturbed", &["--local", "1"]).digest().to_owned();
    // Seconds are left of it when the disk is full.
    let driver = lab.tune(&waiting(&lab, 4, 10, 0.2, 3_000), "disk/out", &["--local", "2x1"]);
    driver.until_lines("epoch done", 7);
    let filler = disk.fill();
    let stopped = driver.wait();
    assert_eq!(stopped.code, Some(1), "{}", stopped.stderr);
    for part in ["free some space on its disk, then resume the run", "to go on: broadsweep resume "] {
        assert!(stopped.stderr.contains(part), "{part}: {}", stopped.stderr);
    }
    fs::remove_file(filler).unwrap();
    let ended = lab.resume("disk/out", &[]).wait();
    drop(recovered("with room again", &ended, &lab, "disk/out", &digest));
}
