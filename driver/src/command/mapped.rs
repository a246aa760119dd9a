//! What a run starts from that maps rows through a program, and the columns of its output, which the program chooses.

use std::fs;
use std::path::Path;

use anyhow::{Context, anyhow};
use broadsweep_common::application::{Application, Applied, KeptColumn, KeptKind, Wanted};
use broadsweep_common::codec;
use broadsweep_common::ids::Digest;
use broadsweep_common::mapper::MapperDescription;
use broadsweep_common::printable::printable;
use broadsweep_common::task::{StudyDescription, TrainerDescription};
use broadsweep_data::destination::Destination;
use broadsweep_data::files::Archive;
use broadsweep_data::partition::{PlainInput, cut_with, look};
use broadsweep_data::{self as data, Loaded};
use broadsweep_objects::input::ObjectInput;
use clap::Args;

use super::Failure;
use super::application::{CUT, ToApply, check_size, placed_columns};
use super::load::Job;
use super::say::say;
use crate::study::{ApplySettings, BATCH_ROWS, MapperSettings, SILENT_S, SILENT_S_MAX, Study};
use crate::time_span::TimeSpan;

/// Characters of a column's name that are shown.
const SHOWN_MAX: usize = 80;

/// The flags of a program that rows are mapped through.
#[derive(Args)]
pub(super) struct ProgramFlags {
    /// Map the rows through a program instead of a model, as 'python3 map.py': it stays up, and gets and gives Arrow batches
    /// (examples/any-program). Files of this folder that the command names are sent along
    #[arg(long, value_name = "COMMAND", conflicts_with_all = ["labels", "no_probabilities", "kernel"])]
    program: Option<String>,

    /// More files and folders for the program, below this folder. May be given several times
    #[arg(long, value_name = "FILE|DIR", num_args = 1.., requires = "program")]
    files: Vec<String>,

    /// Look for the program in the `bin` of this folder first: a virtual environment, or one of conda, on each node
    #[arg(long, value_name = "DIR", requires = "program")]
    env_prefix: Option<String>,

    /// Columns of a table that the program gets [default: all]
    #[arg(long, value_name = "COLUMN,..", value_delimiter = ',', requires = "program")]
    columns: Vec<String>,

    /// Rows that the program gets together, at most
    #[arg(long, value_name = "N", default_value_t = BATCH_ROWS, requires = "program", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    batch_rows: u32,

    /// End the program, and start it anew, when for so long it took no rows and gave no answers [default: 10min]
    #[arg(long, value_name = "TIME", requires = "program")]
    silent_max: Option<TimeSpan>,
}

impl ProgramFlags {
    /// What they ask for, if it is a program.
    pub(super) fn settings(&self) -> Result<Option<MapperSettings>, Failure> {
        let Some(program) = &self.program else { return Ok(None) };
        let command = words_of(program).map_err(|reason| Failure::wrong_use(anyhow!("--program: {reason}")))?;
        let named = |name: &str| name.trim_end_matches('/').to_owned();
        let mut files: Vec<_> = self.files.iter().map(|name| named(name)).collect();
        for word in &command {
            let path = Path::new(word);
            let is_here = path.is_relative() && !word.starts_with('.') && path.exists();
            if is_here && !files.contains(&named(word)) {
                files.push(named(word));
            }
        }
        let silent_s = self.silent_max.map_or(SILENT_S, |span| span.0.as_secs().clamp(1, SILENT_S_MAX));
        Ok(Some(MapperSettings {
            command,
            files,
            env_prefix: self.env_prefix.clone(),
            columns: self.columns.clone(),
            batch_rows: self.batch_rows,
            silent_s,
        }))
    }
}

/// The words of a command, as a shell would tell them apart: by blanks, but for those between quotes.
fn words_of(command: &str) -> Result<Vec<String>, &'static str> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for character in command.chars() {
        match (quote, character) {
            (Some(open), _) if open == character => quote = None,
            (None, '\'' | '"') => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (None, blank) if blank.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(character),
        }
    }
    words.extend(word);
    match (quote, words.is_empty()) {
        (Some(_), _) => Err("a quote is not closed"),
        (None, true) => Err("it names no program"),
        (None, false) => Ok(words),
    }
}

/// What a run is called that maps rows through this program: as the first of its files, or as the program.
pub(super) fn name_of(program: &MapperSettings) -> String {
    let named = program.files.first().or(program.command.first()).map_or("", String::as_str);
    let stem = Path::new(named).file_stem().unwrap_or_default().to_string_lossy();
    let is_plain = |character: char| character.is_ascii_alphanumeric() || character == '_' || character == '-';
    let name: String = stem.chars().map(|character| if is_plain(character) { character } else { '-' }).collect();
    let name = name.trim_matches('-');
    if name.is_empty() { "program".to_owned() } else { name.to_owned() }
}

/// Packs the program's files, and cuts the input, unless the run in `begun` has done so.
pub(super) fn prepare(
    study: Study,
    (settings, program): (&ApplySettings, &MapperSettings),
    (folder, begun): (&Path, Option<&Path>),
    destination: &Destination,
) -> Result<Job, Failure> {
    let files = Archive::of(&program.files, folder).map_err(Failure::wrong_use)?;
    let Loaded { header, data, remarks, .. } = data::of_files(&files, destination).map_err(Failure::wrong_use)?;
    for remark in remarks {
        say(format_args!("note: {remark}"));
    }
    let mut description: MapperDescription = match begun.map(|run| fs::read(run.join(CUT))) {
        Some(Ok(bytes)) => codec::decode(&bytes).context("the file `cut` of the run is damaged; start it again")?,
        Some(Err(_)) | None => cut_input(settings, program)?,
    };
    program.describe(&mut description).map_err(|reason| Failure::wrong_use(anyhow!("the program: {reason}")))?;
    let bytes = codec::encode(&description)?;
    let model = Digest::of(&[data.manifest.digest().0, Digest::of(&bytes).0].concat()).to_string();
    let to_apply = ToApply {
        settings: settings.clone(),
        application: description.application.clone(),
        schema: description.schema.clone(),
        model,
        cut: bytes,
        beside: Some(description.passed_on().cloned().collect()),
        has_output: true,
    };
    let described =
        StudyDescription { trainer: TrainerDescription::Mapper(description), ..study.description(Vec::new()) };
    check_size(&described, settings)?;
    Ok(Job {
        study,
        description: described,
        trials: Vec::new(),
        header,
        data,
        prepared: None,
        to_apply: Some(Box::new(to_apply)),
        files: files.files(),
    })
}

/// Cuts rows as they are. What the program is told is added later.
fn cut_input(settings: &ApplySettings, program: &MapperSettings) -> Result<MapperDescription, Failure> {
    let tell = |what: &str| say(format_args!("{what}"));
    let stores = ObjectInput::new(&tell);
    let PlainInput { schema, columns, values } = look(&settings.input, &stores).map_err(Failure::wrong_use)?;
    if let (Some(_), Some(column)) = (values, program.columns.first().or(settings.wanted.keep.first())) {
        return Err(Failure::wrong_use(anyhow!(
            "the input is made of arrays or pictures, which have no columns; a column `{}` can be named only of tables",
            printable(column, SHOWN_MAX)
        )));
    }
    let given = if program.columns.is_empty() { columns } else { program.columns.clone() };
    let mut read = given.clone();
    read.extend(settings.wanted.keep.iter().filter(|name| !given.contains(name)).cloned());
    let wanted = Wanted { keep: read, labels: None };
    let rows_max = settings.partition_rows;
    let cut = cut_with(&schema, &settings.input, &wanted, rows_max, &stores).map_err(Failure::wrong_use)?;
    cut.remarks.iter().for_each(|remark| say(format_args!("note: {remark}")));
    let places = |names: &[String]| {
        let of = |name: &String| wanted.keep.iter().position(|known| known == name).map(|place| place as u32);
        names.iter().filter_map(of).collect::<Vec<_>>()
    };
    let (given, passed_on) = (places(&given), places(&settings.wanted.keep));
    let (kept, given, passed_on) = if values.is_none() {
        (cut.kept, given, passed_on)
    } else {
        let placed = placed_columns(&cut.files, &cut.partitions);
        let all: Vec<_> = (0..placed.len() as u32).collect();
        (placed, all.clone(), all)
    };
    let application = Application { files: cut.files, partitions: cut.partitions, kept, wanted, ..settings.uncut() };
    Ok(MapperDescription {
        command: Vec::new(),
        env_prefix: None,
        batch_rows: 0,
        silent_ms: 0,
        disk_bytes: 0,
        schema,
        values,
        given,
        passed_on,
        application,
    })
}

/// Answers whose columns differ between partitions: no output can have both, and to go on would not change them.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct UnlikeAnswers(String);

/// The columns that a program's answers have, which are to be the same in all partitions.
#[derive(Default)]
pub(super) struct Answered {
    first: Option<(usize, Vec<KeptColumn>)>,
}

impl Answered {
    /// Takes in what an executor told of a partition, of this file.
    ///
    /// # Errors
    /// [`UnlikeAnswers`], where it has other columns than the first one.
    pub(super) fn add(&mut self, partition: usize, of: &str, told: &Applied) -> Result<(), UnlikeAnswers> {
        let Some((first, columns)) = &self.first else {
            self.first = Some((partition, told.columns.clone()));
            return Ok(());
        };
        if *columns == told.columns {
            return Ok(());
        }
        let unlike = columns.iter().zip(&told.columns).find(|(one, other)| one != other);
        let what = match unlike {
            Some((one, other)) if one.name == other.name => {
                let name = printable(&one.name, SHOWN_MAX);
                format!("\"{name}\" is {} here and {} there", kind_text(other.kind), kind_text(one.kind))
            }
            Some((one, other)) => {
                let [here, there] = [other, one].map(|column| printable(&column.name, SHOWN_MAX));
                format!("here is \"{here}\", and \"{there}\" there")
            }
            None => format!("{} here and {} there", told.columns.len(), columns.len()),
        };
        Err(UnlikeAnswers(format!(
            "partition {partition}, of {of}: its answers have other columns than those of partition {first}: {what}; have the \
             program answer the same columns, of the same types, whatever the rows, and apply it again"
        )))
    }

    /// All columns of the output, behind these.
    pub(super) fn behind(self, beside: &[KeptColumn]) -> Vec<KeptColumn> {
        let answered = self.first.map_or_else(Vec::new, |(_, columns)| columns);
        beside.iter().cloned().chain(answered).collect()
    }
}

fn kind_text(kind: KeptKind) -> &'static str {
    match kind {
        KeptKind::Text => "text",
        KeptKind::Integer => "whole numbers",
        KeptKind::Number => "numbers",
        KeptKind::Flag => "booleans",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_split_as_a_shell_does_it() {
        let rows: [(&str, Result<&[&str], _>); 6] = [
            ("python3 map.py", Ok(&["python3", "map.py"])),
            ("  a\t'b c' \"d 'e\"f ''", Ok(&["a", "b c", "d 'ef", ""])),
            ("a\\ b", Ok(&["a\\", "b"])),
            ("''", Ok(&[""])),
            (" ", Err("it names no program")),
            ("a 'b", Err("a quote is not closed")),
        ];
        for (command, words) in rows {
            let words = words.map(|words| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
            assert_eq!(words_of(command), words, "{command}");
        }
    }

    #[test]
    fn a_run_is_called_as_the_file_of_its_program() {
        let named = |command: &[&str], files: &[&str]| {
            let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
            let (command, files) = (texts(command), texts(files));
            let settings =
                MapperSettings { command, files, env_prefix: None, columns: Vec::new(), batch_rows: 1, silent_s: 1 };
            name_of(&settings)
        };
        assert_eq!(named(&["python3", "map.py"], &["lib/my map.py"]), "my-map");
        assert_eq!(named(&["/usr/bin/cat"], &[]), "cat");
        assert_eq!(named(&["ü"], &[]), "program");
    }

    #[test]
    fn columns_that_differ_between_partitions_are_named() {
        let columns = |named: &[(&str, KeptKind)]| {
            let column = |(name, kind): &(&str, KeptKind)| KeptColumn { name: (*name).to_owned(), kind: *kind };
            Applied { columns: named.iter().map(column).collect(), ..Applied::default() }
        };
        let first = [("a", KeptKind::Integer), ("b", KeptKind::Text)];
        let rows = [
            (vec![first[0], first[1]], Ok(())),
            (vec![("a", KeptKind::Number), first[1]], Err("\"a\" is numbers here and whole numbers there")),
            (vec![first[0], ("c\n", KeptKind::Text)], Err("here is \"c\\n\", and \"b\" there")),
            (vec![first[0]], Err("1 here and 2 there")),
        ];
        for (told, wanted) in rows {
            let mut answered = Answered::default();
            answered.add(3, "a.csv", &columns(&first)).unwrap();
            let added = answered.add(4, "b.csv", &columns(&told));
            match wanted {
                Ok(()) => assert_eq!(added, Ok(())),
                Err(what) => {
                    let UnlikeAnswers(error) = added.unwrap_err();
                    let is_named = error.starts_with("partition 4, of b.csv: ");
                    assert!(
                        is_named && error.contains("than those of partition 3") && error.contains(what),
                        "{error}"
                    );
                }
            }
            assert_eq!(answered.behind(&[]).len(), 2);
        }
    }
}
