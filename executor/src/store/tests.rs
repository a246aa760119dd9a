//! The store against good, damaged and hostile senders.

use broadsweep_common::blob::BLOCK_BYTES;

use super::*;

fn blob(blocks: usize) -> Blob {
    let content = (0..blocks * BLOCK_BYTES - 100).map(|place| (place / 997) as u8).collect();
    Blob::new(content).unwrap()
}

fn push(store: &BlobStore, blob: &Blob, index: u32) -> Result<(), StoreError> {
    store.store_block(blob.manifest.digest(), index, blob.block(index as usize).unwrap())
}

fn content_of(store: &BlobStore, digest: Digest) -> Vec<u8> {
    (*store.get(digest).unwrap().content).as_ref().to_vec()
}

#[test]
fn a_blob_is_whole_once_its_last_block_has_come() {
    for place in [Place::Cache, Place::Memory] {
        let folder = tempfile::tempdir().unwrap();
        let store = BlobStore::open(folder.path()).unwrap();
        let blob = blob(3);
        let digest = blob.manifest.digest();
        assert_eq!(store.offer(blob.manifest.clone(), place).unwrap(), Offer::Missing(vec![0, 1, 2]));
        for index in [2, 0] {
            push(&store, &blob, index).unwrap();
            assert!(store.get(digest).is_none());
        }
        assert_eq!(store.offer(blob.manifest.clone(), place).unwrap(), Offer::Missing(vec![1]));
        push(&store, &blob, 1).unwrap();
        assert_eq!(content_of(&store, digest), blob.content);
    }
}

#[test]
fn a_later_run_finds_a_cached_blob_and_not_one_from_memory() {
    let folder = tempfile::tempdir().unwrap();
    for (place, missing) in [(Place::Cache, vec![]), (Place::Memory, vec![0])] {
        let store = BlobStore::open(folder.path()).unwrap();
        let blob = blob(1);
        store.offer(blob.manifest.clone(), place).unwrap();
        push(&store, &blob, 0).unwrap();
        store.forget_run();
        assert!(store.get(blob.manifest.digest()).is_none());
        assert_eq!(store.offer(blob.manifest.clone(), place).unwrap(), Offer::Missing(missing));
    }
}

#[test]
fn a_damaged_cache_file_is_fetched_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = BlobStore::open(folder.path()).unwrap();
    let blob = blob(2);
    let path = store.path(blob.manifest.digest(), "");
    let mut damaged = blob.content.clone();
    damaged[BLOCK_BYTES + 5] ^= 1;
    fs::write(&path, damaged).unwrap();
    assert_eq!(store.offer(blob.manifest.clone(), Place::Cache).unwrap(), Offer::Missing(vec![0, 1]));
    for index in 0..2 {
        push(&store, &blob, index).unwrap();
    }
    assert_eq!(fs::read(path).unwrap(), blob.content);
}

#[test]
fn a_wrong_block_is_refused_and_the_right_one_still_taken() {
    let folder = tempfile::tempdir().unwrap();
    let store = BlobStore::open(folder.path()).unwrap();
    let blob = blob(2);
    let digest = blob.manifest.digest();
    let early = store.store_block(digest, 0, b"early").unwrap_err();
    assert!(matches!(early, StoreError::NotOffered(_)));
    store.offer(blob.manifest.clone(), Place::Cache).unwrap();
    let flipped = store.store_block(digest, 0, b"other bytes").unwrap_err();
    assert!(matches!(flipped, StoreError::Corrupt { index: 0, .. }));
    let swapped = store.store_block(digest, 0, blob.block(1).unwrap()).unwrap_err();
    assert!(matches!(swapped, StoreError::Corrupt { index: 0, .. }));
    let beyond = store.store_block(digest, 2, b"").unwrap_err();
    assert!(matches!(beyond, StoreError::NoSuchBlock { index: 2, blocks: 2 }));
    for index in 0..2 {
        push(&store, &blob, index).unwrap();
    }
    assert_eq!(content_of(&store, digest), blob.content);
}

#[test]
fn two_stores_in_one_folder_write_a_blob_once() {
    let folder = tempfile::tempdir().unwrap();
    let [first, second] = [(); 2].map(|()| BlobStore::open(folder.path()).unwrap());
    let blob = blob(1);
    assert_eq!(first.offer(blob.manifest.clone(), Place::Cache).unwrap(), Offer::Missing(vec![0]));
    assert_eq!(second.offer(blob.manifest.clone(), Place::Cache).unwrap(), Offer::Busy);
    push(&first, &blob, 0).unwrap();
    assert_eq!(second.offer(blob.manifest.clone(), Place::Cache).unwrap(), Offer::Missing(vec![]));
    assert_eq!(content_of(&second, blob.manifest.digest()), blob.content);
}

#[test]
fn a_writer_that_gives_up_leaves_the_file_to_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let [first, second] = [(); 2].map(|()| BlobStore::open(folder.path()).unwrap());
    let blob = blob(2);
    first.offer(blob.manifest.clone(), Place::Cache).unwrap();
    push(&first, &blob, 0).unwrap();
    first.forget_run();
    assert_eq!(second.offer(blob.manifest.clone(), Place::Cache).unwrap(), Offer::Missing(vec![0, 1]));
}

#[test]
fn memory_that_a_manifest_asks_for_is_bounded_before_it_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let store = BlobStore::open(folder.path()).unwrap();
    let blocks = 5 << 10; // 5 GiB
    let manifest = Manifest::checked((blocks * BLOCK_BYTES) as u64, vec![Digest([0; 32]); blocks]).unwrap();
    assert!(matches!(store.offer(manifest, Place::Memory), Err(StoreError::NoRoom { .. })));
}

#[test]
fn what_was_offered_for_an_attempt_outlives_the_result_of_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let store = BlobStore::open(folder.path()).unwrap();
    let digest = store.keep(vec![7; 10]).unwrap();
    let manifest = store.get(digest).unwrap().manifest;
    assert_eq!(store.offer(manifest, Place::Memory).unwrap(), Offer::Missing(vec![]));
    store.release(digest);
    store.release(digest);
    assert!(store.get(digest).is_some() && !store.holds_results());
    store.took_in(digest);
    assert!(store.get(digest).is_none());
}

#[test]
fn kept_weights_are_there_until_they_are_released() {
    let folder = tempfile::tempdir().unwrap();
    let store = BlobStore::open(folder.path()).unwrap();
    let digest = store.keep(vec![1, 2, 3]).unwrap();
    assert_eq!(content_of(&store, digest), [1, 2, 3]);
    store.release(digest);
    assert!(store.get(digest).is_none());
}

#[test]
fn an_empty_blob_is_whole_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = BlobStore::open(folder.path()).unwrap();
    for place in [Place::Memory, Place::Cache] {
        let manifest = Manifest::of(&[]).unwrap();
        assert_eq!(store.offer(manifest.clone(), place).unwrap(), Offer::Missing(vec![]));
        assert_eq!(content_of(&store, manifest.digest()).len(), 0);
        store.forget_run();
    }
}
