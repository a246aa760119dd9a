//! Everything that reads bytes from outside, as one list: [`ALL`]. Whatever the bytes are, each of these ends with a
//! value or an error, soon, and takes no more memory than its bytes can ask for.
//!
//! Two runners share the list: `tests/tests/decoders.rs`, a moment of mutations on every change, and `tests/fuzz`, hours
//! with coverage guidance (`tests/outside/run fuzz`). Both begin with the seeds, which the encoders make anew each time
//! so that they never are of an older format, and with the inputs in `tests/fuzz/corpus`: what guided fuzzing found
//! worth keeping, and whatever failed once.
//!
//! | module | holds |
//! |---|---|
//! | `messages` | what a driver and an executor say to each other |
//! | `blobs` | what they hand each other: study, data set, files, weights, checkpoints |
//! | `applications` | what is handed over and kept where a model is applied |
//! | `data_files` | IDX, NPY, NPZ, CSV, and recorded trials |
//! | `columnar` | Parquet |
//! | `pictures` | PNG and JPEG |
//! | `models` | the description of a model, and rows that it is asked about |
//! | `studies` | study files, changes of them, lists of nodes, and words of the command line |
//! | `run_folder` | the journal, its records, and the lists of executors |
//! | `identities` | identity files, certificates, the folder of an authority |
//! | [`memory`] | counts what a decoder takes |
//! | [`mutator`] | changes inputs, by a seed |
//!
//! A new decoder is a function in one of these modules and a line in [`ALL`].

mod applications;
mod blobs;
mod columnar;
mod data_files;
mod identities;
pub mod memory;
mod messages;
mod models;
pub mod mutator;
mod pictures;
mod run_folder;
mod studies;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Something that reads bytes from outside.
#[derive(Clone, Copy, Debug)]
pub struct Decoder {
    /// Names it, and the folder of its corpus.
    pub name: &'static str,
    /// Reads the bytes, and does with the value what the program does first. Panics where the value breaks a promise.
    pub decode: fn(&[u8]),
    /// Good inputs, by the encoders.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// What it may take.
    pub memory: Bound,
}

/// Bytes of memory that a decoder may take at a time.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    /// Whatever the input is.
    pub fixed: usize,
    /// For each byte of the input.
    pub per_byte: usize,
}

impl Bound {
    /// For an input of so many bytes.
    #[must_use]
    pub fn of(self, input_bytes: usize) -> usize {
        self.fixed + self.per_byte * input_bytes
    }
}

/// Buffers, and values as large as their text.
const PLAIN: Bound = Bound { fixed: 1 << 20, per_byte: 64 };
/// One field of a message takes two bytes on the wire, and as much as the largest one in memory.
const MESSAGE: Bound = Bound { fixed: 1 << 20, per_byte: 256 };
/// A byte of deflate becomes 1032 at most, and each of these a number of 8 bytes, held twice.
const PACKED: Bound = Bound { fixed: 1 << 20, per_byte: 2 * 8 * 1032 };

/// All of them.
pub const ALL: &[Decoder] = &[
    decoder("frames", messages::frames, messages::frames_seeds, PLAIN),
    decoder("from_driver", messages::from_driver, messages::from_driver_seeds, MESSAGE),
    decoder("from_executor", messages::from_executor, messages::from_executor_seeds, MESSAGE),
    decoder("offer", messages::offer, messages::offer_seeds, MESSAGE),
    decoder("pull", messages::pull, messages::pull_seeds, MESSAGE),
    decoder("holdings", messages::holdings, messages::holdings_seeds, MESSAGE),
    decoder("bulk", messages::bulk, messages::bulk_seeds, MESSAGE),
    decoder("block", messages::block, messages::block_seeds, messages::BLOCK),
    decoder("study_blob", blobs::study, blobs::study_seeds, blobs::STUDY),
    decoder("data_set", blobs::data_set, blobs::data_set_seeds, PLAIN),
    decoder("archive", blobs::archive, blobs::archive_seeds, PLAIN),
    decoder("weights", blobs::weights, blobs::weights_seeds, PLAIN),
    decoder("checkpoint", blobs::checkpoint, blobs::checkpoint_seeds, PLAIN),
    decoder("replay_checkpoint", blobs::replay_checkpoint, blobs::replay_checkpoint_seeds, PLAIN),
    decoder("finished_model", applications::finished_model, applications::finished_model_seeds, applications::MODEL),
    decoder("parts", applications::parts, applications::parts_seeds, applications::PARTS),
    decoder("answers", applications::answers, applications::answers_seeds, applications::MODEL),
    decoder("manifest", applications::manifest, applications::manifest_seeds, PLAIN),
    decoder("idx", data_files::idx, data_files::idx_seeds, PACKED),
    decoder("npy", data_files::npy, data_files::npy_seeds, PACKED),
    decoder("npz", data_files::npz, data_files::npz_seeds, PACKED),
    decoder("csv", data_files::csv, data_files::csv_seeds, PACKED),
    decoder("parquet", columnar::parquet, columnar::parquet_seeds, columnar::PARQUET),
    decoder("picture", pictures::picture, pictures::picture_seeds, pictures::PICTURE),
    decoder("recorded_trials", data_files::recorded_trials, data_files::recorded_trials_seeds, PACKED),
    decoder("model", models::model, models::model_seeds, models::MODEL),
    decoder("typed_row", models::row, models::row_seeds, PLAIN),
    decoder("study", studies::study, studies::study_seeds, studies::STUDY),
    decoder("study_changes", studies::changes, studies::changes_seeds, studies::STUDY),
    decoder("nodes", studies::nodes, studies::nodes_seeds, studies::NODES),
    decoder("words", studies::words, studies::words_seeds, PLAIN),
    decoder("journal", run_folder::journal, run_folder::journal_seeds, run_folder::JOURNAL),
    decoder("records", run_folder::records, run_folder::records_seeds, run_folder::JOURNAL),
    decoder("executors", run_folder::executors, run_folder::executors_seeds, PLAIN),
    decoder("series", run_folder::series, run_folder::series_seeds, PLAIN),
    decoder("identity", identities::identity, identities::identity_seeds, PLAIN),
    decoder("certificate", identities::certificate, identities::certificate_seeds, PLAIN),
    decoder("authority", identities::authority, identities::authority_seeds, PLAIN),
];

const fn decoder(name: &'static str, decode: fn(&[u8]), seeds: fn() -> Vec<Vec<u8>>, memory: Bound) -> Decoder {
    Decoder { name, decode, seeds, memory }
}

impl Decoder {
    /// The one of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        ALL.iter().find(|decoder| decoder.name == name).copied()
    }

    /// Decodes `input`, and panics if that took more memory than it may.
    pub fn watched(self, input: &[u8]) {
        let taken = memory::peak_of(|| (self.decode)(input));
        let most = self.memory.of(input.len());
        assert!(
            taken <= most,
            "{} took {taken} bytes for an input of {}; it may take {most}",
            self.name,
            input.len()
        );
    }

    /// The folder of its inputs that are kept.
    #[must_use]
    pub fn corpus(self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(self.name)
    }

    /// Its seeds, and then the inputs that are kept, in an order that does not change.
    #[must_use]
    pub fn inputs(self) -> Vec<Vec<u8>> {
        let mut paths: Vec<_> = match fs::read_dir(self.corpus()) {
            Ok(entries) => entries.map(|entry| entry.unwrap().path()).collect(),
            Err(_) => Vec::new(), // nothing is kept
        };
        paths.sort();
        let kept = paths.into_iter().map(|path| fs::read(path).unwrap());
        (self.seeds)().into_iter().chain(kept).collect()
    }
}

/// The path of a file of this process, with these bytes: some decoders open what they read.
fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder().join(name);
    fs::write(&path, bytes).unwrap();
    path
}

/// A folder of this process. It stays: whoever starts this process says where, and clears up.
fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| tempfile::tempdir().unwrap().keep())
}
