//! What an attempt's program is given: its words, its environment, and the files that say the same.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use broadsweep_common::configuration::{Configuration, Value};
use broadsweep_common::program::{Known, Piece, ProgramDescription, Word, all_parameters, value_text};
use serde_json::{Map, Number};

/// Variables by which libraries are told how many threads to use.
const THREADS: [&str; 7] = [
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
];

/// The folder of one attempt, and what lies in it.
#[derive(Clone, Debug)]
pub(super) struct Workplace {
    /// All of it: this is what may become too large.
    pub(super) root: PathBuf,
    /// Where the program runs: the study's files are there by way of links.
    pub(super) slot_dir: PathBuf,
    /// Where it puts checkpoints.
    pub(super) checkpoint_dir: PathBuf,
    /// Where it tells what it measured.
    pub(super) metrics_file: PathBuf,
    args_file: PathBuf,
    temporary: PathBuf,
}

impl Workplace {
    /// Makes it below `root`, with links to what lies in `data_dir`.
    pub(super) fn make(root: &Path, data_dir: &Path) -> io::Result<Self> {
        let place = |name: &str| root.join(name);
        let workplace = Self {
            root: root.to_owned(),
            slot_dir: place("work"),
            checkpoint_dir: place("checkpoint"),
            metrics_file: place("metrics.jsonl"),
            args_file: place("parameters.json"),
            temporary: place("tmp"),
        };
        for folder in [&workplace.slot_dir, &workplace.checkpoint_dir, &workplace.temporary] {
            fs::create_dir(folder)?;
        }
        for entry in fs::read_dir(data_dir)? {
            let entry = entry?;
            std::os::unix::fs::symlink(entry.path(), workplace.slot_dir.join(entry.file_name()))?;
        }
        fs::write(&workplace.metrics_file, b"")?;
        Ok(workplace)
    }

    /// Writes down the parameters.
    pub(super) fn write_parameters(&self, configuration: &Configuration) -> io::Result<()> {
        let members = configuration.iter().map(|(name, value)| (name.to_owned(), json(value)));
        fs::write(&self.args_file, serde_json::to_vec(&members.collect::<Map<_, _>>())?)
    }
}

fn json(value: &Value) -> serde_json::Value {
    match value {
        Value::Integer(integer) => (*integer).into(),
        Value::Real(real) => Number::from_f64(*real).map_or(serde_json::Value::Null, Into::into),
        Value::Choice(word) => word.clone().into(),
        Value::Flag(flag) => (*flag).into(),
    }
}

/// What is known of an attempt.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts<'a> {
    pub(super) configuration: &'a Configuration,
    pub(super) trial: u32,
    pub(super) seed: u64,
    pub(super) epochs: u32,
    /// Epochs that are in the checkpoint that it goes on from.
    pub(super) resumed_from: Option<u32>,
    /// Threads that it may use.
    pub(super) threads: u32,
    pub(super) data_dir: &'a Path,
    pub(super) workplace: &'a Workplace,
}

impl Facts<'_> {
    fn known(&self, known: Known) -> OsString {
        match known {
            Known::Trial => self.trial.to_string().into(),
            Known::Seed => self.seed.to_string().into(),
            Known::Epochs => self.epochs.to_string().into(),
            Known::SlotDir => self.workplace.slot_dir.clone().into(),
            Known::DataDir => self.data_dir.into(),
            Known::CheckpointDir => self.workplace.checkpoint_dir.clone().into(),
            Known::ArgsJsonFile => self.workplace.args_file.clone().into(),
        }
    }

    /// The words of the command; otherwise what one of them lacks here.
    pub(super) fn words(&self, command: &[Word]) -> Result<Vec<OsString>, String> {
        let mut words = Vec::new();
        for word in command {
            match word {
                Word::AllParameters => {
                    words.extend(all_parameters(self.configuration).into_iter().map(OsString::from));
                }
                Word::One(pieces) => {
                    let mut whole = OsString::new();
                    for piece in pieces {
                        whole.push(self.piece(piece)?);
                    }
                    words.push(whole);
                }
            }
        }
        Ok(words)
    }

    fn piece(&self, piece: &Piece) -> Result<OsString, String> {
        Ok(match piece {
            Piece::Text(text) => text.into(),
            Piece::Known(known) => self.known(*known),
            Piece::Parameter(name) => {
                let value = self.configuration.get(name);
                value
                    .map(value_text)
                    .ok_or_else(|| format!("the command names ${{{name}}}, which this trial lacks"))?
                    .into()
            }
            Piece::Variable(name) => std::env::var_os(name).ok_or_else(|| {
                format!("the command names ${{envvar:{name}}}, which is not set where this executor runs")
            })?,
        })
    }

    /// All variables: what the executor has, and over it what is known of the attempt.
    pub(super) fn environment(&self, program: &ProgramDescription) -> Vec<(OsString, OsString)> {
        let mut set: Vec<(OsString, OsString)> = Vec::new();
        let mut put = |name: &str, value: OsString| set.push((name.into(), value));
        for (name, known) in Known::ALL {
            put(&format!("BROADSWEEP_{}", name.to_uppercase()), self.known(known));
        }
        put("BROADSWEEP_METRICS", self.workplace.metrics_file.clone().into());
        if let Some(epoch) = self.resumed_from {
            put("BROADSWEEP_RESUME", epoch.to_string().into());
        }
        for (name, value) in self.configuration.iter().filter(|(name, _)| !name.contains(['=', '\0'])) {
            put(&format!("BROADSWEEP_PARAM_{name}"), value_text(value).into());
        }
        for name in THREADS {
            put(name, self.threads.to_string().into());
        }
        put("PYTHONUNBUFFERED", "1".into());
        put("TMPDIR", self.workplace.temporary.clone().into());
        if let Some(prefix) = &program.env_prefix {
            put("PATH", path_with(&Path::new(prefix).join("bin")));
            put("VIRTUAL_ENV", prefix.into());
            put("CONDA_PREFIX", prefix.into());
        }
        let is_set = |name: &OsStr| set.iter().any(|(known, _)| known == name);
        let inherited = std::env::vars_os().filter(|(name, _)| !is_set(name) && name != "PYTHONHOME");
        let inherited: Vec<_> = inherited.collect();
        inherited.into_iter().chain(set).collect()
    }
}

/// The executor's own path, behind `first`.
pub(super) fn path_with(first: &Path) -> OsString {
    let mut path = OsString::from(first);
    if let Some(rest) = std::env::var_os("PATH") {
        path.push(":");
        path.push(rest);
    }
    path
}

/// A program that is started by this command, for tests.
#[cfg(test)]
pub(super) fn described(command: &[&str]) -> ProgramDescription {
    ProgramDescription {
        command: command.iter().map(|word| Word::parse(word).unwrap()).collect(),
        env_prefix: Some("/opt/venv".to_owned()),
        epochs: broadsweep_common::setting::Setting::Fixed(5),
        printed: Vec::new(),
        objective: broadsweep_common::metrics::MetricName::VALIDATION_ERROR,
        outputs: Vec::new(),
        grace_ms: 0,
        memory_bytes: None,
        disk_bytes: 1,
        is_deterministic: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_told_all_that_is_known_of_its_attempt() {
        let (root, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(data.path().join("train.py"), b"").unwrap();
        let workplace = Workplace::make(root.path(), data.path()).unwrap();
        let configuration: Configuration =
            [("lr".to_owned(), Value::Real(0.1)), ("kind".to_owned(), Value::Choice("a b".to_owned()))]
                .into_iter()
                .collect();
        workplace.write_parameters(&configuration).unwrap();
        let facts = Facts {
            configuration: &configuration,
            trial: 7,
            seed: 42,
            epochs: 5,
            resumed_from: Some(2),
            threads: 3,
            data_dir: data.path(),
            workplace: &workplace,
        };
        let program = described(&["python", "train.py", "--lr", "${lr}", "${args}", "t${trial}-${seed}-${epochs}"]);
        let words = facts.words(&program.command).unwrap();
        assert_eq!(words, ["python", "train.py", "--lr", "0.1", "--kind=a b", "--lr=0.1", "t7-42-5"]);
        assert!(workplace.slot_dir.join("train.py").is_file(), "it lies where the program runs");
        assert_eq!(fs::read_to_string(&workplace.args_file).unwrap(), r#"{"kind":"a b","lr":0.1}"#);

        let environment = facts.environment(&program);
        let of = |name: &str| {
            let found: Vec<_> = environment.iter().filter(|(known, _)| known == name).collect();
            assert!(found.len() < 2, "{name} is set twice");
            found.first().map(|(_, value)| value.to_string_lossy().into_owned())
        };
        for (name, value) in [
            ("BROADSWEEP_TRIAL", "7"),
            ("BROADSWEEP_PARAM_lr", "0.1"),
            ("BROADSWEEP_RESUME", "2"),
            ("OMP_NUM_THREADS", "3"),
            ("PYTHONUNBUFFERED", "1"),
        ] {
            assert_eq!(of(name).as_deref(), Some(value), "{name}");
        }
        assert!(of("PATH").unwrap().starts_with("/opt/venv/bin:"));
        for missing in ["${nobody}", "${envvar:BROADSWEEP_NOBODY_SETS_THIS}"] {
            let error = facts.words(&described(&[missing]).command).unwrap_err();
            assert!(error.contains("the command names"), "{error}");
        }
    }
}
