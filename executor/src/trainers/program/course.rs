//! The course of one attempt: what its program tells becomes epochs, each reported once and in order.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use broadsweep_common::attempt::Used;
use broadsweep_common::metrics::{MetricName, Metrics};
use broadsweep_leash::{Excerpt, Lines, Usage};

use super::telling::{Printed, Told, of_json};
use crate::archive::pack;
use crate::control::SlotControl;

/// Bytes of a line of the metrics file.
const LINE_BYTES_MAX: usize = 1 << 20;
/// Bytes that are read of it at a time.
const READ_BYTES: u64 = 256 << 10;
/// What is shown of what a program printed, where it fails.
pub(super) const SHOWN_BYTES: usize = 2000;

/// What surrounds an attempt.
pub(super) struct Course<'a> {
    control: &'a mut SlotControl,
    objective: &'a MetricName,
    until_epoch: u32,
    checkpoints: Checkpoints,
    /// The epoch that was reported last, or that its checkpoint was of.
    last: u32,
    /// Heard of, and not yet reported: more may come of it.
    open: Option<(u32, Metrics)>,
    has_objective: bool,
    /// Why its program cannot be believed any more.
    fault: Option<String>,
    stage: Stage,
    metrics_file: MetricsFile,
    printed: Printed,
    lines: Lines,
    used: Option<Used>,
    excerpt: Excerpt,
}

/// The end of what a program printed, for people.
pub(super) fn last_words(printed: &Excerpt) -> String {
    let printed = printed.to_bytes();
    let text = String::from_utf8_lossy(&printed);
    let lines = text.lines().map(|line| line.rsplit('\r').find(|part| !part.is_empty()).unwrap_or_default());
    let lines: Vec<_> = lines.filter(|line| !line.trim().is_empty() && !line.starts_with('[')).collect();
    match &lines[lines.len().saturating_sub(10)..] {
        [] => "it printed nothing".to_owned(),
        last => format!("it printed at last: {}", last.join(" | ")),
    }
}

/// How far an attempt is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It goes on from a checkpoint, and has not reported anything yet.
    Resuming,
    Training,
    /// No further epoch may begin.
    Stopped,
    /// Its checkpoint held more than was known when it was taken.
    Skipped,
}

impl Stage {
    fn goes_on(self) -> bool {
        matches!(self, Self::Resuming | Self::Training)
    }
}

impl<'a> Course<'a> {
    /// The course of an attempt of which the epochs up to `known` were reported before; with `is_resuming` it goes on from
    /// a checkpoint of the last one.
    pub(super) fn new(
        control: &'a mut SlotControl,
        (objective, printed): (&'a MetricName, Printed),
        (known, until_epoch): (u32, u32),
        is_resuming: bool,
        metrics_file: &Path,
        checkpoints: Checkpoints,
    ) -> io::Result<Self> {
        Ok(Self {
            control,
            objective,
            until_epoch,
            checkpoints,
            last: known,
            open: None,
            has_objective: known > 0,
            fault: None,
            stage: if is_resuming { Stage::Resuming } else { Stage::Training },
            metrics_file: MetricsFile { file: File::open(metrics_file)?, line: Vec::new(), is_too_long: false },
            printed,
            lines: Lines::default(),
            used: None,
            excerpt: Excerpt::new(0, SHOWN_BYTES),
        })
    }

    /// Takes in what the program printed.
    pub(super) fn hear(&mut self, bytes: &[u8]) {
        self.excerpt.push(bytes);
        let (mut told, mut folded) = (Vec::new(), Vec::with_capacity(bytes.len()));
        self.lines.push(bytes, |line| {
            told.extend(self.printed.read(&String::from_utf8_lossy(line)));
            folded.extend_from_slice(line);
            folded.push(b'\n');
        });
        self.control.log(&folded);
        for told in told {
            self.take(&told);
        }
    }

    /// Reads on in the metrics file. What was heard of an epoch is reported once it holds the objective and no more comes.
    pub(super) fn look(&mut self) {
        let told = self.metrics_file.read();
        let is_quiet = told.is_empty();
        for line in told {
            match line {
                Ok(told) => self.take(&told),
                Err(reason) => self.blame(reason),
            }
        }
        if is_quiet && self.open.as_ref().is_some_and(|(_, metrics)| metrics.get(self.objective).is_some()) {
            self.report();
        }
    }

    /// The program has ended: nothing more comes.
    pub(super) fn close(&mut self) {
        let unfinished = String::from_utf8_lossy(self.lines.unfinished()).into_owned();
        self.control.log(self.lines.unfinished());
        if let Some(told) = self.printed.read(&unfinished) {
            self.take(&told);
        }
        loop {
            self.look();
            if !self.metrics_file.has_more() {
                break;
            }
        }
        match self.metrics_file.end_line() {
            Some(Ok(told)) => self.take(&told),
            Some(Err(reason)) => self.blame(reason),
            None => {}
        }
        self.report();
        if let Some(used) = self.used.take() {
            self.control.used(used);
        }
    }

    /// What its processes used, now that they are through with it: told after its last epoch, with its end.
    pub(super) fn used(&mut self, usage: Usage) {
        let cpu_us = u64::try_from(usage.cpu.as_micros()).unwrap_or(u64::MAX);
        self.used = Some(Used { cpu_us, memory_peak_bytes: usage.peak_memory_bytes });
    }

    /// How far it is: the epoch that was reported last, and whether anything of the next one was told.
    pub(super) fn progress(&self) -> (u32, bool) {
        (self.last, self.open.is_some())
    }

    /// Whether the program may go on.
    pub(super) fn may_go_on(&self) -> bool {
        self.stage.goes_on() && self.fault.is_none() && self.control.allows_a_batch()
    }

    /// The epoch that was reported last.
    pub(super) fn epoch(&self) -> u32 {
        self.last
    }

    /// Why it cannot be believed, if so.
    pub(super) fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }

    /// Whether the checkpoint that it went on from was of a later epoch than was known, so that an epoch is missing: a
    /// program commits a checkpoint before it reports, and may be ended in between.
    pub(super) fn has_skipped(&self) -> bool {
        self.stage == Stage::Skipped
    }

    /// What has to be reported.
    pub(super) fn objective(&self) -> &MetricName {
        self.objective
    }

    /// Whether the objective was ever told.
    pub(super) fn has_objective(&self) -> bool {
        self.has_objective
    }

    /// The end of what it printed, for people.
    pub(super) fn last_words(&self) -> String {
        last_words(&self.excerpt)
    }

    fn blame(&mut self, reason: String) {
        self.fault.get_or_insert(reason);
    }

    fn take(&mut self, told: &Told) {
        if self.fault.is_some() || !self.stage.goes_on() {
            return;
        }
        let open = self.open.as_ref().map(|(epoch, _)| *epoch);
        let next = open.unwrap_or(self.last).saturating_add(1);
        let epoch = match (told.epoch, &self.open) {
            (Some(epoch), _) => u32::try_from(epoch).unwrap_or(u32::MAX),
            // Without a number, what repeats a name begins another epoch.
            (None, Some((epoch, known))) if told.metrics.iter().all(|(name, _)| known.get(name).is_none()) => *epoch,
            (None, _) => next,
        };
        if epoch == 0 {
            return self.blame("it reported epoch 0, and epochs count from 1".to_owned());
        }
        if epoch <= self.last || open.is_some_and(|open| epoch < open) {
            return; // it repeats what its checkpoint did not hold, or adds to what is reported
        }
        if epoch > self.until_epoch {
            let asked = self.until_epoch;
            return self.blame(format!(
                "it reported epoch {epoch}, and was asked for {asked}; pass ${{epochs}} to it, or set `epochs` in [trainer]"
            ));
        }
        if epoch > next && self.stage == Stage::Resuming {
            self.stage = Stage::Skipped;
            return;
        }
        if epoch > next {
            let before = next - 1;
            return self.blame(format!(
                "it reported epoch {epoch} after epoch {before}; leave out \"epoch\" where not every epoch is reported"
            ));
        }
        self.stage = Stage::Training;
        if open != Some(epoch) {
            self.report();
            self.open = Some((epoch, Metrics::default()));
        }
        if let Some((_, known)) = &mut self.open {
            told.metrics.iter().for_each(|(name, value)| known.set(name.clone(), value));
        }
    }

    /// Reports what is open.
    fn report(&mut self) {
        let Some((epoch, metrics)) = self.open.take().filter(|(_, metrics)| !metrics.is_empty()) else { return };
        self.has_objective |= metrics.get(self.objective).is_some();
        self.last = epoch;
        let checkpoints = &self.checkpoints;
        // While more is told, what lies there is of a later epoch.
        let has_none = checkpoints.is_empty() || self.metrics_file.has_more();
        if !self.control.epoch_done(epoch, metrics, (has_none, || checkpoints.pack(epoch))) {
            self.stage = Stage::Stopped;
        }
    }
}

/// Where a program puts its checkpoints. What it is still writing has a name that begins with a dot, or lies elsewhere: it
/// commits by renaming.
#[derive(Debug)]
pub(super) struct Checkpoints {
    pub(super) folder: PathBuf,
    pub(super) bytes_max: u64,
}

impl Checkpoints {
    fn names(&self) -> io::Result<Vec<PathBuf>> {
        let entries = fs::read_dir(&self.folder)?.map(|entry| Ok(PathBuf::from(entry?.file_name())));
        let mut names = entries.collect::<io::Result<Vec<_>>>()?;
        names.retain(|name| !name.as_os_str().as_encoded_bytes().starts_with(b"."));
        names.sort();
        Ok(names)
    }

    fn is_empty(&self) -> bool {
        self.names().is_ok_and(|names| names.is_empty())
    }

    /// The epoch, then what is there.
    pub(super) fn pack(&self, epoch: u32) -> Vec<u8> {
        let packed = self.names().and_then(|names| pack(&self.folder, &names, self.bytes_max));
        let packed = packed.unwrap_or_else(|error| {
            tracing::warn!(folder = %self.folder.display(), %error, "a program's checkpoint was not kept");
            Vec::new()
        });
        [&epoch.to_le_bytes(), &packed[..]].concat()
    }
}

/// The epoch of a checkpoint, and its archive.
pub(super) fn checkpoint_parts(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (epoch, archive) = bytes.split_first_chunk()?;
    (!archive.is_empty()).then_some((u32::from_le_bytes(*epoch), archive))
}

/// The metrics file, as far as it was read.
struct MetricsFile {
    file: File,
    line: Vec<u8>,
    is_too_long: bool,
}

impl MetricsFile {
    /// The whole lines that have come since, as far as one reading goes.
    fn read(&mut self) -> Vec<Result<Told, String>> {
        let mut bytes = Vec::new();
        let read = (&self.file).take(READ_BYTES).read_to_end(&mut bytes);
        let mut told = Vec::new();
        if let Err(error) = read {
            told.push(Err(format!("its metrics file cannot be read: {error}")));
        }
        for byte in bytes {
            if byte == b'\n' {
                told.extend(self.end_line());
            } else if self.line.len() < LINE_BYTES_MAX {
                self.line.push(byte);
            } else {
                self.is_too_long = true;
            }
        }
        told
    }

    fn has_more(&mut self) -> bool {
        use std::io::Seek as _;
        let length = self.file.metadata().map_or(0, |facts| facts.len());
        self.file.stream_position().is_ok_and(|place| place < length)
    }

    /// What the line tells that has come to its end.
    fn end_line(&mut self) -> Option<Result<Told, String>> {
        let line = std::mem::take(&mut self.line);
        if std::mem::take(&mut self.is_too_long) {
            return Some(Err(format!("a line of its metrics file has more than {LINE_BYTES_MAX} bytes")));
        }
        let text = String::from_utf8_lossy(&line);
        let start: String = text.chars().take(200).collect();
        of_json(&text).map_err(|reason| format!("its metrics file has the line {start:?}: {reason}")).transpose()
    }
}

#[cfg(test)]
#[path = "course_tests.rs"]
mod tests;
