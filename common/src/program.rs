//! A trainer that is somebody's own program: its command, what it is told, and how it tells what it measured.

use serde::{Deserialize, Serialize};

use crate::configuration::{Configuration, Value};
use crate::metrics::MetricName;
use crate::setting::Setting;

/// Words that a command may have.
pub const WORDS_MAX: usize = 4096;
/// GPUs that an attempt may need.
pub const GPUS_MAX: u32 = 64;
/// Epochs that a program may be asked for.
pub const PROGRAM_EPOCHS_MAX: u32 = 1_000_000;

/// A program that trains, as all executors are told of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProgramDescription {
    /// The program, and what follows it. No shell sees them.
    pub command: Vec<Word>,
    /// A folder whose `bin` comes first where programs are looked for: a virtual environment, or one of conda.
    pub env_prefix: Option<String>,
    /// How many epochs it is to train. It may report fewer, and never more.
    pub epochs: Setting<u32>,
    /// What is read from its standard output, besides the lines in its metrics file.
    pub printed: Vec<PrintedForm>,
    /// What it has to report: trials are ranked by it.
    pub objective: MetricName,
    /// Files and folders, below its working folder, that are kept of the best trial and of the control.
    pub outputs: Vec<String>,
    /// Between the question to end and the end, in milliseconds.
    pub grace_ms: u64,
    /// Memory that an attempt may take; by default its slot's share.
    pub memory_bytes: Option<u64>,
    /// Disk that its working folder may take.
    pub disk_bytes: u64,
    /// Whether it stays up and takes one trial after the other; otherwise a process is started for each attempt.
    pub worker: Option<WorkerDescription>,
    /// GPUs that an attempt needs for itself, so that no other one sees them; 0 if it is to see none. Unless the study says
    /// so, an executor's attempts share what it has.
    pub gpus: Option<u32>,
    /// Whether it gives the same numbers whenever it is given the same values.
    pub is_deterministic: bool,
}

/// How long a program stays up that takes one trial after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerDescription {
    /// Trials until it is started anew.
    pub trials_max: u32,
    /// Memory that it may hold between two trials, or it is started anew; by default half of what an attempt may take.
    pub memory_bytes: Option<u64>,
}

/// A word of a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Word {
    /// One word.
    One(Vec<Piece>),
    /// `--name=value` for each parameter, in the order of their names: `${args}`.
    AllParameters,
}

/// A piece of a word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Piece {
    /// As it stands.
    Text(String),
    /// A parameter's value: `${learning_rate}`.
    Parameter(String),
    /// Something that the attempt has: `${trial}`.
    Known(Known),
    /// A variable of the executor's environment: `${envvar:HOME}`.
    Variable(String),
}

impl ProgramDescription {
    /// Whether an attempt is told where checkpoints are put: a worker always is.
    #[must_use]
    pub fn knows_checkpoints(&self) -> bool {
        let folder = Piece::Known(Known::CheckpointDir);
        let is_told = |word: &Word| matches!(word, Word::One(pieces) if pieces.contains(&folder));
        self.worker.is_some() || self.command.iter().any(is_told)
    }
}

/// What every attempt has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Known {
    /// Its trial's number.
    Trial,
    /// A number that depends on the study's seed, the configuration and the repeat alone.
    Seed,
    /// The epoch to train to.
    Epochs,
    /// The working folder, which goes when the attempt has ended.
    SlotDir,
    /// The study's files and data, which nobody may change.
    DataDir,
    /// Where checkpoints are put, and found again.
    CheckpointDir,
    /// A JSON file with all parameters.
    ArgsJsonFile,
}

impl Known {
    /// Each with its name in a command.
    pub const ALL: [(&'static str, Self); 7] = [
        ("trial", Self::Trial),
        ("seed", Self::Seed),
        ("epochs", Self::Epochs),
        ("slot_dir", Self::SlotDir),
        ("data_dir", Self::DataDir),
        ("checkpoint_dir", Self::CheckpointDir),
        ("args_json_file", Self::ArgsJsonFile),
    ];
}

/// What a program prints, beside what it writes into its metrics file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PrintedForm {
    /// `name=value`, alone or several on a line.
    Assignments,
    /// `[tune-metric]: {"name": value}`.
    TuneMetric,
    /// The lines of Keras's own progress: `Epoch 2/5`, then `... - loss: 0.1 - val_loss: 0.2`.
    Keras,
    /// A line in which the first group of a regular expression is a name and the second a number; or, with named groups,
    /// whatever they are called.
    Pattern(String),
}

/// What is wrong with a word of a command.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WordError {
    /// `${` without `}`.
    #[error("`{0}` has no end: write `${{name}}`")]
    Unclosed(String),
    /// `${}`.
    #[error("`${{}}` names nothing: write `${{name}}`")]
    Nameless,
    /// More around a reference that stands for several words.
    #[error("`${{args}}` stands for several words, so it has to be a word of its own")]
    ArgsInside,
}

impl Word {
    /// Reads a word of a command: `${name}` is replaced by a value, `$$` by `$`, and all else stays as it is.
    ///
    /// # Errors
    /// [`WordError`].
    pub fn parse(text: &str) -> Result<Self, WordError> {
        if text == "${args}" {
            return Ok(Self::AllParameters);
        }
        let (mut pieces, mut rest) = (Vec::new(), text);
        let mut plain = String::new();
        while let Some(place) = rest.find('$') {
            plain += &rest[..place];
            let after = &rest[place + 1..];
            if let Some(inner) = after.strip_prefix('{') {
                let end = inner.find('}').ok_or_else(|| WordError::Unclosed(rest[place..].to_owned()))?;
                if !plain.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut plain)));
                }
                pieces.push(Piece::parse(&inner[..end])?);
                rest = &inner[end + 1..];
            } else {
                plain.push('$');
                rest = after.strip_prefix('$').unwrap_or(after);
            }
        }
        plain += rest;
        if !plain.is_empty() || pieces.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Ok(Self::One(pieces))
    }

    /// The parameters that it names.
    pub fn parameters(&self) -> impl Iterator<Item = &str> {
        let pieces = match self {
            Self::One(pieces) => &pieces[..],
            Self::AllParameters => &[],
        };
        pieces.iter().filter_map(|piece| match piece {
            Piece::Parameter(name) => Some(&name[..]),
            Piece::Text(_) | Piece::Known(_) | Piece::Variable(_) => None,
        })
    }
}

impl Piece {
    fn parse(name: &str) -> Result<Self, WordError> {
        if name == "args" {
            return Err(WordError::ArgsInside);
        }
        if name.is_empty() {
            return Err(WordError::Nameless);
        }
        if let Some(variable) = name.strip_prefix("envvar:") {
            return Ok(Self::Variable(variable.to_owned()));
        }
        let known = Known::ALL.into_iter().find(|(known, _)| *known == name);
        Ok(known.map_or_else(|| Self::Parameter(name.to_owned()), |(_, known)| Self::Known(known)))
    }
}

/// A value as a program reads it: a word as it is, a number as its shortest decimal form.
#[must_use]
pub fn value_text(value: &Value) -> String {
    match value {
        Value::Integer(integer) => integer.to_string(),
        // Python and JSON read it as a real number, too.
        Value::Real(real) => format!("{real:?}"),
        Value::Choice(word) => word.clone(),
        Value::Flag(flag) => flag.to_string(),
    }
}

/// The words of `${args}`.
#[must_use]
pub fn all_parameters(configuration: &Configuration) -> Vec<String> {
    configuration.iter().map(|(name, value)| format!("--{name}={}", value_text(value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::unnecessary_wraps, reason = "it stands beside errors in a table")]
    fn one(pieces: &[Piece]) -> Result<Word, WordError> {
        Ok(Word::One(pieces.to_vec()))
    }

    #[test]
    fn a_word_is_read_piece_by_piece_and_nothing_else_in_it_is_special() {
        let (text, parameter) = (|it: &str| Piece::Text(it.to_owned()), |it: &str| Piece::Parameter(it.to_owned()));
        let rows = [
            ("", one(&[text("")])),
            ("plain words; $HOME `ls` %s {} \n", one(&[text("plain words; $HOME `ls` %s {} \n")])),
            ("${args}", Ok(Word::AllParameters)),
            ("--lr=${learning rate}", one(&[text("--lr="), parameter("learning rate")])),
            ("${a}${seed}", one(&[parameter("a"), Piece::Known(Known::Seed)])),
            ("$${a}$", one(&[text("${a}$")])),
            ("${envvar:HOME}/x", one(&[Piece::Variable("HOME".to_owned()), text("/x")])),
            ("a${b", Err(WordError::Unclosed("${b".to_owned()))),
            ("${}", Err(WordError::Nameless)),
            ("x${args}", Err(WordError::ArgsInside)),
        ];
        for (written, read) in rows {
            assert_eq!(Word::parse(written), read, "{written:?}");
        }
        for (name, known) in Known::ALL {
            assert_eq!(Word::parse(&format!("${{{name}}}")), one(&[Piece::Known(known)]));
        }
    }

    #[test]
    fn values_arrive_as_they_were() {
        let values = [
            ("b", Value::Real(0.1)),
            ("c", Value::Real(1e-7)),
            ("a", Value::Integer(-3)),
            ("w ü", Value::Choice("two words\n${x}".to_owned())),
            ("f", Value::Flag(true)),
            ("one", Value::Real(1.0)),
        ];
        let configuration: Configuration = values.map(|(name, value)| (name.to_owned(), value)).into_iter().collect();
        let words = ["--a=-3", "--b=0.1", "--c=1e-7", "--f=true", "--one=1.0", "--w ü=two words\n${x}"];
        assert_eq!(all_parameters(&configuration), words);
    }
}
