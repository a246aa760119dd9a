//! How a search ended, and whether it would decide the same on another cluster, in sentences.

use super::remarks::seconds;
use super::show::{counted, duration_text};
use crate::records::change::{ChangeRecord, StoppedBy, is_extended};
use crate::records::run::RunRecord;

/// What people, or the clock, changed about the run.
pub(super) fn change_sentences(run: &RunRecord) -> Vec<String> {
    let sentence = |change: &ChangeRecord| match *change {
        ChangeRecord::Stopped { by, at_s } => {
            let by = match by {
                StoppedBy::Somebody => "somebody stopped the run (`broadsweep stop`)",
                StoppedBy::MaxTime => "`max_time` in [search] stop ended the run",
            };
            format!("{by} after {}: nothing more was begun", duration_text(seconds(at_s)))
        }
        ChangeRecord::Extended { trials, at_s, .. } => {
            let more = counted(trials.into(), "trial");
            format!("somebody asked for {more} more (`broadsweep extend`) after {}", duration_text(seconds(at_s)))
        }
    };
    run.changes.iter().map(sentence).collect()
}

/// Why a search that saw results started fewer trials than it might have.
pub(super) fn end_sentence(run: &RunRecord) -> Option<String> {
    let search =
        run.search.as_ref().filter(|search| run.is_over() && (run.trials.len() as u64) < search.trials_max)?;
    let (trials, all) = (run.trials.len(), search.trials_max);
    let picks_more = |change: &ChangeRecord| matches!(change, ChangeRecord::Extended { picks: Some(_), .. });
    let latest = run.changes.iter().rev().take_while(|change| !picks_more(change));
    if latest.into_iter().any(|change| matches!(change, ChangeRecord::Stopped { .. })) {
        return None; // who did has its own sentence
    }
    Some(if search.may_stop && !is_extended(&run.changes) {
        format!("`stop` in [search] ended the search after {trials} of {all} trials")
    } else {
        format!("the space has no more configurations: {trials} of {all} trials were started")
    })
}

/// Why another run of the study may decide otherwise; nothing where it decides the same.
pub(super) fn order_sentence(run: &RunRecord) -> Option<String> {
    let search = run.search.as_ref()?;
    let disturbed = run.disturbed_by();
    let reason = if !run.changes.is_empty() {
        "it would not be stopped or extended at the same moment".to_owned()
    } else if search.is_asynchronous {
        "results counted in the order in which they came (asynchronous = true)".to_owned()
    } else if !search.is_deterministic {
        "the program may tell other numbers (write deterministic = true in [trainer] if it does not)".to_owned()
    } else if run.is_suspect() {
        "executors told different numbers, and the search saw some that may be wrong".to_owned()
    } else {
        let first = disturbed.first()?;
        let more = match disturbed.len() - 1 {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        format!("{first}{more} had no result for what executors did")
    };
    Some(format!("another run of this study may decide otherwise: {reason}"))
}
