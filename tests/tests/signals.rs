//! What terminals, batch systems and the system itself send to a process that is to end, and what a limit on the size
//! of files does to a run.

use broadsweep_tests::chaos::{small, waiting};
use broadsweep_tests::lab::Lab;
use rustix::process::Signal;

const PROGRAM: &str = env!("CARGO_BIN_EXE_broadsweep-under-test");
/// Beside Ctrl-C and SIGTERM: a terminal is closed, Slurm warns, the time of the processor is over.
const NOTICES: [Signal; 3] = [Signal::HUP, Signal::USR1, Signal::XCPU];

#[test]
fn a_notice_stops_a_run_in_order_however_often_it_comes() {
    for notice in NOTICES {
        let lab = Lab::new(PROGRAM);
        let driver = lab.tune(&small(&lab, &[("epochs = 6", "epochs = 1000")]), "out", &["--local", "2x1"]);
        driver.until_lines("epoch done", 3);
        driver.signal(notice);
        let _ = driver.line_with("under way, so that nothing is lost");
        driver.signal(notice);
        let ended = driver.wait();
        assert_eq!(ended.code, Some(130), "{notice:?}: {}", ended.stderr);
        assert!(ended.stderr.contains("to go on: broadsweep resume "), "{notice:?}: {}", ended.stderr);
        assert!(!ended.stderr.contains("ended at once"), "{notice:?}: {}", ended.stderr);
    }
}

#[test]
fn a_notice_makes_an_executor_leave() {
    for notice in NOTICES {
        let lab = Lab::new(PROGRAM);
        let executor = lab.executor("cache", 1);
        executor.process.signal(notice);
        let ended = executor.process.wait();
        assert_eq!(ended.code, Some(0), "{notice:?}: {}", ended.stderr);
        assert!(ended.stderr.contains("leaving"), "{notice:?}: {}", ended.stderr);
    }
}

#[test]
fn a_hangup_that_was_ignored_from_the_start_stays_ignored() {
    let lab = Lab::new(PROGRAM);
    let executor = lab.executor_from_shell("trap '' HUP", "cache", 1);
    executor.process.signal(Signal::HUP);
    let outcome = lab.tuned(&waiting(&lab, 2, 1, 0.1, 0), "out", &["--nodes", &executor.address]);
    assert_eq!(outcome.number("/trials/finished"), 2);
    executor.process.signal(Signal::TERM);
    assert_eq!(executor.process.wait().code, Some(0));
}

#[test]
fn a_run_that_may_write_no_large_file_has_its_table_and_says_what_is_missing() {
    let lab = Lab::new(PROGRAM);
    let study = waiting(&lab, 4, 1, 0.0, 0);
    let ended = lab.tune_from_shell("ulimit -f 100", &study, "out", &["--local", "1"]).wait();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stdout.contains("4 trials: 4 finished"), "{}", ended.stdout);
    for part in ["there is no report", "File too large", "raise the limit of file sizes (ulimit -f)"] {
        assert!(ended.stderr.contains(part), "{part}: {}", ended.stderr);
    }
}

#[test]
fn a_run_whose_journal_may_not_grow_says_so_and_how_to_go_on() {
    let lab = Lab::new(PROGRAM);
    let study = waiting(&lab, 40, 50, 0.0, 0);
    let ended = lab.tune_from_shell("ulimit -f 40", &study, "out", &["--local", "1"]).wait();
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    for part in ["File too large", "raise the limit of file sizes (ulimit -f)", "to go on: broadsweep resume "] {
        assert!(ended.stderr.contains(part), "{part}: {}", ended.stderr);
    }
    let resumed = lab.resume("out", &[]).wait();
    assert_eq!(resumed.code, Some(0), "{}", resumed.stderr);
}

#[test]
fn an_executor_that_may_write_no_file_of_the_datas_size_says_so() {
    let lab = Lab::new(PROGRAM);
    let executor = lab.executor_from_shell("ulimit -f 100", "cache", 1);
    let ended = lab.tune(&lab.short(), "out", &["--nodes", &executor.address]).wait();
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    for part in ["cannot take the data", "File too large", "raise the limit of file sizes (ulimit -f)"] {
        assert!(ended.stderr.contains(part), "{part}: {}", ended.stderr);
    }
}
