//! Who is watched, and what one that is watched may make this executor keep.

use broadsweep_common::blob::Manifest;
use tokio::sync::mpsc::unbounded_channel;
use tokio_stream::iter;

use super::*;
use crate::fixtures::Silence;
use broadsweep_store::Medium;

fn company(addresses: [&str; 2]) -> Company {
    Company { addresses: addresses.map(str::to_owned).to_vec(), encoding: Encoding::Raw }
}

#[tokio::test(start_paused = true)]
async fn whoever_is_not_on_the_list_any_more_is_let_go() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(BlobStore::open(folder.path()).unwrap());
    let manifest = Manifest::of(b"content").unwrap();
    let blob = manifest.digest();
    store.offer(manifest, Medium::Memory).await.unwrap();
    let (tell, mut dialled) = unbounded_channel();
    let (arrivals, connect) = (Arc::default(), Arc::new(Silence(tell)));
    let surroundings = Surroundings { store, arrivals, connect, instance: 1 };
    let exchange = Exchange::start(surroundings, "run", blob, company(["a:1", "b:1"]));
    let mut next = async |count: usize| {
        let mut names = Vec::new();
        for _ in 0..count {
            names.push(dialled.recv().await.unwrap());
        }
        names.sort_unstable();
        names
    };
    assert_eq!(next(2).await, ["http://a:1/", "http://b:1/"]);
    exchange.on_peers(company(["b:1", "c:1"]));
    let later = next(20).await;
    assert!(later.iter().all(|name| name != "http://a:1/"), "{later:?}");
    assert!(["http://b:1/", "http://c:1/"].iter().all(|name| later.iter().any(|known| known == name)));
}

/// What a peer tells that has nothing at first, and then these blocks, one by one.
fn one_by_one(
    blocks: u32,
    indices: impl Iterator<Item = u32> + Unpin,
) -> impl Iterator<Item = Result<Holdings, Status>> + Unpin {
    let all = Holdings { all: Some(BlockSet::empty(blocks).to_bytes().into()), came: Vec::new() };
    [all].into_iter().chain(indices.map(|index| Holdings { all: None, came: vec![index] })).map(Ok)
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_tells_much_is_read_no_faster_than_it_is_taken_in() {
    let (blocks, peer) = (10 * EVENTS_MAX as u32, PeerId(3));
    let read = std::cell::Cell::new(0);
    let counted = one_by_one(blocks, 0..blocks).inspect(|_| read.set(read.get() + 1));
    let (tell, mut events) = mpsc::channel(EVENTS_MAX);
    let mut passing = Box::pin(async move { pass_on(&tell, peer, Told::new(blocks), iter(counted)).await });
    let waits = timeout(Duration::from_secs(1), &mut passing).await;
    assert!(waits.is_err(), "nobody took in what was passed on: {waits:?}");
    assert_eq!(read.get(), EVENTS_MAX + 1, "what waits, and the one that finds no room");
    let taken_in = async {
        let mut known = Vec::new();
        while let Some(PeerEvent::Has(_, indices)) = events.recv().await {
            known.extend(indices);
        }
        known
    };
    let passing = async { passing.await.map(|()| read.get()) };
    let (passed, known) = tokio::join!(passing, taken_in);
    assert_eq!(passed, Ok(blocks as usize + 1), "it waited, and lost nothing");
    assert!(known.into_iter().eq(0..blocks));
}

#[tokio::test]
async fn a_peer_that_floods_is_let_go_at_its_first_lie() {
    for (name, index) in [("the same block", 7), ("blocks that there are not", u32::MAX)] {
        let (tell, mut events) = mpsc::channel(EVENTS_MAX);
        let flood = one_by_one(10, [7].into_iter().chain(std::iter::repeat(index)));
        let passed = pass_on(&tell, PeerId(3), Told::new(10), iter(flood)).await;
        assert!(passed.is_err(), "{name}");
        drop(tell);
        let mut told = 0;
        while events.recv().await.is_some() {
            told += 1;
        }
        assert_eq!(told, 2, "{name}: nothing at first, then one block");
    }
}

#[tokio::test]
async fn whoever_waits_to_pass_something_on_ends_with_the_exchange() {
    let (tell, events) = mpsc::channel(EVENTS_MAX);
    let blocks = 10 * EVENTS_MAX as u32;
    let passing = pass_on(&tell, PeerId(3), Told::new(blocks), iter(one_by_one(blocks, 0..blocks)));
    let over = async {
        tokio::task::yield_now().await;
        drop(events);
    };
    let (passed, ()) = tokio::join!(passing, over);
    assert_eq!(passed, Err(EXCHANGE_OVER.to_owned()));
}
