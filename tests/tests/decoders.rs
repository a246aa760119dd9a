//! Whatever reads bytes from outside, on what it is likely to meet: its seeds, what failed once, and a moment of changes
//! to these. Hours of that, with guidance, are `tests/outside/run fuzz`.
//!
//! Each decoder has a process of its own, whose memory and time the system bounds too: one that overflows its stack, asks
//! for too much or never comes back ends that process, and the input is in its folder.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic, in its helping functions too")]

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use broadsweep_common::ids::Digest;
use broadsweep_tests::decoders::memory::Counted;
use broadsweep_tests::decoders::mutator::Mutator;
use broadsweep_tests::decoders::{ALL, Decoder};
use rustix::process::{Resource, Rlimit, setrlimit};

#[global_allocator]
static MEMORY: Counted = Counted;

/// Names the decoder of a process, and the file with the input that it is at.
const DECODER: &str = "BROADSWEEP_DECODER";
const INPUT: &str = "BROADSWEEP_DECODER_INPUT";

/// Time for the changed inputs of one decoder, and how many there are at most.
const CHANGES_LAST: Duration = Duration::from_secs(1);
const CHANGES_MAX: usize = 200_000;
/// Time for one input, of which each takes less than a tenth of a second: on a machine that is busy with other things, too.
const INPUT_LASTS_MAX: Duration = Duration::from_secs(10);
/// Processor time of a process: one that takes as long never comes back.
const PROCESS_LASTS_MAX_S: u64 = 30;
/// What a process may ask the system for.
const PROCESS_BYTES_MAX: u64 = 2 << 30;
/// Processes at a time.
const PROCESSES: usize = 2;

/// Decodes one input, which is in `file` meanwhile.
fn check(decoder: Decoder, input: &[u8], file: &Path) {
    fs::write(file, input).unwrap();
    let began = Instant::now();
    decoder.watched(input);
    let took = began.elapsed();
    assert!(took < INPUT_LASTS_MAX, "{} took {took:?} for an input of {} bytes", decoder.name, input.len());
}

/// All inputs of one decoder.
fn check_all(decoder: Decoder, file: &Path) {
    let bound = |most| Rlimit { current: Some(most), maximum: Some(most) };
    setrlimit(Resource::Cpu, bound(PROCESS_LASTS_MAX_S)).unwrap();
    setrlimit(Resource::As, bound(PROCESS_BYTES_MAX)).unwrap();
    let inputs = decoder.inputs();
    // What a decoder keeps for all inputs is no input's fault.
    (decoder.decode)(&inputs[0]);
    for input in &inputs {
        check(decoder, input, file);
    }
    let (mut mutator, began) = (Mutator::new(1), Instant::now());
    for _ in 0..CHANGES_MAX {
        if began.elapsed() > CHANGES_LAST {
            break;
        }
        check(decoder, &mutator.change(&inputs), file);
    }
}

/// Has a process check a decoder. What went wrong, if something did.
fn failure_of(decoder: Decoder, folder: &Path) -> Option<String> {
    let input = folder.join(decoder.name);
    let scratch = folder.join(format!("{}.files", decoder.name));
    fs::create_dir(&scratch).unwrap();
    let ended = Command::new(env::current_exe().unwrap())
        .args([NAME, "--exact", "--nocapture"])
        .env(DECODER, decoder.name)
        .env(INPUT, &input)
        .env("TMPDIR", &scratch)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    if ended.status.success() {
        return None;
    }
    let said = String::from_utf8_lossy(&ended.stderr);
    let kept = keep(decoder, &input);
    Some(format!(
        "{}: {}\n{said}\nThe input is {}. Once this is mended, copy it to {}: it is tried again from then on.",
        decoder.name,
        ended.status,
        kept.display(),
        decoder.corpus().display()
    ))
}

/// Copies a failing input to where it stays.
fn keep(decoder: Decoder, input: &Path) -> PathBuf {
    let bytes = fs::read(input).unwrap_or_default();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("failing-inputs").join(decoder.name);
    fs::create_dir_all(&folder).unwrap();
    let kept = folder.join(format!("failed-{:.16}", Digest::of(&bytes).to_string()));
    fs::write(&kept, bytes).unwrap();
    kept
}

const NAME: &str = "every_decoder_ends_with_a_value_or_an_error_in_bounded_time_and_memory";

#[test]
fn every_decoder_ends_with_a_value_or_an_error_in_bounded_time_and_memory() {
    if let (Ok(name), Some(input)) = (env::var(DECODER), env::var_os(INPUT)) {
        return check_all(Decoder::named(&name).unwrap(), Path::new(&input));
    }
    let folder = tempfile::tempdir().unwrap();
    let (left, failures) = (Mutex::new(ALL.iter()), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..PROCESSES {
            scope.spawn(|| {
                loop {
                    let Some(decoder) = left.lock().unwrap().next() else { return };
                    failures.lock().unwrap().extend(failure_of(*decoder, folder.path()));
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "\n{}", failures.join("\n\n"));
}

#[test]
fn each_decoder_has_a_name_of_its_own_and_no_corpus_is_anybodys() {
    let mut names: Vec<_> = ALL.iter().map(|decoder| decoder.name.to_owned()).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), ALL.len());
    let folders = fs::read_dir(ALL[0].corpus().parent().unwrap()).unwrap();
    let folders = folders.map(|folder| folder.unwrap().file_name().into_string().unwrap());
    let strangers: Vec<_> = folders.filter(|folder| !names.contains(folder)).collect();
    assert!(strangers.is_empty(), "tests/fuzz/corpus has {strangers:?}, and there is no such decoder");
}
