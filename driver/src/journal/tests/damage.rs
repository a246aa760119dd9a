//! Flipped bits, cut files, foreign files: named or cut off, never believed, never a panic.

use super::format::{HEADER_BYTES, header};
use super::*;

fn commits() -> [Vec<Event>; 3] {
    [
        vec![said("a"), Event::Epoch { trial: 3, epoch: 1, loss: 0.25 }],
        vec![Event::Ended],
        vec![said("b"), said("cd"), Event::Ended],
    ]
}

/// The file, where each of its commits ends, and all of its records.
fn sample() -> (Vec<u8>, Vec<usize>, Vec<Event>) {
    let storage = memory();
    let mut journal = journal_of(&storage, &[]);
    let mut ends = vec![HEADER_BYTES];
    for events in commits() {
        commit(&mut journal, &events).unwrap();
        ends.push(journal.bytes() as usize);
    }
    (storage.journal().unwrap(), ends, commits().concat())
}

fn opened(bytes: &[u8]) -> (Opened, Arc<MemoryStorage>) {
    let storage = memory();
    storage.set_journal(bytes.to_vec());
    (open(&storage), storage)
}

#[test]
fn every_flipped_bit_is_named_or_cut_off_with_the_last_commit() {
    let (good, ends, events) = sample();
    for bit in 0..good.len() * 8 {
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let (opened, storage) = opened(&bytes);
        let frame = ends.iter().rposition(|end| *end <= bit / 8);
        match (frame, opened) {
            (None, Err(JournalError::Header(path))) => assert_eq!(path, storage.journal_path()),
            (Some(2), Ok((recovered, left))) => {
                assert_eq!(left, events[..3]);
                let torn = recovered.torn.unwrap();
                assert_eq!((torn.offset, torn.bytes), (ends[2] as u64, (ends[3] - ends[2]) as u64));
                assert_eq!(storage.journal().unwrap(), good[..ends[2]]);
                continue;
            }
            (Some(frame), Err(JournalError::Corrupt { record, offset, evidence, .. })) => {
                assert_eq!((record, offset), ([0, 2][frame], ends[frame] as u64));
                assert_eq!(evidence, Evidence::CommitBehind { offset: ends[frame + 1] as u64 });
            }
            (frame, opened) => panic!("bit {bit}, frame {frame:?}: {opened:?}"),
        }
        assert_eq!(storage.journal().unwrap(), bytes, "the damaged file was changed");
    }
}

#[test]
fn a_journal_cut_at_any_byte_gives_its_whole_commits() {
    let (good, ends, events) = sample();
    for cut in 0..=good.len() {
        let (opened, storage) = opened(&good[..cut]);
        let Some(whole) = ends.iter().rposition(|end| *end <= cut) else {
            assert!(matches!(opened, Err(JournalError::Header(_))), "{opened:?}");
            continue;
        };
        let (recovered, left) = opened.unwrap();
        assert_eq!(left, events[..[0, 2, 3, 6][whole]]);
        let torn = recovered.torn.map_or(0, |torn| torn.bytes as usize);
        assert_eq!(torn, cut - ends[whole]);
        assert_eq!(storage.journal().unwrap(), good[..ends[whole]]);
    }
}

#[test]
fn zeros_are_never_a_record() {
    let (good, _, events) = sample();
    for zeros in 1..100 {
        let (opened, _) = opened(&[&good[..], &vec![0; zeros]].concat());
        let (recovered, left) = opened.unwrap();
        assert_eq!(left, events);
        assert_eq!(recovered.torn.unwrap().bytes, zeros as u64);
    }
    // Where the next record is number 0.
    let (opened, _) = opened(&[&header(VERSION)[..], &[0; 64]].concat());
    assert_eq!(opened.unwrap().0.torn.unwrap().bytes, 64);
}

#[test]
fn any_damage_to_what_a_compaction_wrote_is_named_but_for_the_empty_frame_at_its_end() {
    let storage = memory();
    journal_of(&storage, &[]).compact(commits().concat().into_iter()).unwrap();
    let good = storage.journal().unwrap();
    let empty_frame = good.len() - format::HEAD_BYTES;
    for byte in HEADER_BYTES..good.len() {
        let mut bytes = good.clone();
        bytes[byte] ^= 16;
        match opened(&bytes).0 {
            Err(JournalError::Corrupt { record: 0, .. }) => assert!(byte < empty_frame),
            Ok((_, left)) => {
                assert!(byte >= empty_frame);
                assert_eq!(left, commits().concat());
            }
            Err(error) => panic!("byte {byte}: {error}"),
        }
    }
}

#[test]
fn commits_taken_out_put_in_or_exchanged_are_damage() {
    let (good, ends, _) = sample();
    let frame = |index: usize| &good[ends[index]..ends[index + 1]];
    let start = &good[..HEADER_BYTES];
    for damaged in [
        [start, frame(1), frame(2)].concat(),
        [start, frame(0), frame(2), frame(1)].concat(),
        [start, b"put in", frame(0), frame(1), frame(2)].concat(),
    ] {
        assert!(matches!(opened(&damaged).0, Err(JournalError::Corrupt { .. })));
    }
    // The same commit twice is no commit of this place, and nothing valid follows: a torn end.
    let (twice, _) = opened(&[start, frame(0), frame(0)].concat());
    assert_eq!(twice.unwrap().1, commits()[0]);
}

/// A commit of these bytes, whatever they are, under the checksum that fits.
fn forged(number: u64, payload: &[u8]) -> Vec<u8> {
    let (length, number) = ((payload.len() as u32).to_le_bytes(), number.to_le_bytes());
    let crc = crc32c::crc32c(&[&number[..], &length, payload].concat()).to_le_bytes();
    [&length[..], &crc, &number, payload].concat()
}

#[test]
fn a_commit_that_its_records_do_not_fill_is_none_though_its_checksum_fits() {
    let (good, _, events) = sample();
    let record = broadsweep_common::codec::pack(&Event::Ended).unwrap();
    let whole = [&(record.len() as u32).to_le_bytes()[..], &record].concat();
    let (read, _) = opened(&[&good[..], &forged(6, &whole)].concat());
    assert_eq!(read.unwrap().1, [&events[..], &[Event::Ended]].concat());
    for cut in [[&whole[..], &[9]].concat(), whole[..3].to_vec(), [&[9, 0, 0, 0], &record[..]].concat()] {
        let (read, _) = opened(&[&good[..], &forged(6, &cut)].concat());
        let (recovered, left) = read.unwrap();
        assert_eq!(left, events);
        assert_eq!(recovered.torn.unwrap().bytes, (format::HEAD_BYTES + cut.len()) as u64);
    }
}

#[test]
fn a_commit_behind_shows_damage_only_if_its_number_can_follow_from_what_fits_before_it() {
    let (good, _, events) = sample();
    let before = [9; 5];
    let number = (events.len() + before.len()) as u64;
    for (number, is_damage) in [(number, true), (number + 1, false)] {
        let (read, _) = opened(&[&good[..], &before, &forged(number, &[])].concat());
        match read {
            Ok((recovered, left)) => {
                assert_eq!((left, recovered.torn.is_some(), is_damage), (events.clone(), true, false));
            }
            Err(error) => assert!(is_damage && matches!(error, JournalError::Corrupt { .. }), "{number}: {error}"),
        }
    }
}

#[test]
fn whoever_only_reads_is_told_what_is_left_out() {
    let torn = Torn { path: "runs/a/journal".into(), offset: 70, bytes: 12, records: 3 };
    assert_eq!(
        torn.left_out(),
        "the journal runs/a/journal ends in an unfinished commit, as a crash leaves it: 12 bytes after its first 3 \
         records, from byte 70 on, are left out"
    );
}

#[test]
fn whoever_only_reads_a_torn_journal_is_shown_its_records_and_cuts_nothing() {
    let (bytes, ends, wanted) = sample();
    let torn = [&bytes[..], &[7; 9]].concat();
    let storage = memory();
    storage.set_journal(torn.clone());
    let mut shown = Vec::new();
    let left_out = Journal::read(&*storage, |_, event: Event| shown.push(event)).unwrap().unwrap();
    assert_eq!(shown, wanted);
    assert_eq!((left_out.offset, left_out.bytes), (ends[ends.len() - 1] as u64, 9));
    assert_eq!(storage.journal(), Some(torn));
}

#[test]
fn more_bytes_behind_than_one_commit_can_leave_are_damage() {
    let (good, ends, _) = sample();
    let most = format::HEAD_BYTES + format::PAYLOAD_BYTES_MAX;
    let (torn, _) = opened(&[&good[..], &vec![0xa5; most]].concat());
    assert_eq!(torn.unwrap().0.torn.unwrap().bytes, most as u64);
    let (opened, _) = opened(&[&good[..], &vec![0xa5; most + 1]].concat());
    let error = opened.unwrap_err();
    let end = ends[3];
    assert!(
        matches!(&error, JournalError::Corrupt { record: 6, offset, evidence: Evidence::BytesBehind { bytes }, .. }
            if *offset == end as u64 && *bytes == most as u64 + 1),
        "{error}"
    );
}

#[test]
fn damage_is_told_with_the_file_the_record_the_byte_and_what_to_do() {
    let (mut bytes, ends, _) = sample();
    bytes[ends[1] + 20] ^= 1;
    let error = opened(&bytes).0.unwrap_err().to_string();
    let expected = format!(
        "the journal memory/journal is damaged: record 2, at byte {}, is not what was written, but a later commit \
         stands at byte {}; restore the file from a copy, or start a new run (nothing was changed)",
        ends[1], ends[2]
    );
    assert_eq!(error, expected);
}

#[test]
fn a_journal_of_another_format_is_refused_with_both_named() {
    // The one before knew no closer looks.
    for (version, named) in [(VERSION + 5, "has format 12"), (VERSION - 1, "has format 6")] {
        let (mut bytes, ..) = sample();
        bytes[..HEADER_BYTES].copy_from_slice(&header(version));
        let (opened, storage) = opened(&bytes);
        let error = opened.unwrap_err().to_string();
        assert!(error.contains(&format!("{named}, and this broadsweep reads format 7")), "{error}");
        assert_eq!(storage.journal().unwrap(), bytes);
    }
}

#[test]
fn a_record_of_another_type_is_named_and_the_file_is_left_as_it_is() {
    let (bytes, ..) = sample();
    let storage = memory();
    storage.set_journal(bytes.clone());
    let error = Journal::<[u64; 32]>::open(Arc::clone(&storage) as _, |_, _| {}).unwrap_err();
    assert!(matches!(error, JournalError::Undecodable { record: 0, offset: 16, .. }), "{error}");
    assert_eq!(storage.journal().unwrap(), bytes);
}

/// A frame whose checksum fits, whatever its size.
fn frame_of(number: u64, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_le_bytes();
    let crc = crc32c::crc32c(&[&number.to_le_bytes()[..], &length, payload].concat());
    [&length[..], &crc.to_le_bytes(), &number.to_le_bytes(), payload].concat()
}

#[test]
fn a_commit_stands_in_the_file_as_the_format_says() {
    let storage = memory();
    journal_of(&storage, &[&[said("a")], &[Event::Ended, said("b")]]);
    let record = |event: &Event| {
        let bytes = broadsweep_common::codec::pack(event).unwrap();
        [&(bytes.len() as u32).to_le_bytes()[..], &bytes].concat()
    };
    let first = frame_of(0, &record(&said("a")));
    let second = frame_of(1, &[record(&Event::Ended), record(&said("b"))].concat());
    let header = b"bswp-jnl\x07\0\0\0".to_vec();
    let checked = [&header[..], &crc32c::crc32c(&header).to_le_bytes()].concat();
    assert_eq!(storage.journal().unwrap(), [checked, first, second].concat());
}

#[test]
fn a_frame_larger_than_any_of_ours_is_refused_before_memory_is_taken_for_it() {
    let claim = (format::PAYLOAD_BYTES_MAX + 1 - 4) as u32;
    let payload = [&claim.to_le_bytes()[..], &vec![0; claim as usize]].concat();
    let storage = memory();
    storage.set_journal([&header(VERSION)[..], &frame_of(0, &payload)].concat());
    let refused = open(&Watched::new(&storage)).unwrap_err();
    assert!(matches!(refused, JournalError::Corrupt { record: 0, offset: 16, .. }), "{refused}");
}

/// Bytes that claim things: some of them frames that fit, some nearly.
fn claims() -> impl Strategy<Value = Vec<u8>> {
    let frame = (any::<u32>(), 0_u64..4, prop::collection::vec(any::<u8>(), 0..40), any::<bool>());
    let frame = frame.prop_map(|(length, number, payload, fits)| {
        let length = if fits { payload.len() as u32 } else { length };
        let crc = crc32c::crc32c(&[&number.to_le_bytes()[..], &length.to_le_bytes(), &payload].concat());
        [&length.to_le_bytes()[..], &crc.to_le_bytes(), &number.to_le_bytes(), &payload].concat()
    });
    let noise = prop::collection::vec(any::<u8>(), 0..200);
    prop::collection::vec(prop_oneof![frame, noise], 0..6).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic_and_take_no_more_memory_than_a_frame(
        has_header in any::<bool>(),
        bytes in claims(),
    ) {
        let storage = memory();
        let start = header(VERSION);
        storage.set_journal([if has_header { &start[..] } else { &[] }, &bytes].concat());
        let _ = Journal::open(Watched::new(&storage), |_, _: Event| {});
    }

    #[test]
    fn damage_of_any_kind_gives_an_error_or_a_beginning_of_the_records(
        at in 0_usize..1000, removed in 0_usize..40, put in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let (mut bytes, _, events) = sample();
        let start = at % bytes.len();
        let end = (start + removed).min(bytes.len());
        bytes.splice(start..end, put);
        if let (Ok((_, left)), _) = opened(&bytes) {
            prop_assert_eq!(&left, &events[..left.len()]);
        }
    }
}
