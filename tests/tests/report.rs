//! The report as a browser shows it, without a network: every picture is drawn, and nothing is complained of.
//!
//! With `BROADSWEEP_PAGES` set to a folder, the pages and pictures of them are left there, for people to look at.

#![expect(clippy::unwrap_used, reason = "what the tests share fails as they do")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use broadsweep_common::configuration::{Configuration, Value};
use broadsweep_common::ids::{AttemptId, ExecutorId, TaskId, TrialId};
use broadsweep_common::metrics::{EpochReport, Score};
use broadsweep_common::model::Loss;
use broadsweep_common::task::Select;
use broadsweep_driver::records::attempt::{AttemptEnd, AttemptRecord};
use broadsweep_driver::records::run::{Broadcast, RunRecord, Stage, TrialOutcome, TrialRecord};
use broadsweep_driver::records::standing::{Standing, StandingSince};
use broadsweep_driver::report::Report;
use broadsweep_driver::results::comparison::{Comparison, Member};
use broadsweep_tests::browser::Browser;
use broadsweep_tests::lab::Lab;
use broadsweep_tests::wait::until;

const BROADSWEEP: &str = env!("CARGO_BIN_EXE_broadsweep-under-test");
/// What names and reasons might be.
const HOSTILE: &str = "</script><img src=x onerror=\"document.title='taken'\"><b>'&lt;\u{2028}\0 @bad %{x} $x$";
/// What no page may be larger than.
const PAGE_BYTES_MAX: usize = 2_000_000;

/// Numbers that look drawn by chance, and are the same each time: a counter whose bits are mixed.
struct Dice(u64);

impl Dice {
    /// From 0 to before 1.
    fn roll(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// A run that never was: a search over five parameters on executors of two slots, with all kinds of ends.
fn searched(trials: u32, executors: u32, names: impl Fn(&str) -> String) -> RunRecord {
    let mut dice = Dice(7);
    let mut free_at = vec![0.4; 2 * executors as usize];
    let mut record = RunRecord {
        study: names("mnist-search"),
        seed: 1,
        select: Select::Validation,
        loss: Loss::CrossEntropy,
        kernel: names("avx512"),
        build: "0.1.0".to_owned(),
        executors,
        slots: 2 * executors,
        stage: Stage::Over,
        trials: Vec::new(),
        control: Some(TrialId(0)),
        attempts: Vec::new(),
        executor_names: (0..executors).map(|place| names(&format!("10.0.0.{}:7717", place + 1))).collect(),
        presence: vec![vec![StandingSince { at_s: 0.3, standing: Standing::Ready { slots: 2 } }]; executors as usize],
        epochs_repeated: 0,
        wall_s: 0.0,
        broadcast: Broadcast {
            data_bytes: 16 << 20,
            data_raw_bytes: 52 << 20,
            sent_bytes: 17 << 20,
            ..Broadcast::default()
        },
    };
    for trial in 0..trials {
        add_trial(&mut record, trial, &mut dice, &mut free_at, &names);
    }
    record.wall_s = free_at.iter().copied().fold(0.5, f64::max) + 0.2;
    if let Some(best) = record.best().map(|best| best.trial) {
        for measured in [TrialId(0), best] {
            let trial = &mut record.trials[measured.0 as usize];
            trial.test = trial
                .counted()
                .and_then(|report| report.validation)
                .map(|score| Score { error: score.error * 0.97, ..score });
        }
    }
    record
}

fn add_trial(run: &mut RunRecord, trial: u32, dice: &mut Dice, free_at: &mut [f64], names: &impl Fn(&str) -> String) {
    let rate = 10_f64.powf(-3.5 + 3.5 * dice.roll());
    let width = [64, 128, 256, 512, 1024][(dice.roll() * 5.0) as usize];
    let dropout = 0.6 * dice.roll();
    let activation = ["relu", "gelu", "tanh"][(dice.roll() * 3.0) as usize];
    let (rate, width, dropout, activation) =
        if trial == 0 { (0.01, 128, 0.2, "relu") } else { (rate, width, dropout, activation) };
    let values = [
        ("activation", Value::Choice(names(activation))),
        ("dropout", Value::Real(dropout)),
        ("learning_rate", Value::Real(rate)),
        ("nesterov", Value::Flag(dice.roll() < 0.5)),
        ("width", Value::Integer(width)),
    ];
    let configuration = Configuration(values.into_iter().map(|(name, value)| (names(name), value)).collect());
    let off = (rate.log10() + 1.2).abs();
    let activation_cost = if activation == "tanh" { 0.006 } else { 0.0 };
    let error = 0.014 + 0.012 * off * off + 0.8 / width as f64 + 0.03 * (dropout - 0.25).powi(2) + activation_cost;
    let error = error * (0.93 + 0.14 * dice.roll());
    let epochs: Vec<_> = (1..=8).map(|epoch| epoch_of(epoch, rate, error, dice)).collect();
    let slot = (0..free_at.len()).min_by(|one, other| free_at[*one].total_cmp(&free_at[*other])).unwrap();
    let chance = dice.roll();
    let diverges = rate > 0.5 && chance < 0.8;
    let (outcome, epochs) = match chance {
        _ if trial > 0 && diverges => (TrialOutcome::Diverged { epoch: 1 }, Vec::new()),
        0.97.. if trial > 0 => (TrialOutcome::GivenUp { reason: names("exit code 137: out of memory") }, Vec::new()),
        _ => (TrialOutcome::Finished(epochs[7]), epochs),
    };
    let fails = matches!(outcome, TrialOutcome::GivenUp { .. });
    let attempts = if fails { 4 } else { 1 + u32::from(dice.roll() < 0.06) };
    let started_s = free_at[slot];
    for number in 1..=attempts {
        let seconds = (1.0 + width as f64 / 300.0) * if number < attempts { 0.5 } else { 1.0 };
        let end = match (number < attempts, fails) {
            (_, true) => AttemptEnd::Failed { reason: names("exit code 137: out of memory") },
            (true, false) => AttemptEnd::Lost { reason: names("connection reset") },
            (false, false) => AttemptEnd::Completed,
        };
        let attempt = AttemptId { task: TaskId(trial), number };
        run.attempts.push(attempt_of(attempt, slot, (free_at[slot], seconds), epochs.len() as u32, end));
        free_at[slot] += seconds;
    }
    run.trials.push(TrialRecord {
        trial: TrialId(trial),
        configuration,
        cost: width as u64,
        epochs_max: 8,
        outcome,
        epochs,
        attempts,
        executor: Some(run.executor_names[slot / 2].clone()),
        training_s: 3.0,
        evaluation_s: 0.2,
        started_s,
        ended_s: free_at[slot],
        test: None,
    });
}

fn epoch_of(epoch: u32, learning_rate: f64, error: f64, dice: &mut Dice) -> EpochReport {
    let error = error * (1.0 + 3.0 * (-0.6 * f64::from(epoch)).exp() + 0.03 * dice.roll());
    let validation = Some(Score { loss: error * 3.3, error });
    EpochReport { epoch, learning_rate, training_loss: error * 3.0, validation, test: None }
}

/// An attempt of so many seconds on a slot, from when that was free.
fn attempt_of(
    attempt: AttemptId,
    slot: usize,
    (from, seconds): (f64, f64),
    epoch: u32,
    end: AttemptEnd,
) -> AttemptRecord {
    AttemptRecord {
        attempt,
        executor: ExecutorId(slot as u32 / 2),
        from_epoch: 0,
        epoch,
        started_s: from + 0.02,
        ended_s: from + seconds,
        training_s: (seconds - 0.02) * 0.9,
        evaluation_s: (seconds - 0.02) * 0.06,
        end: Some(end),
    }
}

fn plain(name: &str) -> String {
    name.to_owned()
}

fn hostile(name: &str) -> String {
    format!("{name}{HOSTILE}")
}

/// No trial has a result.
fn failed() -> RunRecord {
    let mut record = searched(12, 2, plain);
    for trial in &mut record.trials {
        trial.outcome = TrialOutcome::GivenUp { reason: "exit code 1".to_owned() };
        trial.epochs.clear();
        trial.test = None;
    }
    for attempt in &mut record.attempts {
        attempt.end = Some(AttemptEnd::Failed { reason: "exit code 1".to_owned() });
    }
    record
}

/// The same study on one, two and thirteen executors, twice each.
fn compared() -> Comparison {
    let sizes = [1, 2, 13].into_iter().flat_map(|size| [(size, 1), (size, 2)]);
    let member = |(size, repeat): (u32, u32)| {
        let mut record = searched(50, size, plain);
        record.wall_s *= if repeat == 1 { 1.0 } else { 1.03 };
        Member { size, repeat, folder: format!("{size}-{repeat}"), record }
    };
    Comparison::of("mnist-search", false, None, sizes.map(member).collect())
}

/// The browser, or `None` where there is none and nobody insists.
fn browser() -> Option<Browser> {
    match Browser::find() {
        Ok(browser) => Some(browser),
        Err(why) if std::env::var_os("CI").is_some() => panic!("{why}: install the package chromium"),
        Err(why) => {
            eprintln!("skipped: {why}");
            None
        }
    }
}

/// Where a page is written: into the folder that somebody wants to look into, or one that goes.
fn place(folder: &Path, name: &str) -> PathBuf {
    let kept = std::env::var_os("BROADSWEEP_PAGES").map(PathBuf::from);
    kept.unwrap_or_else(|| folder.to_owned()).join(format!("{name}.html"))
}

/// The pictures of a document, each with how many marks were drawn in it: lines, points and bars.
fn marks(document: &str) -> BTreeMap<&str, usize> {
    let pictures = document.split("<figure>").skip(1);
    let count = |part: &str| {
        ["class=\"js-line\"", "class=\"point", "class=\"trace scatter"]
            .map(|mark| part.matches(mark).count())
            .iter()
            .sum()
    };
    pictures.map(|part| (part.split("id=\"plot-").nth(1).unwrap().split('"').next().unwrap(), count(part))).collect()
}

#[test]
fn every_picture_is_drawn_without_a_network_and_without_a_complaint() {
    let Some(browser) = browser() else { return };
    let folder = tempfile::tempdir().unwrap();
    let rows = [
        ("one", searched(1, 1, plain)),
        ("fifty", searched(50, 3, plain)),
        ("many", searched(5000, 13, plain)),
        ("failed", failed()),
        ("hostile", searched(50, 3, hostile)),
        ("compared", searched(50, 1, plain)),
    ];
    for (name, record) in rows {
        let path = place(folder.path(), name);
        let comparison = (name == "compared").then(compared);
        let page = Report { run: &record, comparison: comparison.as_ref() }.html();
        assert!(page.len() <= PAGE_BYTES_MAX, "{name}: {} bytes", page.len());
        fs::write(&path, &page).unwrap();
        let seen = browser.open(&path);
        assert_eq!(seen.console, Vec::<String>::new(), "{name}");
        let drawn = marks(&seen.document);
        let expected = match name {
            "one" => "curves ledger speedups timeline times",
            "failed" => "ledger timeline",
            _ => {
                "curves errors importance ledger parallel sensitivity-0 sensitivity-1 sensitivity-2 sensitivity-3 \
                 sensitivity-4 speedups timeline times"
            }
        };
        let expected: Vec<_> = expected.split_whitespace().collect();
        assert_eq!(drawn.keys().copied().collect::<Vec<_>>(), expected, "{name}");
        assert!(drawn.values().all(|marks| *marks > 0), "{name}: {drawn:?}");
        assert!(seen.document.contains(&format!("data-drawn=\"{}\"", expected.len())), "{name}: not all were drawn");
        assert!(!seen.document.contains("<img src"), "{name}: a name became markup");
        assert!(!seen.document.contains("<title>taken"), "{name}: a name was run");
    }
}

/// The page in a frame of so many pixels, for windows are no narrower than 500.
fn framed(page: &Path, (width, height): (u32, u32)) -> PathBuf {
    let frame = page.with_extension("frame.html");
    let name = page.file_name().unwrap().to_str().unwrap();
    let style = format!("width:{width}px;height:{height}px;border:0");
    fs::write(&frame, format!("<body style=\"margin:0\"><iframe src=\"{name}\" style=\"{style}\"></iframe>"))
        .unwrap();
    frame
}

#[test]
fn a_page_can_be_looked_at_in_light_and_dark_on_wide_and_narrow_screens() {
    let Some(browser) = browser() else { return };
    let folder = tempfile::tempdir().unwrap();
    let looks = [("light", (1100, 4300), false), ("dark", (1100, 4300), true), ("narrow", (360, 6600), false)];
    let mut pictures = Vec::new();
    for (name, record) in [("compared", searched(50, 1, plain)), ("many", searched(5000, 13, plain))] {
        let path = place(folder.path(), name);
        let comparison = (name == "compared").then(compared);
        fs::write(&path, Report { run: &record, comparison: comparison.as_ref() }.html()).unwrap();
        for (look, size, is_dark) in looks {
            let to = path.with_file_name(format!("{name}-{look}.png"));
            browser.picture(&framed(&path, size), &to, size, is_dark);
            pictures.push(fs::read(to).unwrap());
        }
    }
    assert!(pictures.iter().all(|picture| picture.len() > 100_000), "there is nothing to see");
    pictures.sort_unstable();
    pictures.dedup();
    assert_eq!(pictures.len(), 6, "two looks are the same");
}

#[test]
fn a_run_leaves_a_report_that_can_be_made_again_in_every_format() {
    let lab = Lab::new(BROADSWEEP);
    let outcome = lab.tuned(&lab.short(), "run", &["--local", "1x2"]);
    let page = String::from_utf8(outcome.file("report.html")).unwrap();
    let report = |flags: &[&str]| lab.command(["report", "run"].iter().chain(flags)).wait();
    let again = report(&["--format", "html", "--out", "again.html"]);
    assert_eq!(again.code, Some(0), "{}", again.stderr);
    assert_eq!(fs::read_to_string(lab.path("again.html")).unwrap(), page);
    let table = report(&[]).stdout;
    assert!(table.contains("\nbest: ") && table.contains("\nBy executor\n"), "{table}");
    let markdown = report(&["--format", "markdown"]).stdout;
    assert!(markdown.starts_with("# tiny\n") && markdown.contains("| --- |"), "{markdown}");
    let json: serde_json::Value = serde_json::from_str(&report(&["--format", "json"]).stdout).unwrap();
    assert_eq!(json["summary"], outcome.summary);
    assert_eq!(json["trials"].as_array().unwrap().len() as u64, outcome.number("/trials/planned"));
    let table = outcome.file("trials.parquet");
    fs::remove_file(lab.path("run/trials.parquet")).unwrap();
    assert_eq!(report(&["--format", "parquet"]).code, Some(0));
    assert_eq!(outcome.file("trials.parquet"), table);
    let journal = outcome.file("journal");
    let rows: [(&[&str], &str); 12] = [
        (&["nowhere"], "no folder of a run"),
        (&["run/best"], "no folder of a run"),
        (&["run/journal"], "run/journal is a file; name the folder of a run"),
        (&["--format=pdf"], "table, markdown, json, html"),
        (&["run", "--out", "run/journal"], "is a file that a run needs; name another one with --out"),
        (&["run", "--out", "run/../run/study.toml"], "is a file that a run needs"),
        (&["run", "--out", "run/best/weights.safetensors"], "is a file that a run needs"),
        (&["run", "--out", "run/weights/new"], "is a file that a run needs"),
        (&["run", "--out", "run/lock"], "is a file that a run needs"),
        (&["run", "--out", "run"], "cannot write run: it is a folder; name a file with --out"),
        (&["run", "--out", "/proc/report"], "cannot write /proc/report"),
        (&["run", "--out", "run/journal/below"], "run/journal is not a folder; --out can name another place"),
    ];
    for (arguments, says) in rows {
        let ended = lab.command([&["report"], arguments].concat()).wait();
        assert_eq!(ended.code, Some(2), "{arguments:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(says), "{arguments:?}: {}", ended.stderr);
    }
    assert_eq!(outcome.file("journal"), journal);
}

#[test]
fn a_comparison_leaves_a_report_too() {
    let lab = Lab::new(BROADSWEEP);
    let study = "name = 'sizes'\n[trainer]\nkind = 'replay'\nseconds = 0.05\nerror = '$error'\n\
                 [search]\nsampler = 'grid'\n[search.space]\nerror = { range = [0.0, 1.0], count = 8 }\n";
    lab.write("study.toml", study);
    let compared =
        ["scale", "study.toml", "--sizes", "1,2", "--repeats", "1", "--out", "cmp", "--cache-dir", "cache"];
    let ended = lab.command(compared).wait();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let page = fs::read_to_string(lab.path("cmp/report.html")).unwrap();
    assert!(page.contains("id=\"plot-speedups\"") && page.contains("<h2>By size</h2>"));
    let report = |flags: &[&str]| lab.command(["report", "cmp"].iter().chain(flags)).wait();
    let again = report(&["--format", "html", "--out", "again.html"]);
    assert_eq!(again.code, Some(0), "{}", again.stderr);
    assert_eq!(fs::read_to_string(lab.path("again.html")).unwrap(), page);
    let table = report(&[]).stdout;
    assert!(table.contains("speedup"), "{table}");
    let json: serde_json::Value = serde_json::from_str(&report(&["--format", "json"]).stdout).unwrap();
    assert_eq!(json["comparison"]["sizes"].as_array().unwrap().len(), 2);
}

#[test]
fn a_run_that_goes_on_says_so_and_one_whose_driver_was_killed_says_what_was_cut_off() {
    let lab = Lab::new(BROADSWEEP);
    let study = "name = 'long'\n[trainer]\nkind = 'replay'\nseconds = '$s'\nerror = 0.25\n\
                 [search]\nsampler = 'grid'\n[search.space]\ns = { values = [0.0, 3600.0] }\n";
    let driver = lab.tune(&lab.write("long.toml", study), "run", &["--local", "1x2"]);
    driver.until_lines("epoch done", 1);
    let look = |command: &str| lab.command([command, "run"]).wait();
    let told = until("a report of the first trial", || {
        Some(look("report")).filter(|ended| ended.stdout.contains("best so far: trial 0"))
    });
    assert_eq!((told.code, told.stderr.as_str()), (Some(0), ""));
    let says = told.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(says.contains("1 finished, 1 not over yet") && !says.contains("interrupted"), "{says}");
    assert!(says.contains("the run goes on: 1 of 2 trials are over so far"), "{says}");
    let forecast = look("forecast");
    assert_eq!(forecast.code, Some(2));
    let waits = "1 of 2 trials has not ended, so nobody knows what the rest takes: the run goes on, wait for its end";
    assert!(forecast.stderr.contains(waits), "{}", forecast.stderr);

    let _ = driver.cut_off();
    let told = look("report");
    assert!(told.stdout.contains("the run was interrupted") && told.stderr.is_empty(), "{}", told.stderr);
    assert!(look("forecast").stderr.contains("with `broadsweep resume`"));
    let mut journal = fs::File::options().append(true).open(lab.path("run/journal")).unwrap();
    journal.write_all(&[7; 9]).unwrap();
    for told in [look("report"), look("forecast")] {
        let line = "ends in an unfinished commit, as a crash leaves it: 9 bytes after its first ";
        assert!(told.stderr.contains(line), "{}", told.stderr);
    }
}

#[test]
fn who_reads_no_further_ends_a_command_quietly() {
    let lab = Lab::new(BROADSWEEP);
    let study = lab.short();
    let _ = lab.tuned(&study, "run", &["--local", "1x2"]);
    let run = lab.path("run");
    let (run, study) = (run.to_str().unwrap(), study.to_str().unwrap());
    let rows: [&[&str]; 7] = [
        &["executor", "--about"],
        &["report", run],
        &["report", run, "--format", "html", "--out", "-"],
        &["forecast", run],
        &["check", study],
        &["cache", "list", "--cache-dir", run],
        &["completions", "bash"],
    ];
    for arguments in rows {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let ended = Command::new(BROADSWEEP).args(arguments).stdout(writer).output().unwrap();
        let says = String::from_utf8(ended.stderr).unwrap();
        assert_eq!((ended.status.code(), says.as_str()), (Some(0), ""), "{arguments:?}");
    }
}

#[test]
fn a_report_that_cannot_be_written_is_a_warning() {
    let lab = Lab::new(BROADSWEEP);
    let outcome = lab.tuned(&lab.short(), "run", &["--local", "1x2"]);
    fs::remove_file(outcome.folder.join("report.html")).unwrap();
    fs::create_dir(outcome.folder.join("report.html")).unwrap();
    let again = lab.resume("run", &[]).wait();
    assert_eq!(again.code, Some(0), "{}", again.stderr);
    assert!(again.stderr.contains("warning: there is no report: cannot write "), "{}", again.stderr);
    assert!(again.stderr.contains("broadsweep report"), "{}", again.stderr);
}
