//! What a cluster knows of its executors, and how it hands on what happens.

use broadsweep_proto::dial::Connecting;
use tonic::transport::Endpoint;

use super::played::payload;
use super::*;
use crate::journal::MemoryStorage;

/// A network on which nobody ever answers.
struct Silence;

impl Connect for Silence {
    fn connect(&self, _: Endpoint) -> Connecting {
        Box::pin(std::future::pending())
    }
}

fn cluster() -> Cluster {
    let vault = Arc::new(BlockingVault::new(Arc::new(MemoryStorage::new())));
    let world =
        World { connect: Arc::new(Silence), vault, rows: Arc::new(()), logs: Arc::new(()), witness: Arc::new(()) };
    Cluster::new(Arc::new(payload(KernelChoice::fixed("portable"))), world)
}

#[tokio::test]
async fn executors_have_the_names_that_people_gave_them() {
    let mut cluster = cluster();
    cluster.add(Member::node("a"));
    cluster.add(Member::former("b"));
    assert_eq!(cluster.names(), ["a", "b"]);
    assert_eq!([0, 1, 2].map(|number| cluster.name(ExecutorId(number))), ["a", "b", "an unknown executor"]);
}

#[tokio::test]
async fn what_happens_is_handed_on_in_its_order_and_no_more_of_it_than_is_asked_for() {
    let (mut cluster, mut events) = (cluster(), Vec::new());
    for number in 0..5 {
        cluster.told.try_send((ExecutorId(number), LinkEvent::Connected)).unwrap();
    }
    cluster.next(&mut events, 2).await;
    assert_eq!(events.len(), 2);
    for (max, count) in [(4, 4), (9, 5)] {
        cluster.more(&mut events, max);
        assert_eq!(events.len(), count, "at most {max}");
    }
    assert!(events.iter().map(|(executor, _)| executor.0).eq(0..5));
}

#[tokio::test(start_paused = true)]
async fn links_end_when_the_run_is_over_and_know_by_then_which_executors_are_left_as_they_are() {
    let mut cluster = cluster();
    let executor = cluster.add(Member::node("a"));
    let (over, spared) = (cluster.over.clone(), Arc::clone(&cluster.spared));
    let began = tokio::time::Instant::now();
    cluster.dismiss(BTreeSet::from([executor])).await;
    assert!(over.is_cancelled() && began.elapsed() < GOODBYE_MAX);
    assert_eq!(spared.get(), Some(&BTreeSet::from([executor])));
}
