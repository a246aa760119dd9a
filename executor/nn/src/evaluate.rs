//! Scores of whole parts of the data, in evaluation mode.

use super::report::Score;
use broadsweep_common::dataset::{Dataset, Header, Part};
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
    let mut passage = Passage::new(model, weights, data.header(), kernel)?;
    witness.begin(part);
    let mut total = Tally::default();
    passage.take(data, part, witness, &mut total);
    if total.rows > 0 { Ok(total) } else { Err(MeasureError::NoRows { part }) }
}

/// A network of weights that are not trained any more, and the batch in which rows come to it.
pub(super) struct Passage {
    network: Network,
    parameters: Parameters,
    batch: Batch,
    /// Of a batch.
    pub(super) rows: usize,
}

impl Passage {
    /// For data with this header, however many rows it has.
    pub(super) fn new(
        model: &Model,
        weights: &Weights,
        header: &Header,
        kernel: Kernel,
    ) -> Result<Self, MeasureError> {
        let plan = plan(model, &header.shape, header.targets)?;
        let blueprint = Blueprint::new(model, &plan, kernel.blocking());
        let parameters = weights.parameters(&plan, &blueprint)?;
        let rows = plan.evaluation_rows();
        let network = Network::new(model, &plan, &blueprint, kernel, rows);
        let batch = Batch::new(header.targets, kernel, blueprint.input, rows);
        Ok(Self { network, parameters, batch, rows })
    }

    /// Takes all rows of `part` through, and adds what they cost to `total`.
    pub(super) fn take(&mut self, data: &Dataset, part: Part, witness: &mut impl Witness, total: &mut Tally) {
        let means = Means { batch: &mut self.batch, rows: self.rows, witness };
        add_score(&mut self.network, &mut self.parameters, (data, part), means, total, || true);
    }
}

/// Sees what a network answers.
pub(super) trait Witness {
    /// Whether the rows have what they should be, and their loss is wanted.
    fn compares(&self) -> bool {
        true
    }

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
    means: Means<'_, impl Witness>,
    go_on: impl FnMut() -> bool,
) -> Option<Tally> {
    means.witness.begin(part);
    let mut total = Tally::default();
    add_score(network, parameters, (data, part), means, &mut total, go_on).then_some(total)
}

/// Adds the sums over all rows of `part`, batch after batch; `false` if `go_on` ended it between two of them.
fn add_score(
    network: &mut Network,
    parameters: &mut Parameters,
    (data, part): (&Dataset, Part),
    Means { batch, rows, witness }: Means<'_, impl Witness>,
    total: &mut Tally,
    mut go_on: impl FnMut() -> bool,
) -> bool {
    let end = data.rows(part);
    for start in (0..end).step_by(rows) {
        if !go_on() {
            return false;
        }
        batch.gather(data, part, start..end.min(start + rows));
        if witness.compares() {
            total.add(network.evaluate(parameters, batch));
        } else {
            network.answer(parameters, batch);
        }
        let (outputs, width) = network.outputs(batch.rows());
        witness.see(outputs, width, batch.wanted());
    }
    true
}
