//! Outputs claimed, committed and read, in folders of their own.

mod claims;
mod commits;
mod kills;
mod manifests;
mod stores;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use broadsweep_common::application::{KeptColumn, KeptKind};
use broadsweep_data::output::OutputFormat;
use tempfile::TempDir;

use super::manifest::{MANIFEST, VERSION};
use super::*;

/// What a run puts: names and bytes. A row a byte.
type Files<'a> = &'a [(&'a str, &'a [u8])];

const FIRST: Files<'_> = &[("rows-0.csv", b"first"), ("rows-1.csv", b"run")];
const SECOND: Files<'_> = &[("rows-0.csv", b"2nd"), ("rows-1.csv", b"row"), ("rows-2.csv", b"")];

/// A folder with the output `out` and the folders of runs in it.
struct Home(TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// With an output of the run `first`.
    fn with_output() -> Self {
        let home = Self::new();
        assert_eq!(home.commit(Onto::New, "first", FIRST), Committed::Now);
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn output(&self) -> PathBuf {
        self.path("out")
    }

    fn claim(&self, onto: Onto, run: &str) -> Result<Claim, OutputError> {
        claim_at(&self.output(), onto, run)
    }

    fn commit(&self, onto: Onto, run: &str, files: Files<'_>) -> Committed {
        let claim = self.claim(onto, run).unwrap();
        put(&claim, files);
        claim.commit(&manifest(run, files)).unwrap()
    }

    fn tree(&self) -> Tree {
        tree(self.0.path())
    }
}

fn claim_at(output: &Path, onto: Onto, run: &str) -> Result<Claim, OutputError> {
    claim(output, onto, Runner { id: run, folder: &Path::new("/runs").join(run) })
}

fn put(claim: &Claim, files: Files<'_>) {
    for (name, bytes) in files {
        claim.put(name, bytes).unwrap();
    }
}

fn manifest(run: &str, files: Files<'_>) -> Manifest {
    let files: Vec<_> =
        files.iter().map(|(name, bytes)| OutputFile::of(name, bytes.len() as u64, bytes, run)).collect();
    Manifest {
        version: VERSION,
        run: run.to_owned(),
        model: "m0de1".to_owned(),
        kernel: "portable".to_owned(),
        format: OutputFormat::Csv,
        columns: vec![KeptColumn { name: "prediction".to_owned(), kind: KeptKind::Text }],
        rows: files.iter().map(|file| file.rows).sum(),
        bad_rows: 1,
        files,
        earlier: Vec::new(),
    }
}

/// All that is in a folder: files with their bytes, folders with nothing, links with where they lead.
type Tree = BTreeMap<PathBuf, Option<Vec<u8>>>;

fn tree(folder: &Path) -> Tree {
    let mut found = Tree::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap().map(Result::unwrap) {
            let (path, kind) = (entry.path(), entry.file_type().unwrap());
            let bytes = if kind.is_dir() {
                folders.push(path.clone());
                None
            } else if kind.is_symlink() {
                Some(fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes())
            } else {
                Some(fs::read(&path).unwrap())
            };
            found.insert(path.strip_prefix(folder).unwrap().to_owned(), bytes);
        }
    }
    found
}

/// The bytes of files.
type Seen = Vec<Vec<u8>>;

/// What a reader sees who goes by the manifest: the bytes of each file that it names. Nothing without a manifest.
fn seen(output: &Path) -> Option<Seen> {
    let manifest = Manifest::read(output).unwrap()?;
    let read = |file: &OutputFile| {
        let bytes = fs::read(output.join(&file.name)).unwrap();
        assert_eq!(
            OutputFile::of(&file.name, file.rows, &bytes, &file.run),
            *file,
            "a file is not as it is described"
        );
        bytes
    };
    Some(manifest.files.iter().map(read).collect())
}

/// What that reader is to see.
fn bytes_of(runs: &[Files<'_>]) -> Seen {
    runs.iter().copied().flatten().map(|(_, bytes)| bytes.to_vec()).collect()
}

/// The names in a folder, in their order.
fn names(folder: &Path) -> Vec<String> {
    let names = moves::names_in(folder).unwrap().unwrap_or_default();
    names.into_iter().map(|name| name.into_string().unwrap()).collect()
}
