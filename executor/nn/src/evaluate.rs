//! Scores of whole parts of the data, in evaluation mode.

use super::report::Score;
use broadsweep_common::dataset::{Dataset, Part};
use broadsweep_common::details::Details;
use broadsweep_common::measure::{Measure, Reported};
use broadsweep_common::model::Model;

use super::batch::Batch;
use super::blueprint::Blueprint;
use super::kernel::Kernel;
use super::loss::{Tally, Wanted};
use super::measures::{Look, Meter, guess};
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
    let mut meter = Meter::new(measures, data, &[part]);
    let tally = pass(model, weights, data, part, (kernel, &mut meter))?;
    Ok(meter.score(&tally))
}

/// Looks closely at what weights answer to the rows of `part`. What a constant answer gets is told under the names of
/// `measures`. The same weights give the same bits, wherever that is.
///
/// # Errors
/// As [`measure`].
pub fn examine(
    model: &Model,
    weights: &Weights,
    data: &Dataset,
    part: Part,
    (kernel, measures): (Kernel, &[Reported]),
) -> Result<Details, MeasureError> {
    let mut look = Look::new(data.header());
    pass(model, weights, data, part, (kernel, &mut look))?;
    let by: Vec<_> = measures.iter().map(|reported| reported.measure).collect();
    Ok(Details { guess: guess(&by, data, part).metrics(part, measures), ..look.details() })
}

/// Takes all rows of `part` through a network of these weights.
pub(super) fn pass(
    model: &Model,
    weights: &Weights,
    data: &Dataset,
    part: Part,
    (kernel, witness): (Kernel, &mut impl Witness),
) -> Result<Tally, MeasureError> {
    let plan = plan(model, &data.header().shape, data.header().targets)?;
    let blueprint = Blueprint::new(model, &plan, kernel.blocking());
    let mut parameters = weights.parameters(&plan, &blueprint)?;
    let rows = plan.evaluation_rows();
    let mut network = Network::new(model, &plan, &blueprint, kernel, rows);
    let mut batch = Batch::new(data, kernel, blueprint.input, rows);
    let means = Means { batch: &mut batch, rows, witness };
    match score(&mut network, &mut parameters, data, part, means, || true) {
        Some(tally) if tally.rows > 0 => Ok(tally),
        _ => Err(MeasureError::NoRows { part }),
    }
}

/// Sees what a network answers.
pub(super) trait Witness {
    /// The rows of `part` come next.
    fn begin(&mut self, part: Part);

    /// A batch's outputs, `(rows, width)`, and what they should be.
    fn see(&mut self, outputs: &[f32], width: usize, wanted: Wanted<'_>);
}

impl Witness for Meter {
    fn begin(&mut self, part: Part) {
        Self::begin(self, part);
    }

    fn see(&mut self, outputs: &[f32], width: usize, wanted: Wanted<'_>) {
        Self::see(self, outputs, width, wanted);
    }
}

impl Witness for Look {
    fn begin(&mut self, _part: Part) {}

    fn see(&mut self, outputs: &[f32], width: usize, wanted: Wanted<'_>) {
        Self::see(self, outputs, width, wanted);
    }
}

/// What rows pass through on their way to a score.
pub(super) struct Means<'a, W> {
    pub(super) batch: &'a mut Batch,
    /// Of one batch.
    pub(super) rows: usize,
    /// Sees all outputs.
    pub(super) witness: &'a mut W,
}

/// Sums over all rows of `part`, in batches; `None` if `go_on` ended it between two of them.
pub(super) fn score(
    network: &mut Network,
    parameters: &mut Parameters,
    data: &Dataset,
    part: Part,
    Means { batch, rows, witness }: Means<'_, impl Witness>,
    mut go_on: impl FnMut() -> bool,
) -> Option<Tally> {
    let mut total = Tally::default();
    witness.begin(part);
    let end = data.rows(part);
    for start in (0..end).step_by(rows) {
        if !go_on() {
            return None;
        }
        batch.gather(data, part, start..end.min(start + rows));
        total.add(network.evaluate(parameters, batch));
        let (outputs, width) = network.outputs(batch.rows());
        witness.see(outputs, width, batch.wanted());
    }
    Some(total)
}
