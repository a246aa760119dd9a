//! The notes of readings: what is trusted, and what is read again.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use super::*;
use crate::settings::ArrayPair;

/// A file that was not touched for hours, and where it is kept.
fn reading(folder: &TempDir, key: u8) -> Reading {
    let file = folder.path().join("x");
    if !file.exists() {
        fs::write(&file, "rows").unwrap();
    }
    let stamp = Stamp::of(&file).unwrap();
    let [notes, blobs] = ["loaded", "blobs"].map(|name| folder.path().join(name));
    let began = SystemTime::now() + Duration::from_hours(1);
    Reading { notes, blobs, key: Digest([key; 32]), began, files: vec![(file, stamp)] }
}

/// Something that was read and kept.
fn loaded(folder: &Path) -> Loaded {
    let loaded = super::super::without_rows().unwrap();
    fs::create_dir_all(folder.join("blobs")).unwrap();
    fs::write(folder.join("blobs").join(loaded.data.manifest.digest().to_string()), &loaded.data.content).unwrap();
    loaded
}

fn cache(folder: &TempDir) -> Destination {
    Destination::LocalCache { folder: folder.path().to_owned(), bytes_max: None, rehash: false }
}

#[test]
fn what_was_noted_is_found_until_a_file_changes_or_all_is_to_be_read_anew() {
    let folder = tempfile::tempdir().unwrap();
    let (first, want) = (reading(&folder, 1), loaded(folder.path()));
    assert!(first.find(&cache(&folder)).is_none());
    first.note(&want).unwrap();
    let found = first.find(&cache(&folder)).unwrap();
    assert_eq!((found.header, found.data.content), (want.header.clone(), want.data.content.clone()));
    assert!(first.find(&cache(&folder).rehashing(true)).is_none());
    assert!(reading(&folder, 2).find(&cache(&folder)).is_none(), "other settings");
    let path = folder.path().join("x");
    fs::rename(&path, folder.path().join("old")).unwrap();
    fs::write(&path, "rows").unwrap();
    assert!(reading(&folder, 1).find(&cache(&folder)).is_none(), "another file of the same length");
}

#[test]
fn a_file_that_is_as_young_as_its_reading_is_not_trusted() {
    let folder = tempfile::tempdir().unwrap();
    let stamp = reading(&folder, 1).files[0].1;
    let at = |seconds: i64, nanos: i64| Stamp { modified: (seconds, nanos), changed: (seconds - 1, 0), ..stamp };
    let moment = SystemTime::UNIX_EPOCH + Duration::new(100, 500);
    for (file, is_racy) in [(at(98, 499), false), (at(98, 500), true), (at(100, 0), true), (at(1000, 0), true)] {
        assert_eq!(file.is_racy(moment), is_racy, "{file:?}");
        let renamed = Stamp { modified: (5, 0), changed: file.modified, ..file };
        assert_eq!(renamed.is_racy(moment), is_racy, "an old time may have been set");
    }
    let mut young = reading(&folder, 1);
    young.began = SystemTime::now();
    young.note(&loaded(folder.path())).unwrap();
    assert!(!young.path().exists());
}

#[test]
fn a_file_that_changes_while_it_is_read_and_data_that_is_not_kept_are_not_noted() {
    let folder = tempfile::tempdir().unwrap();
    let (reading, loaded) = (reading(&folder, 1), loaded(folder.path()));
    fs::write(folder.path().join("x"), "other rows").unwrap();
    reading.note(&loaded).unwrap();
    assert!(!reading.path().exists());
    let other = self::reading(&folder, 1);
    fs::remove_dir_all(folder.path().join("blobs")).unwrap();
    other.note(&loaded).unwrap();
    assert!(!other.path().exists());
}

#[test]
fn a_damaged_note_and_a_damaged_cache_file_are_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let (reading, loaded) = (reading(&folder, 1), loaded(folder.path()));
    reading.note(&loaded).unwrap();
    let whole = fs::read(reading.path()).unwrap();
    for place in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[place] ^= 1;
        fs::write(reading.path(), &damaged).unwrap();
        assert!(reading.find(&cache(&folder)).is_none(), "byte {place}");
        fs::write(reading.path(), &whole[..place]).unwrap();
        assert!(reading.find(&cache(&folder)).is_none(), "{place} bytes");
    }
    fs::write(reading.path(), &whole).unwrap();
    assert!(reading.find(&cache(&folder)).is_some());
    let blob = folder.path().join("blobs").join(loaded.data.manifest.digest().to_string());
    let mut content = loaded.data.content.to_vec();
    content[9] ^= 1;
    fs::write(&blob, content).unwrap();
    assert!(reading.find(&cache(&folder)).is_none() && !blob.exists());
}

#[test]
fn a_study_that_is_named_without_its_folder_is_noted_too() {
    let folder = tempfile::tempdir().unwrap();
    let arrays = PartArrays {
        train: ArrayPair { features: vec!["Cargo.toml".into()], labels: Vec::new() },
        validation: None,
        test: None,
        groups: None,
    };
    let settings = DataSettings::of(DataSource::Npy(arrays));
    let found = Reading::of(&cache(&folder), &settings, &Archive::default(), 1, Path::new("")).unwrap();
    assert!(found.files[0].0.is_absolute(), "{:?}", found.files);
}

#[test]
fn old_notes_make_room_for_new_ones() {
    let folder = tempfile::tempdir().unwrap();
    let loaded = loaded(folder.path());
    for key in 0..=255 {
        reading(&folder, key).note(&loaded).unwrap();
    }
    fs::write(folder.path().join("loaded/more"), "").unwrap();
    reading(&folder, 7).note(&loaded).unwrap();
    let kept = fs::read_dir(folder.path().join("loaded")).unwrap().count();
    assert!(kept <= NOTES_MAX, "{kept}");
}

#[test]
fn of_pictures_every_folder_and_file_counts() {
    let folder = tempfile::tempdir().unwrap();
    for (class, name) in [("cat", "a.png"), ("dog", "b.JPG"), ("dog", "notes.txt")] {
        let class = folder.path().join("train").join(class);
        fs::create_dir_all(&class).unwrap();
        fs::write(class.join(name), name).unwrap();
    }
    let settings = DataSettings::of(DataSource::Images { train: "train".into(), validation: None, test: None });
    let read = || Reading::of(&cache(&folder), &settings, &Archive::default(), 1, folder.path()).unwrap();
    let first = read();
    let mut names: Vec<_> = first.files.iter().map(|(path, _)| path.strip_prefix(folder.path()).unwrap()).collect();
    names.sort();
    let wanted = ["train", "train/cat", "train/cat/a.png", "train/dog", "train/dog/b.JPG"];
    assert_eq!(names, wanted.map(Path::new));
    assert_eq!(first.stamps(), read().stamps());
    fs::write(folder.path().join("train/dog/c.png"), "more").unwrap();
    assert_ne!(first.stamps(), read().stamps());
    fs::remove_dir_all(folder.path().join("train")).unwrap();
    assert!(Reading::of(&cache(&folder), &settings, &Archive::default(), 1, folder.path()).is_none());
}
