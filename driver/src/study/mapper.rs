//! What the table `[apply]` maps rows through: a finished model, or somebody's own program with its keys.

use std::path::{Path, PathBuf};

use broadsweep_common::mapper::{BATCH_ROWS_MAX, MapperDescription};
use broadsweep_common::program::{Piece, WORDS_MAX, Word};

use super::diagnostic::Diagnostic;
use super::program::is_below;
use super::reader::{Node, Table};

/// All keys of a program.
pub(super) const KEYS: &[&str] = &["program", "files", "env_prefix", "columns", "batch_rows", "silent_s"];
/// Keys that a program has no use for: it chooses its own columns.
const OF_MODELS: &[&str] = &["labels", "probabilities"];

/// Rows that a program is given together, unless somebody says otherwise.
pub const BATCH_ROWS: u32 = 4096;
/// Seconds that a program may take no rows and give no answers, unless somebody says otherwise: it may load a model first.
pub const SILENT_S: u64 = 600;
/// The most that may be said.
pub const SILENT_S_MAX: u64 = 7 * 24 * 3600;
/// Disk that a program may take.
const DISK_BYTES: u64 = 64 << 30;

/// What rows are mapped through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mapping {
    /// The folder of a run, its `best/`, or a `model.toml`.
    Model(PathBuf),
    /// Somebody's own program.
    Program(MapperSettings),
}

/// A program that rows are mapped through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapperSettings {
    /// The words of its command, as written.
    pub command: Vec<String>,
    /// Files and folders that it is given; they start at the study file's folder.
    pub files: Vec<String>,
    /// A folder whose `bin` comes first where programs are looked for.
    pub env_prefix: Option<String>,
    /// Columns of the input that it gets; all, unless some are named.
    pub columns: Vec<String>,
    /// Rows that it gets together, at most.
    pub batch_rows: u32,
    /// Seconds that it may take no rows and give no answers.
    pub silent_s: u64,
}

impl Mapping {
    /// What messages call it.
    #[must_use]
    pub fn noun(&self) -> &'static str {
        match self {
            Self::Model(_) => "model",
            Self::Program(_) => "program",
        }
    }

    /// What rows are mapped through, for people.
    #[must_use]
    pub fn shown(&self) -> String {
        match self {
            Self::Model(path) => path.display().to_string(),
            Self::Program(program) => program.command.join(" "),
        }
    }

    pub(super) fn below(&self, folder: &Path) -> Self {
        match self {
            Self::Model(path) => Self::Model(folder.join(path)),
            Self::Program(_) => self.clone(),
        }
    }

    /// Adds what a study file has of it.
    pub(super) fn write(&self, table: &mut toml::Table) {
        let texts = |texts: &[String]| toml::Value::Array(texts.iter().cloned().map(toml::Value::String).collect());
        match self {
            Self::Model(path) => {
                table.insert("model".to_owned(), toml::Value::String(path.display().to_string()));
            }
            Self::Program(program) => {
                table.insert("program".to_owned(), texts(&program.command));
                table.insert("files".to_owned(), texts(&program.files));
                if let Some(prefix) = &program.env_prefix {
                    table.insert("env_prefix".to_owned(), prefix.clone().into());
                }
                table.insert("columns".to_owned(), texts(&program.columns));
                table.insert("batch_rows".to_owned(), i64::from(program.batch_rows).into());
                table.insert("silent_s".to_owned(), i64::try_from(program.silent_s).unwrap_or(i64::MAX).into());
            }
        }
    }
}

impl MapperSettings {
    /// Changes what executors are told of the program, and not of the rows.
    ///
    /// # Errors
    /// In words, for the first word that cannot be one.
    pub fn describe(&self, description: &mut MapperDescription) -> Result<(), String> {
        description.command = words_of(&self.command)?;
        description.env_prefix.clone_from(&self.env_prefix);
        description.batch_rows = self.batch_rows;
        description.silent_ms = self.silent_s.saturating_mul(1000);
        description.disk_bytes = DISK_BYTES;
        Ok(())
    }
}

/// The words of a command.
fn words_of(command: &[String]) -> Result<Vec<Word>, String> {
    command.iter().map(|text| word_of(text)).collect()
}

fn word_of(text: &str) -> Result<Word, String> {
    if text.contains('\0') {
        return Err("a word has a zero byte in it, which no program can be given".to_owned());
    }
    let word = Word::parse(text).map_err(|error| error.to_string())?;
    let is_known = |piece: &Piece| match piece {
        Piece::Text(_) => true,
        Piece::Variable(name) => !name.is_empty(),
        Piece::Parameter(_) | Piece::Known(_) => false,
    };
    match &word {
        Word::One(pieces) if pieces.iter().all(is_known) => Ok(word),
        _ => Err(format!(
            "`{text}` names something that only a trial has; a program that maps rows can be told ${{envvar:NAME}}, and `$$` \
             stands for `$`"
        )),
    }
}

/// Reads what rows are mapped through.
pub(super) fn read(table: &Table<'_>) -> Result<Mapping, Diagnostic> {
    let refuse = |keys: &[&str], why: &str| {
        let found = keys.iter().find_map(|key| table.get(key).map(|node| (key, node)));
        found.map_or(Ok(()), |(key, node)| Err(node.error(format!("`{key}` {why}"))))
    };
    let Some(program) = table.get("program") else {
        refuse(&KEYS[1..], "belongs to a program, which `program` names; a model has no use for it")?;
        let path = table.require("model", "the folder of a model, or else `program`, a command")?.text()?;
        return Ok(Mapping::Model(PathBuf::from(path)));
    };
    refuse(&["model"], "and `program` exclude each other: rows are mapped through one of the two")?;
    refuse(OF_MODELS, "belongs to a model; a program chooses its own columns")?;
    let command = read_texts(&program)?;
    if command.is_empty() || command.len() > WORDS_MAX {
        return Err(program.error(format!("`program` has {} words; 1 to {WORDS_MAX} may be", command.len())));
    }
    words_of(&command).map_err(|reason| program.error(format!("`program`: {reason}")))?;
    let texts = |key: &str| table.get(key).map_or(Ok(Vec::new()), |node| read_texts(&node));
    let whole = |key: &str, max: u64, default: u64| {
        let asked = |node: Node<'_>| node.whole(1, i64::try_from(max).unwrap_or(i64::MAX)).map(|whole| whole as u64);
        table.get(key).map_or(Ok(default), asked)
    };
    let files = texts("files")?;
    if let (Some(outside), Some(node)) = (files.iter().find(|path| !is_below(path)), table.get("files")) {
        return Err(node.error(format!(
            "`files` names {outside}, which is not below the folder where it starts; write a relative path without `..`"
        )));
    }
    Ok(Mapping::Program(MapperSettings {
        command,
        files,
        env_prefix: table.get("env_prefix").map(|node| node.text().map(str::to_owned)).transpose()?,
        columns: texts("columns")?,
        batch_rows: whole("batch_rows", BATCH_ROWS_MAX.into(), BATCH_ROWS.into())? as u32,
        silent_s: whole("silent_s", SILENT_S_MAX, SILENT_S)?,
    }))
}

/// An array of texts.
pub(super) fn read_texts(node: &Node<'_>) -> Result<Vec<String>, Diagnostic> {
    node.array()?.into_iter().map(|element| element.text().map(ToOwned::to_owned)).collect()
}
