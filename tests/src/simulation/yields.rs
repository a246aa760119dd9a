//! What simulated tasks leave besides their numbers, as functions of what they do: wherever and however often they run,
//! it is the same.

use std::time::Duration;

use broadsweep_common::application::Applied;
use broadsweep_common::dataset::Part;
use broadsweep_common::ids::{Digest, TrialId};
use broadsweep_common::metrics::{MetricName, Metrics};
use broadsweep_common::task::TaskKind;
use broadsweep_executor::trainers::in_time::Bulk;

use super::chance::Chance;

/// How long it takes to apply the model to a partition.
pub(super) const APPLICATION: Duration = Duration::from_millis(700);
/// How long it takes to measure weights on the test rows.
pub(super) const MEASUREMENT: Duration = Duration::from_millis(1300);

/// What the trainings of a world leave.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Yields {
    /// Bytes of each checkpoint.
    pub(super) checkpoint_bytes: usize,
    /// Bytes of the weights with which a trial is over; `None` for replays as they are, which leave none.
    pub(super) weights_bytes: Option<usize>,
}

impl Yields {
    pub(super) fn draw(chance: &mut Chance) -> Self {
        Self {
            checkpoint_bytes: if chance.one_in(4) { bytes(chance) } else { 16 },
            weights_bytes: chance.one_in(2).then(|| bytes(chance)),
        }
    }

    /// What a task leaves.
    pub(super) fn bulk_of(self, kind: TaskKind) -> Bulk {
        let weights = kind.trial().and_then(|trial| self.weights_of(trial));
        Bulk { checkpoint_bytes: self.checkpoint_bytes, weights }
    }

    /// The weights with which a trial is over.
    pub(super) fn weights_of(self, trial: TrialId) -> Option<Vec<u8>> {
        let mut filling = Chance::new(u64::from(trial.0) + 1);
        let weights = |bytes: usize| (0..bytes.div_ceil(8)).flat_map(|_| filling.next().to_le_bytes()).collect();
        self.weights_bytes.map(weights)
    }
}

/// Few bytes as often as several blocks.
fn bytes(chance: &mut Chance) -> usize {
    chance.log_range(16.0, f64::from(5 << 19)) as usize
}

/// What the test rows say of weights.
pub(super) fn measured_of(weights: &[u8]) -> Metrics {
    let digest = Digest::of(weights);
    let values = digest.0.chunks(4).map(|bytes| f64::from(bytes[0]) + f64::from(bytes[1]) / 256.0);
    MetricName::of_part(Part::Test).into_iter().zip(values).collect()
}

/// What comes out of a partition.
pub(super) fn output_of(partition: u32) -> Vec<u8> {
    let applied = Applied { rows: u64::from(partition), ..Applied::default() };
    applied.to_artifact(format!("what came out of partition {partition}").as_bytes()).unwrap_or_default()
}
