//! Where the program of a study is: looked for when the study is prepared, so that an executor without it refuses before
//! anything is placed.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use broadsweep_common::program::{Piece, Word};
use broadsweep_leash::DEFAULT_PATH;

use super::order::path_with;

/// Where the program is that the command's first word names. None if only an attempt knows, as it has a parameter in it, or
/// if it is a file of the study, all of which lie in `data_dir`.
///
/// # Errors
/// In words, if it cannot be started here: what is missing, where it was looked for, and what to do.
pub(super) fn find(command: &[Word], env_prefix: Option<&str>, data_dir: &Path) -> Result<Option<PathBuf>, String> {
    let own_path = env::var_os("PATH").unwrap_or_else(|| DEFAULT_PATH.into());
    let search_path = match env_prefix {
        Some(prefix) => path_with(&bin_of(prefix)?),
        None => own_path,
    };
    let Some(word) = first_word(command)? else { return Ok(None) };
    let named = Path::new(&word);
    if named.is_absolute() {
        return usable(named).map(|()| Some(named.to_owned()));
    }
    if word.as_encoded_bytes().contains(&b'/') {
        return of_study(named, data_dir).map(|()| None);
    }
    let folders: Vec<_> = env::split_paths(&search_path).collect();
    let found = folders.iter().map(|folder| folder.join(named)).find(|path| usable(path).is_ok());
    found.map(Some).ok_or_else(|| {
        format!(
            "{} is not there (looked in {}); install it on this node, start the executor where it is found, or name its \
             environment by `env_prefix` in [trainer]",
            named.display(),
            search_path.display()
        )
    })
}

/// The folder of an environment's programs.
fn bin_of(prefix: &str) -> Result<PathBuf, String> {
    let bin = Path::new(prefix).join("bin");
    if bin.is_dir() {
        return Ok(bin);
    }
    Err(format!(
        "`env_prefix` is {prefix}, and there is no folder {}; make that environment on this node",
        bin.display()
    ))
}

/// The command's first word, unless only an attempt knows it.
fn first_word(command: &[Word]) -> Result<Option<OsString>, String> {
    let Some(Word::One(pieces)) = command.first() else { return Ok(None) };
    let mut word = OsString::new();
    for piece in pieces {
        match piece {
            Piece::Text(text) => word.push(text),
            Piece::Variable(name) => word.push(env::var_os(name).ok_or_else(|| {
                format!("the command names ${{envvar:{name}}}, which is not set where this executor runs")
            })?),
            Piece::Parameter(_) | Piece::Known(_) => return Ok(None),
        }
    }
    Ok(Some(word))
}

/// Whether a path without a root is one of the study's files. What leads out of them is not looked for.
fn of_study(named: &Path, data_dir: &Path) -> Result<(), String> {
    if named.components().any(|part| part == Component::ParentDir) {
        return Ok(());
    }
    let path = data_dir.join(named);
    if !path.exists() {
        let shown = named.display();
        return Err(format!(
            "{shown} is not among the study's files; add it to `files` in [data], or write a path from /"
        ));
    }
    usable(&path).map_err(|_| {
        let shown = named.display();
        format!("{shown}, a file of the study, may not be executed; allow it (chmod +x), or name what runs it first")
    })
}

/// Whether a file can be started.
fn usable(path: &Path) -> Result<(), String> {
    let shown = path.display();
    let facts = fs::metadata(path)
        .map_err(|error| format!("{shown}: {error}; install it on this node, or correct the study's command"))?;
    if !facts.is_file() || facts.permissions().mode() & 0o111 == 0 {
        return Err(format!("{shown} may not be executed; allow it (chmod +x), or correct the study's command"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::order::described;
    use super::*;

    fn found(command: &str, prefix: Option<&str>, data_dir: &Path) -> Result<Option<PathBuf>, String> {
        find(&described(&[command]).command, prefix, data_dir)
    }

    fn make(path: &Path, mode: u32) {
        fs::write(path, b"#!/bin/sh\n").unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_program_is_found_where_an_attempt_would_find_it() {
        let (data, prefix) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::create_dir(prefix.path().join("bin")).unwrap();
        let own = prefix.path().join("bin/sh");
        let prefix = prefix.path().to_str();
        let sh = found("sh", None, data.path()).unwrap().unwrap();
        assert!(sh.is_absolute() && sh.ends_with("sh"), "{sh:?}");
        assert_eq!(found(sh.to_str().unwrap(), None, data.path()), Ok(Some(sh.clone())));
        assert_eq!(found("sh", prefix, data.path()), Ok(Some(sh)), "the rest of the path comes after it");
        make(&own, 0o755);
        assert_eq!(found("sh", prefix, data.path()), Ok(Some(own)));
        make(&data.path().join("train"), 0o755);
        for known_later in ["./train", "${slot_dir}/train", "${interpreter}", "${args}", "../x"] {
            assert_eq!(found(known_later, None, data.path()), Ok(None), "{known_later}");
        }
    }

    #[test]
    fn what_cannot_be_started_is_told_with_what_to_do() {
        let data = tempfile::tempdir().unwrap();
        let (plain, absolute) = (data.path().join("plain"), data.path().join("gone"));
        make(&plain, 0o644);
        let rows = [
            ("no-such-program", None, "no-such-program is not there (looked in /"),
            ("no-such-program", None, "install it on this node"),
            (absolute.to_str().unwrap(), None, "correct the study's command"),
            (plain.to_str().unwrap(), None, "may not be executed; allow it (chmod +x)"),
            ("./plain", None, "a file of the study, may not be executed"),
            ("./other", None, "add it to `files` in [data]"),
            ("sh", Some("/no/such/prefix"), "there is no folder /no/such/prefix/bin; make that environment"),
            ("${envvar:BROADSWEEP_NOBODY_SETS_THIS}", None, "which is not set where this executor runs"),
        ];
        for (command, prefix, fragment) in rows {
            let reason = found(command, prefix, data.path()).unwrap_err();
            assert!(reason.contains(fragment), "{command}: {reason}");
        }
    }
}
