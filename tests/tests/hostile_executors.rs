//! Executors that break the protocol: the driver believes no lie, and a good executor beside them finishes the run.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic, in its helping functions too")]

use std::collections::BTreeMap;
use std::future::pending;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use broadsweep_common::attempt::SLOTS_MAX;
use broadsweep_common::blob::{BLOCK_BYTES, Blob};
use broadsweep_common::encoding::{Encoded, Encoding};
use broadsweep_common::exchange::BlockSet;
use broadsweep_common::ids::Digest;
use broadsweep_common::log::PIECE_BYTES_MAX;
use broadsweep_proto::MESSAGE_BYTES_MAX;
use broadsweep_proto::blocks::{Holdings, Manifest, PullReply, pull_reply::Part};
use broadsweep_proto::bulk::FetchReply;
use broadsweep_proto::session::attempt_ended::Outcome;
use broadsweep_proto::session::executor_item::Item;
use broadsweep_proto::session::{
    Applied, Artifact, ArtifactName, Attempt, AttemptEnded, Diverged, Durations, EpochEnded, Failed, Launch, Logged,
    Measured, Metric, Prepared, Train, Trained, Used, Welcome, launch::Kind, prepared::Answer,
};
use broadsweep_tests::chaos::ended_so;
use broadsweep_tests::forged::{forged, name_of};
use broadsweep_tests::hostile_executor::{Give, HostileExecutor, Script, Talk, garbled, parts_of, welcome};
use broadsweep_tests::lab::{Lab, tiny_with};
use broadsweep_tests::outcome::Outcome as Left;
use broadsweep_tests::process::Ended;
use bytes::Bytes;
use tonic::Status;

const PROGRAM: &str = env!("CARGO_BIN_EXE_broadsweep-under-test");

/// One of the reports that no executor should make about this launch.
type Lie = fn(&Launch) -> Item;

const NAMES: [&str; 4] = ["learning_rate", "training_loss", "validation_loss", "validation_error"];

fn metric(name: &str, value: f64) -> Metric {
    Metric { name: name.to_owned(), value, built_in: 0 }
}

fn metrics(error: f64) -> Vec<Metric> {
    NAMES.map(|name| metric(name, if name == "learning_rate" { 0.01 } else { error })).to_vec()
}

/// An epoch with a checkpoint that it does not have.
fn epoch_with(attempt: Option<Attempt>, epoch: u32, metrics: Vec<Metric>) -> Item {
    Item::EpochEnded(EpochEnded { attempt, epoch, metrics, durations: None, checkpoint: Bytes::from(vec![8; 32]) })
}

fn epoch_ended(attempt: Option<Attempt>, epoch: u32) -> Item {
    epoch_with(attempt, epoch, metrics(0.0))
}

fn ended(attempt: Option<Attempt>, outcome: impl Into<Option<Outcome>>) -> Item {
    Item::AttemptEnded(AttemptEnded { attempt, durations: None, outcome: outcome.into() })
}

fn artifact(name: ArtifactName, blob: &[u8]) -> Artifact {
    Artifact { name: name.into(), blob: Bytes::copy_from_slice(blob) }
}

/// So many bytes of a log.
fn logged(attempt: Option<Attempt>, offset: u64, bytes: usize) -> Item {
    Item::Logged(Logged { attempt, offset, text: Bytes::from(vec![b'x'; bytes]) })
}

/// An end with weights that it does not have.
fn trained(epoch: u32) -> Outcome {
    Outcome::Trained(Trained { epoch, artifacts: vec![artifact(ArtifactName::Weights, &[9; 32])] })
}

const LIES: [(&str, Lie); 30] = [
    ("an unknown attempt", |_| ended(Some(Attempt { task: u32::MAX, number: 1 }), trained(1))),
    ("a stale attempt", |launch| ended(launch.attempt.map(|it| Attempt { number: it.number + 1, ..it }), trained(1))),
    ("an epoch of an attempt that never was", |launch| {
        epoch_ended(launch.attempt.map(|it| Attempt { number: it.number + 7, ..it }), 1)
    }),
    ("an epoch of another task", |launch| {
        epoch_ended(launch.attempt.map(|it| Attempt { task: it.task ^ 1, ..it }), 1)
    }),
    ("the last epoch first", |launch| epoch_ended(launch.attempt, 2)),
    ("an epoch before the first", |launch| epoch_ended(launch.attempt, 0)),
    ("no attempt", |_| ended(None, trained(1))),
    ("no outcome", |launch| ended(launch.attempt, None::<Outcome>)),
    ("an epoch 0", |launch| ended(launch.attempt, trained(0))),
    ("an epoch beyond all", |launch| ended(launch.attempt, trained(u32::MAX))),
    ("a divergence in no epoch", |launch| ended(launch.attempt, Some(Outcome::Diverged(Diverged { epoch: 0 })))),
    ("half a digest", |launch| {
        let artifacts = vec![artifact(ArtifactName::Weights, b"short")];
        ended(launch.attempt, Outcome::Trained(Trained { epoch: 1, artifacts }))
    }),
    ("a measurement", |launch| {
        let metrics = vec![metric("test_loss", 0.0), metric("test_error", 0.0)];
        ended(launch.attempt, Outcome::Measured(Measured { metrics }))
    }),
    ("an application", |launch| ended(launch.attempt, Outcome::Applied(Applied { artifacts: Vec::new() }))),
    ("no weights", |launch| ended(launch.attempt, Outcome::Trained(Trained { epoch: 1, artifacts: Vec::new() }))),
    ("too many artifacts", |launch| {
        let artifacts = vec![artifact(ArtifactName::Weights, &[9; 32]); 4];
        ended(launch.attempt, Outcome::Trained(Trained { epoch: 1, artifacts }))
    }),
    ("an artifact that nobody knows", |launch| {
        let artifacts = vec![Artifact { name: 99, blob: Bytes::from(vec![9; 32]) }];
        ended(launch.attempt, Outcome::Trained(Trained { epoch: 1, artifacts }))
    }),
    ("too many metrics", |launch| {
        epoch_with(launch.attempt, 1, (0..65).map(|number| metric(&number.to_string(), 0.0)).collect())
    }),
    ("a metric without a name", |launch| epoch_with(launch.attempt, 1, vec![metric("", 0.0)])),
    ("a metric twice", |launch| epoch_with(launch.attempt, 1, vec![metric("training_loss", 0.0); 2])),
    ("a long reason", |launch| ended(launch.attempt, Some(Outcome::Failed(Failed { reason: "é".repeat(100_000) })))),
    ("a second welcome", |_| Item::Welcome(welcome())),
    ("a second preparation", |_| Item::Prepared(Prepared { answer: Some(Answer::Slots(1)), ..Prepared::default() })),
    ("a message too large", |launch| {
        ended(launch.attempt, Some(Outcome::Failed(Failed { reason: "x".repeat(MESSAGE_BYTES_MAX) })))
    }),
    ("an epoch of nothing", |launch| {
        Item::EpochEnded(EpochEnded { attempt: launch.attempt, epoch: 1, ..EpochEnded::default() })
    }),
    ("a log that cannot be counted", |launch| logged(launch.attempt, u64::MAX, 1)),
    ("a log with holes", |launch| logged(launch.attempt, 1 << 60, 5)),
    ("a log of nothing", |_| logged(None, 0, 5)),
    ("a piece of a log that is too large", |launch| logged(launch.attempt, 0, PIECE_BYTES_MAX + 1)),
    ("weights that it does not have", |launch| ended(launch.attempt, trained(1))),
];

/// A study of seconds, of trials that have a first epoch and a last one.
fn study(lab: &Lab) -> PathBuf {
    lab.write("two.toml", tiny_with(&[("epochs = 12", "epochs = 2"), ("count = 4", "count = 2")]))
}

/// Tells `lie` about its first launch, fails it, and leaves for good when it gets another.
fn liar(
    lie: impl Fn(&Launch) -> Vec<Item> + Clone + Send + Sync + 'static,
    weights: Vec<PullReply>,
) -> HostileExecutor {
    let came = Arc::new(AtomicBool::new(false));
    let mut script = Script::new(move |mut talk: Talk| {
        let (lie, came) = (lie.clone(), Arc::clone(&came));
        async move {
            if came.swap(true, Ordering::Relaxed) {
                return talk.refuse("has lied enough").await;
            }
            let Some(launch) = talk.until_launched(1).await else { return };
            talk.say(lie(&launch)).await;
            let failed = Outcome::Failed(Failed { reason: "had enough".to_owned() });
            talk.say(vec![ended(launch.attempt, failed)]).await;
            let _ = talk.next_launch().await;
        }
    });
    script.weights = weights;
    HostileExecutor::start(script)
}

/// What a good executor alone gives.
fn truth(lab: &Lab) -> Left {
    let good = lab.executor("cache", 1);
    lab.tuned(&study(lab), "truth", &["--nodes", &good.address])
}

/// A run beside the liar gives what a good executor alone gives.
fn assert_no_lie_is_believed<'a>(lab: &Lab, truth: &Left, liars: impl Iterator<Item = (&'a str, HostileExecutor)>) {
    let good = lab.executor("cache", 1);
    for (name, liar) in liars {
        let nodes = format!("{},{}", liar.address, good.address);
        let out = name.replace(' ', "-");
        let driver = lab.tune(&study(lab), &out, &["--nodes", &nodes, "--nodes-min", "2"]);
        let Ended { code, stderr, .. } = driver.wait();
        assert_eq!(code, Some(0), "{name}: {stderr}");
        assert!(!stderr.contains("panicked"), "{name}: {stderr}");
        let outcome = lab.outcome(&out);
        assert_eq!(outcome.digest(), truth.digest(), "{name}: {stderr}");
        assert!(outcome.number("/attempts") > truth.number("/attempts"), "{name}: nothing was lied about");
    }
}

#[test]
fn no_lie_about_an_attempt_is_believed() {
    let lab = Lab::new(PROGRAM);
    let liars = LIES.into_iter().map(|(name, lie)| (name, liar(move |launch| vec![lie(launch)], Vec::new())));
    assert_no_lie_is_believed(&lab, &truth(&lab), liars);
}

#[test]
fn no_status_ends_more_than_its_session() {
    let came = Arc::new(AtomicBool::new(false));
    let executor = HostileExecutor::start(Script::new(move |mut talk: Talk| {
        let came = Arc::clone(&came);
        async move {
            if !came.swap(true, Ordering::Relaxed) {
                let _ = talk.until_launched(1).await;
            }
            talk.end(garbled()).await;
        }
    }));
    let lab = Lab::new(PROGRAM);
    assert_no_lie_is_believed(&lab, &truth(&lab), [("a garbled status", executor)].into_iter());
}

#[test]
fn an_executor_that_leaves_with_every_launch_costs_no_trial_where_another_stays() {
    let fickle = HostileExecutor::start(Script::new(|mut talk| async move {
        let _ = talk.until_launched(1).await;
    }));
    let lab = Lab::new(PROGRAM);
    assert_no_lie_is_believed(&lab, &truth(&lab), [("a fickle executor", fickle)].into_iter());
    assert_eq!(lab.outcome("a-fickle-executor").number("/trials/failed"), 0);
}

/// Weights that are not what their name says.
fn false_weights() -> Vec<(&'static str, Option<Digest>, Vec<PullReply>)> {
    let part = |part| PullReply { part: Some(part) };
    let content = vec![3_u8; 2000];
    let honest = parts_of(&content);
    let name = Some(Blob::new(content).unwrap().manifest.digest());
    let longer = forged(10, &[&[1; 20]]);
    let huge = Manifest { bytes: 5 << 30, blocks: vec![Bytes::from(vec![7; 32]); 5 << 10] };
    vec![
        ("none at all", None, Vec::new()),
        ("another blob", Some(Digest::of(b"another")), honest.clone()),
        ("a corrupt block", name, vec![honest[0].clone(), part(Part::Block(vec![4; 2000].into()))]),
        ("blocks that end early", name, vec![honest[0].clone()]),
        ("a block before the manifest", name, vec![honest[1].clone(), honest[0].clone()]),
        (
            "a block too long",
            Some(name_of(&longer)),
            vec![part(Part::Manifest(longer)), part(Part::Block(vec![1; 20].into()))],
        ),
        ("weights of 5 GiB", Some(name_of(&huge)), vec![part(Part::Manifest(huge))]),
    ]
}

/// The metrics of every epoch of a run, as they were reported: by trial, then by epoch.
fn epochs_of(left: &Left) -> Vec<Vec<Vec<Metric>>> {
    let mut trials = vec![Vec::new(); left.number("/trials/planned") as usize];
    for row in csv::Reader::from_reader(&left.file("epochs.csv")[..]).deserialize::<BTreeMap<String, String>>() {
        let row = row.unwrap();
        let number = |column: &str| row[column].parse::<f64>().unwrap();
        trials[number("trial") as usize].push(NAMES.map(|name| metric(name, number(name))).to_vec());
    }
    trials
}

#[test]
fn no_false_weights_are_taken() {
    let lab = Lab::new(PROGRAM);
    let truth = truth(&lab);
    let reported = Arc::new(epochs_of(&truth));
    let liars = false_weights().into_iter().map(|(name, digest, parts)| {
        let reported = Arc::clone(&reported);
        // All that it tells is true: only the weights are not.
        let lie = move |launch: &Launch| {
            let Some(Kind::Train(Train { replicate: Some(replicate), .. })) = &launch.kind else { return Vec::new() };
            let epochs = &reported[replicate.trial as usize];
            let told = epochs.iter().zip(1..).map(|(metrics, epoch)| {
                let (attempt, metrics) = (launch.attempt, metrics.clone());
                Item::EpochEnded(EpochEnded { attempt, epoch, metrics, ..EpochEnded::default() })
            });
            let weights = digest.map(|digest| artifact(ArtifactName::Weights, &digest.0));
            let trained = Trained { epoch: epochs.len() as u32, artifacts: weights.into_iter().collect() };
            told.chain([ended(launch.attempt, Outcome::Trained(trained))]).collect()
        };
        (name, liar(lie, parts))
    });
    assert_no_lie_is_believed(&lab, &truth, liars);
}

/// What a peer gives that says it has all of the data, and has none of it.
fn false_blocks() -> Vec<(&'static str, Arc<Give>)> {
    let content = |content: Vec<u8>, encoding: i32| -> Arc<Give> {
        let content = Bytes::from(content);
        Arc::new(move |_| Ok(FetchReply { content: content.clone(), encoding }))
    };
    let lz4 = |bytes: usize| Encoded::of(vec![7; bytes].into(), Encoding::Lz4).content.to_vec();
    vec![
        ("a corrupt block", content(vec![7; BLOCK_BYTES], 0)),
        ("half a block", content(vec![7; BLOCK_BYTES / 2], 0)),
        ("no bytes", content(Vec::new(), 0)),
        ("three blocks", content(vec![7; 3 * BLOCK_BYTES], 0)),
        ("more than a message may have", content(vec![7; 9 * BLOCK_BYTES], 0)),
        ("another block encoded", content(lz4(BLOCK_BYTES), 1)),
        ("a bomb", content(lz4(256 * BLOCK_BYTES), 1)),
        ("no block that was encoded", content(vec![7; BLOCK_BYTES], 1)),
        ("an unknown encoding", content(lz4(BLOCK_BYTES), 7)),
        ("a refusal", Arc::new(|_| Err(Status::internal("not today")))),
    ]
}

#[test]
fn no_false_blocks_are_taken_from_a_peer() {
    let lab = Lab::new(PROGRAM);
    let truth = truth(&lab);
    let blocks = truth.number("/broadcast/data_raw_bytes").div_ceil(BLOCK_BYTES as u64) as u32;
    let all = Bytes::from(BlockSet::full(blocks).to_bytes());
    let study = study(&lab);
    // Side by side: most of each one's time is the driver's patience.
    std::thread::scope(|scope| {
        for (name, give) in false_blocks() {
            let (lab, study, truth, all) = (&lab, &study, &truth, all.clone());
            scope.spawn(move || assert_no_block_is_taken((lab, study), truth, all, (name, give)));
        }
    });
}

/// A run with a peer that claims to have `all` of the data, and gives what it is told to give.
fn assert_no_block_is_taken((lab, study): (&Lab, &Path), truth: &Left, all: Bytes, (name, give): (&str, Arc<Give>)) {
    // It only has to be there while others look for data: it never becomes ready.
    let mut script = Script::new(|mut talk: Talk| async move {
        talk.say(vec![Item::Welcome(welcome())]).await;
        pending::<()>().await;
    });
    script.give = give;
    script.holdings = vec![Holdings { all: Some(all), came: Vec::new() }];
    let liar = HostileExecutor::start(script);
    let good = lab.executor(&format!("cache {name}"), 1);
    let nodes = format!("{},{}", liar.address, good.address);
    let Ended { code, stderr, .. } = lab.tune(study, name, &["--nodes", &nodes]).wait();
    assert_eq!(code, Some(0), "{name}: {stderr}");
    assert!(!stderr.contains("panicked"), "{name}: {stderr}");
    assert_eq!(lab.outcome(name).digest(), truth.digest(), "{name}: {stderr}");
}

/// Attempts that an executor claims to hold when it greets.
fn false_claims() -> Vec<(&'static str, Vec<Attempt>)> {
    let first_of = |tasks: std::ops::Range<u32>| tasks.map(|task| Attempt { task, number: 1 }).collect();
    vec![
        ("attempts that were never launched", first_of(0..7)),
        ("attempts of tasks that are not there", first_of(1000..1003)),
        ("attempts with the last numbers", vec![Attempt { task: u32::MAX, number: u32::MAX }; 2]),
        ("an attempt without a number", vec![Attempt { task: 0, number: 0 }]),
        ("as many as a message may name", first_of(0..2 * SLOTS_MAX)),
        ("more than an executor can hold", first_of(0..2 * SLOTS_MAX + 1)),
    ]
}

#[test]
fn no_claim_to_hold_attempts_is_believed() {
    let lab = Lab::new(PROGRAM);
    let truth = truth(&lab);
    let good = lab.executor("cache", 1);
    for (name, held) in false_claims() {
        let came = Arc::new(AtomicBool::new(false));
        // It claims, fails the first launch that it gets, tells the end of all that it claimed, and leaves for good.
        let claimer = HostileExecutor::start(Script::new(move |mut talk: Talk| {
            let (held, came) = (held.clone(), Arc::clone(&came));
            async move {
                if came.swap(true, Ordering::Relaxed) {
                    return talk.refuse("has claimed enough").await;
                }
                talk.answer = Some(Answer::Slots(SLOTS_MAX));
                let claims = Welcome { held: held.clone(), ..welcome() };
                let Some(launch) = talk.until_launched_after(claims).await else { return };
                let failed = Outcome::Failed(Failed { reason: "had enough".to_owned() });
                talk.say(vec![ended(launch.attempt, failed)]).await;
                let ends = held.iter().map(|attempt| ended(Some(*attempt), trained(2)));
                talk.say(ends.collect()).await;
            }
        }));
        let out = name.replace(' ', "-");
        let nodes = format!("{},{}", claimer.address, good.address);
        let Ended { code, stderr, .. } = lab.tune(&study(&lab), &out, &["--nodes", &nodes]).wait();
        assert_eq!(code, Some(0), "{name}: {stderr}");
        assert!(!stderr.contains("panicked"), "{name}: {stderr}");
        let outcome = lab.outcome(&out);
        assert_eq!(outcome.digest(), truth.digest(), "{name}: {stderr}");
        // What goes to the claimer has a number that it did not claim.
        let skipped = name == "attempts that were never launched";
        assert_eq!(ended_so(&outcome, "never arrived") > 0, skipped, "{name}: {stderr}");
    }
}

#[test]
fn an_executor_that_reports_nan_and_one_that_leaves_with_every_launch_end_no_driver_but_their_run() {
    let lab = Lab::new(PROGRAM);
    let doubtful = HostileExecutor::start(Script::new(|mut talk| async move {
        let mut next = talk.until_launched(4000).await;
        while let Some(launch) = next {
            let report = Item::EpochEnded(EpochEnded {
                attempt: launch.attempt,
                epoch: 1,
                metrics: metrics(f64::NAN),
                durations: Some(Durations {
                    training_us: u64::MAX,
                    evaluation_us: u64::MAX,
                    used: Some(Used { cpu_us: u64::MAX, memory_peak_bytes: u64::MAX }),
                }),
                checkpoint: Bytes::new(),
            });
            talk.say(vec![report, ended(launch.attempt, trained(1))]).await;
            next = talk.next_launch().await;
        }
    }));
    // Whether anything is left of such a run is another matter: it ends, and says how.
    let fickle = HostileExecutor::start(Script::new(|mut talk| async move {
        let _ = talk.until_launched(1).await;
    }));
    // Of one process, which neither died nor holds what was launched: as where a launch itself ends the session.
    let same = welcome();
    let choosy = HostileExecutor::start(Script::new(move |mut talk| {
        let same = same.clone();
        async move {
            let _ = talk.until_launched_after(same).await;
        }
    }));
    let rows = [("doubtful", &doubtful, [0, 3]), ("fickle", &fickle, [3, 3]), ("choosy", &choosy, [3, 3])];
    for (name, executor, codes) in rows {
        let Ended { code, stderr, .. } = lab.tune(&lab.short(), name, &["--nodes", &executor.address]).wait();
        assert!(code.is_some_and(|code| codes.contains(&code)), "{name}: {code:?} {stderr}");
        assert!(!stderr.contains("panicked"), "{name}: {stderr}");
        assert!(lab.outcome(name).summary["best"].is_null(), "{name}: something of this is the best");
    }
}
