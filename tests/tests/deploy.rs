//! What `deploy/` ships, as far as it can be tested without root and without a container engine.

#![expect(clippy::unwrap_used, reason = "what the tests share fails as they do")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use broadsweep_executor::command::LISTENING;
use broadsweep_tests::skip::skip;

const BROADSWEEP: &str = env!("CARGO_BIN_EXE_broadsweep-under-test");
const UNIT: &str = "deploy/broadsweep-executor.service";
const DOCKERFILE: &str = "deploy/Dockerfile";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// The words of a line that starts with `prefix`.
fn words<'a>(text: &'a str, prefix: &str) -> Vec<&'a str> {
    let line = text.lines().find_map(|line| line.strip_prefix(prefix));
    line.unwrap_or_else(|| panic!("no line starts with {prefix}")).split_whitespace().collect()
}

/// Ended when a test does, however it does.
struct Executor(Child);

impl Drop for Executor {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Starts an executor with the flags that `deploy/` writes, but on a free loopback port, and with a cache and an identity
/// that this machine has.
fn starts(flags: &[&str]) {
    assert!(!flags.contains(&"--insecure"), "{flags:?}");
    let cache = tempfile::tempdir().unwrap();
    let cluster = cache.path().join("cluster");
    let init = ["cluster", "init", "--nodes", "10.0.0.1", "--out", cluster.to_str().unwrap()];
    let made =
        Command::new(BROADSWEEP).args(init).env("HOME", cache.path()).env_remove("XDG_CONFIG_HOME").output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let identity = cluster.join("nodes/10.0.0.1.pem");
    let mut flags: Vec<_> = flags.iter().map(|flag| (*flag).to_owned()).collect();
    let places =
        [("--cache-dir", cache.path()), ("--identity", &identity)].map(|(flag, path)| (flag, path.to_str().unwrap()));
    for (flag, value) in [("--listen", "127.0.0.1:0")].into_iter().chain(places) {
        let place = flags.iter().position(|written| written == flag).unwrap_or_else(|| panic!("{flag} is not given"));
        value.clone_into(&mut flags[place + 1]);
    }
    let child = Command::new(BROADSWEEP)
        .arg("executor")
        .args(&flags)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut executor = Executor(child);
    let mut line = String::new();
    BufReader::new(executor.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with(LISTENING), "with {flags:?} the executor printed {line:?}");
}

#[test]
fn an_executor_starts_with_the_flags_of_the_unit() {
    let unit = read(UNIT);
    let command = words(&unit, "ExecStart=");
    assert_eq!(command[0], "/usr/local/bin/broadsweep-executor");
    assert!(
        read("deploy/README.md").contains("release/broadsweep-executor /usr/local/bin/"),
        "it is installed there"
    );
    starts(&command[1..]);
}

#[test]
fn the_cache_folder_of_the_unit_is_the_one_that_its_user_may_write() {
    let unit = read(UNIT);
    let folder = words(&unit, "CacheDirectory=")[0];
    assert!(unit.contains(&format!("--cache-dir %C/{folder} ")));
}

#[test]
fn the_unit_gives_the_executor_the_time_that_it_takes_to_leave() {
    let unit = read(UNIT);
    let stop_s: u64 = words(&unit, "TimeoutStopSec=")[0].parse().unwrap();
    let help = Command::new(BROADSWEEP).args(["executor", "--help"]).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let (_, drain) = help.split_once("--drain-timeout").unwrap();
    let drain_s: u64 = drain.split("[default: ").nth(1).unwrap().split(']').next().unwrap().parse().unwrap();
    assert!(stop_s > drain_s, "systemd would kill it after {stop_s} s, and it may take {drain_s} s to leave");
    assert!(!unit.contains("KillSignal="), "SIGTERM is what makes it leave, and what systemd sends by default");
}

#[test]
fn systemd_understands_the_unit() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        return skip("systemd-analyze is not installed here");
    }
    // It also checks that the program exists, so the copy names one that does.
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("broadsweep-executor.service");
    let unit = read(UNIT).replace("/usr/local/bin/broadsweep-executor", &format!("{BROADSWEEP} executor"));
    fs::write(&copy, unit).unwrap();
    let verified = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&copy).output().unwrap();
    let said = String::from_utf8_lossy(&verified.stderr);
    // What it says of other units of this machine is not about ours.
    let about_ours: Vec<_> = said.lines().filter(|line| line.contains("broadsweep-executor.service")).collect();
    assert!(about_ours.is_empty(), "{about_ours:#?}");
    assert!(!said.contains("Failed to prepare") && !said.contains("Failed to load"), "{said}");
}

#[test]
fn an_executor_starts_with_the_flags_of_the_image() {
    let dockerfile = read(DOCKERFILE);
    let entry = dockerfile.lines().find_map(|line| line.strip_prefix("ENTRYPOINT ")).unwrap();
    let entry: Vec<String> = serde_json::from_str(entry).unwrap();
    let entry: Vec<_> = entry.iter().map(String::as_str).collect();
    assert_eq!(entry[0], "broadsweep-executor");
    starts(&entry[1..]);
}

#[test]
fn what_the_dockerfile_copies_and_builds_exists() {
    let dockerfile = read(DOCKERFILE);
    let copies = dockerfile.lines().filter_map(|line| line.strip_prefix("COPY "));
    let mut copied = Vec::new();
    for copy in copies.filter(|copy| !copy.starts_with("--from")) {
        let mut sources: Vec<_> = copy.split_whitespace().collect();
        sources.pop();
        copied.extend(sources);
    }
    for source in &copied {
        assert!(root().join(source).exists(), "{source} is copied, but does not exist");
    }
    let workspace = read("Cargo.toml");
    let members = workspace.lines().find_map(|line| line.strip_prefix("members = ")).unwrap();
    let members: Vec<String> = serde_json::from_str(members).unwrap();
    for member in members {
        // A folder is copied with the crates in it.
        let is_copied = copied.iter().any(|source| Path::new(&member).starts_with(source));
        assert!(is_copied, "cargo needs {member}, which is not copied");
    }

    let build = words(&dockerfile, "RUN cargo build ");
    let after = |flag: &str| build[build.iter().position(|word| *word == flag).unwrap() + 1];
    let manifest = read("executor/Cargo.toml");
    assert!(manifest.contains(&format!("[package]\nname = \"{}\"", after("--package"))));
    assert!(manifest.contains(&format!("[[bin]]\nname = \"{}\"", after("--bin"))));
    assert!(dockerfile.contains(&format!("/broadsweep/target/release/{} /usr/local/bin/", after("--bin"))));
}

#[test]
fn the_comparison_script_calls_what_the_program_has_with_files_that_exist() {
    let script = root().join("deploy/bench.sh");
    let parsed = Command::new("bash").arg("-n").arg(&script).status().unwrap();
    assert!(parsed.success(), "bash does not read it");
    let text = read("deploy/bench.sh").replace("\\\n", " ");
    let (mut calls, mut files) = (0, 0);
    for line in text.lines() {
        if let Some(arguments) = line.strip_prefix("\"$broadsweep\" ") {
            // The script's variables, as they may be.
            let words = arguments.replace('"', "").replace("$sizes", "1,2").replace("$repeats", "3");
            let words = words.replace("${largest}", "2");
            let help = Command::new(BROADSWEEP).args(words.split_whitespace()).arg("--help").output().unwrap();
            assert!(help.status.success(), "{line}: {}", String::from_utf8_lossy(&help.stderr));
            calls += 1;
        }
        for file in line.split([' ', '"', '|', '\\']).map(|word| word.trim_start_matches("$PWD/")) {
            if file.starts_with("tests/studies/") || file.starts_with("examples/") {
                assert!(root().join(file).is_file(), "{line}: there is no {file}");
                files += 1;
            }
        }
    }
    assert!(calls >= 3 && files >= 3, "{calls} calls and {files} files were found");
}
