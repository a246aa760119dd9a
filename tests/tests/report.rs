//! The report as a browser shows it, without a network: every picture is drawn, and nothing is complained of.
//!
//! With `BROADSWEEP_PAGES` set to a folder, the pages and pictures of them are left there, for people to look at.

#![expect(clippy::unwrap_used, reason = "what the tests share fails as they do")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::process::Command;

use broadsweep_common::metrics::Metrics;
use broadsweep_driver::records::attempt::AttemptEnd;
use broadsweep_driver::records::curves::Curves;
use broadsweep_driver::records::run::{RunRecord, TrialOutcome};
use broadsweep_driver::report::Report;
use broadsweep_driver::results::comparison::{Comparison, Member};
use broadsweep_driver::results::spread::Sameness;
use broadsweep_search::{PrunerKind, RungSpacing, SamplerKind};
use broadsweep_tests::browser::Browser;
use broadsweep_tests::lab::Lab;
use broadsweep_tests::made_up::{by_accuracy, hostile, plain, pruned, searched};
use broadsweep_tests::skip::skip;
use broadsweep_tests::wait::until;

const BROADSWEEP: &str = env!("CARGO_BIN_EXE_broadsweep-under-test");
/// What no page may be larger than.
const PAGE_BYTES_MAX: usize = 2_000_000;

/// No trial has a result.
fn failed() -> RunRecord {
    let mut record = searched(12, 2, plain);
    record.details.clear();
    for trial in &mut record.trials {
        trial.outcome = TrialOutcome::GivenUp { reason: "exit code 1".to_owned() };
        trial.curves = Curves::default();
        trial.measured = Metrics::default();
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
    Comparison::of("mnist-search", Sameness::Bits, false, None, sizes.map(member).collect())
}

/// Rungs after 2 and 4 epochs of 8.
const EVERY_TWO: RungSpacing = RungSpacing {
    min_epochs: NonZeroU32::new(2).unwrap(),
    eta_percent: NonZeroU32::new(200).unwrap(),
    epochs_max: NonZeroU32::new(8).unwrap(),
};

/// A search by a Gaussian process with a pruner.
fn by_process(names: fn(&str) -> String) -> RunRecord {
    pruned(240, SamplerKind::Gaussian { trials: 240 }, PrunerKind::Asha(EVERY_TWO), names)
}

/// One by densities, whose pruner has several brackets.
fn by_densities(names: fn(&str) -> String) -> RunRecord {
    pruned(400, SamplerKind::Tpe { trials: 400 }, PrunerKind::Hyperband(EVERY_TWO), names)
}

/// The browser, or `None` where there is none and nobody insists (`CI` does).
fn browser() -> Option<Browser> {
    match Browser::find() {
        Ok(browser) => Some(browser),
        Err(why) => {
            skip(&format!("{why}: install the package chromium"));
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
        ("accurate", by_accuracy(plain)),
        ("hostile", searched(50, 3, hostile)),
        ("hostile-accuracy", by_accuracy(hostile)),
        ("process", by_process(plain)),
        ("densities", by_densities(plain)),
        ("hostile-process", by_process(hostile)),
        ("hostile-densities", by_densities(hostile)),
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
            "one" => "confusion-test confusion-validation curves ledger speedups timeline times",
            "failed" => "ledger timeline",
            _ if record.search.is_some() => {
                "belief-0 belief-1 belief-2 belief-3 belief-4 confusion-test confusion-validation curves errors \
                 importance ledger parallel rungs sensitivity-0 sensitivity-1 sensitivity-2 sensitivity-3 sensitivity-4 \
                 speedups timeline times"
            }
            _ => {
                "confusion-test confusion-validation curves errors importance ledger parallel sensitivity-0 \
                 sensitivity-1 sensitivity-2 sensitivity-3 sensitivity-4 speedups timeline times"
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
    let records =
        [("compared", searched(50, 1, plain)), ("many", searched(5000, 13, plain)), ("process", by_process(plain))];
    for (name, record) in records {
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
    assert_eq!(pictures.len(), 9, "two looks are the same");
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
        // That the study tests what it trains on is worth a word, whoever reads.
        let complaints: Vec<_> = says.lines().filter(|line| !line.starts_with("note: ")).collect();
        assert_eq!((ended.status.code(), complaints), (Some(0), Vec::<&str>::new()), "{arguments:?}");
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
