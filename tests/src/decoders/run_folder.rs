//! What stands in the folder of a run: the journal, and who executes it.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use broadsweep_driver::cluster::roster::{ChildRecord, Crew, Introduction, LocalCrew, NodeCrew, ROSTER, Roster};
use broadsweep_driver::command::series::Series;
use broadsweep_driver::journal::{MemoryStorage, Storage};
use broadsweep_driver::run::{Chronicle, ReadError, read_from};
use broadsweep_driver::study;
use broadsweep_proto::secret::Secret;

use super::{Bound, file, folder};
use crate::simulation::{RunFolder, run_folder};

/// A record of a few bytes may speak of some hundred bytes, as the names of executors' times do, and all of a frame is
/// in memory.
pub(super) const JOURNAL: Bound = Bound { fixed: 8 << 20, per_byte: 1024 };

/// The world whose run is read: a short one in which trials move, weights are measured and partitions applied.
const SEED: u64 = 7;
/// Bytes before the first frame.
const HEADER_BYTES: usize = 16;
/// Bytes before the payload of a frame.
const HEAD_BYTES: usize = 16;

/// What a simulated run left.
static LEFT: LazyLock<RunFolder> = LazyLock::new(|| run_folder(SEED));

/// A journal, read as `report` does, and taken up as `resume` does.
pub(super) fn journal(bytes: &[u8]) {
    let RunFolder { study, start, .. } = &*LEFT;
    let storage = Arc::new(MemoryStorage::new());
    storage.write("study.toml", study.as_bytes()).unwrap();
    storage.set_journal(bytes.to_vec());
    let read = read_from(&*storage, Path::new("runs/a"));
    assert_eq!(storage.journal().as_deref(), Some(bytes), "reading changed the journal");
    let objective = study::parse(study, "study.toml").unwrap().objectives().clone();
    let resumed = Chronicle::resume(Arc::clone(&storage) as Arc<dyn Storage>, objective, start.clone());
    // One in which nothing was begun tells nothing, and is begun then.
    let can_be_read = matches!(read, Ok(_) | Err(ReadError::NotBegun(_)));
    assert!(can_be_read || resumed.is_err(), "it is taken up, and cannot be read: {:?}", read.err());
}

/// The same, of a journal whose one frame holds these records and has the right sum: as another build may write it. Each
/// record stands behind its length; what is left of the bytes is the last one.
pub(super) fn records(mut bytes: &[u8]) {
    let mut payload = Vec::with_capacity(bytes.len());
    while let Some((length, rest)) = bytes.split_first_chunk() {
        let (record, rest) = rest.split_at((u32::from_le_bytes(*length) as usize).min(rest.len()));
        payload.extend((record.len() as u32).to_le_bytes());
        payload.extend(record);
        bytes = rest;
    }
    journal(&sealed(&payload));
}

/// A journal of one frame with this payload.
fn sealed(payload: &[u8]) -> Vec<u8> {
    let (number, length) = (0_u64.to_le_bytes(), (payload.len() as u32).to_le_bytes());
    let sum =
        [&length[..], payload].iter().fold(crc32c::crc32c(&number), |sum, part| crc32c::crc32c_append(sum, part));
    let header = &LEFT.journal[..HEADER_BYTES];
    [header, &length, &sum.to_le_bytes(), &number, payload].concat()
}

/// The list of a run's executors.
pub(super) fn executors(bytes: &[u8]) {
    file(ROSTER, bytes);
    if let Ok(roster) = Roster::open(folder()) {
        drop((roster.crew(), roster.study_folder()));
    }
}

/// What a comparison says of itself.
pub(super) fn series(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    drop(Series::parse(text));
}

pub(super) fn journal_seeds() -> Vec<Vec<u8>> {
    let whole = &LEFT.journal;
    vec![whole.clone(), whole[..whole.len() / 3].to_vec()]
}

pub(super) fn records_seeds() -> Vec<Vec<u8>> {
    let mut rest = &LEFT.journal[HEADER_BYTES..];
    let mut payloads = Vec::new();
    while let Some((head, behind)) = rest.split_at_checked(HEAD_BYTES) {
        let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        payloads.push(&behind[..length]);
        rest = &behind[length..];
    }
    let half = payloads[..payloads.len() / 2].concat();
    vec![payloads.concat(), half, payloads[0].to_vec()]
}

pub(super) fn executors_seeds() -> Vec<Vec<u8>> {
    let local = LocalCrew {
        shape: "2x1".to_owned(),
        cache: "/cache".into(),
        cache_bytes: Some(1 << 30),
        cold: false,
        orphan_timeout_s: 600,
        secret: Secret::read(&[0x5a; 32][..]).unwrap(),
        children: vec![None, Some(ChildRecord { address: "127.0.0.1:7".to_owned(), pid: 1 })],
    };
    let nodes = NodeCrew { argument: "a:1,b:2".into(), introduction: Introduction::File("/driver.pem".into()) };
    let written = |crew| {
        Roster::create(folder(), "/study".into(), crew).unwrap();
        std::fs::read(folder().join(ROSTER)).unwrap()
    };
    [Crew::Local(local), Crew::Nodes(nodes)].map(written).into()
}

pub(super) fn series_seeds() -> Vec<Vec<u8>> {
    let crews = [
        r#"{"nodes": ["a:1", "b:2"]}"#,
        r#"{"local": {"slots": 1, "cache": [47, 255], "cache_bytes": null, "orphan_timeout_s": 60}}"#,
    ];
    let text = |crew| {
        format!(
            r#"{{"study": "abc", "study_folder": "/s", "sizes": [1, 2], "repeats": 2, "cold": false,
            "connect_timeout_s": 60, "kernel": null, "introduction": "usual", "crew": {crew}}}"#
        )
    };
    crews.map(|crew| text(crew).into_bytes()).into()
}
