//! Files of a cache folder that are made on this machine, beside executors and other drivers.

use std::fs::{self, File};
use std::os::unix::fs::symlink;

use super::tests::{blob_of, content_of, path_of};
use super::*;

const MIB: u64 = 1 << 20;

fn cache(folder: &Path, mib: u64) -> CacheFolder {
    CacheFolder::open(folder, Some(mib * MIB)).unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let files = fs::read_dir(folder.join("blobs")).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name != "lock").collect()
}

fn make(cache: &CacheFolder, blob: &Blob) -> Blob<Bytes> {
    let file = cache.begin_new(blob.manifest.bytes()).unwrap();
    for index in (0..blob.manifest.blocks().len()).rev() {
        file.write_at(blob.block(index).unwrap().to_vec(), blob.manifest.range(index).unwrap().start).unwrap();
    }
    file.seal().unwrap()
}

#[tokio::test]
async fn an_executor_finds_what_was_made_and_needs_no_block_of_it() {
    let (folder, blob) = (tempfile::tempdir().unwrap(), blob_of(3, 1));
    let made = make(&cache(folder.path(), 8), &blob);
    assert_eq!((&made.manifest, &made.content[..]), (&blob.manifest, &blob.content[..]));
    let store = BlobStore::open(folder.path()).unwrap();
    assert_eq!(store.offer(blob.manifest.clone(), Medium::Cache).await.unwrap(), Offer::Missing(vec![]));
    assert_eq!(content_of(&store, blob.manifest.digest()), blob.content);
    assert_eq!(names(folder.path()), [blob.manifest.digest().to_string()]);
}

#[test]
fn what_is_made_stays_while_it_is_written_and_while_it_is_used_and_goes_after_that() {
    let (folder, blob) = (tempfile::tempdir().unwrap(), blob_of(2, 1));
    let (ours, theirs) = (cache(folder.path(), 3), cache(folder.path(), 3));
    let file = ours.begin_new(blob.manifest.bytes()).unwrap();
    file.write_at(blob.content.clone(), 0).unwrap();
    let refused = theirs.begin_new(2 * MIB).err().unwrap();
    assert!(refused.to_string().contains("with 2.0 MiB in use"), "{refused}");
    assert_eq!(theirs.clear().unwrap().kept.len(), 1);
    let made = file.seal().unwrap();
    assert_eq!(made.manifest, blob.manifest);
    assert!(theirs.begin_new(2 * MIB).is_err() && theirs.clear().unwrap().gone.is_empty());
    drop(made);
    assert!(theirs.begin_new(2 * MIB).is_ok(), "nobody uses it");
    assert!(names(folder.path()).is_empty(), "it has made room, and what was begun was given up");
}

#[test]
fn two_that_make_the_same_at_once_both_have_it_and_one_file_stays() {
    let (folder, blob) = (tempfile::tempdir().unwrap(), blob_of(2, 1));
    let files = [(); 2].map(|()| cache(folder.path(), 8).begin_new(blob.manifest.bytes()).unwrap());
    for file in &files {
        file.write_at(blob.content.clone(), 0).unwrap();
    }
    let made = files.map(|file| file.seal().unwrap());
    assert!(made.iter().all(|made| made.manifest == blob.manifest && made.content[..] == blob.content[..]));
    assert_eq!(names(folder.path()), [blob.manifest.digest().to_string()]);
    assert_eq!(cache(folder.path(), 8).entries().unwrap().iter().filter(|entry| entry.is_in_use).count(), 1);
}

#[test]
fn a_damaged_file_is_dropped_and_one_that_is_made_again_takes_its_place() {
    let (folder, blob) = (tempfile::tempdir().unwrap(), blob_of(2, 1));
    let (cache, path) = (cache(folder.path(), 8), path_of(folder.path(), &blob, ""));
    assert!(cache.find_whole(&blob.manifest).unwrap().is_none(), "there is none");
    let mut damaged = blob.content.clone();
    damaged[MIB as usize + 5] ^= 1;
    for wrong in [&damaged[..], &blob.content[1..], &[]] {
        fs::write(&path, wrong).unwrap();
        assert!(cache.find_whole(&blob.manifest).unwrap().is_none() && !path.exists());
    }
    fs::write(&path, &damaged).unwrap();
    let held = cache.take(&blob.manifest.digest().to_string()).unwrap().unwrap();
    assert_eq!(make(&cache, &blob).content, blob.content);
    assert_eq!(cache.find_whole(&blob.manifest).unwrap().unwrap(), blob.content);
    assert!(!part::is_at(&held, &path).unwrap(), "whoever had the old one keeps it");
}

#[test]
fn a_folder_that_is_removed_meanwhile_costs_later_runs_the_file_and_this_one_nothing() {
    let (folder, blob) = (tempfile::tempdir().unwrap(), blob_of(1, 1));
    let file = cache(folder.path(), 8).begin_new(blob.manifest.bytes()).unwrap();
    file.write_at(blob.content.clone(), 0).unwrap();
    fs::remove_dir_all(folder.path().join("blobs")).unwrap();
    assert_eq!(file.seal().unwrap().content, blob.content);
    assert!(names(folder.path()).is_empty());
}

#[test]
fn a_full_disk_is_an_error_of_the_write_and_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let cache = cache(folder.path(), 8);
    let path = folder.path().join("blobs").join(format!("{}.part", "0".repeat(64)));
    symlink("/dev/full", &path).unwrap();
    let full = File::options().write(true).open(&path).unwrap();
    let file = NewFile::of(cache.clone(), part::PartFile::new(full, path, false), 4).unwrap();
    assert_eq!(file.write_at(b"rows".to_vec(), 0).unwrap_err().kind(), std::io::ErrorKind::StorageFull);
    drop(file);
    assert!(names(folder.path()).is_empty());
    let refused = cache.begin_new(9 * MIB).err().unwrap();
    assert!(refused.to_string().contains("have 8.0 MiB"), "{refused}");
}

#[test]
fn all_cores_name_the_blocks_that_one_names() {
    let content: Vec<u8> = (0..40 * MIB + 17).map(|place| (place / 1000) as u8).collect();
    for bytes in [0, 1, MIB, 17 * MIB, content.len() as u64 - 1, content.len() as u64] {
        let content = &content[..bytes as usize];
        assert_eq!(manifest_of(content), Manifest::of(content), "{bytes}");
    }
}

#[test]
fn blocks_have_their_names_however_they_are_written() {
    let (folder, blob) = (tempfile::tempdir().unwrap(), blob_of(4, 1));
    let (content, mib) = (&blob.content, MIB as usize);
    let whole = content.len();
    for cuts in [vec![0, whole], vec![0, mib, 3 * mib, whole], vec![0, 64, mib + 1, 2 * mib, 3 * mib + 5, whole]] {
        let mut file = temporary_file(folder.path(), whole as u64 + 9).unwrap();
        file.write_at(vec![7; 2 * mib], mib as u64).unwrap(); // written over
        for piece in cuts.windows(2).rev() {
            file.write_at(content[piece[0]..piece[1]].to_vec(), piece[0] as u64).unwrap();
        }
        file.write_at(vec![9; 9], whole as u64).unwrap();
        file.end_at(whole as u64).unwrap();
        let made = file.seal().unwrap();
        assert_eq!((&made.manifest, &made.content[..]), (&blob.manifest, &content[..]), "{cuts:?}");
    }
}

#[test]
fn a_temporary_file_has_no_name_and_keeps_what_was_written() {
    let (folder, blob) = (tempfile::tempdir().unwrap(), blob_of(2, 1));
    let file = temporary_file(folder.path(), blob.manifest.bytes()).unwrap();
    file.write_at(blob.content.clone(), 0).unwrap();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    let made = file.seal().unwrap();
    assert_eq!((made.manifest, &made.content[..]), (blob.manifest, &blob.content[..]));
}
