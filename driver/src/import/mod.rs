//! A sweep file of W&B's, turned into a study: what both know is carried over, and of all else it is said what became
//! of it. Pure: files are read and written elsewhere.
//!
//! | module | holds |
//! |---|---|
//! | `yaml` | the file as a tree whose values know their line |
//! | `command` | how the program is called |
//! | `space` | the parameters and their values |

mod command;
mod space;
#[cfg(test)]
mod tests;
mod yaml;

use std::fmt::Write as _;

use toml::Value as Toml;

use self::space::Parameter;
use self::yaml::{Node, Yaml};

/// Trials of a random search where the sweep names no number: an agent would go on without end.
const TRIALS_DEFAULT: u64 = 50;
/// Keys that are read, or of which there is nothing to say.
const KNOWN_KEYS: [&str; 9] =
    ["program", "command", "method", "metric", "parameters", "name", "description", "run_cap", "early_terminate"];

/// A study, and what was left out of it or changed.
#[derive(Clone, Debug)]
pub struct Imported {
    /// The study file's text.
    pub study: String,
    /// What whoever wrote the sweep has to know, in the order of the file.
    pub notes: Vec<Note>,
}

/// Something that is not in the study as it is in the sweep.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Note {
    /// Line of the sweep file, counted from 1.
    pub line: usize,
    /// A sentence.
    pub text: String,
}

/// Why a file is no sweep.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ImportError {
    /// Line of the sweep file, counted from 1.
    pub line: usize,
    message: String,
}

/// What is noted while the file is read.
#[derive(Default)]
struct Notes(Vec<Note>);

impl Notes {
    fn add(&mut self, node: &Node, text: impl Into<String>) {
        self.0.push(Note { line: node.line, text: text.into() });
    }
}

/// Turns a sweep into a study. `file` is what the study calls it, without its folder.
///
/// # Errors
/// [`ImportError`], if the file is no YAML, or lacks what no study can do without.
pub fn sweep(text: &str, file: &str) -> Result<Imported, ImportError> {
    let sweep = yaml::read(text)?;
    if sweep.entries().is_empty() {
        return Err(sweep.error("this is no sweep: it has neither a `program` nor `parameters`"));
    }
    let mut notes = Notes::default();
    for (key, node) in sweep.entries().iter().filter(|(key, _)| !KNOWN_KEYS.contains(&&key[..])) {
        notes.add(node, format!("`{key}` is left out: a study has nothing like it"));
    }
    let parameters = sweep.get("parameters").ok_or_else(|| sweep.error("the sweep has no `parameters`"))?;
    let parameters = space::read(parameters, &mut notes)?;
    let command = command::read(&sweep, &parameters, &mut notes)?;
    let objective = read_metric(&sweep, &mut notes)?;
    let method = read_method(&sweep, &parameters, &mut notes)?;
    if let Some(early) = sweep.get("early_terminate") {
        notes.add(early, "`early_terminate` is left out: every trial is trained to its end");
    }
    notes.0.sort();
    let read = Read { name: name_of(&sweep, file), command, objective, method, parameters };
    Ok(Imported { study: write(file, &read), notes: notes.0 })
}

/// The metric's name, and whether the larger is the better.
fn read_metric(sweep: &Node, notes: &mut Notes) -> Result<Option<(String, bool)>, ImportError> {
    let Some(metric) = sweep.get("metric") else { return Ok(None) };
    let name = metric.get("name").and_then(Node::text);
    let name = name.ok_or_else(|| metric.error("`metric` has no `name`"))?.to_owned();
    let goal = metric.get("goal");
    let larger = match goal.map(Node::text) {
        None | Some(Some("minimize")) => false,
        Some(Some("maximize")) => true,
        Some(_) => return Err(metric.error("the `goal` of `metric` is neither `minimize` nor `maximize`")),
    };
    for (key, node) in metric.entries().iter().filter(|(key, _)| key != "name" && key != "goal") {
        notes.add(node, format!("`{key}` of `metric` is left out: a study has nothing like it"));
    }
    let how = format!(
        "the program has to say `{name}` itself, since `wandb.log` is not listened to: print a line `{name}=0.5`, or \
         write the line {{\"{name}\": 0.5}} to the file that BROADSWEEP_METRICS names"
    );
    notes.add(metric, how);
    Ok(Some((name, larger)))
}

/// How configurations are picked.
enum Method {
    Grid,
    Random { trials: u64 },
}

fn read_method(sweep: &Node, parameters: &[Parameter], notes: &mut Notes) -> Result<Method, ImportError> {
    let cap_node = sweep.get("run_cap");
    let cap = match cap_node.map(|node| (node, &node.value)) {
        None => None,
        Some((_, Yaml::Integer(cap))) if *cap > 0 => Some(*cap as u64),
        Some((node, _)) => return Err(node.error("`run_cap` is no whole number above 0")),
    };
    let size = space::size(parameters);
    // A random search of a small space would ask for more than there is.
    let at_most = |trials: u64| size.map_or(trials, |size| size.min(trials));
    let node = sweep.get("method").unwrap_or(sweep);
    match sweep.get("method").map_or(Some("random"), Node::text) {
        Some("grid") => Ok(match (parameters.iter().find(|parameter| parameter.is_continuous()), cap) {
            (Some(open), _) => {
                let trials = at_most(cap.unwrap_or(TRIALS_DEFAULT));
                let text =
                    format!("a grid cannot try all of `{}`: {trials} configurations are drawn instead", open.name);
                notes.add(node, text);
                Method::Random { trials }
            }
            (None, Some(cap)) if size.is_none_or(|size| cap < size) => {
                let text =
                    format!("`run_cap` is less than the grid has: {cap} of its points are drawn, not its first");
                notes.add(cap_node.unwrap_or(node), text);
                Method::Random { trials: cap }
            }
            (None, _) => Method::Grid,
        }),
        Some(method @ ("random" | "bayes")) => {
            if method == "bayes" {
                notes.add(node, "`bayes` becomes a random search: configurations do not depend on earlier results");
            }
            if cap.is_none() {
                let text = format!("there is no `run_cap`, and a study ends: it draws {}", at_most(TRIALS_DEFAULT));
                notes.add(node, text);
            }
            Ok(Method::Random { trials: at_most(cap.unwrap_or(TRIALS_DEFAULT)) })
        }
        _ => Err(node.error("`method` is none of `grid`, `random` and `bayes`")),
    }
}

/// The sweep's name, or its file's, as a study may be called.
fn name_of(sweep: &Node, file: &str) -> String {
    let given = sweep.get("name").and_then(Node::text).unwrap_or_else(|| file.split('.').next().unwrap_or_default());
    let allowed =
        |character: char| if character.is_ascii_alphanumeric() || character == '_' { character } else { '-' };
    let name: String = given.chars().map(allowed).take(64).collect();
    let name = name.trim_matches('-');
    if name.is_empty() { "sweep".to_owned() } else { name.to_owned() }
}

/// All that a study is written from.
struct Read {
    name: String,
    command: command::Command,
    /// The metric's name, and whether the larger is the better.
    objective: Option<(String, bool)>,
    method: Method,
    parameters: Vec<Parameter>,
}

fn write(file: &str, read: &Read) -> String {
    let Read { name, command, objective, method, parameters } = read;
    let list = |words: &[String]| Toml::from(words.to_vec()).to_string();
    let shown: String = file.chars().map(|character| if character.is_control() { '?' } else { character }).collect();
    let mut study = format!("# From {shown}, by `broadsweep import`.\nname = {}\n", Toml::from(&name[..]));
    let _ = write!(study, "\n[trainer]\nkind = \"program\"\ncommand = {}\n", list(&command.words));
    if parameters.iter().any(|parameter| parameter.name == "epochs" && parameter.counts()) {
        study += "epochs = \"$epochs\"\n";
    }
    study += "printed = [\"assignments\"] # lines as `loss=0.5`; see also BROADSWEEP_METRICS\n";
    if let Some(program) = &command.file {
        let files = list(std::slice::from_ref(program));
        let _ = write!(study, "\n[data]\nfiles = {files} # add what it imports and reads\n");
    }
    study += "\n[search]\n";
    let _ = match method {
        Method::Grid => writeln!(study, "sampler = \"grid\""),
        Method::Random { trials } => writeln!(study, "sampler = \"random\"\ntrials = {trials}"),
    };
    if let Some((metric, larger)) = objective {
        let direction = if *larger { "maximize" } else { "minimize" };
        let _ = write!(study, "objective = {}\ndirection = \"{direction}\"\n", Toml::from(&metric[..]));
    }
    study += "\n[search.space]\n";
    let is_grid = matches!(method, Method::Grid);
    for parameter in parameters {
        let _ = writeln!(study, "{} = {}", parameter.name, parameter.domain_text(is_grid));
    }
    study
}
