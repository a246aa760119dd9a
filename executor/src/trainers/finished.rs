//! What makes answers of rows: built-in layers, or a graph of another program. One of each is shared by all slots.

use broadsweep_common::application::{FinishedModel, FinishedNetwork};
use broadsweep_common::configuration::Configuration;
use broadsweep_common::dataset::{Dataset, Header, Part};
use broadsweep_common::model::Model;
use broadsweep_common::refusal::Refusal;
use broadsweep_common::schema::{Outputs, Schema};
use broadsweep_nn::{Kernel, Prediction, Predictor, Weights};

use super::foreign::{ForeignGraph, GraphPass};
use super::trainer::in_words;

/// What makes answers of rows.
pub(super) enum Network {
    Layers { layers: Model, weights: Weights },
    Graph(Box<ForeignGraph>),
}

impl Network {
    /// The model of a blob: its schema, and what makes its answers.
    ///
    /// # Errors
    /// [`Refusal`], if the model is none, or if this executor has nothing to run its graph with.
    pub(super) fn of_blob(blob: &[u8]) -> Result<(Schema, Self), Refusal> {
        let of_model = |reason: String| Refusal::Data { reason };
        let (FinishedModel { schema, network }, behind) =
            FinishedModel::of_blob(blob).map_err(|error| of_model(error.to_string()))?;
        let network = match network {
            FinishedNetwork::Layers(layers) => {
                let layers =
                    layers.resolve(&Configuration::default()).map_err(|error| of_model(error.to_string()))?;
                let weights = Weights::from_safetensors(behind, &layers, &schema.shape, schema.outputs.targets());
                let weights = weights.map_err(|error| of_model(error.to_string()))?;
                Self::Layers { layers, weights }
            }
            FinishedNetwork::Graph(description) => {
                Self::Graph(Box::new(ForeignGraph::load(behind, description, &schema).map_err(of_model)?))
            }
        };
        Ok((schema, network))
    }

    /// For rows with this header.
    pub(super) fn pass<'n>(
        &'n self,
        header: &Header,
        outputs: &'n Outputs,
        kernel: Kernel,
    ) -> Result<Pass<'n>, String> {
        match self {
            Self::Layers { layers, weights } => {
                let predictor = Predictor::new((layers, weights), header, outputs, kernel).map_err(in_words)?;
                // What rows should be, if that is known, is compared with what is written.
                let predictor = predictor.without_score();
                Ok(Pass::Layers(Box::new(predictor)))
            }
            Self::Graph(graph) => Ok(Pass::Graph(graph.pass(outputs))),
        }
    }
}

/// Rows on their way through one of them, on one slot.
pub(super) enum Pass<'n> {
    Layers(Box<Predictor<'n>>),
    Graph(GraphPass<'n>),
}

impl Pass<'_> {
    /// Rows of a batch.
    pub(super) fn batch_rows(&self) -> usize {
        match self {
            Self::Layers(predictor) => predictor.batch_rows(),
            Self::Graph(pass) => pass.batch_rows(),
        }
    }

    /// Predicts the test rows of a piece, in order: `take` gets each row's prediction.
    pub(super) fn predict(&mut self, piece: &Dataset, take: impl FnMut(Prediction<'_>)) -> Result<(), String> {
        match self {
            Self::Layers(predictor) => {
                predictor.predict((piece, Part::Test), take);
                Ok(())
            }
            Self::Graph(pass) => pass.predict(piece, take),
        }
    }
}
