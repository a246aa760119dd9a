//! A child process whose lines are read as they come, and that ends with its test.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::wait::until;

/// How long anything of an attempt may run after its end.
pub const GONE_WITHIN: Duration = Duration::from_secs(2);

/// A running child. Dropping it ends it with `kill -9`.
#[derive(Debug)]
pub struct Process {
    child: Child,
    stdout: Pipe,
    stderr: Pipe,
}

/// How a child ended, and all that it said.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

/// The lines of one of the child's outputs so far, and the thread that reads on.
#[derive(Debug)]
struct Pipe {
    lines: Arc<Mutex<Vec<String>>>,
    reader: JoinHandle<()>,
}

impl Pipe {
    fn read(source: impl Read + Send + 'static) -> Self {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&lines);
        let reader = thread::spawn(move || {
            for line in BufReader::new(source).lines().map_while(Result::ok) {
                sink.lock().unwrap().push(line);
            }
        });
        Self { lines, reader }
    }

    fn find(&self, fragment: &str) -> Option<String> {
        self.lines.lock().unwrap().iter().find(|line| line.contains(fragment)).cloned()
    }

    fn all_with(&self, fragment: &str) -> Vec<String> {
        self.lines.lock().unwrap().iter().filter(|line| line.contains(fragment)).cloned().collect()
    }

    fn count(&self, fragment: &str) -> usize {
        self.lines.lock().unwrap().iter().filter(|line| line.contains(fragment)).count()
    }

    fn text(&self) -> String {
        self.lines.lock().unwrap().iter().flat_map(|line| [line, "\n"]).collect()
    }
}

impl Process {
    /// Starts `command`, with nothing to read.
    #[must_use]
    pub fn start(command: &mut Command) -> Self {
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let stdout = Pipe::read(child.stdout.take().unwrap());
        let stderr = Pipe::read(child.stderr.take().unwrap());
        Self { child, stdout, stderr }
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The first line with `fragment` in it, on either output, once it is there.
    #[must_use]
    pub fn line_with(&self, fragment: &str) -> String {
        until(&format!("a line with `{fragment}`"), || {
            // Looked at first: what was said before the end is read before it.
            let is_over = self.stdout.reader.is_finished() && self.stderr.reader.is_finished();
            let line = self.stdout.find(fragment).or_else(|| self.stderr.find(fragment));
            let silent = line.is_none() && is_over;
            assert!(
                !silent,
                "it ended without a line with `{fragment}`:\n{}{}",
                self.stdout.text(),
                self.stderr.text()
            );
            line
        })
    }

    /// All lines so far with `fragment` in them, on either output.
    #[must_use]
    pub fn lines_with(&self, fragment: &str) -> Vec<String> {
        [&self.stdout, &self.stderr].into_iter().flat_map(|pipe| pipe.all_with(fragment)).collect()
    }

    /// Waits until so many lines have `fragment` in them, or until it has ended.
    pub fn until_lines(&self, fragment: &str, count: usize) {
        until(&format!("{count} lines with `{fragment}`"), || {
            let is_over = self.stdout.reader.is_finished() && self.stderr.reader.is_finished();
            (is_over || self.stdout.count(fragment) + self.stderr.count(fragment) >= count).then_some(())
        });
    }

    /// Waits until there is such a file, or until it has ended.
    pub fn until_file(&self, path: &Path) {
        until(&format!("the file {}", path.display()), || {
            let is_over = self.stdout.reader.is_finished() && self.stderr.reader.is_finished();
            (is_over || path.exists()).then_some(())
        });
    }

    /// `kill -9`, its end, and what it said until then.
    #[must_use]
    pub fn cut_off(self) -> Ended {
        signal_to_one_that_may_have_ended(self.id(), Signal::KILL);
        self.wait()
    }

    /// Waits for its end.
    #[must_use]
    pub fn wait(mut self) -> Ended {
        let status = until("the end of a process", || self.child.try_wait().unwrap());
        until("the end of its output", || {
            (self.stdout.reader.is_finished() && self.stderr.reader.is_finished()).then_some(())
        });
        Ended { code: status.code(), stdout: self.stdout.text(), stderr: self.stderr.text() }
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        signal_to(self.id(), signal);
    }

    /// `kill -9`, and its end.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Processes that it started and that still run.
    #[must_use]
    pub fn children(&self) -> Vec<u32> {
        all_processes().filter(|id| parent_of_running(*id) == Some(self.id())).collect()
    }

    /// The most memory that it ever had, in bytes.
    #[must_use]
    pub fn memory_peak_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended long ago.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal to a process that this test started, directly or not.
pub fn signal_to(id: u32, signal: Signal) {
    kill_process(Pid::from_raw(id.cast_signed()).unwrap(), signal).unwrap();
}

fn signal_to_one_that_may_have_ended(id: u32, signal: Signal) {
    let _ = kill_process(Pid::from_raw(id.cast_signed()).unwrap(), signal);
}

/// Whether a process is there; one that has ended and waits for its parent to notice is not.
#[must_use]
pub fn is_running(id: u32) -> bool {
    parent_of_running(id).is_some()
}

/// All processes below one.
#[must_use]
pub fn descendants(of: u32) -> Vec<u32> {
    let mut found = Vec::new();
    let mut next = vec![of];
    while let Some(parent) = next.pop() {
        let tasks = fs::read_dir(format!("/proc/{parent}/task")).into_iter().flatten().flatten();
        for task in tasks {
            let listed = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            next.extend(listed.split_whitespace().map(|id| id.parse::<u32>().unwrap()));
        }
        found.push(parent);
    }
    found.retain(|id| *id != of);
    found
}

/// None of these runs any more, or will in two seconds: what is promised of an attempt that has ended.
pub fn assert_gone_in_time(ids: &[u32]) {
    let deadline = Instant::now() + GONE_WITHIN;
    while ids.iter().any(|id| is_running(*id)) {
        let left: Vec<_> = ids.iter().filter(|id| is_running(**id)).collect();
        assert!(Instant::now() < deadline, "of {ids:?} these still run: {left:?}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// `kill -9` to a driver's local executors, and to it. All that the executors have started, which is at least so many
/// processes, ends with them.
pub fn assert_nothing_outlives_its_executors(driver: Process, held_min: usize) {
    let executors = driver.children();
    let held: Vec<u32> = executors.iter().flat_map(|executor| descendants(*executor)).collect();
    assert!(held.len() >= held_min, "{held:?}");
    for executor in &executors {
        signal_to(*executor, Signal::KILL);
    }
    driver.kill();
    assert_gone_in_time(&held);
}

/// `kill -9` to every process that has a path in `folder` among its arguments.
pub fn end_all_that_name(folder: &Path) {
    let folder = folder.as_os_str().as_bytes();
    for id in all_processes().filter(|id| *id != std::process::id()) {
        let arguments = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        if arguments.split(|byte| *byte == 0).any(|argument| argument.starts_with(folder)) {
            signal_to_one_that_may_have_ended(id, Signal::KILL);
        }
    }
}

/// The processes of this machine, as far as they are seen from here.
pub fn all_processes() -> impl Iterator<Item = u32> {
    let processes = fs::read_dir("/proc").unwrap().map_while(Result::ok);
    processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn parent_of_running(id: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?; // after the name, which may hold anything
    let mut fields = fields.split_whitespace();
    let state = fields.next()?;
    (!"ZX".contains(state)).then_some(fields.next()?.parse().ok()?)
}
