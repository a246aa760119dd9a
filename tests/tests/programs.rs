//! Somebody's own programs as trainers: shell scripts, from the study's files to the tables.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic, in its helping functions too")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use broadsweep_common::dataset::{Dataset, Part};
use broadsweep_data as data;
use broadsweep_driver::study;
use broadsweep_executor::command::LISTENING;
use broadsweep_tests::lab::Lab;
use broadsweep_tests::outcome::Outcome;
use broadsweep_tests::process::{assert_nothing_outlives_its_executors, signal_to};
use rustix::process::Signal;

const PROGRAM: &str = env!("CARGO_BIN_EXE_broadsweep-under-test");

/// A study of four learning rates and the script that it brings.
fn script_study(lab: &Lab, script: &str, more: &str) -> PathBuf {
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
    let study = script_study(&lab, SCRIPT, "outputs = ['model']\ndeterministic = true");
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
        // A copy that was beaten may not have ended before its run had.
        let is_beaten = |row: &csv::StringRecord| row.iter().any(|cell| cell == "beaten");
        let used = reader.records().map(|row| row.unwrap()).filter(|row| !is_beaten(row));
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
fn programs_run_below_a_cache_folder_that_is_named_from_where_their_executor_was_started() {
    let lab = Lab::new(PROGRAM);
    let study = script_study(&lab, SCRIPT, "");
    let flags = ["--listen=127.0.0.1:0", "--slots=1", "--allow-programs", "--cache-dir=node"];
    let executor = lab.command([&["executor"], &flags[..]].concat());
    let greeting = executor.line_with(LISTENING);
    let outcome = lab.tuned(&study, "run", &["--nodes", greeting.trim_start_matches(LISTENING)]);
    assert_eq!(outcome.number("/trials/finished"), 4);
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
        let study = script_study(&lab, script, "grace_s = 0.1\n[scheduling]\nfailures_max = 1");
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
    let text = script_study(&lab, &script, "");
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
    let text = script_study(&lab, script, "");
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
    let study = script_study(&lab, &script, "");
    let running = lab.tune(&study, "run", &["--local", "1x1"]);
    running.until_file(&pids);
    assert_nothing_outlives_its_executors(running, 3); // the script, and what it started
}

#[test]
fn an_executor_runs_programs_only_where_that_is_allowed() {
    let lab = Lab::new(PROGRAM);
    let study = script_study(&lab, SCRIPT, "");
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
    let text = script_study(&lab, script, "outputs = ['words', 'parameters', 'count']");
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
    let text = script_study(&lab, SCRIPT, "");
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

/// The data that the built-in trainer would have of a study.
fn rows_of(study: &Path) -> Dataset {
    let study_text = fs::read_to_string(study).unwrap();
    let parsed = study::parse(&study_text, "study.toml").unwrap();
    let folder = study.parent().unwrap();
    let archive = data::Archive::of(&parsed.files, folder).unwrap();
    let loaded = data::load(parsed.data.as_ref().unwrap(), &archive, parsed.seed, folder).unwrap();
    Dataset::open(Arc::new(loaded.data.content)).unwrap()
}

/// What stands in a `.npy` file: its header, and its values.
fn array(path: &Path) -> (String, Vec<u8>) {
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(bytes[..8], *b"\x93NUMPY\x01\x00");
    let (header, values) = bytes[10..].split_at(usize::from(u16::from_le_bytes([bytes[8], bytes[9]])));
    (String::from_utf8(header.to_vec()).unwrap(), values.to_vec())
}

/// A table of so many rows with two features, in which each row is another one.
fn table(rows: u32, label: impl Fn(u32) -> String) -> String {
    let lines = (0..rows).map(|row| format!("{row},{}.5,{}\n", row * 2, label(row)));
    format!("a,b,y\n{}", lines.collect::<String>())
}

/// Keeps the arrays that it finds, which are the same by both ways, and which nobody can write.
const ARRAYS: &str = r#"
mkdir rows && cp "$BROADSWEEP_DATA_DIR"/*.npy rows/ || exit 7
for name in rows/*.npy; do
    cmp "$name" "$(basename "$name")" || exit 8
    [ "$(stat -L -c %a "$(basename "$name")")" = 444 ] || exit 9
done
rows=$(tail -c +129 train_features.npy | od -A n -t f4 -w8 -v | wc -l)
echo "{\"validation_error\": $rows}" >> "$BROADSWEEP_METRICS"
"#;

#[test]
fn the_rows_of_a_study_reach_its_program_as_arrays_split_as_for_a_network() {
    let lab = Lab::new(PROGRAM);
    lab.write("classes.csv", table(20, |row| (row % 3).to_string()));
    lab.write("numbers.csv", table(20, |row| format!("-{row}.25")));
    let test_parts: &[_] = &Part::ALL;
    for (name, more, parts, label_type) in [
        ("classes", "", &test_parts[..2], "'<i4'"),
        ("numbers", "labels = 'numbers'\ntest = 'all'", test_parts, "'<f4'"),
    ] {
        lab.write("train.sh", ARRAYS);
        let study = lab.write(
            &format!("{name}.toml"),
            format!(
                "name = 'arrays'\nseed = 3\n[data]\nformat = 'csv'\ntrain_file = '{name}.csv'\ntest_file = '{name}.csv'\n\
                 label_column = 'y'\nvalidation_rows = 6\nfiles = ['train.sh']\n{more}\n\
                 [trainer]\nkind = 'program'\ncommand = ['sh', 'train.sh']\noutputs = ['rows']\n"
            ),
        );
        let outcome = lab.tuned(&study, name, &["--local", "2x1"]);
        let (rows, found) = (rows_of(&study), outcome.folder.join("best/outputs/rows"));
        assert_eq!(fs::read_dir(&found).unwrap().count(), 2 * parts.len(), "{name}: no test rows unless asked for");
        for part in parts {
            let [features, labels] = part.file_names().map(|file| array(&found.join(file)));
            let sides = format!("'shape': ({}, 2,)", rows.rows(*part));
            assert!(features.0.contains("'<f4'") && features.0.contains(&sides), "{name}: {}", features.0);
            assert!(labels.0.contains(label_type), "{name}: {}", labels.0);
            assert_eq!(features.1, rows.feature_bytes(*part), "{name}: the {part} rows");
            assert_eq!(labels.1, rows.target_bytes(*part), "{name}: the {part} labels");
        }
        let told = outcome.summary.pointer("/best/validation_error");
        assert_eq!(told.and_then(serde_json::Value::as_f64), Some(14.0), "{}", outcome.summary);
    }
    let left = fs::read_dir(lab.path("cache/programs")).unwrap().count();
    assert_eq!(left, 0, "the arrays go with the run");
}

/// The most attempts that see each GPU at the same time.
type SeenAtOnce = &'static [(&'static str, u32)];

/// Notes which GPUs it sees when it begins and when it ends, and ends once so many have begun beside it.
const GPUS: &str = r#"
echo "+ ${CUDA_VISIBLE_DEVICES-unset}" >> "$LOG"
[ "${ROCR_VISIBLE_DEVICES-unset}" = "${CUDA_VISIBLE_DEVICES-unset}" ] || exit 7
until [ "$(grep -c + "$LOG")" -ge "$TOGETHER" ]; do sleep 0.01; done
sleep 0.02
echo "- ${CUDA_VISIBLE_DEVICES-unset}" >> "$LOG"
echo '{"validation_error": 0.5}' >> "$BROADSWEEP_METRICS"
"#;

/// The lines that the program of a study left, run on four slots with these GPUs; what `tune` said, if it was not made.
fn gpus_seen(lab: &Lab, name: &str, lent: &[&str], requires: &str, together: u32) -> Result<Vec<String>, String> {
    let log = lab.path(&format!("{name}.log"));
    let script = GPUS.replace("$LOG", log.to_str().unwrap()).replace("$TOGETHER", &together.to_string());
    let more = format!("{requires}\n[scheduling]\nfailures_max = 1\ncopies = false");
    let text = fs::read_to_string(script_study(lab, &script, &more)).unwrap();
    let text = text.replace("values = [0.5, 0.25, 0.125, 1.0]", "range = [0.0, 1.0], count = 12");
    let study = lab.write(&format!("{name}.toml"), text);
    let executor = lab.executor_with(name, 4, &[&["--allow-programs"], lent].concat());
    let ended = lab.tune(&study, &format!("{name}-run"), &["--nodes", &executor.address, "--insecure"]).wait();
    match ended.code {
        Some(0) => Ok(fs::read_to_string(log).unwrap().lines().map(str::to_owned).collect()),
        _ => Err(ended.stderr),
    }
}

/// For each GPU that was seen, the most attempts that saw it at the same time; and the most attempts at the same time.
fn seen_at_once(lines: &[String]) -> (BTreeMap<&str, u32>, u32) {
    let (mut now, mut most) = (BTreeMap::new(), BTreeMap::new());
    let (mut running, mut running_most) = (0_u32, 0);
    for line in lines {
        let (mark, seen) = line.split_once(' ').unwrap();
        running = if mark == "+" { running + 1 } else { running - 1 };
        running_most = running_most.max(running);
        for gpu in seen.split(',') {
            let count = now.entry(gpu).or_insert(0_u32);
            *count = if mark == "+" { *count + 1 } else { *count - 1 };
            let known = most.entry(gpu).or_insert(0);
            *known = (*known).max(*count);
        }
    }
    (most, running_most)
}

#[test]
fn attempts_share_gpus_evenly_or_have_them_for_themselves() {
    let lab = Lab::new(PROGRAM);
    let two = ["--gpus", "0,GPU-8e"];
    let rows: [(&str, &[&str], &str, u32, SeenAtOnce); 5] = [
        ("shared", &two, "", 4, &[("0", 2), ("GPU-8e", 2)]),
        ("one", &two, "requires = { gpus = 1 }", 2, &[("0", 1), ("GPU-8e", 1)]),
        ("both", &two, "requires = { gpus = 2 }", 1, &[("0", 1), ("GPU-8e", 1)]),
        ("none", &two, "requires = { gpus = 0 }", 4, &[("", 4)]),
        ("unsaid", &[], "", 4, &[("unset", 4)]),
    ];
    for (name, lent, requires, together, expected) in rows {
        let lines = gpus_seen(&lab, name, lent, requires, together).unwrap();
        assert_eq!(lines.len(), 24, "{name}: twelve trials, each once: {lines:?}");
        assert_eq!(seen_at_once(&lines), (expected.iter().copied().collect(), together), "{name}: {lines:?}");
    }
    for (name, lent, told) in [
        ("too-few", &two[..], "each trial needs 3 GPUs, and it lends 2"),
        ("nothing", &[], "and it lends none; start it with --gpus"),
    ] {
        let refused = gpus_seen(&lab, name, lent, "requires = { gpus = 3 }", 1).unwrap_err();
        assert!(refused.contains(told), "{name}: {refused}");
    }
}

#[test]
fn gpus_that_cannot_be_lent_are_refused_and_the_others_are_told() {
    let lab = Lab::new(PROGRAM);
    for (flags, told) in [
        (["--allow-programs", "--gpus=0,1,0"], "names 0 twice"),
        (["--allow-programs", "--gpus=0,,1"], "write 0,1"),
        (["--slots=2", "--gpus=0"], "add --allow-programs"),
    ] {
        let ended = lab.command([&["executor", "--listen=127.0.0.1:0"], &flags[..]].concat()).wait();
        assert!(ended.code == Some(2) && ended.stderr.contains(told), "{flags:?}: {ended:?}");
    }
    let about = lab.command(["executor", "--about", "--allow-programs", "--gpus", "0,MIG-8e"]).wait();
    assert!(about.stdout.contains("gpus     0, MIG-8e\n"), "{about:?}");
    let about = lab.command(["executor", "--about"]).wait();
    assert!(about.stdout.contains("gpus     none are lent\n"), "{about:?}");
}
