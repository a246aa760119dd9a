//! The style that no lint knows: which words stay out of which folder, which way imports run, how long a file is.
//!
//! Each rule is a function of one source file, so that it can be shown to catch what it is for. Code is told from
//! comments and texts by a small lexer, no parser: enough for words.

use std::path::{Path, PathBuf};
use std::{fs, io};

/// No async, no IO, no clock, no lock, no log, no order that differs from run to run.
const PURE_FOLDERS: [&str; 7] = [
    "driver/scheduler/src/",
    "driver/src/study/",
    "driver/src/ledger/",
    "driver/src/forecast/",
    "driver/src/report/",
    "common/src/exchange/",
    "executor/nn/src/",
];

/// `fs` covers `std::fs` however it is imported.
const IMPURE_WORDS: [&str; 7] = ["tokio", "async", "Instant", "SystemTime", "tracing", "HashMap", "fs"];

/// A crate may name those before it. The generated code of `proto` is not in the tree, so nothing is exempt.
const CRATES: [(&str, &str); 7] = [
    ("common/", "broadsweep_common"),
    ("proto/", "broadsweep_proto"),
    ("executor/nn/", "broadsweep_nn"),
    ("driver/scheduler/", "broadsweep_scheduler"),
    ("executor/", "broadsweep_executor"),
    ("driver/", "broadsweep_driver"),
    ("tests/", "broadsweep_tests"),
];

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

const RULES: [(&str, Rule); 6] = [
    ("a pure folder stays pure", impure),
    ("imports run one way", backward_import),
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

fn backward_import(source: &Source) -> Option<String> {
    let own = CRATES.iter().position(|(folder, _)| source.path.starts_with(folder))?;
    let (_, later) = CRATES[own + 1..].iter().find(|(_, name)| source.names(name))?;
    Some(format!("names `{later}`"))
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

/// Every `.rs` file of the crates.
fn sources(root: &Path) -> io::Result<Vec<Source>> {
    let mut folders: Vec<PathBuf> = CRATES.iter().map(|(folder, _)| root.join(folder)).collect();
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

#[test]
fn the_workspace_is_tidy() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let sources = sources(root).unwrap();
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
        ("an async function", "executor/nn/src/a.rs", "//! x\nasync fn f() {}", Some("names `async`")),
        ("a word in a comment", pure, "//! no Instant\n/* tokio /* fs */ async */ fn f() {}", None),
        ("a word in a text", pure, "//! x\nconst A: &str = \"no \\\" fs\"; const B: &str = r#\"\"fs\"#;", None),
        ("a word after a quote", pure, "//! x\nconst Q: char = '\"'; use std::fs;", Some("names `fs`")),
        ("a word after an escape", pure, "//! x\nconst Q: char = '\\''; use std::fs;", Some("names `fs`")),
        ("a word after a lifetime", pure, "//! x\nfn f<'a>(a: &'a fs::File) {}", Some("names `fs`")),
        ("a part of a word", pure, "//! x\nstruct Offset { fsync_ms: u64 }", None),
        ("an impure folder", "driver/src/cluster.rs", "//! x\nuse tokio::fs;", None),
        (
            "a backward import",
            "common/src/a.rs",
            "//! x\nuse broadsweep_executor::A;",
            Some("names `broadsweep_executor`"),
        ),
        ("a forward import", "driver/src/a.rs", "//! x\nuse broadsweep_common::A;", None),
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
