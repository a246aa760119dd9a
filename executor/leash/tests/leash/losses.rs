//! Whoever is killed, nothing of an attempt stays, and the slot works again.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use broadsweep_leash::{Allowed, How, Leash, LeashError};
use rustix::process::{Pid, Signal, kill_process};

use crate::world::{
    STAND_IN, Way, assert_gone, eventually, group_folder, listen, listen_for, marked, new_mark, run, shell, ways,
};

/// Orphans in sessions of their own, which ignore what can be ignored.
const HOSTILE: &str = "(setsid sh -c 'trap \"\" TERM HUP; sleep 1000 & sleep 1000' &); echo ready; sleep 1000";

fn send(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(pid as i32).unwrap(), signal).unwrap();
}

fn executor(way: &Way, mark: &str) -> Child {
    let Allowed { namespaces, groups } = way.allowed;
    Command::new(STAND_IN)
        .args(["executor", &namespaces.to_string(), &groups.to_string(), mark, HOSTILE])
        .stdin(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn nothing_runs_two_seconds_after_the_executor_was_killed() {
    for way in ways() {
        let mark = new_mark();
        let mut executor = executor(way, &mark);
        eventually("all of it runs", Duration::from_secs(20), || marked(&mark).len() >= 5);
        executor.kill().unwrap();
        executor.wait().unwrap();
        assert_gone(&mark);
    }
}

#[test]
fn a_killed_supervisor_takes_its_program_along_and_the_slot_gets_another_one() {
    for way in ways() {
        let (mut slot, mark) = (way.leash.slot(), new_mark());
        let mut running = slot.start(&shell(HOSTILE, &mark)).unwrap();
        listen_for(&mut running, "ready");
        let first = running.supervisor().unwrap();
        send(first, Signal::KILL);
        let (ended, _) = listen(&mut running);
        assert_eq!(ended.how, How::Lost("its supervisor died".to_owned()), "{way:?}");
        assert_gone(&mark);
        drop(running);
        assert!(run(&mut slot, &shell("exit 0", &mark)).0.how.is_success(), "{way:?}");
        assert_ne!(slot.supervisor(), Some(first));
        // And one that was killed while nothing ran.
        send(slot.supervisor().unwrap(), Signal::KILL);
        let (ended, _) = run(&mut slot, &shell("exit 0", &mark));
        assert!(matches!(ended.how, How::Exit(0) | How::Lost(_)), "{way:?} {ended:?}");
        let group = group_folder(way, &slot);
        assert!(group.is_none_or(|folder| !folder.exists()), "{way:?}");
    }
}

#[test]
fn executor_and_supervisor_killed_together_leave_nothing_in_a_namespace() {
    for way in ways().iter().filter(|way| way.has_namespaces()) {
        let mark = new_mark();
        let mut executor = executor(way, &mark);
        eventually("all of it runs", Duration::from_secs(20), || marked(&mark).len() >= 5);
        let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", executor.id())).unwrap();
        let supervisors: Vec<u32> = children.split_whitespace().map(|pid| pid.parse().unwrap()).collect();
        assert_eq!(supervisors.len(), 1);
        send(executor.id(), Signal::STOP);
        send(supervisors[0], Signal::KILL);
        executor.kill().unwrap();
        executor.wait().unwrap();
        assert_gone(&mark);
    }
}

#[test]
fn a_supervisor_that_hangs_holds_nobody_up() {
    let way = &ways()[0];
    let (mut slot, mark) = (way.leash.slot(), new_mark());
    let mut running = slot.start(&shell(HOSTILE, &mark)).unwrap();
    listen_for(&mut running, "ready");
    send(running.supervisor().unwrap(), Signal::STOP);
    let began = Instant::now();
    assert_eq!(running.wait(began + Duration::from_millis(50), |_| ()), None);
    assert!(began.elapsed() < Duration::from_secs(5));
    send(running.supervisor().unwrap(), Signal::CONT);
    running.stop(Duration::ZERO);
    assert_eq!(listen(&mut running).0.how, How::Stopped);
}

#[test]
fn a_signal_to_the_executors_group_is_not_the_supervisors() {
    for way in ways() {
        let (mut slot, mark) = (way.leash.slot(), new_mark());
        let mut running = slot.start(&shell("echo ready; sleep 0.1; exit 6", &mark)).unwrap();
        listen_for(&mut running, "ready");
        for signal in [Signal::INT, Signal::HUP, Signal::TERM] {
            send(running.supervisor().unwrap(), signal);
        }
        assert_eq!(listen(&mut running).0.how, How::Exit(6), "{way:?}");
    }
}

#[test]
fn a_binary_that_is_no_supervisor_is_an_error() {
    for path in ["/bin/true", "/nowhere/supervisor"] {
        let started = Leash::with_supervisor(path, Allowed::default()).slot().start(&shell("exit 0", "")).map(drop);
        assert!(matches!(started, Err(LeashError::Supervisor(_))), "{path}");
    }
}
