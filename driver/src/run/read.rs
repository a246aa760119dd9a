//! A run as its folder tells it, whether it is over, was interrupted, or goes on right now. Nothing is taken up: no
//! lock, no write, and none of the files that the study names.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::book::Book;
use super::chronicle::take_in;
use super::record::Record;
use super::{ChronicleError, names};
use broadsweep_search::{Origin, Space};

use crate::cluster::roster::ROSTER;
use crate::journal::{FolderStorage, Journal, JournalError, Storage, StorageError, Torn};
use crate::records::answers::{APPLIED, AnswersRecord};
use crate::records::run::{RunRecord, Stage};
use crate::results::folder::is_held;
use crate::study::{self, Diagnostic, Study};
use crate::text_file;

/// The study's file in the run folder.
const STUDY: &str = "study.toml";
/// Bytes that it may have: a run does not begin with more.
const STUDY_BYTES_MAX: u64 = 16 << 20;
/// Bytes that what a model answered may have: a table of all pairs of a thousand classes.
const ANSWERS_BYTES_MAX: u64 = 64 << 20;

/// What a folder tells of its run.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// The run, as far as it is known.
    pub record: RunRecord,
    /// What a crash left at the end of the journal, and is not in the record: people should know.
    pub torn: Option<Torn>,
    /// The files of the folder, by name, without which a driver could not go on as if nothing had happened.
    pub files: BTreeSet<String>,
    /// What names the run to its executors.
    pub run: String,
    /// What is searched.
    pub space: Space,
    /// Where each trial's configuration is from.
    pub origins: Vec<Origin>,
    /// Why the run cannot get more trials, if it cannot.
    pub unextendable: Option<&'static str>,
}

/// Why a folder does not tell of a run.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Nothing of a run is there.
    #[error("{} is no folder of a run: it has no {missing}; name one that `broadsweep tune` wrote", folder.display())]
    NoRun {
        /// The folder.
        folder: PathBuf,
        /// What a run's folder has.
        missing: &'static str,
    },
    /// A file is there.
    #[error("{} is a file; name the folder of a run", .0.display())]
    AFile(PathBuf),
    /// Its driver ended before it had written down what it was about to do.
    #[error("the run in {} ended before it began: there is nothing to read; start it again", .0.display())]
    NotBegun(PathBuf),
    /// Its driver lives, and has not written down yet what it is about to do.
    #[error("the run in {} has only just begun, and nothing is known of it yet: look again in a moment", .0.display())]
    JustBegun(PathBuf),
    /// The study in the folder is none.
    #[error("{} is damaged: {reason}; restore it from the study that the run was started with", path.display())]
    NoText {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The study in the folder is wrong.
    #[error(transparent)]
    Study(#[from] Box<Diagnostic>),
    /// The journal cannot be read, or tells of another study.
    #[error(transparent)]
    Chronicle(#[from] ChronicleError),
    /// The folder cannot be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Reads the run in `folder`, and looks whether its driver lives.
///
/// # Errors
/// [`ReadError`]; the folder is as it was in any case.
pub fn read(folder: &Path) -> Result<Reading, ReadError> {
    if folder.is_file() {
        return Err(ReadError::AFile(folder.to_owned()));
    }
    // Looked at first: the other way round, a run that ends in between would count as interrupted.
    let is_held = is_held(folder);
    let read = read_from(&FolderStorage::for_reading(folder), folder);
    if is_held { told_by_a_living_driver(read, folder) } else { read }
}

/// What is not there while the driver is at work may come.
fn told_by_a_living_driver(read: Result<Reading, ReadError>, folder: &Path) -> Result<Reading, ReadError> {
    match read {
        Ok(mut reading) => {
            reading.record.stage = if reading.record.is_over() { Stage::Over } else { Stage::GoingOn };
            reading.torn = None; // what may be a commit that was cut short is one that is being written
            Ok(reading)
        }
        Err(ReadError::NotBegun(folder)) => Err(ReadError::JustBegun(folder)),
        // A comparison's folder is held too, and has no journal either.
        Err(ReadError::NoRun { .. }) if folder.join(ROSTER).is_file() => Err(ReadError::JustBegun(folder.to_owned())),
        Err(other) => Err(other),
    }
}

/// As [`read`], from any storage that holds the run `folder`, and as if nobody drove it.
///
/// # Errors
/// As [`read`].
pub fn read_from(storage: &dyn Storage, folder: &Path) -> Result<Reading, ReadError> {
    if storage.journal_bytes()?.is_none() {
        return Err(ReadError::NoRun { folder: folder.to_owned(), missing: "journal" });
    }
    let study = read_study(storage, folder)?;
    let mut book = Book::new(study.objectives().clone());
    let mut unfit = None;
    let records = |number, record: Record| take_in(&mut book, &mut unfit, number, &record);
    let torn = Journal::read(storage, records).map_err(|error| match error {
        JournalError::Missing(_) => ReadError::NoRun { folder: folder.to_owned(), missing: "journal" },
        other => ReadError::Chronicle(other.into()),
    })?;
    let Some(begun) = &book.begun else { return Err(ReadError::NotBegun(folder.to_owned())) };
    // First: another study explains records that do not fit.
    if begun.search != study.search_digest() {
        return Err(ChronicleError::Changed { what: "the study" }.into());
    }
    match unfit {
        None => Ok(Reading {
            record: RunRecord { answers: read_answers(storage)?, ..book.run_record(&study) },
            torn,
            files: names::needed(&book),
            run: begun.run.clone(),
            unextendable: study.unextendable(),
            space: study.search.space,
            origins: book.trials().map(|(_, trial)| trial.origin).collect(),
        }),
        Some(unfit) => Err(unfit.into()),
    }
}

/// What an applied model answered; nothing where that is not over.
fn read_answers(storage: &dyn Storage) -> Result<Option<AnswersRecord>, StorageError> {
    let bytes = storage.read(APPLIED, ANSWERS_BYTES_MAX)?;
    Ok(bytes.and_then(|bytes| AnswersRecord::read(&bytes)))
}

fn read_study(storage: &dyn Storage, folder: &Path) -> Result<Study, ReadError> {
    let path = folder.join(STUDY);
    let Some(bytes) = storage.read(STUDY, STUDY_BYTES_MAX)? else {
        return Err(ReadError::NoRun { folder: folder.to_owned(), missing: STUDY });
    };
    let text = text_file::decode(bytes)
        .map_err(|not_text| ReadError::NoText { path: path.clone(), reason: not_text.to_string() })?;
    Ok(study::parse(&text, &path.display().to_string()).map_err(Box::new)?)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use broadsweep_common::ids::{AttemptId, Digest, ExecutorId, TaskId};
    use broadsweep_scheduler::Moment;
    use broadsweep_search::VirtualTime;

    use super::*;
    use crate::journal::MemoryStorage;
    use crate::plan::Planner;
    use crate::records::standing::Standing;
    use crate::run::record::{Decided, Finish, Spent};
    use crate::run::{Chronicle, Start};
    use broadsweep_data as data;

    const TEXT: &str = "name = 'read'\ntrainer = { kind = 'replay', seconds = 0.5, epochs = '$n', error = 0.25 }\n\
                        [search]\nsampler = 'grid'\n[search.space]\nn = { values = [1, 2] }\n";

    /// A run in which an attempt is under way, and its chronicle.
    fn begun() -> (Arc<MemoryStorage>, Chronicle) {
        let storage = Arc::new(MemoryStorage::new());
        storage.write(STUDY, TEXT.as_bytes()).unwrap();
        let study = study::parse(TEXT, STUDY).unwrap();
        let (trainer, header) = (study.description(Vec::new()).trainer, data::without_rows().unwrap().header);
        let drawn = study.drawn().unwrap();
        let trials = Planner::new(&study, &trainer, &header).plan_all(drawn).unwrap();
        let blob = Digest::of(b"any");
        let start = Start {
            run: "r".into(),
            kernel: Some("portable".into()),
            data: blob,
            study: blob,
            search: study.search_digest(),
            partitions: Vec::new(),
        };
        let shared = Arc::clone(&storage) as Arc<dyn Storage>;
        let mut chronicle = Chronicle::begin(shared, trials, study.objectives().clone(), start).unwrap();
        let (executor, attempt) = (ExecutorId(0), AttemptId { task: TaskId(1), number: 1 });
        for record in [
            Record::Executor { executor, name: "a:1".into() },
            Record::Stands { executor, standing: Standing::Ready { slots: 3 }, at: Moment(10) },
            Record::Launched { attempt, executor, from_epoch: 0, at: Moment(1_500_000) },
        ] {
            chronicle.note(&record).unwrap();
        }
        chronicle.commit().unwrap();
        (storage, chronicle)
    }

    fn read_it(storage: &MemoryStorage) -> Result<RunRecord, ReadError> {
        read_from(storage, Path::new("runs/a")).map(|reading| reading.record)
    }

    #[test]
    fn a_run_that_goes_on_is_read_as_it_is_known_and_left_as_it_is() {
        let (storage, mut chronicle) = begun();
        let operations = storage.operations();
        let read = read_it(&storage).unwrap();
        assert_eq!(storage.operations(), operations, "something was written");
        let study = study::parse(TEXT, STUDY).unwrap();
        assert_eq!(read, chronicle.book().run_record(&study));
        assert_eq!(read.stage, Stage::Interrupted, "its driver cannot be seen from here");
        assert_eq!((read.executors, read.slots, read.wall_s, read.attempts.len()), (1, 3, 1.5, 1));
        let whole = read_from(&*storage, Path::new("runs/a")).unwrap();
        assert_eq!((whole.run.as_str(), &whole.origins[..]), ("r", &[Origin::Point(0), Origin::Point(1)][..]));
        assert_eq!(whole.space, study.search.space);
        let costs: Vec<_> = read.trials.iter().map(|trial| (trial.cost, trial.epochs_max)).collect();
        assert_eq!(costs, [(500_000, 1), (1_000_000, 2)], "the journal tells what trials cost");
        for number in 0..2 {
            let finish = Finish::GivenUp { reason: "x".into() };
            chronicle.note(&Record::Finished { task: TaskId(number), finish, at: Moment(2_000_000) }).unwrap();
        }
        let attempt = AttemptId { task: TaskId(1), number: 1 };
        let end = crate::records::attempt::AttemptEnd::Completed;
        chronicle.note(&Record::Ended { attempt, end, spent: Spent::default(), at: Moment(2_000_000) }).unwrap();
        let ended = Record::Decided { first: 2, v: VirtualTime(0), decisions: vec![Decided::Ended] };
        chronicle.note(&ended).unwrap();
        chronicle.note(&Record::AddingEnded).unwrap();
        chronicle.note(&Record::Closed(Moment(2_500_000))).unwrap();
        chronicle.commit().unwrap();
        let read = read_it(&storage).unwrap();
        assert_eq!((read.stage, read.wall_s), (Stage::Over, 2.5));
        assert_eq!(read, chronicle.book().run_record(&study));
    }

    #[test]
    fn an_unfinished_commit_at_the_end_is_told_of_and_not_read_and_not_cut() {
        let (storage, _chronicle) = begun();
        let folder = Path::new("runs/a");
        let whole = read_from(&*storage, folder).unwrap();
        assert_eq!(whole.torn, None);
        let torn = [storage.journal().unwrap(), vec![7; 9]].concat();
        storage.set_journal(torn.clone());
        let read = read_from(&*storage, folder).unwrap();
        assert_eq!((read.record, read.torn.unwrap().bytes), (whole.record, 9));
        assert_eq!(storage.journal().unwrap(), torn);
    }

    #[test]
    fn what_a_living_driver_has_not_written_yet_is_neither_interrupted_nor_torn() {
        let (storage, _chronicle) = begun();
        let folder = Path::new("runs/a");
        storage.set_journal([storage.journal().unwrap(), vec![7; 9]].concat());
        let read = told_by_a_living_driver(read_from(&*storage, folder), folder).unwrap();
        assert_eq!((read.record.stage, read.torn), (Stage::GoingOn, None));
        storage.set_journal(storage.journal().unwrap()[..16].to_vec());
        let error = told_by_a_living_driver(read_from(&*storage, folder), folder).unwrap_err();
        assert!(error.to_string().contains("has only just begun"), "{error}");
    }

    #[test]
    fn a_folder_without_a_journal_is_that_of_a_run_that_has_just_begun_where_its_driver_has_its_roster_there() {
        let folder = tempfile::tempdir().unwrap();
        let read = || told_by_a_living_driver(read_from(&MemoryStorage::new(), folder.path()), folder.path());
        assert!(matches!(read(), Err(ReadError::NoRun { .. })), "a comparison's folder is no run's");
        std::fs::write(folder.path().join(ROSTER), "").unwrap();
        assert!(matches!(read(), Err(ReadError::JustBegun(_))));
    }

    /// What a row is called, the study and the journal that are there, and a part of what is said.
    type Row<'a> = (&'a str, Option<&'a [u8]>, Option<Vec<u8>>, &'a str);

    #[test]
    fn what_is_no_run_says_so_and_what_to_do() {
        let (storage, _chronicle) = begun();
        let journal = storage.journal().unwrap();
        let header = journal[..16].to_vec();
        let (more, fewer) = (TEXT.replace("[1, 2]", "[1, 2, 3]"), TEXT.replace("[1, 2]", "[2]"));
        let rows: [Row<'_>; 7] = [
            ("no journal", Some(TEXT.as_bytes()), None, "runs/a is no folder of a run: it has no journal"),
            ("no study", None, Some(journal.clone()), "it has no study.toml; name one"),
            ("bytes for a study", Some(&[0xff]), Some(journal.clone()), "is damaged: it is not UTF-8 text"),
            ("a wrong study", Some(b"name = 1"), Some(journal.clone()), "name"),
            ("more trials", Some(more.as_bytes()), Some(journal.clone()), "the study is not what it began with"),
            ("fewer trials", Some(fewer.as_bytes()), Some(journal), "the study is not what it began with"),
            ("nothing yet", Some(TEXT.as_bytes()), Some(header), "ended before it began"),
        ];
        for (name, study, journal, expected) in rows {
            let storage = MemoryStorage::new();
            if let Some(study) = study {
                storage.write(STUDY, study).unwrap();
            }
            if let Some(journal) = journal {
                storage.set_journal(journal);
            }
            let error = read_it(&storage).unwrap_err().to_string();
            assert!(error.contains(expected), "{name}: {error}");
        }
    }
}
