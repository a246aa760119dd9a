//! Scores of whole parts of the data, in evaluation mode.

use super::report::Score;
use broadsweep_common::dataset::{Dataset, Part};
use broadsweep_common::measure::Measure;
use broadsweep_common::model::Model;

use super::batch::Batch;
use super::blueprint::Blueprint;
use super::kernel::Kernel;
use super::loss::Tally;
use super::measures::Meter;
use super::network::Network;
use super::parameters::Parameters;
use super::plan::plan;
use super::shape::ShapeError;
use super::weights::{Weights, WeightsError};

/// Why weights cannot be measured.
#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    /// The layers fit neither each other nor the data.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// The weights are not this model's.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// There is nothing to measure on.
    #[error("the data has no {part} rows")]
    NoRows {
        /// Which rows are missing.
        part: Part,
    },
}

/// Measures weights on all rows of `part`, also by these measures. The same weights score the same bits here as in training with
/// the same kernel.
///
/// # Errors
/// [`MeasureError`], if model, weights and data do not fit, or `part` is empty.
pub fn measure(
    model: &Model,
    weights: &Weights,
    data: &Dataset,
    part: Part,
    (kernel, measures): (Kernel, &[Measure]),
) -> Result<Score, MeasureError> {
    let plan = plan(model, &data.header().shape, data.header().targets)?;
    let blueprint = Blueprint::new(model, &plan, kernel.blocking());
    let mut parameters = weights.parameters(&plan, &blueprint)?;
    let rows = plan.evaluation_rows();
    let mut network = Network::new(model, &plan, &blueprint, kernel, rows);
    let mut batch = Batch::new(data, kernel, blueprint.input, rows);
    let mut meter = Meter::new(measures, data, &[part]);
    let means = Means { batch: &mut batch, rows, meter: &mut meter };
    let tally = score(&mut network, &mut parameters, data, part, means, || true);
    match tally {
        Some(tally) if tally.rows > 0 => Ok(meter.score(&tally)),
        _ => Err(MeasureError::NoRows { part }),
    }
}

/// What rows pass through on their way to a score.
pub(super) struct Means<'a> {
    pub(super) batch: &'a mut Batch,
    /// Of one batch.
    pub(super) rows: usize,
    /// Sees all outputs.
    pub(super) meter: &'a mut Meter,
}

/// Sums over all rows of `part`, in batches; `None` if `go_on` ended it between two of them.
pub(super) fn score(
    network: &mut Network,
    parameters: &mut Parameters,
    data: &Dataset,
    part: Part,
    Means { batch, rows, meter }: Means<'_>,
    mut go_on: impl FnMut() -> bool,
) -> Option<Tally> {
    let mut total = Tally::default();
    meter.begin(part);
    let end = data.rows(part);
    for start in (0..end).step_by(rows) {
        if !go_on() {
            return None;
        }
        batch.gather(data, part, start..end.min(start + rows));
        total.add(network.evaluate(parameters, batch));
        let (outputs, width) = network.outputs(batch.rows());
        meter.see(outputs, width, batch.wanted());
    }
    Some(total)
}
