//! Whatever a program does to stay, nothing of it is left when its attempt has ended.

use std::fs;
use std::time::{Duration, Instant};

use broadsweep_leash::{Heard, How, Order};

use crate::world::{
    GONE_WITHIN, PATIENCE, assert_gone, children, eventually, group_folder, listen, listen_for, marked, new_mark,
    run, shell, ways,
};

#[test]
fn orphans_of_a_double_fork_in_a_new_session_end_with_the_main_process() {
    for way in ways() {
        let (mut slot, mark) = (way.leash.slot(), new_mark());
        let script = "(setsid sh -c 'trap \"\" TERM HUP INT; sleep 1000 & sleep 1000' &) ; (sleep 1000 &) ; exit 3";
        let (ended, _) = run(&mut slot, &shell(script, &mark));
        assert_eq!(ended.how, How::Exit(3), "{way:?}");
        assert_eq!(marked(&mark), [0; 0], "{way:?}");
    }
}

#[test]
fn a_program_that_ends_well_takes_its_background_with_it_at_once() {
    for way in ways() {
        let (mut slot, mark) = (way.leash.slot(), new_mark());
        let began = Instant::now();
        let (ended, output) = run(&mut slot, &shell("sleep 1000 & sleep 1000 & echo done", &mark));
        assert_eq!((ended.how, output.as_str()), (How::Exit(0), "done\n"), "{way:?}");
        assert!(began.elapsed() < GONE_WITHIN && marked(&mark).is_empty(), "{way:?}");
    }
}

#[test]
fn a_program_is_asked_first_and_may_leave_in_order() {
    for way in ways() {
        let (mut slot, mark) = (way.leash.slot(), new_mark());
        let script = "trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.01; done";
        let mut running = slot.start(&shell(script, &mark)).unwrap();
        listen_for(&mut running, "ready");
        running.stop(Duration::from_secs(50));
        let (ended, output) = listen(&mut running);
        assert_eq!((ended.how, output.as_str()), (How::Stopped, "bye\n"), "{way:?}");
        assert!(ended.usage.wall < Duration::from_secs(40), "{way:?}");
        assert_eq!(marked(&mark), [0; 0], "{way:?}");
    }
}

#[test]
fn a_program_that_ignores_to_be_asked_is_killed_after_its_grace() {
    for way in ways() {
        let (mut slot, mark) = (way.leash.slot(), new_mark());
        let script = "trap '' TERM; echo ready; while :; do sleep 0.01; done";
        let mut running = slot.start(&shell(script, &mark)).unwrap();
        listen_for(&mut running, "ready");
        running.stop(Duration::from_millis(200));
        assert_eq!(running.wait(Instant::now() + Duration::from_millis(50), |_| ()), None, "{way:?}");
        let (ended, _) = listen(&mut running);
        assert_eq!(ended.how, How::Stopped, "{way:?}");
        assert!((200..2_000).contains(&ended.usage.wall.as_millis()), "{way:?} {ended:?}");
        assert_eq!(running.wait(Instant::now(), |_| ()), Some(ended), "the end stays the same");
        assert_eq!(marked(&mark), [0; 0], "{way:?}");
    }
}

#[test]
fn a_program_that_closes_its_streams_and_stops_itself_is_still_held() {
    for way in ways() {
        let (mut slot, mark) = (way.leash.slot(), new_mark());
        let mut running = slot.start(&shell("exec <&- >&- 2>&-; kill -STOP $$", &mark)).unwrap();
        assert_eq!(running.wait(Instant::now() + Duration::from_millis(100), |_| ()), None, "{way:?}");
        running.stop(Duration::from_millis(50));
        assert_eq!(listen(&mut running).0.how, How::Stopped, "{way:?}");
        assert_eq!(marked(&mark), [0; 0], "{way:?}");
    }
}

#[test]
fn a_program_that_forks_without_end_is_killed() {
    for way in ways() {
        let (mut slot, mark) = (way.leash.slot(), new_mark());
        // Each one leaves two behind, up to a few hundred; none waits for any.
        let script =
            "f() { [ $1 -gt 7 ] && exec sleep 1000; f $(($1 + 1)) & f $(($1 + 1)) & }; f 0; echo forked; sleep 1000";
        let mut running = slot.start(&shell(script, &mark)).unwrap();
        listen_for(&mut running, "forked");
        running.stop(Duration::ZERO);
        assert_eq!(listen(&mut running).0.how, How::Stopped, "{way:?}");
        assert_eq!(marked(&mark), [0; 0], "{way:?}");
    }
}

/// Only in a namespace: elsewhere it would hit the tests themselves.
#[test]
fn killing_everything_reaches_only_what_is_in_the_namespace() {
    for way in ways().iter().filter(|way| way.has_namespaces()) {
        let (mut slot, mark) = (way.leash.slot(), new_mark());
        let script = "sleep 1000 & [ $$ -lt 10 ] || exit 7; kill -9 -1; kill -9 1; kill -TERM 1; echo here";
        let (ended, output) = run(&mut slot, &shell(script, &mark));
        let first = slot.supervisor();
        // `kill -1` spares the one that calls it; then SIGTERM, sent to the first process, comes back to the program.
        assert!(matches!(ended.how, How::Signal(15) | How::Exit(0)), "{way:?} {ended:?} {output}");
        assert_eq!(marked(&mark), [0; 0], "{way:?}");
        assert!(run(&mut slot, &shell("exit 0", &mark)).0.how.is_success(), "{way:?}");
        assert_eq!(slot.supervisor(), first, "the supervisor was not hit");
    }
}

#[test]
fn a_gigabyte_of_output_goes_by_in_bounded_memory_and_holds_nobody_up() {
    let way = &ways()[0];
    let (mut slot, mark) = (way.leash.slot(), new_mark());
    let script = "head -c 500000000 /dev/zero >&2 & head -c 500000000 /dev/zero; wait; echo the end";
    let mut running = slot.start(&shell(script, &mark)).unwrap();
    let (mut bytes, mut last) = (0, 0);
    let ended = running.wait(Instant::now() + PATIENCE, |heard| {
        if let Heard::Output(piece) = heard {
            bytes += piece.len();
            last = piece.last().copied().unwrap_or(last);
        }
    });
    assert_eq!(ended.map(|ended| ended.how), Some(How::Exit(0)));
    assert_eq!((bytes, last), (1_000_000_008, b'\n'));
}

#[test]
fn what_a_program_printed_last_is_heard_after_its_end() {
    for way in ways() {
        let (mut slot, mark, folder) = (way.leash.slot(), new_mark(), tempfile::tempdir().unwrap());
        let script = "head -c 50000 /dev/zero | tr '\\0' x; echo; echo last; : > done";
        let order = Order { folder: folder.path().to_owned(), ..shell(script, &mark) };
        let mut running = slot.start(&order).unwrap();
        // It ends while nobody listens.
        eventually("it ends", GONE_WITHIN * 5, || folder.path().join("done").exists() && marked(&mark).is_empty());
        assert!(listen(&mut running).1.ends_with("xxx\nlast\n"), "{way:?}");
    }
}

#[test]
fn a_program_that_is_dropped_is_killed() {
    for way in ways() {
        let (mut slot, mark) = (way.leash.slot(), new_mark());
        let mut running = slot.start(&shell("sleep 1000 & echo ready; sleep 1000", &mark)).unwrap();
        listen_for(&mut running, "ready");
        drop(running);
        assert_eq!(marked(&mark), [0; 0], "{way:?}");
        drop(slot);
        assert_gone(&mark);
    }
}

#[test]
fn two_hundred_attempts_leave_no_process_no_group_no_descriptor_and_no_mount() {
    let held = |pid: &str| {
        let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap().lines().count();
        (fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count(), mounts)
    };
    for way in ways() {
        let (mut slot, mark) = (way.leash.slot(), new_mark());
        run(&mut slot, &shell("exit 0", &mark));
        let supervisor = slot.supervisor().unwrap().to_string();
        let before = held(&supervisor);
        for number in 0..50 {
            let code = number % 5;
            let (ended, _) = run(&mut slot, &shell(&format!("(sleep 1000 &); exit {code}"), &mark));
            assert_eq!(ended.how, How::Exit(code), "{way:?}");
        }
        assert_eq!(held(&supervisor), before, "{way:?}");
        assert_eq!(slot.supervisor().unwrap().to_string(), supervisor, "one supervisor for all");
        assert_eq!(marked(&mark), [0; 0], "{way:?}");
        let group = group_folder(way, &slot);
        assert!(group.is_none_or(|folder| !folder.exists()), "{way:?}");
        let supervisor = slot.supervisor().unwrap();
        drop(slot);
        assert!(!children().contains(&supervisor), "{way:?}");
    }
}
