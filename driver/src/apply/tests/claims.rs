//! What is refused before anything is computed, and what a claim does.

use std::os::unix::fs::symlink;

use super::*;
use crate::results::folder::FolderError;

/// What is said when an output is refused, which leaves everything as it was.
fn refusal(home: &Home, output: &Path, onto: Onto) -> OutputError {
    let before = home.tree();
    let error = claim_at(output, onto, "second").unwrap_err();
    assert_eq!(home.tree(), before, "{error}");
    error
}

const ALL: [Onto; 3] = [Onto::New, Onto::Overwrite, Onto::Append];

#[test]
fn an_output_that_is_no_folder_is_refused() {
    let home = Home::new();
    fs::write(home.path("file"), "of somebody").unwrap();
    symlink(home.path("nowhere"), home.path("link")).unwrap();
    for onto in ALL {
        let refused = |path: &Path| refusal(&home, path, onto);
        assert!(matches!(refused(&home.path("file")), OutputError::NotAFolder(path) if path.ends_with("file")));
        assert!(matches!(refused(&home.path("file/out")), OutputError::NotAFolder(path) if path.ends_with("file")));
        assert!(matches!(refused(&home.path("link")), OutputError::LinkToNothing(_)));
        assert!(matches!(refused(&home.path("no/out")), OutputError::NoParent(path) if path.ends_with("no")));
        assert!(matches!(refused(&home.path("no/..")), OutputError::NoName(_)));
        assert!(matches!(refused(Path::new("/")), OutputError::NoName(_)));
        assert!(matches!(refused(Path::new("/proc")), OutputError::MountPoint(_)));
        // Nobody may make a folder there, the administrator neither.
        assert!(matches!(refused(Path::new("/sys/out")), OutputError::Unwritten(FolderError::Denied { .. })));
    }
}

#[test]
fn a_folder_that_is_not_empty_is_refused_with_the_flags_that_would_help() {
    let home = Home::with_output();
    let error = refusal(&home, &home.output(), Onto::New);
    assert!(matches!(error, OutputError::NotEmpty(_)));
    let said = error.to_string();
    assert!(said.contains("--overwrite") && said.contains("--append"), "{said}");
}

#[test]
fn what_is_not_ours_is_neither_replaced_nor_added_to() {
    let mut alien = manifest("first", FIRST);
    alien.version = 2;
    for text in [None, Some("{}"), Some("not JSON"), Some(r#"{"broadsweep_output": "1"}"#), Some("[1]")] {
        let home = Home::new();
        fs::create_dir(home.output()).unwrap();
        fs::write(home.output().join("precious"), "of somebody").unwrap();
        if let Some(text) = text {
            fs::write(home.output().join(MANIFEST), text).unwrap();
        }
        for onto in [Onto::Overwrite, Onto::Append] {
            let error = refusal(&home, &home.output(), onto);
            assert!(matches!(error, OutputError::NotOurs(_)), "{text:?}: {error}");
        }
        assert!(matches!(refusal(&home, &home.output(), Onto::New), OutputError::NotEmpty(_)));
    }
    for text in [serde_json::to_string(&alien).unwrap(), r#"{"broadsweep_output": 1}"#.to_owned()] {
        let home = Home::with_output();
        fs::write(home.output().join(MANIFEST), &text).unwrap();
        for onto in [Onto::Overwrite, Onto::Append] {
            let error = refusal(&home, &home.output(), onto);
            assert!(matches!(error, OutputError::Manifest { .. }), "{text}: {error}");
        }
    }
}

#[test]
fn an_output_with_somebody_elses_file_among_its_own_is_not_replaced() {
    let home = Home::with_output();
    fs::write(home.output().join("notes.txt"), "of somebody").unwrap();
    let error = refusal(&home, &home.output(), Onto::Overwrite);
    assert!(matches!(error, OutputError::Foreign(path) if path.ends_with("out/notes.txt")));
    assert_eq!(home.commit(Onto::Append, "second", SECOND), Committed::Now);
    assert_eq!(fs::read(home.output().join("notes.txt")).unwrap(), b"of somebody");
}

#[test]
fn an_output_that_another_run_has_taken_says_how_that_run_goes_on() {
    for onto in ALL {
        let home = Home::new();
        drop(home.claim(onto, "first").unwrap());
        let error = refusal(&home, &home.output(), Onto::Overwrite);
        let said = error.to_string();
        assert!(matches!(&error, OutputError::Taken { run, .. } if run == Path::new("/runs/first")), "{said}");
        assert!(said.contains("`broadsweep resume /runs/first`") && said.contains(".out.broadsweep"), "{said}");
        home.claim(onto, "first").unwrap().release().unwrap();
        assert!(home.tree().is_empty(), "a released output is as it was");
        home.claim(onto, "second").unwrap();
    }
}

#[test]
fn what_no_run_put_beside_an_output_stays() {
    for put_beside in [
        |path: &Path| fs::write(path, "of somebody").unwrap(),
        |path: &Path| {
            fs::create_dir(path).unwrap();
            fs::write(path.join("notes.txt"), "of somebody").unwrap();
        },
        |path: &Path| {
            fs::create_dir(path).unwrap();
            fs::write(path.join("run"), "of somebody").unwrap();
        },
    ] {
        let home = Home::new();
        put_beside(&home.path(".out.broadsweep"));
        assert!(matches!(refusal(&home, &home.output(), Onto::New), OutputError::InTheWay(_)));
    }
}

#[test]
fn a_claim_that_was_killed_before_it_was_made_is_in_nobodys_way() {
    let home = Home::new();
    fs::create_dir(home.path(".out.broadsweep")).unwrap();
    fs::write(home.path(".out.broadsweep/.run-x3f"), "{\"ru").unwrap();
    assert_eq!(home.commit(Onto::New, "second", SECOND), Committed::Now);
    assert_eq!(names(home.0.path()), ["out"]);
}

#[test]
fn of_runs_that_want_one_output_at_once_one_has_it_and_the_others_know_which() {
    for _ in 0..20 {
        let home = Home::new();
        let runs: Vec<_> = (0..4).map(|number| format!("run-{number}")).collect();
        let claims: Vec<_> = std::thread::scope(|scope| {
            let started: Vec<_> = runs.iter().map(|run| scope.spawn(|| home.claim(Onto::New, run))).collect();
            started.into_iter().map(|claim| claim.join().unwrap()).collect()
        });
        let won: Vec<_> = claims.iter().flatten().map(|claim| Path::new("/runs").join(&claim.run)).collect();
        assert_eq!(won.len(), 1);
        for error in claims.into_iter().filter_map(Result::err) {
            assert!(matches!(&error, OutputError::Taken { run, .. } if *run == won[0]), "{error}");
        }
    }
}

#[test]
fn a_run_that_claims_again_finds_its_files_and_no_half_written_ones() {
    let home = Home::new();
    let claim = home.claim(Onto::New, "second").unwrap();
    claim.put("rows-0.csv", b"whole").unwrap();
    fs::write(claim.folder().join(".rows-1.csv.partial"), "ha").unwrap();
    let folder = claim.folder().to_owned();
    drop(claim);
    let again = home.claim(Onto::New, "second").unwrap();
    assert_eq!((again.folder(), names(&folder)), (folder.as_path(), vec!["rows-0.csv".to_owned()]));
    assert!(!again.is_committed() && !home.output().exists());
}

#[test]
fn a_run_that_goes_on_is_told_when_somebody_filled_its_output_meanwhile() {
    let home = Home::new();
    drop(home.claim(Onto::New, "second").unwrap());
    fs::create_dir(home.output()).unwrap();
    fs::write(home.output().join("precious"), "of somebody").unwrap();
    assert!(matches!(home.claim(Onto::New, "second").unwrap_err(), OutputError::NotEmpty(_)));
    assert_eq!(fs::read(home.output().join("precious")).unwrap(), b"of somebody");
    assert!(home.path(".out.broadsweep/files").is_dir(), "its files stay");
}

#[test]
fn a_file_may_be_put_again_if_it_is_the_same() {
    let home = Home::new();
    let claim = home.claim(Onto::New, "second").unwrap();
    for _ in 0..2 {
        claim.put("rows-0.csv", b"whole").unwrap();
    }
    for other in [&b"Whole"[..], b"who", b""] {
        assert!(matches!(claim.put("rows-0.csv", other).unwrap_err(), OutputError::Differs(_)));
    }
    assert_eq!(fs::read(claim.folder().join("rows-0.csv")).unwrap(), b"whole");
    let long = "x".repeat(201);
    for name in ["", ".hidden", "..", "a/b", "/etc/passwd", "a\0b", MANIFEST, &long] {
        assert!(matches!(claim.put(name, b"").unwrap_err(), OutputError::BadName(_)), "{name:?}");
    }
}

#[test]
fn an_output_behind_a_link_is_put_where_the_link_leads() {
    let home = Home::new();
    fs::create_dir_all(home.path("disk/deep")).unwrap();
    symlink(home.path("disk/deep"), home.path("out")).unwrap();
    assert_eq!(home.commit(Onto::New, "first", FIRST), Committed::Now);
    assert_eq!(home.commit(Onto::Overwrite, "second", SECOND), Committed::Now);
    assert_eq!(seen(&home.path("disk/deep")), Some(bytes_of(&[SECOND])));
    assert_eq!(
        (names(home.0.path()), names(&home.path("disk"))),
        (vec!["disk".into(), "out".into()], vec!["deep".into()])
    );
    assert!(fs::symlink_metadata(home.output()).unwrap().is_symlink());
}
