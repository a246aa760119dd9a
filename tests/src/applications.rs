//! A place with a small trained model and a table of rows, for tests of `broadsweep apply`.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::lab::Lab;
use crate::process::{Ended, Process};

/// Rows of a partition, at most.
pub const PARTITION_ROWS: usize = 500;

/// Trained in a moment on the rows of `train.csv`.
const STUDY: &str = "
name = 'flowers'
seed = 3
[data]
format = 'csv'
train_file = 'train.csv'
label_column = 'kind'
leave_out = ['id']
validation_rows = 100
[model]
layers = [{ kind = 'dense', units = 8, activation = 'relu' }, { kind = 'dense', units = 3 }]
[training]
learning_rate = 0.05
epochs = 3
batch_size = 32
";

/// Rows that the model is trained on: the first ones of [`table`].
const TRAINED: usize = 600;

/// A row of the table: its number, two measures, a word, and the kind that follows from them.
fn row(number: usize) -> String {
    let wave = |place: usize| ((place as f64 * 12.9898 + 4.1414).sin() * 43_758.545_3).fract();
    let (a, b) = (wave(2 * number), wave(2 * number + 1));
    let kind = ["small", "middle", "large"][usize::from(a + b > -0.4) + usize::from(a + b > 0.4)];
    let color = ["red", "blue"][number % 2];
    format!("\"n{number}\",{a},{b},{color},{kind}")
}

/// These rows, below a header line.
#[must_use]
pub fn table(rows: Range<usize>) -> String {
    rows.fold("id,a,b,color,kind\n".to_owned(), |text, number| text + &row(number) + "\n")
}

/// A place with a trained model, in `run`, and so many other rows, in `rows.csv`.
#[must_use]
pub fn trained(program: &'static str, rows: usize) -> Lab {
    let lab = Lab::new(program);
    lab.write("train.csv", table(0..TRAINED));
    lab.write("rows.csv", table(TRAINED..TRAINED + rows));
    let study = lab.write("study.toml", STUDY);
    succeeded(&lab.tune(&study, "run", &["--local", "1x1"]).wait());
    lab
}

/// Begins to apply the model to `rows.csv`, in the run of this name.
#[must_use]
pub fn begin(lab: &Lab, output: &str, run: &str, flags: &[&str]) -> Process {
    let shown = |name: &str| lab.path(name).display().to_string();
    let mut arguments = vec!["apply".to_owned(), shown("run")];
    for (flag, name) in [("--input", "rows.csv"), ("--output", output), ("--out", run)] {
        arguments.extend([flag.to_owned(), shown(name)]);
    }
    arguments.extend(["--partition-rows".to_owned(), PARTITION_ROWS.to_string()]);
    if !flags.contains(&"--nodes") {
        arguments.extend(["--cache-dir".to_owned(), shown("cache")]);
    }
    lab.command(arguments.into_iter().chain(flags.iter().map(|flag| (*flag).to_owned())))
}

/// The files of an output but for its manifest, which names the run.
#[must_use]
pub fn parts(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let named = |path: PathBuf| (path.file_name().unwrap().to_string_lossy().into_owned(), path);
    let files = entries.map(named).filter(|(name, _)| name != "manifest.json");
    files.map(|(name, path)| (name, fs::read(path).unwrap())).collect()
}

/// Fails with what a command said, unless it succeeded.
pub fn succeeded(ended: &Ended) {
    assert!(ended.code == Some(0), "{}\n{}", ended.stdout, ended.stderr);
}
