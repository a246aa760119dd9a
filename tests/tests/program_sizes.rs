//! Somebody's own programs on clusters of several sizes: what has to be the same, and what is told of the rest.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic, in its helping functions too")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use broadsweep_tests::lab::{Lab, examples};
use broadsweep_tests::process::Ended;
use broadsweep_tests::skip::skip;
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_broadsweep-under-test");

/// A script whose error is the learning rate and a little, which is another little each time.
const NOISY: &str = r#"
noise=$(od -A n -N 2 -t u2 /dev/urandom)
error=$(awk "BEGIN { print $BROADSWEEP_PARAM_lr + $noise / 65536000 }")
echo "{\"validation_error\": $error}" >> "$BROADSWEEP_METRICS"
"#;

/// A study of three learning rates and the script that it brings.
fn script_study(lab: &Lab, script: &str, more: &str) -> PathBuf {
    lab.write("train.sh", script);
    let text = format!(
        "name = 'program'\n[data]\nfiles = ['train.sh']\n\
         [trainer]\nkind = 'program'\ncommand = ['sh', 'train.sh']\n{more}\n[scheduling]\nfailures_max = 1\n\
         [search]\nsampler = 'grid'\n[search.space]\nlr = {{ values = [0.5, 0.25, 0.125] }}\n"
    );
    lab.write("program.toml", text)
}

/// `scale` on one and two executors, and the comparison that it left.
fn scaled(lab: &Lab, study: &Path, out: &str, repeats: &str) -> (Ended, Value) {
    let (folder, cache) = (lab.path(out), lab.path("cache"));
    let [study, out, cache] = [study, &folder, &cache].map(|path| path.to_str().unwrap());
    let flags = ["--sizes", "1,2", "--local", "2x1", "--repeats", repeats, "--out", out, "--cache-dir", cache];
    let ended = lab.command([&["scale", study], &flags[..]].concat()).wait();
    let told = fs::read(folder.join("scale.json")).unwrap_or_else(|error| panic!("{error}: {}", ended.stderr));
    (ended, serde_json::from_slice(&told).unwrap())
}

#[test]
fn a_program_that_is_not_deterministic_is_compared_by_its_configurations_and_their_spread() {
    let lab = Lab::new(PROGRAM);
    let (ended, told) = scaled(&lab, &script_study(&lab, NOISY, ""), "noisy", "2");
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let printed = ended.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(printed.contains("3 configurations have a result in every run"), "{printed}");
    assert!(!printed.contains("results_sha256"), "{printed}");
    assert_eq!((&told["agree"], &told["compared_by"]), (&true.into(), &"configurations".into()), "{told}");
    let [median, largest] = ["/spread/median", "/spread/largest"].map(|place| told.pointer(place).unwrap().as_f64());
    assert!(Some(0.0) < median && median <= largest && largest < Some(0.001), "{told}");
    let digest = |run: &str| lab.outcome(&format!("noisy/{run}")).digest().to_owned();
    let digests = BTreeSet::from(["1-1", "1-2", "2-1", "2-2"].map(digest));
    assert!(digests.len() > 1, "the noise made no difference");
    let report = lab.command(["report", lab.path("noisy").to_str().unwrap()]).wait();
    assert_eq!(report.code, Some(0), "{}", report.stderr);
    assert!(fs::read_to_string(lab.path("noisy/report.html")).unwrap().contains(" apart at most"));
}

#[test]
fn a_program_that_says_it_is_deterministic_is_held_to_it() {
    let lab = Lab::new(PROGRAM);
    let (ended, told) = scaled(&lab, &script_study(&lab, NOISY, "deterministic = true"), "noisy", "1");
    assert_eq!((ended.code, &told["agree"]), (Some(1), &false.into()), "{}", ended.stdout);
    assert!(ended.stderr.contains("the results are not the same on all clusters"), "{}", ended.stderr);
    let exact = NOISY.replace("$noise", "1");
    let (ended, told) = scaled(&lab, &script_study(&lab, &exact, "deterministic = true"), "exact", "1");
    assert_eq!((ended.code, &told["agree"]), (Some(0), &true.into()), "{}", ended.stderr);
    assert!(ended.stdout.contains("the same to the last bit"), "{}", ended.stdout);
}

#[test]
fn a_configuration_that_has_no_result_on_one_size_is_named() {
    let lab = Lab::new(PROGRAM);
    // It counts how often it is tried: once by each run, and the second one fails.
    let tries = lab.path("tries");
    let script = format!(
        "[ $BROADSWEEP_PARAM_lr = 0.5 ] && echo >> {0} && [ $(wc -l < {0}) = 2 ] && exit 3\n{NOISY}",
        tries.display()
    );
    let (ended, told) = scaled(&lab, &script_study(&lab, &script, ""), "out", "1");
    assert_eq!((ended.code, &told["agree"]), (Some(1), &false.into()), "{}", ended.stdout);
    assert!(ended.stderr.contains("2-1 has no result of lr=0.5"), "{}", ended.stderr);
}

/// What `tune` is told so that scikit-learn is there: the environment that CI makes, or the Python that is active.
fn scikit_learn() -> Option<Vec<String>> {
    let environment = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("target/venv");
    let has_it = |python: &Path| {
        let tried = Command::new(python).args(["-c", "import sklearn"]).output();
        tried.is_ok_and(|tried| tried.status.success())
    };
    if has_it(&environment.join("bin/python3")) {
        let set = format!("trainer.env_prefix={:?}", environment.to_str().unwrap());
        return Some(vec!["--set".to_owned(), set]);
    }
    has_it(Path::new("python3")).then(Vec::new)
}

#[test]
fn scikit_learn_gives_the_same_results_to_the_last_bit_on_1_2_and_13_executors() {
    let Some(changes) = scikit_learn() else {
        return skip("python3 has no scikit-learn: pip install scikit-learn, or run .ci/run, which installs it");
    };
    let lab = Lab::new(PROGRAM);
    let study = examples().join("any-program/sklearn.toml");
    let digests = ["1x1", "2x1", "13x1"].map(|shape| {
        let flags: Vec<_> = ["--local", shape].into_iter().chain(changes.iter().map(String::as_str)).collect();
        let outcome = lab.tuned(&study, shape, &flags);
        assert_eq!(outcome.number("/trials/finished"), 10, "{}", outcome.summary);
        assert_eq!(outcome.number("/executors").to_string(), shape.trim_end_matches("x1"), "{}", outcome.summary);
        let error = outcome.summary.pointer("/best/validation_error").and_then(Value::as_f64);
        assert!(error < Some(0.02), "it has learned the digits: {}", outcome.summary);
        outcome.digest().to_owned()
    });
    assert_eq!(BTreeSet::from(digests.clone()).len(), 1, "{digests:?}");
}
