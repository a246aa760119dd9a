//! The trainer's control on a slot: answers between batches, times the phases, passes reports and checkpoints on.

use std::sync::Arc;
use std::time::Duration;

use broadsweep_common::attempt::{Artifact, ArtifactName, AttemptEvent, Durations, Ended, Report};
use broadsweep_common::ids::{AttemptId, Digest};
use broadsweep_common::metrics::Metrics;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::Instant;

use crate::stop::Stop;
use crate::store::{Made, Shelf, StoreError};
use broadsweep_nn::{Checkpoint, Control, EpochReport, Phase};

/// Checkpoints may cost one part of so many of a training's time.
const CHECKPOINT_SHARE: u32 = 20;

/// One attempt's control. It never waits.
pub(crate) struct SlotControl {
    attempt: AttemptId,
    /// The segment's last epoch, whose state is an artifact and no checkpoint of the attempt.
    until_epoch: u32,
    stop: Arc<Stop>,
    shelf: Shelf,
    reports: UnboundedSender<Report>,
    phase: Option<(Phase, Instant)>,
    unreported: Durations,
    /// The newest checkpoint, which the store keeps for the driver.
    checkpoint: Option<Digest>,
    /// When the last checkpoint was taken, and how long that took.
    taken: Option<(Instant, Duration)>,
}

impl SlotControl {
    pub(crate) fn new(
        attempt: AttemptId,
        until_epoch: u32,
        stop: Arc<Stop>,
        shelf: Shelf,
        reports: UnboundedSender<Report>,
    ) -> Self {
        let unreported = Durations::default();
        Self { attempt, until_epoch, stop, shelf, reports, phase: None, unreported, checkpoint: None, taken: None }
    }

    /// The time since the last report, by phase.
    pub(crate) fn durations(&mut self) -> Durations {
        let now = Instant::now();
        if let Some((phase, since)) = &mut self.phase {
            let spent = match phase {
                Phase::Training => &mut self.unreported.training,
                Phase::Evaluation => &mut self.unreported.evaluation,
            };
            *spent += now - *since;
            *since = now;
        }
        std::mem::take(&mut self.unreported)
    }

    pub(crate) fn send(&self, report: Report) {
        // The run may be over: then nobody waits for the report.
        let _ = self.reports.send(report);
    }

    /// How a segment ends that made this: the store keeps it for the driver.
    pub(crate) fn trained(&self, epoch: u32, name: ArtifactName, bytes: Vec<u8>) -> Ended {
        self.keep(name, bytes).map_or_else(Ended::failed, |artifacts| Ended::Trained { epoch, artifacts })
    }

    /// How a partition ends that gave this: likewise.
    pub(crate) fn applied(&self, output: Vec<u8>) -> Ended {
        self.keep(ArtifactName::Output, output).map_or_else(Ended::failed, |artifacts| Ended::Applied { artifacts })
    }

    fn keep(&self, name: ArtifactName, bytes: Vec<u8>) -> Result<Vec<Artifact>, String> {
        let blob = self.shelf.keep(bytes, Made::Result).map_err(|error| error.to_string())?;
        Ok(vec![Artifact { name, blob }])
    }

    /// The attempt has a result: its checkpoint is worth nothing any more.
    pub(crate) fn drop_checkpoint(&mut self) {
        if let Some(checkpoint) = self.checkpoint.take() {
            self.shelf.release(checkpoint);
        }
    }

    /// Whether the attempt may go on within its epoch.
    pub(crate) fn allows_a_batch(&self) -> bool {
        self.stop.allows_a_batch()
    }

    /// Reports an epoch, and keeps the state after it where that pays; says whether another one may begin.
    pub(crate) fn epoch_done(
        &mut self,
        epoch: u32,
        metrics: Metrics,
        (is_last, state): (bool, impl FnOnce() -> Vec<u8>),
    ) -> bool {
        let checkpoint = self.take(is_last || epoch >= self.until_epoch, state);
        let durations = self.durations();
        let event = AttemptEvent::Epoch { epoch, metrics, checkpoint };
        self.send(Report { attempt: self.attempt, durations, event });
        self.stop.allows_an_epoch()
    }

    /// Keeps the state for the driver, unless it is worth nothing or was kept a moment ago.
    fn take(&mut self, is_last: bool, bytes: impl FnOnce() -> Vec<u8>) -> Option<Digest> {
        let is_affordable = self.taken.is_none_or(|(at, cost)| at.elapsed() >= cost * CHECKPOINT_SHARE);
        let is_wanted = is_affordable || !self.stop.allows_an_epoch();
        if is_last || !is_wanted {
            return None;
        }
        let began = Instant::now();
        let kept = self.shelf.keep(bytes(), Made::Checkpoint);
        self.taken = Some((Instant::now(), began.elapsed()));
        match kept {
            Ok(digest) => {
                if let Some(older) = self.checkpoint.replace(digest).filter(|older| *older != digest) {
                    self.shelf.release(older);
                }
                Some(digest)
            }
            Err(StoreError::RunOver) => None, // nobody waits for it
            Err(error) => {
                tracing::warn!(attempt = %self.attempt, %error, "a checkpoint could not be kept");
                None
            }
        }
    }
}

impl Control for SlotControl {
    fn go_on(&mut self) -> bool {
        self.allows_a_batch()
    }

    fn phase(&mut self, phase: Phase) {
        self.unreported = self.durations();
        self.phase = Some((phase, Instant::now()));
    }

    fn epoch_ended(&mut self, report: &EpochReport, checkpoint: &Checkpoint) -> bool {
        self.epoch_done(report.epoch, report.metrics(), (checkpoint.is_last(), || checkpoint.to_bytes()))
    }
}
