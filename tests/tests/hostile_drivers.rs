//! Drivers that break the protocol: their session ends with the reason, and the executor serves the next one.

#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by a panic, in its helping functions too")]

use std::io::Write;
use std::net::TcpStream;

use broadsweep_common::blob::{BLOCK_BYTES, BLOCKS_MAX, Blob};
use broadsweep_common::encoding::{Encoded, Encoding};
use broadsweep_common::exchange::BlockSet;
use broadsweep_common::ids::Digest;
use broadsweep_proto::blocks::{Manifest, OfferRequest, PullRequest, WatchRequest};
use broadsweep_proto::bulk::{BulkClient, FetchRequest};
use broadsweep_proto::session::driver_item::Item as DriverSays;
use broadsweep_proto::session::executor_item::Item;
use broadsweep_proto::session::{
    Attempt, Cancel, Dismiss, DriverItem, FromDriver, Hello, Launch, Measure, Parameter, Peers, Prepare, Prepared,
    Release, Replicate, Train, launch::Kind,
};
use broadsweep_proto::wire::{self, manifest_message};
use broadsweep_proto::{MESSAGE_BYTES_MAX, SETTLED_MAX};
use broadsweep_tests::forged::{forged, name_of};
use broadsweep_tests::hostile_driver::{HostileDriver, blocks, description, dial, hello, message};
use broadsweep_tests::lab::{Executor, Lab};
use bytes::Bytes;
use tonic::{Code, Status};

const PROGRAM: &str = env!("CARGO_BIN_EXE_broadsweep-under-test");
/// Far below what hostile messages claim, above what small runs take.
const MEMORY_MAX: u64 = 700 << 20;

/// The executor still serves a good run, and never took much memory. The run takes over: the end of the session
/// before it may still be on its way.
fn assert_unharmed(lab: &Lab, executor: &Executor) {
    let outcome = lab.tuned(&lab.short(), "good-run", &["--nodes", &executor.address, "--take-over"]);
    assert_eq!(outcome.number("/trials/finished"), outcome.number("/trials/planned"));
    let peak = executor.process.memory_peak_bytes();
    assert!(peak < MEMORY_MAX, "the executor took {peak} bytes");
}

fn prepare(data: &[u8], study: &[u8], kernel: &str) -> DriverSays {
    let name = |content: &[u8]| Bytes::copy_from_slice(&Blob::new(content).unwrap().manifest.digest().0);
    DriverSays::Prepare(Prepare { data: name(data), study: name(study), kernel: kernel.to_owned() })
}

fn dismiss() -> DriverSays {
    DriverSays::Dismiss(Dismiss {})
}

/// All of the first trial.
fn train() -> Kind {
    let replicate = Some(Replicate { trial: 0, repeat: 0, fold: 0 });
    Kind::Train(Train { replicate, from_epoch: 0, until_epoch: u32::MAX })
}

fn launch(number: u32) -> DriverSays {
    let attempt = Some(Attempt { task: 0, number });
    DriverSays::Launch(Launch { attempt, kind: Some(train()), ..Launch::default() })
}

/// Sessions that begin with something else than a good hello: what opens them, and what is said to that.
fn bad_openings() -> Vec<(&'static str, FromDriver, Code, &'static str)> {
    let long = "r".repeat(100_000);
    let huge = Hello { protocol: 1, build: "b".repeat(MESSAGE_BYTES_MAX), take_over: false };
    vec![
        ("a dismissal", message("r", 1, vec![dismiss()]), Code::InvalidArgument, "the first item has to be a hello"),
        ("no hello", message("r", 1, vec![launch(1)]), Code::InvalidArgument, "the first item has to be a hello"),
        ("nothing", message("r", 1, Vec::new()), Code::InvalidArgument, "the first item has to be a hello"),
        (
            "an empty item",
            FromDriver { items: vec![DriverItem { item: None }], ..message("r", 1, Vec::new()) },
            Code::InvalidArgument,
            "the first item has to be a hello",
        ),
        ("the last number there is", message("r", u64::MAX, vec![hello()]), Code::InvalidArgument, "has number"),
        ("a long name", message(&long, 1, vec![hello()]), Code::InvalidArgument, "the name of a run has at most"),
        ("too large", message("r", 1, vec![DriverSays::Hello(huge)]), Code::OutOfRange, "limit"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_does_not_begin_with_a_good_hello_is_refused() {
    let lab = Lab::new(PROGRAM);
    let executor = lab.executor("cache", 1);
    for (name, first, code, fragment) in bad_openings() {
        let status = HostileDriver::open(&executor.address, first).await.expect_err(name);
        assert_eq!(status.code(), code, "{name}: {status}");
        assert!(status.message().contains(fragment), "{name}: {status}");
    }
    assert_unharmed(&lab, &executor);
}

/// What is said after a good hello, and what the session ends with.
fn peers(content: &[u8], addresses: Vec<String>) -> DriverSays {
    let blob = Bytes::copy_from_slice(&Blob::new(content).unwrap().manifest.digest().0);
    DriverSays::Peers(Peers { blob, addresses, encoded: true })
}

fn bad_requests() -> Vec<(&'static str, Vec<DriverSays>, &'static str)> {
    let cut = Bytes::from_static(&[1, 2, 3]);
    let parameters = vec![Parameter { name: "a".to_owned(), value: None }; 2000];
    let attempt = Some(Attempt { task: 0, number: 1 });
    let crowded = Launch { attempt, kind: Some(train()), configuration: parameters, ..Launch::default() };
    let halved = Launch { attempt, kind: Some(train()), input: cut.clone(), ..Launch::default() };
    let without_kind = Launch { attempt, ..Launch::default() };
    let partless = Measure { replicate: Some(Replicate::default()), weights: vec![0; 32].into(), part: 7 };
    let partless = Launch { attempt, kind: Some(Kind::Measure(partless)), ..Launch::default() };
    vec![
        ("a second hello", vec![hello()], "a second hello"),
        ("a launch before the data", vec![launch(1)], "a launch before the data"),
        ("half a name", vec![DriverSays::Launch(halved)], "3 bytes"),
        ("a launch of nothing", vec![DriverSays::Launch(Launch::default())], "without its attempt"),
        ("a launch of no kind", vec![DriverSays::Launch(without_kind)], "without its kind of task"),
        ("a measurement on no part", vec![DriverSays::Launch(partless)], "no part of the data has the number 7"),
        ("a launch with too much", vec![DriverSays::Launch(crowded)], "at most 1024 are allowed"),
        (
            "a cancel of nothing",
            vec![DriverSays::Cancel(Cancel { attempt: None, at_epoch_end: false })],
            "without its attempt",
        ),
        (
            "a release of half a name",
            vec![DriverSays::Release(Release { attempt: Some(Attempt { task: 0, number: 1 }), blob: cut.clone() })],
            "3 bytes",
        ),
        (
            "peers for half a name",
            vec![DriverSays::Peers(Peers { blob: cut, addresses: Vec::new(), encoded: true })],
            "3 bytes",
        ),
        (
            "a preparation with half a name",
            vec![DriverSays::Prepare(Prepare { data: "x".into(), study: "y".into(), kernel: "portable".into() })],
            "a digest of 1 bytes",
        ),
        ("a thousand peers", vec![peers(b"data", vec!["127.0.0.1:1".to_owned(); 1000])], "at most 32 are allowed"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_makes_no_sense_ends_its_session_with_the_reason() {
    let lab = Lab::new(PROGRAM);
    let executor = lab.executor("cache", 1);
    for (name, items, fragment) in bad_requests() {
        let mut driver = HostileDriver::hold(&executor.address, name).await;
        driver.say(items).await;
        let status = driver.ending().await.expect(name);
        assert_eq!(status.code(), Code::InvalidArgument, "{name}: {status}");
        assert!(status.message().contains(fragment), "{name}: {status}");
    }
    for (name, sequence) in [("a number again", 1), ("a number ahead", 3), ("the last number", u64::MAX)] {
        let driver = HostileDriver::hold(&executor.address, name).await;
        driver.send(message(name, sequence, Vec::new())).await;
        let status = driver.ending().await.expect(name);
        assert!(status.message().contains("came where 2 was due"), "{name}: {status}");
    }
    for (name, changed) in [
        ("another run", FromDriver { run: "other".to_owned(), ..message("holder", 2, vec![dismiss()]) }),
        ("a later driver", FromDriver { generation: 2, ..message("holder", 2, vec![dismiss()]) }),
    ] {
        let driver = HostileDriver::hold(&executor.address, "holder").await;
        driver.send(changed).await;
        let status = driver.ending().await.expect(name);
        assert!(status.message().contains("changed within a session"), "{name}: {status}");
    }
    let mut driver = HostileDriver::hold(&executor.address, "a message larger than allowed").await;
    driver.say(vec![prepare(b"d", b"s", &"k".repeat(MESSAGE_BYTES_MAX))]).await;
    let _ = driver.ending().await;
    assert_unharmed(&lab, &executor);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_driver_of_a_run_gets_nothing_and_a_later_one_ends_its_session() {
    let lab = Lab::new(PROGRAM);
    let executor = lab.executor("cache", 1);
    let of_generation = |generation| FromDriver { generation, ..message("run", 1, vec![hello()]) };
    let older = HostileDriver::open(&executor.address, of_generation(2)).await.unwrap();
    let later = HostileDriver::open(&executor.address, of_generation(3)).await.unwrap();
    assert_eq!(older.ending().await.unwrap().code(), Code::Aborted);
    let refused = HostileDriver::open(&executor.address, of_generation(2)).await.expect_err("an older one");
    assert!(refused.message().contains("a later driver of run run"), "{refused}");
    later.offer(forged(1, &[b"x"]), false).await.expect("the later one still holds the executor");
    drop(later);
    let refused = HostileDriver::open(&executor.address, of_generation(0)).await.expect_err("the oldest one");
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert_unharmed(&lab, &executor);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledgement_of_messages_that_were_never_sent_and_a_dismissal_harm_nobody() {
    let lab = Lab::new(PROGRAM);
    let executor = lab.executor("cache", 1);
    let bare = message("run", 2, Vec::new());
    let rows = [
        ("too far", FromDriver { acknowledged: u64::MAX, ..bare.clone() }, "is acknowledged, and only 1 were sent"),
        ("too early", FromDriver { settled: vec![1, 2], ..bare.clone() }, "message 2 is acknowledged"),
        ("too many", FromDriver { settled: vec![1; SETTLED_MAX + 1], ..bare }, "257 settled messages"),
    ];
    for (name, lie, fragment) in rows {
        let driver = HostileDriver::hold(&executor.address, "run").await;
        driver.send(lie).await;
        let status = driver.ending().await.expect(name);
        assert_eq!(status.code(), Code::InvalidArgument, "{name}");
        assert!(status.message().contains(fragment), "{name}: {status}");
    }
    let mut driver = HostileDriver::hold(&executor.address, "run").await;
    driver.say(vec![prepare(b"", b"", "k")]).await;
    assert_eq!(driver.answer().await.len(), 1, "the session goes on");
    driver.say(vec![dismiss(), launch(1), dismiss()]).await;
    assert_eq!(driver.ending().await.map(|status| status.code()), Some(Code::InvalidArgument));
    let mut driver = HostileDriver::hold(&executor.address, "run").await;
    driver.say(vec![dismiss()]).await;
    assert!(driver.ending().await.is_none(), "a dismissal ends a session well");
    assert_unharmed(&lab, &executor);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preparation_with_blobs_that_are_missing_or_garbage_is_refused_in_words() {
    let lab = Lab::new(PROGRAM);
    let executor = lab.executor("cache", 1);
    let mut driver = HostileDriver::hold(&executor.address, "garbage").await;
    let kernel = broadsweep_nn::Kernel::PORTABLE.name();
    let garbage = [b"BROADSWP".to_vec(), vec![0xff; 5000]].concat();
    let blob = Blob::new(garbage.clone()).unwrap();
    let description = description();
    let described = Blob::new(description.clone()).unwrap();
    let rows = [
        ("nothing is there", prepare(b"no data", b"no study", kernel), "lacks the data set (blob"),
        ("another kernel", prepare(b"", b"", &"k".repeat(100_000)), "cannot multiply with the kernel"),
        ("garbage for all", prepare(&garbage, &garbage, kernel), "cannot read the study's description: "),
        ("garbage for data", prepare(&garbage, &description, kernel), "cannot use the data set: "),
    ];
    assert_eq!(driver.offer(manifest_message(&blob.manifest), false).await.unwrap(), [0]);
    driver.push(&blob.manifest.digest().0, 0, garbage.clone().into()).await.unwrap();
    assert_eq!(driver.offer(manifest_message(&described.manifest), false).await.unwrap(), [0]);
    driver.push(&described.manifest.digest().0, 0, description.clone().into()).await.unwrap();
    for (name, request, fragment) in rows {
        driver.say(vec![request]).await;
        let answer = driver.answer().await;
        let Some(Item::Prepared(Prepared { answer, .. })) = answer[0].item.clone() else { panic!("{name}") };
        let refusal = wire::answer(answer).unwrap().expect_err(name).to_string();
        assert!(refusal.contains(fragment) && refusal.len() <= 4096, "{name}: {refusal}");
    }
    drop(driver);
    assert_unharmed(&lab, &executor);
}

fn assert_status(name: &str, result: Result<impl std::fmt::Debug, Status>, code: Code, fragment: &str) {
    let status = result.expect_err(name);
    assert_eq!(status.code(), code, "{name}: {status}");
    assert!(status.message().contains(fragment), "{name}: {status}");
}

/// What is pushed for a block of ones, with the number of its encoding, and what comes of that.
fn false_encodings() -> Vec<(&'static str, (Bytes, i32), Code, &'static str)> {
    let lz4 = |block: Vec<u8>| Encoded::of(block.into(), Encoding::Lz4).content;
    let good = lz4(vec![1; BLOCK_BYTES]);
    let undecodable = "does not decode to 1048576 bytes";
    vec![
        ("a bomb", (lz4(vec![0; 256 * BLOCK_BYTES]), 1), Code::DataLoss, undecodable),
        ("a byte too much", (lz4(vec![1; BLOCK_BYTES + 1]), 1), Code::DataLoss, undecodable),
        ("a byte too little", (lz4(vec![1; BLOCK_BYTES - 1]), 1), Code::DataLoss, undecodable),
        ("half of it", (good.slice(..good.len() / 2), 1), Code::DataLoss, undecodable),
        ("garbage", (vec![0xff; 1000].into(), 1), Code::DataLoss, undecodable),
        ("nothing", (Bytes::new(), 1), Code::DataLoss, undecodable),
        ("other bytes", (lz4(vec![2; BLOCK_BYTES]), 1), Code::DataLoss, "the manifest says"),
        ("encoded, and called raw", (good.clone(), 0), Code::DataLoss, "the manifest says"),
        ("an encoding that is none", (good, -1), Code::InvalidArgument, "number -1"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_manifests_and_blocks_are_refused_and_take_no_memory() {
    let lab = Lab::new(PROGRAM);
    let executor = lab.executor("cache", 1);
    let driver = HostileDriver::hold(&executor.address, "forger").await;
    let digests = |count: usize| vec![Bytes::from(vec![7; 32]); count];
    let gib = 1 << 30;
    let rows = [
        ("more than any blob", Manifest { bytes: u64::MAX, blocks: digests(1) }, "more than one blob may have"),
        ("blocks beyond the bytes", Manifest { bytes: 10, blocks: digests(2) }, "the manifest lists 2"),
        ("fewer blocks than bytes", Manifest { bytes: gib, blocks: digests(1) }, "1073741824 bytes make 1024 blocks"),
        ("half a digest", Manifest { bytes: 1, blocks: vec![Bytes::from_static(b"x")] }, "1"),
    ];
    for (name, manifest, fragment) in rows {
        assert_status(name, driver.offer(manifest, false).await, Code::InvalidArgument, fragment);
    }
    let all_memory = Manifest { bytes: 5 * gib, blocks: digests(5 << 10) };
    assert_status(
        "5 GiB",
        driver.offer(all_memory, false).await,
        Code::ResourceExhausted,
        "no memory for 5.0 GiB more",
    );
    let much = Manifest { bytes: 3 * gib, blocks: digests(3 << 10) };
    assert_eq!(driver.offer(much, false).await.unwrap().len(), 3 << 10, "a claim of 3 GiB may still be kept");
    let largest = Manifest { bytes: (BLOCKS_MAX * BLOCK_BYTES) as u64, blocks: digests(BLOCKS_MAX) };
    let _ = driver.offer(largest, true).await; // depends on the disk; either way the executor goes on

    for (kind, cached) in [("memory", false), ("cache", true)] {
        let short = forged(10, &[&[1; 20]]);
        driver.offer(short.clone(), cached).await.unwrap();
        let name = name_of(&short).0;
        assert_status(kind, driver.push(&name, 0, vec![1; 20].into()).await, Code::InvalidArgument, "20 bytes");
        assert_status(kind, driver.push(&name, 0, vec![1; 10].into()).await, Code::DataLoss, "the manifest says");
        assert_status(kind, driver.push(&name, 7, vec![1; 10].into()).await, Code::InvalidArgument, "block 7 of a");
        assert_status(kind, driver.push(&name[..5], 0, Bytes::new()).await, Code::InvalidArgument, "5");
    }
    let honest = Blob::new(vec![1; BLOCK_BYTES]).unwrap();
    let name = honest.manifest.digest().0;
    driver.offer(manifest_message(&honest.manifest), false).await.unwrap();
    for (kind, push, code, fragment) in false_encodings() {
        assert_status(kind, driver.push_encoded(&name, 0, push).await, code, fragment);
    }
    let unknown = Digest::of(b"never offered").0;
    let push = driver.push(&unknown, 0, Bytes::from_static(b"x")).await;
    assert_status("never offered", push, Code::FailedPrecondition, "was not offered");
    for number in 0..100_u8 {
        let _ = driver.offer(forged(1, &[&[number]]), false).await; // the last ones are too many
    }
    let too_many = driver.offer(forged(1, &[b"x"]), false).await;
    assert_status("101 at once", too_many, Code::ResourceExhausted, "blobs arriving at the same time");
    drop(driver);
    assert_unharmed(&lab, &executor);
}

#[tokio::test(flavor = "multi_thread")]
async fn blobs_are_for_the_run_that_holds_the_executor() {
    let lab = Lab::new(PROGRAM);
    let executor = lab.executor("cache", 1);
    let holder = HostileDriver::hold(&executor.address, "holder").await;
    let mut thief = blocks(dial(&executor.address).await);
    let run = "thief".to_owned();
    let offer = OfferRequest { run: run.clone(), manifest: Some(forged(1, &[b"x"])), cached: false };
    assert_status("offer", thief.offer(offer).await, Code::FailedPrecondition, "does not hold this executor");
    let blob = Bytes::copy_from_slice(&Digest::of(b"x").0);
    let watch = WatchRequest { run: run.clone(), blob: blob.clone(), by_peer: false };
    assert_status("watch", thief.watch(watch).await, Code::FailedPrecondition, "does not hold this executor");
    let fetch = FetchRequest { run: run.clone(), blob: blob.clone(), index: 0, encoding: 0 };
    assert_status(
        "fetch",
        BulkClient::new(dial(&executor.address).await).fetch(fetch.clone()).await,
        Code::FailedPrecondition,
        "does not hold this executor",
    );
    let fetch = FetchRequest { run: "holder".to_owned(), index: u32::MAX, ..fetch };
    let nothing = BulkClient::new(holder.channel()).fetch(fetch.clone()).await;
    assert_status("a block that is not there", nothing, Code::NotFound, "is not here");
    let fetch = FetchRequest { run: "holder".to_owned(), encoding: 9, ..fetch };
    let asked = BulkClient::new(holder.channel()).fetch(fetch).await;
    assert_status("an encoding that is none", asked, Code::InvalidArgument, "number 9");
    let pull = PullRequest { run, blob };
    assert_status("pull", thief.pull(pull.clone()).await, Code::FailedPrecondition, "does not hold this executor");
    let unknown = blocks(holder.channel()).pull(PullRequest { run: "holder".to_owned(), ..pull }).await;
    assert_status("a blob that is not there", unknown, Code::NotFound, "is not here");
    drop(holder);
    assert_unharmed(&lab, &executor);
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_that_are_nobody_are_asked_in_vain() {
    let lab = Lab::new(PROGRAM);
    let executor = lab.executor("cache", 1);
    let content = vec![5; 3 * BLOCK_BYTES];
    let blob = Blob::new(&content[..]).unwrap();
    let mut driver = HostileDriver::hold(&executor.address, "alone").await;
    let missing = driver.offer(manifest_message(&blob.manifest), false).await.unwrap();
    let nobody = ["127.0.0.1:1", "no such host:7717", "", "http://[::1", &executor.address].map(str::to_owned);
    driver.say(vec![peers(&content, nobody.to_vec()), peers(b"another blob", nobody.to_vec())]).await;
    for index in missing {
        let block = Bytes::copy_from_slice(blob.block(index as usize).unwrap());
        driver.push(&blob.manifest.digest().0, index, block).await.unwrap();
    }
    let name = Bytes::copy_from_slice(&blob.manifest.digest().0);
    let watch = WatchRequest { run: "alone".to_owned(), blob: name, by_peer: false };
    let mut holdings = blocks(driver.channel()).watch(watch).await.unwrap().into_inner();
    let all = holdings.message().await.unwrap().unwrap().all.unwrap();
    assert!(BlockSet::from_bytes(3, &all).unwrap().is_full());
    assert_eq!(holdings.message().await.unwrap(), None);
    drop(driver);
    assert_unharmed(&lab, &executor);
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_that_watch_leave_the_driver_its_place_and_whoever_finds_none_may_ask_again() {
    let lab = Lab::new(PROGRAM);
    let executor = lab.executor("cache", 1);
    let driver = HostileDriver::hold(&executor.address, "crowded").await;
    let manifest = forged(1, &[b"x"]);
    let blob = name_of(&manifest);
    driver.offer(manifest, false).await.unwrap();
    let watch = async |by_peer| {
        let request = WatchRequest { run: "crowded".to_owned(), blob: Bytes::copy_from_slice(&blob.0), by_peer };
        blocks(driver.channel()).watch(request).await
    };
    let mut crowd = Vec::new();
    let refused = loop {
        match watch(true).await {
            Ok(watching) => crowd.push(watching),
            Err(refused) => break refused,
        }
        assert!(crowd.len() < 1000, "nobody is refused");
    };
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    watch(false).await.unwrap();
    crowd.pop();
    // It takes a moment until the executor knows.
    while let Err(refused) = watch(true).await {
        assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    }
    drop(driver);
    assert_unharmed(&lab, &executor);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_that_reads_nothing_keeps_neither_the_next_run_nor_the_end_waiting() {
    let lab = Lab::new(PROGRAM);
    let executor = lab.executor("cache", 1);
    let mut deaf = HostileDriver::hold(&executor.address, "deaf").await;
    for _ in 0..40 {
        // Answers of 4 KiB each, until the executor can send no more and stops reading.
        deaf.say((0..20).map(|_| prepare(b"", b"", &"k".repeat(4096))).collect()).await;
    }
    let taken = lab.tune(&lab.short(), "taken", &["--nodes", &executor.address, "--take-over"]).wait();
    assert_eq!(taken.code, Some(0), "{}", taken.stderr);
    executor.process.signal(rustix::process::Signal::TERM);
    assert_eq!(executor.process.wait().code, Some(0));
}

#[test]
fn random_bytes_on_the_port_harm_nobody() {
    let lab = Lab::new(PROGRAM);
    let executor = lab.executor("cache", 1);
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    let mut noise = 0x2545_f491_4f6c_dd1d_u64;
    for length in [1, 9, 100, 10_000] {
        let bytes = (0..length).map(|_| {
            noise ^= noise << 13;
            noise ^= noise >> 7;
            noise ^= noise << 17;
            noise as u8
        });
        let bytes: Vec<u8> = bytes.collect();
        for content in [bytes.clone(), [preface.clone(), bytes].concat()] {
            // The executor may close while this is still being written.
            let _ = TcpStream::connect(&executor.address).unwrap().write_all(&content);
        }
    }
    assert_unharmed(&lab, &executor);
}
