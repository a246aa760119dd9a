//! How a session begins: hello and welcome, then data and description, until the executor is prepared.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use broadsweep_common::blob::Blob;
use broadsweep_common::encoding::Encoding;
use broadsweep_common::exchange::BlockSet;
use broadsweep_common::ids::AttemptId;
use broadsweep_proto::safe_channel::SafeChannel;
use broadsweep_proto::session::session_client::SessionClient;
use broadsweep_proto::session::{FromExecutor, Hello, Prepare, Prepared, Welcome, driver_item, executor_item};
use broadsweep_proto::wire;
use broadsweep_proto::{MESSAGE_BYTES_MAX, PROTOCOL};
use bytes::Bytes;
use tokio::sync::Semaphore;
use tonic::{Code, Status};

use super::broadcast::{Seat, Way};
use super::desk::Desk;
use super::dial::{ANSWER_TIMEOUT, dial};
use super::ending::{SessionEnd, broadcast_error, status_in_words};
use super::errands::Errands;
use super::outbound::Outbound;
use super::session::{LOG_BYTES_MAX, PULLS_OF_ONE_MAX, Session};
use super::transfer::Transfer;
use super::{LinkError, LinkEvent, Ready, SessionId};

/// How long an executor may take to check what it has of the data, and to get it ready for the study.
const PREPARE_TIMEOUT: Duration = Duration::from_mins(2);
/// It may take a second more for each so many bytes of the data: a program's rows are written to its disk once more.
const PREPARE_RATE_MIN: u64 = 8 << 20;

/// A session whose executor has all it needs.
pub(super) struct Opened {
    pub(super) session: Session,
    pub(super) ready: Ready,
    /// In the broadcast of the data.
    pub(super) seat: Seat,
}

/// What the greeting found out.
struct Accepted {
    seat: Seat,
    held: Vec<AttemptId>,
    kernel: String,
    prepared: Preparation,
}

/// What an executor answered when it was to prepare.
struct Preparation {
    slots: u32,
    /// Where it has found the study's program, if it told that.
    program: Option<String>,
    /// Why it cannot read the files of the input.
    lacks: Option<String>,
    /// Whether it told meanwhile that it leaves.
    leaves: bool,
}

/// Dials, says hello, broadcasts and prepares.
pub(super) async fn open(desk: &mut Desk, id: SessionId, address: &str) -> Result<Opened, SessionEnd> {
    let over = desk.over.clone();
    let channel = tokio::select! {
        biased;
        () = over.cancelled() => return Err(SessionEnd::RunOver),
        channel = dial(&desk.world.connect, address) => channel?,
    };
    // Not cut short where the run ends: who has heard the hello has to hear the goodbye.
    let (mut session, welcome) = greet(desk, channel, address).await?;
    // Once only: if another run takes over later, that was asked for later.
    desk.takes_over = false;
    // Where its peers reach it.
    let reached_at = if welcome.advertise.is_empty() { address } else { &welcome.advertise };
    let prepared = tokio::select! {
        biased;
        () = over.cancelled() => Err(SessionEnd::RunOver),
        prepared = accept(&mut session, desk, &welcome, reached_at) => prepared,
    };
    if over.is_cancelled() {
        return Err(dismiss_unless_spared(&mut session, desk, &welcome).await);
    }
    let Accepted { seat, held, kernel, prepared: Preparation { slots, program, lacks, leaves } } = prepared?;
    let Welcome { instance, draining, .. } = welcome;
    let ready = Ready { session: id, slots, instance, kernel, program, lacks, held, draining: draining || leaves };
    Ok(Opened { session, ready, seat })
}

/// Dials an executor that may hold the run although nobody talks to it any more, and tells it that it need not.
pub(super) async fn say_goodbye_after_redial(desk: &mut Desk, address: &str) {
    desk.takes_over = false;
    // Best effort: one that does not answer ends the hold by itself, later.
    let Ok(channel) = dial(&desk.world.connect, address).await else { return };
    if let Ok((mut session, welcome)) = greet(desk, channel, address).await {
        dismiss_unless_spared(&mut session, desk, &welcome).await;
    }
}

/// Ends a session that was just welcomed. Where something of the run is under way, it may be spared.
async fn dismiss_unless_spared(session: &mut Session, desk: &Desk, welcome: &Welcome) -> SessionEnd {
    if !welcome.held.is_empty() && desk.is_spared() {
        return SessionEnd::RunOver;
    }
    session.goodbye().await
}

/// Looks whether the executor is one for this run, and prepares it.
async fn accept(
    session: &mut Session,
    desk: &Desk,
    welcome: &Welcome,
    reached_at: &str,
) -> Result<Accepted, SessionEnd> {
    let refused = |reason: String| LinkError::Refused { address: session.address.clone(), reason };
    if welcome.protocol != PROTOCOL {
        let reason = format!("it speaks protocol {}, this driver {PROTOCOL}; use one version", welcome.protocol);
        return Err(refused(reason).into());
    }
    let capabilities = wire::capabilities(welcome.capabilities.clone()).map_err(|bad| refused(bad.to_string()))?;
    desk.payload.kernel.on_kernels(desk.executor(), &capabilities.kernels).map_err(refused)?;
    let twice = |other| LinkError::Twice { address: session.address.clone(), other };
    desk.claim(welcome.instance).map_err(twice)?;
    let held = wire::held(&welcome.held).map_err(|bad| session.broken(&bad.to_string()))?;
    desk.tell(LinkEvent::Connected).await?;
    let seat = take_data(session, desk, reached_at).await?;
    let kernel = desk.payload.kernel.agreed().await;
    let prepared = prepare(session, desk, &kernel).await?;
    Ok(Accepted { seat, held, kernel, prepared })
}

/// Sees to it that the executor has the description, and that it can use it and the data.
async fn prepare(session: &mut Session, desk: &Desk, kernel: &str) -> Result<Preparation, SessionEnd> {
    let address = session.address.clone();
    let payload = &desk.payload;
    let refused = |status: Status| broadcast_error(&address, &status);
    let description = async {
        let missing = session.transfer.offer(&payload.study, false).await?.unwrap_or_default();
        session.transfer.push(&payload.study, missing, Encoding::Raw, &payload.traffic).await
    };
    description.await.map_err(refused)?;
    let name = |blob: &Blob<Bytes>| Bytes::copy_from_slice(&blob.manifest.digest().0);
    let prepare = Prepare { data: name(&payload.data), study: name(&payload.study), kernel: kernel.to_owned() };
    session.outbound.send(vec![driver_item::Item::Prepare(prepare)]).await?;
    let mut leaves = false;
    loop {
        match within(&address, payload.data_bytes(), session.next_item()).await?? {
            executor_item::Item::Prepared(Prepared {
                answer,
                from_peers_bytes,
                from_cache_bytes,
                program,
                lacks,
            }) => {
                let slots = match wire::answer(answer) {
                    Ok(Ok(slots)) => slots,
                    Ok(Err(refusal)) => return Err(LinkError::Unprepared { address, refusal }.into()),
                    Err(bad) => return Err(LinkError::Refused { address, reason: bad.to_string() }.into()),
                };
                payload.traffic.from_peers.fetch_add(from_peers_bytes.min(payload.data_bytes()), Ordering::Relaxed);
                payload.traffic.from_cache.fetch_add(from_cache_bytes.min(payload.data_bytes()), Ordering::Relaxed);
                let told = |words: &str| Some(wire::bounded(words).to_owned()).filter(|words| !words.is_empty());
                return Ok(Preparation { slots, program: told(&program), lacks: told(&lacks), leaves });
            }
            executor_item::Item::Draining(_) => leaves = true,
            _ => return Err(session.broken("reported on attempts before it was ready").into()),
        }
    }
}

/// Lets the executor take part in the broadcast of the data until it has all of it.
async fn take_data(session: &mut Session, desk: &Desk, reached_at: &str) -> Result<Seat, SessionEnd> {
    let address = session.address.clone();
    let refused = |status: Status| broadcast_error(&address, &status);
    let data = &desk.payload.data;
    let missing = loop {
        if let Some(missing) = session.transfer.offer(data, true).await.map_err(refused)? {
            break missing;
        }
    };
    let mut have = BlockSet::full(data.manifest.blocks().len() as u32);
    for index in &missing {
        have.remove(*index);
    }
    let is_complete = missing.is_empty();
    let mut seat = desk.broadcast.join(desk.executor(), reached_at, (have, &desk.payload.traffic));
    if !is_complete {
        let Session { address, transfer, outbound, .. } = session;
        seat.complete(Way { address, transfer, outbound, teller: &desk.teller }).await?;
    }
    Ok(seat)
}

/// What an executor answers once it has got this much data ready.
async fn within<T>(address: &str, data_bytes: u64, answer: impl Future<Output = T>) -> Result<T, LinkError> {
    let patience = PREPARE_TIMEOUT + Duration::from_secs(data_bytes / PREPARE_RATE_MIN);
    tokio::time::timeout(patience, answer).await.map_err(|_| LinkError::Broken {
        address: address.to_owned(),
        reason: format!("no answer to the request to prepare within {} s", patience.as_secs()),
    })
}

async fn greet(desk: &Desk, channel: SafeChannel, address: &str) -> Result<(Session, Welcome), LinkError> {
    let payload = &desk.payload;
    let hello = Hello { protocol: PROTOCOL, build: env!("CARGO_PKG_VERSION").to_owned(), take_over: desk.takes_over };
    let (outbound, outgoing, acknowledged) = Outbound::open(payload, hello);
    let mut client = SessionClient::new(channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let answer = tokio::time::timeout(ANSWER_TIMEOUT, async {
        let mut inbound = client.hold(outgoing).await?.into_inner();
        let first = inbound.message().await?;
        Ok::<_, Status>((inbound, first))
    });
    let no_executor = |reason: String| LinkError::NotAnExecutor { address: address.to_owned(), reason };
    let (inbound, first) = match answer.await {
        Ok(Ok(answer)) => answer,
        Ok(Err(status)) => return Err(greeting_error(address, &status)),
        Err(_) => {
            return Err(no_executor(format!("no answer to a hello within {} s", ANSWER_TIMEOUT.as_secs())));
        }
    };
    let FromExecutor { sequence, generation, items: greeting, .. } = first.unwrap_or_default();
    let Some(executor_item::Item::Welcome(welcome)) = greeting.into_iter().next().and_then(|item| item.item) else {
        return Err(no_executor("it did not answer the hello with a welcome".to_owned()));
    };
    if (sequence, generation) != (1, payload.generation) {
        return Err(no_executor(format!("its first message has number {sequence} for driver {generation}")));
    }
    acknowledged.add(sequence, Vec::new());
    let transfer = Transfer::new(channel, &payload.run);
    let address = address.to_owned();
    let session = Session {
        address,
        outbound,
        inbound,
        received: sequence,
        acknowledged,
        transfer,
        supplies: Arc::default(),
        errands: Errands::default(),
        pulls: Arc::new(Semaphore::new(PULLS_OF_ONE_MAX)),
        log_room: Arc::new(Semaphore::new(LOG_BYTES_MAX)),
    };
    Ok((session, welcome))
}

fn greeting_error(address: &str, status: &Status) -> LinkError {
    let (address, reason) = (address.to_owned(), status_in_words(status));
    match status.code() {
        Code::FailedPrecondition => LinkError::Refused { address, reason },
        Code::AlreadyExists => LinkError::Held { address, reason },
        Code::PermissionDenied => LinkError::NotLetIn { address, reason },
        Code::Unavailable | Code::Aborted | Code::Cancelled => LinkError::Broken { address, reason },
        _ => LinkError::NotAnExecutor { address, reason },
    }
}

#[cfg(test)]
#[path = "greeting_tests.rs"]
mod tests;
