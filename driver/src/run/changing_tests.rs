//! What follows where somebody stops a run or asks for more, and where its time is over.

use broadsweep_common::attempt::{ArtifactName, AttemptEvent, Ended};
use broadsweep_common::configuration::{Configuration, Value};
use broadsweep_common::ids::{AttemptId, TrialId};
use broadsweep_search::Decision;

use super::*;
use crate::records::run::{TrialOutcome, TrialRecord};
use crate::run::bench::{Bench, EPOCHS, attempt, content, epoch, trained};
use crate::wishes;

const FIRST: AttemptId = AttemptId { task: TaskId(0), number: 1 };
const STOP: Wished = Wished { number: 7, wish: Wish::Stop };

fn start(until_epoch: Option<u32>) -> Decision {
    let configuration = Configuration::from_iter([("n", Value::Integer(i64::from(EPOCHS)))]);
    Decision::Start { configuration, origin: Origin::Point(0), until_epoch }
}

fn ended(epoch: u32) -> AttemptEvent {
    AttemptEvent::Ended(Ended::Trained { epoch, artifacts: Vec::new() })
}

/// Somebody leaves a wish, and the driver finds it; returns what was told to executors.
fn wishes(bench: &mut Bench, wished: Wished) -> Vec<String> {
    wished.leave_in(&*bench.storage).unwrap();
    bench.run.heed(wished);
    bench.turn()
}

fn outcomes(bench: &Bench) -> Vec<TrialOutcome> {
    let record = bench.run.chronicle.book().run_record(bench.run.study);
    record.trials.into_iter().map(|TrialRecord { outcome, .. }| outcome).collect()
}

#[tokio::test(start_paused = true)]
async fn where_somebody_stops_a_run_what_is_under_way_is_trained_to_its_end_and_nothing_more_is_begun() {
    let mut bench = Bench::scripted(vec![start(None), start(None), start(None), Decision::Wait], &["a"]);
    assert_eq!(bench.is_ready(0, 1, &[]), ["0: launch t0.1"]);
    assert_eq!(wishes(&mut bench, STOP), [""; 0], "nothing is cancelled");
    assert!(bench.said().contains("stopped (`broadsweep stop`): nothing more is begun"));
    assert!(!STOP.is_in(&*bench.storage).unwrap(), "it is granted");
    bench.tells(0, FIRST, epoch(1, 0.5));
    assert_eq!(bench.tells(0, FIRST, ended(1)), [""; 0]);
    assert!(bench.run.scheduler.is_done());
    let expected = [TrialOutcome::Finished { epoch: 1 }, TrialOutcome::LeftOut, TrialOutcome::LeftOut];
    assert_eq!(outcomes(&bench), expected);
    let bench = bench.resumed_deciding(vec![start(None)], &["a"]);
    assert_eq!(outcomes(&bench), expected, "the next driver leaves them out, too");
    let record = bench.run.chronicle.book().run_record(bench.run.study);
    assert_eq!((record.is_over(), record.is_reproducible(), record.counts().ended()), (true, Some(false), 1));
}

#[tokio::test(start_paused = true)]
async fn a_wish_that_is_found_again_is_granted_once() {
    let mut bench = Bench::scripted(vec![start(None), start(None), Decision::Wait], &["a"]);
    bench.is_ready(0, 1, &[]);
    wishes(&mut bench, STOP);
    let changes = bench.run.chronicle.book().changes.clone();
    assert_eq!(changes.len(), 1);
    // The driver was killed before the file was removed.
    let mut bench = bench.resumed(&["a"]);
    wishes(&mut bench, STOP);
    assert_eq!(
        (bench.run.chronicle.book().changes.clone(), bench.run.chronicle.book().granted.clone()),
        (changes, vec![7])
    );
    assert_eq!(wishes::read(&*bench.storage), []);
    assert!(!bench.said().contains("stopped"));
}

#[tokio::test(start_paused = true)]
async fn a_trial_that_paused_before_the_run_was_stopped_has_paused_where_it_would_have_gone_on() {
    let further = Decision::Continue { trial: TrialId(0), until_epoch: 2 };
    let mut bench =
        Bench::scripted(vec![start(Some(1)), Decision::Wait, start(None), further, Decision::Wait], &["a"]);
    bench.is_ready(0, 1, &[]);
    let state = content(1);
    bench.tells(0, FIRST, epoch(1, 0.5));
    bench.tells(0, FIRST, trained(1, ArtifactName::Checkpoint, &state));
    let told = bench.brings_state(0, FIRST, 1, &state);
    assert_eq!(told.last().unwrap(), "0: launch t1.1", "the second trial; the first waits to go on");
    wishes(&mut bench, STOP);
    assert_eq!(outcomes(&bench), [TrialOutcome::Paused { epoch: 1 }, TrialOutcome::NotRun]);
}

#[tokio::test(start_paused = true)]
async fn a_stop_with_nothing_left_to_begin_changes_nothing_and_says_so() {
    let mut bench = Bench::scripted(vec![start(None), Decision::Ended], &["a"]);
    bench.is_ready(0, 1, &[]);
    wishes(&mut bench, STOP);
    assert!(bench.said().contains("nothing is left to begin"));
    assert_eq!(bench.run.chronicle.book().changes, []);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_was_asked_to_stop_while_nobody_drove_it_ends_what_had_begun() {
    let mut bench = Bench::scripted(vec![start(None), start(None), Decision::Wait], &["a"]);
    bench.is_ready(0, 1, &[]);
    let mut bench = bench.resumed_deciding(vec![Decision::Wait], &["a"]);
    bench.run.is_taken_up = false;
    wishes(&mut bench, STOP);
    assert_eq!(bench.run.chronicle.book().changes, [], "not before it is known what had begun");
    bench.run.is_taken_up = true;
    bench.run.end_search_if_due();
    bench.turn();
    assert_eq!(outcomes(&bench), [TrialOutcome::NotRun, TrialOutcome::LeftOut]);
    assert_eq!(bench.is_ready(0, 1, &[FIRST]), [""; 0], "the first goes on");
}

#[tokio::test(start_paused = true)]
async fn a_run_whose_time_is_over_ends_as_if_somebody_stopped_it_and_once() {
    let mut bench = Bench::scripted(vec![start(None), start(None), Decision::Wait], &["a"]);
    bench.is_ready(0, 1, &[]);
    bench.run.time_max = Some(std::time::Duration::from_mins(1));
    bench.run.end_search_if_due();
    assert_eq!(bench.run.chronicle.book().changes, []);
    tokio::time::advance(std::time::Duration::from_mins(1)).await;
    for _ in 0..2 {
        bench.run.end_search_if_due();
        bench.turn();
    }
    let at_s = 60.0;
    assert_eq!(bench.run.chronicle.book().changes, [ChangeRecord::Stopped { by: StoppedBy::MaxTime, at_s }]);
    assert_eq!(outcomes(&bench), [TrialOutcome::NotRun, TrialOutcome::LeftOut]);
}

#[tokio::test(start_paused = true)]
async fn a_stop_of_which_only_the_change_was_written_down_is_completed_by_the_next_driver() {
    let mut bench = Bench::scripted(vec![start(None), start(None), Decision::Wait], &["a"]);
    bench.is_ready(0, 1, &[]);
    let change = ChangeRecord::Stopped { by: StoppedBy::Somebody, at_s: 1.0 };
    bench.run.note(&Record::Changed { change, wish: Some(STOP.number) });
    bench.turn();
    let mut bench = bench.resumed_deciding(vec![Decision::Wait], &["a"]);
    bench.run.end_search(StoppedBy::Somebody, None);
    bench.turn();
    assert_eq!(outcomes(&bench), [TrialOutcome::NotRun, TrialOutcome::LeftOut]);
    assert_eq!(bench.run.chronicle.book().changes, [change], "it is told once");
}

#[tokio::test(start_paused = true)]
async fn a_grid_has_no_more_trials_and_says_so() {
    let mut bench = Bench::scripted(vec![start(None), Decision::Wait], &["a"]);
    bench.is_ready(0, 1, &[]);
    wishes(&mut bench, Wished { number: 1, wish: Wish::Extend(NonZeroU32::MIN) });
    let said = bench.said();
    assert!(
        said.contains("no trials are added (`broadsweep extend`): a grid tries each of its combinations"),
        "{said}"
    );
    assert_eq!((bench.run.chronicle.book().changes.len(), wishes::read(&*bench.storage)), (0, Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn trials_that_were_left_out_are_the_first_that_are_added_and_need_no_sampler() {
    let decisions = vec![start(None), start(None), start(None), Decision::Wait];
    let mut bench = Bench::scripted(decisions, &["a"]);
    bench.is_ready(0, 1, &[]);
    wishes(&mut bench, STOP);
    let more = Wished { number: 8, wish: Wish::Extend(NonZeroU32::MIN) };
    bench.tells(0, FIRST, epoch(1, 0.5));
    wishes(&mut bench, more);
    assert_eq!(bench.tells(0, FIRST, ended(1)), ["0: launch t3.1"], "the second trial by a task of its own");
    let finished = TrialOutcome::Finished { epoch: 1 };
    assert_eq!(outcomes(&bench), [finished.clone(), TrialOutcome::NotRun, TrialOutcome::LeftOut]);
    let mut bench = bench.resumed(&["a"]);
    let launched = bench.is_ready(0, 1, &[attempt(3, 1)]);
    assert_eq!(launched, [""; 0]);
    bench.tells(0, attempt(3, 1), epoch(1, 0.25));
    bench.tells(0, attempt(3, 1), ended(1));
    assert_eq!(outcomes(&bench), [finished.clone(), finished, TrialOutcome::LeftOut]);
    let changes = bench.run.chronicle.book().changes.clone();
    assert!(matches!(
        changes[..],
        [ChangeRecord::Stopped { .. }, ChangeRecord::Extended { trials: 1, picks: None, .. }]
    ));
}

#[tokio::test(start_paused = true)]
async fn changes_and_granted_wishes_outlive_a_compaction() {
    let mut bench = Bench::scripted(vec![start(None), start(None), Decision::Wait], &["a"]);
    bench.is_ready(0, 1, &[]);
    wishes(&mut bench, STOP);
    wishes(&mut bench, Wished { number: 8, wish: Wish::Extend(NonZeroU32::MIN) });
    let book = bench.run.chronicle.book();
    let mut told = Book::new(book.ranking.objectives().clone());
    for record in book.records().collect::<Vec<_>>() {
        told.apply(&record).unwrap();
    }
    assert_eq!((&told.changes, &told.granted, told.tasks.len()), (&book.changes, &vec![7, 8], 3));
    let of = |book: &Book| {
        book.run_record(bench.run.study).trials.into_iter().map(|trial| trial.outcome).collect::<Vec<_>>()
    };
    assert_eq!(of(&told), of(book));
}
