//! What a session that is ready sends for orders, and what it tells of what comes.

use broadsweep_common::attempt::{AttemptEvent, Durations, Ended};
use broadsweep_common::configuration::Configuration;
use broadsweep_common::ids::{Digest, TaskId, TrialId};
use broadsweep_common::task::{Replicate, Segment, TaskKind};
use broadsweep_proto::session::driver_item::Item;
use broadsweep_proto::session::executor_item::Item as ExecutorSays;
use broadsweep_proto::session::{Draining, ExecutorItem, Prepared};
use tokio::time::timeout;

use super::*;
use crate::cluster::greeting::{Opened, open};
use crate::cluster::played::{ADDRESS, Played, Stage, stage, welcome};

const SOON: std::time::Duration = std::time::Duration::from_secs(1);

fn attempt(task: u32) -> AttemptId {
    AttemptId { task: TaskId(task), number: 1 }
}

fn launch(task: u32, needs: Vec<Needs>) -> Order {
    let segment = Segment { replicate: Replicate::first(TrialId(0)), from_epoch: 0, until_epoch: 9 };
    let (kind, configuration) = (TaskKind::Train(segment), Configuration::default());
    Order::Launch { launch: Launch { attempt: attempt(task), kind, configuration, input: None }, needs }
}

fn end(task: u32) -> Report {
    Report { attempt: attempt(task), durations: Durations::default(), event: AttemptEvent::Ended(Ended::Stopped) }
}

/// A session that is ready, and all around it.
struct Talk {
    opened: Opened,
    desk: Desk,
    stage: Stage,
    played: Played,
}

async fn talk() -> Talk {
    let (mut desk, mut stage) = stage();
    let play = async {
        let mut played = stage.session().await;
        played.begin(welcome()).await;
        played
    };
    let (opened, played) = tokio::join!(open(&mut desk, SessionId(1), ADDRESS), play);
    let Ok(opened) = opened else { panic!("it is ready") };
    assert!(matches!(stage.told().await, LinkEvent::Connected));
    Talk { opened, desk, stage, played }
}

impl Talk {
    /// Takes in the executor's next message, which has this number.
    async fn takes_in(&mut self, sequence: u64, items: Vec<ExecutorSays>) -> Result<(), String> {
        let items = items.into_iter().map(|item| ExecutorItem { item: Some(item) }).collect();
        let message = FromExecutor { run: "run".to_owned(), generation: 1, sequence, acknowledged: 0, items };
        in_words(self.opened.session.receive(&self.desk, Ok(Some(message))).await)
    }

    /// What the run loop was told by now.
    fn told(&mut self) -> Vec<LinkEvent> {
        std::iter::from_fn(|| self.stage.events.try_recv().ok()).map(|(_, event)| event).collect()
    }

    async fn carries_out(&mut self, orders: Vec<Order>) -> Result<(), String> {
        in_words(self.opened.session.carry_out(&self.desk, orders).await)
    }

    /// The items of the next message to the executor, if one comes.
    async fn sent(&mut self) -> Option<Vec<Item>> {
        timeout(SOON, self.played.next()).await.ok().flatten()
    }
}

fn in_words(ended: Result<(), SessionEnd>) -> Result<(), String> {
    ended.map_err(|end| match end {
        SessionEnd::RunOver => "the run is over".to_owned(),
        SessionEnd::Unheard => "unheard".to_owned(),
        SessionEnd::Lost { reason } => reason,
        SessionEnd::Failed(error) => error.to_string(),
    })
}

#[tokio::test(start_paused = true)]
async fn messages_count_on_and_one_that_is_not_the_next_ends_the_session() {
    for (sequence, wanted) in [
        (3, Ok(())),
        (2, Err("message 2 came where 3 was due".to_owned())),
        (4, Err("message 4 came where 3 was due".to_owned())),
    ] {
        let mut talk = talk().await;
        assert_eq!(talk.takes_in(sequence, Vec::new()).await, wanted);
        assert!(talk.told().is_empty(), "{sequence}: it tells nothing");
        if wanted.is_ok() {
            assert_eq!(talk.takes_in(sequence, Vec::new()).await, Err("message 3 came where 4 was due".to_owned()));
            assert_eq!(talk.takes_in(sequence + 1, Vec::new()).await, Ok(()));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn reports_are_told_with_the_number_of_their_message_and_logs_and_a_leave_beside_them() {
    let mut talk = talk().await;
    let text = Bytes::from_static(b"what it printed");
    let logged = Logged { attempt: Some(wire::attempt_message(attempt(1))), offset: 5, text: text.clone() };
    let items = vec![wire::report_item(&end(0)), ExecutorSays::Logged(logged), wire::report_item(&end(1))];
    assert_eq!(talk.takes_in(3, items).await, Ok(()));
    let told = talk.told();
    let [LinkEvent::Logged { pieces, room }, LinkEvent::Reports { sequence: 3, reports }] = &told[..] else {
        panic!("{told:?}")
    };
    assert_eq!((pieces[0].offset, &pieces[0].text, pieces.len()), (5, &text, 1));
    assert_eq!(room.num_permits(), text.len());
    assert_eq!(reports[..], [end(0), end(1)]);
    assert_eq!(talk.takes_in(4, vec![ExecutorSays::Draining(Draining {})]).await, Ok(()));
    assert!(matches!(talk.told()[..], [LinkEvent::Draining]));
    assert_eq!(
        talk.takes_in(5, vec![ExecutorSays::Prepared(Prepared::default())]).await,
        Err("greeted twice".to_owned())
    );
}

#[tokio::test(start_paused = true)]
async fn logs_wait_for_a_run_loop_that_is_behind() {
    let mut talk = talk().await;
    let piece = |offset| {
        let text = Bytes::from(vec![b'x'; broadsweep_common::log::PIECE_BYTES_MAX]);
        ExecutorSays::Logged(Logged { attempt: Some(wire::attempt_message(attempt(1))), offset, text })
    };
    let message = || (0..8).map(piece).collect::<Vec<_>>();
    for sequence in [3, 4] {
        assert!(timeout(SOON, talk.takes_in(sequence, message())).await.is_ok(), "{sequence}: there is room");
    }
    assert!(timeout(SOON, talk.takes_in(5, message())).await.is_err(), "nobody has taken the others in");
    drop(talk.told());
    assert!(timeout(SOON, talk.takes_in(6, message())).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn orders_that_come_together_go_out_together_and_in_their_order() {
    let mut talk = talk().await;
    let blob = Digest::of(b"weights");
    let orders = vec![
        launch(0, Vec::new()),
        Order::Release(attempt(7), blob),
        Order::Cancel { attempt: attempt(0), at_epoch_end: true },
        Order::Acknowledge { through: 2, settled: Vec::new() },
    ];
    assert_eq!(talk.carries_out(orders).await, Ok(()));
    let sent = talk.sent().await.unwrap();
    let [Item::Launch(_), Item::Release(release), Item::Cancel(cancel)] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!((&release.blob[..], cancel.at_epoch_end), (&blob.0[..], true));
    assert_eq!(talk.carries_out(vec![]).await, Ok(()));
    assert_eq!(talk.sent().await, None, "nothing was ordered");
    let acknowledges = vec![Order::Acknowledge { through: 2, settled: Vec::new() }];
    assert_eq!(talk.carries_out(acknowledges).await, Ok(()));
    assert_eq!(talk.sent().await, Some(vec![]));
    let hangs_up = vec![launch(1, Vec::new()), Order::HangUp { reason: "for a test" }];
    assert_eq!(talk.carries_out(hangs_up).await, Err("for a test".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_launch_that_waits_for_its_checkpoint_goes_out_with_it_and_holds_nothing_back() {
    let mut talk = talk().await;
    let content = Bytes::from_static(b"the state after the third epoch");
    let blob = Blob::new(content.clone()).unwrap().manifest.digest();
    let name = "checkpoints/0-3".to_owned();
    talk.desk.world.vault.keep(name.clone(), content.clone()).await.unwrap();
    let orders = vec![
        launch(0, vec![Needs::Checkpoint { name, blob }]),
        Order::Cancel { attempt: attempt(0), at_epoch_end: false },
        launch(1, Vec::new()),
    ];
    assert_eq!(talk.carries_out(orders).await, Ok(()));
    let (first, second) = (talk.sent().await.unwrap(), talk.sent().await.unwrap());
    assert!(matches!(&first[..], [Item::Launch(launch)] if launch.attempt.as_ref().unwrap().task == 1), "{first:?}");
    let [Item::Launch(launch), Item::Cancel(_)] = &second[..] else { panic!("{second:?}") };
    assert_eq!(launch.input[..], blob.0);
    assert!(talk.stage.network.answers().offered.iter().any(|offer| offer.manifest.as_ref().unwrap().bytes == 31));
}

#[tokio::test(start_paused = true)]
async fn a_blob_that_is_fetched_is_safe_before_the_run_loop_hears_of_it() {
    let mut talk = talk().await;
    let blob = Blob::new(Bytes::from_static(b"weights")).unwrap();
    for is_given in [true, false] {
        let parts = crate::cluster::played::parts_of(&blob, std::time::Duration::ZERO);
        talk.stage.network.answers().parts = if is_given { parts } else { Vec::new() };
        let (cargo, name) = (crate::cluster::Cargo::Weights, format!("weights/{is_given}"));
        let pull =
            Pull { attempt: attempt(3), cargo, blob: blob.manifest.digest(), name: name.clone(), bytes_max: 99 };
        assert_eq!(talk.carries_out(vec![Order::Pull(pull)]).await, Ok(()));
        let told = talk.stage.told().await;
        let LinkEvent::Pulled { attempt: of, content, .. } = &told else { panic!("{told:?}") };
        assert_eq!((*of, content.is_ok()), (attempt(3), is_given));
        assert_eq!(talk.desk.world.vault.load(name).await.ok(), is_given.then(|| blob.content.clone()));
    }
}
