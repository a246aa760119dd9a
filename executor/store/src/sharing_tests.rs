//! The cache folder across runs, crashes and processes. A second store in a folder is as good as a second process: the
//! system keeps locks by opened file, not by process.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt, symlink};
use std::time::{Duration, SystemTime};

use broadsweep_common::blob::BLOCK_BYTES;
use tempfile::TempDir;

use super::tests::{blob_of, content_of, path_of, push};
use super::*;

const MIB: u64 = 1 << 20;

/// A store for so many MiB of cache files, in a folder that others may share.
fn store(folder: &TempDir, mib: u64) -> BlobStore {
    let limits = Limits { cache_bytes: Some(mib * MIB), memory_bytes: MEMORY_BLOB_BYTES_MAX };
    BlobStore::with_limits(folder.path(), limits).unwrap()
}

async fn offer(store: &BlobStore, blob: &Blob) -> Result<Offer, StoreError> {
    store.offer(blob.manifest.clone(), Medium::Cache).await
}

/// Brings a whole blob into a store.
async fn fill(store: &BlobStore, blob: &Blob) {
    let Offer::Missing(missing) = offer(store, blob).await.unwrap() else { panic!("another one writes it") };
    for index in missing {
        push(store, blob, index).unwrap();
    }
    assert_eq!(content_of(store, blob.manifest.digest()), blob.content);
}

fn is_kept(folder: &TempDir, blob: &Blob) -> bool {
    path_of(folder.path(), blob, "").exists()
}

/// What a writer that was killed leaves: a file of the blob's length with these blocks.
fn leave(folder: &TempDir, blob: &Blob, blocks: &[usize]) {
    let file = File::create(path_of(folder.path(), blob, ".part")).unwrap();
    file.set_len(blob.manifest.bytes()).unwrap();
    for index in blocks {
        file.write_all_at(blob.block(*index).unwrap(), (index * BLOCK_BYTES) as u64).unwrap();
    }
}

fn used_ago(folder: &TempDir, blob: &Blob, hours: u64) {
    let file = File::open(path_of(folder.path(), blob, "")).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_hours(hours)).unwrap();
}

#[tokio::test]
async fn what_was_not_used_for_longest_goes_first_and_no_more_than_has_to() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = [1, 2, 3].map(|fill| blob_of(1, fill));
    for (blob, hours) in blobs.iter().zip([1, 3, 2]) {
        let store = store(&folder, 3);
        fill(&store, blob).await;
        drop(store);
        used_ago(&folder, blob, hours);
    }
    fill(&store(&folder, 3), &blob_of(1, 4)).await;
    assert_eq!(blobs.each_ref().map(|blob| is_kept(&folder, blob)), [true, false, true]);
    // To use it is to make it young.
    let user = store(&folder, 3);
    assert_eq!(offer(&user, &blobs[2]).await.unwrap(), Offer::Missing(vec![]));
    let youngest = &user.cache.entries().unwrap()[0].blob;
    assert_eq!(
        *youngest,
        blobs[2].manifest.digest().to_string(),
        "noted at once: a process that is killed notes no end"
    );
    drop(user);
    fill(&store(&folder, 3), &blob_of(1, 5)).await;
    assert_eq!(blobs.each_ref().map(|blob| is_kept(&folder, blob)), [false, false, true]);
}

#[tokio::test]
async fn a_file_counts_as_used_until_it_is_let_go() {
    let folder = tempfile::tempdir().unwrap();
    let (store, blob) = (store(&folder, 3), blob_of(1, 0));
    fill(&store, &blob).await;
    used_ago(&folder, &blob, 2);
    store.forget_run();
    let used = store.cache.entries().unwrap()[0].last_used;
    assert!(used > SystemTime::now() - Duration::from_hours(1), "{used:?}");
}

#[tokio::test]
async fn what_another_process_uses_stays_and_goes_once_that_ends() {
    let folder = tempfile::tempdir().unwrap();
    let [user, newcomer] = [(); 2].map(|()| store(&folder, 3));
    let (used, idle, new) = (blob_of(2, 1), blob_of(1, 2), blob_of(2, 3));
    fill(&user, &used).await;
    fill(&newcomer, &idle).await;
    newcomer.forget_run();
    let refused = offer(&newcomer, &new).await.unwrap_err();
    assert!(refused.may_pass() && refused.to_string().contains("with 2.0 MiB in use"), "{refused}");
    assert!(is_kept(&folder, &used) && is_kept(&folder, &idle), "what does not fit must not drive others out");
    assert!(!path_of(folder.path(), &new, ".part").exists());
    let kept = newcomer.cache.clear().unwrap().kept;
    assert_eq!(kept.iter().map(|entry| &entry.blob).collect::<Vec<_>>(), [&used.manifest.digest().to_string()]);
    drop(user);
    fill(&newcomer, &new).await;
    assert!(!is_kept(&folder, &used));
}

#[tokio::test]
async fn what_is_being_written_stays_and_counts_as_what_it_will_be() {
    let folder = tempfile::tempdir().unwrap();
    let [writer, newcomer] = [(); 2].map(|()| store(&folder, 3));
    let half = blob_of(2, 1);
    offer(&writer, &half).await.unwrap();
    push(&writer, &half, 0).unwrap();
    assert!(matches!(offer(&newcomer, &blob_of(2, 2)).await, Err(StoreError::CacheFull { .. })));
    assert_eq!(newcomer.cache.clear().unwrap().kept.len(), 1);
    fill(&newcomer, &blob_of(1, 3)).await;
    push(&writer, &half, 1).unwrap();
    assert_eq!(content_of(&writer, half.manifest.digest()), half.content);
    assert_eq!(newcomer.cache.clear().unwrap().kept.len(), 2, "sealed, and still in use");
}

#[tokio::test]
async fn the_disk_sets_room_aside_for_what_was_offered_and_has_not_come() {
    let folder = tempfile::tempdir().unwrap();
    let probe = tempfile::tempfile_in(folder.path()).unwrap();
    if rustix::fs::fallocate(&probe, rustix::fs::FallocateFlags::empty(), 0, MIB).is_err() {
        eprintln!("skipped: this file system sets no room aside");
        return;
    }
    let store = store(&folder, 3);
    let blob = blob_of(2, 1);
    offer(&store, &blob).await.unwrap();
    let file = fs::metadata(path_of(folder.path(), &blob, ".part")).unwrap();
    assert!(file.blocks() * 512 >= 2 * MIB, "{} sectors", file.blocks());
    // Nothing of it counts as a block that has come.
    assert_eq!(store.missing(blob.manifest.digest()), Some((2, vec![0, 1])));
    drop(store);
    assert!(!path_of(folder.path(), &blob, ".part").exists());
}

#[tokio::test]
async fn a_disk_that_sets_no_room_aside_and_fills_up_is_an_error_that_says_what_to_do_and_gives_its_room_back() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder, 3);
    let blob = blob_of(2, 1);
    let name = blob.manifest.digest();
    let path = path_of(folder.path(), &blob, ".part");
    symlink("/dev/full", &path).unwrap();
    let full = File::options().read(true).write(true).open(&path).unwrap();
    let part = part::PartFile::new(full, path.clone(), false);
    let assembly = Assembly::in_file(blob.manifest.clone(), part).await;
    store.state().arriving.insert(name, (Medium::Cache, assembly));
    let error = push(&store, &blob, 1).unwrap_err();
    for part in ["No space left on device", "broadsweep cache clear", "--cache-dir"] {
        assert!(error.to_string().contains(part), "{part}: {error}");
    }
    assert!(!path.exists(), "the room is not given back");
    assert_eq!(offer(&store, &blob).await.unwrap(), Offer::Missing(vec![0, 1]));
}

#[tokio::test]
async fn data_larger_than_the_cache_is_refused_with_both_sizes_and_drives_nothing_out() {
    let folder = tempfile::tempdir().unwrap();
    let small = store(&folder, 2);
    let (kept, large) = (blob_of(1, 1), blob_of(4, 2));
    fill(&small, &kept).await;
    small.forget_run();
    let refused = offer(&small, &large).await.unwrap_err();
    for part in ["4.0 MiB of data", "may have 2.0 MiB", "--cache-bytes"] {
        assert!(refused.to_string().contains(part), "{part}: {refused}");
    }
    assert!(!refused.may_pass() && is_kept(&folder, &kept));
}

#[tokio::test]
async fn a_smaller_limit_at_the_next_start_is_kept_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = [1, 2].map(|fill| blob_of(1, fill));
    for (blob, hours) in blobs.iter().zip([2, 1]) {
        fill(&store(&folder, 2), blob).await;
        used_ago(&folder, blob, hours);
    }
    let cache = CacheFolder::open(folder.path(), Some(MIB)).unwrap();
    assert_eq!(blobs.each_ref().map(|blob| is_kept(&folder, blob)), [false, true]);
    assert_eq!(CacheFolder::find(folder.path()).unwrap().unwrap().bytes_max(), cache.bytes_max());
}

#[tokio::test]
async fn a_file_that_was_left_half_written_is_finished() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder, 8);
    // The last block is all zeros: a hole is what it has to be.
    let mut content = blob_of(3, 1).content;
    content[2 * BLOCK_BYTES..].fill(0);
    let blob = Blob::new(content).unwrap();
    leave(&folder, &blob, &[1]);
    assert_eq!(offer(&store, &blob).await.unwrap(), Offer::Missing(vec![0]));
    push(&store, &blob, 0).unwrap();
    assert_eq!(content_of(&store, blob.manifest.digest()), blob.content);
    assert!(is_kept(&folder, &blob));
}

#[tokio::test]
async fn a_block_that_was_left_damaged_is_asked_for_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder, 8);
    let blob = blob_of(3, 1);
    leave(&folder, &blob, &[0, 1, 2]);
    let part = File::options().write(true).open(path_of(folder.path(), &blob, ".part")).unwrap();
    part.write_all_at(&[0xff], BLOCK_BYTES as u64 + 7).unwrap();
    assert_eq!(offer(&store, &blob).await.unwrap(), Offer::Missing(vec![1]));
    assert_eq!(store.block(blob.manifest.digest(), 2).unwrap().unwrap(), blob.block(2).unwrap());
    push(&store, &blob, 1).unwrap();
    assert_eq!(content_of(&store, blob.manifest.digest()), blob.content);
}

#[tokio::test]
async fn a_file_that_was_left_whole_before_it_was_sealed_needs_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (store, blob) = (store(&folder, 8), blob_of(2, 1));
    leave(&folder, &blob, &[0, 1]);
    assert_eq!(offer(&store, &blob).await.unwrap(), Offer::Missing(vec![]));
    assert_eq!(content_of(&store, blob.manifest.digest()), blob.content);
}

#[tokio::test]
async fn what_is_half_written_and_nobody_writes_goes_before_what_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let (old, half) = (blob_of(1, 1), blob_of(2, 2));
    fill(&store(&folder, 3), &old).await;
    used_ago(&folder, &old, 1000);
    leave(&folder, &half, &[0]);
    fill(&store(&folder, 3), &blob_of(2, 3)).await;
    assert!(is_kept(&folder, &old) && !path_of(folder.path(), &half, ".part").exists());
}

#[tokio::test]
async fn two_offers_of_one_blob_at_the_same_time_are_one_search() {
    let folder = tempfile::tempdir().unwrap();
    let (store, blob) = (store(&folder, 8), blob_of(3, 1));
    fill(&store, &blob).await;
    store.forget_run();
    let (first, second) = tokio::join!(offer(&store, &blob), offer(&store, &blob));
    assert_eq!((first.unwrap(), second.unwrap()), (Offer::Missing(vec![]), Offer::Busy));
    assert_eq!(offer(&store, &blob).await.unwrap(), Offer::Missing(vec![]));
}

#[tokio::test]
async fn an_offer_that_nobody_waits_for_any_more_does_not_keep_the_next_from_it() {
    let folder = tempfile::tempdir().unwrap();
    let (store, blob) = (store(&folder, 8), blob_of(3, 1));
    fill(&store, &blob).await;
    store.forget_run();
    tokio::select! {
        biased;
        _ = offer(&store, &blob) => panic!("it did not let others have their turn"),
        () = tokio::task::yield_now() => {}
    }
    assert_eq!(store.missing(blob.manifest.digest()), None);
    assert_eq!(offer(&store, &blob).await.unwrap(), Offer::Missing(vec![]));
}

#[tokio::test]
async fn what_a_run_asked_for_is_not_taken_in_once_it_has_gone() {
    let folder = tempfile::tempdir().unwrap();
    let (store, blob) = (store(&folder, 8), blob_of(3, 1));
    fill(&store, &blob).await;
    store.forget_run();
    let (offered, ()) = tokio::join!(offer(&store, &blob), async { store.forget_run() });
    assert_eq!(offered.unwrap(), Offer::Busy);
    assert!(store.get(blob.manifest.digest()).is_none());
    assert_eq!(store.cache.clear().unwrap().gone.len(), 1, "it is still in use");
}

#[tokio::test]
async fn entries_say_what_they_are_and_foreign_files_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (store, used, half) = (store(&folder, 8), blob_of(1, 1), blob_of(3, 2));
    fill(&store, &used).await;
    leave(&folder, &half, &[1]);
    fs::write(folder.path().join("blobs/readme"), "mine").unwrap();
    let entries = CacheFolder::find(folder.path()).unwrap().unwrap().entries().unwrap();
    assert_eq!(entries.len(), 2);
    for entry in entries {
        let is_half = entry.blob == half.manifest.digest().to_string();
        assert_eq!((entry.is_half_written, entry.is_in_use), (is_half, !is_half), "{entry:?}");
        assert_eq!(entry.bytes, if is_half { MIB } else { used.manifest.bytes() });
    }
    assert_eq!(store.cache.clear().unwrap().gone.len(), 1);
    assert!(folder.path().join("blobs/readme").exists());
    assert!(CacheFolder::find(&folder.path().join("elsewhere")).unwrap().is_none());
}

#[test]
fn a_sealed_file_that_somebody_keeps_to_himself_is_told_and_does_not_pass_for_missing() {
    let folder = tempfile::tempdir().unwrap();
    let (store, blob) = (store(&folder, 3), blob_of(1, 0));
    let path = path_of(folder.path(), &blob, "");
    fs::write(&path, &blob.content).unwrap();
    let kept = File::open(&path).unwrap();
    kept.lock().unwrap();
    let taken = store.cache.take(&blob.manifest.digest().to_string());
    assert!(matches!(&taken, Err(StoreError::File { path: found, .. }) if *found == path), "{taken:?}");
}

#[test]
fn what_is_no_blob_by_its_name_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let cache = CacheFolder::open(folder.path(), None).unwrap();
    let names = ["abc".to_owned(), "z".repeat(64), "a".repeat(65)];
    let paths = names.map(|name| folder.path().join("blobs").join(name));
    for path in &paths {
        fs::write(path, "somebody's").unwrap();
    }
    assert_eq!(cache.clear().unwrap().gone.len(), 0);
    assert!(paths.iter().all(|path| path.exists()));
}

#[tokio::test]
async fn a_blob_as_large_as_the_cache_has_room() {
    let folder = tempfile::tempdir().unwrap();
    let blob = blob_of(1, 0);
    let limits = Limits { cache_bytes: Some(blob.manifest.bytes()), memory_bytes: MEMORY_BLOB_BYTES_MAX };
    fill(&BlobStore::with_limits(folder.path(), limits).unwrap(), &blob).await;
}

#[tokio::test]
async fn as_many_files_go_as_a_large_one_needs() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = [1, 2].map(|fill| blob_of(1, fill));
    for blob in &blobs {
        fill(&store(&folder, 2), blob).await;
    }
    assert_eq!(blobs.each_ref().map(|blob| is_kept(&folder, blob)), [true, true]);
    fill(&store(&folder, 2), &blob_of(2, 3)).await;
    assert_eq!(blobs.each_ref().map(|blob| is_kept(&folder, blob)), [false, false]);
}

#[test]
fn a_file_that_goes_while_the_folder_is_read_is_passed_over_and_one_that_cannot_be_read_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let cache = CacheFolder::open(folder.path(), None).unwrap();
    let path = folder.path().join("blobs").join("a".repeat(64));
    symlink(folder.path().join("gone"), &path).unwrap();
    assert!(cache.entries().unwrap().is_empty());
    fs::remove_file(&path).unwrap();
    symlink(&path, &path).unwrap();
    assert!(matches!(cache.entries(), Err(StoreError::File { path: found, .. }) if found == path));
}

#[test]
fn a_file_that_is_being_written_counts_whole_and_one_that_was_given_up_as_far_as_it_came() {
    let folder = tempfile::tempdir().unwrap();
    let cache = CacheFolder::open(folder.path(), None).unwrap();
    let blob = blob_of(2, 0);
    leave(&folder, &blob, &[]);
    let bytes = || cache.entries().unwrap()[0].bytes;
    let writer = File::open(path_of(folder.path(), &blob, ".part")).unwrap();
    writer.lock().unwrap();
    assert_eq!(bytes(), blob.manifest.bytes());
    drop(writer);
    assert!(bytes() < blob.manifest.bytes());
}
