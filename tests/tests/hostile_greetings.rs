//! Executors that greet a driver badly: it goes without them, and says why.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic, in its helping functions too")]

use broadsweep_proto::session::executor_item::Item;
use broadsweep_proto::session::prepared::Answer;
use broadsweep_proto::session::refusal::Reason;
use broadsweep_proto::session::{Attempt, Prepared, Refusal, Welcome};
use broadsweep_tests::hostile_executor::{HostileExecutor, Script, Talk, welcome};
use broadsweep_tests::lab::Lab;
use broadsweep_tests::process::Ended;

const PROGRAM: &str = env!("CARGO_BIN_EXE_broadsweep-under-test");

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

/// Greets well, has all of the data, and answers so when it is to prepare.
fn answerer(answer: Option<Answer>) -> HostileExecutor {
    HostileExecutor::start(Script::new(move |mut talk: Talk| {
        talk.answer.clone_from(&answer);
        async move {
            let _ = talk.until_launched_after(welcome()).await;
        }
    }))
}

fn refusal(reason: &str) -> Answer {
    Answer::Refusal(Refusal { reason: Some(Reason::Trainer(reason.to_owned())) })
}

fn kernels_of(welcome: &mut Welcome) -> &mut Vec<String> {
    &mut welcome.capabilities.as_mut().unwrap().kernels
}

#[test]
fn an_executor_that_greets_badly_is_refused_with_the_reason() {
    let welcome_with = |change: fn(&mut Welcome)| {
        move || {
            let mut welcome = welcome();
            change(&mut welcome);
            Item::Welcome(welcome)
        }
    };
    let rows = [
        ("no slots", answerer(Some(Answer::Slots(0))), "it says that it has 0 slots"),
        ("too many slots", answerer(Some(Answer::Slots(u32::MAX))), "has 4294967295 slots"),
        ("no answer", answerer(None), "without its answer"),
        ("no reason", answerer(Some(Answer::Refusal(Refusal { reason: None }))), "without its reason"),
        ("a refusal", answerer(Some(refusal("the moon is wrong"))), "it cannot train so: the moon is wrong"),
        ("a long refusal", answerer(Some(refusal(&"x".repeat(1 << 20)))), "it cannot train so: xxxx"),
        (
            "no capabilities",
            greeter(1, welcome_with(|it| it.capabilities = None), vec![]),
            "without its capabilities",
        ),
        (
            "too many kernels",
            greeter(1, welcome_with(|it| kernels_of(it).resize(99, String::new())), vec![]),
            "99 kernels",
        ),
        (
            "too many held",
            greeter(1, welcome_with(|it| it.held = vec![Attempt::default(); 9000]), vec![]),
            "held attempts",
        ),
        ("no kernel", greeter(1, welcome_with(|it| kernels_of(it).clear()), vec![]), "cannot train with portable"),
        ("a late number", greeter(u64::MAX, welcome_with(|_| ()), vec![]), "its first message has number"),
        ("no welcome", greeter(1, || Item::Prepared(Prepared::default()), vec![]), "did not answer the hello"),
        ("a block twice", greeter(1, welcome_with(|_| ()), vec![0; 100_000]), "named missing blocks twice"),
        ("a silent end", HostileExecutor::start(Script::new(|_| async {})), "did not answer the hello"),
    ];
    let lab = Lab::new(PROGRAM);
    for (name, executor, fragment) in rows {
        let flags = ["--nodes", &executor.address, "--connect-timeout", "1"];
        let Ended { code, stderr, .. } = lab.tune(&lab.short(), &name.replace(' ', "-"), &flags).wait();
        assert_eq!(code, Some(1), "{name}: {stderr}");
        assert!(stderr.contains(fragment) && stderr.contains("0 of 1 nodes can be used"), "{name}: {stderr}");
        assert!(!stderr.contains("panicked"), "{name}: {stderr}");
    }
}
