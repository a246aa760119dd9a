//! What is asked of an executor and taken from it, and how long it may take.

use broadsweep_common::blob::BLOCK_BYTES;
use broadsweep_proto::blocks::PullReply;
use tokio::time::Instant;

use super::*;
use crate::cluster::dial::dial;
use crate::cluster::played::{ADDRESS, Stage, parts_of, stage};

/// A blob of two blocks, the second of nine bytes.
fn two_blocks() -> Blob<Bytes> {
    Blob::new(Bytes::from((0..BLOCK_BYTES + 9).map(|place| (place / 997) as u8).collect::<Vec<_>>())).unwrap()
}

async fn transfer() -> (Transfer, Stage) {
    let (desk, stage) = stage();
    let channel = dial(&desk.world.connect, ADDRESS).await.unwrap();
    (Transfer::new(channel, "run"), stage)
}

#[expect(clippy::unnecessary_wraps, reason = "it stands beside refusals")]
fn offer(missing: &[u32], busy: bool) -> Result<OfferReply, Status> {
    Ok(OfferReply { missing: missing.to_vec(), busy })
}

#[tokio::test(start_paused = true)]
async fn of_an_offer_is_learnt_what_is_missing_or_that_it_has_to_be_asked_again() {
    let (mut transfer, stage) = transfer().await;
    for (answer, wanted) in [
        (offer(&[], false), Ok(Some(vec![]))),
        (offer(&[0, 1], false), Ok(Some(vec![0, 1]))),
        (offer(&[], true), Ok(None)),
        (offer(&[1, 1], false), Err(Code::InvalidArgument)),
        (offer(&[1, 0], false), Err(Code::InvalidArgument)),
        (Err(Status::data_loss("its disk")), Err(Code::DataLoss)),
    ] {
        let name = format!("{answer:?}");
        stage.network.answers().offers.push_back(answer);
        let learnt = transfer.offer(&two_blocks(), true).await;
        assert_eq!(learnt.map_err(|status| status.code()), wanted, "{name}");
    }
    let answers = stage.network.answers();
    assert!(answers.offered.iter().all(|offer| offer.run == "run" && offer.cached && offer.manifest.is_some()));
}

#[tokio::test(start_paused = true)]
async fn an_answer_on_which_nothing_moves_is_waited_for_so_long_and_no_longer() {
    let (mut transfer, stage) = transfer().await;
    let second = Duration::from_secs(1);
    for (wait, wanted, waits) in
        [(119 * second, Ok(Some(vec![])), 119 * second), (STALL_MAX + second, Err(Code::DeadlineExceeded), STALL_MAX)]
    {
        stage.network.answers().offer_wait = wait;
        let began = Instant::now();
        let learnt = transfer.offer(&two_blocks(), true).await;
        assert_eq!((learnt.map_err(|status| status.code()), began.elapsed()), (wanted, waits));
    }
}

#[tokio::test(start_paused = true)]
async fn what_an_attempt_needs_is_offered_until_there_is_room_and_not_for_ever() {
    let full = || Err(Status::resource_exhausted("no memory"));
    for (name, answers, wanted, waits) in [
        ("room at once", vec![offer(&[1], false)], Ok(()), Duration::ZERO),
        ("room later", vec![full(), full(), full(), offer(&[1], false)], Ok(()), 3 * ROOM_POLL),
        ("no room", (0..200).map(|_| full()).collect(), Err(Code::ResourceExhausted), ROOM_WAIT_MAX),
        ("lost", vec![Err(Status::data_loss("its disk"))], Err(Code::DataLoss), Duration::ZERO),
        ("in memory", vec![offer(&[], true)], Err(Code::Internal), Duration::ZERO),
    ] {
        let (mut transfer, stage) = transfer().await;
        stage.network.answers().offers = answers.into();
        let (blob, began) = (two_blocks(), Instant::now());
        let supplied = transfer.supply(&blob).await.map_err(|status| status.code());
        assert_eq!((supplied, began.elapsed()), (wanted, waits), "{name}");
        let answers = stage.network.answers();
        let pushed: Vec<_> = answers.pushed.iter().map(|block| (block.index, &block.content[..])).collect();
        assert_eq!(pushed.is_empty(), supplied.is_err(), "{name}");
        assert!(pushed.iter().all(|pushed| *pushed == (1, &blob.content[BLOCK_BYTES..])), "{name}");
        assert!(answers.offered.iter().all(|offer| !offer.cached), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn blocks_that_are_missing_are_pushed_and_counted_and_others_are_not() {
    let (mut transfer, stage) = transfer().await;
    let (blob, traffic) = (two_blocks(), Arc::new(Traffic::default()));
    transfer.push(&blob, Vec::new(), Encoding::Raw, &traffic).await.unwrap();
    transfer.push(&blob, vec![1, 2], Encoding::Raw, &traffic).await.unwrap();
    assert_eq!((Traffic::read(&traffic.sent), Traffic::read(&traffic.sent_raw)), (9, 9), "there is no third one");
    transfer.push(&blob, vec![0, 1], Encoding::Lz4, &traffic).await.unwrap();
    let (sent, sent_raw) = (Traffic::read(&traffic.sent), Traffic::read(&traffic.sent_raw));
    assert_eq!(sent_raw, BLOCK_BYTES as u64 + 18);
    assert!(sent > 18 && sent < sent_raw / 2, "{sent} bytes");
    let answers = stage.network.answers();
    let pushed: Vec<_> = answers.pushed.iter().map(|block| (block.index, block.encoding)).collect();
    let encodings = [Encoding::Raw, Encoding::Lz4].map(wire::encoding_number);
    assert_eq!(pushed, [(1, encodings[0]), (0, encodings[1]), (1, encodings[0])]);
    let bytes = answers.pushed.iter().map(|block| block.content.len() as u64).sum::<u64>();
    assert_eq!(bytes, sent, "all that went out came");
    assert!(answers.pushed.iter().all(|block| block.blob == blob.manifest.digest().0[..] && block.run == "run"));
}

#[tokio::test(start_paused = true)]
async fn an_executor_that_takes_blocks_slowly_is_waited_for_and_one_that_takes_none_is_not() {
    let content = vec![7; 12 * BLOCK_BYTES];
    let blob = Blob::new(Bytes::from(content)).unwrap();
    for (wait, is_waited_for) in [(STALL_MAX / 4, true), (3 * STALL_MAX, false)] {
        let (mut transfer, stage) = transfer().await;
        stage.network.answers().push_wait = wait;
        // More than the connection takes before somebody reads it.
        let pushed = transfer.push(&blob, (0..12).collect(), Encoding::Raw, &Arc::default()).await;
        let count = stage.network.answers().pushed.len();
        assert_eq!(pushed.is_ok(), is_waited_for, "{wait:?}: {pushed:?}");
        assert_eq!(count == 12, is_waited_for, "{wait:?}: {count} blocks");
    }
}

/// What comes of a pull of this blob where these parts come.
async fn pulled(
    blob: &Blob<Bytes>,
    bytes_max: u64,
    parts: Vec<(Duration, PullReply)>,
) -> Result<Blob<Bytes>, String> {
    let (mut transfer, stage) = transfer().await;
    stage.network.answers().parts = parts;
    transfer.pull(blob.manifest.digest(), bytes_max).await.map_err(|status| status.message().to_owned())
}

#[tokio::test(start_paused = true)]
async fn a_blob_that_is_fetched_is_what_its_name_says_and_no_larger_than_it_may_be() {
    let (blob, other) = (two_blocks(), Blob::new(Bytes::from_static(b"other")).unwrap());
    let (parts, bytes) = (parts_of(&blob, Duration::ZERO), blob.manifest.bytes());
    let block = |content: Vec<u8>| (Duration::ZERO, PullReply { part: Some(Part::Block(content.into())) });
    let mut flipped = blob.content[..BLOCK_BYTES].to_vec();
    flipped[5] ^= 1;
    let with = |index: usize, part| {
        let mut parts = parts.clone();
        parts[index] = part;
        parts
    };
    for (name, bytes_max, parts, wanted) in [
        ("as it is", bytes, parts.clone(), None),
        ("with room", bytes + 1, parts.clone(), None),
        ("too large", bytes - 1, parts.clone(), Some("it has 1048585 bytes, and may have 1048584")),
        ("much too large", 3, parts.clone(), Some("it has 1048585 bytes, and may have 3")),
        ("nothing", bytes, vec![], Some("its manifest did not come first")),
        ("no manifest", bytes, parts[1..].to_vec(), Some("its manifest did not come first")),
        ("another blob", bytes, parts_of(&other, Duration::ZERO), Some("another blob's manifest came")),
        ("an end", bytes, parts[..2].to_vec(), Some("its blocks ended early")),
        ("a bit", bytes, with(1, block(flipped)), Some("a block is not what the manifest says")),
        ("too short", bytes, with(2, block(vec![0; 8])), Some("a block is not what the manifest says")),
    ] {
        match (pulled(&blob, bytes_max, parts).await, wanted) {
            (Ok(found), None) => assert!(found.content == blob.content && found.manifest == blob.manifest, "{name}"),
            (Err(reason), Some(wanted)) => assert!(reason.ends_with(wanted), "{name}: {reason}"),
            (Ok(_), Some(_)) => panic!("{name}: it was taken"),
            (Err(reason), None) => panic!("{name}: {reason}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_blob_that_comes_too_slowly_is_not_waited_for() {
    let blob = two_blocks();
    // Its bytes may take four seconds at the slowest that is allowed, beside the two minutes.
    let second = Duration::from_secs(1);
    for (waits, wanted) in [
        ([60 * second, 62 * second, 61 * second], None),
        ([60 * second, 62 * second, 63 * second], Some("it came too slowly to be waited for")),
        ([STALL_MAX + second, second, second], Some("nothing moved for 120 s")),
        ([second, STALL_MAX + second, second], Some("nothing moved for 120 s")),
    ] {
        let parts = parts_of(&blob, Duration::ZERO).into_iter().zip(waits).map(|((_, part), wait)| (wait, part));
        let pulled = pulled(&blob, u64::MAX, parts.collect()).await;
        let reason = pulled.as_ref().err();
        assert_eq!(reason.is_some(), wanted.is_some(), "{waits:?}: {reason:?}");
        assert!(reason.is_none_or(|reason| reason.ends_with(wanted.unwrap_or_default())), "{waits:?}: {reason:?}");
    }
}
