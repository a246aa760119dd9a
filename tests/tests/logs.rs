//! What programs print, by attempt: kept within bounds, shown while they run and after.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic, in its helping functions too")]

use std::fs;
use std::path::{Path, PathBuf};

use broadsweep_tests::lab::Lab;
use broadsweep_tests::process::Ended;
use broadsweep_tests::wait::until;

const PROGRAM: &str = env!("CARGO_BIN_EXE_broadsweep-under-test");

/// A study of one trial, and the script that it brings.
fn study(lab: &Lab, script: &str) -> PathBuf {
    lab.write("train.sh", script);
    let text = "name = 'logs'\n\
                [data]\nfiles = ['train.sh']\n\
                [trainer]\nkind = 'program'\ncommand = ['sh', 'train.sh']\n\
                [scheduling]\nfailures_max = 2\nbackoff_ms = 0\n\
                [search]\nsampler = 'grid'\n\
                [search.space]\nlr = { values = [0.5] }\n";
    lab.write("logs.toml", text)
}

const REPORT: &str = "echo '{\"validation_error\": 0.5}' >> \"$BROADSWEEP_METRICS\"\n";

fn logs(lab: &Lab, arguments: &[&str]) -> Ended {
    lab.command([&["logs"], arguments].concat()).wait()
}

fn shown(lab: &Lab, arguments: &[&str]) -> String {
    let ended = logs(lab, arguments);
    assert_eq!(ended.code, Some(0), "{arguments:?}: {}", ended.stderr);
    ended.stdout
}

/// The files of all attempts' logs in a run's folder, where local executors have theirs, too.
fn files(run: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(run.join("logs")).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with('t')).collect()
}

fn until_it_holds(file: &Path, text: &str) {
    until(&format!("`{text}` in {}", file.display()), || {
        fs::read_to_string(file).is_ok_and(|found| found.contains(text)).then_some(())
    });
}

#[test]
fn each_attempt_has_its_own_log_and_a_failed_one_is_pointed_to() {
    let lab = Lab::new(PROGRAM);
    let seen = lab.path("seen");
    let script = format!(
        r#"
        [ -e {seen} ] || {{ touch {seen}; echo "first try"; echo "to the other output" >&2; exit 3; }}
        for percent in 1 50 100; do printf '\r%s %%' $percent; done
        printf '\nred: \033[31mred\033[0m\n'
        {REPORT}
        printf 'the end'
        "#,
        seen = seen.display()
    );
    let ended = lab.tune(&study(&lab, &script), "run", &["--local", "1x1"]).wait();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let run = lab.path("run");
    let pointer = format!("what t0.1 printed: broadsweep logs {} t0.1", run.display());
    assert!(ended.stderr.contains(&pointer), "{}", ended.stderr);
    assert_eq!(shown(&lab, &["run", "t0.1"]), "first try\nto the other output\n");
    // What is no terminal gets the very bytes; a progress bar is there in its last state.
    let second = "100 %\nred: \u{1b}[31mred\u{1b}[0m\nthe end\n";
    for whose in ["t0.2", "t0", "0"] {
        assert_eq!(shown(&lab, &["run", whose]), second, "{whose}");
    }
    assert_eq!(shown(&lab, &["run", "t0.2", "--follow"]), second, "what is over is not waited for");
    let list = shown(&lab, &["run"]);
    let rows: Vec<Vec<&str>> = list.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[2][..], ["t0.1", "trial", "0", "local", "0", "failed", "30", "B"], "{list}");
    assert_eq!(rows[3][..3], ["t0.2", "trial", "0"], "{list}");
    for (whose, asked) in
        [("t0.3", "no attempt t0.3"), ("t9", "no attempt of task t9"), ("9", "no attempt of trial 9")]
    {
        let ended = logs(&lab, &["run", whose]);
        let expected = format!("{asked}; logs are there of t0.1, t0.2\nto list them: broadsweep logs run");
        assert!(ended.code == Some(2) && ended.stderr.contains(&expected), "{ended:?}");
    }
    let status = lab.command(["status", "run"]).wait();
    assert!(status.stderr.contains("what t0.1 printed: broadsweep logs run t0.1"), "{status:?}");
    for file in files(&run) {
        fs::remove_file(file).unwrap();
    }
    let ended = logs(&lab, &["run", "t0.1"]);
    assert!(ended.code == Some(0) && ended.stderr.starts_with("t0.1 printed nothing"), "{ended:?}");
}

#[test]
fn of_much_output_the_first_and_the_last_is_kept() {
    let lab = Lab::new(PROGRAM);
    let script = format!("echo 'the beginning'; yes 0123456789 | head -c 110000000; echo 'the end'\n{REPORT}");
    let outcome = lab.tuned(&study(&lab, &script), "run", &["--local", "1x1"]);
    let kept = files(&outcome.folder);
    let bytes: u64 = kept.iter().map(|file| file.metadata().unwrap().len()).sum();
    assert!(kept.len() <= 3 && (512 << 10..=768 << 10).contains(&bytes), "{} files, {bytes} bytes", kept.len());
    let log = shown(&lab, &["run", "t0.1"]);
    assert!(log.starts_with("the beginning\n0123456789\n") && log.ends_with("0123456789\nthe end\n"));
    let missing = log.lines().filter_map(|line| line.strip_prefix('[')?.strip_suffix(" bytes left out]"));
    let missing: u64 = missing.map(|bytes| bytes.parse::<u64>().unwrap()).sum();
    let printed = 110_000_000 + "the beginning\nthe end\n".len() as u64;
    assert_eq!(missing + bytes, printed, "{missing} bytes left out, {bytes} kept");
}

#[test]
fn a_log_can_be_followed_until_its_attempt_has_ended() {
    let lab = Lab::new(PROGRAM);
    let go = lab.path("go");
    let script = format!("echo begun; until [ -e {} ]; do sleep 0.02; done; echo over\n{REPORT}", go.display());
    let running = lab.tune(&study(&lab, &script), "run", &["--local", "1x1"]);
    until_it_holds(&lab.path("run/logs/t0.1.log"), "begun\n");
    assert_eq!(shown(&lab, &["run", "t0.1"]), "begun\n", "without --follow it does not wait");
    let follower = lab.command(["logs", "run", "t0", "--follow"]);
    let _ = follower.line_with("begun");
    fs::write(go, "").unwrap();
    let followed = follower.wait();
    assert_eq!((followed.code, followed.stdout.as_str()), (Some(0), "begun\nover\n"), "{}", followed.stderr);
    assert_eq!(running.wait().code, Some(0));
}

#[test]
fn a_log_goes_on_under_the_next_driver() {
    let lab = Lab::new(PROGRAM);
    let go = lab.path("go");
    let script = format!("echo one; until [ -e {} ]; do sleep 0.02; done; echo two\n{REPORT}", go.display());
    let node = lab.executor_with("node", 1, &["--allow-programs"]);
    let driver = lab.tune(&study(&lab, &script), "run", &["--nodes", &node.address, "--insecure"]);
    let log = lab.path("run/logs/t0.1.log");
    until_it_holds(&log, "one\n");
    driver.kill();
    fs::write(go, "").unwrap();
    let resumed = lab.resume("run", &["--insecure"]).wait();
    assert_eq!(resumed.code, Some(0), "{}", resumed.stderr);
    assert_eq!(shown(&lab, &["run", "t0.1"]), "one\ntwo\n");
    assert_eq!(fs::read_to_string(log).unwrap(), "one\ntwo\n");
}

#[test]
fn a_run_whose_trainer_prints_nothing_says_so() {
    let lab = Lab::new(PROGRAM);
    let text = "name = 'silent'\n[trainer]\nkind = 'replay'\nseconds = 0\nerror = '$error'\n\
                [search]\nsampler = 'grid'\n[search.space]\nerror = { values = [0.5] }\n";
    let _ = lab.tuned(&lab.write("silent.toml", text), "run", &["--local", "1x1"]);
    assert!(shown(&lab, &["run"]).contains("no program printed anything"));
    let ended = logs(&lab, &["run", "t0.1"]);
    assert!(
        ended.code == Some(0) && ended.stderr.contains("t0.1 printed nothing; no attempt of this run"),
        "{ended:?}"
    );
    assert!(files(&lab.path("run")).is_empty());
}
