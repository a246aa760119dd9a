//! Scores of whole parts of the data, in evaluation mode.

use super::report::Score;
use broadsweep_common::dataset::{Dataset, Part};
use broadsweep_common::model::Model;

use super::batch::Batch;
use super::blueprint::Blueprint;
use super::kernel::Kernel;
use super::loss::Tally;
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

/// Measures weights on all rows of `part`. The same weights score the same bits here as in training with
/// the same kernel.
///
/// # Errors
/// [`MeasureError`], if model, weights and data do not fit, or `part` is empty.
pub fn measure(
    model: &Model,
    weights: &Weights,
    data: &Dataset,
    part: Part,
    kernel: Kernel,
) -> Result<Score, MeasureError> {
    let plan = plan(model, &data.header().shape, data.header().targets)?;
    let blueprint = Blueprint::new(model, &plan, kernel.blocking());
    let mut parameters = weights.parameters(&plan, &blueprint)?;
    let rows = plan.evaluation_rows();
    let mut network = Network::new(model, &plan, &blueprint, kernel, rows);
    let mut batch = Batch::new(data, kernel, blueprint.input, rows);
    let tally = score(&mut network, &mut parameters, data, part, (&mut batch, rows), || true);
    match tally {
        Some(tally) if tally.rows > 0 => Ok(tally.score(model.loss)),
        _ => Err(MeasureError::NoRows { part }),
    }
}

/// Sums over all rows of `part`, in batches of `rows` rows; `None` if `go_on` ended it between two batches.
pub(super) fn score(
    network: &mut Network,
    parameters: &mut Parameters,
    data: &Dataset,
    part: Part,
    (batch, rows): (&mut Batch, usize),
    mut go_on: impl FnMut() -> bool,
) -> Option<Tally> {
    let mut total = Tally::default();
    let end = data.rows(part);
    for start in (0..end).step_by(rows) {
        if !go_on() {
            return None;
        }
        batch.gather(data, part, start..end.min(start + rows));
        total.add(network.evaluate(parameters, batch));
    }
    Some(total)
}
