//! A program that stays up: it takes one attempt after the other, a line of JSON each, and answers each with a line.

use std::time::{Duration, Instant};

use broadsweep_common::program::WorkerDescription;
use broadsweep_common::size::ByteSize;
use broadsweep_leash::{Heard, How, LeashError, Order, Running, Slot};
use serde_json::Value;

use super::LOOK_INTERVAL;
use super::course::Course;
use super::folders::InnerFolder;

/// Bytes of an answer.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// What is shown of one, where it says why a trial failed or says nothing.
const SHOWN_CHARACTERS: usize = 2000;
/// Output that is read after an answer: what was printed before it is in a pipe, and none holds more.
const REMAINDER_BYTES_MAX: usize = 2 << 20;
/// How long one may go on that can no longer answer; one that ends closes its pipes a moment before.
const SILENT_MAX: Duration = Duration::from_secs(2);

/// A program that waits for attempts. Dropped, all of it is killed, and its folder goes.
#[derive(Debug)]
pub(super) struct Worker {
    running: Running,
    answers: AnswerLine,
    trials: u32,
    /// Where it was started; goes after what runs there.
    _folder: InnerFolder,
}

/// What a worker did with an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum WorkerAnswer {
    /// `{"done": true}`.
    Done,
    /// `{"error": "..."}`.
    Failed(String),
    /// Anything else: what is wrong with it.
    Nonsense(String),
    /// It has ended without an answer.
    Left(How),
}

impl Worker {
    /// Starts it, in a folder of its own. What it cannot do is told at its first attempt.
    pub(super) fn start(slot: &mut Slot, order: &Order, folder: InnerFolder) -> Result<Self, LeashError> {
        let running = slot.start(order)?;
        Ok(Self { running, answers: AnswerLine::default(), trials: 0, _folder: folder })
    }

    /// Whether it still waits, and has answered nothing that it was not asked.
    pub(super) fn is_waiting(&mut self) -> bool {
        let has_left = self.hear_out(|_| ()).is_some();
        !has_left && self.answers.are_none() && self.running.may_answer()
    }

    /// Has it train what `line` says, and hears what comes of it. It is asked to end where the course may not go on, and
    /// has `grace` for it.
    pub(super) fn train(&mut self, line: &[u8], course: &mut Course<'_>, grace: Duration) -> WorkerAnswer {
        let account = self.running.open_account();
        let answer = self.answer_to(line, course, grace);
        course.used(self.running.used_since(&account));
        answer
    }

    fn answer_to(&mut self, line: &[u8], course: &mut Course<'_>, grace: Duration) -> WorkerAnswer {
        if let Err(error) = self.running.send(line) {
            return WorkerAnswer::Nonsense(format!("its worker reads nothing: {error}"));
        }
        self.trials = self.trials.saturating_add(1);
        let (mut is_asked_to_end, mut silent_since) = (false, None);
        loop {
            let answers = &mut self.answers;
            let left = self.running.wait(Instant::now() + LOOK_INTERVAL, |heard| match heard {
                Heard::Output(bytes) => course.hear(bytes),
                Heard::Answer(bytes) => answers.push(bytes),
            });
            if let Some(answer) = self.answers.take().filter(|_| !is_asked_to_end) {
                self.hear_out(|bytes| course.hear(bytes));
                return answer;
            }
            if let Some(left) = left {
                return WorkerAnswer::Left(left.how);
            }
            if !self.running.may_answer() && !is_asked_to_end {
                let since: &mut Instant = silent_since.get_or_insert_with(Instant::now);
                if since.elapsed() >= SILENT_MAX {
                    return WorkerAnswer::Nonsense(
                        "its worker closed the pipe for its answers, and went on".to_owned(),
                    );
                }
            }
            course.look();
            if !course.may_go_on() {
                self.running.stop(grace);
                is_asked_to_end = true;
            }
        }
    }

    /// Why it is not to take another attempt, if so. `memory_bytes_max` is what it may hold unless its study says so.
    pub(super) fn is_spent(&self, limits: WorkerDescription, memory_bytes_max: Option<u64>) -> Option<String> {
        if self.trials >= limits.trials_max {
            return Some(format!("it has trained {} trials", self.trials));
        }
        let bytes_max = limits.memory_bytes.or(memory_bytes_max)?;
        let bytes = self.running.memory_bytes();
        let (holds, may) = (ByteSize(bytes), ByteSize(bytes_max));
        (bytes > bytes_max).then(|| format!("it holds {holds} of memory between two trials, and may hold {may}"))
    }

    /// Kills it. That it is gone is known when it was dropped.
    pub(super) fn end(&mut self) {
        self.running.stop(Duration::ZERO);
    }

    /// Hears what it has printed so far. How it ended, if it has.
    fn hear_out(&mut self, mut hear: impl FnMut(&[u8])) -> Option<How> {
        let mut bytes_left = REMAINDER_BYTES_MAX;
        loop {
            let before = bytes_left;
            let answers = &mut self.answers;
            let left = self.running.wait(Instant::now(), |heard| match heard {
                Heard::Output(bytes) => {
                    bytes_left = bytes_left.saturating_sub(bytes.len());
                    hear(bytes);
                }
                Heard::Answer(bytes) => answers.push(bytes),
            });
            if left.is_some() || bytes_left == before || bytes_left == 0 {
                return left.map(|left| left.how);
            }
        }
    }
}

/// What came of an answer so far.
#[derive(Debug, Default)]
struct AnswerLine {
    line: Vec<u8>,
    is_whole: bool,
    /// Something came after it, or it has no end: no other answer will be heard.
    has_more: bool,
}

impl AnswerLine {
    fn push(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if self.is_whole || self.line.len() == ANSWER_BYTES_MAX {
                self.has_more = true;
                return;
            }
            match byte {
                b'\n' => self.is_whole = true,
                byte => self.line.push(*byte),
            }
        }
    }

    fn are_none(&self) -> bool {
        self.line.is_empty() && !self.is_whole && !self.has_more
    }

    /// The answer, once it is whole, or longer than any may be.
    fn take(&mut self) -> Option<WorkerAnswer> {
        if std::mem::take(&mut self.is_whole) {
            return Some(read_answer(&String::from_utf8_lossy(&std::mem::take(&mut self.line))));
        }
        let reason = || format!("its worker answered a line of more than {ANSWER_BYTES_MAX} bytes");
        self.has_more.then(|| WorkerAnswer::Nonsense(reason()))
    }
}

fn read_answer(line: &str) -> WorkerAnswer {
    let answer: Option<Value> = serde_json::from_str(line).ok();
    let member = |name: &str| answer.as_ref().and_then(|answer| answer.get(name));
    match (member("error"), member("done")) {
        (Some(Value::String(error)), _) => WorkerAnswer::Failed(error.chars().take(SHOWN_CHARACTERS).collect()),
        (None | Some(Value::Null), Some(Value::Bool(true))) => WorkerAnswer::Done,
        _ => WorkerAnswer::Nonsense(format!(
            "its worker answered {}; it has to answer {{\"done\": true}} or {{\"error\": \"why\"}}",
            shown(line)
        )),
    }
}

/// The beginning of what may be long, in quotes.
fn shown(text: &str) -> String {
    let start: String = text.chars().take(200).collect();
    format!("{start:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a worker's pieces are understood as, together.
    fn answer(pieces: &[&str]) -> Option<WorkerAnswer> {
        let mut answers = AnswerLine::default();
        for piece in pieces {
            answers.push(piece.as_bytes());
        }
        answers.take()
    }

    #[test]
    fn an_answer_is_one_line_however_it_arrives() {
        assert_eq!(answer(&[]), None);
        assert_eq!(answer(&["{\"done\"", ": tr", "ue}"]), None, "its end is to come");
        assert_eq!(answer(&["{\"done\"", ": tr", "ue}\n"]), Some(WorkerAnswer::Done));
        assert_eq!(answer(&["{\"done\": true, \"error\": null, \"more\": [1]}\r\n"]), Some(WorkerAnswer::Done));
        let failed = WorkerAnswer::Failed("no memory".to_owned());
        assert_eq!(answer(&["{\"done\": true, \"error\": \"no memory\"}\n"]), Some(failed));
        let mut answers = AnswerLine::default();
        assert!(answers.are_none());
        answers.push(b"{\"done\": true}\n{\"done\"");
        assert_eq!(answers.take(), Some(WorkerAnswer::Done));
        assert!(!answers.are_none(), "it says more than it was asked");
    }

    #[test]
    fn what_is_no_answer_is_named_and_takes_no_memory() {
        let endless = "x".repeat(ANSWER_BYTES_MAX * 2);
        let rows = [
            ("\n", "answered \"\"; it has to answer {\"done\": true}"),
            ("Epoch 1/3\n", "answered \"Epoch 1/3\""),
            ("{\"done\": false}\n", "{\\\"done\\\": false}"),
            ("{\"done\": 1}\n", "it has to answer"),
            ("{\"error\": 3}\n", "it has to answer"),
            (&endless, "a line of more than 65536 bytes"),
        ];
        for (line, fragment) in rows {
            let Some(WorkerAnswer::Nonsense(reason)) = answer(&[line]) else { panic!("{:?}", answer(&[line])) };
            assert!(reason.contains(fragment) && reason.len() < 500, "{reason}");
        }
        let mut answers = AnswerLine::default();
        for _ in 0..100 {
            answers.push(endless.as_bytes());
        }
        assert!(answers.line.capacity() <= 2 * ANSWER_BYTES_MAX);
    }
}
