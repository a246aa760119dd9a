//! What follows from each event of a link.

use broadsweep_common::attempt::{Durations, Report};
use broadsweep_common::ids::TaskId;

use super::*;
use crate::cluster::Member;
use crate::run::bench::{Bench, CONNECT_TIMEOUT, attempt, failed, session_end, stopped, unreachable};

/// It was never launched, so that what is told of it is taken in at once: its acknowledgement shows when.
const NOBODYS: AttemptId = AttemptId { task: TaskId(7), number: 7 };

fn held() -> LinkEvent {
    LinkEvent::Unreachable(LinkError::Held { address: "a".to_owned(), reason: "it is another run's".to_owned() })
}

#[tokio::test(start_paused = true)]
async fn a_driver_says_that_it_was_paused_if_a_turn_took_some_seconds() {
    let mut bench = Bench::new(1, &["a"]);
    bench.run.on_turn(STILL_MIN.saturating_sub(Duration::from_millis(1)));
    bench.turn();
    assert_eq!(bench.said(), "");
    bench.run.on_turn(STILL_MIN);
    bench.turn();
    assert!(bench.said().contains("was paused for 5"));
}

#[tokio::test(start_paused = true)]
async fn what_is_told_before_enough_nodes_are_ready_waits_for_them() {
    let mut bench = Bench::new(1, &["a", "b"]);
    bench.run.settings.nodes_min = 2;
    assert_eq!(bench.is_ready(0, 1, &[]), [""; 0], "something was placed before");
    bench.tells(0, NOBODYS, stopped());
    assert_eq!(bench.acknowledged(), [""; 0]);
    assert_eq!(bench.is_ready(1, 1, &[]), ["0: launch t0.1"]);
    assert_eq!(bench.acknowledged(), ["0: 1 []"]);
    bench.tells(0, NOBODYS, stopped());
    assert_eq!(bench.acknowledged(), ["0: 2 []"], "from then on, nothing waits");
}

#[tokio::test(start_paused = true)]
async fn an_executor_that_told_too_much_too_early_tells_all_of_it_again_in_another_session() {
    let mut bench = Bench::new(1, &["a", "b"]);
    bench.run.settings.nodes_min = 2;
    bench.is_ready(0, 1, &[]);
    let report = Report { attempt: NOBODYS, durations: Durations::default(), event: stopped() };
    bench.hear(0, LinkEvent::Reports { sequence: 1, reports: vec![report.clone(); 1 << 15] });
    assert_eq!(bench.is_ready(1, 1, &[]), ["0: launch t0.1", "0: hang up"]);
    bench.hear(0, LinkEvent::Reports { sequence: 2, reports: vec![report] });
    assert_eq!(bench.acknowledged(), [""; 0], "what follows what was dropped means nothing");
}

#[tokio::test(start_paused = true)]
async fn people_hear_once_of_a_node_that_is_missing_for_long_or_new_or_held_by_another_run() {
    let mut bench = Bench::new(1, &["a", "b", "c"]);
    bench.is_ready(0, 1, &[]);
    bench.said();
    bench.hear(1, unreachable(false));
    assert_eq!(bench.said(), "", "it may only be slow to start");
    bench.hear(1, held());
    assert!(bench.said().contains("it is another run's; going on without it"));
    bench.run.join(Member::node("new"));
    bench.hear(3, unreachable(false));
    assert!(bench.said().contains("no connection to"), "somebody waits for a new one");
    tokio::time::advance(CONNECT_TIMEOUT).await;
    bench.hear(2, unreachable(false));
    assert!(bench.said().contains("no connection to"));
    bench.hear(2, unreachable(false));
    assert_eq!(bench.said(), "");
}

#[tokio::test(start_paused = true)]
async fn what_ran_on_an_executor_is_made_again_at_once_where_its_process_is_gone() {
    let mut bench = Bench::new(1, &["a", "b"]);
    assert_eq!(bench.is_ready(0, 1, &[]), ["0: launch t0.1"]);
    bench.is_ready(1, 1, &[]);
    assert_eq!(bench.hear(0, session_end()), [""; 0]);
    assert_eq!(bench.hear(0, unreachable(false)), [""; 0], "it may still be there");
    assert_eq!(bench.hear(0, unreachable(true)), ["1: launch t0.2"]);
}

#[tokio::test(start_paused = true)]
async fn the_broadcast_took_until_each_executor_was_ready_for_the_first_time() {
    let mut bench = Bench::new(1, &["a"]);
    for (wait_s, broadcast_s) in [(3, 3), (4, 3)] {
        tokio::time::advance(Duration::from_secs(wait_s)).await;
        bench.is_ready(0, 1, &[]);
        assert_eq!(bench.run.broadcast_s as u64, broadcast_s);
        bench.hear(0, session_end());
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_there_any_more_never_arrived_or_was_lost_with_its_process() {
    for (instance, line, reason) in [
        (7, "ended before t0.1 arrived there", "a: the connection ended on its launch: cut"),
        (8, "t0.1 is lost with a", "a: cut"),
    ] {
        let mut bench = Bench::new(1, &["a"]);
        bench.is_ready(0, 7, &[]);
        bench.hear(0, session_end());
        assert_eq!(bench.is_ready(0, instance, &[]), ["0: launch t0.2"]);
        let said = bench.said();
        assert!(said.contains(line), "process {instance}: {said}");
        assert_eq!(bench.end(attempt(0, 1)), Some(AttemptEnd::Lost { reason: reason.to_owned() }));
    }
}

#[tokio::test(start_paused = true)]
async fn an_executor_may_hold_what_was_launched_there_and_has_not_ended() {
    let mut bench = Bench::new(1, &["a", "b"]);
    bench.is_ready(0, 1, &[]);
    bench.is_ready(1, 1, &[]);
    for executor in [0, 1] {
        bench.hear(executor, session_end());
        let told = bench.is_ready(executor, 1, &[attempt(0, 1)]);
        assert_eq!(told, [""; 0], "it goes on at the first, and the other one's claim counts for nothing");
    }
    assert_eq!(bench.tells(0, attempt(0, 1), failed()), ["1: launch t0.2"]);
    bench.hear(0, session_end());
    bench.said();
    assert_eq!(bench.is_ready(0, 1, &[attempt(0, 1)]), [""; 0]);
    let said = bench.said();
    assert!(!said.contains("goes on at"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn an_executor_that_leaves_may_still_bring_what_runs_there() {
    let mut bench = Bench::new(1, &["a", "b"]);
    bench.is_ready(0, 1, &[]);
    bench.is_ready(1, 1, &[]);
    for executor in [0, 1] {
        bench.hear(executor, LinkEvent::Draining);
        assert_eq!(bench.hear(executor, session_end()), [""; 0]);
    }
    let said = bench.said();
    assert!(said.contains("the connection to a ended (cut); its attempt goes on there if it can"), "{said}");
    assert!(said.contains("b has left") && !said.contains("is lost with"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn how_an_executor_stands_is_written_down() {
    let mut bench = Bench::new(1, &["a"]);
    let stands = |bench: &Bench| bench.run.chronicle.book().standing_of(ExecutorId(0));
    bench.hear(0, LinkEvent::Connected);
    assert_eq!(stands(&bench), Standing::Answering);
    bench.is_ready(0, 1, &[]);
    assert_eq!(stands(&bench), Standing::Ready { slots: 1 });
    bench.hear(0, session_end());
    assert_eq!(stands(&bench), Standing::Gone);
}

#[tokio::test(start_paused = true)]
async fn a_log_is_kept_of_attempts_that_were_launched_on_its_executor_also_after_their_end() {
    let mut bench = Bench::new(2, &["a", "b"]);
    bench.is_ready(0, 1, &[]);
    bench.is_ready(1, 1, &[]);
    let (own, others) = (attempt(0, 1), attempt(1, 1));
    assert_eq!(bench.logs(0, own, "own"), "own");
    for (executor, attempt) in [(1, own), (0, others), (0, NOBODYS)] {
        assert_eq!(bench.logs(executor, attempt, "a lie"), "", "{attempt}");
    }
    bench.tells(0, own, failed());
    assert_eq!(bench.logs(0, own, "late"), "late");
}

#[tokio::test(start_paused = true)]
async fn people_hear_where_the_program_is_before_anything_is_placed() {
    let mut bench = Bench::new(3, &["a", "b", "c"]);
    bench.programs = vec!["/venv/bin/python", "/venv/bin/python", "/usr/bin/python"];
    bench.run.settings.nodes_min = 2;
    bench.is_ready(0, 1, &[]);
    assert_eq!(bench.said(), "");
    bench.is_ready(1, 1, &[]);
    assert!(bench.said().contains("program: /venv/bin/python on 2 executors\n"));
    bench.is_ready(2, 1, &[]);
    assert!(bench.said().contains("program: /usr/bin/python on c\n"));
}

#[tokio::test(start_paused = true)]
async fn people_hear_once_who_is_sent_rows_and_why() {
    let mut bench = Bench::new(3, &["a", "b", "c"]);
    bench.lacks = Some("/data/x.csv: no such file");
    bench.run.settings.nodes_min = 2;
    bench.is_ready(0, 1, &[]);
    bench.is_ready(1, 1, &[]);
    assert!(bench.said().contains("rows are sent to 2 executors: /data/x.csv: no such file\n"));
    bench.is_ready(2, 1, &[]);
    assert!(!bench.said().contains("rows are sent"));
}
