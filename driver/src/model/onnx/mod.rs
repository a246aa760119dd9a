//! `model.onnx`: the model for other programs. It takes raw rows, and does to them what broadsweep does, in the same
//! widths of numbers; what it gives differs in the last digits alone.
//!
//! | module | holds |
//! |---|---|
//! | `graph` | a graph while it is built |
//! | `input` | from raw rows to what the first layer takes |
//! | `layers` | the layers |
//!
//! The graph has one input, `rows`, and the outputs `probabilities` and `label`, or `values`.

mod graph;
mod input;
mod layers;

use broadsweep_common::schema::Outputs;
use broadsweep_nn::Weights;
use broadsweep_onnx::messages::{DOUBLE, INT64, ModelMessage, OperatorSet, Property, STRING};
use prost::Message;

use self::graph::{Constant, Graph, Setting, Tensor};
use super::TrainedModel;
use super::error::ModelError;

/// The operators as of ONNX 1.8, of December 2020: nothing newer is needed.
const OPERATORS: i64 = 13;
const IR_VERSION: i64 = 8;
/// Bytes of the largest message that readers of this format take.
const BYTES_MAX: usize = i32::MAX as usize;

/// The bytes of the model; `None` if the format cannot hold so many. `digest` is the description's.
///
/// # Errors
/// [`ModelError`], if layers, schema and weights do not fit.
pub(super) fn model(model: &TrainedModel, weights: &Weights, digest: &str) -> Result<Option<Vec<u8>>, ModelError> {
    let values: usize = weights.tensors.iter().map(|tensor| tensor.values.len()).sum();
    if values >= BYTES_MAX / 4 {
        return Ok(None);
    }
    let schema = &model.schema;
    let plan = broadsweep_nn::plan(&model.layers, &schema.shape, schema.outputs.targets());
    let plan = plan.map_err(ModelError::Shape)?;
    let mut graph = Graph::default();
    let rows = input::prepare(&mut graph, schema);
    let outputs = layers::apply(&mut graph, rows, (&model.layers, &plan), weights);
    answer(&mut graph, &outputs, &schema.outputs);
    let message = ModelMessage {
        ir_version: Some(IR_VERSION),
        producer_name: Some("broadsweep".to_owned()),
        producer_version: Some(model.about.build.clone()),
        graph: Some(graph.finish(&model.about.study)),
        opset_import: vec![OperatorSet { domain: Some(String::new()), version: Some(OPERATORS) }],
        metadata_props: vec![Property { key: Some("broadsweep_model".to_owned()), value: Some(digest.to_owned()) }],
    };
    Ok((message.encoded_len() <= BYTES_MAX).then(|| message.encode_to_vec()))
}

/// From the network's outputs to what they mean.
fn answer(graph: &mut Graph, outputs: &Tensor, meaning: &Outputs) {
    let wide = graph.node("Cast", &[outputs], vec![("to", Setting::Int(DOUBLE.into()))]);
    match meaning {
        Outputs::Classes { names, .. } => {
            let softmax = ("Softmax", &[&wide][..], vec![("axis", Setting::Int(1))]);
            graph.output("probabilities", (DOUBLE, &[names.len() as i64]), softmax);
            let settings = vec![("axis", Setting::Int(1)), ("keepdims", Setting::Int(0))];
            let place = graph.node("ArgMax", &[outputs], settings);
            let sides = [names.len() as i64];
            let (element, labels) = match integers(names) {
                Some(integers) => (INT64, graph.constant("labels", &sides, &Constant::Ints(&integers))),
                None => (STRING, graph.constant("labels", &sides, &Constant::Texts(names))),
            };
            graph.output("label", (element, &[]), ("Gather", &[&labels, &place], vec![("axis", Setting::Int(0))]));
        }
        Outputs::Values { scales, .. } => {
            let sides = [1, scales.len() as i64];
            let spreads: Vec<f64> = scales.iter().map(|scale| scale.spread).collect();
            let centers: Vec<f64> = scales.iter().map(|scale| scale.center).collect();
            let spreads = graph.constant("spreads", &sides, &Constant::Doubles(&spreads));
            let centers = graph.constant("centers", &sides, &Constant::Doubles(&centers));
            let spread = graph.node("Mul", &[&wide, &spreads], Vec::new());
            graph.output("values", (DOUBLE, &[scales.len() as i64]), ("Add", &[&spread, &centers], Vec::new()));
        }
    }
}

/// Names that are whole numbers, all of them, written as numbers are.
fn integers(names: &[String]) -> Option<Vec<i64>> {
    let integer = |name: &String| name.parse::<i64>().ok().filter(|number| number.to_string() == *name);
    names.iter().map(integer).collect()
}

/// What the nodes do, in their order.
#[cfg(test)]
pub(super) fn operators(bytes: &[u8]) -> Vec<String> {
    let graph = ModelMessage::decode(bytes).unwrap().graph.unwrap();
    graph.node.into_iter().map(|node| node.op_type.unwrap()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_numbers_only_where_all_names_are_written_as_such() {
        let integers = |names: &[&str]| integers(&names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>());
        assert_eq!(integers(&["0", "-7", "12"]), Some(vec![0, -7, 12]));
        for names in [&["0", "one"][..], &["01"], &["1.0"], &["+1"]] {
            assert_eq!(integers(names), None, "{names:?}");
        }
    }
}
