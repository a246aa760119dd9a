//! What a commit leaves, and what it refuses.

use std::os::unix::fs::symlink;

use super::*;

#[test]
fn a_new_output_has_its_files_and_a_manifest() {
    let home = Home::with_output();
    assert_eq!(names(home.0.path()), ["out"], "nothing is left beside it");
    assert_eq!(names(&home.output()), [MANIFEST, "rows-0.csv", "rows-1.csv"]);
    assert_eq!(Manifest::read(&home.output()).unwrap(), Some(manifest("first", FIRST)));
    assert_eq!(seen(&home.output()), Some(bytes_of(&[FIRST])));
}

#[test]
fn an_output_without_rows_is_an_output() {
    for onto in [Onto::New, Onto::Overwrite, Onto::Append] {
        let home = Home::new();
        home.commit(onto, "first", &[]);
        assert_eq!(seen(&home.output()), Some(Vec::new()));
    }
}

#[test]
fn a_replaced_output_has_nothing_of_the_former_one() {
    let home = Home::with_output();
    home.commit(Onto::Overwrite, "second", SECOND);
    let new = Home::new();
    new.commit(Onto::New, "second", SECOND);
    assert_eq!(home.tree(), new.tree());
}

#[test]
fn files_are_added_under_names_of_their_run_and_the_manifest_tells_of_all_runs() {
    let home = Home::with_output();
    for run in ["second", "third"] {
        home.commit(Onto::Append, run, SECOND);
    }
    let listed = names(&home.output());
    assert_eq!(listed.len(), 1 + FIRST.len() + 2 * SECOND.len());
    let manifest = Manifest::read(&home.output()).unwrap().unwrap();
    let named: Vec<_> = manifest.files.iter().map(|file| (file.run.as_str(), file.name.as_str())).collect();
    assert_eq!(named[0], ("first", "rows-0.csv"));
    assert!(
        named[2].1.starts_with("rows-0-")
            && Path::new(named[2].1).extension().is_some_and(|extension| extension == "csv"),
        "{named:?}"
    );
    let runs: Vec<_> = named.iter().map(|(run, _)| *run).collect();
    assert_eq!(runs, ["first", "first", "second", "second", "second", "third", "third", "third"]);
    assert_eq!(seen(&home.output()), Some(bytes_of(&[FIRST, SECOND, SECOND])));
    assert_eq!((manifest.rows, manifest.bad_rows, manifest.run.as_str()), (8 + 6 + 6, 3, "third"));
    let earlier: Vec<_> = manifest.earlier.iter().map(|earlier| (earlier.run.as_str(), earlier.bad_rows)).collect();
    assert_eq!(earlier, [("first", 1), ("second", 1)]);
}

#[test]
fn only_files_of_the_same_format_and_columns_are_added() {
    let home = Home::with_output();
    let before = seen(&home.output());
    let claim = home.claim(Onto::Append, "second").unwrap();
    put(&claim, SECOND);
    let own = manifest("second", SECOND);
    claim.check_like(own.format, &own.columns).unwrap();
    let mut other_columns = own.clone();
    other_columns.columns[0].kind = KeptKind::Number;
    let other_format = Manifest { format: OutputFormat::Parquet, ..own };
    for other in [other_columns, other_format] {
        let early = claim.check_like(other.format, &other.columns).unwrap_err();
        assert!(matches!(early, OutputError::Unlike { .. }), "{early}");
        let late = claim.commit_in_steps(&other, &mut || Ok(())).unwrap_err();
        assert_eq!(late.to_string(), early.to_string());
        assert_eq!(seen(&home.output()), before);
    }
    let replacing = Home::with_output();
    let claim = replacing.claim(Onto::Overwrite, "second").unwrap();
    claim.check_like(OutputFormat::Parquet, &[]).unwrap();
}

#[test]
fn a_run_that_has_committed_is_told_so_whatever_came_after_it() {
    for (onto, home) in
        [(Onto::New, Home::new()), (Onto::Overwrite, Home::with_output()), (Onto::Append, Home::with_output())]
    {
        home.commit(onto, "second", SECOND);
        for run in ["third", "fourth"] {
            let before = home.tree();
            let again = home.claim(onto, "second").unwrap();
            assert!(again.is_committed());
            put(&again, SECOND);
            assert_eq!(again.commit(&manifest("second", SECOND)).unwrap(), Committed::Before);
            assert_eq!(home.tree(), before);
            home.commit(Onto::Append, run, FIRST);
        }
        // Another run is at it: what it has beside the output is not touched.
        let other = home.claim(Onto::Append, "fifth").unwrap();
        put(&other, FIRST);
        let before = home.tree();
        assert_eq!(home.commit(onto, "second", SECOND), Committed::Before);
        assert_eq!(home.tree(), before);
        assert_eq!(other.commit(&manifest("fifth", FIRST)).unwrap(), Committed::Now);
    }
}

#[test]
fn a_file_that_is_not_as_the_manifest_says_is_told_and_nothing_becomes_visible() {
    for onto in [Onto::New, Onto::Overwrite, Onto::Append] {
        for (what, damage) in [
            ("is missing", (|path: &Path| fs::remove_file(path).unwrap()) as fn(&Path)),
            ("has 1 bytes where 3 were written", |path| fs::write(path, "x").unwrap()),
            ("is no file", |path| {
                fs::remove_file(path).unwrap();
                symlink("/etc/hostname", path).unwrap();
            }),
        ] {
            let home = if onto == Onto::New { Home::new() } else { Home::with_output() };
            let before = seen(&home.output());
            let claim = home.claim(onto, "second").unwrap();
            put(&claim, SECOND);
            damage(&claim.folder().join("rows-1.csv"));
            let error = claim.commit(&manifest("second", SECOND)).unwrap_err();
            assert!(matches!(error, OutputError::Damaged { .. }) && error.to_string().contains(what), "{error}");
            assert_eq!(seen(&home.output()), before);
        }
    }
}

#[test]
fn a_manifest_of_another_run_is_refused() {
    let home = Home::new();
    let claim = home.claim(Onto::New, "second").unwrap();
    put(&claim, SECOND);
    let own = manifest("second", SECOND);
    let mut foreign_file = own.clone();
    foreign_file.files[0].run = "first".to_owned();
    let wrong_rows = Manifest { rows: 1, ..own.clone() };
    for wrong in
        [manifest("first", SECOND), own.clone().added_to(&manifest("first", FIRST)), foreign_file, wrong_rows]
    {
        let error = claim.commit_in_steps(&wrong, &mut || Ok(())).unwrap_err();
        assert!(matches!(error, OutputError::Manifest { .. }), "{error}");
        assert!(!home.output().exists());
    }
    assert_eq!(claim.commit(&own).unwrap(), Committed::Now);
}

#[test]
fn what_somebody_put_into_an_output_before_it_is_replaced_stays() {
    let home = Home::with_output();
    let claim = home.claim(Onto::Overwrite, "second").unwrap();
    put(&claim, SECOND);
    fs::write(home.output().join("notes.txt"), "of somebody").unwrap();
    let error = claim.commit(&manifest("second", SECOND)).unwrap_err();
    assert!(matches!(error, OutputError::Foreign(path) if path.ends_with("out/notes.txt")));
    assert_eq!(seen(&home.output()), Some(bytes_of(&[FIRST])));
    fs::remove_file(home.output().join("notes.txt")).unwrap();
    assert_eq!(home.commit(Onto::Overwrite, "second", SECOND), Committed::Now);
}

/// Between the last look and the exchange: then it is in the folder that is to be removed.
#[test]
fn what_somebody_put_into_an_output_while_it_was_replaced_stays_too() {
    let home = Home::with_output();
    let claim = home.claim(Onto::Overwrite, "second").unwrap();
    put(&claim, SECOND);
    let (notes, mut steps) = (home.output().join("notes.txt"), 0);
    let error = claim
        .commit_in_steps(&manifest("second", SECOND), &mut || {
            steps += 1;
            if steps == 1 {
                fs::write(&notes, "of somebody").unwrap();
            }
            Ok(())
        })
        .unwrap_err();
    let OutputError::Foreign(found) = error else { panic!("{error}") };
    assert_eq!(fs::read(&found).unwrap(), b"of somebody");
    assert_eq!(seen(&home.output()), Some(bytes_of(&[SECOND])), "the run has committed");
    fs::remove_file(found).unwrap();
    assert_eq!(home.commit(Onto::Overwrite, "second", SECOND), Committed::Before);
    assert_eq!(names(home.0.path()), ["out"]);
}

/// A device that is always full stands in for the disk.
#[test]
fn a_full_disk_is_told_as_such_and_the_run_can_go_on() {
    for onto in [Onto::New, Onto::Overwrite, Onto::Append] {
        let home = if onto == Onto::New { Home::new() } else { Home::with_output() };
        let before = seen(&home.output());
        let claim = home.claim(onto, "second").unwrap();
        let is_told = |error: &OutputError| error.is_full() && error.to_string().contains("free some space");
        // So that no file without a name is written instead: what is put is written to a temporary name.
        symlink("/dev/full", claim.folder().join(".rows-0.csv.partial")).unwrap();
        let error = claim.put("rows-0.csv", b"2nd").unwrap_err();
        assert!(is_told(&error), "{error}");
        put(&claim, SECOND);
        if onto == Onto::Append {
            symlink("/dev/full", home.output().join(".manifest.json.partial")).unwrap();
            let error = claim.commit_in_steps(&manifest("second", SECOND), &mut || Ok(())).unwrap_err();
            assert!(is_told(&error), "{error}");
            assert_eq!(seen(&home.output()), before);
        }
        assert_eq!(home.commit(onto, "second", SECOND), Committed::Now);
        assert_eq!(names(home.0.path()), ["out"]);
    }
}
