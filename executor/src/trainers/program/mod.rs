//! Somebody's own program as the trainer: an attempt is a process on a leash, with a folder of its own.
//!
//! | module | holds |
//! |---|---|
//! | `order` | what the program is given: words, environment, files |
//! | `course` | what becomes of what it tells: epochs, in order |
//! | `telling` | lines of metrics, in their forms |
//! | `found` | where the program is, before anything is placed |
//! | `folders` | folders that go when nobody uses them |

mod course;
mod folders;
mod found;
mod order;
mod telling;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use broadsweep_common::attempt::{ArtifactName, Ended};
use broadsweep_common::configuration::Configuration;
use broadsweep_common::dataset::{Dataset, Part};
use broadsweep_common::ids::Digest;
use broadsweep_common::program::ProgramDescription;
use broadsweep_common::refusal::Refusal;
use broadsweep_common::seeds;
use broadsweep_common::task::{Replicate, Segment};
use broadsweep_leash::{Allowed, DiskLimit, Ended as Left, Heard, How, Leash, Limits, Order, Slot};
use broadsweep_nn::{Control as _, Phase};

use self::course::{Checkpoints, Course, checkpoint_parts};
use self::folders::{UsedFolder, sweep};
use self::order::{Facts, Workplace};
use self::telling::Printed;
use super::trainer::{Means, Trainer, in_words};
use crate::archive::{Access, pack, unpack};
use crate::control::SlotControl;
use crate::store::Content;

/// How often the metrics file is looked at, and the control is asked.
const LOOK_INTERVAL: Duration = Duration::from_millis(25);

/// What an executor that runs programs has for them.
#[derive(Debug)]
pub struct Programs {
    leash: Leash,
    /// Where their folders lie.
    base: PathBuf,
    /// Names that no other executor gives.
    instance: u64,
    made: AtomicU64,
}

impl Programs {
    /// Programs whose folders lie in the cache folder; `instance` is a number that no other process has. What an executor
    /// left there that was killed is removed.
    ///
    /// # Errors
    /// If nothing can hold them on this machine, in words.
    pub fn new(cache_dir: &Path, instance: u64) -> Result<Self, String> {
        let leash = Leash::new(Allowed::default());
        let isolation = leash.probe().map_err(in_words)?;
        tracing::info!("programs run here: {isolation}");
        let base = cache_dir.join("programs");
        sweep(&base);
        Ok(Self { leash, base, instance, made: AtomicU64::new(0) })
    }

    /// A folder that nobody else has.
    fn folder(&self) -> io::Result<UsedFolder> {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        UsedFolder::new(&self.base, &format!("attempt-{:016x}-{number}", self.instance))
    }
}

/// Runs the program of a study.
pub(crate) struct ProgramTrainer {
    seed: u64,
    program: ProgramDescription,
    data: UsedFolder,
    /// Where the program is, unless only an attempt knows, or it is a file of the study.
    found: Option<PathBuf>,
    means: Means,
    /// Slots whose supervisors wait for the next attempt.
    slots: Mutex<Vec<Slot>>,
}

impl fmt::Debug for ProgramTrainer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProgramTrainer").field("program", &self.program).finish_non_exhaustive()
    }
}

impl ProgramTrainer {
    /// The trainer of a study whose files are here.
    ///
    /// # Errors
    /// [`Refusal`], if programs are not allowed here, the study's files cannot be unpacked, or this one cannot be started.
    pub(crate) fn new(seed: u64, program: ProgramDescription, data: &Dataset, means: Means) -> Result<Self, Refusal> {
        let programs = means.programs.as_ref().ok_or(Refusal::NoPrograms)?;
        Printed::new(&program.printed).map_err(|error| Refusal::Study { reason: error.to_string() })?;
        let files = data.files();
        let name = format!("study-{}", Digest::of(files));
        let filled = UsedFolder::filled(&programs.base, &name, |folder| unpack(files, folder, Access::ReadOnly));
        let data =
            filled.map_err(|error| Refusal::Data { reason: format!("its files cannot be unpacked: {error}") })?;
        let found = found::find(&program, data.path()).map_err(|reason| Refusal::Program { reason })?;
        Ok(Self { seed, program, data, found, means, slots: Mutex::default() })
    }

    fn programs(&self) -> Result<&Programs, String> {
        self.means.programs.as_deref().ok_or_else(|| Refusal::NoPrograms.to_string())
    }

    /// A slot that is free; each thread of the executor has one at a time.
    fn slot(&self) -> Result<Slot, String> {
        let waiting = self.slots.lock().unwrap_or_else(PoisonError::into_inner).pop();
        waiting.map_or_else(|| Ok(self.programs()?.leash.slot()), Ok)
    }

    fn try_train(
        &self,
        segment: Segment,
        configuration: &Configuration,
        checkpoint: Option<Content>,
        control: &mut SlotControl,
    ) -> Result<Ended, String> {
        match self.try_once(segment, configuration, (checkpoint, 0), control)? {
            Tried::Ended(ended) => Ok(ended),
            Tried::Skipped { known } => {
                tracing::warn!(after = known, "the checkpoint skips an epoch; starting at the beginning");
                match self.try_once(segment, configuration, (None, known), control)? {
                    Tried::Ended(ended) => Ok(ended),
                    Tried::Skipped { .. } => Err("it skips epochs".to_owned()),
                }
            }
        }
    }

    /// Runs the program once: from a checkpoint, or from the beginning, where the epochs up to `known` are known.
    fn try_once(
        &self,
        segment: Segment,
        configuration: &Configuration,
        (checkpoint, known): (Option<Content>, u32),
        control: &mut SlotControl,
    ) -> Result<Tried, String> {
        let unusable = |error: io::Error| format!("its folder cannot be used: {error}");
        let folder = self.programs()?.folder().map_err(unusable)?;
        let workplace = Workplace::make(folder.path(), self.data.path()).map_err(unusable)?;
        workplace.write_parameters(configuration).map_err(unusable)?;
        let epochs = self.program.epochs.resolve(configuration, "epochs").map_err(in_words)?;
        let resumed_from = checkpoint.and_then(|content| resume(&content, &workplace.checkpoint_dir));
        let known = resumed_from.unwrap_or(known);
        let facts = Facts {
            configuration,
            trial: segment.replicate.trial.0,
            seed: seeds::trial_seed(self.seed, configuration.digest(), segment.replicate.repeat),
            epochs: segment.until_epoch.min(epochs),
            resumed_from,
            threads: self.means.threads,
            data_dir: self.data.path(),
            workplace: &workplace,
        };
        let order = self.order(&facts)?;
        let bytes_max = self.means.memory_bytes / 4;
        let checkpoints = Checkpoints { folder: workplace.checkpoint_dir.clone(), bytes_max };
        let printed = Printed::new(&self.program.printed).map_err(in_words)?;
        let (named, span) = ((&self.program.objective, printed), (known, segment.until_epoch));
        let (is_resuming, metrics_file) = (resumed_from.is_some(), &workplace.metrics_file);
        let course = Course::new(control, named, span, is_resuming, metrics_file, checkpoints);
        let mut course = course.map_err(unusable)?;
        let left = self.run(&order, &mut course)?;
        course.close();
        course.used(left.usage);
        if course.has_skipped() {
            return Ok(Tried::Skipped { known });
        }
        if let Some(ended) = early_end(&left, &course) {
            return Ok(Tried::Ended(ended));
        }
        let epoch = course.epoch();
        self.finished(&workplace, (epoch, segment.until_epoch < epochs), control).map(Tried::Ended)
    }

    fn order(&self, facts: &Facts<'_>) -> Result<Order, String> {
        let mut words = facts.words(&self.program.command)?.into_iter();
        let memory_bytes =
            self.program.memory_bytes.or(Some(self.means.memory_bytes).filter(|bytes| *bytes < u64::MAX));
        Ok(Order {
            program: words.next().ok_or("the command has no words")?,
            arguments: words.collect(),
            environment: facts.environment(&self.program),
            folder: facts.workplace.slot_dir.clone(),
            limits: Limits {
                memory_bytes,
                disk: Some(DiskLimit { folder: facts.workplace.root.clone(), bytes_max: self.program.disk_bytes }),
            },
            has_worker_pipes: false,
        })
    }

    /// Runs the program to its end, whoever brings that about.
    fn run(&self, order: &Order, course: &mut Course<'_>) -> Result<Left, String> {
        let mut slot = self.slot()?;
        let mut running = slot.start(order).map_err(|error| format!("nothing was started: {error}"))?;
        let left = loop {
            let hear = |heard: Heard<'_>| {
                if let Heard::Output(bytes) = heard {
                    course.hear(bytes);
                }
            };
            if let Some(left) = running.wait(Instant::now() + LOOK_INTERVAL, hear) {
                break left;
            }
            course.look();
            if !course.may_go_on() {
                running.stop(Duration::from_millis(self.program.grace_ms));
            }
        };
        drop(running);
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).push(slot);
        Ok(left)
    }

    /// How an attempt ends whose program did what it should.
    fn finished(
        &self,
        workplace: &Workplace,
        (epoch, is_paused): (u32, bool),
        control: &mut SlotControl,
    ) -> Result<Ended, String> {
        if is_paused {
            let checkpoints =
                Checkpoints { folder: workplace.checkpoint_dir.clone(), bytes_max: self.means.memory_bytes / 4 };
            return Ok(control.trained(epoch, ArtifactName::Checkpoint, checkpoints.pack(epoch)));
        }
        if self.program.outputs.is_empty() {
            return Ok(Ended::Trained { epoch, artifacts: Vec::new() });
        }
        let names: Vec<_> = self.program.outputs.iter().map(PathBuf::from).collect();
        if let Some(missing) = names.iter().find(|name| !workplace.slot_dir.join(name).exists()) {
            return Err(format!("it ended without its output {}", missing.display()));
        }
        let packed = pack(&workplace.slot_dir, &names, self.means.memory_bytes / 4);
        let packed = packed.map_err(|error| format!("its outputs cannot be kept: {error}"))?;
        Ok(control.trained(epoch, ArtifactName::Weights, packed))
    }
}

/// What came of running a program.
enum Tried {
    /// It is over.
    Ended(Ended),
    /// Its checkpoint was of a later epoch than was known.
    Skipped {
        /// The last epoch that is.
        known: u32,
    },
}

impl Trainer for ProgramTrainer {
    fn train(
        &self,
        segment: Segment,
        configuration: &Configuration,
        checkpoint: Option<Content>,
        control: &mut SlotControl,
    ) -> Ended {
        control.phase(Phase::Training);
        self.try_train(segment, configuration, checkpoint, control).unwrap_or_else(Ended::failed)
    }

    fn measure(&self, _: Replicate, _: &Configuration, _: (Content, Part), _: &mut SlotControl) -> Ended {
        Ended::failed("a program measures by itself")
    }

    fn program(&self) -> Option<&Path> {
        self.found.as_deref()
    }
}

/// Puts a checkpoint where the program finds it; the epoch that it is of. One that does not fit costs time, not the trial.
fn resume(content: &Content, folder: &Path) -> Option<u32> {
    let (epoch, archive) = checkpoint_parts((**content).as_ref())?;
    match unpack(archive, folder, Access::Writable) {
        Ok(()) => Some(epoch),
        Err(error) => {
            tracing::warn!(%error, "the checkpoint does not fit; starting at the beginning");
            None
        }
    }
}

/// How an attempt ends that has no result; `None` if it has one.
fn early_end(left: &Left, course: &Course<'_>) -> Option<Ended> {
    let words = || course.last_words();
    match (&left.how, course.fault()) {
        (_, Some(fault)) => Some(Ended::failed(format!("{fault}; {}", words()))),
        (How::Stopped, None) => Some(Ended::Stopped),
        (how, None) if !how.is_success() => Some(Ended::failed(format!("{how}; {}", words()))),
        (_, None) if !course.has_objective() => Some(Ended::failed(format!(
            "it ended with exit code 0 and never reported {}; {}",
            course.objective(),
            words()
        ))),
        (_, None) => None,
    }
}
