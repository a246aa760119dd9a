//! Somebody's own programs as trainers: shell scripts, from the study's files to the tables.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic, in its helping functions too")]

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use broadsweep_tests::lab::Lab;
use broadsweep_tests::outcome::Outcome;
use broadsweep_tests::process::{is_running, signal_to};
use rustix::process::Signal;

const PROGRAM: &str = env!("CARGO_BIN_EXE_broadsweep-under-test");

/// A study of four learning rates and the script that it brings.
fn study(lab: &Lab, script: &str, more: &str) -> PathBuf {
    lab.write("train.sh", script);
    let text = format!(
        "name = 'program'\n\
         [data]\nfiles = ['train.sh']\n\
         [trainer]\nkind = 'program'\ncommand = ['sh', 'train.sh', '${{args}}']\nepochs = 3\n{more}\n\
         [search]\nsampler = 'grid'\n\
         [search.space]\nlr = {{ values = [0.5, 0.25, 0.125, 1.0] }}\n"
    );
    lab.write("program.toml", text)
}

/// Reports three epochs whose error is the learning rate divided by the epoch.
const SCRIPT: &str = r#"
for epoch in 1 2 3; do
    error=$(awk "BEGIN { print $BROADSWEEP_PARAM_lr / $epoch }")
    echo "{\"epoch\": $epoch, \"validation_error\": $error, \"loss\": $error}" >> "$BROADSWEEP_METRICS"
done
echo "model of $1" > model
"#;

fn reasons(outcome: &Outcome) -> String {
    String::from_utf8(outcome.file("attempts.csv")).unwrap()
}

#[test]
fn a_script_is_tuned_as_it_is_and_what_it_made_comes_to_best() {
    let lab = Lab::new(PROGRAM);
    let study = study(&lab, SCRIPT, "outputs = ['model']\ndeterministic = true");
    let outcome = lab.tuned(&study, "run", &["--local", "2x1"]);
    assert_eq!(outcome.number("/trials/finished"), 4);
    let epochs = String::from_utf8(outcome.file("epochs.csv")).unwrap();
    assert_eq!(epochs.lines().count(), 1 + 4 * 3, "{epochs}");
    assert!(epochs.lines().next().unwrap().contains("loss"), "a metric of its own name is there: {epochs}");
    for (table, rows) in [("attempts.csv", 4), ("trials.csv", 4)] {
        let mut reader = csv::Reader::from_path(outcome.folder.join(table)).unwrap();
        let header = reader.headers().unwrap().clone();
        let of = |row: &csv::StringRecord, name| -> f64 {
            let place = header.iter().position(|column| column == name).unwrap();
            row[place].parse().unwrap()
        };
        let used = reader.records().map(|row| row.unwrap());
        let used: Vec<_> = used.map(|row| (of(&row, "cpu_s"), of(&row, "memory_peak_bytes"))).collect();
        let is_told = |(cpu_s, bytes): &(f64, f64)| *cpu_s > 0.0 && *cpu_s < 60.0 && *bytes > 4096.0;
        assert!(used.len() == rows && used.iter().all(is_told), "{table}: {used:?}");
    }
    let model = fs::read_to_string(outcome.folder.join("best/outputs/model")).unwrap();
    assert_eq!(model, "model of --lr=0.125\n");
    let alone = lab.tuned(&study, "alone", &["--local", "1x1"]);
    assert_eq!(outcome.digest(), alone.digest(), "the same numbers on one slot and on two executors");
}

#[test]
fn a_program_that_fails_is_named_with_its_last_words() {
    let lab = Lab::new(PROGRAM);
    let rows = [
        ("echo oh no; exit 3", "exit code 3", "oh no"),
        ("echo done", "never reported validation_error", "done"),
        ("kill -SEGV $$", "signal 11", "printed nothing"),
        (
            "echo '{\"epoch\": 9, \"validation_error\": 1}' >> $BROADSWEEP_METRICS; sleep 600",
            "reported epoch 9",
            "set `epochs`",
        ),
        ("rm -rf ../* ; cd / ; exit 0", "never reported", ""),
    ];
    for (number, (script, what, words)) in rows.into_iter().enumerate() {
        let study = study(&lab, script, "grace_s = 0.1\n[scheduling]\nfailures_max = 1");
        let ended = lab.tune(&study, &format!("run-{number}"), &["--local", "1x2"]).wait();
        assert_eq!(ended.code, Some(3), "{script}: {}", ended.stderr);
        let told = reasons(&lab.outcome(&format!("run-{number}")));
        assert!(told.contains(what) && told.contains(words), "{script}: {told}");
    }
}

#[test]
fn a_trial_whose_executor_is_killed_goes_on_from_what_its_program_committed() {
    let lab = Lab::new(PROGRAM);
    // The second epoch of the first try waits until it is killed.
    let script = r#"
        last=$(cat "$BROADSWEEP_CHECKPOINT_DIR/epoch" 2>/dev/null || echo 0)
        echo "begins after $last, told ${BROADSWEEP_RESUME:-nothing}" >> "$0.log"
        for epoch in $(seq $((last + 1)) 3); do
            [ $epoch = 2 ] && [ -z "$BROADSWEEP_RESUME" ] && sleep 600
            echo $epoch > "$BROADSWEEP_CHECKPOINT_DIR/.new" && mv "$BROADSWEEP_CHECKPOINT_DIR/.new" "$BROADSWEEP_CHECKPOINT_DIR/epoch"
            echo "{\"epoch\": $epoch, \"validation_error\": 0.$epoch}" >> "$BROADSWEEP_METRICS"
            sleep 0.1
        done
    "#;
    let log = lab.path("log");
    let script = script.replace("$0.log", log.to_str().unwrap());
    let text = study(&lab, &script, "");
    let one = fs::read_to_string(&text).unwrap().replace("[0.5, 0.25, 0.125, 1.0]", "[0.5]");
    fs::write(&text, one).unwrap();
    let running = lab.tune(&text, "run", &["--local", "1x1", "-vv"]);
    let _ = running.line_with("checkpoint safe");
    for child in running.children() {
        signal_to(child, Signal::KILL);
    }
    let ended = running.wait();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let outcome = lab.outcome("run");
    assert_eq!(outcome.number("/trials/finished"), 1);
    let told = fs::read_to_string(&log).unwrap();
    assert_eq!(told, "begins after 0, told nothing\nbegins after 1, told 1\n");
    let epochs = String::from_utf8(outcome.file("epochs.csv")).unwrap();
    assert_eq!(epochs.lines().count(), 4, "no epoch twice: {epochs}");
}

#[test]
fn a_program_that_commits_faster_than_it_is_looked_at_loses_nothing_with_its_executor() {
    let lab = Lab::new(PROGRAM);
    let script = r#"
        last=$(cat "$BROADSWEEP_CHECKPOINT_DIR/epoch" 2>/dev/null || echo 0)
        for epoch in $(seq $((last + 1)) 200); do
            echo $epoch > "$BROADSWEEP_CHECKPOINT_DIR/.new" && mv "$BROADSWEEP_CHECKPOINT_DIR/.new" "$BROADSWEEP_CHECKPOINT_DIR/epoch"
            echo "{\"epoch\": $epoch, \"validation_error\": 0.$epoch}" >> "$BROADSWEEP_METRICS"
            sleep 0.005
        done
    "#;
    let text = study(&lab, script, "");
    let one = fs::read_to_string(&text).unwrap().replace("[0.5, 0.25, 0.125, 1.0]", "[0.5]");
    fs::write(&text, one.replace("epochs = 3", "epochs = 200")).unwrap();
    let running = lab.tune(&text, "run", &["--local", "1x1", "-vv"]);
    let _ = running.line_with("epoch=50 ");
    for child in running.children() {
        signal_to(child, Signal::KILL);
    }
    let ended = running.wait();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let epochs = String::from_utf8(lab.outcome("run").file("epochs.csv")).unwrap();
    assert_eq!(epochs.lines().count(), 1 + 200, "each epoch once");
}

#[test]
fn nothing_of_a_program_outlives_its_executor() {
    let lab = Lab::new(PROGRAM);
    let pids = lab.path("pids");
    let script = format!(
        "sleep 600 & setsid sleep 601 & echo ready >> {0}; trap '' TERM; sleep 602; sleep 603",
        pids.display()
    );
    let study = study(&lab, &script, "");
    let running = lab.tune(&study, "run", &["--local", "1x1"]);
    running.until_file(&pids);
    let executors = running.children();
    let held: Vec<u32> = executors.iter().flat_map(|executor| descendants(*executor)).collect();
    assert!(held.len() >= 3, "the script and what it started: {held:?}");
    for executor in &executors {
        signal_to(*executor, Signal::KILL);
    }
    running.kill();
    let deadline = Instant::now() + Duration::from_secs(2);
    while held.iter().any(|pid| is_running(*pid)) {
        assert!(Instant::now() < deadline, "something of {held:?} still runs");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// All processes below one.
fn descendants(of: u32) -> Vec<u32> {
    let mut found = Vec::new();
    let mut next = vec![of];
    while let Some(parent) = next.pop() {
        let children = fs::read_dir(format!("/proc/{parent}/task")).into_iter().flatten().flatten();
        for task in children {
            let listed = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            next.extend(listed.split_whitespace().map(|pid| pid.parse::<u32>().unwrap()));
        }
        found.push(parent);
    }
    found.retain(|pid| *pid != of);
    found
}

#[test]
fn an_executor_runs_programs_only_where_that_is_allowed() {
    let lab = Lab::new(PROGRAM);
    let study = study(&lab, SCRIPT, "");
    let closed = lab.executor("closed", 1);
    let ended = lab.tune(&study, "refused", &["--nodes", &closed.address, "--insecure"]).wait();
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("--allow-programs"), "{}", ended.stderr);
    let open = lab.executor_with("open", 2, &["--allow-programs"]);
    assert_eq!(lab.tuned(&study, "allowed", &["--nodes", &open.address, "--insecure"]).number("/trials/finished"), 4);
    let refused = lab.command(["executor", "--listen", "0.0.0.0:0", "--insecure", "--allow-programs"]).wait();
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
    assert!(refused.stderr.contains("together would let anyone"), "{}", refused.stderr);
}

#[test]
fn names_and_values_arrive_as_they_were() {
    let lab = Lab::new(PROGRAM);
    let script = r#"
        printf '%s|' "$@" > words
        env | grep -c BROADSWEEP_PARAM_ > count
        cat "$BROADSWEEP_ARGS_JSON_FILE" > parameters
        echo '{"validation_error": 0}' >> "$BROADSWEEP_METRICS"
    "#;
    let text = study(&lab, script, "outputs = ['words', 'parameters', 'count']");
    let text = {
        let written = fs::read_to_string(&text).unwrap();
        let space = "lr = { values = [0.5, 0.25, 0.125, 1.0] }";
        let values = r#"word = { values = ["${lr} $HOME `id` %s \"'\nnew größe"] }"#;
        assert!(written.contains(space));
        lab.write("odd.toml", written.replace(space, values))
    };
    let outcome = lab.tuned(&text, "odd", &["--local", "1x1"]);
    let word = "${lr} $HOME `id` %s \"'\nnew größe";
    let read = |name: &str| fs::read_to_string(outcome.folder.join("best/outputs").join(name)).unwrap();
    assert_eq!(read("words"), format!("--word={word}|"));
    let parameters: serde_json::Value = serde_json::from_str(&read("parameters")).unwrap();
    assert_eq!(parameters["word"], word);
}

#[test]
fn where_the_program_is_found_is_told_and_where_it_is_not_nothing_is_placed() {
    let lab = Lab::new(PROGRAM);
    let text = study(&lab, SCRIPT, "");
    let written = fs::read_to_string(&text).unwrap();
    let prefix = lab.path("venv");
    fs::create_dir_all(prefix.join("bin")).unwrap();
    let shell = prefix.join("bin/sh");
    std::os::unix::fs::symlink("/bin/sh", &shell).unwrap();
    let with_prefix = format!("epochs = 3\nenv_prefix = '{}'", prefix.display());
    let found = lab.write("found.toml", written.replace("epochs = 3", &with_prefix));
    let ended = lab.tune(&found, "found", &["--local", "2x1", "--nodes-min", "2"]).wait();
    let told = format!("program: {} on 2 executors", shell.display());
    assert!(ended.code == Some(0) && ended.stderr.contains(&told), "{}", ended.stderr);
    let rows = [
        (written.replace("'sh', ", "'no-such-shell', "), "no-such-shell is not there (looked in /"),
        (written.replace("epochs = 3", "epochs = 3\nenv_prefix = '/no/such/environment'"), "make that environment"),
        (written.replace("'sh', 'train.sh'", "'./train.sh'"), "may not be executed; allow it (chmod +x)"),
    ];
    for (number, (text, reason)) in rows.into_iter().enumerate() {
        let (study, out) = (lab.write("missing.toml", text), format!("missing-{number}"));
        let ended = lab.tune(&study, &out, &["--local", "1x1"]).wait();
        assert!(ended.code == Some(1) && ended.stderr.contains(reason), "{reason}: {}", ended.stderr);
        assert!(!lab.path(&out).join("attempts.csv").exists(), "{reason}: something was placed");
    }
}
