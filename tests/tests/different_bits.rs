//! Honest executors that disagree: one of them computes other bits, and nobody knows which. The first numbers stand, a
//! third executor is asked once, and people are told what can be said.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use broadsweep_proto::session::attempt_ended::Outcome;
use broadsweep_proto::session::executor_item::Item;
use broadsweep_proto::session::{
    Attempt, AttemptEnded, EpochEnded, Launch, Metric, Train, Trained, launch::Kind, prepared::Answer,
};
use broadsweep_tests::hostile_executor::{HostileExecutor, Script, Talk, welcome};
use broadsweep_tests::lab::Lab;
use broadsweep_tests::process::Ended;
use serde_json::{Value, json};

const PROGRAM: &str = env!("CARGO_BIN_EXE_broadsweep-under-test");

/// One trial of three epochs, which may not fail once: that two executors differ is not its fault.
const STUDY: &str = "
name = 'bits'
[trainer]
kind = 'replay'
seconds = 0
epochs = 3
error = '$error'
[search]
sampler = 'grid'
[search.space]
error = { values = [0.5] }
[scheduling]
backoff_ms = 10
failures_max = 1
";

/// The error that an executor computes for an epoch; below nothing, the training diverges then.
type Numbers = fn(u32) -> f64;

fn right(epoch: u32) -> f64 {
    0.5 / f64::from(epoch)
}

/// Other bits in the second epoch and all that follow from it.
fn wrong(epoch: u32) -> f64 {
    if epoch < 2 { right(epoch) } else { right(epoch) + f64::EPSILON }
}

fn wrong_otherwise(epoch: u32) -> f64 {
    if epoch < 2 { right(epoch) } else { right(epoch) - f64::EPSILON }
}

fn diverging(epoch: u32) -> f64 {
    if epoch < 2 { right(epoch) } else { -1.0 }
}

fn epoch_ended(attempt: Option<Attempt>, epoch: u32, error: f64) -> Item {
    let metric = |name: &str, value| Metric { name: name.to_owned(), value, built_in: 0 };
    let metrics = vec![metric("learning_rate", 0.0), metric("validation_error", error)];
    Item::EpochEnded(EpochEnded { attempt, epoch, metrics, ..EpochEnded::default() })
}

/// What it reports of a training.
fn reports(launch: &Launch, numbers: Numbers) -> Vec<Item> {
    let Some(Kind::Train(Train { until_epoch, .. })) = launch.kind else { panic!("{launch:?}") };
    let attempt = launch.attempt;
    let ended = |outcome| Item::AttemptEnded(AttemptEnded { attempt, durations: None, outcome: Some(outcome) });
    let mut items = Vec::new();
    for epoch in 1..=until_epoch {
        if numbers(epoch) < 0.0 {
            items.push(ended(Outcome::Diverged(broadsweep_proto::session::Diverged { epoch })));
            return items;
        }
        items.push(epoch_ended(attempt, epoch, numbers(epoch)));
    }
    items.push(ended(Outcome::Trained(Trained { epoch: until_epoch, artifacts: Vec::new() })));
    items
}

/// An executor that computes these numbers. The more slots it has, the sooner it is asked.
fn executor(slots: u32, numbers: Numbers) -> HostileExecutor {
    HostileExecutor::start(Script::new(move |mut talk: Talk| async move {
        talk.answer = Some(Answer::Slots(slots));
        talk.say(vec![Item::Welcome(welcome())]).await;
        while let Some(launch) = talk.next_launch().await {
            talk.say(reports(&launch, numbers)).await;
        }
    }))
}

/// One that tells this of its first launch, and leaves for good.
fn leaving(slots: u32, told: impl Fn(&Launch) -> Vec<Item> + Clone + Send + Sync + 'static) -> HostileExecutor {
    let came = Arc::new(AtomicBool::new(false));
    HostileExecutor::start(Script::new(move |mut talk: Talk| {
        let (came, told) = (Arc::clone(&came), told.clone());
        async move {
            if came.swap(true, Ordering::Relaxed) {
                return talk.refuse("has left").await;
            }
            let Some(launch) = talk.until_launched(slots).await else { return };
            talk.say(told(&launch)).await;
        }
    }))
}

/// The executor that is asked first; it leaves after two epochs.
fn first(numbers: Numbers) -> HostileExecutor {
    leaving(9, move |launch| (1..=2).map(|epoch| epoch_ended(launch.attempt, epoch, numbers(epoch))).collect())
}

/// One that does a single task.
fn once(slots: u32, numbers: Numbers) -> HostileExecutor {
    leaving(slots, move |launch| reports(launch, numbers))
}

/// How a run on these ends, what it says, and its summary.
fn run(lab: &Lab, out: &str, executors: &[&HostileExecutor]) -> (Ended, Value) {
    let study = lab.write("bits.toml", STUDY);
    let addresses: Vec<_> = executors.iter().map(|executor| executor.address.as_str()).collect();
    let (nodes, count) = (addresses.join(","), addresses.len().to_string());
    let ended = lab.tune(&study, out, &["--nodes", &nodes, "--nodes-min", &count]).wait();
    (ended, lab.outcome(out).summary)
}

fn assert_told(ended: &Ended, fragment: &str) {
    let said = format!("{}{}", ended.stdout, ended.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains(fragment), "{fragment:?} is not said: {said}");
}

/// Of three executors the first leaves after two epochs.
#[test]
fn a_third_executor_names_the_odd_one_and_the_first_numbers_stand() {
    /// The numbers of the three, who is found to be wrong, how the run ends, and what is said.
    type Row = ([Numbers; 3], Option<usize>, i32, &'static str);
    let rows: [(&str, Row); 5] = [
        ("other", ([right, wrong, right], Some(1), 0, "is wrong, as a third one showed; check what it computed")),
        ("first", ([wrong, right, right], Some(0), 3, "and its numbers stand here")),
        ("nobody", ([right, wrong, wrong_otherwise], None, 3, "which of them is wrong could not be found out")),
        ("diverged", ([right, diverging, right], Some(1), 0, "is wrong, as a third one showed; check what it")),
        ("both-diverge", ([right, diverging, diverging], Some(0), 3, "and its numbers stand here")),
    ];
    let lab = Lab::new(PROGRAM);
    for (name, ([told_first, second, third], odd, code, sentence)) in rows {
        let executors = [first(told_first), executor(3, second), executor(1, third)];
        let (ended, summary) = run(&lab, name, &executors.each_ref());
        assert_eq!(ended.code, Some(code), "{name}: {}{}", ended.stdout, ended.stderr);
        let told = json!({
            "trial": 0, "epoch": 2, "first": executors[0].address, "other": executors[1].address,
            "odd": odd.map(|odd| executors[odd].address.as_str()),
        });
        assert_eq!(summary["differences"], json!([told]), "{name}");
        assert_eq!(summary["suspect"], json!(code == 3), "{name}");
        assert_eq!(summary["trials"]["failed"], 0, "{name}: {summary}");
        assert_told(&ended, sentence);
        assert_told(&ended, "another executor trains it once more");
        // What stands was told first; what nobody told before is of whoever went on.
        let epochs = String::from_utf8(lab.outcome(name).file("epochs.csv")).unwrap();
        let stands = format!("{}", told_first(2));
        assert!(epochs.lines().nth(2).unwrap().contains(&stands), "{name}: {epochs}");
    }
}

#[test]
fn where_there_is_no_third_the_run_is_suspect_and_goes_on_to_its_end() {
    let lab = Lab::new(PROGRAM);
    let executors = [first(right), executor(1, wrong)];
    let (ended, summary) = run(&lab, "two", &executors.each_ref());
    assert_eq!(ended.code, Some(3), "{}", ended.stderr);
    assert_eq!(summary["differences"][0]["odd"], Value::Null);
    assert_eq!((&summary["suspect"], &summary["trials"]["finished"]), (&json!(true), &json!(1)), "{summary}");
    assert_told(&ended, "no third executor could tell");
    assert_told(&ended, "the run is suspect");
    // It is as suspect when it is read again.
    assert_eq!(lab.resume("two", &[]).wait().code, Some(3));
}

#[test]
fn once_it_is_known_who_is_right_whoever_differs_has_failed() {
    let lab = Lab::new(PROGRAM);
    let executors = [first(right), executor(3, wrong), once(2, right), executor(1, wrong)];
    let (ended, summary) = run(&lab, "again", &executors.each_ref());
    assert_eq!(ended.code, Some(3), "{}", ended.stderr);
    assert_eq!(summary["differences"][0]["odd"], json!(executors[1].address), "{summary}");
    assert_eq!((&summary["suspect"], &summary["trials"]["failed"]), (&json!(false), &json!(1)), "{summary}");
    assert_eq!(
        summary["attempts_by_end"],
        json!({ "completed": 1, "doubted": 1, "failed": 1, "lost": 1 }),
        "{summary}"
    );
    assert_told(&ended, "in epoch 2 than were told before");
}
