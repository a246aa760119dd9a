//! A program gets what it was given, as it was, and nothing else.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use broadsweep_leash::{Heard, How, Order, Tree};

use crate::world::{STAND_IN, Way, listen_for, new_mark, order, os, run, shell, ways};

#[test]
fn arguments_variables_and_folder_arrive_as_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let folder = fs::canonicalize(folder.path()).unwrap().join("a folder with ünicode and 'quotes'");
    fs::create_dir(&folder).unwrap();
    let odd: Vec<OsString> = [
        &b"two words"[..],
        b"\"double\" and 'single'",
        b"line\nbreak\ttab",
        b"${HOME} $(id) `id` %s %PATH% \\ * ?",
        "gr\u{fc}n \u{6f22}".as_bytes(),
        b"not utf-8: \xff\xfe",
        b"",
        b"--",
    ]
    .into_iter()
    .map(|bytes| os(bytes).to_owned())
    .collect();
    for way in ways() {
        let named = |(number, value): (usize, &OsString)| (OsString::from(format!("A{number} b")), value.clone());
        let environment: Vec<_> = odd.iter().enumerate().map(named).collect();
        let arguments = std::iter::once("echo".into()).chain(odd.clone()).collect();
        let order =
            Order { program: STAND_IN.into(), arguments, environment, folder: folder.clone(), ..Order::default() };
        let mut slot = way.leash.slot();
        let mut running = slot.start(&order).unwrap();
        let mut output = Vec::new();
        let ended = running.wait(Instant::now() + Duration::from_secs(20), |heard| {
            if let Heard::Output(bytes) = heard {
                output.extend_from_slice(bytes);
            }
        });
        assert_eq!(ended.unwrap().how, How::Exit(0), "{way:?}");
        let mut parts: Vec<&[u8]> = output.strip_suffix(b"\0").unwrap().split(|byte| *byte == 0).collect();
        // Where there are no namespaces, the processes bear a mark.
        parts.retain(|part| !part.starts_with(b"BROADSWEEP_LEASH="));
        let mut expected: Vec<Vec<u8>> = odd.iter().map(|value| value.as_encoded_bytes().to_vec()).collect();
        let variable = |(number, value): (usize, &OsString)| {
            [format!("A{number} b=").as_bytes(), value.as_encoded_bytes()].concat()
        };
        expected.extend(odd.iter().enumerate().map(variable));
        expected.push(folder.as_os_str().as_encoded_bytes().to_vec());
        expected.push(Vec::new()); // standard input
        assert_eq!(parts, expected, "{way:?}");
    }
}

#[test]
fn no_descriptor_is_inherited_but_the_three_and_a_workers_two() {
    // As if a shell had left it open in the executor.
    let _inherited = rustix::io::dup(std::io::stderr()).unwrap();
    for way in ways() {
        let mut slot = way.leash.slot();
        let mut order = order(STAND_IN, &["descriptors"], &new_mark());
        assert_eq!(run(&mut slot, &order).1, "[0, 1, 2]\n", "{way:?}");
        order.has_worker_pipes = true;
        assert_eq!(run(&mut slot, &order).1, "[0, 1, 2, 3, 4]\n", "{way:?}");
    }
}

#[test]
fn a_worker_answers_what_it_is_sent() {
    for way in ways() {
        let mut slot = way.leash.slot();
        let order = Order { has_worker_pipes: true, ..order(STAND_IN, &["answer"], &new_mark()) };
        let mut running = slot.start(&order).unwrap();
        let mut answers = String::new();
        for line in ["one\n", "two\n"] {
            running.send(line.as_bytes()).unwrap();
            let deadline = Instant::now() + Duration::from_secs(20);
            while !answers.ends_with(line) && Instant::now() < deadline {
                let ended = running.wait(Instant::now() + Duration::from_millis(1), |heard| {
                    if let Heard::Answer(bytes) = heard {
                        answers.push_str(&String::from_utf8_lossy(bytes));
                    }
                });
                assert_eq!(ended, None, "{way:?}");
            }
        }
        assert_eq!(answers, "answer to one\nanswer to two\n", "{way:?}");
        running.stop(Duration::from_secs(20));
        let ended = running.wait(Instant::now() + Duration::from_secs(20), |_| ());
        assert_eq!(ended.unwrap().how, How::Stopped, "{way:?}");
    }
}

#[test]
fn a_program_that_is_no_worker_or_does_not_read_is_not_sent_more_than_a_bound() {
    let mut slot = ways()[0].leash.slot();
    let mut order = order("sleep", &["1000"], &new_mark());
    let mut running = slot.start(&order).unwrap();
    assert_eq!(running.send(b"x").unwrap_err().kind(), std::io::ErrorKind::BrokenPipe);
    drop(running);
    order.has_worker_pipes = true;
    let mut running = slot.start(&order).unwrap();
    let piece = vec![b'x'; 1 << 19];
    let refused = (0..10).find_map(|_| running.send(&piece).err());
    assert_eq!(refused.unwrap().kind(), std::io::ErrorKind::WouldBlock);
}

#[test]
fn a_worker_that_closes_its_pipes_is_told_no_more_and_what_it_holds_is_known() {
    for way in ways() {
        let mut slot = way.leash.slot();
        let script = "x=$(head -c 9000000 /dev/zero | tr '\\0' x); exec 3<&- 4>&-; echo ready; sleep 1000";
        let order = Order { has_worker_pipes: true, ..shell(script, &new_mark()) };
        let mut running = slot.start(&order).unwrap();
        assert!(running.may_answer());
        listen_for(&mut running, "ready");
        assert_eq!(running.send(b"x\n").unwrap_err().kind(), std::io::ErrorKind::BrokenPipe, "{way:?}");
        running.wait(Instant::now(), |_| ());
        assert!(!running.may_answer(), "{way:?}");
        let held = running.memory_bytes();
        assert!((9_000_000..60_000_000).contains(&held), "{way:?}: {held} bytes");
    }
}

#[test]
fn a_program_that_cannot_be_started_is_named_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str, mode: u32| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let plain = file("plain", "text", 0o644);
    let dangling = file("dangling", "#!/nowhere/python\n", 0o755);
    let text = file("text", "echo no shell is asked\n", 0o755);
    let rows = [
        ("no-such-program", "no-such-program: No such file or directory (os error 2) (looked in PATH=/usr/bin:/bin)"),
        ("/nowhere/x", "/nowhere/x: No such file or directory (os error 2)"),
        (plain.as_str(), "Permission denied"),
        (dangling.as_str(), "the interpreter or loader that it names does not exist"),
        (text.as_str(), "neither a program nor a script that begins with #!"),
        ("", "no program is named"),
        ("a\0b", "has a zero byte"),
    ];
    for way in ways() {
        let mut slot = way.leash.slot();
        for (program, reason) in rows {
            let (ended, output) = run(&mut slot, &order(program, &[], &new_mark()));
            let How::CouldNotStart(why) = &ended.how else { panic!("{program}: {ended:?} {way:?}") };
            assert!(why.contains(reason) && why.contains(program.trim_end_matches("\0b")), "{program}: {why}");
            assert_eq!(output, "");
        }
        let nowhere = Order { folder: "/nowhere".into(), ..shell("exit 0", &new_mark()) };
        let (ended, _) = run(&mut slot, &nowhere);
        assert!(matches!(&ended.how, How::CouldNotStart(why) if why.contains("/nowhere: No such")), "{ended:?}");
    }
}

#[test]
fn ends_are_told_as_they_were() {
    let rows = [
        ("exit 0", How::Exit(0)),
        ("exit 77", How::Exit(77)),
        ("kill -SEGV $$", How::Signal(11)),
        ("kill -TERM $$", How::Signal(15)),
        ("kill -PIPE $$; exit 1", How::Signal(13)),
    ];
    for way in ways() {
        let mut slot = way.leash.slot();
        for (script, how) in &rows {
            assert_eq!(run(&mut slot, &shell(script, &new_mark())).0.how, *how, "{script} {way:?}");
        }
        let (ended, _) = run(&mut slot, &shell("i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done", &new_mark()));
        assert!(ended.usage.cpu > Duration::from_millis(5) && ended.usage.cpu <= ended.usage.wall, "{ended:?}");
    }
}

#[test]
fn proc_shows_the_programs_own_numbers() {
    let has_proc = |way: &&Way| !matches!(way.isolation.tree, Tree::Namespace { has_proc: false, .. });
    for way in ways().iter().filter(has_proc) {
        let (ended, output) = run(&mut way.leash.slot(), &shell("cat /proc/$$/comm", &new_mark()));
        assert_eq!((ended.how, output.as_str()), (How::Exit(0), "sh\n"), "{way:?}");
    }
}
