//! The cache folder against whoever removes it while an executor stands.

use std::fs::{self, File};
use std::io::ErrorKind;

use tempfile::TempDir;

use super::part::is_at;
use super::tests::{blob_of, content_of, path_of, push};
use super::*;

const LIMIT: u64 = 64 << 20;

/// A store in a folder that goes and comes.
fn store(folder: &TempDir) -> BlobStore {
    let limits = Limits { cache_bytes: Some(LIMIT), memory_bytes: MEMORY_BLOB_BYTES_MAX };
    BlobStore::with_limits(&folder.path().join("cache"), limits).unwrap()
}

async fn offer(store: &BlobStore, blob: &Blob) -> Offer {
    store.offer(blob.manifest.clone(), Medium::Cache).await.unwrap()
}

fn remove(folder: &TempDir) {
    fs::remove_dir_all(folder.path().join("cache")).unwrap();
}

#[test]
fn a_file_whose_place_cannot_be_looked_at_does_not_pass_for_removed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let file = File::create(&path).unwrap();
    assert!(is_at(&file, &path).unwrap());
    assert_eq!(is_at(&file, &path.join("below")).unwrap_err().kind(), ErrorKind::NotADirectory);
    fs::remove_file(&path).unwrap();
    assert!(!is_at(&file, &path).unwrap());
}

#[tokio::test]
async fn a_folder_that_was_removed_is_made_again_with_its_limit() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    for fill in 0..2 {
        remove(&folder);
        let blob = blob_of(1, fill);
        assert_eq!(offer(&store, &blob).await, Offer::Missing(vec![0]));
        push(&store, &blob, 0).unwrap();
        store.forget_run();
        assert_eq!(offer(&store, &blob).await, Offer::Missing(vec![]), "it is kept in the new folder");
        let found = CacheFolder::find(&folder.path().join("cache")).unwrap().unwrap();
        assert_eq!(found.bytes_max(), LIMIT);
    }
}

#[tokio::test]
async fn a_file_that_was_removed_while_its_blob_came_serves_the_run_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    let blob = blob_of(2, 0);
    offer(&store, &blob).await;
    push(&store, &blob, 0).unwrap();
    remove(&folder);
    push(&store, &blob, 1).unwrap();
    assert_eq!(content_of(&store, blob.manifest.digest()), blob.content);
    store.forget_run();
    assert_eq!(offer(&store, &blob).await, Offer::Missing(vec![0, 1]), "it had no name, and is gone");
}

#[tokio::test]
async fn what_another_process_writes_in_the_new_folder_is_neither_sealed_nor_removed() {
    for finishes in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let blob = blob_of(2, 0);
        let before = store(&folder);
        offer(&before, &blob).await;
        remove(&folder);
        let after = store(&folder);
        offer(&after, &blob).await;
        push(&after, &blob, 0).unwrap();
        if finishes {
            (0..2).for_each(|index| push(&before, &blob, index).unwrap());
        }
        drop(before);
        let path = |ending| path_of(&folder.path().join("cache"), &blob, ending);
        assert!(path(".part").exists() && !path("").exists(), "finishes: {finishes}");
        push(&after, &blob, 1).unwrap();
        assert_eq!(fs::read(path("")).unwrap(), blob.content);
    }
}
