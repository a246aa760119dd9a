//! A file of another program, opened: what it takes, what it answers, and its graph in standard operators alone.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use broadsweep_common::application::GraphInput;
use bytes::Bytes;
use prost::Message;
use serde::{Deserialize, Serialize};

use crate::answer::{Answer, AnswerKind, answer_of};
use crate::error::{OnnxError, shown};
use crate::graph::Graph;
use crate::inputs::inputs_of;
use crate::lower::Lowered;
use crate::messages::{
    FLOAT, GraphMessage, ModelMessage, OperatorSet, TensorMessage, TensorType, TypeMessage, ValueInfo,
};
use crate::{BYTES_MAX, shapes};

/// The oldest operators that are read here, and those of a file that names none.
const OPERATORS: i64 = 13;
const IR_VERSION: i64 = 8;

/// What is known of a model of another program.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Opened {
    /// What it takes, in its order.
    pub inputs: Vec<GraphInput>,
    /// How many rows it takes at a time, where it takes no other number.
    pub batch_rows: Option<u32>,
    /// The tensor that answers.
    pub output: String,
    /// What its numbers are, as far as the graph says.
    pub answer: AnswerKind,
    /// What the classes are called, where the graph says it.
    pub names: Vec<String>,
}

/// Opens the file at `path`: what is known of it, and its graph as a file of standard operators alone.
///
/// # Errors
/// [`OnnxError`], with what is wrong and what to do.
pub fn open(path: &Path) -> Result<(Opened, Vec<u8>), OnnxError> {
    let bytes = read_file(path, BYTES_MAX)?;
    let mut graph = Graph::read(Bytes::from(bytes))?;
    embed(&mut graph, path)?;
    opened(&graph)
}

/// The bytes of a file, if they are not too many.
fn read_file(path: &Path, bytes_max: u64) -> Result<Vec<u8>, OnnxError> {
    let failed = |source| OnnxError::Read { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(failed)?.take(bytes_max.saturating_add(1));
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > bytes_max {
        let bytes = fs::metadata(path).map_err(failed)?.len();
        return Err(OnnxError::TooLarge { bytes });
    }
    Ok(bytes)
}

/// Takes in what stands in files beside the model's own.
fn embed(graph: &mut Graph, path: &Path) -> Result<(), OnnxError> {
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut beside: Option<(PathBuf, Bytes)> = None;
    for tensor in graph.external() {
        let entry = |key: &str| {
            let found = tensor.external_data.iter().find(|entry| entry.key.as_deref() == Some(key));
            found.and_then(|entry| entry.value.clone())
        };
        let name = entry("location").unwrap_or_default();
        if name.is_empty() || Path::new(&name).file_name() != Some(name.as_ref()) {
            return Err(OnnxError::Unsupported(format!(
                "it keeps numbers in `{}`, which is no file beside it; export the model into one file",
                shown(&name)
            )));
        }
        let number = |key: &str| entry(key).and_then(|value| value.parse::<usize>().ok());
        let file = folder.join(&name);
        let bytes = match &beside {
            Some((known, bytes)) if *known == file => bytes.clone(),
            _ => Bytes::from(read_file(&file, BYTES_MAX)?),
        };
        let from = number("offset").unwrap_or(0);
        let until = number("length").map_or(Some(bytes.len()), |length| from.checked_add(length));
        let part = until.filter(|&until| from <= until && until <= bytes.len()).map(|until| bytes.slice(from..until));
        let part = part.ok_or_else(|| OnnxError::Damaged(format!("`{}` is too short for it", shown(&name))))?;
        *tensor = TensorMessage {
            raw_data: Some(part),
            external_data: Vec::new(),
            data_location: None,
            ..std::mem::take(tensor)
        };
        beside = Some((file, bytes));
    }
    Ok(())
}

fn opened(graph: &Graph) -> Result<(Opened, Vec<u8>), OnnxError> {
    let Answer { tensor, kind, names } = answer_of(graph)?;
    let mut lowered = Lowered::default();
    for node in graph.needed_for(&tensor) {
        lowered.add(node)?;
    }
    let Lowered { nodes, mut constants } = lowered;
    let needed: BTreeSet<&str> = nodes.iter().flat_map(|node| node.input.iter().map(String::as_str)).collect();
    let inputs: Vec<ValueInfo> =
        graph.message.input.iter().filter(|input| needed.contains(name_of(input))).cloned().collect();
    let (taken, batch_rows) = inputs_of(&inputs)?;
    shapes::check(&nodes, &inputs.iter().map(name_of).collect::<Vec<_>>())?;
    constants.extend(
        graph.constants.iter().filter(|(name, _)| needed.contains(name.as_str())).map(|(_, tensor)| tensor.clone()),
    );
    let float = TypeMessage { tensor: Some(TensorType { element: Some(FLOAT), shape: None }) };
    let message = GraphMessage {
        node: nodes,
        name: graph.message.name.clone(),
        initializer: constants,
        input: inputs,
        output: vec![ValueInfo { name: Some(tensor.clone()), kind: Some(float) }],
    };
    let operators = graph.operators.iter().filter(|set| matches!(set.domain.as_deref(), None | Some("" | "ai.onnx")));
    let version = operators.filter_map(|set| set.version).max().unwrap_or(OPERATORS);
    let model = ModelMessage {
        ir_version: Some(IR_VERSION),
        graph: Some(message),
        opset_import: vec![OperatorSet { domain: Some(String::new()), version: Some(version) }],
        ..ModelMessage::default()
    };
    let opened = Opened { inputs: taken, batch_rows, output: tensor, answer: kind, names };
    Ok((opened, model.encode_to_vec()))
}

fn name_of(value: &ValueInfo) -> &str {
    value.name.as_deref().unwrap_or_default()
}
