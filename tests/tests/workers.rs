//! Programs that stay up and take one trial after the other: shell scripts, which read descriptor 3 and answer on 4.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic, in its helping functions too")]

use std::fs;
use std::path::{Path, PathBuf};

use broadsweep_tests::lab::Lab;
use broadsweep_tests::outcome::Outcome;
use broadsweep_tests::process::{assert_gone_in_time, assert_nothing_outlives_its_executors, descendants, signal_to};
use rustix::process::Signal;

const PROGRAM: &str = env!("CARGO_BIN_EXE_broadsweep-under-test");

/// What every script begins with. `told NAME` is a member of the line that it read; `LOG` names the test's own file.
const PRELUDE: &str = r#"
told() { printf '%s' "$line" | sed -n "s/.*\"$1\":\"\{0,1\}\([^\",}]*\).*/\1/p"; }
next() { read -r line <&"$BROADSWEEP_WORKER_READS"; }
answer() { printf '%s\n' "$1" >&"$BROADSWEEP_WORKER_WRITES"; }
echo started >> LOG
"#;

/// Trains three epochs, from a checkpoint if there is one, as a worker or once. Its numbers depend on what it is told alone.
const SCRIPT: &str = r#"
train() {
    lr=$1 seed=$2 metrics=$3 checkpoints=$4
    epoch=$(cat "$checkpoints/epoch" 2>/dev/null || echo 0)
    while [ $epoch -lt 3 ]; do
        epoch=$((epoch + 1))
        PAUSE
        echo $epoch > "$checkpoints/.new" && mv "$checkpoints/.new" "$checkpoints/epoch"
        awk "BEGIN { printf \"{\\\"epoch\\\": $epoch, \\\"validation_error\\\": %.6f, \\\"seed\\\": %.0f}\\n\", $lr / $epoch, $seed % 1000 }" >> "$metrics"
    done
    echo "model of $lr" > model
    echo trained >> LOG
}
if [ -z "$BROADSWEEP_WORKER" ]; then
    train "$BROADSWEEP_PARAM_lr" "$BROADSWEEP_SEED" "$BROADSWEEP_METRICS" "$BROADSWEEP_CHECKPOINT_DIR"
    exit
fi
while next; do
    [ -z "$before" ] || [ ! -e "$before" ] || echo "its folder is left" >> LOG
    before=$(told slot_dir)
    cd "$before"
    train "$(told lr)" "$(told seed)" "$(told metrics)" "$(told checkpoint_dir)"
    answer '{"done": true}'
done
"#;

/// A study of four learning rates, and the script that it brings; the log of what it did.
fn study(lab: &Lab, name: &str, script: &str, more: &str) -> (PathBuf, PathBuf) {
    let log = lab.path(&format!("{name}.log"));
    let script = [PRELUDE, script].concat().replace("LOG", log.to_str().unwrap()).replace("PAUSE", ":");
    let folder = lab.path(&format!("{name}-files"));
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("train.sh"), script).unwrap();
    let text = format!(
        "name = '{name}'\n\
         [data]\nfiles = ['train.sh']\n\
         [trainer]\nkind = 'program'\ncommand = ['sh', 'train.sh', '${{args}}']\nepochs = 3\n{more}\n\
         [search]\nsampler = 'grid'\n\
         [search.space]\nlr = {{ values = [0.5, 0.25, 0.125, 1.0] }}\n"
    );
    let path = folder.join("study.toml");
    fs::write(&path, text).unwrap();
    (path, log)
}

fn starts(log: &Path) -> usize {
    let log = fs::read_to_string(log).unwrap();
    assert!(!log.contains("is left"), "the folder of an attempt goes with it:\n{log}");
    log.lines().filter(|line| *line == "started").count()
}

const GOOD: &str = "outputs = ['model']\ndeterministic = true\n";

fn model(outcome: &Outcome) -> String {
    fs::read_to_string(outcome.folder.join("best/outputs/model")).unwrap()
}

#[test]
fn a_worker_gives_the_same_bits_as_a_process_for_each_trial_on_any_slots() {
    let lab = Lab::new(PROGRAM);
    let (once, log) = study(&lab, "once", SCRIPT, GOOD);
    let expected = lab.tuned(&once, "once", &["--local", "1x1"]);
    assert_eq!(starts(&log), 4);
    let rows = [
        ("one", "worker = true", "1x1", 1..=1),
        ("two", "worker = true", "1x2", 1..=2),
        ("apart", "worker = true", "2x1", 1..=2),
        ("few", "worker = { trials = 2 }", "1x1", 2..=2),
        ("fewest", "worker = { trials = 1 }", "1x2", 4..=4),
    ];
    for (name, worker, local, expected_starts) in rows {
        let (study, log) = study(&lab, name, SCRIPT, &[GOOD, worker].concat());
        let outcome = lab.tuned(&study, name, &["--local", local]);
        assert_eq!(outcome.digest(), expected.digest(), "{name}");
        assert_eq!(model(&outcome), "model of 0.125\n");
        assert!(expected_starts.contains(&starts(&log)), "{name}: {} starts", starts(&log));
    }
}

#[test]
fn what_a_worker_uses_is_told_trial_by_trial() {
    const MUCH: f64 = 45e6;
    let lab = Lab::new(PROGRAM);
    // One of the four reads 30 MB into a variable: the shell holds them twice, and once for ever.
    let grow = "[ $lr != 0.25 ] || { much=$(head -c 30000000 /dev/zero | tr '\\0' x); unset much; }\n        PAUSE";
    let script = SCRIPT.replacen("PAUSE", grow, 1);
    let (study, log) = study(&lab, "used", &script, &[GOOD, "worker = true"].concat());
    let outcome = lab.tuned(&study, "used", &["--local", "1x1"]);
    assert_eq!(starts(&log), 1, "all of them are of one worker");
    let table = outcome.file("trials.csv");
    let mut reader = csv::Reader::from_reader(&table[..]);
    let header = reader.headers().unwrap().clone();
    let rows: Vec<[f64; 3]> = reader
        .records()
        .map(|row| {
            let row = row.unwrap();
            ["lr", "cpu_s", "memory_peak_bytes"]
                .map(|name| row[header.iter().position(|column| column == name).unwrap()].parse().unwrap())
        })
        .collect();
    let (large, small): (Vec<[f64; 3]>, Vec<[f64; 3]>) = rows.iter().partition(|[lr, ..]| (*lr - 0.25).abs() < 1e-9);
    assert!(
        matches!(large[..], [[_, cpu_s, bytes]] if cpu_s > 0.03 && bytes > MUCH && bytes < 10.0 * MUCH),
        "{rows:?}"
    );
    let least = large[0][1];
    assert!(small.len() == 3 && small.iter().all(|[_, cpu_s, bytes]| *cpu_s < least && *bytes < MUCH), "{rows:?}");
}

#[test]
fn trials_of_a_worker_that_died_with_its_executor_go_on_elsewhere_with_the_same_bits() {
    let lab = Lab::new(PROGRAM);
    let (once, _) = study(&lab, "once", SCRIPT, GOOD);
    let expected = lab.tuned(&once, "once", &["--local", "1x1"]);
    let slow = SCRIPT.replace("PAUSE", "sleep 0.2");
    let (study, log) = study(&lab, "killed", &slow, &[GOOD, "worker = true"].concat());
    let running = lab.tune(&study, "killed", &["--local", "2x1", "-vv"]);
    let _ = running.line_with("checkpoint safe");
    signal_to(running.children()[0], Signal::KILL);
    let ended = running.wait();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(lab.outcome("killed").digest(), expected.digest());
    assert!(starts(&log) >= 2);
}

#[test]
fn what_is_stopped_ends_the_worker_and_goes_on_with_another() {
    let lab = Lab::new(PROGRAM);
    let (once, _) = study(&lab, "once", SCRIPT, GOOD);
    let expected = lab.tuned(&once, "once", &["--local", "1x1"]);
    let slow = SCRIPT.replace("PAUSE", "sleep 0.2");
    let (study, log) = study(&lab, "stopped", &slow, &[GOOD, "worker = true"].concat());
    let running = lab.tune(&study, "stopped", &["--local", "1x1", "-vv"]);
    let _ = running.line_with("checkpoint safe");
    running.signal(Signal::INT);
    assert_eq!(running.wait().code, Some(130));
    let ended = lab.resume("stopped", &[]).wait();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(lab.outcome("stopped").digest(), expected.digest());
    assert!(starts(&log) >= 2);
}

#[test]
fn a_worker_that_fails_is_named_with_its_last_words_and_started_anew() {
    let lab = Lab::new(PROGRAM);
    let rows = [
        (
            "while next; do echo bad luck; answer '{\"error\": \"oh no\"}'; done",
            "its worker answered: oh no",
            "bad luck",
        ),
        ("while next; do answer 'Epoch 1/3'; done", "its worker answered \"\"Epoch 1/3\"\"; it has to answer", ""),
        ("while next; do yes | tr -d '\\n' >&4; done", "a line of more than 65536 bytes", ""),
        ("while next; do answer '{\"done\": true}'; done", "answered that it is done and never reported", ""),
        ("next; exit 3", "exit code 3", ""),
        ("next; kill -SEGV $$", "signal 11", ""),
        ("echo one-shot", "needs no `worker` in [trainer]", "one-shot"),
        ("exec 4>&-; next; sleep 600", "closed the pipe for its answers", ""),
        ("next; head -c 9000000 /dev/zero > large; sleep 600", "its folder became too large", ""),
        (
            "next; echo '{\"epoch\": 9, \"validation_error\": 1}' >> \"$(told metrics)\"; sleep 600",
            "it reported epoch 9",
            "",
        ),
    ];
    for (number, (script, what, words)) in rows.into_iter().enumerate() {
        let name = format!("failing-{number}");
        let more = "grace_s = 0.1\ndisk = '8MB'\nworker = true\n[scheduling]\nfailures_max = 1";
        let (study, log) = study(&lab, &name, script, more);
        let ended = lab.tune(&study, &name, &["--local", "1x2"]).wait();
        assert_eq!(ended.code, Some(3), "{script}: {}", ended.stderr);
        let told = String::from_utf8(lab.outcome(&name).file("attempts.csv")).unwrap();
        assert!(told.contains(what) && told.contains(words), "{script}: {told}");
        assert_eq!(starts(&log), 4, "{script}: none trains again");
    }
}

#[test]
fn a_worker_may_leave_after_an_answer_and_is_ended_if_it_says_more() {
    let lab = Lab::new(PROGRAM);
    let once = "next; echo '{\"validation_error\": 1}' >> \"$(told metrics)\"; answer '{\"done\": true}'";
    for (name, script) in [("leaves", once.to_owned()), ("talks", format!("{once}; answer more; sleep 600"))] {
        let (study, log) = study(&lab, name, &script, "worker = true");
        let outcome = lab.tuned(&study, name, &["--local", "1x1"]);
        assert_eq!(outcome.number("/trials/finished"), 4, "{name}");
        assert_eq!(outcome.number("/attempts"), 4, "{name}: none of them failed");
        assert_eq!(starts(&log), 4, "{name}");
    }
}

#[test]
fn a_worker_that_has_grown_is_started_anew() {
    let lab = Lab::new(PROGRAM);
    let script = r#"
        while next; do
            [ -n "$taken" ] || taken=$(head -c 30000000 /dev/zero | tr '\0' x)
            echo '{"validation_error": 1}' >> "$(told metrics)"
            answer '{"done": true}'
        done
    "#;
    for (name, worker, expected_starts) in [
        ("large", "{ memory = '2GB' }", 1),
        ("small", "{ memory = '20MB' }", 4),
        ("default", "true\nmemory = '8GB'", 1),
    ] {
        let (study, log) = study(&lab, name, script, &format!("worker = {worker}"));
        let outcome = lab.tuned(&study, name, &["--local", "1x1"]);
        assert_eq!((outcome.number("/trials/finished"), starts(&log)), (4, expected_starts), "{name}");
    }
}

/// A worker that has started more, which ignores what it can. One of its trials does not end.
const CLINGING: &str = r#"
    (setsid sh -c 'trap "" TERM HUP; sleep 600 & sleep 601' &)
    trap '' TERM
    while next; do
        [ "$(told lr)" != 1.0 ] || [ -z "$WAITS" ] || sleep 602
        echo '{"validation_error": 1}' >> "$(told metrics)"
        echo trained >> LOG
        answer '{"done": true}'
    done
"#;

#[test]
fn a_worker_ends_with_its_study_and_leaves_nothing() {
    let lab = Lab::new(PROGRAM);
    let (study, log) = study(&lab, "study", CLINGING, "worker = true");
    let executor = lab.executor_with("node", 1, &["--allow-programs"]);
    let outcome = lab.tuned(&study, "study", &["--nodes", &executor.address, "--insecure"]);
    assert_eq!((outcome.number("/trials/finished"), starts(&log)), (4, 1));
    let held = descendants(executor.process.id());
    assert_gone_in_time(&held);
    let left: Vec<_> = fs::read_dir(lab.path("node/programs")).into_iter().flatten().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_worker_that_waits_ends_with_its_executor() {
    let lab = Lab::new(PROGRAM);
    let script =
        format!("WAITS=yes\n{CLINGING}").replace("echo trained >> LOG", "[ $((n = n + 1)) = 1 ] || : > LOG.idle");
    let (study, _) = study(&lab, "study", &script, "worker = true\n[scheduling]\ncopies = false");
    let running = lab.tune(&study, "run", &["--local", "1x2"]);
    running.until_file(&lab.path("study.log.idle"));
    assert_nothing_outlives_its_executors(running, 8); // two workers, and what they started
}

#[test]
fn a_worker_keeps_its_gpu_for_itself_also_while_it_waits() {
    let lab = Lab::new(PROGRAM);
    let script = ["echo \"sees $CUDA_VISIBLE_DEVICES\" >> LOG\n", SCRIPT].concat();
    // Two at a time, since there are two: none is over before the other has begun.
    let script = script.replace("PAUSE", "sleep 0.2");
    let (study, log) = study(&lab, "gpus", &script, "worker = true\nrequires = { gpus = 1 }");
    let executor = lab.executor_with("cache", 4, &["--allow-programs", "--gpus", "0,1"]);
    let outcome = lab.tuned(&study, "gpus", &["--nodes", &executor.address]);
    assert_eq!(outcome.number("/trials/finished"), 4);
    assert_eq!(starts(&log), 2);
    let log = fs::read_to_string(log).unwrap();
    let mut seen: Vec<_> = log.lines().filter_map(|line| line.strip_prefix("sees ")).collect();
    seen.sort_unstable();
    assert_eq!(seen, ["0", "1"]);
}
