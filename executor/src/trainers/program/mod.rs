//! Somebody's own program as the trainer: an attempt is a process on a leash, with a folder of its own, or is taken by one
//! that stays up.
//!
//! | module | holds |
//! |---|---|
//! | `order` | what the program is given: words, environment, files |
//! | `course` | what becomes of what it tells: epochs, in order |
//! | `telling` | lines of metrics, in their forms |
//! | `found` | where the program is, before anything is placed |
//! | `worker` | a program that stays up and takes one attempt after the other |
//! | `mapper` | a program that stays up and maps rows |
//! | `slots` | what an executor has for programs, and where each of their attempts runs |
//! | `gpus` | which attempt sees which GPU |
//! | `rows` | the rows of a data set as files |
//! | `folders` | folders that go when nobody uses them |

mod course;
mod folders;
mod found;
mod gpus;
#[cfg(feature = "mappers")]
mod mapper;
mod order;
mod rows;
mod slots;
mod telling;
mod worker;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use broadsweep_common::attempt::{ArtifactName, Ended};
use broadsweep_common::configuration::Configuration;
use broadsweep_common::dataset::{Dataset, Part};
use broadsweep_common::ids::Digest;
use broadsweep_common::program::{ProgramDescription, WorkerDescription};
use broadsweep_common::refusal::Refusal;
use broadsweep_common::seeds;
use broadsweep_common::task::{Replicate, Segment};
use broadsweep_leash::{DiskLimit, Heard, How, Limits, Order, Slot};
use broadsweep_nn::{Control as _, Phase};

use self::course::{Checkpoints, Course, checkpoint_parts};
use self::folders::UsedFolder;
use self::order::{Facts, Workplace, worker_environment};
use self::slots::{ProgramSlot, unusable};
use self::telling::Printed;
use self::worker::{Worker, WorkerAnswer};
use super::trainer::{Means, Trainer, in_words};
use crate::archive::{Access, pack, unpack};
use crate::control::SlotControl;
use broadsweep_store::Content;

pub use self::gpus::GpuName;
#[cfg(feature = "mappers")]
pub(super) use self::mapper::MapperTrainer;
pub use self::slots::Programs;

/// How often the metrics file is looked at, and the control is asked.
const LOOK_INTERVAL: Duration = Duration::from_millis(25);

/// Runs the program of a study.
pub(crate) struct ProgramTrainer {
    seed: u64,
    program: ProgramDescription,
    /// What reads its output, as it is before an attempt: making it takes longer than a small program runs.
    printed: Printed,
    /// Where the program is, unless only an attempt knows, or it is a file of the study.
    found: Option<PathBuf>,
    means: Means,
    /// Those that are free. Their workers use the data.
    slots: Mutex<Vec<ProgramSlot>>,
    data: UsedFolder,
}

impl Drop for ProgramTrainer {
    /// No worker outlives its study. All of them are killed before the end of any is waited for.
    fn drop(&mut self) {
        let slots = self.slots.get_mut().unwrap_or_else(PoisonError::into_inner);
        slots.iter_mut().filter_map(|slot| slot.worker.as_mut()).for_each(Worker::end);
    }
}

impl fmt::Debug for ProgramTrainer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProgramTrainer").field("program", &self.program).finish_non_exhaustive()
    }
}

impl ProgramTrainer {
    /// The trainer of a study whose data is here: its name, its files and its rows, of which those to test with are given to
    /// trials only where the study says so.
    ///
    /// # Errors
    /// [`Refusal`], if programs are not allowed here, the study's files and rows cannot be written, or this one cannot be
    /// started.
    pub(crate) fn new(
        seed: u64,
        program: ProgramDescription,
        (data_name, data, with_test): (Digest, &Dataset, bool),
        means: Means,
    ) -> Result<Self, Refusal> {
        let programs = means.programs.as_ref().ok_or(Refusal::NoPrograms)?;
        let printed = Printed::new(&program.printed);
        let printed = printed.map_err(|error| Refusal::Study { reason: error.to_string() })?;
        let (name, parts): (_, &[_]) = if with_test {
            (format!("study-{data_name}-with-test"), &Part::ALL)
        } else {
            (format!("study-{data_name}"), &[Part::Train, Part::Validation])
        };
        let filled = UsedFolder::filled(&programs.base, &name, |folder| {
            rows::write(data, parts, folder, &|| means.given_up.is_cancelled())?;
            unpack(data.files(), folder, Access::ReadOnly)
        });
        let data = filled
            .map_err(|error| Refusal::Data { reason: format!("its rows and files cannot be written: {error}") })?;
        let found = found::find(&program.command, program.env_prefix.as_deref(), data.path())
            .map_err(|reason| Refusal::Program { reason })?;
        Ok(Self { seed, program, printed, found, means, slots: Mutex::default(), data })
    }

    fn programs(&self) -> Result<&Programs, String> {
        self.means.programs.as_deref().ok_or_else(|| Refusal::NoPrograms.to_string())
    }

    /// A slot that is free; each thread of the executor has one at a time.
    fn slot(&self) -> Result<ProgramSlot, String> {
        let waiting = self.slots.lock().unwrap_or_else(PoisonError::into_inner).pop();
        waiting.map_or_else(|| self.programs()?.slot().map_err(unusable), Ok)
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

    /// Trains once: from a checkpoint, or from the beginning, where the epochs up to `known` are known.
    fn try_once(
        &self,
        segment: Segment,
        configuration: &Configuration,
        from: (Option<Content>, u32),
        control: &mut SlotControl,
    ) -> Result<Tried, String> {
        let mut slot = self.slot()?;
        let tried = self.try_on(&mut slot, segment, configuration, from, control);
        if !matches!(tried, Ok(Tried::Ended(Ended::Trained { .. }))) {
            slot.worker = None; // whatever it was about, nothing of it goes on
        }
        if slot.worker.is_none() {
            slot.lent = None;
        }
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).push(slot);
        tried
    }

    fn try_on(
        &self,
        slot: &mut ProgramSlot,
        segment: Segment,
        configuration: &Configuration,
        (checkpoint, known): (Option<Content>, u32),
        control: &mut SlotControl,
    ) -> Result<Tried, String> {
        let programs = self.programs()?;
        let lend = || programs.gpus.lend(self.program.gpus, self.means.slots, || control.allows_a_batch());
        slot.lent = slot.lent.take().or_else(lend);
        let Some(lent) = &slot.lent else { return Ok(Tried::Ended(Ended::Stopped)) };
        let gpus = lent.visible();
        let folder = programs.folder_on(slot, "attempt")?;
        let workplace = Workplace::make(folder.path(), self.data.path()).map_err(unusable)?;
        workplace.write_parameters(configuration).map_err(unusable)?;
        let epochs = self.program.epochs.resolve(configuration, "epochs").map_err(in_words)?;
        let resumed_from = checkpoint.and_then(|content| resume(&content, &workplace.checkpoint_dir));
        let known = resumed_from.unwrap_or(known);
        let facts = Facts {
            attempt: control.attempt(),
            configuration,
            trial: segment.replicate.trial.0,
            seed: seeds::trial_seed(self.seed, configuration.digest(), segment.replicate.repeat),
            epochs: segment.until_epoch.min(epochs),
            resumed_from,
            threads: self.means.threads,
            gpus: gpus.as_deref(),
            data_dir: self.data.path(),
            workplace: &workplace,
        };
        let bytes_max = self.means.memory_bytes / 4;
        let checkpoints = Checkpoints { folder: workplace.checkpoint_dir.clone(), bytes_max };
        let (named, span) = ((&self.program.objective, self.printed.clone()), (known, segment.until_epoch));
        let (is_resuming, metrics_file) = (resumed_from.is_some(), &workplace.metrics_file);
        let course = Course::new(control, named, span, is_resuming, metrics_file, checkpoints);
        let mut course = course.map_err(unusable)?;
        let end = match self.program.worker {
            Some(limits) => self.have_trained(slot, limits, &facts, &mut course)?,
            None => self.run(&mut slot.leash, &facts, &mut course)?,
        };
        course.close();
        if course.has_skipped() {
            return Ok(Tried::Skipped { known });
        }
        if let Some(ended) = early_end(&end, &course) {
            return Ok(Tried::Ended(ended));
        }
        let epoch = course.epoch();
        // One that ended sooner than it was asked to has no more to train: it stopped early by itself.
        let is_paused = segment.until_epoch < epochs && epoch >= segment.until_epoch;
        self.finished(&workplace, (epoch, is_paused), control).map(Tried::Ended)
    }

    /// The most that a program may take.
    fn memory_bytes(&self) -> Option<u64> {
        self.program.memory_bytes.or(Some(self.means.memory_bytes).filter(|bytes| *bytes < u64::MAX))
    }

    fn grace(&self) -> Duration {
        Duration::from_millis(self.program.grace_ms)
    }

    /// To run the program for an attempt, in this folder of it. `measured` may not become too large.
    fn order(&self, facts: &Facts<'_>, folder: &Path, measured: &Path) -> Result<Order, String> {
        let mut words = facts.words(&self.program.command)?.into_iter();
        let disk = DiskLimit { folder: measured.to_owned(), bytes_max: self.program.disk_bytes };
        Ok(Order {
            program: words.next().ok_or("the command has no words")?,
            arguments: words.collect(),
            environment: Vec::new(),
            folder: folder.to_owned(),
            limits: Limits { memory_bytes: self.memory_bytes(), disk: Some(disk) },
            has_worker_pipes: self.program.worker.is_some(),
        })
    }

    /// Runs the program to its end, whoever brings that about.
    fn run(&self, slot: &mut Slot, facts: &Facts<'_>, course: &mut Course<'_>) -> Result<Exit, String> {
        let mut order = self.order(facts, &facts.workplace.slot_dir, &facts.workplace.root)?;
        order.environment = facts.environment(&self.program);
        let mut running = slot.start(&order).map_err(|error| format!("nothing was started: {error}"))?;
        loop {
            let hear = |heard: Heard<'_>| {
                if let Heard::Output(bytes) = heard {
                    course.hear(bytes);
                }
            };
            if let Some(left) = running.wait(Instant::now() + LOOK_INTERVAL, hear) {
                course.used(left.usage);
                return Ok(Exit::of(&left.how));
            }
            course.look();
            if !course.may_go_on() {
                running.stop(self.grace());
            }
        }
    }

    /// Has a worker train, one that waits or a new one.
    fn have_trained(
        &self,
        slot: &mut ProgramSlot,
        limits: WorkerDescription,
        facts: &Facts<'_>,
        course: &mut Course<'_>,
    ) -> Result<Exit, String> {
        let line = facts.line(&self.program.command)?;
        slot.worker = slot.worker.take().and_then(|mut worker| worker.is_waiting().then_some(worker));
        loop {
            let is_new = slot.worker.is_none();
            let mut worker = slot.worker.take().map_or_else(|| self.start_worker(slot, facts), Ok)?;
            let before = course.progress();
            let answer = worker.train(&line, course, self.grace());
            course.look();
            match answer {
                WorkerAnswer::Done => {
                    let is_spent = worker.is_spent(limits, self.memory_bytes().map(|bytes| bytes / 2));
                    match is_spent {
                        Some(why) => tracing::debug!(why, "a worker is ended"),
                        None => slot.worker = Some(worker),
                    }
                    return Ok(Exit::Well("answered that it is done"));
                }
                // It was on its way out when it was asked, as one may that has had enough.
                WorkerAnswer::Left(How::Exit(0)) if !is_new && course.progress() == before => {}
                WorkerAnswer::Left(How::Stopped) => return Ok(Exit::Stopped),
                WorkerAnswer::Left(How::Exit(0)) => {
                    return Ok(Exit::Badly(
                        "its worker ended with exit code 0 and did not answer; a program that trains one trial and \
                         ends needs no `worker` in [trainer]"
                            .to_owned(),
                    ));
                }
                WorkerAnswer::Left(how) => return Ok(Exit::Badly(how.to_string())),
                WorkerAnswer::Failed(error) => return Ok(Exit::Badly(format!("its worker answered: {error}"))),
                WorkerAnswer::Nonsense(what) => return Ok(Exit::Badly(what)),
            }
        }
    }

    fn start_worker(&self, slot: &mut ProgramSlot, facts: &Facts<'_>) -> Result<Worker, String> {
        let folder = self.programs()?.folder_on(slot, "worker")?;
        let workplace = Workplace::make(folder.path(), self.data.path()).map_err(unusable)?;
        // What its attempts write counts together with what it does.
        let mut order = self.order(facts, &workplace.slot_dir, slot.home.path())?;
        order.environment =
            worker_environment(self.program.env_prefix.as_deref(), (facts.threads, facts.gpus), &workplace);
        Worker::start(&mut slot.leash, &order, folder).map_err(|error| format!("nothing was started: {error}"))
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

/// How a program ended, or let go of an attempt.
#[derive(Debug)]
enum Exit {
    /// As it should: what it did.
    Well(&'static str),
    /// It was asked to.
    Stopped,
    /// Why it has no result.
    Badly(String),
}

impl Exit {
    fn of(how: &How) -> Self {
        match how {
            How::Stopped => Self::Stopped,
            how if how.is_success() => Self::Well("ended with exit code 0"),
            how => Self::Badly(how.to_string()),
        }
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
fn early_end(end: &Exit, course: &Course<'_>) -> Option<Ended> {
    let why = match (end, course.fault()) {
        (_, Some(fault)) => fault.to_owned(),
        (Exit::Stopped, None) => return Some(Ended::Stopped),
        (Exit::Badly(why), None) => why.clone(),
        (Exit::Well(what), None) if !course.has_objective() => {
            format!("it {what} and never reported {}", course.objective())
        }
        (Exit::Well(_), None) => return None,
    };
    Some(Ended::failed(format!("{why}; {}", course.last_words())))
}
