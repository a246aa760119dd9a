//! Executors that come, go, are refused and come back, and what people hear of it.

use broadsweep_common::ids::TaskId;

use super::*;

fn executors(number: u32, deadline: Instant) -> Executors {
    let mut executors = Executors::new(deadline);
    (0..number).for_each(|number| executors.add(&format!("node{number}:1")));
    executors
}

fn ready(slots: u32) -> Ready {
    Ready {
        session: SessionId(1),
        slots,
        instance: 7,
        kernel: "portable".to_owned(),
        program: None,
        lacks: None,
        held: Vec::new(),
        draining: false,
    }
}

fn admitted(executors: &mut Executors, executor: u32, slots: u32, nodes_min: u32) -> Vec<(u32, u32)> {
    let now = executors.on_ready(ExecutorId(executor), ready(slots), nodes_min);
    now.into_iter().map(|(executor, ready)| (executor.0, ready.slots)).collect()
}

fn refusal() -> LinkError {
    LinkError::Refused { address: "node1:1".into(), reason: "held".into() }
}

#[test]
fn nothing_is_placed_until_enough_nodes_are_ready() {
    let mut executors = executors(3, Instant::now());
    assert_eq!(admitted(&mut executors, 2, 4, 2), []);
    assert_eq!(admitted(&mut executors, 0, 1, 2), [(0, 1), (2, 4)]);
    assert_eq!(admitted(&mut executors, 1, 2, 2), [(1, 2)]);
}

#[test]
fn one_that_is_ready_again_is_not_away() {
    let mut executors = executors(1, Instant::now());
    admitted(&mut executors, 0, 1, 1);
    assert!(executors.on_gone(ExecutorId(0), None));
    admitted(&mut executors, 0, 1, 1);
    assert!(!executors.give_up(ExecutorId(0)));
}

#[test]
fn too_few_nodes_are_an_error_at_the_deadline_and_at_once_when_no_more_can_come() {
    let now = Instant::now();
    let later = now + Duration::from_secs(10);
    let mut executors = executors(2, later);
    executors.on_answering(ExecutorId(0));
    assert!(executors.verdict(2, now).is_none());
    assert!(matches!(executors.verdict(2, later), Some(RunError::TooFewNodes { answered: 1, .. })));
    assert!(executors.verdict(1, later).is_none());
    executors.on_refused(ExecutorId(1), refusal());
    let error = executors.verdict(2, now).unwrap();
    assert_eq!(error.to_string(), "1 of 2 nodes can be used; at least 2 are needed\n  node1:1 refuses: held");
}

#[test]
fn people_hear_once_that_a_node_is_missing_and_that_it_has_come() {
    let mut executors = executors(2, Instant::now());
    assert!(!executors.should_tell_there(ExecutorId(0)), "it was there from the first");
    assert_eq!([(); 2].map(|()| executors.should_tell_missing(ExecutorId(1), false)), [true, false]);
    assert_eq!([(); 2].map(|()| executors.should_tell_missing(ExecutorId(1), true)), [true, false], "and who has it");
    assert_eq!([(); 2].map(|()| executors.should_tell_there(ExecutorId(1))), [true, false]);
    admitted(&mut executors, 0, 1, 1);
    executors.tell_session_ended(ExecutorId(0), "broken".into());
    assert!(!executors.should_tell_missing(ExecutorId(0), false), "the end of its session was told");
    assert!(executors.should_tell_there(ExecutorId(0)));
    executors.add("node2:1");
    assert!(executors.is_new(ExecutorId(2)), "it was named in the middle of the run");
    assert_eq!([(); 2].map(|()| executors.should_tell_missing(ExecutorId(2), false)), [true, false]);
    assert_eq!([(); 2].map(|()| executors.should_tell_there(ExecutorId(2))), [true, false]);
    assert!(!executors.is_new(ExecutorId(2)));
}

#[test]
fn a_former_executor_has_a_number_and_is_neither_waited_for_nor_told_of() {
    let now = Instant::now();
    let mut executors = Executors::new(now);
    executors.add_former("local 0");
    executors.add("node1:1");
    assert_eq!(executors.counts(), (0, 0, 1));
    let error = executors.verdict(1, now).unwrap().to_string();
    assert!(error.starts_with("0 of 1 nodes can be used") && !error.contains("local 0"), "{error}");
    assert_eq!(admitted(&mut executors, 1, 1, 1), [(1, 1)]);
    assert!(executors.is_former(ExecutorId(0)) && !executors.is_former(ExecutorId(1)));
    executors.on_gone(ExecutorId(1), None);
    executors.on_refused(ExecutorId(1), refusal());
    assert!(matches!(executors.verdict(1, now), Some(RunError::NoExecutorLeft { errors }) if errors.len() == 1));
}

#[test]
fn a_run_without_executors_waits_a_while_for_one_to_come_back() {
    let patience = Duration::from_secs(10);
    let mut executors = executors(1, Instant::now());
    admitted(&mut executors, 0, 1, 1);
    executors.update_deadline(patience);
    assert!(executors.verdict(1, Instant::now() + patience * 2).is_none());
    assert!(executors.on_gone(ExecutorId(0), None));
    executors.update_deadline(patience);
    assert!(executors.verdict(1, Instant::now()).is_none());
    assert!(matches!(executors.verdict(1, Instant::now() + patience * 2), Some(RunError::NoExecutorLeft { .. })));
    admitted(&mut executors, 0, 1, 1);
    executors.update_deadline(patience);
    assert!(executors.verdict(1, Instant::now() + patience * 2).is_none());
}

#[test]
fn the_scheduler_counts_on_an_executor_that_is_away_until_it_is_given_up_once() {
    let mut executors = executors(2, Instant::now());
    let away = ExecutorId(0);
    assert!(!executors.on_gone(away, None), "it was never in use");
    assert!(!executors.give_up(away));
    admitted(&mut executors, 0, 1, 1);
    assert!(executors.on_gone(away, None));
    executors.on_answering(away);
    assert!(!executors.on_gone(away, Some(refusal())), "it was not in use again");
    assert!(executors.give_up(away));
    assert!(!executors.give_up(away));
    admitted(&mut executors, 1, 1, 1);
    assert!(executors.on_gone(ExecutorId(1), None));
    executors.on_refused(ExecutorId(1), refusal());
    assert!(executors.give_up(ExecutorId(1)));
    assert!(!executors.give_up(ExecutorId(1)));
}

#[test]
fn an_executor_that_is_ready_before_there_are_enough_is_not_missed_by_the_scheduler() {
    let mut executors = executors(2, Instant::now());
    assert_eq!(admitted(&mut executors, 0, 1, 2), []);
    assert!(!executors.on_gone(ExecutorId(0), None));
    assert!(!executors.is_admitted());
    assert_eq!(admitted(&mut executors, 0, 1, 2), []);
    assert_eq!(admitted(&mut executors, 1, 1, 2), [(0, 1), (1, 1)]);
}

#[test]
fn what_an_executor_came_with_and_that_it_leaves_is_forgotten_with_its_session() {
    let mut executors = executors(1, Instant::now());
    let (executor, attempt) = (ExecutorId(0), AttemptId { task: TaskId(3), number: 1 });
    let held = Ready { held: vec![attempt], ..ready(1) };
    executors.on_ready(executor, held, 2);
    assert!(!executors.is_known(executor), "nobody asked the scheduler about what it holds");
    assert_eq!(admitted(&mut executors, 0, 1, 2), []);
    assert!(executors.is_known(executor), "it holds nothing");
    let held = Ready { held: vec![attempt], ..ready(1) };
    executors.on_ready(executor, held, 1);
    assert!(executors.is_known(executor), "the scheduler was asked");
    executors.on_draining(executor);
    assert!(executors.came_with(executor, attempt) && executors.is_draining(executor));
    executors.on_gone(executor, None);
    executors.on_draining(executor);
    assert!(!executors.came_with(executor, attempt) && !executors.is_draining(executor));
    assert!(executors.session(executor).is_none());
}

#[test]
fn the_error_lists_every_node_that_is_not_there() {
    let mut executors = executors(3, Instant::now());
    admitted(&mut executors, 0, 1, 1);
    executors.on_gone(ExecutorId(0), None);
    executors.on_refused(ExecutorId(1), refusal());
    executors.update_deadline(Duration::ZERO);
    let error = executors.verdict(1, Instant::now() + Duration::from_secs(1)).unwrap().to_string();
    assert!(error.contains("no connection to node0:1: no answer so far"), "{error}");
    assert!(error.contains("node1:1 refuses: held") && error.contains("node2:1"), "{error}");
}

#[test]
fn time_in_which_nobody_was_listened_to_is_not_waited() {
    let now = Instant::now();
    let mut executors = executors(1, now + Duration::from_secs(10));
    executors.on_stood_still(Duration::from_secs(5));
    assert_eq!(executors.deadline(), Some(now + Duration::from_secs(15)));
}
