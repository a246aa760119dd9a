//! What an attempt's program is given: its words, its environment, and the files that say the same; or, if it stays up, a
//! line of JSON for each attempt.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use broadsweep_common::configuration::{Configuration, Value};
use broadsweep_common::ids::AttemptId;
use broadsweep_common::program::{Known, Piece, ProgramDescription, Word, all_parameters, value_text};
use broadsweep_leash::{READS_FROM, WRITES_TO};
use serde_json::{Map, Number, json};

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

/// Says to a program that it stays up.
const WORKER: &str = "BROADSWEEP_WORKER";
/// The descriptors of a program that maps rows: where these come from, and where its answers go.
#[cfg(feature = "mappers")]
const MAPPER_PIPES: [(&str, i32); 2] = [("BROADSWEEP_ROWS", READS_FROM), ("BROADSWEEP_ANSWERS", WRITES_TO)];
/// Variables of the executor's own that would tell a program something wrong.
const NOT_INHERITED: [&str; 2] = ["PYTHONHOME", WORKER];

/// Variables that say which GPUs a program sees: all those that are named, and none if nothing is.
const VISIBLE_GPUS: [&str; 2] = ["CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"];
/// How CUDA numbers GPUs: unless it is told, the fastest is 0, and `nvidia-smi` says something else.
const GPU_ORDER: &str = "CUDA_DEVICE_ORDER";
/// Variables that choose once more among those that are visible.
const HIDING_GPUS: [&str; 2] = ["HIP_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL"];

/// The folder of one attempt, or of a worker, and what lies in it.
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
        fs::write(&self.args_file, serde_json::to_vec(&members(configuration))?)
    }
}

fn members(configuration: &Configuration) -> Map<String, serde_json::Value> {
    configuration.iter().map(|(name, value)| (name.to_owned(), member(value))).collect()
}

fn member(value: &Value) -> serde_json::Value {
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
    pub(super) attempt: AttemptId,
    pub(super) configuration: &'a Configuration,
    pub(super) trial: u32,
    pub(super) seed: u64,
    pub(super) epochs: u32,
    /// Epochs that are in the checkpoint that it goes on from.
    pub(super) resumed_from: Option<u32>,
    /// Threads that it may use.
    pub(super) threads: u32,
    /// GPUs that it may see; `None` for what the executor itself sees.
    pub(super) gpus: Option<&'a str>,
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

    /// The line by which a worker is told of this attempt.
    ///
    /// # Errors
    /// What JSON cannot hold.
    pub(super) fn line(&self, command: &[Word]) -> Result<Vec<u8>, String> {
        let words = self.words(command)?;
        let words = words.iter().map(|word| text(word)).collect::<Result<Vec<_>, _>>()?;
        let mut line = json!({
            "attempt": self.attempt.to_string(),
            "command": words,
            "metrics": text(self.workplace.metrics_file.as_ref())?,
            "parameters": members(self.configuration),
            "resume": self.resumed_from,
        });
        for (name, known) in Known::ALL {
            line[name] = match known {
                Known::Trial => self.trial.into(),
                Known::Seed => self.seed.into(),
                Known::Epochs => self.epochs.into(),
                Known::SlotDir | Known::DataDir | Known::CheckpointDir | Known::ArgsJsonFile => {
                    text(&self.known(known))?.into()
                }
            };
        }
        Ok(format!("{line}\n").into_bytes())
    }

    /// All variables: what the executor has, and over it what is known of the attempt.
    pub(super) fn environment(&self, program: &ProgramDescription) -> Vec<(OsString, OsString)> {
        let mut set = surroundings(program.env_prefix.as_deref(), (self.threads, self.gpus), self.workplace);
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
        over_inherited(set, self.gpus)
    }
}

/// All variables of a worker, which is told of attempts later: nothing in them is of the first one.
pub(super) fn worker_environment(
    env_prefix: Option<&str>,
    (threads, gpus): (u32, Option<&str>),
    workplace: &Workplace,
) -> Vec<(OsString, OsString)> {
    let mut set = surroundings(env_prefix, (threads, gpus), workplace);
    let numbers = [("BROADSWEEP_WORKER_READS", READS_FROM), ("BROADSWEEP_WORKER_WRITES", WRITES_TO), (WORKER, 1)];
    set.extend(numbers.map(|(name, number)| (name.into(), number.to_string().into())));
    over_inherited(set, gpus)
}

/// All variables of a program that maps rows.
#[cfg(feature = "mappers")]
pub(super) fn mapper_environment(
    env_prefix: Option<&str>,
    threads: u32,
    workplace: &Workplace,
) -> Vec<(OsString, OsString)> {
    let mut set = surroundings(env_prefix, (threads, None), workplace);
    set.extend(MAPPER_PIPES.map(|(name, number)| (name.into(), number.to_string().into())));
    over_inherited(set, None)
}

/// What a program is told wherever it runs.
fn surroundings(
    env_prefix: Option<&str>,
    (threads, gpus): (u32, Option<&str>),
    workplace: &Workplace,
) -> Vec<(OsString, OsString)> {
    let mut set: Vec<(OsString, OsString)> = Vec::new();
    let mut put = |name: &str, value: OsString| set.push((name.into(), value));
    for name in THREADS {
        put(name, threads.to_string().into());
    }
    if let Some(gpus) = gpus {
        for name in VISIBLE_GPUS {
            put(name, gpus.into());
        }
        put(GPU_ORDER, std::env::var_os(GPU_ORDER).unwrap_or_else(|| "PCI_BUS_ID".into()));
    }
    put("PYTHONUNBUFFERED", "1".into());
    put("TMPDIR", workplace.temporary.clone().into());
    if let Some(prefix) = env_prefix {
        put("PATH", path_with(&Path::new(prefix).join("bin")));
        put("VIRTUAL_ENV", prefix.into());
        put("CONDA_PREFIX", prefix.into());
    }
    set
}

/// What the executor has, and these over it.
fn over_inherited(set: Vec<(OsString, OsString)>, gpus: Option<&str>) -> Vec<(OsString, OsString)> {
    let is_set = |name: &OsStr| set.iter().any(|(known, _)| known == name);
    // These count within what the others leave visible: here they would hide what is lent.
    let is_hiding = |name: &OsStr| gpus.is_some() && HIDING_GPUS.iter().any(|hiding| name == *hiding);
    let is_inherited =
        |name: &OsStr| !is_set(name) && !is_hiding(name) && NOT_INHERITED.iter().all(|known| name != *known);
    let inherited: Vec<_> = std::env::vars_os().filter(|(name, _)| is_inherited(name)).collect();
    inherited.into_iter().chain(set).collect()
}

fn text(words: &OsStr) -> Result<&str, String> {
    words.to_str().ok_or_else(|| format!("a worker cannot be told of \"{}\", which is no UTF-8", words.display()))
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
        worker: None,
        gpus: None,
        is_deterministic: false,
    }
}

#[cfg(test)]
mod tests {
    use broadsweep_common::ids::TaskId;

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
            attempt: AttemptId { task: TaskId(7), number: 2 },
            configuration: &configuration,
            trial: 7,
            seed: 42,
            epochs: 5,
            resumed_from: Some(2),
            threads: 3,
            gpus: Some("1,GPU-8e"),
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
            ("CUDA_VISIBLE_DEVICES", "1,GPU-8e"),
            ("ROCR_VISIBLE_DEVICES", "1,GPU-8e"),
            ("PYTHONUNBUFFERED", "1"),
        ] {
            assert_eq!(of(name).as_deref(), Some(value), "{name}");
        }
        assert!(of("PATH").unwrap().starts_with("/opt/venv/bin:"));
        for missing in ["${nobody}", "${envvar:BROADSWEEP_NOBODY_SETS_THIS}"] {
            let error = facts.words(&described(&[missing]).command).unwrap_err();
            assert!(error.contains("the command names"), "{error}");
        }

        let line = facts.line(&program.command).unwrap();
        assert_eq!(line.iter().position(|byte| *byte == b'\n'), Some(line.len() - 1), "one line");
        let told: serde_json::Value = serde_json::from_slice(&line).unwrap();
        let expected = json!({
            "attempt": "t7.2", "trial": 7, "seed": 42, "epochs": 5, "resume": 2,
            "parameters": { "kind": "a b", "lr": 0.1 },
            "command": words.iter().map(|word| word.to_str().unwrap()).collect::<Vec<_>>(),
            "slot_dir": root.path().join("work"), "checkpoint_dir": root.path().join("checkpoint"),
            "metrics": root.path().join("metrics.jsonl"), "args_json_file": root.path().join("parameters.json"),
            "data_dir": data.path(),
        });
        assert_eq!(told, expected);
        let environment = worker_environment(None, (3, None), &workplace);
        let names: Vec<_> = environment.iter().filter_map(|(name, _)| name.to_str()).collect();
        assert!(names.contains(&WORKER) && names.contains(&"OMP_NUM_THREADS"));
        assert!(!names.contains(&"BROADSWEEP_TRIAL"), "no attempt has begun: {names:?}");
    }
}
