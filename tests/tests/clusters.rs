//! Whole runs on clusters of real processes: the same results wherever they are trained, and whoever is killed.

use std::fs;
use std::net::TcpStream;
use std::sync::OnceLock;

use broadsweep_tests::lab::{Lab, free_port};
use broadsweep_tests::outcome::Outcome;
use broadsweep_tests::process::{Ended, is_running, signal_to};
use broadsweep_tests::wait::until;
use rustix::process::Signal;

const PROGRAM: &str = env!("CARGO_BIN_EXE_broadsweep-under-test");
const SLIM: &str = env!("CARGO_BIN_EXE_broadsweep-executor-under-test");

/// What `tiny.toml` gives where nothing happens: its digest and its number of attempts.
fn undisturbed() -> &'static (String, u64) {
    static UNDISTURBED: OnceLock<(String, u64)> = OnceLock::new();
    UNDISTURBED.get_or_init(|| {
        let lab = Lab::new(PROGRAM);
        let outcome = lab.tuned(&lab.tiny(), "undisturbed", &["--local", "1"]);
        (outcome.digest().to_owned(), outcome.number("/attempts"))
    })
}

/// The run gave what an undisturbed one gives, although attempts were lost.
fn assert_recovered(outcome: &Outcome) {
    let (digest, attempts) = undisturbed();
    assert_eq!(outcome.digest(), digest);
    assert!(outcome.number("/attempts") > *attempts, "no attempt was lost: {}", outcome.summary);
    assert_eq!(outcome.number("/trials/finished"), outcome.number("/trials/planned"));
}

#[test]
fn one_two_and_thirteen_executors_give_the_same_digest_and_share_one_copy_of_the_data() {
    let lab = Lab::new(PROGRAM);
    for (shape, executors, slots) in [("2x1", 2, 2), ("13x1", 13, 13)] {
        let cache = lab.path(&format!("cache-{shape}"));
        let flags = ["--local", shape, "--nodes-min", &executors.to_string(), "--connect-timeout", "120"];
        let outcome =
            lab.tuned(&lab.tiny(), shape, &[&flags[..], &["--cache-dir", cache.to_str().unwrap()]].concat());
        assert_eq!(outcome.digest(), undisturbed().0, "--local {shape}");
        assert_eq!((outcome.number("/executors"), outcome.number("/slots")), (executors, slots));
        assert!((1.0..1.2).contains(&outcome.sent_share()), "--local {shape} sent {} copies", outcome.sent_share());
    }
}

#[test]
fn the_kernel_is_one_that_all_have_or_the_one_that_was_asked_for_and_a_resumed_run_keeps_it() {
    let lab = Lab::new(PROGRAM);
    let about = lab.command(["executor", "--about"]).wait().stdout;
    let kernels = about.lines().find_map(|line| line.strip_prefix("kernels")).unwrap();
    let fastest = kernels.split([',', ' ']).map(str::trim).find(|name| !name.is_empty() && *name != "gemm").unwrap();
    let agreed = lab.tuned(&lab.short(), "agreed", &["--local", "2x1"]);
    assert_eq!(agreed.summary["kernel"], fastest);
    let asked = lab.tune(&lab.tiny(), "asked", &["--local", "2x1", "--kernel", "gemm"]);
    let _ = asked.line_with("epoch done");
    asked.kill();
    let resumed = lab.command(["resume", "asked"]).wait();
    assert_eq!(resumed.code, Some(0), "{}", resumed.stderr);
    assert_eq!(lab.outcome("asked").summary["kernel"], "gemm");
    let unknown = lab.tune(&lab.short(), "unknown", &["--local", "1", "--kernel", "sse9"]).wait();
    assert_eq!(unknown.code, Some(2), "{}", unknown.stderr);
    assert!(unknown.stderr.contains("the kernels are avx512, avx2, gemm, portable"), "{}", unknown.stderr);
}

#[test]
fn a_local_executor_that_is_killed_is_started_again_and_changes_no_result() {
    let lab = Lab::new(PROGRAM);
    let driver = lab.tune(&lab.tiny(), "out", &["--local", "2x1"]);
    let _ = driver.line_with("epoch done");
    let victim = driver.children()[0];
    signal_to(victim, Signal::KILL);
    let Ended { code, stderr, .. } = driver.wait();
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stderr.contains("is lost with local") && stderr.contains("starting it again"), "{stderr}");
    assert_recovered(&lab.outcome("out"));
}

#[test]
fn executors_started_by_hand_give_the_same_digest_and_keep_the_data_for_the_next_run() {
    let lab = Lab::new(PROGRAM);
    let nodes = [lab.executor("cache-a", 1), lab.executor_on(SLIM, 0, "cache-b", 1)];
    let list = format!("{},{}", nodes[0].address, nodes[1].address);
    let first = lab.tuned(&lab.tiny(), "list", &["--nodes", &list, "--nodes-min", "2"]);
    assert_eq!(first.digest(), undisturbed().0);
    assert!((1.0..1.2).contains(&first.sent_share()), "two nodes cost {} copies", first.sent_share());
    let lines = format!("# the rack\n{}\n\n{} # slim\n", nodes[0].address, nodes[1].address);
    let file = lab.write("nodes", lines);
    let second = lab.tuned(&lab.tiny(), "file", &["--nodes", file.to_str().unwrap(), "--nodes-min", "2"]);
    assert_eq!(second.digest(), undisturbed().0);
    assert!(second.sent_share() < 0.05, "sent again: {} copies", second.sent_share());
}

#[test]
fn a_cache_is_used_again_and_a_cold_run_sends_again_and_leaves_nothing() {
    let lab = Lab::new(PROGRAM);
    let shares = [("first", &["--local", "1"][..]), ("again", &["--local", "1"]), ("cold", &["--cold"])]
        .map(|(out, flags)| lab.tuned(&lab.short(), out, flags).sent_share());
    assert!(shares[0] >= 1.0 && shares[1] < 0.05 && shares[2] >= 1.0, "{shares:?}");
    assert_eq!(lab.resume("cold", &[]).wait().code, Some(0), "it is over, and needs no executor");
    let left: Vec<_> = fs::read_dir(lab.path(".")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains("cold-")), "{left:?}");
}

#[test]
fn resume_counts_the_nodes_that_the_run_knows() {
    let lab = Lab::new(PROGRAM);
    let executor = lab.executor("cache", 1);
    drop(lab.tuned(&lab.short(), "out", &["--nodes", &executor.address]));
    let other = format!("127.0.0.1:{}", free_port());
    let resumed = |needed| lab.resume("out", &["--nodes", &other, "--nodes-min", needed]).wait();
    let three = resumed("3");
    assert_eq!(three.code, Some(2));
    assert!(three.stderr.contains("--nodes-min 3 of 2 nodes: there are too few"), "{}", three.stderr);
    let two = resumed("2");
    assert_eq!(two.code, Some(0), "{}", two.stderr);
}

#[test]
fn an_executor_that_comes_late_takes_part() {
    let lab = Lab::new(PROGRAM);
    let (early, port) = (lab.executor("cache-a", 1), free_port());
    let driver = lab.tune(&lab.tiny(), "out", &["--nodes", &format!("{},127.0.0.1:{port}", early.address)]);
    let _ = driver.line_with("launched");
    let _late = lab.executor_on(PROGRAM, port, "cache-b", 1);
    assert_eq!(driver.wait().code, Some(0));
    let outcome = lab.outcome("out");
    assert_eq!((outcome.digest(), outcome.number("/executors")), (undisturbed().0.as_str(), 2));
    let trials = String::from_utf8(outcome.file("trials.csv")).unwrap();
    assert!(trials.contains(&format!("127.0.0.1:{port}")), "the late executor trained nothing:\n{trials}");
}

#[test]
fn an_executor_that_is_killed_and_started_again_on_its_port_finishes_the_run() {
    let lab = Lab::new(PROGRAM);
    let port = free_port();
    let before = lab.executor_on(PROGRAM, port, "cache", 2);
    let driver = lab.tune(&lab.tiny(), "out", &["--nodes", &before.address, "--connect-timeout", "120"]);
    let _ = driver.line_with("epoch done");
    before.process.kill();
    let _after = lab.executor_on(PROGRAM, port, "cache", 2);
    let Ended { code, stderr, .. } = driver.wait();
    assert_eq!(code, Some(0), "{stderr}");
    assert_recovered(&lab.outcome("out"));
}

#[test]
fn a_run_that_loses_its_only_executor_for_good_ends_with_what_it_has() {
    let lab = Lab::new(PROGRAM);
    let executor = lab.executor("cache", 1);
    let driver = lab.tune(&lab.tiny(), "out", &["--nodes", &executor.address, "--connect-timeout", "1"]);
    let _ = driver.line_with("2/13 trials");
    executor.process.kill();
    let Ended { code, stderr, .. } = driver.wait();
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("no executor is left") && stderr.contains(&executor.address), "{stderr}");
    let outcome = lab.outcome("out");
    assert!(outcome.number("/trials/finished") >= 2 && outcome.number("/trials/not_run") >= 1, "{}", outcome.summary);
}

#[test]
fn a_held_executor_names_its_holder_and_a_take_over_ends_the_hold_until_that_run_is_over() {
    let lab = Lab::new(PROGRAM);
    let executor = lab.executor("cache", 1);
    // The holder took over itself: even so it does not take the executor back while it is held.
    let flags = ["--nodes", &executor.address, "--take-over", "--connect-timeout", "600"]; // as long as others hold it
    let holder = lab.tune(&lab.endless(), "holder-out", &flags);
    let _ = holder.line_with("epoch done");
    let refused =
        lab.tune(&lab.short(), "refused-out", &["--nodes", &executor.address, "--connect-timeout", "1"]).wait();
    assert_eq!(refused.code, Some(1));
    for part in ["refuses: held by run holder-out", "--take-over"] {
        assert!(refused.stderr.contains(part), "{part}: {}", refused.stderr);
    }
    let taker = lab.tune(&lab.tiny(), "taker-out", &["--nodes", &executor.address, "--take-over"]);
    let _ = taker.line_with("epoch done");
    let _ = holder.line_with("refuses: held by run taker-out");
    assert_eq!(taker.wait().code, Some(0));
    assert_eq!(lab.outcome("taker-out").digest(), undisturbed().0);
    // Once nobody holds it, it is the first run's again.
    let _ = holder.line_with(&format!("{} is there, with 1 slot", executor.address));
    let _ = holder.line_with("epoch done");
}

#[test]
fn the_local_executors_of_a_killed_driver_go_on_until_nobody_can_want_them() {
    let lab = Lab::new(PROGRAM);
    let driver = lab.tune(&lab.endless(), "out", &["--local", "2x1", "--orphan-timeout", "1"]);
    let _ = driver.line_with("epoch done");
    let children = driver.children();
    assert_eq!(children.len(), 2);
    driver.kill();
    assert!(children.iter().all(|child| is_running(*child)), "they end with their driver");
    until("the end of the local executors", || (!children.iter().any(|child| is_running(*child))).then_some(()));
}

#[test]
fn an_interrupted_run_writes_what_it_has_and_ends_its_executors() {
    let lab = Lab::new(PROGRAM);
    let driver = lab.tune(&lab.tiny(), "out", &["--local", "2x1"]);
    let _ = driver.line_with("2/13 trials");
    let children = driver.children();
    driver.signal(Signal::INT);
    let Ended { code, stderr, .. } = driver.wait();
    assert_eq!(code, Some(130), "{stderr}");
    for part in ["interrupted: tiny", "of 13 trials are over", "to go on: broadsweep resume "] {
        assert!(stderr.contains(part), "{part}: {stderr}");
    }
    until("the end of the local executors", || (!children.iter().any(|child| is_running(*child))).then_some(()));
    let outcome = lab.outcome("out");
    assert_eq!(outcome.summary["interrupted"], true);
    assert!(outcome.number("/trials/finished") >= 2 && outcome.number("/trials/not_run") >= 1, "{}", outcome.summary);
    let rows = csv::Reader::from_reader(&outcome.file("trials.csv")[..]).into_records().map(Result::unwrap).count();
    assert_eq!(rows, 13);
}

#[test]
fn a_second_interrupt_ends_a_run_at_once() {
    let lab = Lab::new(PROGRAM);
    let driver = lab.tune(&lab.endless(), "out", &["--local", "2x1"]);
    let _ = driver.line_with("epoch done");
    let children = driver.children();
    driver.signal(Signal::INT);
    driver.signal(Signal::TERM); // asks for the same; two of one signal might arrive as one
    assert_eq!(driver.wait().code, Some(130));
    until("the end of the local executors", || (!children.iter().any(|child| is_running(*child))).then_some(()));
}

#[test]
fn a_run_leaves_all_its_files_and_prints_one_json_document() {
    let lab = Lab::new(PROGRAM);
    let ended = lab.tune(&lab.tiny(), "out", &["--local", "1", "--json"]).wait();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let outcome = lab.outcome("out");
    let printed: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(printed, outcome.summary);
    assert_eq!(outcome.file("study.toml"), fs::read(lab.tiny()).unwrap());

    let mut trials = csv::Reader::from_reader(std::io::Cursor::new(outcome.file("trials.csv")));
    let epochs_column = trials.headers().unwrap().iter().position(|column| column == "epochs").unwrap();
    let epochs: Vec<u64> = trials.records().map(|row| row.unwrap()[epochs_column].parse().unwrap()).collect();
    assert_eq!(epochs.len() as u64, outcome.number("/trials/planned"));
    let epoch_rows =
        csv::Reader::from_reader(&outcome.file("epochs.csv")[..]).into_records().map(Result::unwrap).count();
    assert_eq!(epoch_rows as u64, epochs.iter().sum::<u64>());

    let weights = outcome.file("best/weights.safetensors");
    let width = outcome.number("/best/configuration/width") as usize;
    let tensors = safetensors::SafeTensors::deserialize(&weights).unwrap();
    assert!(tensors.iter().any(|(_, tensor)| tensor.shape().contains(&width)), "{:?}", tensors.names());
    let best: toml::Table = String::from_utf8(outcome.file("best/configuration.toml")).unwrap().parse().unwrap();
    assert_eq!(best["width"].as_integer(), Some(width as i64));
    assert_eq!(best["learning_rate"].as_float(), outcome.summary["best"]["configuration"]["learning_rate"].as_f64());

    let entries = |folder: &str| {
        let names = fs::read_dir(outcome.folder.join(folder)).unwrap();
        names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect::<Vec<_>>()
    };
    let half_written = |name: &String| name.contains("partial");
    assert!(!entries(".").iter().any(half_written) && !entries("best").iter().any(half_written));
}

#[test]
fn a_run_begins_with_the_nodes_that_answer_or_says_why_it_does_not() {
    let lab = Lab::new(PROGRAM);
    let executor = lab.executor("cache", 1);
    let list = format!("{},127.0.0.1:{}", executor.address, free_port());
    let flags =
        |needed: &'static str| ["--nodes", &list, "--connect-timeout", "1", "--nodes-min", needed].map(str::to_owned);
    let tune = |out: &str, needed| {
        let flags = flags(needed);
        lab.tune(&lab.short(), out, &flags.each_ref().map(String::as_str)).wait()
    };
    assert_eq!(tune("one", "1").code, Some(0));
    let two = tune("two", "2");
    assert_eq!(two.code, Some(1));
    assert!(two.stderr.contains("1 of 2 nodes can be used; at least 2 are needed"), "{}", two.stderr);
    let three = tune("three", "3");
    assert_eq!(three.code, Some(2));
    assert!(three.stderr.contains("--nodes-min 3 of 2 nodes: there are too few"), "{}", three.stderr);
    assert!(!lab.path("three").exists());
}

#[test]
fn an_executor_that_is_named_twice_is_used_once_and_the_run_says_so() {
    let lab = Lab::new(PROGRAM);
    let executor = lab.executor("cache-node", 1);
    let port = executor.address.rsplit_once(':').unwrap().1;
    let nodes = format!("{},localhost:{port}", executor.address);
    let Ended { code, stderr, .. } = lab.tune(&lab.short(), "out", &["--nodes", &nodes]).wait();
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stderr.contains("is the same executor as") && stderr.contains("name each executor once"), "{stderr}");
    assert_eq!(lab.outcome("out").number("/executors"), 1);
}

#[test]
fn an_executor_that_could_not_be_used_is_free_as_soon_as_the_driver_has_ended() {
    let lab = Lab::new(PROGRAM);
    let executor = lab.executor("cache-node", 1);
    let port = executor.address.rsplit_once(':').unwrap().1;
    let twice = format!("{},localhost:{port}", executor.address);
    // Each name ends the session of the other one, and there is no second executor to go on with.
    let failed = lab.tune(&lab.short(), "twice", &["--nodes", &twice, "--nodes-min", "2"]).wait();
    assert_eq!(failed.code, Some(1), "{}", failed.stderr);
    assert!(failed.stderr.contains("name each executor once"), "{}", failed.stderr);
    let one = ["--nodes", &executor.address, "--connect-timeout", "1"];
    let next = lab.tune(&lab.short(), "next", &one).wait();
    assert_eq!(next.code, Some(0), "{}", next.stderr);
}

#[test]
fn a_terminated_executor_leaves_as_soon_as_its_work_is_safe_whoever_is_connected() {
    let lab = Lab::new(PROGRAM);
    let executor = lab.executor("cache", 1);
    let _silent = TcpStream::connect(&executor.address).unwrap();
    let driver = lab.tune(&lab.endless(), "out", &["--nodes", &executor.address, "--connect-timeout", "1"]);
    let _ = driver.line_with("epoch done");
    executor.process.signal(Signal::TERM);
    assert_eq!(executor.process.wait().code, Some(0));
    let Ended { code, stderr, .. } = driver.wait();
    assert_eq!(code, Some(1));
    for part in ["is leaving; it takes no new trials", "has left", "no executor is left", "broadsweep resume "] {
        assert!(stderr.contains(part), "{part}: {stderr}");
    }
}

#[test]
fn a_second_signal_ends_an_executor_at_once() {
    let lab = Lab::new(PROGRAM);
    let executor = lab.executor("cache", 1);
    let study = lab.write("long.toml", "name = 'long'\ntrainer = { kind = 'replay', seconds = 3600, error = 0.5 }\n");
    let driver = lab.tune(&study, "out", &["--nodes", &executor.address, "--connect-timeout", "1"]);
    let _ = driver.line_with("launched");
    executor.process.signal(Signal::TERM);
    let _ = executor.process.line_with("leaving");
    executor.process.signal(Signal::TERM);
    assert_eq!(executor.process.wait().code, Some(0));
    assert_eq!(driver.wait().code, Some(1));
}
