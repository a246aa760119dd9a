//! One study on clusters of several sizes, by real processes: comparisons, forecasts and ledgers against what was done
//! to the runs.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic, in its helping functions too")]

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{fs, thread};

use broadsweep_data as data;
use broadsweep_driver::{plan::Planner, study};
use broadsweep_tests::chaos::waiting;
use broadsweep_tests::lab::{Lab, examples, studies, tiny_with};
use broadsweep_tests::outcome::Outcome;
use broadsweep_tests::process::{Ended, Process};
use broadsweep_tests::skip::skip;
use rustix::process::Signal;
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_broadsweep-under-test");
/// The lines of a ledger.
const LINES: [&str; 7] = ["training_s", "broadcast_s", "start_up_s", "waiting_s", "lost_s", "slow_s", "tail_s"];

fn scale(lab: &Lab, study: &Path, out: &str, flags: &[&str]) -> Process {
    let out = lab.path(out);
    let cache = lab.path("cache");
    let fixed = ["scale", study.to_str().unwrap(), "--out", out.to_str().unwrap()];
    let cache = ["--cache-dir", cache.to_str().unwrap()];
    let cache = if flags.iter().any(|flag| ["--nodes", "--cold"].contains(flag)) { &[][..] } else { &cache[..] };
    lab.command(fixed.iter().chain(cache).chain(flags).copied())
}

fn resumed(lab: &Lab, out: &str) -> Ended {
    lab.command(["scale", "--resume", lab.path(out).to_str().unwrap()]).wait()
}

fn comparison(lab: &Lab, out: &str) -> Value {
    serde_json::from_slice(&fs::read(lab.path(out).join("scale.json")).unwrap()).unwrap()
}

fn seconds(value: &Value, place: &str) -> f64 {
    value.pointer(place).and_then(Value::as_f64).unwrap_or_else(|| panic!("no number at {place}: {value}"))
}

/// Whether the ledger adds up to its slots' time, and each executor's to its own: within a part of a million, which is
/// what decimal fractions lose.
fn assert_closes(summary: &Value) {
    let ledger = &summary["ledger"];
    let accounts = ledger["by_executor"].as_array().unwrap();
    let wall_s = seconds(summary, "/wall_s");
    for account in accounts.iter().chain([ledger]) {
        let sum: f64 = LINES.iter().map(|line| account[*line].as_f64().unwrap()).sum();
        let slot_s = account["slots"].as_f64().unwrap() * wall_s;
        assert!((sum - slot_s).abs() < slot_s * 1e-6 + 1e-5, "{sum} of {slot_s}: {account}");
    }
}

/// What only a run of two executors says, once both of them train.
const TWO_RUN: &str = "/12 trials, 2 running";

/// Twelve trials of four epochs, of 0.1 s to 0.5 s.
const STUDY: &str = "name = 'sizes'\n[trainer]\nkind = 'replay'\nseconds = '$pause'\nepochs = 4\nerror = '$error'\n\
                     [search]\nsampler = 'grid'\n[search.space]\npause = { values = [0.02, 0.03, 0.06, 0.1] }\n\
                     error = { range = [0.1, 0.3], count = 3 }\n";

#[test]
fn a_comparison_that_is_killed_goes_on_with_the_runs_that_are_missing() {
    let lab = Lab::new(PROGRAM);
    let study = lab.write("sizes.toml", STUDY);
    let flags = ["--sizes", "1,2", "--local", "2x1", "--repeats", "2"];
    let killed = scale(&lab, &study, "out", &flags);
    let _ = killed.line_with(TWO_RUN);
    killed.kill();
    let first = fs::metadata(lab.path("out/1-1/summary.json")).unwrap().modified().unwrap();
    assert!(!lab.path("out/2-1/summary.json").exists(), "it was over before it was killed");
    let ended = scale(&lab, &study, "out", &flags).wait();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(
        fs::metadata(lab.path("out/1-1/summary.json")).unwrap().modified().unwrap(),
        first,
        "it was made again"
    );
    assert!(!ended.stderr.contains("1 executor, run 1"), "{}", ended.stderr);
    let comparison = comparison(&lab, "out");
    let [one, two] = comparison["sizes"].as_array().unwrap().as_slice() else { panic!("{comparison}") };
    assert_eq!((one["runs"].as_array().unwrap().len(), &comparison["agree"]), (2, &Value::Bool(true)));
    assert!(seconds(two, "/speedup") > 1.4, "{comparison}");
    let off = seconds(two, "/wall_s") / seconds(two, "/forecast_wall_s") - 1.0;
    assert!(off.abs() < 0.3, "{comparison}");
    let csv = fs::read_to_string(lab.path("out/scale.csv")).unwrap();
    assert_eq!(csv.lines().count(), 3, "{csv}");
    for (words, text) in [("speedup", &ended.stdout), ("on 2 executors, in its run 2-", &ended.stdout)] {
        assert!(text.contains(words), "{words}: {text}");
    }
    for run in ["1-1", "1-2", "2-1", "2-2"] {
        assert_closes(&lab.outcome(&format!("out/{run}")).summary);
    }
    assert_eq!(comparison["first_contact"]["executors"], 2, "{comparison}");

    // Nothing is missing any more: it only prints.
    let again = scale(&lab, &study, "out", &flags).wait();
    assert_eq!((again.code, again.stdout), (Some(0), ended.stdout));
    // Another study's runs are not put beside them, and what is not there is not passed over.
    let text = fs::read_to_string(lab.path("out/study.toml")).unwrap();
    fs::write(lab.path("out/study.toml"), format!("{text}# another\n")).unwrap();
    let changed = resumed(&lab, "out");
    assert_eq!(changed.code, Some(2), "{}", changed.stderr);
    assert!(changed.stderr.contains("not what the comparison began with"), "{}", changed.stderr);
    fs::write(lab.path("out/study.toml"), text).unwrap();
    fs::rename(lab.path("out/1-2"), lab.path("aside")).unwrap();
    let partial = lab.command(["report", lab.path("out").to_str().unwrap()]).wait();
    assert!(partial.code == Some(0) && partial.stderr.contains("left out: 1-2"), "{}", partial.stderr);
    fs::rename(lab.path("aside"), lab.path("out/1-2")).unwrap();
    let other = scale(&lab, &study, "out", &["--sizes", "1,2", "--local", "2x1", "--repeats", "3"]).wait();
    assert_eq!(other.code, Some(2), "{}", other.stderr);
    assert!(other.stderr.contains("begun with other flags"), "{}", other.stderr);
}

#[test]
fn nodes_that_a_killed_comparison_holds_are_taken_over_only_when_that_is_asked_for() {
    let lab = Lab::new(PROGRAM);
    let study = lab.write("sizes.toml", STUDY);
    let nodes = [lab.executor("a", 1), lab.executor("b", 1)];
    let list = format!("{},{}", nodes[0].address, nodes[1].address);
    let flags = ["--sizes", "1,2", "--repeats", "1", "--connect-timeout", "2", "--nodes", &list];
    let killed = scale(&lab, &study, "out", &flags);
    let _ = killed.line_with(TWO_RUN);
    killed.kill();
    let held = resumed(&lab, "out");
    assert_eq!(held.code, Some(1), "{}", held.stderr);
    assert!(held.stderr.contains("held by run") && held.stderr.contains("--take-over"), "{}", held.stderr);
    let folder = lab.path("out");
    let ended = lab.command(["scale", "--resume", folder.to_str().unwrap(), "--take-over", "--json"]).wait();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let comparison: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(comparison["agree"], true, "{comparison}");
    assert!(!ended.stderr.contains("1 executor, run 1"), "{}", ended.stderr);
}

#[test]
fn ctrl_c_ends_a_comparison_in_order_and_resume_goes_on() {
    let lab = Lab::new(PROGRAM);
    let study = lab.write("sizes.toml", STUDY);
    let stopped = scale(&lab, &study, "out", &["--sizes", "2", "--local", "2x1", "--repeats", "2", "--cold"]);
    let _ = stopped.line_with(TWO_RUN);
    stopped.signal(Signal::INT);
    let ended = stopped.wait();
    assert_eq!(ended.code, Some(130), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("of 2 runs are there") && ended.stderr.contains("scale --resume"),
        "{}",
        ended.stderr
    );
    let ended = resumed(&lab, "out");
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(comparison(&lab, "out")["cold"], Value::Bool(true));
}

#[test]
fn a_comparison_that_is_broken_off_says_what_stays_and_no_longer_what_the_first_contact_takes() {
    let lab = Lab::new(PROGRAM);
    let study = lab.write("long.toml", STUDY.replace("0.06, 0.1]", "0.06, 3600.0]"));
    let flags = ["--sizes", "1", "--local", "1x1", "--repeats", "1", "-v"];
    let stopped = scale(&lab, &study, "out", &flags);
    stopped.until_lines("launched", 2); // one of them before the first run
    stopped.signal(Signal::INT);
    let _ = stopped.line_with("press Ctrl-C again");
    stopped.signal(Signal::INT);
    let ended = stopped.wait();
    assert_eq!(ended.code, Some(130), "{}", ended.stderr);
    let stays = "ended at once; its executors end with it, and the run under way is made anew";
    assert!(ended.stderr.contains(stays) && !ended.stderr.contains("nodes keep"), "{}", ended.stderr);

    let short = lab.write("sizes.toml", STUDY);
    let killed = scale(&lab, &short, "cut", &flags);
    killed.until_file(&lab.path("cut/warm/journal"));
    let _ = killed.cut_off();
    fs::remove_file(lab.path("cut/warm/journal")).unwrap();
    let again = resumed(&lab, "cut");
    assert_eq!(again.code, Some(0), "{}", again.stderr);
    assert!(again.stderr.contains("warm did not end"), "{}", again.stderr);
    assert_eq!(comparison(&lab, "cut")["first_contact"]["after_a_try"], true);
    assert!(again.stdout.contains("is not known, as a first"), "{}", again.stdout);
}

#[test]
fn results_that_differ_between_sizes_fail_the_comparison_and_are_named() {
    let lab = Lab::new(PROGRAM);
    let study = lab.write("sizes.toml", STUDY);
    let flags = ["--sizes", "1,2", "--local", "2x1", "--repeats", "1"];
    let ended = scale(&lab, &study, "out", &flags).wait();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    fs::remove_dir_all(lab.path("out/2-1")).unwrap();
    let other = lab.write("other.toml", STUDY.replace("0.3]", "0.4]"));
    let _ = lab.tuned(&other, "out/2-1", &["--local", "2x1"]);
    let ended = resumed(&lab, "out");
    assert_eq!(ended.code, Some(1), "{}", ended.stdout);
    assert!(ended.stderr.contains("not the same on all clusters"), "{}", ended.stderr);
    for run in [": 1-1", ": 2-1"] {
        assert!(ended.stderr.contains(run), "{}", ended.stderr);
    }
    assert_eq!(comparison(&lab, "out")["agree"], Value::Bool(false));
}

#[test]
fn sizes_that_cannot_be_are_wrong_use_and_leave_nothing() {
    let lab = Lab::new(PROGRAM);
    let study = lab.write("sizes.toml", STUDY);
    let rows: [(&[&str], &str); 6] = [
        (&["--sizes", "1,3", "--local", "2x1"], "--sizes 3 of --local 2x1: there are too few executors"),
        (&["--sizes", "1,2", "--nodes", "127.0.0.1:1"], "--sizes 2 of 1 node: there are too few"),
        (&["--sizes", "0"], "`0` is no size"),
        (&["--sizes", "257"], "--sizes 257: this machine lends 256 executors at most"),
        (&["--sizes", "1", "--nodes", "127.0.0.1:1", "--cold"], "nodes keep what they have"),
        (&["--sizes", "1", "--repeats", "0"], "--repeats"),
    ];
    for (flags, expected) in rows {
        let ended = scale(&lab, &study, "out", flags).wait();
        assert_eq!(ended.code, Some(2), "{flags:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(expected), "{flags:?}: {}", ended.stderr);
        assert!(!lab.path("out").exists(), "{flags:?}");
    }
    let ended = resumed(&lab, "nowhere");
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    assert!(ended.stderr.contains("is no folder of a comparison"), "{}", ended.stderr);
}

#[test]
fn an_executor_that_is_killed_is_found_in_its_line_of_the_ledger() {
    let lab = Lab::new(PROGRAM);
    let executors = ["a", "b"].map(|cache| lab.executor(cache, 1));
    let list = executors.each_ref().map(|executor| executor.address.as_str()).join(",");
    let driver = lab.tune(&waiting(&lab, 8, 1, 0.5, 200), "out", &["--nodes", &list, "--nodes-min", "2"]);
    driver.until_lines("launched", 4);
    let [a, b] = &executors;
    a.process.signal(Signal::KILL);
    let ended = driver.wait();
    let outcome = lab.outcome("out");
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let summary = &outcome.summary;
    assert_closes(summary);
    // What it had under way, and its slot from then on: six and a half trials of eight were the other one's.
    let accounts = summary["ledger"]["by_executor"].as_array().unwrap();
    let of = |address: &str| accounts.iter().find(|account| account["executor"] == address).unwrap();
    let (gone, here) = (of(&a.address), of(&b.address));
    assert!(seconds(gone, "/lost_s") > seconds(gone, "/slot_s") / 2.0, "{summary}");
    assert!(seconds(here, "/lost_s") < 0.01 && seconds(here, "/training_s") > 3.0, "{summary}");
    assert!(ended.stdout.contains("lost attempts cost"), "{}", ended.stdout);
}

#[test]
fn a_node_at_a_quarter_of_the_speed_is_found_in_its_line_of_the_ledger() {
    let lab = Lab::new(PROGRAM);
    let executors = ["a", "b"].map(|cache| lab.executor(cache, 1));
    let list = executors.each_ref().map(|executor| executor.address.as_str()).join(",");
    // Without copies, which would make its work again elsewhere.
    let study =
        lab.write("even.toml", tiny_with(&[("backoff_ms = 50", "copies = false"), ("epochs = 12", "epochs = 8")]));
    let driver = lab.tune(&study, "out", &["--nodes", &list, "--nodes-min", "2"]);
    let is_over = AtomicBool::new(false);
    let ended = thread::scope(|scope| {
        let slowed = &executors[1].process;
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                for (signal, ms) in [(Signal::STOP, 30), (Signal::CONT, 10)] {
                    slowed.signal(signal);
                    thread::sleep(Duration::from_millis(ms));
                }
            }
        });
        let ended = driver.wait();
        is_over.store(true, Ordering::Relaxed);
        ended
    });
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let summary = lab.outcome("out").summary;
    assert_closes(&summary);
    let accounts = summary["ledger"]["by_executor"].as_array().unwrap();
    let slow = accounts.iter().find(|account| account["executor"] == executors[1].address.as_str()).unwrap();
    assert!(seconds(slow, "/slowness") > 2.0, "{summary}");
    assert!(seconds(slow, "/slow_s") > seconds(slow, "/training_s"), "{summary}");
    let of_all = seconds(&summary, "/ledger/slow_s");
    assert!((of_all - seconds(slow, "/slow_s")).abs() < 1e-6, "the other one is not slow: {summary}");
}

#[test]
fn a_last_long_trial_is_found_in_its_line_of_the_ledger() {
    let lab = Lab::new(PROGRAM);
    let study = STUDY.replace("[0.02, 0.03, 0.06, 0.1]", "[0.01, 0.5]");
    let study = study.replace("{ range = [0.1, 0.3], count = 3 }", "{ values = [0.1] }");
    let outcome = lab.tuned(&lab.write("long.toml", study), "out", &["--local", "2x1"]);
    assert_closes(&outcome.summary);
    assert!((1.5..2.1).contains(&seconds(&outcome.summary, "/ledger/tail_s")), "{}", outcome.summary);
}

/// What the networks of the article cost, as the rows of a recorded run that takes 600 s on one slot.
fn costs_of_the_article() -> String {
    let text = fs::read_to_string(examples().join("mnist/article.toml")).unwrap();
    let (text, _) = text.split_once("[control]").unwrap();
    let study = study::parse(text, "article.toml").unwrap();
    let header =
        data::load(study.data.as_ref().unwrap(), &data::Archive::default(), study.seed, &examples().join("mnist"));
    let (trainer, drawn) = (study.description(Vec::new()).trainer, study.drawn().unwrap());
    let trials = Planner::new(&study, &trainer, &header.unwrap().header).plan_all(drawn).unwrap();
    let all: f64 = trials.iter().map(|trial| trial.flops as f64).sum();
    let mut rows =
        "trial,fc1,learning_rate,outcome,counted_epoch,epochs,training_loss,validation_loss,validation_error,\
                    test_loss,test_error,training_s,evaluation_s\n"
            .to_owned();
    for (number, trial) in trials.iter().enumerate() {
        let value = |name| trial.configuration.get(name).unwrap();
        let (fc1, rate, took_s) = (value("fc1"), value("learning_rate"), 600.0 * trial.flops as f64 / all);
        writeln!(rows, "{number},{fc1},{rate},finished,2,2,0.1,0.1,0.01,,,{took_s:.6},0").unwrap();
    }
    rows
}

#[test]
fn the_waits_of_the_original_are_what_its_networks_cost() {
    let file = fs::read_to_string(studies().join("original.csv")).unwrap_or_default();
    let expected = costs_of_the_article();
    assert!(file == expected, "tests/studies/original.csv is to be:\n{expected}");
}

/// The original's fifty waits, so many times as fast, with all of MNIST to be broadcast before.
fn original(lab: &Lab, speed: f64) -> std::path::PathBuf {
    let glance = fs::read_to_string(studies().join("glance.toml")).unwrap();
    let (_, data) = glance.split_once("[data]").unwrap();
    let (data, _) = data.split_once("[model]").unwrap();
    let text = fs::read_to_string(studies().join("original.toml")).unwrap();
    let recorded = studies().join("original.csv");
    let text = text
        .replace("[trainer]", &format!("[data]{data}[trainer]"))
        .replace("../../examples", examples().to_str().unwrap())
        .replace("original.csv", recorded.to_str().unwrap())
        .replace("speed = 1.0", &format!("speed = {speed:?}"));
    lab.write("original.toml", text)
}

/// `BROADSWEEP_SCALE_S=600` makes it what the original took; without, the fifty trials take 26 s on one slot.
#[test]
fn thirteen_hosts_of_a_gigabit_each_run_the_original_grid_as_forecast() {
    let asked: Option<f64> = std::env::var("BROADSWEEP_SCALE_S").ok().map(|text| text.parse().unwrap());
    let whole_s = asked.unwrap_or(26.0);
    let lab = Lab::new(PROGRAM);
    let made = broadsweep_tests::network::Switch::new(14, "1gbit");
    let Ok(switch) = made.map_err(|why| skip(&format!("there can be no network of several machines here: {why}")))
    else {
        return;
    };
    let machines = switch.machines();
    let executors: Vec<_> = machines[1..]
        .iter()
        .enumerate()
        .map(|(number, machine)| lab.executor_at(machine, &format!("cache-{number}"), 1))
        .collect();
    let nodes = executors.iter().map(|executor| executor.address.as_str()).collect::<Vec<_>>().join(",");
    let [ip, prefix @ ..] = machines[0].prefix();
    let mut command = Command::new(ip);
    command.args(prefix).args([PROGRAM, "scale"]).arg(original(&lab, 600.0 / whole_s));
    command.args(["--sizes", "1,2,13", "--nodes", &nodes, "--repeats", "1"]).arg("--out").arg(lab.path("out"));
    let ended = Process::start(&mut command).wait();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    eprintln!("{}", ended.stdout);
    let comparison = comparison(&lab, "out");
    let sizes = comparison["sizes"].as_array().unwrap();
    for row in sizes {
        let folder = format!("out/{}", row["median_run"].as_str().unwrap());
        assert_closes(&lab.outcome(&folder).summary);
        if let Some(forecast) = row["forecast_wall_s"].as_f64() {
            let off = seconds(row, "/wall_s") / forecast - 1.0;
            assert!(off.abs() < if asked.is_some() { 0.1 } else { 0.25 }, "{row}");
        }
    }
    // Of a run of two seconds, messages and launches are a part that they are not of one of fifty.
    let least = if asked.is_some() { 12.0 } else { 9.0 };
    assert!(seconds(&sizes[2], "/speedup") >= least, "{comparison}");
    let first = &comparison["first_contact"];
    let sent_share = seconds(first, "/sent_bytes") / seconds(first, "/data_raw_bytes");
    assert!((0.2..1.2).contains(&sent_share), "the first contact was cold: {first}");
    let one: Outcome = lab.outcome("out/1-1");
    assert!(one.sent_share() < 0.01, "the cache was warm: {}", one.summary);

    let mut chunked = Command::new(PROGRAM);
    chunked.args(["forecast", "--sizes", "13", "--schedule", "chunked", "--json"]).arg(lab.path("out/1-1"));
    let forecast: Value = serde_json::from_slice(&chunked.output().unwrap().stdout).unwrap();
    assert!(seconds(&forecast, "/forecasts/0/speedup") < 8.6, "{forecast}");
}
