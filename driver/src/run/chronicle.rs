//! Journal and book together: what is noted is journaled and known; after a restart, what was journaled is known again.

use std::borrow::Cow;
use std::sync::Arc;

use broadsweep_common::blob::Blob;
use broadsweep_common::ids::{Digest, TaskId, TrialId};
use broadsweep_common::task::TaskKind;
use broadsweep_search::VirtualTime;
use broadsweep_search::ranking::Objectives;
use bytes::Bytes;

use super::book::Book;
use super::deciding::{application, first_training};
use super::record::{Begun, Decided, NewTask, Record, TrialNeeds};
use super::task::TaskBook;
use super::{names, retell};
use crate::cluster::load;
use crate::journal::{Journal, JournalError, Recovered, Storage, StorageError, Torn};
use crate::plan::TrialPlan;
use crate::study::Study;
use crate::wishes::{Wish, Wished};

/// What a driver starts from.
#[derive(Clone, Debug)]
pub struct Start {
    /// Names the run to its executors; a later driver takes the name that the journal has.
    pub run: String,
    /// The kernel that every executor has to use; `None` if that is found out.
    pub kernel: Option<String>,
    /// The data set's blob.
    pub data: Digest,
    /// The description's blob.
    pub study: Digest,
    /// What is searched, and how.
    pub search: Digest,
    /// What each part of the input costs to which the model is applied: tasks beside those of the search.
    pub partitions: Vec<u64>,
}

/// The journal of a run, and what it adds up to.
pub struct Chronicle {
    journal: Journal<Record>,
    storage: Arc<dyn Storage>,
    book: Book,
    is_dirty: bool,
}

/// Why there is no chronicle, or no longer.
#[derive(Debug, thiserror::Error)]
pub enum ChronicleError {
    /// The journal cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A file beside the journal cannot be used.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The run was begun with something else: going on would mix two runs.
    #[error("the run cannot go on: {what} is not what it began with; put it back, or start a new run")]
    Changed {
        /// What changed.
        what: &'static str,
    },
    /// Records that contradict each other.
    #[error("record {number} of the journal makes no sense: {unfit}; start a new run")]
    Unfit {
        /// Counted from 0.
        number: u64,
        /// Why.
        unfit: String,
    },
    /// A file that the journal speaks of is not as it was.
    #[error("{name} in the run folder is damaged; restore it, or start a new run")]
    Damaged {
        /// Which file.
        name: String,
    },
}

/// Takes a record into the book, unless one before did not fit. What the run began with is taken in all the same: it
/// may explain why.
pub(super) fn take_in(book: &mut Book, unfit: &mut Option<ChronicleError>, number: u64, record: &Record) {
    match (&unfit, record) {
        (Some(_), Record::Begun(begun)) => book.begun = Some(begun.clone()),
        (Some(_), _) => {}
        (None, _) => {
            let error = book.apply(record).err();
            *unfit = error.map(|unfit| ChronicleError::Unfit { number, unfit: unfit.to_string() });
        }
    }
}

/// The proof that the journal has all that was noted so far, whatever happens to this process and its machine. Only
/// [`Chronicle::commit`] makes one; what may not happen before asks for it.
#[derive(Debug)]
pub(super) struct Safe(());

#[cfg(test)]
impl Safe {
    /// For tests of what waits for the proof, which have no journal.
    pub(super) const IN_TEST: Self = Self(());
}

impl Chronicle {
    /// Begins the chronicle of a new run, whose search has started these trials before any result is seen.
    ///
    /// # Errors
    /// [`ChronicleError::Journal`], if the folder has a journal or takes none.
    pub fn begin(
        storage: Arc<dyn Storage>,
        trials: Vec<TrialPlan>,
        objectives: Objectives,
        start: Start,
    ) -> Result<Self, ChronicleError> {
        let journal = Journal::create(Arc::clone(&storage))?;
        let mut chronicle = Self { journal, storage, book: Book::new(objectives), is_dirty: false };
        // Before all else: whoever finds a run that began knows what it is about to do.
        chronicle.note_trials(trials)?;
        chronicle.journal.commit()?;
        chronicle.journal.is_compact();
        chronicle.take_up(start)?;
        Ok(chronicle)
    }

    /// Reads the chronicle of a run that was begun, and takes it up. Returns what was cut off the journal, too.
    ///
    /// # Errors
    /// [`ChronicleError`]; the journal is as it was.
    pub fn resume(
        storage: Arc<dyn Storage>,
        objectives: Objectives,
        start: Start,
    ) -> Result<(Self, Option<Torn>), ChronicleError> {
        let mut book = Book::new(objectives);
        let mut unfit = None;
        let recovered = Journal::open(Arc::clone(&storage), |number, record| {
            take_in(&mut book, &mut unfit, number, &record);
        });
        let Recovered { journal, torn, .. } = recovered?;
        let mut chronicle = Self { journal, storage, book, is_dirty: false };
        // First: another study explains records that do not fit.
        chronicle.check(&start)?;
        if let Some(error) = unfit {
            return Err(error);
        }
        chronicle.load_weights()?;
        chronicle.sweep()?;
        chronicle.take_up(start)?;
        Ok((chronicle, torn))
    }

    fn note_trials(&mut self, trials: Vec<TrialPlan>) -> Result<(), ChronicleError> {
        let needs: Vec<_> = trials.iter().map(TrialNeeds::of).collect();
        let starts = trials.into_iter().zip(&needs).map(|(trial, needs)| {
            let TrialPlan { configuration, origin, .. } = trial;
            let start = Decided::Start { configuration, origin, until_epoch: None, needs: *needs };
            (VirtualTime::default(), start)
        });
        for record in retell::decided(0, starts) {
            self.note(&record)?;
        }
        let tasks = (0..).map(TrialId).zip(&needs).map(|(trial, needs)| first_training(trial, needs, None));
        self.note_tasks(tasks.collect())
    }

    /// Tasks that there are from now on.
    pub(super) fn note_tasks(&mut self, tasks: Vec<NewTask>) -> Result<(), ChronicleError> {
        let first = TaskId(self.book.tasks.len() as u32);
        retell::added(first, tasks).try_for_each(|record| self.note(&record))
    }

    fn take_up(&mut self, start: Start) -> Result<(), ChronicleError> {
        let (generation, run) = match &self.book.begun {
            Some(begun) => (begun.generation + 1, begun.run.clone()),
            None => (1, start.run),
        };
        let begun = Begun {
            generation,
            run,
            build: env!("CARGO_PKG_VERSION").to_owned(),
            kernel: start.kernel.or_else(|| self.kernel().map(ToOwned::to_owned)),
            data: start.data,
            study: start.study,
            search: start.search,
            at: self.book.latest(),
        };
        if self.book.begun.is_none() {
            let is_application = |task: &TaskBook| matches!(task.kind(), TaskKind::Apply { .. });
            let known = self.book.tasks().filter(|(_, task)| is_application(task)).count();
            let new = (0..).zip(start.partitions).skip(known).map(|(partition, cost)| application(partition, cost));
            self.note_tasks(new.collect())?;
        }
        self.note(&Record::Begun(begun))?;
        self.commit().map(drop)
    }

    fn check(&self, start: &Start) -> Result<(), ChronicleError> {
        let Some(begun) = &self.book.begun else { return Ok(()) };
        // The study first: another seed makes another data set of the same files.
        let rows = [
            ((begun.study, begun.search) == (start.study, start.search), "the study"),
            (begun.data == start.data, "the data set"),
            (start.kernel.is_none() || begun.kernel.is_none() || begun.kernel == start.kernel, "the kernel"),
        ];
        match rows.into_iter().find(|(is_same, _)| !is_same) {
            Some((_, what)) => Err(ChronicleError::Changed { what }),
            None => Ok(()),
        }
    }

    fn load_weights(&mut self) -> Result<(), ChronicleError> {
        for (trial, digest) in self.book.weights_needed() {
            let name = names::weights(trial);
            let blob = Blob::new(load(&*self.storage, &name)?).ok().filter(|blob| blob.manifest.digest() == digest);
            self.book.keep_weights(trial, blob.ok_or(ChronicleError::Damaged { name })?);
        }
        Ok(())
    }

    /// Removes files that a crash left behind and nothing speaks of.
    fn sweep(&self) -> Result<(), ChronicleError> {
        let needed = names::needed(&self.book);
        for folder in [names::WEIGHTS, names::CHECKPOINTS, names::OUTPUTS] {
            for file in self.storage.list(folder)? {
                let name = format!("{folder}/{file}");
                if !needed.contains(&name) {
                    self.storage.remove(&name)?;
                }
            }
        }
        Ok(())
    }

    /// What is known.
    pub(super) fn book(&self) -> &Book {
        &self.book
    }

    /// Names the run to its executors.
    #[must_use]
    pub fn run(&self) -> &str {
        self.book.begun.as_ref().map_or("", |begun| &begun.run)
    }

    /// The kernel that every executor uses, once that is known.
    #[must_use]
    pub fn kernel(&self) -> Option<&str> {
        self.book.begun.as_ref().and_then(|begun| begun.kernel.as_deref())
    }

    /// Which driver of the run this is, from 1.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.book.begun.as_ref().map_or(1, |begun| begun.generation)
    }

    /// The executors that the run knows, in their order.
    #[must_use]
    pub fn executors(&self) -> &[String] {
        &self.book.executors
    }

    /// Partitions that there are, and those among them that are over.
    #[must_use]
    pub fn partitions(&self) -> (usize, usize) {
        let partitions = || self.book.tasks().filter(|(_, task)| matches!(task.kind(), TaskKind::Apply { .. }));
        (partitions().count(), partitions().filter(|(_, task)| task.is_finished()).count())
    }

    /// Trials that there are, and those among them that are over.
    #[must_use]
    pub fn trials(&self) -> (usize, usize) {
        (self.book.trials.len(), self.book.ended().count())
    }

    /// Whether the search decides nothing more.
    #[must_use]
    pub fn search_has_ended(&self) -> bool {
        self.book.search_has_ended()
    }

    /// Whether nothing is left to do, whatever these wishes ask for.
    #[must_use]
    pub fn is_over_despite(&self, waiting: &[Wished]) -> bool {
        let asks_more = |wished: &Wished| matches!(wished.wish, Wish::Extend(_));
        let is_new = |wished: &Wished| !self.book.granted.contains(&wished.number);
        self.book.is_over() && !waiting.iter().any(|wished| asks_more(wished) && is_new(wished))
    }

    /// The study as it is searched now: somebody may have asked for more trials.
    #[must_use]
    pub fn study_now<'s>(&self, study: &'s Study) -> Cow<'s, Study> {
        self.book.study_now(study)
    }

    /// Keeps weights that are in the run folder at hand; returns whose are worth nothing any more.
    pub(super) fn keep_weights(&mut self, trial: TrialId, weights: Blob<Bytes>) -> Vec<TrialId> {
        self.book.keep_weights(trial, weights)
    }

    /// Writes something down, and knows it. It is safe after [`Self::commit`].
    pub(super) fn note(&mut self, record: &Record) -> Result<(), ChronicleError> {
        let number = self.journal.records();
        self.book.apply(record).map_err(|unfit| ChronicleError::Unfit { number, unfit: unfit.to_string() })?;
        self.is_dirty = true;
        Ok(self.journal.append(record)?)
    }

    /// Makes safe what was noted.
    pub(super) fn commit(&mut self) -> Result<Safe, ChronicleError> {
        if std::mem::take(&mut self.is_dirty) {
            self.journal.commit()?;
            if self.journal.wants_compaction()
                && let Err(error) = self.journal.compact(self.book.records())
            {
                // There may be room for the next records, and not for all of them a second time.
                self.journal.check_usable()?;
                tracing::warn!(%error, "the journal could not be compacted");
            }
        }
        Ok(Safe(()))
    }

    /// Removes a file that nothing speaks of any more.
    pub(super) fn drop_file(&self, name: &str, _: &Safe) {
        if let Err(error) = self.storage.remove(name) {
            tracing::warn!(name, %error, "a file of the run that is worth nothing any more stays");
        }
    }
}

#[cfg(test)]
#[path = "chronicle_tests.rs"]
mod tests;
