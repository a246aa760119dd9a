//! The table `[apply]`: a finished model or a program, and the rows that are mapped through it. `broadsweep apply` writes it into its run,
//! which then needs nothing else to go on.

use std::path::{Path, PathBuf};

use broadsweep_common::application::{Application, OutputFormat, Wanted};
use broadsweep_common::configuration::Value;
use broadsweep_common::task::Select;
use broadsweep_objects::ObjectAddress;
use broadsweep_search::{PrunerKind, SamplerKind, Space, StopRules};

use super::diagnostic::Diagnostic;
use super::mapper::{self, Mapping, read_texts};
use super::reader::{Node, Table};
use super::{Order, SearchSettings};
use broadsweep_common::measure::Watched;

const KEYS: &[&str] = &[
    "model",
    "input",
    "output",
    "onto",
    "keep",
    "labels",
    "format",
    "probabilities",
    "partition_rows",
    "bad_rows_max",
    "class_names",
    "divide_by",
];

/// Rows of a partition, unless somebody says otherwise: some tenths of a second of work for a small network.
pub const PARTITION_ROWS: u64 = 16_384;
/// Rows that a partition may be told to have: what came of them is held in memory.
pub const PARTITION_ROWS_MAX: u64 = 1 << 20;

/// What is there already, and what is to become of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Onto {
    /// Nothing is there.
    New,
    /// What is there is replaced, once all rows are written.
    Overwrite,
    /// What is there stays, and the rows are added.
    Append,
}

impl Onto {
    /// As the table says them.
    pub const WORDS: &'static [(&'static str, Self)] =
        &[("new", Self::New), ("overwrite", Self::Overwrite), ("append", Self::Append)];

    /// Its word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Overwrite => "overwrite",
            Self::Append => "append",
        }
    }
}

/// A finished model or a program, and the rows that are mapped through it. Paths are from the root, or start at the study
/// file's folder.
#[derive(Clone, Debug, PartialEq)]
pub struct ApplySettings {
    /// What they are mapped through.
    pub mapping: Mapping,
    /// Files and folders, patterns of their names, or addresses.
    pub input: Vec<PathBuf>,
    /// The folder that gets the answers, or its address.
    pub output: PathBuf,
    /// What becomes of what is there.
    pub onto: Onto,
    /// What is asked of each row beside the model's own columns.
    pub wanted: Wanted,
    /// What answers are written as.
    pub format: OutputFormat,
    /// Whether the probability of each class is written beside the class.
    pub with_probabilities: bool,
    /// Rows of a partition, where the input lets it be cut so.
    pub partition_rows: u64,
    /// Rows that may be left out since they cannot be read.
    pub bad_rows_max: u64,
    /// What is known of an ONNX file beside itself.
    pub foreign: ForeignSettings,
}

/// What is known of a model of another program beside its file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ForeignSettings {
    /// What its classes are called; nothing where it says so itself, or has none.
    pub class_names: Vec<String>,
    /// What the values of a row are divided by before the model gets them.
    pub divide_by: Option<f64>,
}

pub(super) fn read(node: &Node<'_>) -> Result<ApplySettings, Diagnostic> {
    let table = node.table("[apply]", "[apply] ")?;
    table.allow(&[KEYS, mapper::KEYS].concat(), |_| None)?;
    let path = |key: &str, expected: &str| Ok::<_, Diagnostic>(PathBuf::from(table.require(key, expected)?.text()?));
    let input = table.require("input", "an array of files and folders")?;
    let files = read_texts(&input)?;
    if files.is_empty() {
        return Err(table.error("[apply] input names nothing"));
    }
    let flag = |key: &str, default| table.get(key).map_or(Ok(default), |node| node.flag());
    let whole = |key: &str, (min, max): (u64, u64), default: u64| {
        let asked = |node: Node<'_>| node.whole(min as i64, i64::try_from(max).unwrap_or(i64::MAX));
        table.get(key).map_or(Ok(default), |node| asked(node).map(|whole| whole as u64))
    };
    Ok(ApplySettings {
        mapping: mapper::read(&table)?,
        input: files.into_iter().map(PathBuf::from).collect(),
        output: path("output", "the folder that gets the answers")?,
        onto: table.get("onto").map_or(Ok(Onto::New), |node| node.word(Onto::WORDS))?,
        wanted: Wanted {
            keep: table.get("keep").map_or(Ok(Vec::new()), |node| read_texts(&node))?,
            labels: table.get("labels").map(|node| node.text().map(ToOwned::to_owned)).transpose()?,
        },
        format: table.get("format").map_or(Ok(OutputFormat::Parquet), |node| node.word(OutputFormat::WORDS))?,
        with_probabilities: flag("probabilities", true)?,
        partition_rows: whole("partition_rows", (1, PARTITION_ROWS_MAX), PARTITION_ROWS)?,
        bad_rows_max: whole("bad_rows_max", (0, i64::MAX as u64), 0)?,
        foreign: ForeignSettings {
            class_names: table.get("class_names").map_or(Ok(Vec::new()), |node| read_texts(&node))?,
            divide_by: table.get("divide_by").as_ref().map(divisor).transpose()?,
        },
    })
}

fn divisor(node: &Node<'_>) -> Result<f64, Diagnostic> {
    let number = match node.scalar() {
        Ok(Value::Integer(whole)) => whole as f64,
        Ok(Value::Real(number)) => number,
        Ok(Value::Choice(_) | Value::Flag(_)) | Err(_) => f64::NAN,
    };
    let fits = number.is_finite() && number > 0.0;
    fits.then_some(number).ok_or_else(|| node.error("divide_by has to be a number above 0"))
}

/// A search that tries nothing.
pub(super) fn no_search(document: &Table<'_>) -> Result<SearchSettings, Diagnostic> {
    for key in ["trainer", "data", "model", "training", "search", "control"] {
        if let Some(node) = document.get(key) {
            return Err(node.error(format!(
                "[apply] applies a finished model, and [{key}] trains one: leave one of the two out"
            )));
        }
    }
    let select = Select::Validation;
    Ok(SearchSettings {
        sampler: SamplerKind::Random { trials: 0 },
        why_chosen: None,
        pruner: PrunerKind::None,
        stop: StopRules::default(),
        max_time: None,
        order: Order::default(),
        select,
        objectives: select.objective().into(),
        watched: Watched::ERROR,
        measures: Vec::new(),
        space: Space::new(),
    })
}

impl ApplySettings {
    /// Whether the model is of another program.
    #[must_use]
    pub fn is_foreign(&self) -> bool {
        let Mapping::Model(model) = &self.mapping else { return false };
        model.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("onnx"))
    }

    /// The same, with paths that do not start at the root starting at `folder`.
    #[must_use]
    pub fn below(&self, folder: &Path) -> Self {
        let below = |path: &PathBuf| if ObjectAddress::is_meant(path) { path.clone() } else { folder.join(path) };
        Self {
            mapping: self.mapping.below(folder),
            input: self.input.iter().map(below).collect(),
            output: below(&self.output),
            ..self.clone()
        }
    }

    /// What executors are told of it, but for the files and their pieces, which are not known yet.
    #[must_use]
    pub fn uncut(&self) -> Application {
        Application {
            files: Vec::new(),
            partitions: Vec::new(),
            wanted: self.wanted.clone(),
            kept: Vec::new(),
            format: self.format,
            with_probabilities: self.with_probabilities,
        }
    }

    /// As a study file has it, with the name of the run.
    #[must_use]
    pub fn text(&self, name: &str) -> String {
        let path = |path: &PathBuf| toml::Value::String(path.display().to_string());
        let texts = |texts: &[String]| toml::Value::Array(texts.iter().cloned().map(toml::Value::String).collect());
        let whole = |whole: u64| toml::Value::Integer(i64::try_from(whole).unwrap_or(i64::MAX));
        let mut table = toml::Table::new();
        self.mapping.write(&mut table);
        table.insert("input".to_owned(), toml::Value::Array(self.input.iter().map(path).collect()));
        table.insert("output".to_owned(), path(&self.output));
        table.insert("onto".to_owned(), self.onto.word().into());
        table.insert("keep".to_owned(), texts(&self.wanted.keep));
        if let Some(labels) = &self.wanted.labels {
            table.insert("labels".to_owned(), labels.clone().into());
        }
        table.insert("format".to_owned(), self.format.to_string().into());
        if let Mapping::Model(_) = self.mapping {
            table.insert("probabilities".to_owned(), self.with_probabilities.into());
        }
        table.insert("partition_rows".to_owned(), whole(self.partition_rows));
        table.insert("bad_rows_max".to_owned(), whole(self.bad_rows_max));
        let ForeignSettings { class_names, divide_by } = &self.foreign;
        if !class_names.is_empty() {
            table.insert("class_names".to_owned(), texts(class_names));
        }
        if let Some(divisor) = divide_by {
            table.insert("divide_by".to_owned(), (*divisor).into());
        }
        let document = toml::Table::from_iter([
            ("name".to_owned(), name.into()),
            ("apply".to_owned(), toml::Value::Table(table)),
        ]);
        format!("# Written by `broadsweep apply`.\n{document}")
    }
}

#[cfg(test)]
mod tests {
    use super::super::{MapperSettings, Trainer, parse};
    use super::*;

    fn settings() -> ApplySettings {
        ApplySettings {
            mapping: Mapping::Model("/runs/\"mine\"/best".into()),
            input: vec!["/data/a.csv".into(), "/data/größe\n".into()],
            output: "/out".into(),
            onto: Onto::Append,
            wanted: Wanted { keep: vec!["id".to_owned()], labels: Some("label".to_owned()) },
            format: OutputFormat::JsonLines,
            with_probabilities: false,
            partition_rows: 7,
            bad_rows_max: 3,
            foreign: ForeignSettings { class_names: vec!["a,".to_owned(), "\"".to_owned()], divide_by: Some(255.0) },
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let (wanted, foreign) = (Wanted::default(), ForeignSettings::default());
        let without = ApplySettings { wanted, foreign, onto: Onto::New, ..settings() };
        let program = MapperSettings {
            command: vec!["python3".to_owned(), "my map.py".to_owned(), "$${envvar:A}".to_owned()],
            files: vec!["my map.py".to_owned()],
            env_prefix: Some("/opt/venv".to_owned()),
            columns: vec!["a".to_owned()],
            batch_rows: 5,
            silent_s: 6,
        };
        let mapping = Mapping::Program(program);
        let program = ApplySettings { mapping, with_probabilities: true, ..without.clone() };
        for settings in [settings(), without, program] {
            let text = settings.text("mine-applied");
            let study = parse(&text, "study.toml").unwrap();
            let Trainer::Model(read) = &study.trainer else { panic!("{text}") };
            assert_eq!((&study.name[..], read), ("mine-applied", &settings));
            assert_eq!((study.drawn().unwrap().len(), study.trials_max(), study.sees_results()), (0, 0, false));
        }
    }

    #[test]
    fn a_model_of_another_program_gives_other_bits_on_other_processors() {
        let foreign = ApplySettings { mapping: Mapping::Model("/models/net.ONNX".into()), ..settings() };
        for (settings, same) in [(settings(), true), (foreign, false)] {
            let study = parse(&settings.text("x"), "study.toml").unwrap();
            assert_eq!((study.is_deterministic(), settings.is_foreign()), (same, !same));
        }
    }

    #[test]
    fn values_are_divided_by_what_is_above_zero() {
        let text = settings().text("x").replace("255.0", "-1.0");
        let error = parse(&text, "study.toml").unwrap_err();
        assert!(error.to_string().contains("divide_by has to be a number above 0"), "{error}");
    }

    #[test]
    fn a_table_that_trains_something_beside_it_is_refused() {
        let text = format!("{}[training]\nepochs = 1\n", settings().text("x"));
        let error = parse(&text, "study.toml").unwrap_err();
        assert!(error.to_string().contains("[training] trains one"), "{error}");
    }

    #[test]
    fn a_program_has_keys_that_no_model_has_and_the_other_way_round() {
        let rows = [
            ("model = 'm'\nfiles = ['a']", "`files` belongs to a program"),
            ("", "has no `model`"),
            ("program = ['x']\nmodel = 'm'", "`model` and `program` exclude each other"),
            ("program = ['x']\nlabels = 'y'", "`labels` belongs to a model"),
            ("program = []", "`program` has 0 words"),
            ("program = ['x', '${seed}']", "names something that only a trial has"),
            ("program = ['x']\nfiles = ['../x']", "not below the folder where it starts"),
            ("program = ['x']\nbatch_rows = 0", "batch_rows"),
        ];
        for (keys, fragment) in rows {
            let text = format!("name = 'a'\n[apply]\ninput = ['/i']\noutput = '/o'\n{keys}\n");
            let error = parse(&text, "study.toml").unwrap_err();
            assert!(error.to_string().contains(fragment), "{keys}: {error}");
        }
    }
}
