//! The page of all keys of a study, against the program: it names every key and no other, and what each accepts.

#![expect(clippy::unwrap_used, reason = "what the tests share fails as they do")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use broadsweep_driver::study::parse;
use tempfile::TempDir;

const BROADSWEEP: &str = env!("CARGO_BIN_EXE_broadsweep-under-test");

const DATA: &str = "format = 'idx'\ntrain_features = 'a'\ntrain_labels = 'b'\nvalidation_rows = 10\n";
const LAYERS: &str = "layers = [{ kind = 'flatten' }]\n";
const TRAINING: &str = "learning_rate = '$rate'\nepochs = 1\n";
const SEARCH: &str = "sampler = 'random'\ntrials = 1\n";
const SPACE: &str = "rate = { log_range = [0.1, 1] }\n";

/// The rows of the tables below `## title`, cell by cell, without the backticks.
fn rows(title: &str) -> Vec<Vec<String>> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("examples/README.md");
    let page = fs::read_to_string(page).unwrap();
    let start = page.find(&format!("\n## {title}\n")).unwrap_or_else(|| panic!("there is no section {title}"));
    let section = page[start + 1..].split("\n## ").next().unwrap();
    let tables = section.split("\n\n").filter(|part| part.starts_with("| "));
    let rows = tables.flat_map(|table| table.lines().skip(2));
    let cells = |row: &str| {
        let row = row.replace("\\|", "\u{1}");
        let cells = row.trim_matches('|').split('|').map(|cell| cell.trim().replace('\u{1}', "|"));
        cells.collect()
    };
    rows.map(cells).collect()
}

/// What stands between backticks, or the text itself.
fn bare(cell: &str) -> &str {
    cell.trim_matches('`')
}

/// A study of these tables, of which `changed` has another text.
fn study(changed: &str, text: &str) -> String {
    let mut tables = BTreeMap::from([
        ("", "name = 'keys'\n"),
        ("data", DATA),
        ("model", LAYERS),
        ("training", TRAINING),
        ("search", SEARCH),
        ("search.space", SPACE),
    ]);
    tables.insert(changed, text);
    if text.contains("\nspace = ") {
        tables.remove("search.space");
    }
    tables
        .into_iter()
        .map(|(table, text)| if table.is_empty() { text.to_owned() } else { format!("[{table}]\n{text}") })
        .collect()
}

/// What `check` says of a study that is wrong.
fn complaint(study: &str) -> String {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("study.toml");
    fs::write(&path, study).unwrap();
    let ended = Command::new(BROADSWEEP).arg("check").arg(path).output().unwrap();
    assert_eq!(ended.status.code(), Some(2), "{study}");
    String::from_utf8(ended.stderr).unwrap()
}

/// The keys that `check` names where one is unknown.
fn known(study: &str) -> BTreeSet<String> {
    let complaint = complaint(study);
    let list = complaint.lines().find_map(|line| line.trim_start().strip_prefix("= ")?.split_once(" has: "));
    let list = list.unwrap_or_else(|| panic!("no keys are named: {complaint}")).1;
    list.split(", ").map(str::to_owned).collect()
}

/// `text` without the line of `key`, and with `key = value` instead.
fn with(text: &str, key: &str, value: &str) -> String {
    let others = text.lines().filter(|line| line.split(" = ").next() != Some(key));
    let line = format!("{key} = {value}");
    others.chain([line.as_str(), ""]).collect::<Vec<_>>().join("\n")
}

/// The program says of `key` what the page says, where in `study` stands what is nothing of the kind.
fn assert_accepts(place: &str, key: &str, value: &str, study: impl Fn(&str) -> String) {
    let kind = ["an array", "a table"].into_iter().find(|kind| value.starts_with(kind));
    let complaint = complaint(&study(if kind.is_some() { "1" } else { "[]" }));
    let said = kind.unwrap_or(value);
    assert!(complaint.contains(said), "{place}, {key}: the page says '{value}', the program\n{complaint}");
}

/// The page names all keys of `table`, and says of each what it accepts. `text_for` is a table in which the key can stand.
fn assert_told(title: &str, table: &str, text_for: impl Fn(&str) -> String) {
    let (mut named, mut expected) = (BTreeSet::new(), BTreeSet::new());
    for row in rows(title) {
        let key = bare(&row[0]);
        let text = text_for(key);
        expected.extend(known(&study(table, &with(&text, "unknown_key", "1"))));
        named.insert(key.to_owned());
        assert_accepts(title, key, &row[1], |wrong| study(table, &with(&text, key, wrong)));
        if row[2].starts_with("required") {
            let without =
                text.lines().filter(|line| line.split(" = ").next() != Some(key)).collect::<Vec<_>>().join("\n");
            let complaint = complaint(&study(table, &(without + "\n")));
            assert!(complaint.contains(&format!("has no `{key}`")), "{title}, {key}: {complaint}");
        }
    }
    assert_eq!(named, expected, "{title}");
}

/// A `[data]` in which `key` can stand.
fn text_of_data(key: &str) -> String {
    const TABLE: &str = "format = 'csv'\ntrain_file = 'a'\nlabel_column = 'b'\n";
    const IMAGES: &str = "format = 'images'\ntrain_folder = 'a'\n";
    let pair = |text: &str, part: &str| {
        let text = text.replace("validation_rows = 10\n", "");
        let text = with(&text, &format!("{part}_features"), "'c'");
        format!(
            "{}validation_rows = {}\n",
            with(&text, &format!("{part}_labels"), "'d'"),
            if part == "test" { 10 } else { 0 }
        )
    };
    match key {
        "validation_file" => TABLE.to_owned(),
        "train_file" | "test_file" | "label_column" | "feature_columns" | "leave_out" | "group_column"
        | "category_columns" | "categories" | "delimiter" | "decimal" | "header" | "encoding" => {
            format!("{TABLE}validation_rows = 10\n")
        }
        "validation_folder" => IMAGES.to_owned(),
        "train_folder" | "test_folder" => format!("{IMAGES}validation_rows = 10\n"),
        "file" => with(&DATA.replace("'idx'", "'npz'"), "file", "'c'"),
        "test_features" | "test_labels" => pair(DATA, "test"),
        "validation_features" | "validation_labels" => pair(DATA, "validation"),
        "range" => with(DATA, "scaling", "'unit'"),
        _ => DATA.to_owned(),
    }
}

#[test]
fn the_page_names_every_key_of_every_table_and_what_it_accepts() {
    assert_told("`[data]`", "data", text_of_data);
    assert_told("`[training]`", "training", |key| {
        let optimizer =
            if ["beta1", "beta2", "epsilon", "weight_decay"].contains(&key) { "'adamw'" } else { "'sgd'" };
        with(TRAINING, "optimizer", optimizer)
    });
    assert_told("`[training] early_stop`", "training.early_stop", |_| "patience = 1\n".to_owned());
    assert_told("`[search]`", "search", |key| match key {
        "direction" => format!("{SEARCH}objective = 'validation_error'\n"),
        _ => SEARCH.to_owned(),
    });
    assert_told("`[search] pruner`", "search.pruner", |key| match key {
        "results_min" => "kind = 'median'\n".to_owned(),
        "epochs" | "k" => "kind = 'top_k'\n".to_owned(),
        _ => "kind = 'asha'\n".to_owned(),
    });
    assert_told("`[search] stop`", "search.stop", |_| "target = 1\n".to_owned());
    for (title, table) in [("`[scheduling]`", "scheduling"), ("`[checkpoints]`", "checkpoints")] {
        assert_told(title, table, |_| String::new());
    }
}

#[test]
fn the_page_names_what_an_application_has_and_what_it_accepts() {
    const OF_PROGRAMS: [&str; 6] = ["program", "files", "env_prefix", "columns", "batch_rows", "silent_s"];
    let of_model = "model = 'm'\ninput = ['i']\noutput = 'o'\n";
    let of_program = "program = ['p']\ninput = ['i']\noutput = 'o'\n";
    let application = |text: &str| format!("name = 'a'\n[apply]\n{text}\n");
    let (mut named, expected) = (BTreeSet::new(), known(&application(&with(of_model, "unknown_key", "1"))));
    for row in rows("`[apply]`") {
        let key = bare(&row[0]);
        let needed = if OF_PROGRAMS.contains(&key) { of_program } else { of_model };
        named.insert(key.to_owned());
        assert_accepts("`[apply]`", key, &row[1], |wrong| application(&with(needed, key, wrong)));
        if row[2].starts_with("required") {
            let without: String = needed
                .lines()
                .filter(|line| line.split(" = ").next() != Some(key))
                .fold(String::new(), |text, line| text + line + "\n");
            let complaint = complaint(&application(&without));
            assert!(complaint.contains(&format!("has no `{key}`")), "{key}: {complaint}");
        }
    }
    assert_eq!(named, expected);
}

#[test]
fn the_page_names_every_table_and_what_stands_above_them() {
    let has = known(&study("", &with("name = 'a'\n", "unknown_key", "1")));
    let page = rows("The study");
    let keys = page.iter().map(|row| bare(&row[0]).to_owned());
    let tables = ["data", "model", "training", "search", "control", "trainer", "scheduling", "checkpoints", "apply"];
    assert_eq!(keys.chain(tables.map(str::to_owned)).collect::<BTreeSet<_>>(), has);
    for table in tables {
        let _ = rows(&format!("`[{table}]`")); // there is a section
    }
    for row in &page {
        assert_accepts("the study", &row[0], &row[1], |wrong| study("", &with("name = 'a'\n", bare(&row[0]), wrong)));
    }
}

#[test]
fn the_page_names_every_layer_with_its_keys_and_what_they_accept() {
    let page = rows("`[model]`");
    let (of_model, of_layers): (Vec<_>, Vec<_>) = page.iter().partition(|row| row.len() == 4);
    for row in of_model {
        assert_accepts("[model]", &row[0], &row[1], |wrong| study("model", &with(LAYERS, bare(&row[0]), wrong)));
    }
    let mut layers: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    let mut kind = String::new();
    for row in of_layers {
        if !row[0].is_empty() {
            bare(&row[0]).clone_into(&mut kind);
        }
        let keys = layers.entry(kind.clone()).or_default();
        if !row[1].is_empty() {
            keys.push((bare(&row[1]).to_owned(), row[2].clone()));
        }
    }
    let unknown = complaint(&study("model", "layers = [{ kind = 'unknown' }]\n"));
    for kind in layers.keys() {
        assert!(unknown.contains(&format!("\"{kind}\"")), "there is no {kind}: {unknown}");
    }
    let kinds = unknown.lines().next().unwrap().matches("\", \"").count() + 1;
    assert_eq!(layers.len(), kinds, "{unknown}");
    for (kind, keys) in layers {
        let one = |settings: &str| study("model", &format!("layers = [{{ kind = '{kind}'{settings} }}]\n"));
        let has = known(&one(", unknown_key = 1"));
        let of_all = ["kind", "if"].map(str::to_owned);
        let named: BTreeSet<_> = keys.iter().map(|(key, _)| key.clone()).chain(of_all).collect();
        assert_eq!(named, has, "{kind}");
        let required = keys.iter().filter(|(_, value)| value.starts_with("a whole number"));
        let required = required.flat_map(|(key, _)| [", ", key, " = 1"]).collect::<String>();
        if !["dropout", "activation"].contains(&kind.as_str()) {
            assert_accepts(&kind, "if", "true or false", |wrong| one(&format!("{required}, if = {wrong}")));
        }
        for (key, value) in &keys {
            // What is required stands before what may be left out.
            let before = keys.iter().take_while(|(other, _)| other != key);
            let required = before.filter(|(_, value)| value.starts_with("a whole number"));
            let settings = required.flat_map(|(other, _)| [", ", other, " = 1"]).collect::<String>();
            assert_accepts(&kind, key, value, |wrong| one(&format!("{settings}, {key} = {wrong}")));
        }
    }
}

#[test]
fn the_page_names_what_a_parameter_and_a_replay_have() {
    let parameter = |settings: &str| study("search.space", &format!("rate = {{ {settings} }}\n"));
    let page = rows("`[search.space]`");
    let named: BTreeSet<_> = page.iter().map(|row| bare(&row[0]).to_owned()).collect();
    assert_eq!(named, known(&parameter("unknown_key = 1")));
    for row in &page {
        let beside = match bare(&row[0]) {
            "count" | "step" => "range = [0.5, 1], ",
            "ordered" | "when" => "values = [0.5], ",
            _ => "",
        };
        assert_accepts("a parameter", &row[0], &row[1], |wrong| {
            parameter(&format!("{beside}{} = {wrong}", bare(&row[0])))
        });
    }
    let replay = |text: &str| format!("name = 'replay'\n[trainer]\nkind = 'replay'\n{text}");
    let page = rows("`[trainer]`");
    let named: BTreeSet<_> = page.iter().map(|row| bare(&row[0]).to_owned()).collect();
    assert_eq!(named, known(&replay("unknown_key = 1\n")));
    for row in &page {
        let key = bare(&row[0]);
        assert_accepts("[trainer]", key, &row[1], |wrong| match key {
            "kind" => format!("name = 'replay'\n[trainer]\nkind = {wrong}\n"),
            "recorded" => replay(&format!("recorded = {wrong}\n")),
            "speed" => replay(&format!("recorded = 'trials.csv'\nspeed = {wrong}\n")),
            _ => replay(&with("seconds = 1\nerror = 0.5\n", key, wrong)),
        });
    }
}

/// The one setting that a program cannot do without.
const COMMAND: &str = "command = ['a']\n";

/// A study of a program, with these settings.
fn program(text: &str) -> String {
    format!("name = 'program'\n[trainer]\nkind = 'program'\n{text}")
}

#[test]
fn the_page_names_what_a_program_has_what_it_accepts_and_what_is_not_written() {
    let page = rows("`[trainer]` of a program");
    let named = page.iter().map(|row| bare(&row[0]).to_owned()).chain(["kind".to_owned()]);
    assert_eq!(named.collect::<BTreeSet<_>>(), known(&program("unknown_key = 1\n")));
    for row in &page {
        let key = bare(&row[0]);
        assert_accepts("a program", key, &row[1], |wrong| program(&with(COMMAND, key, wrong)));
        if let Some(value) = default(&row[2]) {
            let written = program(&with(COMMAND, key, value));
            assert_eq!(meaning(&program(COMMAND)), meaning(&written), "{key}");
        }
    }
    let worker = |text: &str| program(&format!("{COMMAND}worker = {{ {text} }}\n"));
    let page = rows("`[trainer] worker`");
    let named: BTreeSet<_> = page.iter().map(|row| bare(&row[0]).to_owned()).collect();
    assert_eq!(named, known(&worker("unknown_key = 1")));
    for row in &page {
        let key = bare(&row[0]);
        assert_accepts("a worker", key, &row[1], |wrong| worker(&format!("{key} = {wrong}")));
        if let Some(value) = default(&row[2]) {
            assert_eq!(meaning(&worker("")), meaning(&worker(&format!("{key} = {value}"))), "{key}");
        }
    }
    assert_eq!(meaning(&worker("")), meaning(&program(&format!("{COMMAND}worker = true\n"))));
}

#[test]
fn the_page_names_what_a_program_requires() {
    let page = rows("`[trainer] requires`");
    let requires = |text: &str| program(&format!("{COMMAND}requires = {{ {text} }}\n"));
    let named: BTreeSet<_> = page.iter().map(|row| bare(&row[0]).to_owned()).collect();
    assert_eq!(named, known(&requires("unknown_key = 1")));
    for row in &page {
        assert_accepts("requires", &row[0], &row[1], |wrong| requires(&format!("{} = {wrong}", bare(&row[0]))));
    }
}

/// All that a study says, whatever stands where in its text.
fn meaning(text: &str) -> String {
    let study = parse(text, "study.toml").unwrap_or_else(|error| panic!("{error}\n{text}"));
    let description = study.description(Vec::new());
    format!("{description:?} {:?} {:?} {:?}", study.data, study.scheduling, study.checkpoints)
}

/// `value`, if it can stand in a study.
fn default(value: &str) -> Option<&str> {
    let is_word = value.starts_with('"') && value.find(char::is_whitespace).is_none();
    let is_literal = is_word || value.parse::<f64>().is_ok();
    (is_literal || ["true", "false"].contains(&value)).then_some(value)
}

#[test]
fn what_is_not_written_is_what_the_page_says() {
    let mut compared = 0;
    let mut compare = |place: &str, without: &str, written: &str| {
        assert_eq!(meaning(without), meaning(written), "{place}");
        compared += 1;
    };
    let tables = [
        ("`[data]`", "data", DATA.to_owned()),
        ("`[model]`", "model", LAYERS.to_owned()),
        ("`[training]`", "training", TRAINING.to_owned()),
        ("`[training] early_stop`", "training.early_stop", "patience = 1\n".to_owned()),
        ("`[search]`", "search", SEARCH.to_owned()),
        ("`[scheduling]`", "scheduling", String::new()),
        ("`[checkpoints]`", "checkpoints", String::new()),
    ];
    for (title, table, text) in &tables {
        for row in rows(title).iter().filter(|row| row.len() == 4) {
            let (key, Some(value)) = (bare(&row[0]), default(&row[2])) else { continue };
            let text = match key {
                "beta1" | "beta2" | "epsilon" | "weight_decay" => {
                    "learning_rate = '$rate'\nepochs = 1\noptimizer = 'adamw'\n"
                }
                "validation_rows" => continue, // trials are compared by them
                _ if *table == "data" => &text_of_data(key),
                _ => text,
            };
            compare(key, &study(table, text), &study(table, &with(text, key, value)));
        }
    }
    for row in rows("The study").iter().filter(|row| row[0] == "`seed`") {
        compare("seed", &study("", "name = 'a'\n"), &study("", &format!("name = 'a'\nseed = {}\n", row[2])));
    }
    let (mut kind, mut required) = (String::new(), String::new());
    for row in rows("`[model]`").iter().filter(|row| row.len() == 5 && !row[1].is_empty()) {
        if !row[0].is_empty() {
            bare(&row[0]).clone_into(&mut kind);
            required.clear();
        }
        let layer = |settings: &str| study("model", &format!("layers = [{{ kind = '{kind}'{settings} }}]\n"));
        match (bare(&row[1]), row[3].as_str()) {
            (_, "required") if kind == "activation" => {}
            (key, "required") => {
                required = format!("{required}, {key} = {}", if kind == "dropout" { "0.5" } else { "3" });
            }
            (key, "`size`") => compare(&kind, &layer(&required), &layer(&format!("{required}, {key} = 3"))),
            (key, value) => {
                compare(
                    &kind,
                    &layer(&required),
                    &layer(&format!("{required}, {key} = {}", default(value).unwrap())),
                );
            }
        }
    }
    assert!(compared > 35, "only {compared} defaults were compared");
}
