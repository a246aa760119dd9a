//! What the tests share that end things at random: a small study, what it gives where nothing happens, and dice.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use crate::lab::{Lab, tiny_with};
use crate::outcome::Outcome;
use crate::process::{Ended, Process, signal_to};

/// Epochs that [`small`] takes in all: five trials of six.
pub const EPOCHS: usize = 30;

/// What makes of `tiny.toml` a study of a second. No attempt has a copy, so that each repeated epoch has its reason,
/// and a trial may lose as many executors as a test kills.
const SMALLER: [(&str, &str); 4] = [
    ("epochs = 12", "epochs = 6"),
    ("count = 4", "count = 2"),
    ("[16, 32, 64]", "[16, 32]"),
    ("backoff_ms = 50", "backoff_ms = 50\ncopies = false\nlosses_max = 1000"),
];

/// Writes a study of a second into the lab, with further changes of its text.
#[must_use]
pub fn small(lab: &Lab, changes: &[(&str, &str)]) -> PathBuf {
    lab.write("small.toml", tiny_with(&[&SMALLER, changes].concat()))
}

/// Writes a study into the lab whose trials wait so long, in epochs of `epoch_s`, and train nothing.
#[must_use]
pub fn waiting(lab: &Lab, trials: u32, epochs: u32, epoch_s: f64, reconnect_ms: u32) -> PathBuf {
    let text = format!(
        "name = 'waiting'\n[trainer]\nkind = 'replay'\nseconds = {epoch_s}\nepochs = {epochs}\nerror = '$error'\n\
         [search]\nsampler = 'grid'\n[search.space]\nerror = {{ range = [0.1, 0.9], count = {trials} }}\n\
         [scheduling]\nreconnect_ms = {reconnect_ms}\ncopies = false\nlosses_max = 1000\n"
    );
    lab.write("waiting.toml", text)
}

/// The digest of [`small`] where nothing happens.
#[must_use]
pub fn undisturbed(program: &'static str) -> String {
    static KNOWN: Mutex<Option<String>> = Mutex::new(None);
    // Held while it is made: who comes second waits for it.
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let made = || {
        let lab = Lab::new(program);
        lab.tuned(&small(&lab, &[]), "undisturbed", &["--local", "2x1"]).digest().to_owned()
    };
    known.get_or_insert_with(made).clone()
}

/// What a run left that was disturbed and ended as one that was not: nothing is lost, nothing differs.
#[must_use]
pub fn recovered(what: &str, ended: &Ended, lab: &Lab, out: &str, digest: &str) -> Outcome {
    // Before its folder is read: what is missing there has its reason in what it said.
    assert_eq!(ended.code, Some(0), "{what}: {}", ended.stderr);
    let outcome = lab.outcome(out);
    assert_eq!(outcome.digest(), digest, "{what}: {}", ended.stderr);
    assert_eq!(outcome.number("/trials/finished"), outcome.number("/trials/planned"), "{what}: {}", outcome.summary);
    outcome
}

/// One row of `attempts.csv`.
#[derive(Clone, Debug)]
pub struct AttemptRow {
    /// The task.
    pub task: u32,
    /// Where it ran.
    pub executor: String,
    /// The epoch whose checkpoint it went on from.
    pub from_epoch: u32,
    /// The last epoch that it reported.
    pub epoch: u32,
    /// How it ended.
    pub end: String,
}

/// The attempts of a run, of each task in their order.
#[must_use]
pub fn attempts(outcome: &Outcome) -> Vec<AttemptRow> {
    let bytes = outcome.file("attempts.csv");
    let mut reader = csv::Reader::from_reader(&bytes[..]);
    let rows = reader.deserialize::<BTreeMap<String, String>>().map(Result::unwrap);
    let row = |row: BTreeMap<String, String>| AttemptRow {
        task: row["task"].parse().unwrap(),
        executor: row["executor"].clone(),
        from_epoch: row["from_epoch"].parse().unwrap(),
        epoch: row["epoch"].parse().unwrap(),
        end: row["end"].clone(),
    };
    rows.map(row).collect()
}

/// How many attempts ended in this way.
#[must_use]
pub fn ended_so(outcome: &Outcome, end: &str) -> usize {
    attempts(outcome).iter().filter(|attempt| attempt.end == end).count()
}

/// Numbers that look like chance, and are the same for the same seed.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Dice that fall as `seed` says.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// One of these numbers.
    pub fn roll(&mut self, range: Range<usize>) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        range.start + (self.0 >> 11) as usize % range.len()
    }

    /// Lets a driver get somewhere: nowhere, into the broadcast, to some epoch, or near its end; and a little further.
    pub fn let_run(&mut self, driver: &Process, epochs: usize) {
        match self.roll(0..10) {
            0 => {}
            1 => driver.until_lines("nodes answer", 1),
            2 => driver.until_lines("launched", 1),
            3 => driver.until_lines("5/5 trials", 1),
            _ => driver.until_lines("epoch done", self.roll(0..epochs)),
        }
        thread::sleep(Duration::from_micros(self.roll(0..20_000) as u64));
    }
}

/// Ends one of the driver's local executors, if there is one at this moment.
pub fn kill_a_child(dice: &mut Dice, driver: &Process) {
    let children = driver.children();
    if !children.is_empty() {
        signal_to(children[dice.roll(0..children.len())], Signal::KILL);
    }
}
