//! What messages say of flags: no message names one that its command does not have. The sources are read, so that a
//! message which nobody provokes is looked at too.

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory};

use super::Cli;

/// Whose messages the sources hold: those of a run are said by all commands that drive one.
const SOURCES: [(&str, &[&str]); 25] = [
    ("driver/src/command/tune.rs", &["tune"]),
    ("driver/src/command/resume.rs", &["resume"]),
    ("driver/src/command/scale.rs", &["scale"]),
    ("driver/src/command/series.rs", &["scale"]),
    ("driver/src/command/report.rs", &["report"]),
    ("driver/src/command/export.rs", &["export"]),
    ("driver/src/command/predict.rs", &["predict"]),
    ("driver/src/command/check.rs", &["check"]),
    ("driver/src/command/apply.rs", &["apply"]),
    ("driver/src/command/application.rs", &["apply"]),
    ("driver/src/command/mapped.rs", &["apply"]),
    ("driver/src/apply", &["apply"]),
    ("driver/src/model/foreign", &["apply"]),
    ("driver/src/command/import.rs", &["import"]),
    ("driver/src/command/forecast.rs", &["forecast"]),
    ("driver/src/command/cache.rs", &["cache list", "cache clear"]),
    ("driver/src/command/executors.rs", &["tune", "resume"]),
    // `--out` of all that write a new folder.
    ("driver/src/command/mod.rs", &["tune", "scale", "report"]),
    ("driver/src/cluster/nodes.rs", &["tune", "resume", "scale"]),
    ("driver/src/cluster/local.rs", &["executor"]),
    ("driver/src/command/load.rs", &["tune", "check"]),
    ("driver/src/study/changes.rs", &["tune", "check"]),
    ("driver/src", &["tune", "resume", "scale"]),
    ("executor/src/trainers/program/mapper", &["apply"]),
    ("executor/src", &["executor"]),
];

/// What an executor says to a driver is for the flags of that one.
const FLAGS_OF_DRIVERS: [&str; 1] = ["--take-over"];
/// What this program writes for itself, and nobody reads.
const HIDDEN: [&str; 1] = ["--ends-when-orphaned"];
/// Of `cargo build`.
const OF_CARGO: [&str; 2] = ["--features", "--release"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn sources(path: &Path, found: &mut Vec<PathBuf>) {
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            sources(&entry.unwrap().path(), found);
        }
    } else if path.extension().is_some_and(|extension| extension == "rs")
        && !path.file_stem().unwrap().to_str().unwrap().ends_with("tests")
        && !path.components().any(|part| part.as_os_str() == "tests")
        && !path.ends_with("hint.rs")
    // whose commands are parsed there
    {
        found.push(path.to_owned());
    }
}

/// The code of a source without its comments and tests, its texts in one line each.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let code = text.split("#[cfg(test)]").next().unwrap().lines().map(str::trim_start);
    let code: Vec<_> = code.filter(|line| !line.starts_with("//")).collect();
    code.join("\n").replace("\\\n", "")
}

/// The flags in a text, each with what stands before it.
fn flags(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.match_indices("--").filter_map(|(at, _)| {
        let rest = &text[at + 2..];
        let length = rest.find(|character: char| !character.is_ascii_lowercase() && character != '-');
        let length = length.unwrap_or(rest.len());
        (rest.starts_with(|first: char| first.is_ascii_lowercase()) && !text[..at].ends_with('-'))
            .then(|| (&text[..at], &text[at..at + 2 + length]))
    })
}

fn cli() -> Command {
    let mut cli = Cli::command();
    cli.build();
    cli
}

/// Whether the command of these words takes the flag.
fn takes(command: &str, flag: &str) -> bool {
    let cli = cli();
    let command = command.split(' ').try_fold(&cli, |command, word| command.find_subcommand(word));
    let command = command.expect("there is such a command");
    command.get_arguments().any(|argument| argument.get_long() == flag.strip_prefix("--"))
}

/// The command that is written out before a flag, as in `` `broadsweep scale --resume ``.
fn written_out(before: &str) -> Option<String> {
    let own = &before[before.rfind("broadsweep ")? + "broadsweep ".len()..];
    if own.contains(['`', '"', '\n', '.', ';']) {
        return None; // that one has ended
    }
    let cli = cli();
    let mut command = &cli;
    let known =
        own.split(' ').take_while(|word| command.find_subcommand(word).map(|found| command = found).is_some());
    let words: Vec<_> = known.collect();
    (!words.is_empty()).then(|| words.join(" "))
}

#[test]
fn no_message_names_a_flag_that_its_command_does_not_have() {
    let mut seen = Vec::new();
    let mut wrong = Vec::new();
    let mut checked = 0;
    for (place, commands) in SOURCES {
        let mut found = Vec::new();
        sources(&root().join(place), &mut found);
        for path in found.into_iter().filter(|path| !seen.contains(path)).collect::<Vec<_>>() {
            let code = code(&path);
            for (before, flag) in flags(&code).filter(|(_, flag)| !HIDDEN.contains(flag) && !OF_CARGO.contains(flag))
            {
                let is_of_drivers = commands == ["executor"] && FLAGS_OF_DRIVERS.contains(&flag);
                let of_drivers = ["tune", "resume", "scale"].map(str::to_owned).to_vec();
                let commands = match written_out(before) {
                    Some(command) => vec![command],
                    None if is_of_drivers => of_drivers,
                    None => commands.iter().map(|command| (*command).to_owned()).collect(),
                };
                let lacking = commands.iter().filter(|command| !takes(command, flag));
                wrong.extend(lacking.map(|command| format!("{}: {command} has no {flag}", path.display())));
                checked += 1;
            }
            seen.push(path);
        }
    }
    assert!(checked > 20, "only {checked} flags were found");
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn a_flag_is_found_with_the_command_that_it_belongs_to() {
    let text =
        "go on with `broadsweep scale --resume {path} --take-over` or --out; a -- b --- c; broadsweep tune. --local";
    let found: Vec<_> = flags(text).map(|(before, flag)| (written_out(before), flag)).collect();
    let scale = || Some("scale".to_owned());
    assert_eq!(found, [(scale(), "--resume"), (scale(), "--take-over"), (None, "--out"), (None, "--local")]);
    assert!(takes("scale", "--resume") && takes("cache list", "--cache-dir") && !takes("report", "--resume"));
}
