//! What the README files say, against what is so: commands, outputs, paths, dependencies, the files of a run.

#![expect(clippy::unwrap_used, reason = "what the tests share fails as they do")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const BROADSWEEP: &str = env!("CARGO_BIN_EXE_broadsweep-under-test");
const PAGES: [&str; 5] = [
    "README.md",
    "examples/README.md",
    "examples/any-program/README.md",
    "examples/mnist/README.md",
    "deploy/README.md",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The fenced blocks of a page: language and text.
fn blocks(page: &str) -> Vec<(String, String)> {
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if let Some(language) = line.strip_prefix("```") {
            let text: Vec<_> = lines.by_ref().take_while(|line| *line != "```").collect();
            blocks.push((language.to_owned(), text.join("\n")));
        }
    }
    blocks
}

/// The lines below the heading `## title`, up to the next heading of its rank.
fn section<'a>(page: &'a str, title: &str) -> &'a str {
    let heading = format!("\n## {title}\n");
    let start = page.find(&heading).unwrap_or_else(|| panic!("there is no section {title:?}")) + heading.len();
    let rest = &page[start..];
    &rest[..rest.find("\n## ").unwrap_or(rest.len())]
}

/// What stands between backticks in the first cells of a section's table.
fn first_cells(section: &str) -> Vec<String> {
    let rows = section.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    rows.flat_map(|cell| cell.split('`').skip(1).step_by(2)).map(str::to_owned).collect()
}

/// A command of this project that stands in a page, and the output that stands below it.
struct Shown {
    page: &'static str,
    line: String,
    arguments: Vec<String>,
    output: String,
}

/// Lines that start `broadsweep`, or `cargo run` up to its `--`, with or without a prompt.
fn shown_commands() -> Vec<Shown> {
    let mut all = Vec::new();
    for page in PAGES {
        for (language, text) in blocks(&read(page)) {
            if !["sh", "console"].contains(&language.as_str()) {
                continue;
            }
            let text = text.replace("\\\n", " ");
            for (number, line) in text.lines().enumerate() {
                let command = line.strip_prefix("$ ").unwrap_or(line);
                let command = command.split(" #").next().unwrap(); // a comment
                let own = command.strip_prefix("broadsweep ").or_else(|| {
                    command.strip_prefix("cargo run ").and_then(|flags| flags.split_once("-- ")).map(|(_, own)| own)
                });
                let Some(own) = own else { continue };
                let output = text.lines().skip(number + 1).take_while(|line| !line.starts_with("$ "));
                all.push(Shown {
                    page,
                    line: line.to_owned(),
                    arguments: own.split_whitespace().map(str::to_owned).collect(),
                    output: output.collect::<Vec<_>>().join("\n"),
                });
            }
        }
    }
    all
}

fn broadsweep<A: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = A>) -> Output {
    Command::new(BROADSWEEP).args(arguments).current_dir(root()).output().unwrap()
}

#[test]
fn every_command_in_the_pages_parses_and_names_a_study_that_exists() {
    let commands = shown_commands();
    assert!(commands.len() >= 10, "only {} commands were found", commands.len());
    for Shown { page, line, arguments, .. } in commands {
        // `--help` at the end: what stands before it is parsed, and nothing is done.
        let parsed = broadsweep(arguments.iter().map(String::as_str).chain(["--help"]));
        assert!(parsed.status.success(), "{page}: {line}\n{}", String::from_utf8_lossy(&parsed.stderr));
        for study in arguments.iter().filter(|argument| argument.rsplit('.').next() == Some("toml")) {
            assert!(root().join(study).is_file(), "{page}: {line}: there is no {study}");
        }
    }
}

/// What `check` prints, but for the time, which other machines measure otherwise.
fn without_measured_time(printed: &str) -> Vec<&str> {
    let is_measured = |line: &str| line.starts_with("  time         about ") && line.contains(" GFLOP/s that ");
    printed.trim_end().lines().map(|line| if is_measured(line) { "a measured time" } else { line }).collect()
}

#[test]
fn check_prints_what_the_pages_show() {
    let checks =
        shown_commands().into_iter().filter(|shown| shown.arguments[0] == "check" && !shown.output.is_empty());
    let mut checked = 0;
    for Shown { page, line, arguments, output } in checks {
        let printed = broadsweep(&arguments);
        let printed = String::from_utf8(printed.stdout).unwrap();
        assert_eq!(without_measured_time(&printed), without_measured_time(&output), "{page}: {line}");
        checked += 1;
    }
    assert!(checked > 0);
}

#[test]
fn the_two_commands_stand_in_the_readme() {
    let readme = read("README.md");
    let shown: Vec<_> = blocks(&readme).into_iter().filter(|(language, _)| language == "sh").collect();
    let first = &shown[0].1;
    let commands: Vec<_> = first.lines().map(|line| line.split('#').next().unwrap().trim()).collect();
    assert_eq!(commands, ["cargo run --release -- tune examples/mnist/quick.toml", "cargo test --workspace"]);
}

#[test]
fn the_annotated_study_is_one() {
    let readme = read("README.md");
    let (_, study) = blocks(&readme).into_iter().find(|(language, _)| language == "toml").unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(root().join("examples/mnist/data"), folder.path().join("data")).unwrap();
    let path = folder.path().join("study.toml");
    fs::write(&path, study).unwrap();
    let checked = broadsweep(["check", path.to_str().unwrap()]);
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}

#[test]
fn every_place_that_the_readme_names_exists() {
    let readme = read("README.md");
    let places = first_cells(section(&readme, "Where is what"));
    assert!(places.len() > 20, "only {} places were found", places.len());
    for place in places {
        assert!(root().join(&place).exists(), "there is no {place}");
    }
}

#[test]
fn every_file_that_the_walks_name_exists() {
    let readme = read("README.md");
    for walk in ["The walk of a trial", "The walk of a block"] {
        let files: Vec<_> =
            section(&readme, walk).split('`').skip(1).step_by(2).filter(|name| name.contains('/')).collect();
        assert!(files.len() > 5, "{walk}: only {} files were found", files.len());
        for file in files {
            assert!(root().join(file).exists(), "{walk}: there is no {file}");
        }
    }
}

#[test]
fn every_link_to_a_file_leads_to_one() {
    for page in PAGES {
        let text = read(page);
        let folder = root().join(page);
        for rest in text.split("](").skip(1) {
            let target = rest.split(')').next().unwrap();
            if !target.starts_with("http") && !target.starts_with('#') {
                assert!(folder.parent().unwrap().join(target).exists(), "{page}: there is no {target}");
            }
        }
    }
}

/// The names in a Cargo.toml's table of dependencies.
fn dependencies<'a>(manifest: &'a str, table: &str) -> Vec<(&'a str, &'a str)> {
    let lines = manifest.lines().skip_while(|line| *line != format!("[{table}]")).skip(1);
    let entries = lines.take_while(|line| !line.starts_with('[')).filter(|line| !line.starts_with('#'));
    entries.filter_map(|line| line.split_once(" = ")).filter(|(name, _)| !name.starts_with("broadsweep-")).collect()
}

#[test]
fn the_readme_gives_a_reason_for_each_dependency_and_for_no_other() {
    let workspace = read("Cargo.toml");
    let declared: BTreeSet<_> =
        dependencies(&workspace, "workspace.dependencies").into_iter().map(|(name, _)| name.to_owned()).collect();
    let readme = read("README.md");
    let explained: BTreeSet<_> = first_cells(section(&readme, "Dependencies")).into_iter().collect();
    assert_eq!(explained, declared);
}

#[test]
fn every_dependency_is_declared_in_the_workspace_and_used_by_a_crate() {
    let workspace = read("Cargo.toml");
    let mut unused: BTreeSet<_> =
        dependencies(&workspace, "workspace.dependencies").into_iter().map(|(name, _)| name.to_owned()).collect();
    let manifest: toml::Table = workspace.parse().unwrap();
    for member in manifest["workspace"]["members"].as_array().unwrap().iter().filter_map(toml::Value::as_str) {
        let manifest = read(&format!("{member}/Cargo.toml"));
        for table in ["dependencies", "build-dependencies", "dev-dependencies"] {
            for (name, source) in dependencies(&manifest, table) {
                let shared = name.strip_suffix(".workspace").or(source.contains("workspace = true").then_some(name));
                unused.remove(shared.unwrap_or_else(|| panic!("{member}: {name} is its own")));
            }
        }
    }
    assert!(unused.is_empty(), "no crate uses {unused:?}");
}

/// The files below `folder`, by their paths from it.
fn files(folder: &Path, below: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder.join(below)).unwrap() {
        let entry = entry.unwrap();
        let path = below.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            files(folder, &path, found);
        } else {
            found.insert(path.to_str().unwrap().to_owned());
        }
    }
}

#[test]
fn a_run_leaves_the_files_that_the_readme_names() {
    let folder = tempfile::tempdir().unwrap();
    let (out, cache) = (folder.path().join("run"), folder.path().join("cache"));
    let ran = Command::new(BROADSWEEP)
        .args(["tune", "tests/studies/tiny.toml", "--local", "1x2", "--out"])
        .arg(&out)
        .arg("--cache-dir")
        .arg(&cache)
        .current_dir(root())
        .output()
        .unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));

    let readme = read("README.md");
    let named: BTreeSet<_> = first_cells(section(&readme, "What a run leaves")).into_iter().collect();
    let mut left = BTreeSet::new();
    files(&out, Path::new(""), &mut left);
    // Which trials' weights are kept depends on the study.
    let by_trial = |name: String| if name.starts_with("weights/") { "weights/TRIAL".to_owned() } else { name };
    let left: BTreeSet<_> = left.into_iter().map(by_trial).collect();
    assert_eq!(left, named);
}
