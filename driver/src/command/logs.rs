//! `broadsweep logs`: what programs printed, attempt by attempt, also while they run.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant, SystemTime};
use std::{fs, str};

use anyhow::{Context, anyhow};
use broadsweep_common::ids::{AttemptId, TaskId, TrialId};
use clap::Args;
use comfy_table::{Cell, CellAlignment, LineStyle, Table, TableStyle};

use super::report::read_run;
use super::say::{print, say};
use super::{Failure, hint};
use crate::logs::{LogPart, LogReader, attempt_of, sizes};
use crate::records::attempt::{AttemptEnd, AttemptRecord};
use crate::records::run::{Purpose, RunRecord, Stage, TrialOutcome};
use crate::results::folder::is_held;
use crate::results::show::{bytes_text, printable, printable_lines};
use crate::run;

const AFTER_HELP: &str = "\
Examples:
  broadsweep logs runs/mine-20261122T194953Z                  lists the attempts that have a log
  broadsweep logs runs/mine-20261122T194953Z t7.2             what attempt t7.2 printed
  broadsweep logs runs/mine-20261122T194953Z t7 --follow      the newest attempt of task 7, as it goes on
  broadsweep logs runs/mine-20261122T194953Z 7                the newest attempt of trial 7

A progress bar stands there only in its last state. Of a long log the first and the last 256 KiB or more are kept, and a \
line says how much is left out; of a run, 1 GiB. Only the folder of the run is read. The built-in trainers print nothing.

Exit codes: 0 done, 1 failed, 2 wrong use: no such run, or no such attempt";

/// How often a log that grows is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// How often nothing more came after an attempt's end: then nothing will. Its log is written a moment later.
const QUIET_LOOKS: u32 = 3;
/// Reading a journal may take one part of so many of the time.
const READING_SHARE: u32 = 10;
/// Attempts that are named in a message.
const NAMED_MAX: usize = 10;
/// Failed tasks that people are told how to look at.
const HINTS_MAX: usize = 3;

#[derive(Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct LogsArgs {
    /// The folder of the run
    #[arg(value_name = "RUN")]
    run: PathBuf,

    /// Whose log: an attempt, as t7.2; a task, as t7, or a trial, as 7, for its newest attempt [default: list all]
    #[arg(value_name = "ATTEMPT", value_parser = whose)]
    attempt: Option<Whose>,

    /// Go on until the attempt or the run has ended; Ctrl-C ends it before
    #[arg(short, long, requires = "attempt")]
    follow: bool,
}

/// Whose log is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    Attempt(AttemptId),
    /// The newest attempt of it.
    Task(TaskId),
    /// Likewise, of whatever trains it.
    Trial(TrialId),
}

fn whose(text: &str) -> Result<Whose, String> {
    let task = || text.strip_prefix('t')?.parse().ok().map(|task| Whose::Task(TaskId(task)));
    let trial = || text.parse().ok().map(|trial| Whose::Trial(TrialId(trial)));
    let found = attempt_of(text).map(Whose::Attempt).or_else(task).or_else(trial);
    found.ok_or_else(|| {
        "write t7.2 for an attempt, t7 for the newest one of a task, or 7 for that of a trial".to_owned()
    })
}

pub(super) fn run(args: &LogsArgs) -> Result<ExitCode, Failure> {
    let record = read_run(&args.run)?;
    let bytes = sizes(&args.run).with_context(|| format!("cannot list the logs in {}", args.run.display()))?;
    let Some(whose) = args.attempt else {
        print(listed(&record, &bytes, &args.run))?;
        return Ok(ExitCode::SUCCESS);
    };
    let attempt =
        find(&record, whose).ok_or_else(|| Failure::wrong_use(not_there(&record, &bytes, whose, &args.run)))?;
    let goes_on = args.follow && record.stage == Stage::GoingOn && attempt.end.is_none();
    let has_text = show(&args.run, attempt.attempt, goes_on)?;
    if !has_text {
        say(format_args!("{} printed nothing{}", attempt.attempt, if bytes.is_empty() { NO_LOGS } else { "" }));
    }
    Ok(ExitCode::SUCCESS)
}

const NO_LOGS: &str = "; no attempt of this run did (the built-in trainers never do)";

fn find(record: &RunRecord, whose: Whose) -> Option<&AttemptRecord> {
    let trial_of = |task| match record.purpose_of(task)? {
        Purpose::Training(trial)
        | Purpose::Check(trial)
        | Purpose::Measurement(trial)
        | Purpose::Examination(trial, _) => Some(trial),
        Purpose::Application { .. } => None,
    };
    // Attempts stand in the order of tasks, and those of a task in theirs.
    record.attempts.iter().rfind(|attempt| match whose {
        Whose::Attempt(id) => attempt.attempt == id,
        Whose::Task(task) => attempt.attempt.task == task,
        Whose::Trial(trial) => trial_of(attempt.attempt.task) == Some(trial),
    })
}

/// Says that there is no such attempt, and which there are.
fn not_there(record: &RunRecord, bytes: &BTreeMap<AttemptId, u64>, whose: Whose, run: &Path) -> anyhow::Error {
    let asked = match whose {
        Whose::Attempt(attempt) => format!("no attempt {attempt}"),
        Whose::Task(task) => format!("no attempt of task {task}"),
        Whose::Trial(trial) => format!("no attempt of {trial}"),
    };
    let all: Vec<_> = if bytes.is_empty() {
        record.attempts.iter().map(|attempt| attempt.attempt.to_string()).collect()
    } else {
        bytes.keys().map(ToString::to_string).collect()
    };
    let (kind, list) = (if bytes.is_empty() { "there are" } else { "logs are there of" }, hint::logs(run, None));
    let more = if all.len() > NAMED_MAX { format!(" and {} more", all.len() - NAMED_MAX) } else { String::new() };
    match all.get(..NAMED_MAX.min(all.len())).unwrap_or_default() {
        [] => anyhow!("the run has {asked}: none was begun yet"),
        some => anyhow!("the run has {asked}; {kind} {}{more}\nto list them: {list}", some.join(", ")),
    }
}

/// A table of the attempts that have a log.
fn listed(record: &RunRecord, bytes: &BTreeMap<AttemptId, u64>, run: &Path) -> String {
    if bytes.is_empty() {
        return format!(
            "there are no logs in {}: no program printed anything (the built-in trainers never do)\n",
            run.display()
        );
    }
    let mut table = Table::new();
    table.load_style(TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─')));
    table.set_header(["attempt", "of", "executor", "end", "log"]);
    let logged = record.attempts.iter().filter_map(|attempt| Some((attempt, *bytes.get(&attempt.attempt)?)));
    for (attempt, size) in logged {
        table.add_row([
            Cell::new(attempt.attempt),
            Cell::new(purpose(record, attempt.attempt.task)),
            Cell::new(printable(record.executor_name(attempt.executor), NAME_CHARACTERS_MAX)),
            Cell::new(attempt.end.as_ref().map_or(unended(record), AttemptEnd::word)),
            Cell::new(bytes_text(size)).set_alignment(CellAlignment::Right),
        ]);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let lines: Vec<_> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    let example = bytes.keys().next_back().copied();
    format!("{}\n\nto read one: {}\n", lines.join("\n"), hint::logs(run, example))
}

/// Characters of an executor's name in the table.
const NAME_CHARACTERS_MAX: usize = 60;

fn unended(record: &RunRecord) -> &'static str {
    if record.stage == Stage::GoingOn { "runs" } else { "" }
}

fn purpose(record: &RunRecord, task: TaskId) -> String {
    match record.purpose_of(task) {
        Some(
            Purpose::Training(trial)
            | Purpose::Check(trial)
            | Purpose::Measurement(trial)
            | Purpose::Examination(trial, _),
        ) => trial.to_string(),
        Some(Purpose::Application { partition }) => format!("partition {partition}"),
        None => String::new(),
    }
}

/// How to see what the newest failed attempts of some tasks printed, those of trials that were given up first.
pub(super) fn hints(run: &Path, record: &RunRecord) -> Vec<String> {
    let bytes = sizes(run).unwrap_or_default(); // they are a help, and no result
    let has_failed = |end: &AttemptEnd| matches!(end, AttemptEnd::Failed { .. } | AttemptEnd::Hung { .. });
    let failed = record.attempts.iter().filter(|attempt| attempt.end.as_ref().is_some_and(has_failed));
    let logged = failed.map(|attempt| attempt.attempt).filter(|attempt| bytes.contains_key(attempt));
    let newest: BTreeMap<TaskId, AttemptId> = logged.map(|attempt| (attempt.task, attempt)).collect();
    let is_given_up =
        |task| record.trained_by(task).is_some_and(|trial| matches!(trial.outcome, TrialOutcome::GivenUp { .. }));
    let mut newest: Vec<_> = newest.into_values().collect();
    newest.sort_by_key(|attempt| (!is_given_up(attempt.task), *attempt));
    let told = newest.iter().take(HINTS_MAX);
    let mut lines: Vec<_> =
        told.map(|attempt| format!("what {attempt} printed: {}", hint::logs(run, Some(*attempt)))).collect();
    if newest.len() > HINTS_MAX {
        lines.push(format!("what others printed: {}", hint::logs(run, None)));
    }
    lines
}

/// Shows a log, and what comes of it until the attempt has ended if it `goes_on`. Returns whether anything was there.
fn show(run: &Path, attempt: AttemptId, mut goes_on: bool) -> Result<bool, Failure> {
    let (mut reader, mut screen) = (LogReader::new(run, attempt), Screen::new());
    let (mut watch, mut quiet_looks) = (Watch::default(), 0);
    let mut has_text = false;
    loop {
        // Looked at before what it printed until then is read.
        let has_ended = goes_on && watch.has_ended(run, attempt);
        let parts = reader.read().with_context(|| format!("cannot read the log of {attempt}"))?;
        has_text |= !parts.is_empty();
        quiet_looks = if has_ended && parts.is_empty() { quiet_looks + 1 } else { 0 };
        goes_on &= quiet_looks < QUIET_LOOKS;
        let is_read = screen.show(parts).context("cannot write to the standard output")?;
        if !goes_on || !is_read {
            break;
        }
        thread::sleep(LOOK_INTERVAL);
    }
    screen.end().context("cannot write to the standard output")?;
    Ok(has_text)
}

/// Looks whether an attempt has ended, without reading a journal that has not changed, or more often than it is worth.
#[derive(Default)]
struct Watch {
    seen: Option<(u64, SystemTime)>,
    due: Option<Instant>,
    has_ended: bool,
}

impl Watch {
    fn has_ended(&mut self, run: &Path, attempt: AttemptId) -> bool {
        if self.has_ended || !is_held(run) {
            return true;
        }
        let now = Instant::now();
        let journal = fs::metadata(run.join("journal")).ok();
        let journal = journal.and_then(|facts| Some((facts.len(), facts.modified().ok()?)));
        if self.seen != journal && self.due.is_none_or(|due| due <= now) {
            // One that cannot be read now may be whole in a moment.
            if let Ok(reading) = run::read(run) {
                self.seen = journal;
                let found = reading.record.attempts.iter().find(|known| known.attempt == attempt);
                self.has_ended = found.is_none_or(|known| known.end.is_some());
            }
            self.due = Some(Instant::now() + now.elapsed() * READING_SHARE);
        }
        self.has_ended
    }
}

/// The standard output. A terminal gets text alone, whatever a program has printed; all else the very bytes.
struct Screen {
    is_terminal: bool,
    /// The beginning of a character whose rest has not come yet.
    held: Vec<u8>,
    in_line: bool,
}

impl Screen {
    fn new() -> Self {
        Self { is_terminal: io::stdout().is_terminal(), held: Vec::new(), in_line: false }
    }

    /// Shows parts of a log; `false` once nobody reads any more.
    fn show(&mut self, parts: Vec<LogPart>) -> io::Result<bool> {
        let mut bytes = Vec::new();
        for part in parts {
            match part {
                LogPart::Text(text) if self.is_terminal => bytes.extend_from_slice(self.shown(text).as_bytes()),
                LogPart::Text(text) => bytes.extend(text),
                LogPart::LeftOut(line) => bytes.extend(line.into_bytes()),
            }
        }
        self.in_line = bytes.last().map_or(self.in_line, |last| *last != b'\n');
        written(&bytes)
    }

    fn end(&mut self) -> io::Result<bool> {
        let held = std::mem::take(&mut self.held);
        let rest = printable_lines(&String::from_utf8_lossy(&held)).into_owned();
        let end = if self.is_terminal && (self.in_line || !rest.is_empty()) { "\n" } else { "" };
        written((rest + end).as_bytes())
    }

    /// Text as a terminal may have it. A tab is no harm, and tables need it.
    fn shown(&mut self, text: Vec<u8>) -> String {
        self.held.extend(text);
        let end = self.held.utf8_chunks().last().map_or(&[][..], |last| last.invalid());
        let is_begun = str::from_utf8(end).is_err_and(|error| error.error_len().is_none());
        let whole = self.held.len() - if is_begun { end.len() } else { 0 };
        let text: Vec<u8> = self.held.drain(..whole).collect();
        let text = String::from_utf8_lossy(&text);
        text.split('\t').map(printable_lines).collect::<Vec<_>>().join("\t")
    }
}

/// Writes; `false` if nobody reads it.
fn written(bytes: &[u8]) -> io::Result<bool> {
    let mut stdout = io::stdout();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        written => written.map(|()| true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_is_named_by_itself_by_its_task_or_by_its_trial() {
        let attempt = Whose::Attempt(AttemptId { task: TaskId(7), number: 2 });
        let rows = [("t7.2", attempt), ("t7", Whose::Task(TaskId(7))), ("7", Whose::Trial(TrialId(7)))];
        for (text, expected) in rows {
            assert_eq!(whose(text), Ok(expected));
        }
        for wrong in ["", "t", "t7.", "t7.2.3", "7.2", "t-1", "trial 7"] {
            assert!(whose(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_terminal_gets_text_alone_and_whole_characters() {
        let mut screen = Screen { is_terminal: true, held: Vec::new(), in_line: false };
        let (first, second) = "a\tb\x1b[2Jé\n".as_bytes().split_at(8);
        assert_eq!(screen.shown(first.to_vec()), "a\tb\\u{1b}[2J");
        assert_eq!(screen.shown(second.to_vec()), "é\n");
        assert_eq!(screen.shown(b"\xff\xc3".to_vec()), "\u{fffd}");
        assert_eq!(screen.held, [0xc3]);
    }
}
