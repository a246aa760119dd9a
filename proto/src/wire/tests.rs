//! Messages there and back, and all that is refused.

use std::time::Duration;

use broadsweep_common::attempt::{
    ARTIFACTS_MAX, Artifact, ArtifactName, AttemptEvent, Durations, Ended, Launch, Report, Used,
};
use broadsweep_common::capabilities::Capabilities;
use broadsweep_common::codec;
use broadsweep_common::configuration::{Configuration, PARAMETERS_MAX, TEXT_BYTES_MAX, Value};
use broadsweep_common::dataset::Part;
use broadsweep_common::details::{self, CONFUSIONS_MAX, Confusion, Details, WorstRow};
use broadsweep_common::ids::TrialId;
use broadsweep_common::log::{LogPiece, PIECE_BYTES_MAX, PIECES_BYTES_MAX, PIECES_MAX};
use broadsweep_common::metrics::{METRICS_MAX, MetricName, Metrics};
use broadsweep_common::refusal::{Refusal, StudyPart};
use broadsweep_common::task::{Replicate, Segment, TaskKind};
use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::session::attempt_ended::Outcome;
use crate::session::prepared::Answer;
use crate::session::refusal::Reason;
use crate::session::{self, driver_item, executor_item};

fn metrics() -> Metrics {
    Metrics::from_iter([(MetricName::TRAINING_LOSS, 0.5), (MetricName::new("auc").unwrap(), f64::NAN)])
}

fn artifacts() -> Vec<Artifact> {
    let names = [ArtifactName::Weights, ArtifactName::Checkpoint, ArtifactName::Output];
    names.map(|name| Artifact { name, blob: Digest::of(format!("{name:?}").as_bytes()) }).to_vec()
}

fn attempt_id() -> AttemptId {
    AttemptId { task: TaskId(7), number: 2 }
}

#[test]
fn a_launch_is_the_same_after_the_wire() {
    let values = [
        ("fc1", Value::Integer(-3)),
        ("rate", Value::Real(0.1)),
        ("optimizer", Value::Choice("adam".into())),
        ("nesterov", Value::Flag(false)),
    ];
    let configuration = Configuration::from_iter(values);
    let replicate = Replicate { trial: TrialId(7), repeat: 3, fold: 2 };
    let train = TaskKind::Train(Segment { replicate, from_epoch: 4, until_epoch: 9 });
    let weights = Digest::of(b"weights");
    let measures = [Part::Train, Part::Validation, Part::Test];
    let measures = measures.map(|part| TaskKind::Measure { replicate, weights, part });
    let examine = TaskKind::Examine { replicate, weights, part: Part::Validation };
    for kind in measures.into_iter().chain([train, examine, TaskKind::Apply { partition: 5 }]) {
        let begins_with = matches!(kind, TaskKind::Train(_) | TaskKind::Apply { .. });
        let input = begins_with.then(|| Digest::of(b"state"));
        let configuration = if kind.trial().is_some() { configuration.clone() } else { Configuration::default() };
        let sent = Launch { attempt: attempt_id(), kind, configuration, input };
        let driver_item::Item::Launch(message) = launch_item(sent.clone()) else { panic!("another item") };
        let message = session::Launch::decode(&message.encode_to_vec()[..]).unwrap();
        assert_eq!(launch(message), Ok(sent));
    }
}

#[test]
fn a_report_is_the_same_after_the_wire() {
    let used = Some(Used { cpu_us: 8, memory_peak_bytes: 1 << 40 });
    let durations = Durations { training: Duration::from_micros(5), evaluation: Duration::from_micros(6), used };
    let ends = [
        Ended::Trained { epoch: 2, artifacts: artifacts() },
        Ended::Trained { epoch: 2, artifacts: Vec::new() },
        Ended::Measured(metrics()),
        Ended::Examined(details(2)),
        Ended::Applied { artifacts: artifacts() },
        Ended::Stopped,
        Ended::Refused { needed_bytes: 2, available_bytes: 1 },
        Ended::Diverged { epoch: 3 },
        Ended::Failed { reason: "out of luck".into() },
    ];
    let epochs = [None, Some(Digest::of(b"state"))];
    let epochs = epochs.map(|checkpoint| AttemptEvent::Epoch { epoch: 2, metrics: metrics(), checkpoint });
    for event in ends.into_iter().map(AttemptEvent::Ended).chain(epochs) {
        let sent = Report { attempt: attempt_id(), durations, event };
        let received = match report_item(&sent) {
            executor_item::Item::EpochEnded(message) => epoch_ended(message),
            executor_item::Item::AttemptEnded(message) => attempt_ended(message),
            other => panic!("a report became {other:?}"),
        };
        assert_eq!(received, Ok(sent));
    }
}

/// Details with so many pairs of classes.
fn details(pairs: u32) -> Details {
    let confusions = (0..pairs).map(|pair| Confusion { wanted: pair, predicted: 0, rows: 3 }).collect();
    let answer = details::Answer::Values { wanted: vec![1.0], predicted: vec![2.0] };
    Details { guess: metrics(), confusions, worst: vec![WorstRow { row: 1 << 40, loss: 0.5, answer }] }
}

#[test]
fn details_that_nobody_tells_are_refused() {
    let told = |details: &Details| {
        let details = codec::encode(details).unwrap().into();
        end_of(Outcome::Examined(session::Examined { details }))
    };
    assert!(told(&details(CONFUSIONS_MAX as u32)).is_ok());
    assert!(matches!(told(&details(CONFUSIONS_MAX as u32 + 1)), Err(WireError::TooMuch(_))));
    let cut = end_of(Outcome::Examined(session::Examined { details: vec![1, 2].into() }));
    assert!(matches!(cut, Err(WireError::Details(_))), "{cut:?}");
}

/// What comes of an end like this.
fn end_of(outcome: Outcome) -> Result<Report, WireError> {
    let attempt = Some(attempt_message(attempt_id()));
    attempt_ended(session::AttemptEnded { attempt, durations: None, outcome: Some(outcome) })
}

#[test]
fn metrics_that_no_report_has_are_refused() {
    let metric = |name: &str| session::Metric { name: name.to_owned(), ..Default::default() };
    let built_in = |number: u32| session::Metric { built_in: number, ..Default::default() };
    let many = |count: usize| (0..count).map(|number| metric(&number.to_string())).collect::<Vec<_>>();
    let measured = |metrics| end_of(Outcome::Measured(session::Measured { metrics }));
    let epoch = |metrics| {
        let attempt = Some(attempt_message(attempt_id()));
        epoch_ended(session::EpochEnded { attempt, metrics, ..Default::default() })
    };
    for told in [measured, epoch as fn(_) -> _] {
        assert!(told(many(METRICS_MAX)).is_ok());
        let (what, got, max) = ("metrics", METRICS_MAX + 1, METRICS_MAX);
        assert_eq!(told(many(got)), Err(WireError::TooMany { what, got, max }));
        assert!(matches!(told(vec![metric("two\nlines")]), Err(WireError::MetricName(_))));
        assert_eq!(told(vec![metric("a"), metric("a")]), Err(WireError::Twice("metric a".to_owned())));
        let twice = Err(WireError::Twice("metric test_error".to_owned()));
        assert_eq!(told(vec![built_in(7), metric("test_error")]), twice);
        for number in [8, 300] {
            let unknown = WireError::Unknown { what: "metric", number };
            assert_eq!(told(vec![built_in(number.cast_unsigned())]), Err(unknown));
        }
    }
}

#[test]
fn artifacts_that_no_attempt_makes_are_refused() {
    let blob = Digest::of(b"blob");
    let artifact = |name: i32| session::Artifact { name, blob: bytes_of(Some(&blob)) };
    let trained = |artifacts| end_of(Outcome::Trained(session::Trained { epoch: 1, artifacts }));
    let (what, got, max) = ("artifacts", ARTIFACTS_MAX + 1, ARTIFACTS_MAX);
    assert_eq!(trained(vec![artifact(0); got]), Err(WireError::TooMany { what, got, max }));
    assert_eq!(trained(vec![artifact(0); 2]), Err(WireError::Twice("artifact Weights".to_owned())));
    assert_eq!(trained(vec![artifact(7)]), Err(WireError::Unknown { what: "artifact", number: 7 }));
    let nameless = session::Artifact::default();
    assert!(matches!(trained(vec![nameless]), Err(WireError::Digest(_))));
}

#[test]
fn what_an_executor_answers_is_the_same_after_the_wire() {
    let capabilities_sent =
        Capabilities { kernels: vec!["avx2".into()], programs_allowed: true, files_allowed: false, gpus: 3 };
    let message = capabilities_message(capabilities_sent.clone());
    assert_eq!(capabilities(Some(message)), Ok(capabilities_sent));
    let reason = "out of luck".to_owned();
    let answers = [
        Ok(7),
        Err(Refusal::Kernel { wanted: "gemm".into(), has: vec!["portable".into()] }),
        Err(Refusal::Missing { what: StudyPart::Data, blob: Digest::of(b"data") }),
        Err(Refusal::Missing { what: StudyPart::Description, blob: Digest::of(b"study") }),
        Err(Refusal::Data { reason: reason.clone() }),
        Err(Refusal::Study { reason: reason.clone() }),
        Err(Refusal::Trainer { reason }),
        Err(Refusal::NoPrograms),
    ];
    for sent in answers {
        assert_eq!(answer(Some(answer_message(sent.clone()))), Ok(sent));
    }
}

#[test]
fn answers_that_no_executor_gives_are_refused() {
    let refusal = |reason| answer(Some(Answer::Refusal(session::Refusal { reason })));
    assert_eq!(answer(None), Err(WireError::Missing("answer")));
    assert_eq!(refusal(None), Err(WireError::Missing("reason of a refusal")));
    for slots in [0, SLOTS_MAX + 1, u32::MAX] {
        assert_eq!(answer(Some(Answer::Slots(slots))), Err(WireError::Slots(slots)));
    }
    let missing = session::MissingBlob { what: 5, blob: bytes_of(Some(&Digest::of(b"data"))) };
    let unknown = WireError::Unknown { what: "part of a study", number: 5 };
    assert_eq!(refusal(Some(Reason::Missing(missing))), Err(unknown));
    for kernels in [vec![String::new(); 17], vec!["k".repeat(65)]] {
        let message = session::Capabilities { kernels: kernels.clone(), ..Default::default() };
        assert!(matches!(capabilities(Some(message)), Err(WireError::TooMany { .. })));
        let kernel = session::KernelRefusal { wanted: String::new(), has: kernels };
        assert!(matches!(refusal(Some(Reason::Kernel(kernel))), Err(WireError::TooMany { .. })));
    }
    let long = Reason::Data("é".repeat(100_000));
    let Ok(Err(Refusal::Data { reason })) = refusal(Some(long)) else { panic!("another answer") };
    assert!(reason.len() <= REASON_BYTES_MAX);
}

#[test]
fn a_message_without_a_part_names_it() {
    assert_eq!(launch(session::Launch::default()), Err(WireError::Missing("attempt")));
    let of = |kind| session::Launch { attempt: Some(attempt_message(attempt_id())), kind, ..Default::default() };
    assert_eq!(launch(of(None)), Err(WireError::Missing("kind of task")));
    let train = session::launch::Kind::Train(session::Train::default());
    assert_eq!(launch(of(Some(train))), Err(WireError::Missing("replicate")));
    let (replicate, weights) = (Some(session::Replicate::default()), bytes_of(Some(&Digest::of(b"weights"))));
    let measure = session::launch::Kind::Measure(session::Measure { replicate, weights, part: 9 });
    assert_eq!(launch(of(Some(measure))), Err(WireError::Unknown { what: "part of the data", number: 9 }));
    let without_outcome =
        session::AttemptEnded { attempt: Some(attempt_message(attempt_id())), ..Default::default() };
    assert_eq!(attempt_ended(without_outcome), Err(WireError::Missing("outcome")));
    assert_eq!(manifest(None), Err(WireError::Missing("manifest")));
}

#[test]
fn an_encoding_that_nobody_knows_is_refused() {
    for known in [Encoding::Raw, Encoding::Lz4] {
        assert_eq!(encoding(encoding_number(known)), Ok(known));
    }
    for number in [-1, 2, i32::MAX] {
        assert_eq!(encoding(number), Err(WireError::Unknown { what: "encoding", number }));
    }
}

#[test]
fn too_many_parameters_and_too_long_words_are_refused() {
    let word = |bytes: usize| {
        let value = Some(session::parameter::Value::Choice("x".repeat(bytes)));
        vec![proto::Parameter { name: "w".to_owned(), value }]
    };
    let rows = [
        (vec![proto::Parameter::default(); PARAMETERS_MAX + 1], false),
        (word(TEXT_BYTES_MAX), false),
        (word(TEXT_BYTES_MAX - 1), true),
    ];
    for (configuration, fits) in rows {
        let message = session::Launch {
            attempt: Some(attempt_message(attempt_id())),
            kind: Some(session::launch::Kind::Apply(session::Apply { partition: 0 })),
            configuration,
            ..Default::default()
        };
        assert_eq!(matches!(launch(message), Err(WireError::TooMany { .. })), !fits);
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(message) = session::Launch::decode(&bytes[..]) { let _ = launch(message); }
        if let Ok(message) = session::AttemptEnded::decode(&bytes[..]) { let _ = attempt_ended(message); }
        if let Ok(message) = session::EpochEnded::decode(&bytes[..]) { let _ = epoch_ended(message); }
        if let Ok(message) = session::Prepared::decode(&bytes[..]) { let _ = answer(message.answer); }
        if let Ok(message) = session::Welcome::decode(&bytes[..]) { let _ = capabilities(message.capabilities); }
        if let Ok(message) = blocks::Manifest::decode(&bytes[..]) { let _ = manifest(Some(message)); }
    }
}

#[test]
fn a_log_comes_in_pieces_that_are_bounded_one_by_one_and_together() {
    let piece = |offset, bytes| session::Logged {
        attempt: Some(attempt_message(attempt_id())),
        offset,
        text: vec![b'x'; bytes].into(),
    };
    let read = LogPiece { attempt: attempt_id(), offset: 5, text: vec![b'x'; 3].into() };
    let executor_item::Item::Logged(message) = log_item(read.clone()) else { panic!("another item") };
    assert_eq!(log_pieces(vec![message]), Ok(vec![read]));
    assert!(log_pieces(vec![piece(0, PIECE_BYTES_MAX); PIECES_BYTES_MAX / PIECE_BYTES_MAX]).is_ok());
    let many = |what, got, max| Err(WireError::TooMany { what, got, max });
    let rows = [
        (vec![piece(0, 1); PIECES_MAX + 1], many("pieces of logs", PIECES_MAX + 1, PIECES_MAX)),
        (vec![piece(0, 1 << 20)], many("bytes of logs", 1 << 20, PIECES_BYTES_MAX)),
        (
            vec![piece(0, PIECE_BYTES_MAX + 1)],
            many("bytes in a piece of a log", PIECE_BYTES_MAX + 1, PIECE_BYTES_MAX),
        ),
        (vec![piece(u64::MAX, 1)], Err(WireError::LogTooLong)),
        (vec![session::Logged::default()], Err(WireError::Missing("attempt"))),
    ];
    for (messages, expected) in rows {
        assert_eq!(log_pieces(messages), expected);
    }
}
