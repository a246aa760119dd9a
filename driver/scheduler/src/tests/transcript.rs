//! The language of the transcripts: a line is a time in ms, an event, and what the scheduler answers.
//!
//! ```text
//! policy copies=false
//! 0 add t0 10             =>
//! 0 ready e0 1            => launch t0.1 e0
//! 5 failed e0 t0.1        => wake 105
//! 105 deadline            => launch t0.2 e0
//! 110 completed e0 t0.2   => finish t0 completed 2
//! ```
//!
//! A task goes by its cost, unless it says `moment` or `longest`; it has one epoch behind the one that it begins `from`,
//! which is 0, or `epochs` of them. `wake` is the next deadline, if it comes within the hour; `idle` and `done` stand last where tasks are over and
//! none is live, and once the scheduler is done. The policy of all transcripts, unless they say otherwise: three
//! failures, two losses, a backoff of 100 ms, no copies; nothing hangs before a day has passed.

use std::time::Duration;

use broadsweep_common::ids::{AttemptId, ExecutorId, TaskId};

use crate::{
    CancelReason, Command, Cost, Event, Forecast, GivenUp, History, Moment, Outcome, Priority, Scheduler,
    SchedulingConfig, Verdict,
};

const SHOWN_MS: u64 = 3_600_000;

const POLICY: SchedulingConfig = SchedulingConfig {
    failures_max: 3,
    losses_max: 2,
    backoff_ms: 100,
    exclude_after: 3,
    probe_ms: 1000,
    reconnect_ms: 1000,
    hang_factor: 10.0,
    hang_ms_min: 86_400_000,
    copies: false,
};

/// Plays the events and compares every answer.
pub(super) fn check(transcript: &str) {
    let mut lines = transcript.lines().map(str::trim).filter(|line| !line.is_empty()).peekable();
    let mut config = POLICY;
    if let Some(line) = lines.next_if(|line| line.starts_with("policy")) {
        line.split_whitespace().skip(1).for_each(|word| set(&mut config, word));
    }
    let mut scheduler = Scheduler::new(config.validate().unwrap());
    for line in lines {
        let (input, expected) = line.split_once("=>").unwrap_or_else(|| panic!("no `=>` in `{line}`"));
        assert_eq!(answer(&mut scheduler, input.trim()), expected.trim(), "after `{}`", input.trim());
    }
}

fn set(config: &mut SchedulingConfig, word: &str) {
    let (name, value) = word.split_once('=').unwrap();
    match name {
        "failures_max" => config.failures_max = value.parse().unwrap(),
        "losses_max" => config.losses_max = value.parse().unwrap(),
        "exclude_after" => config.exclude_after = value.parse().unwrap(),
        "reconnect_ms" => config.reconnect_ms = value.parse().unwrap(),
        "hang_factor" => config.hang_factor = value.parse().unwrap(),
        "hang_ms_min" => config.hang_ms_min = value.parse().unwrap(),
        "copies" => config.copies = value.parse().unwrap(),
        _ => panic!("no such policy: `{word}`"),
    }
}

fn answer(scheduler: &mut Scheduler, input: &str) -> String {
    let (time_ms, event) = input.split_once(' ').unwrap();
    let now = ms(time_ms);
    let before = scheduler.clone();
    let mut commands = Vec::new();
    let mut said: Vec<String> = match scheduler.handle(now, parse(event), &mut commands) {
        Ok(()) => commands.iter().map(shown).collect(),
        Err(rejected) => {
            assert_eq!(*scheduler, before, "a rejected event changed the state");
            assert_eq!(commands, [], "a rejected event has commands");
            vec![format!("rejected: {rejected}")]
        }
    };
    let wake_ms = scheduler.next_deadline().map(|deadline| deadline.0 / 1000);
    said.extend(wake_ms.filter(|&wake_ms| wake_ms < SHOWN_MS).map(|wake_ms| format!("wake {wake_ms}")));
    said.extend((scheduler.counts().finished > 0 && scheduler.is_idle()).then(|| "idle".to_owned()));
    said.extend(scheduler.is_done().then(|| "done".to_owned()));
    said.join(", ")
}

fn parse(event: &str) -> Event {
    let words: Vec<&str> = event.split_whitespace().collect();
    match words[..] {
        ["add", task, cost, ref rest @ ..] => added(task, cost, rest),
        ["end"] => Event::AddingEnded,
        ["ready", executor, slots, ref rest @ ..] => {
            let held = rest.iter().filter(|word| **word != "restarted").map(|word| attempt_id(word)).collect();
            let restarted = rest.contains(&"restarted");
            Event::ExecutorReady { executor: executor_id(executor), slots: slots.parse().unwrap(), held, restarted }
        }
        ["draining", executor] => Event::ExecutorDraining(executor_id(executor)),
        ["away", executor] => Event::ExecutorAway(executor_id(executor)),
        ["lost", executor] => Event::ExecutorLost(executor_id(executor)),
        ["epoch", executor, attempt, epoch] => Event::EpochEnded {
            executor: executor_id(executor),
            attempt: attempt_id(attempt),
            epoch: epoch.parse().unwrap(),
        },
        ["checkpoint", task, epoch] => Event::Checkpointed { task: task_id(task), epoch: epoch.parse().unwrap() },
        ["ending", executor, attempt] => {
            Event::AttemptEnding { executor: executor_id(executor), attempt: attempt_id(attempt) }
        }
        ["drop", ref tasks @ ..] => Event::TasksDropped(tasks.iter().map(|task| task_id(task)).collect()),
        ["awaited"] => Event::Awaited(None),
        ["awaited", task] => Event::Awaited(Some(task_id(task))),
        ["stood-still"] => Event::StoodStill,
        ["completed", executor, attempt] => ended(executor, attempt, Outcome::Completed),
        ["failed", executor, attempt] => ended(executor, attempt, Outcome::Failed),
        ["doubted", executor, attempt] => ended(executor, attempt, Outcome::Doubted),
        ["refused", executor, attempt] => ended(executor, attempt, Outcome::Refused),
        ["stopped", executor, attempt] => ended(executor, attempt, Outcome::Stopped),
        ["placing-ended"] => Event::PlacingEnded,
        ["deadline"] => Event::Deadline,
        _ => panic!("no such event: `{event}`"),
    }
}

fn added(task: &str, cost: &str, rest: &[&str]) -> Event {
    let cost = Cost(cost.parse().unwrap());
    let (mut from_epoch, mut epochs) = (0, 1);
    let mut priority = Priority::longest_first(cost);
    let mut history = History::default();
    for word in rest {
        let (name, value) = word.split_once('=').unwrap();
        match name {
            "epochs" => epochs = value.parse().unwrap(),
            "from" => from_epoch = value.parse().unwrap(),
            "moment" => priority = Priority::in_order(value.parse().unwrap()),
            "longest" => priority = Priority::longest_first(Cost(value.parse().unwrap())),
            "attempts" => history.attempts = value.parse().unwrap(),
            "lost_on" => history.lost_on = value.split('+').map(executor_id).collect(),
            "refused_on" => history.refused_on = value.split('+').map(executor_id).collect(),
            "doubted_on" => history.doubted_on = value.split('+').map(executor_id).collect(),
            "parties" => history.parties = value.split('+').map(executor_id).collect(),
            "failed_on" => history.failed_on = value.split('+').map(executor_id).collect(),
            "checkpoint" => history.checkpoint = value.parse().unwrap(),
            "held_until" => history.held_until = Some(ms(value)),
            _ => panic!("no such history: `{word}`"),
        }
    }
    let forecast = Forecast { cost, from_epoch, until_epoch: from_epoch + epochs };
    Event::TaskAdded { task: task_id(task), priority, forecast, history }
}

fn ended(executor: &str, attempt: &str, outcome: Outcome) -> Event {
    Event::AttemptEnded { executor: executor_id(executor), attempt: attempt_id(attempt), outcome }
}

fn attempt_id(word: &str) -> AttemptId {
    let (task, number) = word.split_once('.').unwrap();
    AttemptId { task: task_id(task), number: number.parse().unwrap() }
}

fn task_id(word: &str) -> TaskId {
    TaskId(word.strip_prefix('t').unwrap().parse().unwrap())
}

fn executor_id(word: &str) -> ExecutorId {
    ExecutorId(word.strip_prefix('e').unwrap().parse().unwrap())
}

fn ms(word: &str) -> Moment {
    Moment::since_start(Duration::from_millis(word.parse().unwrap()))
}

fn shown(command: &Command) -> String {
    match command {
        Command::Launch(executor, attempt) => format!("launch {attempt} e{}", executor.0),
        Command::Cancel(executor, attempt, reason) => {
            let why = match reason {
                CancelReason::Beaten => "beaten".to_owned(),
                CancelReason::Unwanted => "unwanted".to_owned(),
                CancelReason::Hung { silent } => format!("hung {}", silent.as_millis()),
            };
            format!("cancel {attempt} e{} {why}", executor.0)
        }
        Command::Adopt(executor, attempt) => format!("adopt {attempt} e{}", executor.0),
        Command::Lost { executor, attempt, arrived } => {
            format!("{} {attempt} e{}", if *arrived { "lost" } else { "unsent" }, executor.0)
        }
        Command::Exclude { executor, until, failures } => {
            format!("exclude e{} until {} after {failures}", executor.0, until.0 / 1000)
        }
        Command::Reinstate(executor) => format!("reinstate e{}", executor.0),
        Command::Finish(task, Verdict::Completed { attempts }) => format!("finish {task} completed {attempts}"),
        Command::Finish(task, Verdict::Dropped) => format!("drop {task}"),
        Command::Finish(task, Verdict::GivenUp { reason, attempts }) => {
            let why = match reason {
                GivenUp::FailedTooOften { failures } => format!("failed {failures}"),
                GivenUp::LostTooOften { losses } => format!("lost {losses}"),
                GivenUp::FitsNowhere => "fits nowhere".to_owned(),
            };
            format!("finish {task} {why} of {attempts}")
        }
    }
}
