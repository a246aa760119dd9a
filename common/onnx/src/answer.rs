//! Which of a graph's outputs answers, and what it means.

use serde::{Deserialize, Serialize};

use crate::error::{OnnxError, shown};
use crate::graph::Graph;
use crate::messages::{DOUBLE, FLOAT, FLOAT16, NodeMessage, ValueInfo};

/// Nodes that change nothing of what a tensor means.
const TRANSPARENT: [&str; 6] = ["Identity", "Cast", "Reshape", "Squeeze", "Unsqueeze", "Flatten"];

/// The output that answers.
#[derive(Debug, PartialEq)]
pub(crate) struct Answer {
    /// The tensor.
    pub(crate) tensor: String,
    /// What its numbers are, as far as the graph says.
    pub(crate) kind: AnswerKind,
    /// What the classes are called, where the graph says it.
    pub(crate) names: Vec<String>,
}

/// What the numbers of an answer are, as far as the graph says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AnswerKind {
    /// One for each class, as they are: a softmax, or what a classifier gives beside its labels.
    OfClasses,
    /// Each between 0 and 1, of a sigmoid.
    Sigmoids,
    /// Anything.
    Values,
}

/// The output that answers: the only one; of several the numbers beside a label.
pub(crate) fn answer_of(graph: &Graph) -> Result<Answer, OnnxError> {
    let outputs = &graph.message.output;
    let (numbers, labels): (Vec<_>, Vec<_>) = outputs.iter().partition(|output| are_numbers(graph, output));
    let (number, label) = match (&numbers[..], &labels[..]) {
        ([number], []) => (number, None),
        ([number], [label]) => (number, Some(label)),
        ([], [only]) => (only, None),
        _ => {
            let names: Vec<String> = outputs.iter().map(|output| format!("`{}`", shown(name_of(output)))).collect();
            return Err(OnnxError::Unsupported(format!(
                "which of its outputs answers is not plain: {}; export it with one, or with a label and probabilities",
                names.join(", ")
            )));
        }
    };
    let mut tensor = name_of(number);
    let mut names = Vec::new();
    if let Some(map) = graph.maker(tensor).filter(|maker| maker.is_learned() && maker.kind() == "ZipMap") {
        tensor = map.first_input();
        names = map.class_labels();
    }
    if let Some(label) = label
        && names.is_empty()
    {
        names = names_behind(graph, name_of(label))?;
    }
    let kind = match (label, opaque_maker(graph, tensor).map(NodeMessage::kind)) {
        (Some(_), _) | (None, Some("Softmax" | "LinearClassifier" | "TreeEnsembleClassifier")) => {
            AnswerKind::OfClasses
        }
        (None, Some("Sigmoid")) => AnswerKind::Sigmoids,
        (None, _) => AnswerKind::Values,
    };
    Ok(Answer { tensor: tensor.to_owned(), kind, names })
}

fn name_of(output: &ValueInfo) -> &str {
    output.name.as_deref().unwrap_or_default()
}

/// Whether an output is numbers, or the list of maps from labels to numbers that scikit-learn's converter makes of them.
fn are_numbers(graph: &Graph, output: &ValueInfo) -> bool {
    let tensor = output.kind.as_ref().and_then(|kind| kind.tensor.as_ref());
    match tensor {
        Some(tensor) => matches!(tensor.element, Some(FLOAT | DOUBLE | FLOAT16)),
        None => graph.maker(name_of(output)).is_some_and(|maker| maker.kind() == "ZipMap"),
    }
}

/// The node that makes a tensor, but for those that change nothing of what it means.
fn opaque_maker<'g>(graph: &'g Graph, tensor: &'g str) -> Option<&'g NodeMessage> {
    let mut maker = graph.maker(tensor)?;
    // Each is before the one that takes it, so that this ends.
    while TRANSPARENT.contains(&maker.kind()) {
        maker = graph.maker(maker.first_input())?;
    }
    Some(maker)
}

/// What the classes of a label are called: of the classifier that makes it, or of the list that it is taken from.
fn names_behind(graph: &Graph, label: &str) -> Result<Vec<String>, OnnxError> {
    let Some(maker) = opaque_maker(graph, label) else { return Ok(Vec::new()) };
    match maker.kind() {
        "Gather" | "ArrayFeatureExtractor" => match graph.constants.get(maker.first_input()) {
            Some(list) => list.names(),
            None => Ok(Vec::new()),
        },
        _ => Ok(maker.class_labels()),
    }
}
