//! A program that stays up and maps rows: each partition is an Arrow stream to it and one back, over two pipes of its own.
//!
//! | module | holds |
//! |---|---|
//! | `mapping` | a partition on its way through the program |
//! | `given` | rows as an Arrow stream |
//! | `answered` | what the program answers, and is not believed |
//! | `frames` | where the messages of a stream end |

mod answered;
mod frames;
mod given;
mod mapping;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use broadsweep_common::application::Partition;
use broadsweep_common::attempt::{Ended, Used};
use broadsweep_common::configuration::Configuration;
use broadsweep_common::dataset::{Dataset, Part};
use broadsweep_common::ids::Digest;
use broadsweep_common::mapper::MapperDescription;
use broadsweep_common::program::{Piece, Word};
use broadsweep_common::refusal::Refusal;
use broadsweep_common::task::{Replicate, Segment};
use broadsweep_data::partition::Readable;
use broadsweep_leash::{DiskLimit, Excerpt, Heard, How, Limits, Lines, Order, Running, UNSENT_BYTES_MAX};
use broadsweep_nn::{Control as _, Phase};
use broadsweep_store::Content;

use self::mapping::Mapping;
use super::LOOK_INTERVAL;
use super::course::{SHOWN_BYTES, last_words};
use super::folders::{InnerFolder, UsedFolder};
use super::found;
use super::order::{Workplace, mapper_environment};
use super::slots::{ProgramSlot, Programs, unusable};
use crate::archive::{Access, unpack};
use crate::control::SlotControl;
use crate::trainers::input::InputFiles;
use crate::trainers::trainer::{Means, Trainer};

/// How long a program may go on that has closed a pipe; one that ends closes its pipes a moment before.
const DEAF_MAX: Duration = Duration::from_secs(2);

/// Maps partitions of an input through somebody's own program.
pub(in crate::trainers) struct MapperTrainer {
    description: MapperDescription,
    input: InputFiles,
    means: Means,
    /// Where the program is, unless it is a file of its own.
    found: Option<PathBuf>,
    /// Those that are free. Their programs use the files.
    slots: Mutex<Vec<MapperSlot>>,
    files: UsedFolder,
}

/// Where partitions are mapped, one at a time. What it has ends in this order.
struct MapperSlot {
    /// Waits for the next partition.
    warm: Option<Warm>,
    slot: ProgramSlot,
}

/// A program that is up, and its folder, which goes after what runs there.
struct Warm {
    running: Running,
    /// Whether it was given a partition before.
    has_mapped: bool,
    _folder: InnerFolder,
}

/// How a partition came out.
enum Mapped {
    Whole(Vec<u8>),
    Stopped,
    /// The program had ended before it saw any of it, as one may that has had enough.
    Unseen,
}

impl Drop for MapperTrainer {
    /// No program outlives its run. All of them are killed before the end of any is waited for.
    fn drop(&mut self) {
        let slots = self.slots.get_mut().unwrap_or_else(PoisonError::into_inner);
        slots.iter_mut().filter_map(|slot| slot.warm.as_mut()).for_each(|warm| warm.running.stop(Duration::ZERO));
    }
}

impl MapperTrainer {
    /// For a program whose files are here, under this name.
    ///
    /// # Errors
    /// [`Refusal`], if programs are not allowed here or this one cannot be started.
    pub(in crate::trainers) fn new(
        description: MapperDescription,
        (name, data): (Digest, &Dataset),
        means: Means,
    ) -> Result<Self, Refusal> {
        let programs = means.programs.as_ref().ok_or(Refusal::NoPrograms)?;
        let input = InputFiles::look(&description.application.files, &means);
        let fill = |folder: &Path| unpack(data.files(), folder, Access::ReadOnly);
        let files = UsedFolder::filled(&programs.base, &format!("mapper-{name}"), fill)
            .map_err(|error| Refusal::Data { reason: format!("the program's files cannot be written: {error}") })?;
        let found = found::find(&description.command, description.env_prefix.as_deref(), files.path());
        let found = found.map_err(|reason| Refusal::Program { reason })?;
        Ok(Self { description, input, means, found, slots: Mutex::default(), files })
    }

    fn programs(&self) -> Result<&Programs, String> {
        self.means.programs.as_deref().ok_or_else(|| Refusal::NoPrograms.to_string())
    }

    /// A slot that is free; each thread of the executor has one at a time.
    fn slot(&self) -> Result<MapperSlot, String> {
        if let Some(waiting) = self.slots.lock().unwrap_or_else(PoisonError::into_inner).pop() {
            return Ok(waiting);
        }
        Ok(MapperSlot { warm: None, slot: self.programs()?.slot().map_err(unusable)? })
    }

    fn try_apply(&self, number: u32, sent: Option<&Content>, control: &mut SlotControl) -> Result<Ended, String> {
        let none = || format!("the input has no partition {number}");
        let partition = self.description.application.partitions.get(number as usize).ok_or_else(none)?;
        let MapperDescription { schema, application, .. } = &self.description;
        let own = partition.own(&application.files);
        let goes_on = || control.allows_a_batch();
        let Some(files) = self.input.open((schema, &application.wanted), (own, partition), sent, &goes_on)? else {
            return Ok(Ended::Stopped);
        };
        control.phase(Phase::Evaluation);
        let mut slot = self.slot()?;
        let mapped = self.map_on(&mut slot, (partition, &files), control);
        if !matches!(mapped, Ok(Mapped::Whole(_))) {
            slot.warm = None; // whatever it was about, nothing of it goes on
        }
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).push(slot);
        match mapped? {
            Mapped::Whole(artifact) => Ok(control.applied(artifact)),
            Mapped::Stopped => Ok(Ended::Stopped),
            Mapped::Unseen => Err("it ended before it saw a row".to_owned()),
        }
    }

    /// Maps a partition through the program that waits, or a new one.
    fn map_on(
        &self,
        slot: &mut MapperSlot,
        (partition, files): (&Partition, &[Readable]),
        control: &mut SlotControl,
    ) -> Result<Mapped, String> {
        slot.warm = slot.warm.take().and_then(|mut warm| warm.is_waiting().then_some(warm));
        if slot.warm.is_some() {
            let mapped = self.map_through(slot, (partition, files), control)?;
            if !matches!(mapped, Mapped::Unseen) {
                return Ok(mapped);
            }
        }
        slot.warm = None;
        slot.warm = Some(self.start(&mut slot.slot)?);
        self.map_through(slot, (partition, files), control)
    }

    /// Maps a partition through the program that is up.
    fn map_through(
        &self,
        slot: &mut MapperSlot,
        (partition, files): (&Partition, &[Readable]),
        control: &mut SlotControl,
    ) -> Result<Mapped, String> {
        let Some(warm) = &mut slot.warm else { return Ok(Mapped::Unseen) };
        let account = warm.running.open_account();
        let mut mapping = Mapping::new(&self.description, partition, files)?;
        let mut speech = Speech { excerpt: Excerpt::new(0, SHOWN_BYTES), lines: Lines::default() };
        let silent_max = Duration::from_millis(self.description.silent_ms);
        let come = warm.converse(&mut mapping, &mut speech, silent_max, control);
        warm.has_mapped = true;
        warm.hear_out(&mut speech, control);
        let used = warm.running.used_since(&account);
        let cpu_us = u64::try_from(used.cpu.as_micros()).unwrap_or(u64::MAX);
        control.used(Used { cpu_us, memory_peak_bytes: used.peak_memory_bytes });
        let mapped = come.and_then(|come| match come {
            Come::Over => mapping.finish().map(Mapped::Whole),
            Come::Stopped => Ok(Mapped::Stopped),
            Come::Unseen => Ok(Mapped::Unseen),
        });
        mapped.map_err(|why| format!("{why}; {}", last_words(&speech.excerpt)))
    }

    fn start(&self, slot: &mut ProgramSlot) -> Result<Warm, String> {
        let folder = self.programs()?.folder_on(slot, "mapper")?;
        let workplace = Workplace::make(folder.path(), self.files.path()).map_err(unusable)?;
        let mut words = self.description.command.iter().map(word_of).collect::<Result<Vec<_>, _>>()?.into_iter();
        let memory_bytes = Some(self.means.memory_bytes).filter(|bytes| *bytes < u64::MAX);
        let disk = DiskLimit { folder: slot.home.path().to_owned(), bytes_max: self.description.disk_bytes };
        let order = Order {
            program: words.next().ok_or("the command has no words")?,
            arguments: words.collect(),
            environment: mapper_environment(self.description.env_prefix.as_deref(), self.means.threads, &workplace),
            folder: workplace.slot_dir,
            limits: Limits { memory_bytes, disk: Some(disk) },
            has_worker_pipes: true,
        };
        let running = slot.leash.start(&order).map_err(|error| format!("nothing was started: {error}"))?;
        Ok(Warm { running, has_mapped: false, _folder: folder })
    }
}

impl Trainer for MapperTrainer {
    fn train(&self, _: Segment, _: &Configuration, _: Option<Content>, _: &mut SlotControl) -> Ended {
        Ended::failed("a program that maps rows is not trained")
    }

    fn measure(&self, _: Replicate, _: &Configuration, _: (Content, Part), _: &mut SlotControl) -> Ended {
        Ended::failed("a program that maps rows is not measured")
    }

    fn apply(&self, partition: u32, rows: Option<Content>, control: &mut SlotControl) -> Ended {
        self.try_apply(partition, rows.as_ref(), control).unwrap_or_else(Ended::failed)
    }

    fn program(&self) -> Option<&Path> {
        self.found.as_deref()
    }

    fn lacks(&self) -> Option<&str> {
        self.input.lacks()
    }
}

/// A word of the command, as it is here.
fn word_of(word: &Word) -> Result<std::ffi::OsString, String> {
    let Word::One(pieces) = word else { return Err("the command names parameters, and rows have none".to_owned()) };
    let mut whole = std::ffi::OsString::new();
    for piece in pieces {
        match piece {
            Piece::Text(text) => whole.push(text),
            Piece::Variable(name) => whole.push(std::env::var_os(name).ok_or_else(|| {
                format!("the command names ${{envvar:{name}}}, which is not set where this executor runs")
            })?),
            Piece::Parameter(_) | Piece::Known(_) => {
                return Err("the command names what only a trial has".to_owned());
            }
        }
    }
    Ok(whole)
}

/// What a program prints while it maps a partition.
struct Speech {
    excerpt: Excerpt,
    lines: Lines,
}

impl Speech {
    fn hear(&mut self, bytes: &[u8], control: &SlotControl) {
        self.excerpt.push(bytes);
        let mut whole = Vec::with_capacity(bytes.len());
        self.lines.push(bytes, |line| {
            whole.extend_from_slice(line);
            whole.push(b'\n');
        });
        control.log(&whole);
    }
}

/// What became of a conversation.
enum Come {
    Over,
    Stopped,
    Unseen,
}

impl Warm {
    /// Whether it still waits, and has answered nothing that it was not asked.
    fn is_waiting(&mut self) -> bool {
        let mut has_answered = false;
        let left = self.running.wait(Instant::now(), |heard| has_answered |= matches!(heard, Heard::Answer(_)));
        left.is_none() && !has_answered && self.running.may_answer()
    }

    /// Hears what it has printed by now, to the end.
    fn hear_out(&mut self, speech: &mut Speech, control: &SlotControl) {
        self.running.wait(Instant::now(), |heard| {
            if let Heard::Output(bytes) = heard {
                speech.hear(bytes, control);
            }
        });
        control.log(speech.lines.unfinished());
    }

    /// Gives it rows and hears its answers, until both have ended.
    fn converse(
        &mut self,
        mapping: &mut Mapping<'_>,
        speech: &mut Speech,
        silent_max: Duration,
        control: &SlotControl,
    ) -> Result<Come, String> {
        let (mut moved, mut has_answered) = (Instant::now(), false);
        let mut is_deaf = false;
        while !mapping.is_over() || self.running.unsent_bytes() > 0 {
            if !control.allows_a_batch() {
                return Ok(Come::Stopped);
            }
            let unsent = self.running.unsent_bytes();
            is_deaf = is_deaf || !self.send(mapping)?;
            let (mut answers, has_sent) = (Vec::new(), self.running.unsent_bytes() != unsent);
            let left = self.running.wait(Instant::now() + LOOK_INTERVAL, |heard| match heard {
                Heard::Output(bytes) => speech.hear(bytes, control),
                Heard::Answer(bytes) => answers.extend_from_slice(bytes),
            });
            if !answers.is_empty() || has_sent || self.running.unsent_bytes() != unsent {
                moved = Instant::now();
            }
            has_answered |= !answers.is_empty();
            mapping.hear(&answers)?;
            match left.map(|left| left.how) {
                Some(How::Exit(0)) if mapping.is_over() => return Ok(Come::Over),
                Some(How::Exit(0)) if !has_answered && self.has_mapped => return Ok(Come::Unseen),
                Some(How::Exit(0)) => {
                    return Err(format!("it ended with exit code 0 before it was through; {}", mapping.progress()));
                }
                Some(how) => return Err(format!("{how}; {}", mapping.progress())),
                None => {}
            }
            self.check_patience(mapping, (moved, is_deaf), silent_max)?;
        }
        Ok(Come::Over)
    }

    /// Sends what there is room for. Whether it still reads.
    fn send(&mut self, mapping: &mut Mapping<'_>) -> Result<bool, String> {
        loop {
            let room = UNSENT_BYTES_MAX - self.running.unsent_bytes();
            let outgoing = mapping.outgoing()?;
            let next = &outgoing[..outgoing.len().min(room)];
            if next.is_empty() {
                return Ok(true);
            }
            let bytes = next.len();
            if self.running.send(next).is_err() {
                return Ok(false);
            }
            mapping.sent(bytes);
        }
    }

    fn check_patience(
        &self,
        mapping: &Mapping<'_>,
        (moved, is_deaf): (Instant, bool),
        silent_max: Duration,
    ) -> Result<(), String> {
        let waited = moved.elapsed();
        let is_closed = is_deaf || !self.running.may_answer();
        if is_closed && waited >= DEAF_MAX {
            return Err(format!("it closed a pipe for rows or answers, and went on; {}", mapping.progress()));
        }
        if waited >= silent_max {
            let seconds = silent_max.as_secs_f64();
            return Err(format!("it took no rows and gave no answers for {seconds} s; {}", mapping.progress()));
        }
        Ok(())
    }
}
