//! How a sweep calls its program: W&B's macros, as far as ours are not the same.

use super::space::Parameter;
use super::yaml::{Node, Yaml};
use super::{ImportError, Notes};

/// What W&B runs where a sweep has no `command`.
const DEFAULT: [&str; 4] = ["${env}", "${interpreter}", "${program}", "${args}"];
/// What W&B calls Python.
const INTERPRETER: &str = "python";

/// The words of the command, and the program's file below the sweep's folder.
pub(super) struct Command {
    pub(super) words: Vec<String>,
    pub(super) file: Option<String>,
}

pub(super) fn read(sweep: &Node, parameters: &[Parameter], notes: &mut Notes) -> Result<Command, ImportError> {
    let program_node = sweep.get("program");
    let program = program_node.and_then(Node::text);
    let file = program_node.zip(program).and_then(|(node, program)| sent(node, program, notes));
    let mut reader = Reader { program, is_sent: file.is_some(), parameters, notes };
    let mut words = Vec::new();
    match sweep.get("command") {
        None => {
            let node = program_node.unwrap_or(sweep);
            for word in DEFAULT {
                words.extend(reader.word(node, word)?);
            }
        }
        Some(command) => {
            let written = if let Yaml::Text(line) = &command.value {
                let text = "`command` is one text and is cut at its spaces: no shell reads it";
                reader.notes.add(command, text);
                line.split_whitespace().map(|word| (command, word.to_owned())).collect()
            } else {
                command.elements().iter().map(|word| (word, word_text(word))).collect::<Vec<_>>()
            };
            for (node, word) in written {
                words.extend(reader.word(node, &word)?);
            }
        }
    }
    if words.is_empty() {
        return Err(sweep.error("the sweep has no `command` and no `program`"));
    }
    Ok(Command { words, file })
}

/// The program as a file of the study, if it can be one.
fn sent(node: &Node, program: &str, notes: &mut Notes) -> Option<String> {
    let inner = program.trim_start_matches("./");
    let is_below = !inner.starts_with('/') && !inner.split('/').any(|part| part == ".." || part.is_empty());
    if !is_below {
        let text =
            format!("`{program}` is not below the study's folder: it is not sent, and has to be on each executor");
        notes.add(node, text);
        return None;
    }
    let text =
        format!("`{inner}` is sent to the executors, and nothing else: add to `files` what it imports and reads");
    notes.add(node, text);
    Some(inner.to_owned())
}

/// What a word of a list is, whatever YAML takes it for.
fn word_text(node: &Node) -> String {
    match &node.value {
        Yaml::Text(text) => text.clone(),
        Yaml::Integer(integer) => integer.to_string(),
        Yaml::Real(real) => real.to_string(),
        Yaml::Flag(flag) => flag.to_string(),
        Yaml::Null | Yaml::List(_) | Yaml::Map(_) => String::new(),
    }
}

struct Reader<'a> {
    program: Option<&'a str>,
    is_sent: bool,
    parameters: &'a [Parameter],
    notes: &'a mut Notes,
}

impl Reader<'_> {
    /// The words that stand for one of W&B's.
    fn word(&mut self, node: &Node, word: &str) -> Result<Vec<String>, ImportError> {
        match word {
            "${env}" => Ok(Vec::new()), // no shell, and so nothing to be found by it
            "${args}" => Ok(vec![word.to_owned()]),
            "${args_no_boolean_flags}" => {
                let text =
                    "`${args_no_boolean_flags}` becomes `${args}`: a flag is told with its value, as all others are";
                self.notes.add(node, text);
                Ok(vec!["${args}".to_owned()])
            }
            "${args_no_hyphens}" => {
                let all = self.parameters.iter().map(|parameter| format!("{0}=${{{0}}}", parameter.name));
                Ok(all.collect())
            }
            _ => self.pieces(node, word).map(|word| vec![word]),
        }
    }

    fn pieces(&mut self, node: &Node, word: &str) -> Result<String, ImportError> {
        let (mut read, mut rest) = (String::new(), word);
        while let Some(place) = rest.find("${") {
            let Some(length) = rest[place..].find('}') else { break };
            let (name, behind) = (&rest[place + 2..place + length], &rest[place + length + 1..]);
            read += &rest[..place].replace('$', "$$");
            read += &self.reference(node, name)?;
            rest = behind;
        }
        Ok(read + &rest.replace('$', "$$"))
    }

    fn reference(&mut self, node: &Node, name: &str) -> Result<String, ImportError> {
        Ok(match name {
            "interpreter" => INTERPRETER.to_owned(),
            "program" => {
                let program = self.program.ok_or_else(|| node.error("the sweep has no `program`"))?;
                // What is sent lies in the folder in which the program runs, too.
                let program = if self.is_sent { program.trim_start_matches("./") } else { program };
                program.replace('$', "$$")
            }
            "env" => "/usr/bin/env".to_owned(),
            "args_json_file" => "${args_json_file}".to_owned(),
            _ if name.starts_with("envvar:") => format!("${{{name}}}"),
            "args_json" => {
                let text = "`${args_json}` becomes `${args_json_file}`: the program is given the name of a file with the JSON";
                self.notes.add(node, text);
                "${args_json_file}".to_owned()
            }
            _ => {
                self.notes.add(node, format!("`${{{name}}}` is no macro of sweeps and stays as it is"));
                format!("$${{{name}}}")
            }
        })
    }
}
