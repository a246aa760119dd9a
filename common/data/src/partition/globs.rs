//! Names with wildcards: what they mean, and which files have such names.
//!
//! `*` stands for any letters of a name, `?` for one, `[ab]`, `[a-z]` and `[!a-z]` for one of these or of all others, and
//! `**` in the place of a folder for any folders, or none. What begins with `.` or `_`, and the manifest of an output, is
//! meant only where a name is written so, as in folders.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use super::inputs::{MANIFEST, check_count};
use crate::error::{DataError, Origin};
use crate::pictures::entries;

/// What begins a wildcard.
const WILDCARDS: [char; 3] = ['*', '?', '['];
/// What stands for any folders.
const ANY_FOLDERS: &str = "**";

/// A name with wildcards.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern {
    signs: Vec<Sign>,
}

/// What stands for letters of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Sign {
    /// Itself.
    Letter(char),
    /// Any one.
    Any,
    /// Any number of any.
    Many,
    /// One in these ranges, or one in none of them.
    Among { ranges: Vec<(char, char)>, inside: bool },
}

impl Sign {
    fn is_of(&self, letter: char) -> bool {
        match self {
            Self::Letter(own) => *own == letter,
            Self::Any | Self::Many => true,
            Self::Among { ranges, inside } => {
                ranges.iter().any(|(first, last)| (*first..=*last).contains(&letter)) == *inside
            }
        }
    }
}

impl Pattern {
    /// The pattern that a name is, if it is one: `[` without an end is a letter.
    fn of(name: &str) -> Option<Self> {
        let letters: Vec<char> = name.chars().collect();
        let (mut signs, mut place) = (Vec::new(), 0);
        while let Some(&letter) = letters.get(place) {
            let (sign, length) = match letter {
                '*' => (Sign::Many, 1),
                '?' => (Sign::Any, 1),
                '[' => among(&letters[place..]).unwrap_or((Sign::Letter('['), 1)),
                _ => (Sign::Letter(letter), 1),
            };
            if sign != Sign::Many || signs.last() != Some(&Sign::Many) {
                signs.push(sign);
            }
            place += length;
        }
        let is_pattern = signs.iter().any(|sign| !matches!(sign, Sign::Letter(_)));
        is_pattern.then_some(Self { signs })
    }

    /// Whether a name is meant.
    fn is_of(&self, name: &str) -> bool {
        let begins_with = |letter: char| self.signs.first() == Some(&Sign::Letter(letter));
        let says_so = name.chars().next().is_some_and(begins_with);
        (says_so || !is_hidden_name(name)) && name != MANIFEST && self.fits(name)
    }

    /// Whether the signs stand for these letters. After a letter that does not fit, the last `*` before it takes one more:
    /// no earlier one could help, so that it takes their lengths multiplied at most.
    fn fits(&self, name: &str) -> bool {
        let letters: Vec<char> = name.chars().collect();
        let (mut sign, mut letter) = (0, 0);
        let mut last_many: Option<(usize, usize)> = None;
        while letter < letters.len() {
            match self.signs.get(sign) {
                Some(Sign::Many) => {
                    last_many = Some((sign, letter));
                    sign += 1;
                }
                Some(one) if one.is_of(letters[letter]) => {
                    sign += 1;
                    letter += 1;
                }
                _ => {
                    let Some((many, taken)) = last_many else { return false };
                    last_many = Some((many, taken + 1));
                    (sign, letter) = (many + 1, taken + 1);
                }
            }
        }
        self.signs[sign..].iter().all(|sign| *sign == Sign::Many)
    }
}

/// Whether a name is meant only where it is written.
pub(super) fn is_hidden_name(name: &str) -> bool {
    name.starts_with(['.', '_']) || name == MANIFEST
}

/// The names of folders and of a file in them, some with wildcards.
#[derive(Debug)]
pub(super) struct Names(Vec<NamePart>);

#[derive(Debug)]
enum NamePart {
    AnyFolders,
    Pattern(Pattern),
    Name(String),
}

impl NamePart {
    fn of(name: &str) -> Self {
        match Pattern::of(name) {
            _ if name == ANY_FOLDERS => Self::AnyFolders,
            Some(pattern) => Self::Pattern(pattern),
            None => Self::Name(name.to_owned()),
        }
    }

    fn is_of(&self, name: &str) -> bool {
        match self {
            Self::AnyFolders => !is_hidden_name(name),
            Self::Pattern(pattern) => pattern.is_of(name),
            Self::Name(own) => own == name,
        }
    }
}

impl Names {
    /// Whether these names are meant, by the way of [`Pattern::fits`].
    pub(super) fn are(&self, names: &[String]) -> bool {
        let (mut part, mut name) = (0, 0);
        let mut last_any: Option<(usize, usize)> = None;
        while name < names.len() {
            match self.0.get(part) {
                Some(NamePart::AnyFolders) => {
                    last_any = Some((part, name));
                    part += 1;
                }
                Some(one) if one.is_of(&names[name]) => {
                    part += 1;
                    name += 1;
                }
                _ => {
                    let Some((any, taken)) = last_any else { return false };
                    if is_hidden_name(&names[taken]) {
                        return false;
                    }
                    last_any = Some((any, taken + 1));
                    (part, name) = (any + 1, taken + 1);
                }
            }
        }
        // What stands for folders at the end stands for the files in them too.
        self.0[part..].iter().all(|part| matches!(part, NamePart::AnyFolders))
    }
}

/// A name that is not on a file system: what of it has no wildcards, and what is meant below that; `None` without
/// wildcards.
pub(super) fn root_of(name: &str) -> Option<(&str, Names)> {
    let (mut from, mut at) = (name.find("://").map_or(0, |place| place + 3), 0);
    for part in name[from..].split('/') {
        if matches!(NamePart::of(part), NamePart::AnyFolders | NamePart::Pattern(_)) {
            let names = name[from..].split('/').map(NamePart::of).collect();
            return Some((name.get(..at)?, Names(names)));
        }
        at = from + part.len();
        from = at + 1;
    }
    None
}

/// One of several letters, and how long that is written; `None` where it has no end.
fn among(letters: &[char]) -> Option<(Sign, usize)> {
    let inside = !matches!(letters.get(1), Some('!' | '^'));
    let first = if inside { 1 } else { 2 };
    // A `]` that comes first is one of the letters.
    let end = first + 1 + letters.get(first + 1..)?.iter().position(|letter| *letter == ']')?;
    let (mut ranges, mut place) = (Vec::new(), first);
    while place < end {
        let last = if place + 2 < end && letters[place + 1] == '-' { place + 2 } else { place };
        ranges.push((letters[place], letters[last]));
        place = last + 1;
    }
    Some((Sign::Among { ranges, inside }, end + 1))
}

/// What a path with wildcards means, in the order of the names; `None` if it has none, or is there as it is written.
///
/// A part of the path that is there as it is written is not taken for a pattern. Where both files and folders are meant,
/// the folders are left out, as those in a folder are.
pub(super) fn expand(path: &Path, remarks: &mut Vec<String>) -> Result<Option<Vec<PathBuf>>, DataError> {
    if !path.to_string_lossy().contains(WILDCARDS) || is_there(path) {
        return Ok(None);
    }
    let origin = Origin::file(path.to_owned());
    let mut found = BTreeSet::from([PathBuf::new()]);
    let mut parts = path.iter().peekable();
    while let Some(name) = parts.next() {
        let mut next = BTreeSet::new();
        for folder in found {
            next.extend(step(&folder, name, parts.peek().is_none())?);
            check_count(&origin, next.len())?;
        }
        found = next;
    }
    let (folders, files): (Vec<_>, Vec<_>) = found.into_iter().partition(|path| path.is_dir());
    if files.is_empty() && folders.is_empty() {
        let what = "no file has such a name; look at the folder and at the wildcards (names that begin with `.` or `_` \
                    are left out)";
        return Err(DataError::Unsupported { file: origin, what: what.to_owned() });
    }
    if files.is_empty() {
        return Ok(Some(folders));
    }
    if !folders.is_empty() {
        remarks.push(format!("{origin}: the folders that are called so are left out: {}", folders.len()));
    }
    Ok(Some(files))
}

fn is_there(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

/// What the next part of a path means in a folder.
fn step(folder: &Path, name: &OsStr, is_last: bool) -> Result<Vec<PathBuf>, DataError> {
    let as_written = folder.join(name);
    if is_there(&as_written) {
        return Ok(vec![as_written]);
    }
    if name == ANY_FOLDERS {
        let mut found = if is_last { Vec::new() } else { vec![folder.to_owned()] };
        search(folder, is_last, &mut found)?;
        return Ok(found);
    }
    // Without a pattern there is nothing: as in `*/rows.csv`, where only some folders have such a file.
    let Some(pattern) = Pattern::of(&name.to_string_lossy()) else { return Ok(Vec::new()) };
    let mut found = entries_of(folder)?;
    found.retain(|path| pattern.is_of(&name_of(path)) && (is_last || path.is_dir()));
    Ok(found)
}

/// The files, or else the folders, at any depth. Links to folders are not followed, so that it ends.
fn search(folder: &Path, wants_files: bool, found: &mut Vec<PathBuf>) -> Result<(), DataError> {
    let all = Pattern { signs: vec![Sign::Many] };
    for path in entries_of(folder)?.into_iter().filter(|path| all.is_of(&name_of(path))) {
        if path.is_dir() && !path.is_symlink() {
            if !wants_files {
                found.push(path.clone());
            }
            search(&path, wants_files, found)?;
        } else if wants_files && path.is_file() {
            found.push(path);
        }
        check_count(&Origin::file(folder.to_owned()), found.len())?;
    }
    Ok(())
}

fn entries_of(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    if folder.is_dir() { entries(&Origin::file(folder.to_owned()), folder) } else { Ok(Vec::new()) }
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_the_names_that_they_mean_in_a_shell() {
        for (pattern, fits, others) in [
            ("*.csv", &["a.csv", "größe.csv", "a.csv.csv"][..], &["a.csv.gz", ".a.csv", "_a.csv", "csv"][..]),
            ("a?.csv", &["ab.csv", "aü.csv"], &["a.csv", "abc.csv", "b.csv"]),
            ("*", &["a", "a.b"], &[".a", "_SUCCESS", "manifest.json"]),
            (".*", &[".a"], &["a"]),
            ("_*", &["_a"], &["a", ".a"]),
            ("part-[0-3a].x", &["part-0.x", "part-3.x", "part-a.x"], &["part-4.x", "part-.x", "part-00.x"]),
            ("[!0-9]*", &["a1", "-"], &["1a", "", ".a"]),
            ("[]x]", &["]", "x"], &["y"]),
            ("[a-]*[z", &["-b[z", "a[z"], &["b[z", "az"]),
            ("a**b*c", &["abc", "axxbxbxc"], &["abd", "bc"]),
            ("a*a*a*a*a*b", &["aaaaab"], &["aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"]),
        ] {
            let compiled = Pattern::of(pattern).unwrap();
            for name in fits {
                assert!(compiled.is_of(name), "{pattern} is to mean {name}");
            }
            for name in others {
                assert!(!compiled.is_of(name), "{pattern} is not to mean {name}");
            }
        }
        for name in ["rows.csv", "a[b.csv", "a]", "[]", "[!]", ""] {
            assert_eq!(Pattern::of(name), None, "{name}");
        }
    }

    #[test]
    fn names_of_objects_are_told_apart_as_paths_are() {
        for (pattern, root, meant, others) in [
            ("s3://b/a/*.csv", "s3://b/a", &["x.csv"][..], &["x.txt", "c/x.csv", "_x.csv", ".x.csv"][..]),
            ("s3://b/**/*.csv", "s3://b", &["x.csv", "c/x.csv", "c/d/x.csv"], &["_c/x.csv", "c/.d/x.csv", "c"]),
            ("s3://b/c/**", "s3://b/c", &["x", "d/x"], &["_x", "d/_x", "manifest.json"]),
            ("s3://b/**/d/*/x", "s3://b", &["d/e/x", "c/d/e/x", "d/d/x", "d/d/e/x"], &["d/x", "d/e/f/x"]),
            ("s3://b/y=*/_z/x", "s3://b", &["y=1/_z/x"], &["y=1/z/x", "y/_z/x"]),
        ] {
            let (found, names) = root_of(pattern).unwrap();
            let are = |name: &&str| names.are(&name.split('/').map(str::to_owned).collect::<Vec<_>>());
            assert_eq!(found, root, "{pattern}");
            assert!(meant.iter().all(are), "{pattern} is to mean {meant:?}");
            assert!(!others.iter().any(are), "{pattern} is to mean none of {others:?}");
        }
        assert!(root_of("s3://b/a/x.csv").is_none());
    }
}
