//! Who gets an executor, and what of a run outlives its driver.

use broadsweep_common::attempt::{AttemptEvent, Durations, Ended, Report};
use broadsweep_common::ids::{AttemptId, TaskId};
use tempfile::TempDir;

use super::*;

const ORPHAN_TIMEOUT: Duration = Duration::from_mins(10);
const ATTEMPT: AttemptId = AttemptId { task: TaskId(0), number: 1 };

fn hold() -> (Arc<Hold>, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(BlobStore::open(folder.path()).unwrap());
    (Arc::new(Hold::new(store, ORPHAN_TIMEOUT)), folder)
}

fn claim(run: &str, generation: u64) -> Claim {
    Claim { run: run.to_owned(), generation, driver: None }
}

fn claim_of(driver: &str) -> Claim {
    Claim { driver: Some(driver.to_owned()), ..claim("first", 1) }
}

#[tokio::test]
async fn a_run_is_bound_to_the_identity_of_its_driver_until_somebody_takes_the_executor_over() {
    let (hold, _folder) = hold();
    let mut held = Some(hold.take(&claim_of("anna"), false).await.unwrap());
    held.as_mut().unwrap().tenant().begin(ATTEMPT).unwrap();
    for _held_then_resting in 0..2 {
        for other in [claim_of("bert"), claim("first", 9)] {
            let refused = hold.take(&other, false).await.unwrap_err();
            assert_eq!(refused, Held::ByAnotherIdentity { run: "first".into(), holder: "anna".into() });
        }
        assert!(hold.is_held_by("first", Some("anna")) && hold.is_held_by("first", None));
        assert!(!hold.is_held_by("first", Some("bert")));
        held = None;
    }
    drop(held);
    let mut grip = hold.take(&claim_of("anna"), false).await.unwrap();
    assert_eq!(grip.tenant().reattach(), [ATTEMPT], "the same driver goes on");
    drop(grip);
    let mut taken = hold.take(&claim_of("bert"), true).await.unwrap();
    assert!(taken.tenant().reattach().is_empty(), "what was the other's is gone");
    assert!(!hold.is_held_by("first", Some("anna")) && hold.is_held_by("first", Some("bert")));
}

#[tokio::test]
async fn a_second_run_is_told_who_holds_the_executor() {
    let (hold, _folder) = hold();
    let grip = hold.take(&claim("first", 1), false).await.unwrap();
    let refused = hold.take(&claim("second", 1), false).await.unwrap_err();
    assert!(refused.to_string().starts_with("held by run first for 0 s"), "{refused}");
    assert!(hold.is_held_by("first", None) && !hold.is_held_by("second", None));
    drop(grip);
    let refused = hold.take(&claim("second", 1), false).await.unwrap_err();
    assert!(refused.to_string().starts_with("held by run first, whose driver has been gone"), "{refused}");
}

#[tokio::test]
async fn a_run_that_is_over_leaves_the_executor_free() {
    let (hold, _folder) = hold();
    hold.take(&claim("first", 1), false).await.unwrap().dismiss();
    hold.until_unneeded().await;
    assert!(hold.take(&claim("second", 1), false).await.is_ok());
}

#[tokio::test]
async fn what_a_run_has_here_outlives_its_session() {
    let (hold, _folder) = hold();
    let mut grip = hold.take(&claim("first", 1), false).await.unwrap();
    let (stop, _reports) = grip.tenant().begin(ATTEMPT).unwrap();
    drop(grip);
    let mut grip = hold.take(&claim("first", 2), false).await.unwrap();
    assert_eq!(grip.tenant().reattach(), [ATTEMPT]);
    assert!(stop.allows_a_batch());
    drop(grip);
    let mut taken = hold.take(&claim("second", 1), true).await.unwrap();
    assert_eq!(taken.tenant().reattach(), []);
    assert!(!stop.allows_a_batch(), "an attempt of the replaced run goes on");
}

#[tokio::test(start_paused = true)]
async fn a_stranger_who_knocks_keeps_no_orphan_alive() {
    let (hold, _folder) = hold();
    let mut grip = hold.take(&claim("first", 1), false).await.unwrap();
    let (stop, _reports) = grip.tenant().begin(ATTEMPT).unwrap();
    drop(grip);
    for _ in 0..2 {
        tokio::time::sleep(ORPHAN_TIMEOUT / 3).await;
        assert!(hold.take(&claim("second", 1), false).await.is_err());
        assert!(stop.allows_a_batch());
    }
    tokio::time::sleep(ORPHAN_TIMEOUT / 2).await;
    assert!(!stop.allows_a_batch(), "it is orphaned, whoever has asked meanwhile");
    assert!(hold.take(&claim("second", 1), false).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_run_without_a_driver_is_stopped_after_a_while_and_keeps_the_executor_from_nobody() {
    let (hold, _folder) = hold();
    let mut grip = hold.take(&claim("first", 1), false).await.unwrap();
    let (stop, _reports) = grip.tenant().begin(ATTEMPT).unwrap();
    drop(grip);
    tokio::time::sleep(ORPHAN_TIMEOUT / 2).await;
    drop(hold.take(&claim("first", 1), false).await.unwrap());
    tokio::time::sleep(ORPHAN_TIMEOUT * 2 / 3).await;
    assert!(stop.allows_a_batch(), "the driver was there in the meantime");
    tokio::time::sleep(ORPHAN_TIMEOUT).await;
    assert!(!stop.allows_a_batch() && hold.orphaned.is_cancelled());
    assert_eq!(hold.take(&claim("first", 1), false).await.unwrap().tenant().reattach(), [ATTEMPT]);
    tokio::time::sleep(ORPHAN_TIMEOUT * 2).await;
    assert!(hold.take(&claim("second", 1), false).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_executor_that_nobody_wants_knows_it_after_a_while() {
    let (hold, _folder) = hold();
    let began = Instant::now();
    hold.until_forsaken().await;
    assert!(began.elapsed() >= ORPHAN_TIMEOUT);
    let _grip = hold.take(&claim("first", 1), false).await.unwrap();
    let waited = tokio::time::timeout(ORPHAN_TIMEOUT * 5, hold.until_forsaken()).await;
    assert!(waited.is_err(), "it is held");
}

#[tokio::test(start_paused = true)]
async fn an_executor_that_was_let_go_a_moment_ago_is_not_forsaken_yet() {
    let (hold, _folder) = hold();
    let grip = hold.take(&claim("first", 1), false).await.unwrap();
    let looking = Arc::clone(&hold);
    let forsaken = tokio::spawn(async move { looking.until_forsaken().await });
    tokio::time::sleep(ORPHAN_TIMEOUT * 9 / 10).await;
    grip.dismiss();
    let free_since = Instant::now();
    forsaken.await.unwrap();
    assert!(free_since.elapsed() >= ORPHAN_TIMEOUT);
}

#[tokio::test]
async fn taking_over_waits_until_the_old_session_has_let_go() {
    for (run, generation, take_over) in [("second", 1, true), ("first", 1, false), ("first", 2, false)] {
        let (hold, _folder) = hold();
        let old = hold.take(&claim("first", 1), false).await.unwrap();
        let evicted = old.evicted.clone();
        let session = tokio::spawn(async move {
            evicted.cancelled().await;
            drop(old);
        });
        let grip = hold.take(&claim(run, generation), take_over).await.unwrap();
        session.await.unwrap();
        assert!(hold.is_held_by(run, None), "{run} {generation} did not get the executor");
        drop(grip);
    }
}

#[tokio::test]
async fn an_older_driver_of_the_same_run_is_refused() {
    let (hold, _folder) = hold();
    let grip = hold.take(&claim("first", 2), false).await.unwrap();
    let refused = Held::ByLaterDriver { run: "first".into() };
    assert_eq!(hold.take(&claim("first", 1), true).await.unwrap_err(), refused);
    drop(grip);
    assert_eq!(hold.take(&claim("first", 1), true).await.unwrap_err(), refused);
}

#[tokio::test(start_paused = true)]
async fn a_run_without_a_driver_keeps_a_leaving_executor_only_while_it_would_lose_something() {
    let (hold, _folder) = hold();
    let left = || tokio::time::timeout(ORPHAN_TIMEOUT / 2, hold.until_unneeded());
    let mut grip = hold.take(&claim("first", 1), false).await.unwrap();
    assert!(left().await.is_err(), "its driver is there");
    let (_, reports) = grip.tenant().begin(ATTEMPT).unwrap();
    drop(grip);
    assert!(left().await.is_err(), "an attempt runs");
    let event = AttemptEvent::Ended(Ended::Stopped);
    reports.send(Report { attempt: ATTEMPT, durations: Durations::default(), event }).unwrap();
    assert!(left().await.is_err(), "nobody was told of its end");
    let mut grip = hold.take(&claim("first", 2), false).await.unwrap();
    let tenant = grip.tenant();
    tenant.reattach();
    assert_eq!(tenant.send_next(8, 1).len(), 1);
    tenant.acknowledge(1, &[]);
    let weights = hold.store.shelf_of(ATTEMPT).keep(vec![1], broadsweep_store::Made::Result).unwrap();
    drop(grip);
    assert!(left().await.is_err(), "weights wait to be fetched");
    hold.store.release(ATTEMPT, weights);
    assert!(left().await.is_ok(), "nothing of it is left");
}

#[tokio::test(start_paused = true)]
async fn what_an_attempt_makes_after_its_run_was_replaced_keeps_nobody_waiting() {
    let (hold, _folder) = hold();
    let grip = hold.take(&claim("first", 1), false).await.unwrap();
    let shelf = hold.store.shelf_of(ATTEMPT);
    drop(grip);
    let grip = hold.take(&claim("second", 1), true).await.unwrap();
    let _ = shelf.keep(vec![1], broadsweep_store::Made::Checkpoint); // its attempt ends the epoch only now
    hold.drain();
    drop(grip);
    let left = tokio::time::timeout(ORPHAN_TIMEOUT / 2, hold.until_unneeded()).await;
    assert!(left.is_ok(), "it waits for a blob that is nobody's");
}

#[tokio::test]
async fn an_executor_that_leaves_takes_no_other_run() {
    let (hold, _folder) = hold();
    let grip = hold.take(&claim("first", 1), false).await.unwrap();
    hold.drain();
    drop(grip);
    assert!(hold.take(&claim("second", 1), false).await.is_err());
    hold.take(&claim("first", 1), false).await.unwrap().dismiss();
    assert_eq!(hold.take(&claim("first", 1), false).await.unwrap_err(), Held::Leaving);
}

#[tokio::test]
async fn an_attempt_of_a_run_without_a_driver_ends_its_epoch_when_the_executor_leaves() {
    let (hold, _folder) = hold();
    let mut grip = hold.take(&claim("first", 1), false).await.unwrap();
    let (stop, _reports) = grip.tenant().begin(ATTEMPT).unwrap();
    drop(grip);
    hold.drain();
    assert!(stop.allows_a_batch() && !stop.allows_an_epoch());
}
