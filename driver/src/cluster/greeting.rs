//! How a session begins: hello and welcome, then data and description, until the executor is prepared.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use broadsweep_common::attempt::SLOTS_MAX;
use broadsweep_common::blob::Blob;
use broadsweep_common::encoding::Encoding;
use broadsweep_common::exchange::BlockSet;
use broadsweep_common::ids::AttemptId;
use broadsweep_proto::link::Link;
use broadsweep_proto::session::session_client::SessionClient;
use broadsweep_proto::session::{FromExecutor, Hello, Prepare, Prepared, Welcome, driver_item, executor_item};
use broadsweep_proto::wire;
use broadsweep_proto::{MESSAGE_BYTES_MAX, PROTOCOL};
use bytes::Bytes;
use tonic::{Code, Status};

use super::desk::Desk;
use super::dial::{ANSWER_TIMEOUT, dial};
use super::session::{Outbound, Session, SessionEnd, status_in_words};
use super::transfer::Transfer;
use super::{LinkError, LinkEvent, Ready, SessionId};

/// How long an executor may take to check what it has of the data, or to open it.
const PREPARE_TIMEOUT: Duration = Duration::from_mins(2);

/// Dials, says hello, broadcasts and prepares.
pub(super) async fn open(desk: &mut Desk, id: SessionId, address: &str) -> Result<(Session, Ready), SessionEnd> {
    let over = desk.over.clone();
    let link = tokio::select! {
        biased;
        () = over.cancelled() => return Err(SessionEnd::RunOver),
        link = dial(&desk.world.connect, address) => link?,
    };
    // Not cut short where the run ends: who has heard the hello has to hear the goodbye.
    let (mut session, welcome) = greet(desk, link, address).await?;
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
        return Err(part_from(&mut session, desk, &welcome).await);
    }
    let (held, leaves, kernel) = prepared?;
    let Welcome { slots, instance, draining, .. } = welcome;
    Ok((session, Ready { session: id, slots, instance, kernel, held, draining: draining || leaves }))
}

/// Dials an executor that may hold the run although nobody talks to it any more, and tells it that it need not.
pub(super) async fn part(desk: &mut Desk, address: &str) {
    desk.takes_over = false;
    // Best effort: one that does not answer ends the hold by itself, later.
    let Ok(link) = dial(&desk.world.connect, address).await else { return };
    if let Ok((mut session, welcome)) = greet(desk, link, address).await {
        part_from(&mut session, desk, &welcome).await;
    }
}

/// Ends a session that was just welcomed. Where something of the run is under way, it may be spared.
async fn part_from(session: &mut Session, desk: &Desk, welcome: &Welcome) -> SessionEnd {
    if !welcome.held.is_empty() && desk.is_spared() {
        return SessionEnd::RunOver;
    }
    session.goodbye().await
}

/// Looks whether the executor is one for this run, and prepares it. What it holds of the run comes first, then what
/// [`prepare`] says.
async fn accept(
    session: &mut Session,
    desk: &Desk,
    welcome: &Welcome,
    reached_at: &str,
) -> Result<(Vec<AttemptId>, bool, String), SessionEnd> {
    let address = || session.address.clone();
    check_welcome(welcome)
        .and_then(|()| desk.payload.kernel.heard(desk.executor, &welcome.kernels))
        .map_err(|reason| LinkError::Refused { address: address(), reason })?;
    desk.claim(welcome.instance).map_err(|other| LinkError::Twice { address: address(), other })?;
    let held = wire::held(&welcome.held).map_err(|bad| session.broken(&bad.to_string()))?;
    desk.tell(LinkEvent::Connected).await?;
    let (leaves, kernel) = prepare(session, desk, reached_at).await?;
    Ok((held, leaves, kernel))
}

/// Sees to it that the executor has data and description, and that it can use them. Says whether it told meanwhile that
/// it leaves, and what it trains with.
async fn prepare(session: &mut Session, desk: &Desk, reached_at: &str) -> Result<(bool, String), SessionEnd> {
    let address = session.address.clone();
    let payload = &desk.payload;
    take_data(session, desk, reached_at).await?;
    let refused = |status: Status| broadcast_error(&address, &status);
    let description = async {
        let missing = session.transfer.offer(&payload.study, false).await?.unwrap_or_default();
        session.transfer.push(&payload.study, missing, Encoding::Raw, &payload.traffic).await
    };
    description.await.map_err(refused)?;
    let name = |blob: &Blob<Bytes>| Bytes::copy_from_slice(&blob.manifest.digest().0);
    let kernel = payload.kernel.agreed().await;
    let prepare = Prepare { data: name(&payload.data), study: name(&payload.study), kernel: kernel.clone() };
    session.outbound.send(vec![driver_item::Item::Prepare(prepare)]).await?;
    let mut leaves = false;
    loop {
        match within(&address, "the request to prepare", session.next_item()).await?? {
            executor_item::Item::Prepared(Prepared { refusal, from_peers_bytes, from_cache_bytes }) => {
                if !refusal.is_empty() {
                    return Err(LinkError::Broadcast { address, reason: refusal }.into());
                }
                payload.traffic.from_peers.fetch_add(from_peers_bytes.min(payload.data_bytes()), Ordering::Relaxed);
                payload.traffic.from_cache.fetch_add(from_cache_bytes.min(payload.data_bytes()), Ordering::Relaxed);
                return Ok((leaves, kernel));
            }
            executor_item::Item::Draining(_) => leaves = true,
            _ => return Err(session.broken("reported on attempts before it was ready").into()),
        }
    }
}

/// Lets the executor take part in the broadcast of the data until it has all of it.
async fn take_data(session: &mut Session, desk: &Desk, reached_at: &str) -> Result<(), SessionEnd> {
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
    let mut presence = desk.broadcast.join(desk, reached_at, have);
    if !is_complete {
        presence.complete(session, desk).await?;
    }
    session.presence = Some(presence);
    Ok(())
}

async fn within<T>(address: &str, what: &str, answer: impl Future<Output = T>) -> Result<T, LinkError> {
    tokio::time::timeout(PREPARE_TIMEOUT, answer).await.map_err(|_| LinkError::Broken {
        address: address.to_owned(),
        reason: format!("no answer to {what} within {} s", PREPARE_TIMEOUT.as_secs()),
    })
}

async fn greet(desk: &Desk, link: Link, address: &str) -> Result<(Session, Welcome), LinkError> {
    let payload = &desk.payload;
    let hello = Hello { protocol: PROTOCOL, build: env!("CARGO_PKG_VERSION").to_owned(), take_over: desk.takes_over };
    let (outbound, outgoing, acknowledged) = Outbound::open(payload, hello);
    let mut client = SessionClient::new(link.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX);
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
    acknowledged.store(sequence, Ordering::Relaxed);
    let transfer = Transfer::new(link, &payload.run);
    let address = address.to_owned();
    let supplies = Arc::default();
    let session =
        Session { address, outbound, inbound, received: sequence, acknowledged, transfer, supplies, presence: None };
    Ok((session, welcome))
}

/// Whether this driver can work with what the executor says of itself.
fn check_welcome(welcome: &Welcome) -> Result<(), String> {
    if welcome.protocol != PROTOCOL {
        return Err(format!("it speaks protocol {}, this driver {PROTOCOL}; use one version", welcome.protocol));
    }
    if welcome.slots == 0 || welcome.slots > SLOTS_MAX {
        return Err(format!("it says that it has {} slots", welcome.slots));
    }
    Ok(())
}

fn greeting_error(address: &str, status: &Status) -> LinkError {
    let (address, reason) = (address.to_owned(), status_in_words(status));
    match status.code() {
        Code::FailedPrecondition => LinkError::Refused { address, reason },
        Code::AlreadyExists => LinkError::Held { address, reason },
        Code::Unavailable | Code::Aborted | Code::Cancelled => LinkError::Broken { address, reason },
        _ => LinkError::NotAnExecutor { address, reason },
    }
}

pub(super) fn broadcast_error(address: &str, status: &Status) -> LinkError {
    let (address, reason) = (address.to_owned(), status_in_words(status));
    match status.code() {
        Code::ResourceExhausted | Code::InvalidArgument | Code::DataLoss => LinkError::Broadcast { address, reason },
        _ => LinkError::Broken { address, reason },
    }
}
