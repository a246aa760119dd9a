//! What is read of a manifest, and what is not believed.

use std::fs::File;

use serde_json::{Value, json};

use super::*;

fn read(text: &str) -> Result<Option<Manifest>, OutputError> {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join(MANIFEST), text).unwrap();
    Manifest::read(home.path())
}

#[test]
fn a_manifest_has_this_form() {
    let digest = "a7ffc6f8bf1ed76651c14756a061d662f580ff4de43b49fa82d80a4b80f8434a";
    let text = json!({
        "broadsweep_output": 1,
        "run": "faces-7-1", "model": "m0de1", "kernel": "portable", "format": "jsonl",
        "columns": [{"name": "id", "kind": "integer"}, {"name": "prediction", "kind": "text"}],
        "rows": 7, "bad_rows": 2,
        "files": [
            {"name": "a.jsonl", "rows": 3, "bytes": 30, "blake3": digest, "run": "faces-6-1"},
            {"name": "a-1.jsonl", "rows": 4, "bytes": 40, "blake3": digest, "run": "faces-7-1"},
        ],
        "earlier": [{"run": "faces-6-1", "model": "m0de0", "kernel": "avx2", "bad_rows": 1}],
    });
    let manifest = read(&text.to_string()).unwrap().unwrap();
    assert_eq!(serde_json::to_value(&manifest).unwrap(), text);
    assert_eq!(manifest.runs().collect::<Vec<_>>(), ["faces-6-1", "faces-7-1"]);
    assert_eq!(manifest.format, OutputFormat::JsonLines);
    assert_eq!(read(&manifest.text().unwrap()).unwrap(), Some(manifest));
}

#[test]
fn a_manifest_that_cannot_be_is_not_believed() {
    let fine = || serde_json::to_value(manifest("first", FIRST)).unwrap();
    assert!(read(&fine().to_string()).unwrap().is_some());
    let cases: [(&str, Value, &str); 12] = [
        ("/broadsweep_output", json!(2), "form 2"),
        ("/broadsweep_output", json!(u64::MAX), "the broadsweep that wrote it"),
        ("/rows", json!(9), "9 rows, and its files have 8"),
        ("/rows", json!(-1), "damaged"),
        ("/format", json!("xlsx"), "xlsx"),
        ("/files/0/name", json!("../../etc/passwd"), "cannot be the name of a file"),
        ("/files/0/name", json!(MANIFEST), "cannot be the name of a file"),
        ("/files/0/name", json!(".hidden\u{1b}[2J"), "`.hidden\\u{1b}[2J`"),
        ("/files/0/name", json!("rows-1.csv"), "twice"),
        ("/files/0/blake3", json!("ff"), "digest"),
        ("/files/0/run", json!("other"), "does not name the run"),
        ("/files/0/rows", json!(u64::MAX), "files have 18446744073709551615"),
    ];
    for (place, value, what) in cases {
        let mut wrong = fine();
        *wrong.pointer_mut(place).unwrap() = value;
        let error = read(&wrong.to_string()).unwrap_err();
        let said = error.to_string();
        assert!(matches!(error, OutputError::Manifest { .. }) && said.contains(what), "{place}: {said}");
        assert!(said.contains(MANIFEST), "{said}");
    }
}

#[test]
fn a_manifest_of_any_size_takes_little_memory() {
    let home = tempfile::tempdir().unwrap();
    File::create(home.path().join(MANIFEST)).unwrap().set_len(1 << 40).unwrap();
    let said = Manifest::read(home.path()).unwrap_err().to_string();
    assert!(said.contains("1099511627776 bytes"), "{said}");
    assert!(read(&"[".repeat(100_000)).unwrap().is_none(), "deep, and of somebody else");
}

#[test]
fn what_has_the_name_of_a_manifest_and_is_no_file_is_none() {
    let home = tempfile::tempdir().unwrap();
    assert_eq!(Manifest::read(home.path()).unwrap(), None);
    assert_eq!(Manifest::read(&home.path().join("nowhere")).unwrap(), None);
    fs::create_dir(home.path().join(MANIFEST)).unwrap();
    assert_eq!(Manifest::read(home.path()).unwrap(), None);
}
