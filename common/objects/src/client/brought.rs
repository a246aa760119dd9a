//! Bytes of an object, brought to their places in a file: several requests at the same time, each of a bounded length.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use object_store::path::Path;
use object_store::{GetOptions, ObjectStore};
use tokio::task::JoinSet;
use tokio_stream::StreamExt as _;

use super::reasons::failed;
use super::{ETAG, tag_of};
use crate::{Object, ObjectError};

/// Bytes that one request asks for.
const REQUEST_BYTES_MAX: u64 = 8 << 20;
/// Requests at the same time.
const TOGETHER: usize = 6;
/// Bytes between two ranges for which one request is better than two.
const GAP_BYTES_MAX: u64 = 128 << 10;

/// What is asked for: ranges near each other together, long ones in pieces; in the order of the bytes, none twice.
pub(super) fn pieces(ranges: &[Range<u64>], length: u64) -> Vec<Range<u64>> {
    let mut sorted: Vec<Range<u64>> = ranges.iter().map(|range| range.start..range.end.min(length)).collect();
    sorted.retain(|range| range.start < range.end);
    sorted.sort_by_key(|range| range.start);
    let mut joined: Vec<Range<u64>> = Vec::new();
    for range in sorted {
        match joined.last_mut() {
            Some(last) if range.start <= last.end.saturating_add(GAP_BYTES_MAX) => last.end = last.end.max(range.end),
            _ => joined.push(range),
        }
    }
    let in_pieces = joined.into_iter().flat_map(|range| {
        let starts = (range.start..range.end).step_by(REQUEST_BYTES_MAX as usize);
        starts.map(move |start| start..range.end.min(start + REQUEST_BYTES_MAX))
    });
    in_pieces.collect()
}

/// Brings pieces of an object to their places.
pub(super) async fn bring(
    store: Arc<dyn ObjectStore>,
    path: Path,
    object: Object,
    pieces: Vec<Range<u64>>,
    file: Arc<File>,
) -> Result<(), ObjectError> {
    let mut under_way = JoinSet::new();
    let mut pieces = pieces.into_iter();
    let mut waits_for = |under_way: &mut JoinSet<_>| {
        let Some(piece) = pieces.next() else { return false };
        let (store, path, object, file) = (store.clone(), path.clone(), object.clone(), file.clone());
        under_way.spawn(async move { bring_piece(&*store, &path, &object, piece, &file).await });
        true
    };
    while under_way.len() < TOGETHER && waits_for(&mut under_way) {}
    // What is under way ends with the set, if this does.
    while let Some(ended) = under_way.join_next().await {
        match ended {
            Ok(Ok(WholeOrPart::Part)) => {
                waits_for(&mut under_way);
            }
            Ok(Ok(WholeOrPart::Whole)) => return Ok(()),
            Ok(Err(error)) => return Err(error),
            Err(error) => return Err(ObjectError::Failed { address: object.address, said: error.to_string() }),
        }
    }
    Ok(())
}

/// What a server gave.
enum WholeOrPart {
    Part,
    /// It knows no ranges, and gave all of it.
    Whole,
}

async fn bring_piece(
    store: &dyn ObjectStore,
    path: &Path,
    object: &Object,
    piece: Range<u64>,
    file: &File,
) -> Result<WholeOrPart, ObjectError> {
    let options = GetOptions { if_match: strong_etag(&object.tag), ..GetOptions::default() };
    let part = GetOptions { range: Some(piece.clone().into()), ..options.clone() };
    let (answer, got) = match store.get_opts(path, part).await {
        Ok(answer) => (answer, WholeOrPart::Part),
        Err(object_store::Error::NotSupported { .. }) => {
            let whole = store.get_opts(path, options).await.map_err(|error| failed(&object.address, &error))?;
            (whole, WholeOrPart::Whole)
        }
        Err(error) => return Err(failed(&object.address, &error)),
    };
    if tag_of(&answer.meta) != object.tag || answer.meta.size != object.bytes {
        return Err(ObjectError::Changed(object.address.clone()));
    }
    let (mut place, end) = (answer.range.start, answer.range.end);
    let mut bytes = answer.into_stream();
    while let Some(some) = bytes.next().await {
        let some = some.map_err(|error| failed(&object.address, &error))?;
        let not_brought = |error: std::io::Error| ObjectError::NotBrought {
            address: object.address.clone(),
            said: error.to_string(),
        };
        if place + some.len() as u64 > end {
            return Err(ObjectError::Changed(object.address.clone()));
        }
        file.write_all_at(&some, place).map_err(not_brought)?;
        place += some.len() as u64;
    }
    if place < end {
        let said = format!("it sent {} bytes less than it said", end - place);
        return Err(ObjectError::Failed { address: object.address.clone(), said });
    }
    Ok(got)
}

/// What `If-Match` can ask for: a weak tag is never the same.
fn strong_etag(tag: &str) -> Option<String> {
    tag.strip_prefix(ETAG).filter(|etag| !etag.starts_with("W/")).map(ToOwned::to_owned)
}
