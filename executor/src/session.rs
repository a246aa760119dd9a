//! The service through which a driver holds this executor: one stream is one session.
//!
//! The end of the stream, however it comes about, leaves the run resting: see `hold` and `tenant`.

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use broadsweep_common::attempt::Launch;
use broadsweep_common::capabilities::Capabilities;
use broadsweep_common::encoding::Encoding;
use broadsweep_common::exchange::PEERS_MAX;
use broadsweep_common::ids::Digest;
use broadsweep_common::log::{LogPiece, PIECE_BYTES_MAX};
use broadsweep_proto::PROTOCOL;
use broadsweep_proto::secure::Caller;
use broadsweep_proto::session::session_server::Session;
use broadsweep_proto::session::{
    Cancel, Draining, DriverItem, ExecutorItem, FromDriver, FromExecutor, Peers, Prepare,
    Prepared as PreparedMessage, Release, Welcome, driver_item, executor_item,
};
use broadsweep_proto::wire;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use crate::arrivals::Sources;
use crate::checks::{FIRST_SEQUENCE, check_acknowledged, hello_of};
use crate::exchange::{Company, Exchange, Surroundings};
use crate::hold::{Claim, Grip, Held, Hold};
use crate::log::messages_of;
use crate::preparing::{self, Offering, Wanted};
use crate::slots::SlotRunner;
use crate::work::{Attempt, input_of};
use broadsweep_store::BlobStore;

/// How long a new stream may keep silent.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// Reports that are sent together at most.
const BATCH_MAX: usize = 256;
/// How often logs are sent, and so many bytes of all attempts together: 256 KiB a second, however much they print.
const LOG_INTERVAL: Duration = Duration::from_millis(250);
const LOG_BYTES_MAX: usize = PIECE_BYTES_MAX;
/// How often an executor that leaves looks whether its last results were fetched.
const DRAIN_POLL: Duration = Duration::from_millis(20);

/// Accepts drivers, one at a time.
pub(crate) struct SessionService {
    pub(crate) hold: Arc<Hold>,
    pub(crate) store: Arc<BlobStore>,
    pub(crate) runner: Arc<dyn SlotRunner>,
    pub(crate) offering: Offering,
    pub(crate) shutdown: CancellationToken,
    pub(crate) surroundings: Surroundings,
}

#[tonic::async_trait]
impl Session for SessionService {
    type HoldStream = ReceiverStream<Result<FromExecutor, Status>>;

    async fn hold(&self, request: Request<Streaming<FromDriver>>) -> Result<Response<Self::HoldStream>, Status> {
        let caller = request.extensions().get::<Caller>().cloned();
        let driver = caller.as_ref().and_then(Caller::driver).map(ToOwned::to_owned);
        let peer = caller.and_then(|caller| caller.address);
        let mut inbound = request.into_inner();
        let first = tokio::time::timeout(HELLO_TIMEOUT, inbound.message())
            .await
            .map_err(|_| Status::deadline_exceeded("the stream opened without a hello"))??
            .ok_or_else(|| Status::invalid_argument("the stream closed without a hello"))?;
        let hello = hello_of(&first)?;
        let claim = Claim { run: first.run.clone(), generation: first.generation, driver };
        let grip = self.hold.take(&claim, hello.take_over).await;
        let grip = grip.map_err(|held| match held {
            Held::ByLaterDriver { .. } => Status::failed_precondition(held.to_string()),
            // All else passes: the driver may dial again.
            Held::ByAnother { .. } | Held::ForAnother { .. } | Held::ByAnotherIdentity { .. } | Held::Leaving => {
                Status::already_exists(held.to_string())
            }
        })?;
        tracing::info!(
            run = first.run,
            generation = first.generation,
            driver = claim.driver,
            ?peer,
            build = hello.build,
            "held"
        );

        let (outbound, stream) = mpsc::channel(16);
        let session = Holding {
            run: first.run,
            generation: first.generation,
            sent: 0,
            received: FIRST_SEQUENCE,
            outbound,
            is_prepared: false,
            is_over: false,
            logs_due: Instant::now(),
            draining: self.hold.draining.clone(),
            store: Arc::clone(&self.store),
            runner: Arc::clone(&self.runner),
            offering: self.offering.clone(),
            surroundings: self.surroundings.clone(),
            exchange: None,
        };
        tokio::spawn(session.serve(inbound, grip, self.shutdown.clone()));
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

/// One session.
struct Holding {
    run: String,
    generation: u64,
    sent: u64,
    received: u64,
    outbound: mpsc::Sender<Result<FromExecutor, Status>>,
    /// Whether the driver was told that data and description are here: reports come after that.
    is_prepared: bool,
    /// Whether the driver dismissed the run.
    is_over: bool,
    /// When logs may be sent again.
    logs_due: Instant,
    draining: CancellationToken,
    store: Arc<BlobStore>,
    runner: Arc<dyn SlotRunner>,
    offering: Offering,
    surroundings: Surroundings,
    /// While the data set is on its way.
    exchange: Option<Exchange>,
}

/// What came of one message's items.
#[derive(Default)]
struct Done {
    answers: Vec<executor_item::Item>,
    /// To be started together.
    begun: Vec<Attempt>,
}

/// Why a session ends before its stream does.
type End = Option<Status>;

impl Holding {
    async fn serve(mut self, mut inbound: Streaming<FromDriver>, mut grip: Grip, shutdown: CancellationToken) {
        let evicted = grip.evicted.clone();
        // Beside the talk, not in it: a driver that reads nothing must not keep the executor from ending the session.
        let end = tokio::select! {
            biased;
            () = evicted.cancelled() => Some(Status::aborted("another driver took this executor over")),
            () = shutdown.cancelled() => Some(Status::unavailable("the executor is shutting down")),
            end = self.talk(&mut inbound, &mut grip) => end,
        };
        if let Some(status) = end {
            tracing::warn!(run = self.run, reason = status.message(), "session ended");
            let _ = self.outbound.try_send(Err(status)); // the driver may be gone, or read nothing
        } else {
            tracing::info!(run = self.run, over = self.is_over, "session ended");
        }
        if self.is_over {
            grip.dismiss();
        }
    }

    /// Until the stream ends, or one of the two sides has a reason to end it.
    async fn talk(&mut self, inbound: &mut Streaming<FromDriver>, grip: &mut Grip) -> End {
        // Read once: what the welcome does not tell, an item has to.
        let mut told_to_leave = self.draining.is_cancelled();
        if told_to_leave {
            grip.tenant().stop_at_epoch_end();
        }
        let welcome = self.welcome(grip, told_to_leave);
        let mut said = self.send(vec![executor_item::Item::Welcome(welcome)]).await;
        let bell = grip.tenant().logs.bell();
        while said.is_ok() && !self.is_over {
            let draining = self.draining.clone();
            // In this order, so that the same things happen in the same order.
            said = tokio::select! {
                biased;
                () = draining.cancelled(), if !told_to_leave => {
                    told_to_leave = true;
                    grip.tenant().stop_at_epoch_end();
                    self.send(vec![executor_item::Item::Draining(Draining {})]).await
                }
                message = inbound.message() => match message {
                    Ok(Some(message)) => self.receive(message, grip).await,
                    Ok(None) | Err(_) => return None,
                },
                () = grip.tenant().wait_for_reports(), if self.is_prepared => self.report(grip).await,
                () = bell.wait(self.logs_due), if self.is_prepared => self.send_logs(grip).await,
                () = tokio::time::sleep(DRAIN_POLL), if told_to_leave => self.leave_if_done(grip),
            };
        }
        said.err().flatten()
    }

    fn welcome(&self, grip: &mut Grip, draining: bool) -> Welcome {
        let held = grip.tenant().reattach();
        let programs_allowed = self.offering.programs.is_some();
        let gpus = self.offering.programs.as_ref().map_or(0, |programs| programs.gpus() as u32);
        let capabilities = Capabilities {
            kernels: self.offering.kernel_names(),
            programs_allowed,
            files_allowed: self.offering.files.is_some(),
            gpus,
        };
        Welcome {
            protocol: PROTOCOL,
            build: env!("CARGO_PKG_VERSION").to_owned(),
            memory_bytes: self.offering.memory_bytes,
            capabilities: Some(wire::capabilities_message(capabilities)),
            advertise: self.offering.advertise.clone(),
            instance: self.offering.instance,
            held: held.into_iter().map(wire::attempt_message).collect(),
            draining,
        }
    }

    /// An executor that leaves does so once nothing runs and the driver has fetched or released all that was made.
    fn leave_if_done(&mut self, grip: &mut Grip) -> Result<(), End> {
        if !grip.tenant().is_idle() || self.store.holds_results() {
            return Ok(());
        }
        self.is_over = true;
        Err(Some(Status::unavailable("the executor has left")))
    }

    async fn receive(&mut self, message: FromDriver, grip: &mut Grip) -> Result<(), End> {
        let (got, want) = (message.sequence, self.received + 1);
        if got != want {
            return Err(Some(Status::invalid_argument(format!("message {got} came where {want} was due"))));
        }
        if message.generation != self.generation || message.run != self.run {
            return Err(Some(Status::invalid_argument("the run or its driver changed within a session")));
        }
        self.received = got;
        check_acknowledged(&message, self.sent).map_err(|bad| Some(Status::invalid_argument(bad)))?;
        for (attempt, checkpoint) in grip.tenant().acknowledge(message.acknowledged, &message.settled) {
            self.store.release(attempt, checkpoint);
        }
        let mut done = Done::default();
        let mut obeyed = Ok(());
        for item in message.items {
            obeyed = self.obey(item, grip, &mut done).await;
            if obeyed.is_err() {
                break;
            }
        }
        // Also if an item made no sense, and before anything that waits: what has begun is started.
        self.runner.start(done.begun);
        if !done.answers.is_empty() {
            self.send(done.answers).await?;
        }
        obeyed
    }

    /// Does what one item asks. An item that makes no sense ends the session: the driver is at fault.
    async fn obey(&mut self, item: DriverItem, grip: &mut Grip, done: &mut Done) -> Result<(), End> {
        let invalid = |bad: &dyn ToString| Some(Status::invalid_argument(bad.to_string()));
        let Some(item) = item.item else { return Ok(()) }; // of a newer version
        match item {
            driver_item::Item::Hello(_) => return Err(invalid(&"a second hello")),
            driver_item::Item::Prepare(prepare) => self.prepare(prepare, grip, done).await?,
            driver_item::Item::Launch(launch) => {
                let launch = wire::launch(launch).map_err(|bad| invalid(&bad))?;
                done.begun.push(self.launch(launch, grip).map_err(|bad| invalid(&bad))?);
            }
            driver_item::Item::Cancel(Cancel { attempt, at_epoch_end }) => {
                let attempt = wire::attempt(attempt).map_err(|bad| invalid(&bad))?;
                // An attempt that has just ended is no longer live: its report is on the way.
                if let Some(stop) = grip.tenant().stop_of(attempt) {
                    if at_epoch_end { stop.at_epoch_end() } else { stop.now() }
                }
            }
            driver_item::Item::Release(Release { attempt, blob }) => {
                let attempt = wire::attempt(attempt).map_err(|bad| invalid(&bad))?;
                self.store.release(attempt, Digest::try_from(&blob[..]).map_err(|bad| invalid(&bad))?);
            }
            driver_item::Item::Peers(Peers { blob, addresses, encoded }) => {
                let blob = Digest::try_from(&blob[..]).map_err(|bad| invalid(&bad))?;
                if addresses.len() > PEERS_MAX {
                    return Err(invalid(&format!("{} peers; at most {PEERS_MAX} are allowed", addresses.len())));
                }
                let encoding = if encoded { Encoding::Lz4 } else { Encoding::Raw };
                let company = Company { addresses, encoding };
                match &self.exchange {
                    Some(exchange) if exchange.blob == blob => exchange.on_peers(company),
                    _ => self.exchange = Some(Exchange::start(self.surroundings.clone(), &self.run, blob, company)),
                }
            }
            driver_item::Item::Dismiss(_) => self.is_over = true,
        }
        Ok(())
    }

    /// Gets ready for a study. What was asked before it is begun first, since this may take long.
    async fn prepare(&mut self, prepare: Prepare, grip: &mut Grip, done: &mut Done) -> Result<(), End> {
        self.runner.start(mem::take(&mut done.begun));
        if !done.answers.is_empty() {
            return Err(Some(Status::invalid_argument("a second request to prepare in one message")));
        }
        let digest =
            |name: &[u8]| Digest::try_from(name).map_err(|bad| Some(Status::invalid_argument(bad.to_string())));
        let (data, study) = (digest(&prepare.data)?, digest(&prepare.study)?);
        let wanted = Wanted { data, study, kernel: prepare.kernel };
        let prepared = tokio::select! {
            biased;
            // Its driver has gone.
            () = self.outbound.closed() => return Err(None),
            prepared = preparing::prepare(&*self.runner, &self.store, &self.offering, wanted) => prepared,
        };
        let prepared = prepared.map_err(|failed| Some(Status::internal(failed)))?;
        let (mut program, mut lacks) = (String::new(), String::new());
        let slots = prepared.map(|prepared| {
            let slots = prepared.slots;
            let found = prepared.trainer.program();
            program = found.map(|path| path.display().to_string()).unwrap_or_default();
            prepared.trainer.lacks().unwrap_or_default().clone_into(&mut lacks);
            grip.tenant().prepared = Some(Arc::new(prepared));
            self.is_prepared = true;
            self.exchange = None;
            slots
        });
        let Sources { peers, cache } = self.surroundings.arrivals.take_sources(data);
        done.answers.push(executor_item::Item::Prepared(PreparedMessage {
            answer: Some(wire::answer_message(slots)),
            from_peers_bytes: peers,
            from_cache_bytes: cache,
            program: wire::bounded(&program).to_owned(),
            lacks: wire::bounded(&lacks).to_owned(),
        }));
        Ok(())
    }

    /// Begins an attempt. The driver knows the slots and what runs on them: a launch that does not fit is its fault.
    fn launch(&mut self, launch: Launch, grip: &mut Grip) -> Result<Attempt, &'static str> {
        let tenant = grip.tenant();
        let prepared = tenant.prepared.as_ref().filter(|_| self.is_prepared).ok_or("a launch before the data")?;
        let prepared = Arc::clone(prepared);
        if tenant.running() >= prepared.slots as usize {
            return Err("a launch while all slots are taken");
        }
        let (stop, reports) = tenant.begin(launch.attempt).ok_or("a launch of an attempt that runs already")?;
        if self.draining.is_cancelled() {
            stop.now(); // it crossed the news that the executor leaves: it stops before its first batch
        }
        let shelf = self.store.shelf_of(launch.attempt);
        let log = tenant.logs.open(launch.attempt);
        if let Some(input) = input_of(&launch) {
            shelf.claim(input);
        }
        Ok(Attempt { launch, prepared, shelf, stop, reports, log })
    }

    /// Reports; the log of an attempt goes before its end, so that it is whole where the end is known.
    async fn report(&mut self, grip: &mut Grip) -> Result<(), End> {
        for pieces in messages_of(grip.tenant().take_ended_logs(BATCH_MAX)) {
            self.send_pieces(pieces).await?;
        }
        let items = grip.tenant().send_next(BATCH_MAX, self.sent + 1).iter().map(wire::report_item).collect();
        self.send(items).await
    }

    /// Sends what waits of the logs, unless the driver has not even taken what was sent before.
    async fn send_logs(&mut self, grip: &mut Grip) -> Result<(), End> {
        self.logs_due = Instant::now() + LOG_INTERVAL;
        if self.outbound.capacity() < self.outbound.max_capacity() {
            return Ok(());
        }
        let pieces = grip.tenant().logs.take(LOG_BYTES_MAX);
        if pieces.is_empty() { Ok(()) } else { self.send_pieces(pieces).await }
    }

    async fn send_pieces(&mut self, pieces: Vec<LogPiece>) -> Result<(), End> {
        self.send(pieces.into_iter().map(wire::log_item).collect()).await
    }

    async fn send(&mut self, items: Vec<executor_item::Item>) -> Result<(), End> {
        self.sent += 1;
        let message = FromExecutor {
            run: self.run.clone(),
            generation: self.generation,
            sequence: self.sent,
            acknowledged: self.received,
            items: items.into_iter().map(|item| ExecutorItem { item: Some(item) }).collect(),
        };
        self.outbound.send(Ok(message)).await.map_err(|_| None)
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
