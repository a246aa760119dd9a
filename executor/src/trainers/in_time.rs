//! Replays in simulated time: nobody looks at a clock, and `sleep` does the waiting. What a real trainer leaves and a
//! replay does not, a simulation adds: checkpoints of some size, and weights.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use broadsweep_common::attempt::{ArtifactName, Ended};
use broadsweep_common::configuration::Configuration;
use broadsweep_common::ids::Digest;
use broadsweep_common::metrics::Metrics;
use broadsweep_common::replay::{Replay, ReplayDescription};
use broadsweep_common::task::Segment;

use super::replay::{Audience, ReplayState, Replayed, begin, end, ended, pause, segment};
use crate::control::SlotControl;
use broadsweep_store::Content;

/// How long a wait lasts before the control is asked again: each slice costs an event.
const SLICE: Duration = Duration::from_millis(50);

/// What a simulated training leaves besides its numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bulk {
    /// Bytes that its checkpoints have at least.
    pub checkpoint_bytes: usize,
    /// What it ends with, if it comes to the trial's end.
    pub weights: Option<Vec<u8>>,
}

impl Bulk {
    /// A checkpoint of the size that it is to have. The filling depends on the state, so that no block of one checkpoint
    /// fits another.
    fn load(&self, mut bytes: Vec<u8>) -> Vec<u8> {
        let mut filling = u64::from_le_bytes(*Digest::of(&bytes).0.first_chunk().unwrap_or(&[0; 8]));
        while bytes.len() < self.checkpoint_bytes {
            // Knuth's linear congruential generator (MMIX).
            filling = filling.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            bytes.extend(filling.to_le_bytes());
        }
        bytes
    }

    /// The state in a checkpoint; one that is filled in another way is left as it is, and will not fit.
    fn unload(&self, content: Content) -> Content {
        let bytes = (*content).as_ref();
        let state = bytes.get(..ReplayState::BYTES).map(<[u8]>::to_vec);
        match state.filter(|state| self.load(state.clone()) == bytes) {
            Some(state) => Arc::new(state),
            None => content,
        }
    }
}

/// A control whose checkpoints are filled up.
struct Filling<'a> {
    control: &'a mut SlotControl,
    bulk: &'a Bulk,
}

impl Audience for Filling<'_> {
    fn go_on(&mut self) -> bool {
        self.control.go_on()
    }

    fn epoch_ended(&mut self, metrics: Metrics, state: ReplayState) -> bool {
        let bytes = || self.bulk.load(state.to_bytes());
        self.control.epoch_done(state.epoch(), metrics, (state.is_last(), bytes))
    }
}

/// As the replay's trainer trains.
pub(crate) async fn train_in_time<S: Future<Output = ()>>(
    (replays, bulk): (&ReplayDescription, &Bulk),
    task: Segment,
    configuration: &Configuration,
    checkpoint: Option<Content>,
    (control, sleep): (&mut SlotControl, impl Fn(Duration) -> S),
) -> Ended {
    let checkpoint = checkpoint.map(|content| bulk.unload(content));
    let (replay, state) = match begin(replays, task, configuration, (checkpoint, control)) {
        Ok(begun) => begun,
        Err(reason) => return Ended::failed(reason),
    };
    let mut audience = Filling { control, bulk };
    let replayed = run_in_time(&replay, state, task.until_epoch, &mut audience, sleep).await;
    match (replayed, &bulk.weights) {
        (Replayed::Complete { epoch }, Some(weights)) => {
            control.trained(epoch, ArtifactName::Weights, weights.clone())
        }
        (Replayed::Paused { epoch, state }, _) => {
            control.trained(epoch, ArtifactName::Checkpoint, bulk.load(state.to_bytes()))
        }
        (other, _) => ended(other, control),
    }
}

/// As [`run`](super::replay::run).
async fn run_in_time<S: Future<Output = ()>>(
    replay: &Replay,
    mut state: ReplayState,
    until_epoch: u32,
    audience: &mut impl Audience,
    sleep: impl Fn(Duration) -> S,
) -> Replayed {
    state.learn(replay.epochs_begun());
    for step in segment(replay, state, until_epoch) {
        if !rest_in_time(step.wait, audience, &sleep).await {
            return Replayed::Stopped;
        }
        let goes_on = audience.epoch_ended(step.metrics, state.completed(step.epoch));
        if !goes_on && !state.is_last() && step.epoch < until_epoch {
            return Replayed::Stopped;
        }
    }
    if let Some(paused) = pause(replay, state, until_epoch) {
        return paused;
    }
    let (wait, replayed) = end(replay);
    if rest_in_time(wait, audience, &sleep).await { replayed } else { Replayed::Stopped }
}

/// Waits in slices; says whether to go on. A slow node is one whose `sleep` takes longer than it was told.
pub(crate) async fn rest_in_time<S: Future<Output = ()>>(
    wait: Duration,
    audience: &mut impl Audience,
    sleep: impl Fn(Duration) -> S,
) -> bool {
    let mut left = wait;
    while !left.is_zero() {
        if !audience.go_on() {
            return false;
        }
        let slice = left.min(SLICE);
        sleep(slice).await;
        left -= slice;
    }
    wait.is_zero() || audience.go_on()
}

#[cfg(test)]
mod tests {
    use broadsweep_common::ids::TrialId;
    use broadsweep_common::task::Replicate;

    use super::*;

    #[test]
    fn a_filled_checkpoint_gives_its_state_back_and_one_that_was_changed_does_not() {
        let state = ReplayState::new(Replicate::first(TrialId(7))).to_bytes();
        for checkpoint_bytes in [0, ReplayState::BYTES, 1000] {
            let bulk = Bulk { checkpoint_bytes, weights: None };
            let mut filled = bulk.load(state.clone());
            assert!(filled.len() >= checkpoint_bytes.max(state.len()));
            assert_eq!((*bulk.unload(Arc::new(filled.clone()))).as_ref(), state);
            *filled.last_mut().unwrap() ^= 1;
            assert_ne!((*bulk.unload(Arc::new(filled))).as_ref(), state);
        }
    }
}
