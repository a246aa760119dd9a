//! One run's stay on this executor: what runs for it, and what its driver does not know yet.
//!
//! It outlives sessions. When the connection is cut, attempts go on and their reports wait here until a session of
//! the same run hands them over.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use broadsweep_common::attempt::{AttemptEvent, Report};
use broadsweep_common::ids::{AttemptId, Digest};
use broadsweep_common::log::LogPiece;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::log::Logs;
use crate::stop::Stop;
use crate::work::Prepared;

/// One run's stay.
pub(crate) struct Tenant {
    run: String,
    pub(crate) prepared: Option<Arc<Prepared>>,
    /// The attempts that run here.
    live: HashMap<AttemptId, Arc<Stop>>,
    /// Where slots put their reports.
    slots: UnboundedSender<Report>,
    reported: UnboundedReceiver<Report>,
    /// Reports that this session did not send yet.
    unsent: VecDeque<Report>,
    /// Reports that it sent, by the number of their message, until that is acknowledged.
    unacknowledged: BTreeMap<u64, Vec<Report>>,
    /// What attempts print, until all before their end is sent.
    pub(crate) logs: Box<Logs>,
    /// The newest checkpoint of each attempt whose end was not acknowledged.
    checkpoints: HashMap<AttemptId, Digest>,
}

impl Tenant {
    /// A run that has nothing here yet.
    pub(crate) fn new(run: &str) -> Self {
        let (slots, reported) = unbounded_channel();
        Self {
            run: run.to_owned(),
            prepared: None,
            live: HashMap::new(),
            slots,
            reported,
            unsent: VecDeque::new(),
            unacknowledged: BTreeMap::new(),
            logs: Box::default(),
            checkpoints: HashMap::new(),
        }
    }

    pub(crate) fn run(&self) -> &str {
        &self.run
    }

    /// A new session begins: what the last one sent and nobody acknowledged is sent again, in the same order. Returns
    /// the attempts that run here, and those whose end waits to be told.
    pub(crate) fn reattach(&mut self) -> Vec<AttemptId> {
        self.collect();
        while let Some((_, reports)) = self.unacknowledged.pop_last() {
            reports.into_iter().rev().for_each(|report| self.unsent.push_front(report));
        }
        let ended = self.unsent.iter().filter(|report| matches!(report.event, AttemptEvent::Ended(_)));
        let mut held: Vec<_> = ended.map(|report| report.attempt).chain(self.live.keys().copied()).collect();
        held.sort_unstable();
        held
    }

    /// Waits until a slot reports something that is to be sent. Other slots get a chance to report first: what goes out
    /// together is written down together.
    pub(crate) async fn wait_for_reports(&mut self) {
        if self.unsent.is_empty()
            && let Some(report) = self.reported.recv().await
        {
            self.note(report);
            std::thread::yield_now();
        }
        self.collect();
    }

    /// The next reports to send, at most `max`, as message number `sequence`.
    pub(crate) fn send_next(&mut self, max: usize, sequence: u64) -> &[Report] {
        let batch = self.unsent.drain(..max.min(self.unsent.len()));
        let sent = self.unacknowledged.entry(sequence).or_default();
        sent.extend(batch);
        sent
    }

    /// The driver is done with all messages up to number `through`, and with those `settled` after it. Returns the
    /// checkpoints that are worth nothing any more: those of attempts whose end it has noted. It need not name them, and a
    /// driver that took the run up could not.
    pub(crate) fn acknowledge(&mut self, through: u64, settled: &[u64]) -> Vec<(AttemptId, Digest)> {
        let mut done = Vec::new();
        while let Some(oldest) = self.unacknowledged.first_entry().filter(|oldest| *oldest.key() <= through) {
            done.extend(oldest.remove());
        }
        done.extend(settled.iter().filter_map(|sequence| self.unacknowledged.remove(sequence)).flatten());
        let ended = done.iter().filter(|report| matches!(report.event, AttemptEvent::Ended(_)));
        ended.filter_map(|report| self.checkpoints.remove_entry(&report.attempt)).collect()
    }

    /// Takes note of a new attempt; returns its flag and where it reports. `None` if it runs already.
    pub(crate) fn begin(&mut self, attempt: AttemptId) -> Option<(Arc<Stop>, UnboundedSender<Report>)> {
        if self.live.contains_key(&attempt) {
            return None;
        }
        let stop = Arc::new(Stop::default());
        self.live.insert(attempt, Arc::clone(&stop));
        Some((stop, self.slots.clone()))
    }

    /// The rest of the logs of those among the next `max` attempts to be told of that have ended.
    pub(crate) fn take_ended_logs(&mut self, max: usize) -> Vec<LogPiece> {
        let mut pieces = Vec::new();
        for report in self.unsent.iter().take(max).filter(|report| matches!(report.event, AttemptEvent::Ended(_))) {
            pieces.extend(self.logs.close(report.attempt));
        }
        pieces
    }

    /// How many attempts run here.
    pub(crate) fn running(&self) -> usize {
        self.live.len()
    }

    /// The flag of a running attempt.
    pub(crate) fn stop_of(&self, attempt: AttemptId) -> Option<&Stop> {
        self.live.get(&attempt).map(AsRef::as_ref)
    }

    /// Every running attempt stops after its epoch.
    pub(crate) fn stop_at_epoch_end(&self) {
        self.live.values().for_each(|stop| stop.at_epoch_end());
    }

    /// Every running attempt stops between two batches.
    pub(crate) fn stop_now(&self) {
        self.live.values().for_each(|stop| stop.now());
    }

    /// Whether nothing runs and the driver knows of every end.
    pub(crate) fn is_idle(&mut self) -> bool {
        self.collect();
        self.live.is_empty() && self.unsent.is_empty() && self.unacknowledged.is_empty()
    }

    fn collect(&mut self) {
        while let Ok(report) = self.reported.try_recv() {
            self.note(report);
        }
    }

    fn note(&mut self, report: Report) {
        match report.event {
            AttemptEvent::Epoch { checkpoint: Some(checkpoint), .. } => {
                self.checkpoints.insert(report.attempt, checkpoint);
            }
            AttemptEvent::Epoch { .. } => {}
            AttemptEvent::Ended(_) => {
                self.live.remove(&report.attempt);
            }
        }
        self.unsent.push_back(report);
    }
}

#[cfg(test)]
mod tests {
    use broadsweep_common::attempt::{Durations, Ended};
    use broadsweep_common::ids::TaskId;
    use broadsweep_common::metrics::Metrics;

    use super::*;

    fn attempt(task: u32) -> AttemptId {
        AttemptId { task: TaskId(task), number: 1 }
    }

    fn end(task: u32) -> Report {
        Report { attempt: attempt(task), durations: Durations::default(), event: AttemptEvent::Ended(Ended::Stopped) }
    }

    #[tokio::test]
    async fn a_report_is_handed_over_again_until_it_is_acknowledged() {
        let mut tenant = Tenant::new("run");
        let slots = [0, 1, 2].map(|task| tenant.begin(attempt(task)).unwrap().1);
        slots[0].send(end(0)).unwrap();
        slots[1].send(end(1)).unwrap();
        tenant.wait_for_reports().await;
        assert_eq!(tenant.send_next(1, 2), [end(0)]);
        assert_eq!(tenant.send_next(9, 3), [end(1)]);
        tenant.acknowledge(2, &[]);
        assert_eq!(tenant.reattach(), [attempt(1), attempt(2)]);
        assert_eq!(tenant.send_next(9, 2), [end(1)]);
        tenant.acknowledge(2, &[]);
        assert_eq!(tenant.reattach(), [attempt(2)]);
        assert!(!tenant.is_idle());
        slots[2].send(end(2)).unwrap();
        assert_eq!((tenant.is_idle(), tenant.running()), (false, 0));
        assert_eq!(tenant.send_next(9, 1), [end(2)]);
        tenant.acknowledge(1, &[]);
        assert!(tenant.is_idle());
    }

    #[tokio::test]
    async fn the_last_checkpoint_of_an_attempt_is_kept_until_its_end_is_acknowledged() {
        let mut tenant = Tenant::new("run");
        let (_, slot) = tenant.begin(attempt(0)).unwrap();
        for epoch in 1..=2 {
            let checkpoint = Some(Digest::of(&[epoch as u8]));
            let event = AttemptEvent::Epoch { epoch, metrics: Metrics::default(), checkpoint };
            slot.send(Report { attempt: attempt(0), durations: Durations::default(), event }).unwrap();
        }
        slot.send(end(0)).unwrap();
        tenant.wait_for_reports().await;
        assert_eq!(tenant.send_next(2, 1).len(), 2);
        assert_eq!(tenant.send_next(1, 2).len(), 1);
        assert_eq!(tenant.acknowledge(1, &[]), []);
        assert_eq!(tenant.acknowledge(2, &[]), [(attempt(0), Digest::of(&[2]))]);
        assert_eq!(tenant.acknowledge(3, &[]), []);
    }

    #[tokio::test]
    async fn a_message_that_waits_does_not_hold_back_those_after_it() {
        let mut tenant = Tenant::new("run");
        for task in 0..3 {
            let (_, slot) = tenant.begin(attempt(task)).unwrap();
            let event =
                AttemptEvent::Epoch { epoch: 1, metrics: Metrics::default(), checkpoint: Some(checkpoint(task)) };
            slot.send(Report { attempt: attempt(task), durations: Durations::default(), event }).unwrap();
        }
        tenant.wait_for_reports().await;
        assert_eq!(tenant.send_next(9, 1).len(), 3);
        for task in 0..3 {
            tenant.slots.send(end(task)).unwrap();
            tenant.wait_for_reports().await;
            assert_eq!(tenant.send_next(9, 2 + u64::from(task)), [end(task)]);
        }
        assert_eq!(tenant.acknowledge(1, &[4]), [(attempt(2), checkpoint(2))], "its end is settled, and no other");
        assert_eq!(tenant.acknowledge(1, &[4, 4]), [], "told again, it does nothing");
        assert_eq!(tenant.reattach(), [attempt(0), attempt(1)], "the rest is told again");
        assert_eq!(tenant.send_next(9, 1), [end(0), end(1)]);
        assert_eq!(tenant.acknowledge(0, &[1]), [0, 1].map(|task| (attempt(task), checkpoint(task))));
        assert!(tenant.is_idle());
    }

    fn checkpoint(task: u32) -> Digest {
        Digest::of(&task.to_le_bytes())
    }

    #[test]
    fn an_attempt_begins_once() {
        let mut tenant = Tenant::new("run");
        assert!(tenant.begin(attempt(0)).is_some());
        assert!(tenant.begin(attempt(0)).is_none());
    }

    #[test]
    fn only_the_attempts_that_are_meant_are_told_to_stop() {
        let mut tenant = Tenant::new("run");
        let stops = [0, 1].map(|task| tenant.begin(attempt(task)).unwrap().0);
        assert_eq!(tenant.running(), 2);
        assert!(tenant.stop_of(attempt(2)).is_none());
        tenant.stop_of(attempt(0)).unwrap().now();
        assert_eq!(stops.each_ref().map(|stop| stop.allows_a_batch()), [false, true]);
        assert!(stops[1].allows_an_epoch());
        tenant.stop_at_epoch_end();
        assert!(stops[1].allows_a_batch() && !stops[1].allows_an_epoch());
        tenant.stop_now();
        assert!(!stops[1].allows_a_batch());
    }
}
