//! Which attempt took which slot when. The record names executors, not slots: any assignment in which no two attempts
//! take one slot at a time tells the same.

use std::collections::BTreeSet;

use crate::records::run::RunRecord;

use super::microseconds;

/// For each slot of an executor the attempts that took it: start, end, and the number in the run's list; disjoint, in
/// order of time, none of them empty, and all within the run.
///
/// An executor never runs more attempts than it has slots, but a record may say so: an attempt that was beaten ended
/// when its task did, and its executor stopped it later. What has no slot by then is cut off.
pub(super) fn of(run: &RunRecord, attempts: &[usize], slots: u32, wall_us: u64) -> Vec<Vec<(u64, u64, usize)>> {
    let mut spans: Vec<_> = attempts
        .iter()
        .map(|&number| {
            let attempt = &run.attempts[number];
            let end = if attempt.end.is_none() { wall_us } else { microseconds(attempt.ended_s).min(wall_us) };
            (microseconds(attempt.started_s), end, number)
        })
        .collect();
    spans.sort_unstable();
    let mut lanes = vec![Vec::new(); slots as usize];
    // When each slot is free again: the one that has been free for longest takes the next attempt.
    let mut free: BTreeSet<(u64, usize)> = (0..slots as usize).map(|lane| (0, lane)).collect();
    for (start, end, number) in spans {
        let Some(&(since, lane)) = free.first() else { break };
        let start = start.max(since);
        if start < end {
            free.pop_first();
            free.insert((end, lane));
            lanes[lane].push((start, end, number));
        }
    }
    lanes
}
