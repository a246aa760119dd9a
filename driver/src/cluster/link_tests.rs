//! When a link dials, what it tells of it, and where it leaves a hold behind.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use broadsweep_proto::session::driver_item::Item;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tonic::Status;

use super::*;
use crate::cluster::played::{ADDRESS, EXECUTOR, Played, Stage, stage, stage_with, welcome};
use crate::cluster::{ExecutorId, KernelChoice};

/// Serves the link to a node.
fn serve(desk: Desk) -> JoinHandle<Option<String>> {
    tokio::spawn(async move { Link { member: Member::node(ADDRESS), desk }.serve().await })
}

/// Lets the link's next session become ready.
async fn ready(stage: &mut Stage) -> Played {
    let mut session = stage.session().await;
    session.begin(welcome()).await;
    assert!(matches!(stage.told().await, LinkEvent::Connected));
    assert!(matches!(stage.told().await, LinkEvent::Ready(_)));
    session
}

/// What becomes of a dial.
#[derive(Clone, Copy, Debug)]
enum Dial {
    NobodyListens,
    /// Nothing is said to the hello.
    Silence,
    /// Another run has the executor.
    Held,
    /// The connection ends before the session is ready.
    Breaks,
    /// The session is ready, and then over.
    Lost,
}

impl Dial {
    /// Lets the link dial once.
    async fn play(self, stage: &mut Stage) {
        stage.network.is_there.store(!matches!(self, Self::NobodyListens), Ordering::Relaxed);
        let _session = match self {
            Self::NobodyListens => None,
            Self::Silence => Some(stage.session().await),
            Self::Held => {
                stage.session().await.end(Status::already_exists("held by run other")).await;
                None
            }
            Self::Breaks => {
                stage.session().await.end(Status::unavailable("it ends")).await;
                None
            }
            Self::Lost => {
                drop(ready(stage).await);
                None
            }
        };
        let told = stage.told().await;
        assert_eq!(matches!(told, LinkEvent::Ended { .. }), matches!(self, Self::Lost), "{self:?}: {told:?}");
        assert_eq!(matches!(told, LinkEvent::Unreachable(_)), !matches!(self, Self::Lost), "{self:?}: {told:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_executor_is_dialled_again_after_longer_and_longer_waits_and_soon_after_a_session_is_lost() {
    let (desk, mut stage) = stage();
    let served = serve(desk);
    for _ in 0..9 {
        Dial::NobodyListens.play(&mut stage).await;
    }
    Dial::Lost.play(&mut stage).await;
    Dial::NobodyListens.play(&mut stage).await;
    Dial::NobodyListens.play(&mut stage).await;
    let dials = stage.network.dials.lock().unwrap().clone();
    let waits: Vec<_> = dials.windows(2).map(|pair| (pair[1] - pair[0]).as_millis()).collect();
    assert_eq!(waits, [50, 100, 200, 400, 800, 1600, 3200, 5000, 5000, 50, 100]);
    served.abort();
}

#[tokio::test(start_paused = true)]
async fn where_a_run_may_be_held_without_a_session_is_known_at_its_end() {
    use Dial::{Breaks, Held, Lost, NobodyListens, Silence};
    for (dials, is_held) in [
        (&[NobodyListens][..], false),
        (&[Lost], true),
        (&[Breaks], true),
        (&[Lost, NobodyListens], false), // what ran there is gone
        (&[Lost, Silence], true),
        (&[Silence], false),
        (&[Lost, Held], false),
        (&[NobodyListens, Lost], true),
    ] {
        let (desk, mut stage) = stage();
        let over = desk.over.clone();
        let served = serve(desk);
        for dial in dials {
            dial.play(&mut stage).await;
        }
        over.cancel();
        assert_eq!(served.await.unwrap(), is_held.then(|| ADDRESS.to_owned()), "{dials:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_executor_that_is_of_no_use_is_not_dialled_again_and_may_hold_the_run() {
    for (name, change, is_held) in [
        ("another protocol", (|welcome| welcome.protocol += 1) as fn(&mut broadsweep_proto::session::Welcome), true),
        ("known by another name", |_| {}, false),
    ] {
        let (mut desk, mut stage) = stage();
        desk.name = "the first name".to_owned();
        assert_eq!(desk.claim(welcome().instance), Ok(()));
        desk.name = ADDRESS.to_owned();
        let served = serve(desk);
        let mut session = stage.session().await;
        let mut welcome = welcome();
        change(&mut welcome);
        session.begin(welcome).await;
        let told = stage.told().await;
        assert!(matches!(&told, LinkEvent::Refused(error) if !error.is_transient()), "{name}: {told:?}");
        assert_eq!(served.await.unwrap(), is_held.then(|| ADDRESS.to_owned()), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_run_loop_nothing_is_left_behind_unless_the_run_is_over() {
    for is_over in [false, true] {
        let (desk, mut stage) = stage();
        let over = desk.over.clone();
        let served = serve(desk);
        let session = stage.session().await;
        if is_over {
            over.cancel(); // who has heard the hello has to hear the goodbye
        }
        drop(stage.events);
        session.end(Status::unavailable("it ends")).await;
        assert_eq!(served.await.unwrap(), is_over.then(|| ADDRESS.to_owned()), "{is_over}");
    }
}

#[tokio::test(start_paused = true)]
async fn at_the_end_of_the_run_each_executor_hears_of_it_unless_it_is_spared() {
    for (is_spared, hears, is_held) in [(false, true, false), (false, false, true), (true, false, false)] {
        let (desk, mut stage) = stage();
        let (over, spared) = (desk.over.clone(), Arc::clone(&desk.spared));
        let served = serve(desk);
        let mut session = ready(&mut stage).await;
        let left = if is_spared { BTreeSet::from([EXECUTOR]) } else { BTreeSet::from([ExecutorId(9)]) };
        spared.set(left).unwrap();
        over.cancel();
        let told = session.next().await;
        assert_eq!(matches!(told.as_deref(), Some([Item::Dismiss(_)])), !is_spared, "{told:?}");
        if hears {
            drop(session); // in order
        } else {
            session.end(Status::unavailable("it ends")).await;
        }
        assert_eq!(served.await.unwrap(), is_held.then(|| ADDRESS.to_owned()), "{is_spared}, {hears}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_executor_that_does_not_take_its_orders_loses_its_session() {
    let (desk, mut stage) = stage();
    let served = serve(desk);
    let session = ready(&mut stage).await;
    for _ in 0..=ORDERS_MAX {
        stage.orders.send(SessionId(1), Vec::new()); // the link has no turn in between
    }
    let told = stage.told().await;
    assert!(matches!(&told, LinkEvent::Ended { reason } if reason.contains("4096 batches")), "{told:?}");
    drop(session);
    served.abort();
}

/// A stage of a run with another executor, which has answered: the kernel is chosen as soon as this one has failed to.
fn stage_with_another() -> (Desk, Stage) {
    let kernel = KernelChoice::of_all(Duration::from_hours(1));
    kernel.awaits(EXECUTOR);
    kernel.awaits(ExecutorId(1));
    kernel.knows_all();
    kernel.on_kernels(ExecutorId(1), &["portable".to_owned()]).unwrap();
    assert_eq!(kernel.chosen(), None);
    stage_with(kernel)
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_the_kernels_of_an_executor_that_does_not_answer() {
    let (desk, mut stage) = stage_with_another();
    let payload = Arc::clone(&desk.payload);
    let served = serve(desk);
    Dial::NobodyListens.play(&mut stage).await;
    assert_eq!(payload.kernel.chosen().as_deref(), Some("portable"));
    served.abort();
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_an_executor_that_is_not_started_again() {
    let (desk, mut stage) = stage_with_another();
    let payload = Arc::clone(&desk.payload);
    let (tell, whereabouts) = watch::channel(None);
    let member = Member { name: "local 3".to_owned(), whereabouts, is_former: false };
    let linked = tokio::spawn(Link { member, desk }.run());
    drop(tell);
    let told = stage.told().await;
    assert!(matches!(&told, LinkEvent::Refused(LinkError::NotStarted { name }) if name == "local 3"), "{told:?}");
    assert_eq!(payload.kernel.chosen().as_deref(), Some("portable"));
    linked.await.unwrap();
    assert!(stage.events.recv().await.is_none(), "that was all");
    assert!(stage.network.dials.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_local_executor_that_was_started_again_is_dialled_at_once() {
    let (desk, mut stage) = stage();
    let (tell, whereabouts) = watch::channel(Some(ADDRESS.to_owned()));
    let member = Member { name: "local 3".to_owned(), whereabouts, is_former: false };
    let linked = tokio::spawn(Link { member, desk }.run());
    for _ in 0..9 {
        Dial::NobodyListens.play(&mut stage).await;
    }
    let again = Instant::now();
    tell.send_replace(Some("node:2".to_owned()));
    Dial::Lost.play(&mut stage).await;
    assert_eq!(stage.network.dials.lock().unwrap()[9], again);
    linked.abort();
}

#[tokio::test(start_paused = true)]
async fn an_executor_whose_session_broke_off_is_dialled_once_more_to_hear_that_the_run_is_over() {
    let (desk, mut stage) = stage();
    let over = desk.over.clone();
    let linked = tokio::spawn(Link { member: Member::node(ADDRESS), desk }.run());
    Dial::Lost.play(&mut stage).await;
    over.cancel();
    let mut session = stage.session().await;
    session.say(vec![broadsweep_proto::session::executor_item::Item::Welcome(welcome())]).await;
    assert!(matches!(session.next().await.as_deref(), Some([Item::Dismiss(_)])));
    drop(session);
    linked.await.unwrap();
}
