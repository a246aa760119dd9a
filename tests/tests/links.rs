//! The driver's links, each for itself: whatever goes wrong on one ends it with a reason, and nothing waits for ever.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic, in its helping functions too")]

use std::sync::Arc;
use std::time::Duration;

use broadsweep_common::attempt::Launch;
use broadsweep_common::blob::{ARRIVING_MAX, Blob};
use broadsweep_common::configuration::Configuration;
use broadsweep_common::ids::{AttemptId, Digest, TaskId, TrialId};
use broadsweep_common::task::{Replicate, Segment, TaskKind};
use broadsweep_driver::cluster::{
    Cargo, Cluster, Connect, KernelChoice, LinkEvent, Member, Needs, Order, Payload, Pull, SessionId, Tcp, Vault,
    VaultFuture, World,
};
use broadsweep_proto::dial::Connecting;
use broadsweep_tests::hostile_executor::{HostileExecutor, Intake, Script, Talk, garbled, parts_of, welcome};
use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tonic::transport::Endpoint;

/// Far above what anything here takes: only a hang is slower.
const PATIENCE: Duration = Duration::from_mins(2);
/// Checkpoints that are on their way before the first of them arrives: as many as the driver sends at a time.
const GATHERS: usize = ARRIVING_MAX / 4;

/// Has every file: its name is its content.
struct Names;

impl Vault for Names {
    fn keep(&self, _: String, _: Bytes) -> VaultFuture<()> {
        Box::pin(async { Ok(()) })
    }

    fn load(&self, name: String) -> VaultFuture<Bytes> {
        Box::pin(async { Ok(name.into()) })
    }
}

/// Fails as a mistake in the program does.
struct Broken;

impl Vault for Broken {
    fn keep(&self, name: String, _: Bytes) -> VaultFuture<()> {
        panic!("{name} was asked for")
    }

    fn load(&self, name: String) -> VaultFuture<Bytes> {
        panic!("{name} was asked for")
    }
}

impl Connect for Broken {
    fn connect(&self, endpoint: Endpoint) -> Connecting {
        panic!("{} was dialled", endpoint.uri())
    }
}

/// A cluster of one executor.
struct Alone {
    cluster: Cluster,
    _whereabouts: watch::Sender<Option<String>>,
}

impl Alone {
    fn new(address: &str, connect: Arc<dyn Connect>, vault: Arc<dyn Vault>) -> Self {
        let blob = |content: &'static [u8]| Blob::new(Bytes::from_static(content)).unwrap();
        let payload = Payload {
            run: "run".to_owned(),
            generation: 1,
            take_over: false,
            data: blob(b"data"),
            study: blob(b"study"),
            kernel: KernelChoice::fixed("portable"),
            traffic: Arc::default(),
        };
        let mut cluster = Cluster::new(
            Arc::new(payload),
            World { connect, vault, rows: Arc::new(()), logs: Arc::new(()), witness: Arc::new(()) },
        );
        let (sender, whereabouts) = watch::channel(Some(address.to_owned()));
        cluster.add(Member { name: address.to_owned(), whereabouts, is_former: false });
        Self { cluster, _whereabouts: sender }
    }

    /// What `find` makes of the first event of which it makes something.
    async fn find<T>(&mut self, what: &str, mut find: impl FnMut(LinkEvent) -> Option<T>) -> T {
        let search = async {
            let mut events = Vec::new();
            loop {
                self.cluster.next(&mut events, 1).await;
                if let Some(found) = events.drain(..).find_map(|(_, event)| find(event)) {
                    return found;
                }
            }
        };
        tokio::time::timeout(PATIENCE, search).await.unwrap_or_else(|_| panic!("waited for {what}"))
    }

    async fn session(&mut self) -> SessionId {
        let ready = |event| if let LinkEvent::Ready(ready) = event { Some(ready.session) } else { None };
        self.find("a session", ready).await
    }

    async fn end_reason(&mut self) -> String {
        let reason = |event| if let LinkEvent::Ended { reason } = event { Some(reason) } else { None };
        self.find("the end of the session", reason).await
    }

    fn tell(&self, session: SessionId, orders: Vec<Order>) {
        self.cluster.tell(broadsweep_common::ids::ExecutorId(0), session, orders);
    }
}

/// On one thread, so that a link does nothing while a test gives orders.
fn block_on(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}

/// Accepts all, and does nothing.
fn idle() -> Script {
    Script::new(|mut talk: Talk| async move {
        let _ = talk.until_launched_after(welcome()).await;
        talk.until_gone().await;
    })
}

fn attempt(task: u32) -> AttemptId {
    AttemptId { task: TaskId(task), number: 1 }
}

/// A launch that goes on from the checkpoint of this name.
fn launch_from(task: u32, name: String) -> Order {
    let kind = Segment { replicate: Replicate::first(TrialId(task)), from_epoch: 0, until_epoch: 1 };
    let (attempt, kind) = (attempt(task), TaskKind::Train(kind));
    let launch = Launch { attempt, kind, configuration: Configuration::default(), input: None };
    let blob = Blob::new(name.clone()).unwrap().manifest.digest();
    Order::Launch { launch, needs: vec![Needs::Checkpoint { name, blob }] }
}

fn pull(name: &str, content: &[u8]) -> Order {
    let blob = Blob::new(content).unwrap().manifest.digest();
    Order::Pull(Pull { attempt: attempt(0), cargo: Cargo::Weights, blob, name: name.to_owned(), bytes_max: 1 << 20 })
}

#[test]
fn orders_that_find_no_room_end_the_session_with_a_reason_and_the_next_one_takes_orders() {
    let executor = HostileExecutor::start(idle());
    block_on(async {
        let mut alone = Alone::new(&executor.address, Arc::new(Tcp::default()), Arc::new(Names));
        let session = alone.session().await;
        let attempt = AttemptId { task: TaskId(0), number: 1 };
        for _ in 0..10_000 {
            alone.tell(session, vec![Order::Release(attempt, Digest([7; 32]))]);
        }
        let reason = alone.end_reason().await;
        assert!(reason.contains("orders"), "{reason}");
        let next = alone.session().await;
        assert_ne!(next, session);
        alone.tell(next, vec![pull("weights/0", b"content")]);
        let pulled = |event| matches!(event, LinkEvent::Pulled { .. }).then_some(());
        alone.find("what was ordered in the next session", pulled).await;
    });
}

#[test]
fn a_link_that_panics_is_refused_with_a_reason() {
    block_on(async {
        let mut alone = Alone::new("127.0.0.1:1", Arc::new(Broken), Arc::new(Names));
        let refused = |event| if let LinkEvent::Refused(error) = event { Some(error.to_string()) } else { None };
        let error = alone.find("the end of the link", refused).await;
        assert!(error.starts_with("127.0.0.1:1") && error.contains("http://127.0.0.1:1/ was dialled"), "{error}");
    });
}

#[test]
fn what_panics_beside_a_session_ends_it_with_a_reason() {
    let content = b"the weights";
    let mut script = idle();
    script.weights = parts_of(content);
    let executor = HostileExecutor::start(script);
    block_on(async {
        for order in [pull("weights/0", content), launch_from(0, "checkpoints/0-1".to_owned())] {
            let mut alone = Alone::new(&executor.address, Arc::new(Tcp::default()), Arc::new(Broken));
            let session = alone.session().await;
            alone.tell(session, vec![order]);
            let reason = alone.end_reason().await;
            assert!(reason.contains("was asked for"), "{reason}");
        }
    });
}

#[test]
fn a_garbled_status_is_an_error_of_its_call_and_no_more() {
    let [mut offered, mut pulled] = [idle(), idle()];
    offered.offer_refusal = Some(garbled());
    pulled.pull_refusal = Some(garbled());
    let [offered, pulled] = [offered, pulled].map(HostileExecutor::start);
    block_on(async {
        let mut alone = Alone::new(&offered.address, Arc::new(Tcp::default()), Arc::new(Names));
        let unreachable =
            |event| if let LinkEvent::Unreachable(error) = event { Some(error.to_string()) } else { None };
        let error = alone.find("the end of the offer", unreachable).await;
        assert!(error.ends_with("it has had enough"), "{error}");
        let mut alone = Alone::new(&pulled.address, Arc::new(Tcp::default()), Arc::new(Names));
        let session = alone.session().await;
        alone.tell(session, vec![pull("weights/0", b"content")]);
        let error = |event| if let LinkEvent::Pulled { content, .. } = event { content.err() } else { None };
        let error = alone.find("the end of the pull", error).await.to_string();
        assert!(error.ends_with("it has had enough"), "{error}");
    });
}

#[test]
fn no_executor_gets_more_checkpoints_at_a_time_than_it_takes_and_every_launch_its_own() {
    const LAUNCHES: usize = 4 * ARRIVING_MAX;
    let (tell_launch, mut launches) = mpsc::unbounded_channel();
    let mut script = Script::new(move |mut talk: Talk| {
        let tell_launch = tell_launch.clone();
        async move {
            let mut next = talk.until_launched(LAUNCHES as u32).await;
            while let Some(launch) = next {
                tell_launch.send(launch).unwrap();
                next = talk.next_launch().await;
            }
        }
    });
    let intake = Arc::new(Intake::default());
    script.intake = Some(Arc::clone(&intake));
    let executor = HostileExecutor::start(script);
    block_on(async {
        let mut alone = Alone::new(&executor.address, Arc::new(Tcp::default()), Arc::new(Names));
        let session = alone.session().await;
        intake.gather(GATHERS, LAUNCHES, 3);
        alone.tell(
            session,
            (0..LAUNCHES as u32).map(|task| launch_from(task, format!("checkpoints/{task}-1"))).collect(),
        );
        for _ in 0..LAUNCHES {
            let launch = tokio::time::timeout(PATIENCE, launches.recv()).await.unwrap().unwrap();
            assert!(!launch.input.is_empty(), "{:?} starts at the beginning", launch.attempt);
        }
        let most = intake.crowd().most;
        assert!(most <= ARRIVING_MAX, "{most} checkpoints were on their way at a time");
    });
}
