//! The style that no lint knows: what each crate may depend on, which words stay out of which folder, how long a file
//! is, which names mean one thing.
//!
//! Each rule is a function of one manifest or one source file, so that it can be shown to catch what it is for. Code is
//! told from comments and texts by a small lexer, no parser: enough for words.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::{fs, io};

use toml::{Table, Value};

/// The crates in their folders, each with those of the workspace that it may depend on. One that is listed need not be
/// there.
const CRATES: [(&str, &[&str]); 14] = [
    ("common", &[]),
    ("executor/nn", &["common"]),
    ("executor/leash", &["common"]),
    ("executor/store", &["common"]),
    ("common/data", &["common", "store"]),
    ("common/objects", &["common", "data"]),
    ("common/onnx", &["common"]),
    ("driver/search", &["common"]),
    ("driver/scheduler", &["common"]),
    ("proto/identity", &[]),
    ("proto", &["common", "identity"]),
    ("executor", &["common", "data", "identity", "leash", "nn", "objects", "onnx", "proto", "store"]),
    (
        "driver",
        &["common", "data", "executor", "identity", "nn", "objects", "onnx", "proto", "scheduler", "search", "store"],
    ),
    ("tests", &["common", "data", "driver", "executor", "identity", "nn", "onnx", "proto", "scheduler", "search"]),
];

/// What their names begin with in manifests.
const PREFIX: &str = "broadsweep-";

/// Crates without tasks, wire and logs: by what they depend on, so that nothing of it can be imported.
const PURE_CRATES: [&str; 4] = ["common", "executor/nn", "driver/search", "driver/scheduler"];

/// And whatever is named after them, as `tokio-util` is.
const IMPURE_PACKAGES: [&str; 5] = ["tokio", "tonic", "tracing", "async-trait", "hyper"];

/// No IO, no clock, no thread, no order that differs from run to run.
const PURE_FOLDERS: [&str; 10] = [
    "common/src/",
    "driver/scheduler/src/",
    "driver/search/src/",
    "executor/nn/src/",
    "driver/src/study/",
    "driver/src/import/",
    "driver/src/ledger/",
    "driver/src/forecast/",
    "driver/src/report/",
    "driver/src/export/",
];

/// `fs` covers `std::fs` however it is imported. The first three are for folders of a crate that may have them.
const IMPURE_WORDS: [&str; 9] =
    ["tokio", "async", "tracing", "Instant", "SystemTime", "HashMap", "HashSet", "fs", "thread"];

/// Names of types that had several meanings. Each has one now, outside of tests.
const NAMES_OF_ONE_THING: [&str; 9] =
    ["Broadcast", "Fleet", "Kept", "Link", "News", "Pace", "Place", "Presence", "Standing"];

/// Names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 3] = ["utils", "helpers", "manager"];

/// Written in two parts, or this file would break its own rule.
const UNFINISHED_NOTES: [&str; 2] = [concat!("TO", "DO"), concat!("FIX", "ME")];

const LINES_MAX: usize = 450;

/// One source file: its path from the workspace's root, its text, and its code alone.
struct Source {
    path: String,
    text: String,
    code: String,
}

impl Source {
    fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned(), code: code_of(text) }
    }

    fn names(&self, word: &str) -> bool {
        words(&self.code).any(|found| found == word)
    }
}

type Rule = fn(&Source) -> Option<String>;

const RULES: [(&str, Rule); 5] = [
    ("a pure folder stays pure", impure),
    ("a file opens with its //! on line 1", unintroduced),
    ("a file is of one idea", too_long),
    ("nothing is left unfinished", unfinished),
    ("a file is named for what is in it", emptily_named),
];

fn impure(source: &Source) -> Option<String> {
    let pure = PURE_FOLDERS.iter().any(|folder| source.path.starts_with(folder));
    let word = IMPURE_WORDS.into_iter().find(|word| pure && source.names(word))?;
    Some(format!("names `{word}`"))
}

fn unintroduced(source: &Source) -> Option<String> {
    (!source.text.starts_with("//! ")).then(|| "does not open with `//! `".to_owned())
}

fn too_long(source: &Source) -> Option<String> {
    let lines = source.text.lines().count();
    (lines > LINES_MAX).then(|| format!("has {lines} lines; {LINES_MAX} are plenty"))
}

fn unfinished(source: &Source) -> Option<String> {
    let dense: String = source.code.split_whitespace().collect();
    let stub = ["todo!", "unimplemented!"].into_iter().find(|stub| dense.contains(stub));
    let note = UNFINISHED_NOTES.into_iter().find(|note| words(&source.text).any(|word| word == *note));
    stub.or(note).map(|found| format!("says `{found}`"))
}

fn emptily_named(source: &Source) -> Option<String> {
    let mut names = source.path.split('/').map(|part| part.trim_end_matches(".rs"));
    names.find(|name| EMPTY_NAMES.contains(name)).map(|name| format!("is called `{name}`"))
}

/// What is wrong with the dependencies of the crate in `folder`.
fn broken_manifest(folder: &str, manifest: &Table) -> Vec<String> {
    let Some((_, allowed)) = CRATES.iter().find(|(listed, _)| *listed == folder) else {
        return vec!["is not in the table of crates".to_owned()];
    };
    let backward = packages(manifest, &["dependencies", "build-dependencies", "dev-dependencies"])
        .into_iter()
        .filter(|package| package.strip_prefix(PREFIX).is_some_and(|own| !allowed.contains(&own)))
        .map(|package| format!("depends on `{package}`, which is not before it"));
    let is_impure = |package: &String| {
        let names = |impure: &str| package == impure || package.starts_with(&format!("{impure}-"));
        PURE_CRATES.contains(&folder) && IMPURE_PACKAGES.iter().any(|impure| names(impure))
    };
    let impure = packages(manifest, &["dependencies"])
        .into_iter()
        .filter(is_impure)
        .map(|package| format!("is pure and depends on `{package}`"));
    backward.chain(impure).collect()
}

/// The packages of these sections, for every platform, by their own names.
fn packages(manifest: &Table, sections: &[&str]) -> BTreeSet<String> {
    let platforms = manifest.get("target").and_then(Value::as_table);
    let platforms = platforms.into_iter().flat_map(Table::values).filter_map(Value::as_table);
    let tables = std::iter::once(manifest).chain(platforms);
    let listed = tables.flat_map(|table| sections.iter().filter_map(|section| table.get(*section)?.as_table()));
    let own_name =
        |(name, value): (&String, &Value)| value.get("package").and_then(Value::as_str).unwrap_or(name).to_owned();
    listed.flat_map(Table::iter).map(own_name).collect()
}

/// Types of this name that the source defines outside of its tests.
fn definitions(source: &Source, name: &str) -> usize {
    let is_test = source.path.split('/').any(|part| part == "tests") || source.path.ends_with("tests.rs");
    let code = source.code.split("mod tests {").next().unwrap_or_default();
    let words: Vec<&str> = if is_test { Vec::new() } else { words(code).collect() };
    let defines = |pair: &&[&str]| ["struct", "enum", "trait", "union", "type"].contains(&pair[0]) && pair[1] == name;
    words.windows(2).filter(defines).count()
}

/// Where names that mean one thing are defined a second time.
fn second_meanings(sources: &[Source]) -> Vec<String> {
    let mut found: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, source) in NAMES_OF_ONE_THING.into_iter().flat_map(|name| sources.iter().map(move |it| (name, it))) {
        let counted = definitions(source, name);
        found.entry(name).or_default().extend(std::iter::repeat_n(source.path.as_str(), counted));
    }
    found.retain(|_, paths| paths.len() > 1);
    found.into_iter().map(|(name, paths)| format!("`{name}` is defined in {}", paths.join(" and in "))).collect()
}

/// Names, keywords and numbers in their order.
fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|character: char| !character.is_alphanumeric() && character != '_').filter(|word| !word.is_empty())
}

/// The source without its comments and without what is inside its texts; each leaves a space.
fn code_of(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    let mut after_word = false;
    while let Some(first) = rest.chars().next() {
        // `r` and `b` open a text only where a word may begin: not in `for"`.
        let raw = if after_word { None } else { raw(rest) };
        let skipped = raw.or_else(|| comment(rest)).or_else(|| quoted(rest)).or_else(|| character(rest));
        if skipped.is_some() {
            code.push(' ');
        } else {
            code.push(first);
        }
        after_word = skipped.is_none() && (first.is_alphanumeric() || first == '_');
        rest = &rest[skipped.unwrap_or(first.len_utf8())..];
    }
    code
}

/// How long the comment is that opens here, nested ones included.
fn comment(rest: &str) -> Option<usize> {
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if !rest.starts_with("/*") {
        return None;
    }
    let (mut at, mut depth) = (2, 1);
    while depth > 0 {
        let open = rest[at..].find("/*").unwrap_or(usize::MAX);
        let Some(close) = rest[at..].find("*/") else { return Some(rest.len()) };
        depth = if open < close { depth + 1 } else { depth - 1 };
        at += open.min(close) + 2;
    }
    Some(at)
}

/// How long the character is that opens here. `'a` without a closing quote is a lifetime.
fn character(rest: &str) -> Option<usize> {
    let mut inside = rest.strip_prefix('\'')?.char_indices();
    let (_, first) = inside.next()?;
    if first == '\\' {
        inside.next(); // what is escaped may be a quote
        return inside.find(|&(_, character)| character == '\'').map(|(at, _)| at + 2);
    }
    inside.next().filter(|&(_, second)| second == '\'').map(|(at, _)| at + 2)
}

/// How long the text is that opens here.
fn quoted(rest: &str) -> Option<usize> {
    let mut inside = rest.strip_prefix('"')?.char_indices();
    while let Some((at, character)) = inside.next() {
        match character {
            '\\' => drop(inside.next()),
            '"' => return Some(at + 2),
            _ => {}
        }
    }
    Some(rest.len())
}

/// How long the raw text is that opens here.
fn raw(rest: &str) -> Option<usize> {
    let opened = rest.strip_prefix("br").or_else(|| rest.strip_prefix('r'))?;
    let hashes = opened.len() - opened.trim_start_matches('#').len();
    let inside = opened[hashes..].strip_prefix('"')?;
    let close = format!("\"{}", "#".repeat(hashes));
    let end = inside.find(&close).map_or(inside.len(), |at| at + close.len());
    Some(rest.len() - inside.len() + end)
}

/// Every `.rs` file of the crates, once: some crates lie within others.
fn sources(root: &Path) -> io::Result<Vec<Source>> {
    let outer = CRATES.iter().filter(|(folder, _)| !folder.contains('/'));
    let mut folders: Vec<PathBuf> = outer.map(|(folder, _)| root.join(folder)).collect();
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let from_root = path.strip_prefix(root).unwrap_or(&path).to_string_lossy();
                found.push(Source::new(&from_root, &fs::read_to_string(&path)?));
            }
        }
    }
    Ok(found)
}

/// The workspace's.
fn root() -> &'static Path {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own)
}

#[test]
fn every_crate_depends_on_those_before_it_and_the_pure_ones_on_nothing_impure() {
    let workspace: Table = fs::read_to_string(root().join("Cargo.toml")).unwrap().parse().unwrap();
    let members = workspace["workspace"]["members"].as_array().unwrap();
    let mut broken = Vec::new();
    for folder in members.iter().filter_map(Value::as_str) {
        let manifest = fs::read_to_string(root().join(folder).join("Cargo.toml")).unwrap().parse().unwrap();
        broken.extend(broken_manifest(folder, &manifest).into_iter().map(|how| format!("{folder} {how}")));
    }
    assert!(members.len() >= 7 && broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn a_name_means_one_thing() {
    let broken = second_meanings(&sources(root()).unwrap());
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn the_workspace_is_tidy() {
    let sources = sources(root()).unwrap();
    assert!(sources.len() > 10, "only {} files found", sources.len());
    let mut broken = Vec::new();
    for source in &sources {
        for (rule, breaks) in RULES {
            broken.extend(breaks(source).map(|how| format!("{} {how} ({rule})", source.path)));
        }
    }
    broken.sort();
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn each_rule_catches_what_it_is_for_and_nothing_else() {
    let long = "//! x\n".repeat(LINES_MAX + 1);
    let note = format!("//! x\n// {}: later", UNFINISHED_NOTES[0]);
    let pure = "driver/scheduler/src/a.rs";
    let rows = [
        ("a clock", pure, "//! x\nuse std::time::Instant;", Some("names `Instant`")),
        ("a file, by the back door", pure, "//! x\nuse std::{cmp, fs};", Some("names `fs`")),
        ("a thread", "driver/search/src/a.rs", "//! x\nuse std::thread;", Some("names `thread`")),
        (
            "an order that differs",
            "common/src/a.rs",
            "//! x\nuse std::{collections::HashSet};",
            Some("names `HashSet`"),
        ),
        ("an async function", "driver/src/study/a.rs", "//! x\nasync fn f() {}", Some("names `async`")),
        ("a word in a comment", pure, "//! no Instant\n/* tokio /* fs */ async */ fn f() {}", None),
        ("a word in a text", pure, "//! x\nconst A: &str = \"no \\\" fs\"; const B: &str = r#\"\"fs\"#;", None),
        ("a word after a quote", pure, "//! x\nconst Q: char = '\"'; use std::fs;", Some("names `fs`")),
        ("a word after an escape", pure, "//! x\nconst Q: char = '\\''; use std::fs;", Some("names `fs`")),
        ("a word after a lifetime", pure, "//! x\nfn f<'a>(a: &'a fs::File) {}", Some("names `fs`")),
        ("a part of a word", pure, "//! x\nstruct Offset { fsync_ms: u64 }", None),
        ("an impure folder", "driver/src/cluster.rs", "//! x\nuse tokio::fs;", None),
        ("no introduction", "driver/src/a.rs", "\n//! x", Some("does not open with `//! `")),
        ("a long file", "driver/src/a.rs", &long, Some("has 451 lines; 450 are plenty")),
        ("a stub", "driver/src/a.rs", "//! x\nfn f() { todo ! () }", Some("says `todo!`")),
        ("a note", "driver/src/a.rs", &note, Some(concat!("says `TO", "DO`"))),
        ("an empty name", "driver/src/utils/a.rs", "//! x", Some("is called `utils`")),
    ];
    for (name, path, text, expected) in rows {
        let source = Source::new(path, text);
        let broken: Vec<String> = RULES.iter().filter_map(|(_, breaks)| breaks(&source)).collect();
        assert_eq!(broken, Vec::from_iter(expected.map(str::to_owned)), "{name}");
    }
}

#[test]
fn a_manifest_that_breaks_the_order_of_crates_or_is_impure_is_caught() {
    let rows = [
        ("what comes before", "driver", "[dependencies]\nbroadsweep-nn.workspace = true\ntokio = '1'", vec![]),
        (
            "what comes after",
            "common",
            "[dependencies]\nbroadsweep-proto.workspace = true",
            vec!["depends on `broadsweep-proto`, which is not before it"],
        ),
        (
            "the same for tests, under another name",
            "executor/nn",
            "[dev-dependencies]\nother = { package = 'broadsweep-executor', path = '..' }",
            vec!["depends on `broadsweep-executor`, which is not before it"],
        ),
        (
            "beside it",
            "driver/scheduler",
            "[target.'cfg(unix)'.dependencies]\nbroadsweep-search.workspace = true",
            vec!["depends on `broadsweep-search`, which is not before it"],
        ),
        ("tasks", "driver/search", "[dependencies]\ntokio = '1'", vec!["is pure and depends on `tokio`"]),
        (
            "parts of what is impure",
            "common",
            "[dependencies]\nhyper-util = '1'\ntonic-prost = '1'",
            vec!["is pure and depends on `hyper-util`", "is pure and depends on `tonic-prost`"],
        ),
        ("a name that begins alike", "common", "[dependencies]\nhyperloglog = '1'", vec![]),
        ("tasks in tests alone", "common", "[dev-dependencies]\ntokio = '1'", vec![]),
        ("an unknown crate", "helper", "", vec!["is not in the table of crates"]),
    ];
    for (name, folder, manifest, expected) in rows {
        assert_eq!(broken_manifest(folder, &manifest.parse().unwrap()), expected, "{name}");
    }
}

#[test]
fn a_second_meaning_of_a_name_is_caught_outside_of_tests() {
    let first = Source::new("driver/scheduler/src/pace.rs", "//! x\npub(super) struct Pace(f64);");
    let rows = [
        ("another type", "driver/src/timing.rs", "//! x\nenum Pace { Fast }", true),
        ("a use of it", "driver/src/timing.rs", "//! x\nfn f(pace: Pace) -> Pace { Pace(1.0) } struct Paces;", false),
        ("words about it", "driver/src/timing.rs", "//! x\n// struct Pace\nconst A: &str = \"struct Pace\";", false),
        ("a test's own", "driver/src/timing.rs", "//! x\n#[cfg(test)]\nmod tests { struct Pace; }", false),
        ("a file of tests", "driver/src/timing/tests/a.rs", "//! x\nstruct Pace;", false),
        ("a name that is not listed", "driver/src/timing.rs", "//! x\nstruct Speed; enum Speed2 {}", false),
    ];
    for (name, path, text, is_caught) in rows {
        let found = second_meanings(&[Source::new(&first.path, &first.text), Source::new(path, text)]);
        assert_eq!(!found.is_empty(), is_caught, "{name}: {found:?}");
    }
}
