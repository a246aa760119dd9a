//! The store against good, damaged and hostile senders.

use std::fs;
use std::path::PathBuf;

use broadsweep_common::blob::BLOCK_BYTES;
use broadsweep_common::encoding::Encoding;
use broadsweep_common::ids::TaskId;

use super::*;

pub(super) fn blob(blocks: usize) -> Blob {
    blob_of(blocks, 0)
}

/// Other bytes for each `fill`.
pub(super) fn blob_of(blocks: usize, fill: u8) -> Blob {
    let content = (0..blocks * BLOCK_BYTES - 100).map(|place| (place / 997) as u8 ^ fill).collect();
    Blob::new(content).unwrap()
}

pub(super) fn path_of(folder: &Path, blob: &Blob, ending: &str) -> PathBuf {
    folder.join("blobs").join(format!("{}{ending}", blob.manifest.digest()))
}

fn raw(content: &[u8]) -> Encoded {
    Encoded { encoding: Encoding::Raw, content: Bytes::copy_from_slice(content) }
}

pub(super) fn push(store: &BlobStore, blob: &Blob, index: u32) -> Result<(), StoreError> {
    store.store_block(blob.manifest.digest(), index, raw(blob.block(index as usize).unwrap()))
}

pub(super) fn content_of(store: &BlobStore, digest: Digest) -> Vec<u8> {
    (*store.get(digest).unwrap().content).as_ref().to_vec()
}

#[tokio::test]
async fn a_blob_is_whole_once_its_last_block_has_come() {
    for medium in [Medium::Cache, Medium::Memory] {
        let folder = tempfile::tempdir().unwrap();
        let store = BlobStore::open(folder.path()).unwrap();
        let blob = blob(3);
        let digest = blob.manifest.digest();
        assert_eq!(store.offer(blob.manifest.clone(), medium).await.unwrap(), Offer::Missing(vec![0, 1, 2]));
        for index in [2, 0] {
            push(&store, &blob, index).unwrap();
            assert!(store.get(digest).is_none());
        }
        assert_eq!(store.offer(blob.manifest.clone(), medium).await.unwrap(), Offer::Missing(vec![1]));
        push(&store, &blob, 1).unwrap();
        assert_eq!(content_of(&store, digest), blob.content);
    }
}

#[tokio::test]
async fn blocks_that_have_just_come_are_given_from_memory_and_earlier_ones_from_their_file() {
    let folder = tempfile::tempdir().unwrap();
    let store = BlobStore::open(folder.path()).unwrap();
    let blob = blob(20);
    let digest = blob.manifest.digest();
    store.offer(blob.manifest.clone(), Medium::Cache).await.unwrap();
    let came: Vec<_> = (0..19).map(|index| raw(blob.block(index).unwrap())).collect();
    for (index, block) in came.iter().enumerate() {
        store.store_block(digest, index as u32, block.clone()).unwrap();
    }
    let given = [0, 10, 11, 18].map(|index| (index, store.block(digest, index as u32).unwrap().unwrap()));
    for (index, block) in &given {
        assert_eq!(*block, blob.block(*index).unwrap());
    }
    let is_what_came = given.map(|(index, block)| block.as_ptr() == came[index].content.as_ptr());
    assert_eq!(is_what_came, [false, false, true, true]);
}

#[tokio::test]
async fn a_later_run_finds_a_cached_blob_and_not_one_from_memory() {
    let folder = tempfile::tempdir().unwrap();
    for (medium, missing) in [(Medium::Cache, vec![]), (Medium::Memory, vec![0])] {
        let store = BlobStore::open(folder.path()).unwrap();
        let blob = blob(1);
        store.offer(blob.manifest.clone(), medium).await.unwrap();
        push(&store, &blob, 0).unwrap();
        store.forget_run();
        assert!(store.get(blob.manifest.digest()).is_none());
        assert_eq!(store.offer(blob.manifest.clone(), medium).await.unwrap(), Offer::Missing(missing));
    }
}

#[tokio::test]
async fn a_damaged_cache_file_is_fetched_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = BlobStore::open(folder.path()).unwrap();
    let blob = blob(2);
    let path = path_of(folder.path(), &blob, "");
    let mut damaged = blob.content.clone();
    damaged[BLOCK_BYTES + 5] ^= 1;
    fs::write(&path, damaged).unwrap();
    assert_eq!(store.offer(blob.manifest.clone(), Medium::Cache).await.unwrap(), Offer::Missing(vec![0, 1]));
    for index in 0..2 {
        push(&store, &blob, index).unwrap();
    }
    assert_eq!(fs::read(path).unwrap(), blob.content);
}

#[tokio::test]
async fn a_wrong_block_is_refused_and_the_right_one_still_taken() {
    let folder = tempfile::tempdir().unwrap();
    let store = BlobStore::open(folder.path()).unwrap();
    let blob = blob(2);
    let digest = blob.manifest.digest();
    let early = store.store_block(digest, 0, raw(b"early")).unwrap_err();
    assert!(matches!(early, StoreError::NotOffered(_)));
    store.offer(blob.manifest.clone(), Medium::Cache).await.unwrap();
    let flipped = store.store_block(digest, 0, raw(b"other bytes")).unwrap_err();
    assert!(matches!(flipped, StoreError::Corrupt { index: 0, .. }));
    let swapped = store.store_block(digest, 0, raw(blob.block(1).unwrap())).unwrap_err();
    assert!(matches!(swapped, StoreError::Corrupt { index: 0, .. }));
    let beyond = store.store_block(digest, 2, raw(b"")).unwrap_err();
    assert!(matches!(beyond, StoreError::NoSuchBlock { index: 2, blocks: 2 }));
    for index in 0..2 {
        push(&store, &blob, index).unwrap();
    }
    assert_eq!(content_of(&store, digest), blob.content);
}

#[tokio::test]
async fn an_encoded_block_is_kept_as_it_was_and_a_damaged_one_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = BlobStore::open(folder.path()).unwrap();
    let blob = blob(2);
    let digest = blob.manifest.digest();
    let encoded = |index| Encoded::of(Bytes::copy_from_slice(blob.block(index).unwrap()), Encoding::Lz4);
    store.offer(blob.manifest.clone(), Medium::Cache).await.unwrap();
    let mut cut = encoded(0);
    cut.content.truncate(cut.content.len() / 2);
    assert!(matches!(store.store_block(digest, 0, cut), Err(StoreError::Encoding { index: 0, .. })));
    // The last block is shorter than the others.
    assert!(matches!(store.store_block(digest, 0, encoded(1)), Err(StoreError::Encoding { index: 0, .. })));
    assert!(matches!(store.store_block(digest, 1, encoded(0)), Err(StoreError::Encoding { index: 1, .. })));
    for index in 0..2 {
        store.store_block(digest, index, encoded(index as usize)).unwrap();
    }
    assert_eq!(content_of(&store, digest), blob.content);
}

#[tokio::test]
async fn two_stores_in_one_folder_write_a_blob_once() {
    let folder = tempfile::tempdir().unwrap();
    let [first, second] = [(); 2].map(|()| BlobStore::open(folder.path()).unwrap());
    let blob = blob(1);
    assert_eq!(first.offer(blob.manifest.clone(), Medium::Cache).await.unwrap(), Offer::Missing(vec![0]));
    assert_eq!(second.offer(blob.manifest.clone(), Medium::Cache).await.unwrap(), Offer::Busy);
    push(&first, &blob, 0).unwrap();
    assert_eq!(second.offer(blob.manifest.clone(), Medium::Cache).await.unwrap(), Offer::Missing(vec![]));
    assert_eq!(content_of(&second, blob.manifest.digest()), blob.content);
}

#[tokio::test]
async fn a_writer_that_gives_up_leaves_what_arrived_to_the_next_and_no_empty_file() {
    let folder = tempfile::tempdir().unwrap();
    let [first, second] = [(); 2].map(|()| BlobStore::open(folder.path()).unwrap());
    let blob = blob(2);
    let part = path_of(folder.path(), &blob, ".part");
    first.offer(blob.manifest.clone(), Medium::Cache).await.unwrap();
    assert!(part.exists());
    first.forget_run();
    assert!(!part.exists());
    first.offer(blob.manifest.clone(), Medium::Cache).await.unwrap();
    push(&first, &blob, 0).unwrap();
    first.forget_run();
    assert_eq!(second.offer(blob.manifest.clone(), Medium::Cache).await.unwrap(), Offer::Missing(vec![1]));
    push(&second, &blob, 1).unwrap();
    assert_eq!(content_of(&second, blob.manifest.digest()), blob.content);
}

#[tokio::test]
async fn a_blob_that_is_given_up_where_the_disk_is_full_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let (blob, path) = (blob(2), folder.path().join("half.part"));
    let file = fs::File::options().read(true).write(true).create_new(true).open(&path).unwrap();
    let part = part::PartFile::new(file, path.clone(), false);
    let mut assembly = Assembly::in_file(blob.manifest.clone(), part).await;
    let block = Bytes::copy_from_slice(blob.block(0).unwrap());
    assembly.write(0, block.clone(), Digest::of(&block)).unwrap();
    assembly.discard();
    assert!(!path.exists());
}

#[tokio::test]
async fn memory_that_a_manifest_asks_for_is_bounded_before_it_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let store = BlobStore::open(folder.path()).unwrap();
    let blocks = 5 << 10; // 5 GiB
    let manifest = Manifest::checked((blocks * BLOCK_BYTES) as u64, vec![Digest([0; 32]); blocks]).unwrap();
    assert!(matches!(store.offer(manifest, Medium::Memory).await, Err(StoreError::NoRoom { .. })));
}

#[tokio::test]
async fn what_was_offered_for_an_attempt_outlives_the_result_of_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(BlobStore::open(folder.path()).unwrap());
    let digest = store.shelf().keep(vec![7; 10], Made::Result).unwrap();
    let manifest = store.get(digest).unwrap().manifest;
    assert_eq!(store.offer(manifest, Medium::Memory).await.unwrap(), Offer::Missing(vec![]));
    store.let_go(digest);
    store.let_go(digest);
    assert!(store.get(digest).is_some() && !store.holds_results());
    store.shelf().claim(digest);
    assert!(store.get(digest).is_some());
    assert!(store.shelf().take_in(digest).is_some());
    assert!(store.get(digest).is_none());
}

#[tokio::test]
async fn what_was_offered_and_is_made_here_before_it_came_is_there_for_both() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(BlobStore::open(folder.path()).unwrap());
    let blob = Blob::new(vec![7; 10]).unwrap();
    let digest = blob.manifest.digest();
    assert_eq!(store.offer(blob.manifest.clone(), Medium::Memory).await.unwrap(), Offer::Missing(vec![0]));
    store.shelf().keep(blob.content.clone(), Made::Result).unwrap();
    push(&store, &blob, 0).unwrap();
    store.let_go(digest);
    store.shelf().claim(digest);
    assert!(store.shelf().take_in(digest).is_some(), "the result's end took what was sent with it");
    assert!(store.get(digest).is_none() && store.missing(digest).is_none());
}

#[tokio::test]
async fn what_is_offered_for_two_while_it_comes_is_there_for_both() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(BlobStore::open(folder.path()).unwrap());
    let blob = blob(2);
    let digest = blob.manifest.digest();
    for missing in [vec![0, 1], vec![1]] {
        assert_eq!(
            store.offer(blob.manifest.clone(), Medium::Memory).await.unwrap(),
            Offer::Missing(missing.clone())
        );
        push(&store, &blob, missing[0]).unwrap();
    }
    let shelves = [1, 2].map(|number| store.shelf_of(AttemptId { task: TaskId(3), number }));
    shelves[0].claim(digest);
    assert!(shelves[0].take_in(digest).is_some());
    shelves[1].claim(digest);
    store.forget_supplies();
    assert!(shelves[1].take_in(digest).is_some(), "it was launched with it");
    assert!(store.get(digest).is_none());
}

#[tokio::test]
async fn what_came_for_attempts_that_were_never_launched_is_dropped_with_the_session_that_sent_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(BlobStore::open(folder.path()).unwrap());
    let (data, supply) = (blob(1), blob_of(1, 1));
    for (blob, medium) in [(&data, Medium::Cache), (&supply, Medium::Memory)] {
        store.offer(blob.manifest.clone(), medium).await.unwrap();
        push(&store, blob, 0).unwrap();
    }
    let made = store.shelf().keep(vec![1], Made::Checkpoint).unwrap();
    store.offer(store.get(made).unwrap().manifest, Medium::Memory).await.unwrap();
    store.forget_supplies();
    assert!(store.get(data.manifest.digest()).is_some() && store.get(supply.manifest.digest()).is_none());
    store.let_go(made);
    assert!(store.get(made).is_none(), "it waits for an attempt that does not come");
    let again = store.shelf().keep(vec![1], Made::Checkpoint).unwrap();
    store.offer(store.get(again).unwrap().manifest, Medium::Memory).await.unwrap();
    store.shelf().claim(again);
    store.let_go(again);
    store.shelf().disclaim(again);
    assert!(store.get(again).is_none(), "it waits for an attempt that has ended");
}

#[test]
fn what_two_attempts_made_alike_stays_until_both_are_done_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(BlobStore::open(folder.path()).unwrap());
    let [first, second] = [1, 2].map(|number| AttemptId { task: TaskId(3), number });
    let blob = store.shelf_of(first).keep(vec![7; 10], Made::Checkpoint).unwrap();
    assert_eq!(store.shelf_of(second).keep(vec![7; 10], Made::Result).unwrap(), blob);
    store.release(first, blob);
    store.release(first, blob);
    assert!(store.get(blob).is_some() && store.holds_results(), "the other one's result is gone");
    store.release(second, blob);
    assert!(store.get(blob).is_none() && !store.holds_results());
}

#[test]
fn kept_weights_are_there_until_they_are_released() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(BlobStore::open(folder.path()).unwrap());
    let digest = store.shelf().keep(vec![1, 2, 3], Made::Result).unwrap();
    assert_eq!(content_of(&store, digest), [1, 2, 3]);
    store.let_go(digest);
    assert!(store.get(digest).is_none());
}

#[tokio::test]
async fn an_empty_blob_is_whole_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = BlobStore::open(folder.path()).unwrap();
    for medium in [Medium::Memory, Medium::Cache] {
        let manifest = Manifest::of(&[]).unwrap();
        assert_eq!(store.offer(manifest.clone(), medium).await.unwrap(), Offer::Missing(vec![]));
        assert_eq!(content_of(&store, manifest.digest()).len(), 0);
        store.forget_run();
    }
}

#[tokio::test]
async fn a_block_can_be_read_as_soon_as_it_is_here() {
    for medium in [Medium::Cache, Medium::Memory] {
        let folder = tempfile::tempdir().unwrap();
        let store = BlobStore::open(folder.path()).unwrap();
        let blob = blob(2);
        let digest = blob.manifest.digest();
        let read = |index: u32| store.block(digest, index).unwrap();
        assert_eq!((read(0), store.missing(digest)), (None, None));
        store.offer(blob.manifest.clone(), medium).await.unwrap();
        assert_eq!((read(1), store.missing(digest)), (None, Some((2, vec![0, 1]))));
        push(&store, &blob, 1).unwrap();
        assert_eq!((read(0), store.missing(digest)), (None, Some((2, vec![0]))));
        assert_eq!(read(1).unwrap(), blob.block(1).unwrap());
        push(&store, &blob, 0).unwrap();
        for index in 0..2 {
            assert_eq!(read(index).unwrap(), blob.block(index as usize).unwrap());
        }
        assert_eq!((read(2), store.missing(digest)), (None, Some((2, vec![]))));
        assert_eq!(read(u32::MAX), None);
    }
}

#[tokio::test]
async fn memory_for_blobs_can_be_limited_below_what_they_may_take_anywhere() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits { cache_bytes: None, memory_bytes: 1000 };
    let store = Arc::new(BlobStore::with_limits(folder.path(), limits).unwrap());
    store.shelf().keep(vec![1; 600], Made::Result).unwrap();
    assert!(matches!(store.shelf().keep(vec![2; 600], Made::Result), Err(StoreError::NoRoom { .. })));
}

#[test]
fn an_attempt_of_a_run_that_has_gone_neither_keeps_nor_drops_anything() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(BlobStore::open(folder.path()).unwrap());
    let gone = store.shelf();
    store.forget_run();
    assert!(matches!(gone.keep(vec![1], Made::Result), Err(StoreError::RunOver)) && !store.holds_results());
    let digest = store.shelf().keep(vec![1], Made::Result).unwrap();
    gone.release(digest);
    assert!(store.holds_results() && gone.take_in(digest).is_none());
}

#[tokio::test]
async fn what_a_session_was_sending_is_dropped_with_it_and_half_of_the_data_stays() {
    let folder = tempfile::tempdir().unwrap();
    let store = BlobStore::open(folder.path()).unwrap();
    let (data, supply) = (blob(2), blob(3));
    for (blob, medium) in [(&data, Medium::Cache), (&supply, Medium::Memory)] {
        store.offer(blob.manifest.clone(), medium).await.unwrap();
        push(&store, blob, 0).unwrap();
    }
    store.forget_supplies();
    let missing = |blob: &Blob<Vec<u8>>| store.missing(blob.manifest.digest());
    assert_eq!((missing(&data), missing(&supply)), (Some((2, vec![1])), None));
}

#[tokio::test]
async fn of_a_run_whose_driver_stayed_away_only_what_was_made_here_stays() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(BlobStore::open(folder.path()).unwrap());
    let (data, supply) = (blob(1), blob(2));
    for (blob, medium) in [(&data, Medium::Cache), (&supply, Medium::Memory)] {
        store.offer(blob.manifest.clone(), medium).await.unwrap();
        push(&store, blob, 0).unwrap();
    }
    let made = store.shelf().keep(vec![1], Made::Result).unwrap();
    store.forget_inputs();
    assert!(store.get(data.manifest.digest()).is_none() && store.missing(supply.manifest.digest()).is_none());
    assert!(store.get(made).is_some() && store.holds_results());
}

#[tokio::test]
async fn what_is_arriving_takes_its_memory_and_a_checkpoint_beside_which_a_result_just_fits_stays() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits { cache_bytes: None, memory_bytes: 1000 };
    let store = Arc::new(BlobStore::with_limits(folder.path(), limits).unwrap());
    let manifest = |fill| Manifest::of(&[fill; 600]).unwrap();
    store.offer(manifest(1), Medium::Memory).await.unwrap();
    assert!(matches!(store.offer(manifest(2), Medium::Memory).await, Err(StoreError::NoRoom { .. })));
    store.forget_run();
    let shelf = store.shelf();
    let checkpoint = shelf.keep(vec![1; 400], Made::Checkpoint).unwrap();
    shelf.keep(vec![2; 600], Made::Result).unwrap();
    assert!(store.get(checkpoint).is_some());
    shelf.release(checkpoint);
    assert!(store.get(checkpoint).is_none());
}

#[tokio::test]
async fn a_result_takes_the_room_of_checkpoints_and_of_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits { cache_bytes: None, memory_bytes: 1000 };
    let store = Arc::new(BlobStore::with_limits(folder.path(), limits).unwrap());
    let [small, large, needed] =
        [100, 300, 350].map(|bytes| store.shelf().keep(vec![1; bytes], Made::Checkpoint).unwrap());
    store.offer(store.get(needed).unwrap().manifest, Medium::Memory).await.unwrap();
    assert!(matches!(store.shelf().keep(vec![2; 400], Made::Checkpoint), Err(StoreError::NoRoom { .. })));
    assert!(store.get(large).is_some(), "a checkpoint is worth no more than another one");
    let first = store.shelf().keep(vec![2; 500], Made::Result).unwrap();
    assert!(store.get(large).is_none(), "the largest one goes first");
    assert!([small, needed, first].iter().all(|blob| store.get(*blob).is_some()));
    assert!(matches!(store.shelf().keep(vec![3; 600], Made::Result), Err(StoreError::NoRoom { .. })));
    assert!(store.get(first).is_some() && store.get(needed).is_some());
    assert!(matches!(store.shelf().keep(vec![3; 1001], Made::Result), Err(StoreError::NoRoom { .. })));
}

#[test]
fn a_checkpoint_that_is_also_a_result_is_kept_as_one() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits { cache_bytes: None, memory_bytes: 1000 };
    let store = Arc::new(BlobStore::with_limits(folder.path(), limits).unwrap());
    let both = store.shelf().keep(vec![1; 600], Made::Checkpoint).unwrap();
    store.shelf().keep(vec![1; 600], Made::Result).unwrap();
    store.shelf().keep(vec![1; 600], Made::Checkpoint).unwrap();
    assert!(matches!(store.shelf().keep(vec![2; 600], Made::Result), Err(StoreError::NoRoom { .. })));
    assert!(store.get(both).is_some());
}
