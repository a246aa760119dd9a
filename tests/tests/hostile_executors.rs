//! Executors that break the protocol: the driver believes no lie, and a good executor beside them finishes the run.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic, in its helping functions too")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use broadsweep_common::blob::Blob;
use broadsweep_common::ids::Digest;
use broadsweep_proto::MESSAGE_BYTES_MAX;
use broadsweep_proto::blocks::{Manifest, PullReply, pull_reply::Part};
use broadsweep_proto::session::attempt_ended::Outcome;
use broadsweep_proto::session::executor_item::Item;
use broadsweep_proto::session::{
    Attempt, AttemptEnded, Complete, Diverged, Durations, EpochEnded, EpochReport, Failed, Launch, Prepared, Score,
    Welcome,
};
use broadsweep_tests::forged::{forged, name_of};
use broadsweep_tests::hostile_executor::{HostileExecutor, Script, Talk, parts_of, welcome};
use broadsweep_tests::lab::Lab;
use broadsweep_tests::process::Ended;
use bytes::Bytes;

const PROGRAM: &str = env!("CARGO_BIN_EXE_broadsweep-under-test");

/// One of the reports that no executor should make about this launch.
type Lie = fn(&Launch) -> Item;

fn epoch_report(epoch: u32, error: f64) -> EpochReport {
    let validation = Some(Score { loss: error, error });
    EpochReport { epoch, learning_rate: 0.01, training_loss: error, validation, test: None }
}

fn ended(attempt: Option<Attempt>, outcome: impl Into<Option<Outcome>>) -> Item {
    Item::AttemptEnded(AttemptEnded { attempt, durations: None, outcome: outcome.into() })
}

fn complete(epoch: u32, error: f64) -> Outcome {
    Outcome::Complete(Complete { report: Some(epoch_report(epoch, error)), weights: Bytes::from(vec![9; 32]) })
}

const LIES: [(&str, Lie); 15] = [
    ("an unknown attempt", |_| ended(Some(Attempt { task: u32::MAX, number: 1 }), complete(1, 0.0))),
    ("a stale attempt", |launch| {
        ended(launch.attempt.map(|it| Attempt { number: it.number + 1, ..it }), complete(1, 0.0))
    }),
    ("no attempt", |_| ended(None, complete(1, 0.0))),
    ("no outcome", |launch| ended(launch.attempt, None::<Outcome>)),
    ("an epoch 0", |launch| ended(launch.attempt, complete(0, 0.0))),
    ("an epoch beyond all", |launch| ended(launch.attempt, complete(u32::MAX, 0.0))),
    ("a divergence in no epoch", |launch| ended(launch.attempt, Some(Outcome::Diverged(Diverged { epoch: 0 })))),
    ("half a digest", |launch| {
        let weights = Bytes::from_static(b"short");
        ended(launch.attempt, Some(Outcome::Complete(Complete { report: Some(epoch_report(1, 0.0)), weights })))
    }),
    ("a measurement", |launch| ended(launch.attempt, Some(Outcome::Measured(Score { loss: 0.0, error: 0.0 })))),
    ("a long reason", |launch| ended(launch.attempt, Some(Outcome::Failed(Failed { reason: "é".repeat(100_000) })))),
    ("a second welcome", |_| Item::Welcome(welcome(1))),
    ("a second preparation", |_| Item::Prepared(Prepared { refusal: "no".to_owned() })),
    ("a message too large", |launch| {
        ended(launch.attempt, Some(Outcome::Failed(Failed { reason: "x".repeat(MESSAGE_BYTES_MAX) })))
    }),
    ("an epoch of nothing", |launch| {
        Item::EpochEnded(EpochEnded { attempt: launch.attempt, report: None, durations: None })
    }),
    ("weights that it does not have", |launch| ended(launch.attempt, complete(1, 0.0))),
];

/// Tells `lie` about its first launch, fails it, and leaves for good when it gets another.
fn liar(lie: impl Fn(&Launch) -> Item + Clone + Send + Sync + 'static, weights: Vec<PullReply>) -> HostileExecutor {
    let came = Arc::new(AtomicBool::new(false));
    let mut script = Script::new(move |mut talk: Talk| {
        let (lie, came) = (lie.clone(), Arc::clone(&came));
        async move {
            if came.swap(true, Ordering::Relaxed) {
                return talk.refuse("has lied enough").await;
            }
            let Some(launch) = talk.until_launched(1).await else { return };
            talk.say(vec![lie(&launch)]).await;
            let failed = Outcome::Failed(Failed { reason: "had enough".to_owned() });
            talk.say(vec![ended(launch.attempt, failed)]).await;
            let _ = talk.next_launch().await;
        }
    });
    script.weights = weights;
    HostileExecutor::start(script)
}

/// A run beside the liar gives what the good executor alone gives.
fn assert_no_lie_is_believed<'a>(lab: &Lab, liars: impl Iterator<Item = (&'a str, HostileExecutor)>) {
    let good = lab.executor("cache", 1);
    let truth = lab.tuned(&lab.short(), "truth", &["--nodes", &good.address]);
    for (name, liar) in liars {
        let nodes = format!("{},{}", liar.address, good.address);
        let out = name.replace(' ', "-");
        let driver = lab.tune(&lab.short(), &out, &["--nodes", &nodes, "--nodes-min", "2"]);
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
    assert_no_lie_is_believed(&lab, LIES.into_iter().map(|(name, lie)| (name, liar(lie, Vec::new()))));
}

/// Weights that are not what their name says.
fn false_weights() -> Vec<(&'static str, Digest, Vec<PullReply>)> {
    let part = |part| PullReply { part: Some(part) };
    let content = vec![3_u8; 2000];
    let honest = parts_of(&content);
    let name = Blob::new(content).unwrap().manifest.digest();
    let longer = forged(10, &[&[1; 20]]);
    let huge = Manifest { bytes: 5 << 30, blocks: vec![Bytes::from(vec![7; 32]); 5 << 10] };
    vec![
        ("another blob", Digest::of(b"another"), honest.clone()),
        ("a corrupt block", name, vec![honest[0].clone(), part(Part::Block(vec![4; 2000].into()))]),
        ("blocks that end early", name, vec![honest[0].clone()]),
        ("a block before the manifest", name, vec![honest[1].clone(), honest[0].clone()]),
        (
            "a block too long",
            name_of(&longer),
            vec![part(Part::Manifest(longer)), part(Part::Block(vec![1; 20].into()))],
        ),
        ("weights of 5 GiB", name_of(&huge), vec![part(Part::Manifest(huge))]),
    ]
}

#[test]
fn no_false_weights_are_taken() {
    let lab = Lab::new(PROGRAM);
    let liars = false_weights().into_iter().map(|(name, digest, parts)| {
        let lie = move |launch: &Launch| {
            let weights = Bytes::copy_from_slice(&digest.0);
            ended(launch.attempt, Some(Outcome::Complete(Complete { report: Some(epoch_report(1, 0.0)), weights })))
        };
        (name, liar(lie, parts))
    });
    assert_no_lie_is_believed(&lab, liars);
}

/// Greets with these items in a message of this number, and waits.
fn greeter(
    sequence: u64,
    item: impl Fn() -> Item + Clone + Send + Sync + 'static,
    missing: Vec<u32>,
) -> HostileExecutor {
    let mut script = Script::new(move |mut talk: Talk| {
        let item = item.clone();
        async move {
            talk.send(sequence, vec![item()]).await;
            talk.until_gone().await;
        }
    });
    script.missing = missing;
    HostileExecutor::start(script)
}

#[test]
fn an_executor_that_greets_badly_is_refused_with_the_reason() {
    let welcome_with = |change: fn(&mut Welcome)| {
        move || {
            let mut welcome = welcome(1);
            change(&mut welcome);
            Item::Welcome(welcome)
        }
    };
    let rows = [
        ("no slots", greeter(1, welcome_with(|it| it.slots = 0), vec![]), "it says that it has 0 slots"),
        ("too many slots", greeter(1, welcome_with(|it| it.slots = u32::MAX), vec![]), "has 4294967295 slots"),
        ("no kernel", greeter(1, welcome_with(|it| it.kernels.clear()), vec![]), "cannot train with the kernel"),
        ("a late number", greeter(u64::MAX, welcome_with(|_| ()), vec![]), "its first message has number"),
        ("no welcome", greeter(1, || Item::Prepared(Prepared::default()), vec![]), "did not answer the hello"),
        ("a block twice", greeter(1, welcome_with(|_| ()), vec![0; 100_000]), "named missing blocks twice"),
        ("a silent end", HostileExecutor::start(Script::new(|_| async {})), "did not answer the hello"),
    ];
    let lab = Lab::new(PROGRAM);
    for (name, executor, fragment) in rows {
        let driver = lab.tune(&lab.short(), &name.replace(' ', "-"), &["--nodes", &executor.address]);
        let Ended { code, stderr, .. } = driver.wait();
        assert_eq!(code, Some(1), "{name}: {stderr}");
        assert!(stderr.contains(fragment) && stderr.contains("0 of 1 nodes answered"), "{name}: {stderr}");
        assert!(!stderr.contains("panicked"), "{name}: {stderr}");
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
                report: Some(epoch_report(1, f64::NAN)),
                durations: Some(Durations { training_us: u64::MAX, evaluation_us: u64::MAX }),
            });
            talk.say(vec![report, ended(launch.attempt, complete(1, f64::NAN))]).await;
            next = talk.next_launch().await;
        }
    }));
    // Whether anything is left of such a run is another matter: it ends, and says how.
    let fickle = HostileExecutor::start(Script::new(|mut talk| async move {
        let _ = talk.until_launched(1).await;
    }));
    for (name, executor, codes) in [("doubtful", &doubtful, [0, 3]), ("fickle", &fickle, [3, 3])] {
        let Ended { code, stderr, .. } = lab.tune(&lab.short(), name, &["--nodes", &executor.address]).wait();
        assert!(code.is_some_and(|code| codes.contains(&code)), "{name}: {code:?} {stderr}");
        assert!(!stderr.contains("panicked"), "{name}: {stderr}");
        assert!(lab.outcome(name).summary["best"].is_null(), "{name}: something of this is the best");
    }
}
