//! What a driver and an executor say to each other: the frames of a connection, the messages of sessions and of blocks,
//! and those of bulk, which we read from frames ourselves.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use broadsweep_common::attempt::{Artifact, ArtifactName, AttemptEvent, Durations, Ended, Launch, Report, Used};
use broadsweep_common::blob::BLOCK_BYTES;
use broadsweep_common::capabilities::Capabilities;
use broadsweep_common::configuration::{Configuration, Value};
use broadsweep_common::dataset::Part;
use broadsweep_common::details::{Answer, Confusion, Details, WorstRow};
use broadsweep_common::encoding::{Encoded, Encoding};
use broadsweep_common::ids::{AttemptId, Digest, TaskId, TrialId};
use broadsweep_common::log::{LogPiece, PIECE_BYTES_MAX};
use broadsweep_common::metrics::{MetricName, Metrics};
use broadsweep_common::refusal::{Refusal, StudyPart};
use broadsweep_common::task::{Replicate, Segment, TaskKind};
use broadsweep_proto::blocks::{Holdings, Manifest, OfferRequest, PullReply, pull_reply};
use broadsweep_proto::bulk::{Bulk, BulkServer, FetchReply, FetchRequest, Messages, PushReply, PushRequest};
use broadsweep_proto::guard::frames::{Meter, Side};
use broadsweep_proto::session::{
    Cancel, DriverItem, ExecutorItem, FromDriver, FromExecutor, Hello, Logged, Peers, Prepare, Prepared, Release,
    Welcome, driver_item, executor_item,
};
use broadsweep_proto::wire::{self, Told, WireError};
use bytes::{Buf, Bytes};
use http_body::Frame;
use prost::Message;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http::{Request, Uri};
use tonic::{Code, Status};

use super::Bound;

/// A block as long as its manifest says, whatever came of it.
pub(super) const BLOCK: Bound = Bound { fixed: 3 << 20, per_byte: 64 };

/// Blocks of the blob whose holdings are told.
const WATCHED_BLOCKS: u32 = 10;

/// All messages of `bytes`, each behind its length.
fn all<M: Message + Default>(mut bytes: &[u8]) -> Vec<M> {
    let mut messages = Vec::new();
    while let Ok(message) = M::decode_length_delimited(&mut bytes) {
        messages.push(message);
    }
    messages
}

fn written<M: Message>(messages: &[M]) -> Vec<u8> {
    messages.iter().flat_map(Message::encode_length_delimited_to_vec).collect()
}

/// What an executor reads of a session.
pub(super) fn from_driver(bytes: &[u8]) {
    let Ok(message) = FromDriver::decode(bytes) else { return };
    for item in message.items.into_iter().filter_map(|item| item.item) {
        match item {
            driver_item::Item::Launch(message) => {
                let Ok(launch) = wire::launch(message) else { continue };
                let driver_item::Item::Launch(again) = wire::launch_item(launch.clone()) else {
                    panic!("another item")
                };
                assert_eq!(same(&wire::launch(again).unwrap()), same(&launch));
            }
            driver_item::Item::Cancel(Cancel { attempt, .. }) => drop(wire::attempt(attempt)),
            driver_item::Item::Release(Release { attempt, blob }) => {
                let _ = (wire::attempt(attempt), Digest::try_from(&blob[..]));
            }
            driver_item::Item::Prepare(Prepare { data, study, .. }) => {
                let _ = (Digest::try_from(&data[..]), Digest::try_from(&study[..]));
            }
            driver_item::Item::Peers(Peers { blob, .. }) => drop(Digest::try_from(&blob[..]).ok()),
            driver_item::Item::Hello(hello) => assert!(wire::bounded(&hello.build).len() <= wire::REASON_BYTES_MAX),
            driver_item::Item::Dismiss(_) => {}
        }
    }
}

/// What a driver reads of a session.
pub(super) fn from_executor(bytes: &[u8]) {
    let Ok(message) = FromExecutor::decode(bytes) else { return };
    for item in message.items.into_iter().filter_map(|item| item.item) {
        match item {
            executor_item::Item::Welcome(welcome) => {
                drop(wire::held(&welcome.held));
                if let Ok(capabilities) = wire::capabilities(welcome.capabilities) {
                    let again = wire::capabilities_message(capabilities.clone());
                    assert_eq!(wire::capabilities(Some(again)), Ok(capabilities));
                }
            }
            executor_item::Item::Prepared(Prepared { answer, .. }) => {
                if let Ok(answer) = wire::answer(answer) {
                    assert_eq!(wire::answer(Some(wire::answer_message(answer.clone()))), Ok(answer));
                }
            }
            executor_item::Item::EpochEnded(message) => check_report(wire::epoch_ended(message)),
            executor_item::Item::AttemptEnded(message) => check_report(wire::attempt_ended(message)),
            executor_item::Item::Logged(message) => check_piece(message),
            executor_item::Item::Draining(_) => {}
        }
    }
}

/// What was read is what is read when it is said again.
fn check_report(report: Result<Report, WireError>) {
    let Ok(report) = report else { return };
    let again = match wire::report_item(&report) {
        executor_item::Item::EpochEnded(message) => wire::epoch_ended(message),
        executor_item::Item::AttemptEnded(message) => wire::attempt_ended(message),
        other => panic!("a report became {other:?}"),
    };
    assert_eq!(same(&again.unwrap()), same(&report));
}

/// A piece of a log is within its bounds, and is what is read when it is sent again.
fn check_piece(message: Logged) {
    let Ok(pieces) = wire::log_pieces(vec![message]) else { return };
    for piece in pieces {
        assert!(piece.text.len() <= PIECE_BYTES_MAX && piece.offset.checked_add(piece.text.len() as u64).is_some());
        let executor_item::Item::Logged(again) = wire::log_item(piece.clone()) else { panic!("another item") };
        assert_eq!(wire::log_pieces(vec![again]), Ok(vec![piece]));
    }
}

/// As text, in which NaN is itself.
fn same(value: &impl std::fmt::Debug) -> String {
    format!("{value:?}")
}

/// What an executor is offered, and what it answers pulls with begins alike.
pub(super) fn offer(bytes: &[u8]) {
    let Ok(OfferRequest { manifest, .. }) = OfferRequest::decode(bytes) else { return };
    if let Ok(manifest) = wire::manifest(manifest) {
        assert_eq!(wire::manifest(Some(wire::manifest_message(&manifest))), Ok(manifest));
    }
}

/// What a driver pulls: a manifest, then blocks.
pub(super) fn pull(bytes: &[u8]) {
    for reply in all::<PullReply>(bytes) {
        if let Some(pull_reply::Part::Manifest(manifest)) = reply.part {
            drop(wire::manifest(Some(manifest)));
        }
    }
}

/// What whoever watches an executor is told.
pub(super) fn holdings(bytes: &[u8]) {
    let mut told = Told::new(WATCHED_BLOCKS);
    let mut known = 0;
    for message in all(bytes) {
        let Ok(new) = told.add(message) else { return };
        known += new.len();
        assert!(known <= WATCHED_BLOCKS as usize, "a block was told twice");
    }
}

/// One block in LZ4, behind the length that its manifest gives it.
pub(super) fn block(mut bytes: &[u8]) {
    let Ok(length) = bytes.try_get_u32_le() else { return };
    let length = length as usize % (BLOCK_BYTES + 1);
    let encoded = Encoded { encoding: Encoding::Lz4, content: Bytes::copy_from_slice(bytes) };
    if let Ok(block) = encoded.decode(length) {
        assert_eq!(block.len(), length);
    }
}

/// What a peer sends before anybody knows it, whole and in pieces: it is the same however it comes.
pub(super) fn frames(bytes: &[u8]) {
    let now = tokio::time::Instant::now();
    for side in [Side::Client, Side::Server] {
        let fed = |piece| {
            let mut meter = Meter::new(side, now);
            bytes.chunks(piece).try_for_each(|piece| meter.take(piece, now))
        };
        let whole = fed(bytes.len().max(1));
        assert_eq!((fed(1), fed(7)), (whole, whole));
    }
}

/// Frames of a push, cut where the first byte says.
pub(super) fn bulk(bytes: &[u8]) {
    let Some((&cut, frames)) = bytes.split_first() else { return };
    let frames = Bytes::copy_from_slice(frames);
    let cut = (usize::from(cut) * 16).max(1);
    let pieces = (0..frames.len()).step_by(cut).map(|start| frames.slice(start..frames.len().min(start + cut)));
    let mut request = Request::new(Body::new(Frames(pieces.collect::<Vec<_>>().into_iter())));
    *request.uri_mut() = Uri::from_static("/broadsweep.bulk.v1.Bulk/Push");
    let mut server = BulkServer::new(std::sync::Arc::new(Reader));
    let answered = pin!(server.call(request)).poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(answered, Poll::Ready(Ok(_))), "all frames are here, and it waits");
}

/// A body of these frames.
struct Frames(std::vec::IntoIter<Bytes>);

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Poll::Ready(self.0.next().map(|data| Ok(Frame::data(data))))
    }
}

/// Reads what is pushed.
struct Reader;

#[tonic::async_trait]
impl Bulk for Reader {
    async fn push(&self, mut blocks: Messages<PushRequest>) -> Result<PushReply, Status> {
        while let Some(block) = blocks.message().await? {
            drop(wire::encoded(block.content, block.encoding));
        }
        Ok(PushReply {})
    }

    async fn fetch(&self, _: FetchRequest) -> Result<FetchReply, Status> {
        Err(Status::new(Code::NotFound, "nothing is here"))
    }
}

fn attempt() -> AttemptId {
    AttemptId { task: TaskId(7), number: 2 }
}

fn name(of: &str) -> Bytes {
    Bytes::copy_from_slice(&Digest::of(of.as_bytes()).0)
}

pub(super) fn from_driver_seeds() -> Vec<Vec<u8>> {
    let values = [
        ("fc1", Value::Integer(-3)),
        ("rate", Value::Real(0.1)),
        ("optimizer", Value::Choice("adam".into())),
        ("nesterov", Value::Flag(false)),
    ];
    let replicate = Replicate { trial: TrialId(7), repeat: 3, fold: 2 };
    let kinds = [
        TaskKind::Train(Segment { replicate, from_epoch: 4, until_epoch: 9 }),
        TaskKind::Measure { replicate, weights: Digest::of(b"w"), part: Part::Test },
        TaskKind::Examine { replicate, weights: Digest::of(b"w"), part: Part::Validation },
        TaskKind::Apply { partition: 5 },
    ];
    let launch = |kind| {
        let configuration = Configuration::from_iter(values.clone());
        wire::launch_item(Launch { attempt: attempt(), kind, configuration, input: Some(Digest::of(b"state")) })
    };
    let told = Some(wire::attempt_message(attempt()));
    let rest = [
        driver_item::Item::Hello(Hello { protocol: 7, build: "0.1.0".into(), take_over: true }),
        driver_item::Item::Prepare(Prepare { data: name("d"), study: name("s"), kernel: "portable".into() }),
        driver_item::Item::Cancel(Cancel { attempt: told, at_epoch_end: true }),
        driver_item::Item::Release(Release { attempt: told, blob: name("b") }),
        driver_item::Item::Peers(Peers { blob: name("d"), addresses: vec!["a:1".into()], encoded: true }),
        driver_item::Item::Dismiss(broadsweep_proto::session::Dismiss {}),
    ];
    let message = |item| FromDriver {
        run: "r".into(),
        generation: 1,
        sequence: 2,
        acknowledged: 1,
        items: vec![DriverItem { item: Some(item) }],
        settled: vec![3, 4],
    };
    kinds.map(launch).into_iter().chain(rest).map(|item| message(item).encode_to_vec()).collect()
}

pub(super) fn from_executor_seeds() -> Vec<Vec<u8>> {
    let metrics = Metrics::from_iter([(MetricName::TRAINING_LOSS, 0.5), (MetricName::new("auc").unwrap(), f64::NAN)]);
    let names = [ArtifactName::Weights, ArtifactName::Checkpoint, ArtifactName::Output];
    let artifacts = names.map(|name| Artifact { name, blob: Digest::of(b"made") }).to_vec();
    let events = [
        AttemptEvent::Epoch { epoch: 2, metrics: metrics.clone(), checkpoint: Some(Digest::of(b"state")) },
        AttemptEvent::Ended(Ended::Trained { epoch: 2, artifacts: artifacts.clone() }),
        AttemptEvent::Ended(Ended::Measured(metrics.clone())),
        AttemptEvent::Ended(Ended::Examined(Details {
            guess: metrics,
            confusions: vec![Confusion { wanted: 1, predicted: 0, rows: 7 }],
            worst: vec![WorstRow { row: 3, loss: 0.5, answer: Answer::Class { wanted: 1, predicted: 0 } }],
        })),
        AttemptEvent::Ended(Ended::Applied { artifacts }),
        AttemptEvent::Ended(Ended::Stopped),
        AttemptEvent::Ended(Ended::Refused { needed_bytes: 2, available_bytes: 1 }),
        AttemptEvent::Ended(Ended::Diverged { epoch: 3 }),
        AttemptEvent::Ended(Ended::Failed { reason: "out of luck".into() }),
    ];
    let used = Some(Used { cpu_us: 8, memory_peak_bytes: 9 });
    let durations = Durations { training: Duration::from_micros(5), evaluation: Duration::from_micros(6), used };
    let reports = events.map(|event| wire::report_item(&Report { attempt: attempt(), durations, event }));
    let refusals = [
        Ok(4),
        Err(Refusal::Kernel { wanted: "avx512".into(), has: vec!["portable".into()] }),
        Err(Refusal::Missing { what: StudyPart::Data, blob: Digest::of(b"d") }),
        Err(Refusal::Trainer { reason: "no rows".into() }),
        Err(Refusal::Program { reason: "no python".into() }),
    ];
    let answers = refusals.map(|answer| {
        let answer = Some(wire::answer_message(answer));
        executor_item::Item::Prepared(Prepared {
            answer,
            from_peers_bytes: 1,
            from_cache_bytes: 2,
            program: "/bin/sh".into(),
            lacks: "/data/rows.csv: no such file".into(),
        })
    });
    let capabilities =
        Capabilities { kernels: vec!["avx2".into()], programs_allowed: true, files_allowed: true, gpus: 1 };
    let welcome = executor_item::Item::Welcome(Welcome {
        protocol: 7,
        build: "0.1.0".into(),
        memory_bytes: 1 << 30,
        capabilities: Some(wire::capabilities_message(capabilities)),
        advertise: "a:1".into(),
        instance: 5,
        held: vec![wire::attempt_message(attempt())],
        draining: true,
    });
    let logged = wire::log_item(LogPiece { attempt: attempt(), offset: 9, text: Bytes::from_static(b"epoch 1\n") });
    let items = reports.into_iter().chain(answers).chain([welcome, logged]);
    let message = |item| FromExecutor {
        run: "r".into(),
        generation: 1,
        sequence: 2,
        acknowledged: 1,
        items: vec![ExecutorItem { item: Some(item) }],
    };
    items.map(|item| message(item).encode_to_vec()).collect()
}

fn manifest() -> Manifest {
    Manifest { bytes: BLOCK_BYTES as u64 + 1, blocks: vec![name("a"), name("b")] }
}

pub(super) fn frames_seeds() -> Vec<Vec<u8>> {
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let frame = |kind: u8, flags: u8, payload: &[u8]| {
        [&(payload.len() as u32).to_be_bytes()[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
    };
    let pieces =
        [frame(4, 0, &[]), frame(1, 0, &[0x82]), frame(9, 4, &[0x84]), frame(0, 1, b"content"), frame(6, 0, &[0; 8])];
    let frames = pieces.concat();
    vec![[&preface[..], &frames].concat(), frames, frame(6, 0, &[0; 8]).repeat(51)]
}

pub(super) fn offer_seeds() -> Vec<Vec<u8>> {
    vec![OfferRequest { run: "r".into(), manifest: Some(manifest()), cached: true }.encode_to_vec()]
}

pub(super) fn pull_seeds() -> Vec<Vec<u8>> {
    let parts = [pull_reply::Part::Manifest(manifest()), pull_reply::Part::Block(name("block"))];
    vec![written(&parts.map(|part| PullReply { part: Some(part) }))]
}

pub(super) fn holdings_seeds() -> Vec<Vec<u8>> {
    let all = Bytes::from_static(&[0b1000_0001, 0b10]);
    let first = Holdings { all: Some(all), came: vec![1] };
    vec![written(&[first, Holdings { all: None, came: vec![2, 3] }, Holdings { all: None, came: vec![8] }])]
}

pub(super) fn block_seeds() -> Vec<Vec<u8>> {
    let contents = [vec![7; 5000], (0..=255).cycle().take(2000).collect(), b"to be, or not to be, to be".repeat(9)];
    let encoded = |content: Vec<u8>| {
        let length = content.len() as u32;
        let encoded = Encoded::of(content.into(), Encoding::Lz4);
        [&length.to_le_bytes()[..], &encoded.content].concat()
    };
    contents.map(encoded).into()
}

pub(super) fn bulk_seeds() -> Vec<Vec<u8>> {
    let block = |bytes: usize| {
        let content = vec![5; bytes].into();
        let message = PushRequest { run: "r".into(), blob: name("b"), index: 1, content, encoding: 1 };
        let message = message.encode_to_vec();
        [&[0][..], &(message.len() as u32).to_be_bytes(), &message].concat()
    };
    [0, 1, 255].map(|cut| [&[cut][..], &block(0), &block(30), &block(6000)].concat()).into()
}
