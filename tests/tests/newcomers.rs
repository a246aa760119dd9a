//! The five small data sets that scikit-learn ships, each as a newcomer has it: one table without a header line, and a
//! study of ten lines. The errors are those of scikit-learn's networks of the same shape.

#![expect(clippy::unwrap_used, reason = "what the tests share fails as they do")]

use std::fs;
use std::path::Path;
use std::process::Command;

const BROADSWEEP: &str = env!("CARGO_BIN_EXE_broadsweep-under-test");

/// Of each data set: the mean error of scikit-learn 1.9.1 over ten seeds on the rows that were held out here, and the
/// standard error of that mean. As `tests/outside/run newcomers` prints them.
const FIGURES: [(&str, f64, f64); 5] = [
    ("breast-cancer", 0.026_315_8, 0.002_92),
    ("diabetes", 57.957_9, 0.671),
    ("digits", 0.029_684_6, 0.002_12),
    ("iris", 0.057_777_8, 0.01),
    ("wine", 0.047_169_8, 0.009),
];

/// The validation error of one trial, and how many rows were held out.
fn error(study: &Path, seed: u32, folder: &Path) -> (f64, usize) {
    let out = folder.join(format!("run-{seed}"));
    let ended = Command::new(BROADSWEEP)
        .args(["tune", study.to_str().unwrap(), "--local", "1x1", "--quiet", "--seed", &seed.to_string()])
        .args(["--out", out.to_str().unwrap(), "--cache-dir", folder.join("cache").to_str().unwrap()])
        .output()
        .unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    let summary: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(out.join("summary.json")).unwrap()).unwrap();
    let trials = fs::read_to_string(out.join("trials.csv")).unwrap();
    let mut lines = trials.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let place = lines.next().unwrap().iter().position(|name| *name == "validation_error").unwrap();
    assert_eq!(summary["trials"].as_array().map_or(1, Vec::len), 1);
    let error = lines.next().unwrap()[place].parse().unwrap();
    (error, fs::read_to_string(out.join("held_out.csv")).unwrap().lines().count() - 1)
}

#[test]
fn errors_are_within_one_standard_error_of_scikit_learns() {
    for (name, theirs, standard_error) in FIGURES {
        let study = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("studies/newcomers/{name}.toml"));
        let text = fs::read_to_string(&study).unwrap();
        assert_eq!(text.lines().count(), 10, "{name}");
        let rows = fs::read_to_string(study.with_extension("csv")).unwrap().lines().count();
        let folder = tempfile::tempdir().unwrap();
        let mut errors = Vec::new();
        for seed in 0..10 {
            let (error, held_out) = error(&study, seed, folder.path());
            errors.push(error);
            assert_eq!(held_out, (rows as f64 * 0.3).round() as usize, "{name}");
        }
        let ours = errors.iter().sum::<f64>() / errors.len() as f64;
        assert!((ours - theirs).abs() <= standard_error, "{name}: {ours} beside {theirs} ± {standard_error}");
    }
}
