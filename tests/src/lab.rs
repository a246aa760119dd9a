//! A test's folder: studies, drivers and executors that write there alone.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use broadsweep_executor::command::LISTENING;
use tempfile::TempDir;

use crate::network::{Machine, Namespace};
use crate::outcome::Outcome;
use crate::process::{Ended, Process, end_all_that_name};

/// Ports below those that systems hand out, so that nobody is given one between its choice and its use.
const PORTS: std::ops::Range<u32> = 20_000..30_000;

/// What drivers log: with `-v`, and beyond that what becomes of checkpoints.
const DRIVER_LOG: &str = "info,broadsweep_driver::run=debug";
/// What executors that are started by hand log: as always, and beyond that how attempts end.
const EXECUTOR_LOG: &str = "info,broadsweep_executor::work=debug";

/// One test's folder, which goes with it, and the program under test.
#[derive(Debug)]
pub struct Lab {
    folder: TempDir,
    program: &'static str,
}

/// An executor started by hand.
#[derive(Debug)]
pub struct Executor {
    /// Its process.
    pub process: Process,
    /// Where it listens.
    pub address: String,
}

/// The folder of this crate's studies.
#[must_use]
pub fn studies() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("studies")
}

/// The examples' folder.
#[must_use]
pub fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").canonicalize().unwrap()
}

/// The text of `tiny.toml`, for another folder and with other numbers.
#[must_use]
pub fn tiny_with(changes: &[(&str, &str)]) -> String {
    let text = fs::read_to_string(studies().join("tiny.toml")).unwrap();
    let data = ("../../examples", examples());
    let mut text = text.replace(data.0, data.1.to_str().unwrap());
    for (from, to) in changes {
        assert!(text.contains(from), "`{from}` does not stand in tiny.toml");
        text = text.replace(from, to);
    }
    text
}

/// A port that nothing listens on.
#[must_use]
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let offset = std::process::id().wrapping_mul(97).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = (PORTS.start + offset % (PORTS.end - PORTS.start)) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

impl Lab {
    /// An empty folder for the program at `program`.
    #[must_use]
    pub fn new(program: &'static str) -> Self {
        Self { folder: tempfile::tempdir().unwrap(), program }
    }

    /// A path in this folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file and says where it is.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// The study of about three seconds.
    #[must_use]
    pub fn tiny(&self) -> PathBuf {
        studies().join("tiny.toml")
    }

    /// A study that is over at once.
    #[must_use]
    pub fn short(&self) -> PathBuf {
        self.write("short.toml", tiny_with(&[("epochs = 12", "epochs = 1"), ("count = 4", "count = 2")]))
    }

    /// A study that is not over before it is ended.
    #[must_use]
    pub fn endless(&self) -> PathBuf {
        self.write("endless.toml", tiny_with(&[("epochs = 12", "epochs = 100000")]))
    }

    /// The program with arguments, in this folder.
    #[must_use]
    pub fn command<A: AsRef<std::ffi::OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Process {
        Process::start(self.prepare(self.program).args(arguments))
    }

    /// `tune` into the folder `out`, saying all of its progress; local executors keep their data in `cache`.
    #[must_use]
    pub fn tune(&self, study: &Path, out: &str, flags: &[&str]) -> Process {
        self.start_tune(self.prepare(self.program), study, out, flags)
    }

    fn start_tune(&self, mut command: Command, study: &Path, out: &str, flags: &[&str]) -> Process {
        command.env("RUST_LOG", DRIVER_LOG);
        command.arg("tune").arg(study).arg("--out").arg(self.path(out)).arg("-v").args(flags);
        if !flags.iter().any(|flag| ["--nodes", "--cold", "--cache-dir"].contains(flag)) {
            command.arg("--cache-dir").arg(self.path("cache"));
        }
        Process::start(&mut command)
    }

    /// `resume` of the run in the folder `out`, saying all of its progress.
    #[must_use]
    pub fn resume(&self, out: &str, flags: &[&str]) -> Process {
        let mut command = self.prepare(self.program);
        command.env("RUST_LOG", DRIVER_LOG);
        Process::start(command.arg("resume").arg(self.path(out)).arg("-v").args(flags))
    }

    /// A whole run that has to end well: what it left.
    #[must_use]
    pub fn tuned(&self, study: &Path, out: &str, flags: &[&str]) -> Outcome {
        let Ended { code, stderr, .. } = self.tune(study, out, flags).wait();
        assert_eq!(code, Some(0), "tune {flags:?}:\n{stderr}");
        self.outcome(out)
    }

    /// What a run left in the folder `out`.
    #[must_use]
    pub fn outcome(&self, out: &str) -> Outcome {
        Outcome::read(&self.path(out))
    }

    /// An executor started by hand on a port of its own, with data of its own.
    #[must_use]
    pub fn executor(&self, cache: &str, slots: u32) -> Executor {
        self.executor_on(self.program, 0, cache, slots)
    }

    /// An executor of `program`, the whole one or the slim one, on a given port.
    #[must_use]
    pub fn executor_on(&self, program: &str, port: u16, cache: &str, slots: u32) -> Executor {
        let mut command = self.prepare(program);
        if program == self.program {
            command.arg("executor");
        }
        self.listening(command, &format!("127.0.0.1:{port}"), cache, slots, &[])
    }

    /// An executor that keeps a run for so many seconds after its driver has gone.
    #[must_use]
    pub fn forgetful_executor(&self, cache: &str, slots: u32, orphan_timeout_s: u32) -> Executor {
        self.executor_with(cache, slots, &["--orphan-timeout", &orphan_timeout_s.to_string()])
    }

    /// An executor with flags of its own.
    #[must_use]
    pub fn executor_with(&self, cache: &str, slots: u32, flags: &[&str]) -> Executor {
        let mut command = self.prepare(self.program);
        command.arg("executor");
        self.listening(command, "127.0.0.1:0", cache, slots, flags)
    }

    /// An executor on an address of this machine, as people write it.
    #[must_use]
    pub fn executor_listening_on(&self, listen: &str) -> Executor {
        let mut command = self.prepare(self.program);
        command.arg("executor");
        self.listening(command, listen, "cache", 1, &[])
    }

    /// An executor that a shell starts after these words.
    #[must_use]
    pub fn executor_from_shell(&self, words: &str, cache: &str, slots: u32) -> Executor {
        let mut command = self.shell_after(words);
        command.arg("executor");
        self.listening(command, "127.0.0.1:0", cache, slots, &[])
    }

    /// `tune` as [`Self::tune`], started by a shell after these words.
    #[must_use]
    pub fn tune_from_shell(&self, words: &str, study: &Path, out: &str, flags: &[&str]) -> Process {
        self.start_tune(self.shell_after(words), study, out, flags)
    }

    /// The program as a shell starts it after these words.
    fn shell_after(&self, words: &str) -> Command {
        let mut command = self.prepare("sh");
        command.args(["-c", &format!("{words}; exec \"$@\""), "sh", self.program]);
        command
    }

    /// An executor on another machine of the network.
    #[must_use]
    pub fn executor_in(&self, namespace: &Namespace, cache: &str, slots: u32) -> Executor {
        let [ip, arguments @ ..] = namespace.prefix();
        let mut command = self.prepare(ip);
        command.args(arguments).arg(self.program).arg("executor");
        self.listening(command, &format!("{}:7717", namespace.address), cache, slots, &["--insecure"])
    }

    /// An executor on a machine of a switch.
    #[must_use]
    pub fn executor_at(&self, machine: &Machine, cache: &str, slots: u32) -> Executor {
        self.executor_at_with(machine, cache, slots, &["--insecure"])
    }

    /// Likewise, with flags that say who may speak to it.
    #[must_use]
    pub fn executor_at_with(&self, machine: &Machine, cache: &str, slots: u32, flags: &[&str]) -> Executor {
        let [ip, arguments @ ..] = machine.prefix();
        let mut command = self.prepare(ip);
        command.args(arguments).arg(self.program).arg("executor");
        self.listening(command, &format!("{}:7717", machine.address), cache, slots, flags)
    }

    /// `tune` on a machine of a switch.
    #[must_use]
    pub fn tune_at(&self, machine: &Machine, study: &Path, out: &str, flags: &[&str]) -> Process {
        let [ip, arguments @ ..] = machine.prefix();
        let mut command = self.prepare(ip);
        command.env("RUST_LOG", DRIVER_LOG).args(arguments).arg(self.program);
        command.arg("tune").arg(study).arg("--out").arg(self.path(out)).arg("-v").args(flags);
        Process::start(&mut command)
    }

    fn listening(&self, mut command: Command, listen: &str, cache: &str, slots: u32, flags: &[&str]) -> Executor {
        command.env("RUST_LOG", EXECUTOR_LOG);
        command.args(["--listen", listen, "--slots", &slots.to_string()]).args(flags);
        let process = Process::start(command.arg("--cache-dir").arg(self.path(cache)));
        let line = process.line_with(LISTENING);
        Executor { process, address: line.trim_start_matches(LISTENING).to_owned() }
    }

    /// What is written anywhere by default lands in this folder.
    fn prepare(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.folder.path()).env_remove("RUST_LOG");
        for place in ["HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"] {
            command.env(place, self.folder.path());
        }
        command
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // Local executors outlive a driver that was killed. Each of them names its cache folder, which lies in this one.
        end_all_that_name(self.folder.path());
    }
}
