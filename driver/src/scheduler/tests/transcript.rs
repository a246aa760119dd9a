//! The language of the transcripts: a line is a time in ms, an event, and what the scheduler answers.
//!
//! ```text
//! 0 add t0 10             =>
//! 0 ready e0 1            => launch t0.1 e0
//! 5 failed e0 t0.1        => wake 105
//! 105 deadline            => launch t0.2 e0
//! 110 completed e0 t0.2   => finish t0 completed 2
//! ```
//!
//! `wake` is the next deadline, where there is one; `done` stands last once the scheduler is. The policy of all
//! transcripts: three failures, two losses, a backoff of 100 ms.

use std::time::Duration;

use broadsweep_common::ids::{AttemptId, ExecutorId, TaskId};

use crate::scheduler::{Command, Cost, Event, GivenUp, Outcome, RetryConfig, Scheduler, Time, Verdict};

/// Plays the events and compares every answer.
pub(super) fn check(transcript: &str) {
    let policy = RetryConfig { failures_max: 3, losses_max: 2, backoff_ms: 100 }.validate().unwrap();
    let mut scheduler = Scheduler::new(policy);
    for line in transcript.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (input, expected) = line.split_once("=>").unwrap_or_else(|| panic!("no `=>` in `{line}`"));
        assert_eq!(answer(&mut scheduler, input.trim()), expected.trim(), "after `{}`", input.trim());
    }
}

fn answer(scheduler: &mut Scheduler, input: &str) -> String {
    let (time_ms, event) = input.split_once(' ').unwrap();
    let now = Time::since_start(Duration::from_millis(time_ms.parse().unwrap()));
    let before = scheduler.clone();
    let mut said = match scheduler.handle(now, parse(event)) {
        Ok(commands) => commands.iter().map(shown).collect(),
        Err(rejected) => {
            assert_eq!(*scheduler, before, "a rejected event changed the state");
            vec![format!("rejected: {rejected}")]
        }
    };
    said.extend(scheduler.next_deadline().map(|deadline| format!("wake {}", deadline.0 / 1000)));
    said.extend(scheduler.is_done().then(|| "done".to_owned()));
    said.join(", ")
}

fn parse(event: &str) -> Event {
    let words: Vec<&str> = event.split_whitespace().collect();
    match words[..] {
        ["add", task, cost] => Event::TaskAdded { task: task_id(task), cost: Cost(cost.parse().unwrap()) },
        ["end"] => Event::AddingEnded,
        ["ready", executor, slots] => {
            Event::ExecutorReady { executor: executor_id(executor), slots: slots.parse().unwrap() }
        }
        ["lost", executor] => Event::ExecutorLost(executor_id(executor)),
        ["completed", executor, attempt] => ended(executor, attempt, Outcome::Completed),
        ["failed", executor, attempt] => ended(executor, attempt, Outcome::Failed),
        ["deadline"] => Event::Deadline,
        _ => panic!("no such event: `{event}`"),
    }
}

fn ended(executor: &str, attempt: &str, outcome: Outcome) -> Event {
    let (task, number) = attempt.split_once('.').unwrap();
    let attempt = AttemptId { task: task_id(task), number: number.parse().unwrap() };
    Event::AttemptEnded { executor: executor_id(executor), attempt, outcome }
}

fn task_id(word: &str) -> TaskId {
    TaskId(word.strip_prefix('t').unwrap().parse().unwrap())
}

fn executor_id(word: &str) -> ExecutorId {
    ExecutorId(word.strip_prefix('e').unwrap().parse().unwrap())
}

fn shown(command: &Command) -> String {
    match command {
        Command::Launch(executor, attempt) => format!("launch {attempt} e{}", executor.0),
        Command::Finish(task, Verdict::Completed { attempts }) => format!("finish {task} completed {attempts}"),
        Command::Finish(task, Verdict::GivenUp { reason, attempts }) => {
            let why = match reason {
                GivenUp::FailedTooOften { failures } => format!("failed {failures}"),
                GivenUp::LostTooOften { losses } => format!("lost {losses}"),
            };
            format!("finish {task} {why} of {attempts}")
        }
    }
}
