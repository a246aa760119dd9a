//! What a timeline is told of segments: which epochs have ended, and how the segments did.
//!
//! Whether a training goes on after an epoch is known once the next one is reported, since it may stop early: so the
//! newest epoch is told of when it is followed, and when it is the segment's last one.

use broadsweep_common::task::Segment;
use broadsweep_search::{EpochEnd, SegmentEnd, Timeline};

use super::book::Book;
use super::record::Finish;
use super::task::TaskBook;

/// All that is known of every segment, those that have ended in the order in which they did.
pub(super) fn tell_all(book: &Book, timeline: &mut Timeline<'_>) {
    for task in &book.tasks {
        tell_epochs(book, task, timeline);
    }
    let mut finished: Vec<_> = book.tasks.iter().filter(|task| task.is_finished()).collect();
    finished.sort_by_key(|task| task.finish.as_ref().map(|(_, at)| *at));
    for task in finished {
        tell_end(book, task, timeline);
    }
}

/// The epochs of a segment after which its training goes on.
pub(super) fn tell_epochs(book: &Book, task: &TaskBook, timeline: &mut Timeline<'_>) {
    let Some(segment) = task.segment() else { return };
    let known = epochs(book, segment);
    let goes_on_after = if known >= segment.until_epoch { segment.until_epoch } else { known.saturating_sub(1) };
    timeline.told(segment, goes_on_after, EpochEnd::GoesOn);
}

/// How a segment ended.
pub(super) fn tell_end(book: &Book, task: &TaskBook, timeline: &mut Timeline<'_>) {
    let Some((segment, (finish, _))) = task.segment().zip(task.finish.as_ref()) else { return };
    let metrics = |epoch| {
        let trial = book.trial(segment.replicate.trial)?;
        trial.replicate(segment.replicate)?.curves.at(epoch)
    };
    let newest = book.trial(segment.replicate.trial).and_then(|trial| trial.newest_of(segment.replicate));
    let is_newest = newest.and_then(|task| book.task(task)).is_some_and(|newest| std::ptr::eq(newest, task));
    let end = match finish {
        Finish::Trained { epoch, .. } => {
            let last = epochs(book, segment);
            if last < segment.until_epoch {
                timeline.told(segment, last, EpochEnd::StoppedEarly);
            }
            SegmentEnd::Finished { epoch: *epoch, metrics: metrics(*epoch).unwrap_or_default() }
        }
        Finish::Paused { epoch, .. } => {
            SegmentEnd::Paused { epoch: *epoch, metrics: metrics(*epoch).unwrap_or_default() }
        }
        Finish::Diverged { epoch } => SegmentEnd::Diverged { epoch: *epoch },
        Finish::GivenUp { .. } => SegmentEnd::GivenUp,
        // Unless it is begun after all.
        Finish::LeftOut if is_newest => SegmentEnd::GivenUp,
        Finish::LeftOut | Finish::Checked | Finish::Measured(_) | Finish::Examined(_) | Finish::Applied { .. } => {
            return;
        }
    };
    timeline.ended(segment, end);
}

/// The epochs of a segment's replicate that are written down.
fn epochs(book: &Book, segment: Segment) -> u32 {
    let trial = book.trial(segment.replicate.trial);
    let known = trial.and_then(|trial| trial.replicate(segment.replicate));
    known.map_or(0, |known| known.curves.epochs())
}
