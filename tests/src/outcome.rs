//! What a run left, read back.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// The folder of a run that is over, and its summary.
#[derive(Debug)]
pub struct Outcome {
    /// The run's folder.
    pub folder: PathBuf,
    /// `summary.json`.
    pub summary: Value,
}

impl Outcome {
    /// Reads the folder of a run.
    #[must_use]
    pub fn read(folder: &Path) -> Self {
        let text = fs::read_to_string(folder.join("summary.json")).expect("the run left a summary");
        Self { folder: folder.to_owned(), summary: serde_json::from_str(&text).unwrap() }
    }

    /// The digest by which runs are compared.
    #[must_use]
    pub fn digest(&self) -> &str {
        self.summary["results_sha256"].as_str().unwrap()
    }

    /// The whole number at a place like `/broadcast/sent_bytes`.
    #[must_use]
    pub fn number(&self, place: &str) -> u64 {
        self.summary.pointer(place).and_then(Value::as_u64).unwrap_or_else(|| panic!("no number at {place}"))
    }

    /// Block bytes that were sent, as a share of one copy of the data.
    #[must_use]
    pub fn sent_share(&self) -> f64 {
        self.number("/broadcast/sent_bytes") as f64 / self.number("/broadcast/data_bytes") as f64
    }

    /// One of its files.
    #[must_use]
    pub fn file(&self, name: &str) -> Vec<u8> {
        fs::read(self.folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }
}
