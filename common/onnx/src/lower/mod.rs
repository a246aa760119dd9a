//! Machine learning operators, put into standard ones: what scikit-learn's converter makes becomes a graph that any
//! runtime of plain ONNX takes.
//!
//! | module | holds |
//! |---|---|
//! | `features` | what is done to columns before a model: scaling, missing values, norms, picking columns |
//! | `linear` | linear models |
//! | `repairs` | standard operators that the runtime understands otherwise than the standard |
//! | `trees` | trees, and forests of them, walked level by level for all rows and trees at once |
//!
//! The rules of each operator are those of its page in ONNX's documentation (domain `ai.onnx.ml`, versions 1 to 3), and
//! where these are silent, what onnxruntime 1.32 gives.

mod features;
mod linear;
mod repairs;
mod trees;

use bytes::Bytes;

use crate::error::OnnxError;
use crate::messages::{Attribute, FLOAT, INT_KIND, INT64, INTS_KIND, NodeMessage, TensorMessage};

/// Operators that learning programs write and that are put into standard ones.
const KNOWN: &str = "Scaler, Imputer, Normalizer, Binarizer, FeatureVectorizer, ArrayFeatureExtractor, LinearClassifier, \
                     LinearRegressor, TreeEnsembleClassifier and TreeEnsembleRegressor";

/// Standard nodes, and the constants that they need.
#[derive(Default)]
pub(crate) struct Lowered {
    pub(crate) nodes: Vec<NodeMessage>,
    pub(crate) constants: Vec<TensorMessage>,
}

/// A setting of a node.
enum Setting {
    Int(i64),
    Ints(Vec<i64>),
}

impl Lowered {
    /// Adds a node of the file, or what it comes to.
    pub(crate) fn add(&mut self, node: &NodeMessage) -> Result<(), OnnxError> {
        let domain = node.domain.as_deref().unwrap_or_default();
        match (domain, node.kind()) {
            // Nothing is dropped once a model is trained.
            ("" | "ai.onnx", "Dropout") => self.finish("Identity", &[node.first_input()], &[], node, 0),
            ("" | "ai.onnx", "ArgMax" | "ArgMin") if node.int("select_last_index").unwrap_or(0) == 0 => {
                repairs::first_largest(self, node);
            }
            ("" | "ai.onnx", _) if repairs::is_cast_to_truth(node) => repairs::cast_to_truth(self, node),
            ("" | "ai.onnx", _) => self.nodes.push(node.clone()),
            ("ai.onnx.ml", "Scaler") => features::scale(self, node)?,
            ("ai.onnx.ml", "Imputer") => features::impute(self, node)?,
            ("ai.onnx.ml", "Normalizer") => features::normalize(self, node)?,
            ("ai.onnx.ml", "Binarizer") => features::binarize(self, node),
            ("ai.onnx.ml", "FeatureVectorizer") => features::join(self, node),
            ("ai.onnx.ml", "ArrayFeatureExtractor") => features::pick(self, node)?,
            ("ai.onnx.ml", "LinearClassifier") => linear::classify(self, node)?,
            ("ai.onnx.ml", "LinearRegressor") => linear::regress(self, node)?,
            ("ai.onnx.ml", "TreeEnsembleClassifier") => trees::classify(self, node)?,
            ("ai.onnx.ml", "TreeEnsembleRegressor") => trees::regress(self, node)?,
            (domain, _) => {
                let what = if domain == "ai.onnx.ml" {
                    format!(
                        "is none of those that are known here: {KNOWN}; take another model, or export it otherwise"
                    )
                } else {
                    "is none of ONNX's own; export the model with standard operators alone".to_owned()
                };
                return Err(node.refused(&what));
            }
        }
        Ok(())
    }

    /// A node whose result is a tensor of its own.
    fn node(&mut self, kind: &str, inputs: &[&str], settings: &[(&str, Setting)]) -> String {
        let name = self.fresh(kind);
        self.push(kind, inputs, settings, &name);
        name
    }

    /// The second result of a node.
    fn second(&mut self, kind: &str, inputs: &[&str], settings: &[(&str, Setting)]) -> String {
        let first = self.node(kind, inputs, settings);
        let name = self.fresh("second");
        if let Some(node) = self.nodes.last_mut() {
            node.output = vec![first, name.clone()];
        }
        name
    }

    /// The node whose result is output `place` of the one that is put into others.
    fn finish(&mut self, kind: &str, inputs: &[&str], settings: &[(&str, Setting)], of: &NodeMessage, place: usize) {
        let output = of.output.get(place).cloned().unwrap_or_default();
        self.push(kind, inputs, settings, &output);
    }

    fn push(&mut self, kind: &str, inputs: &[&str], settings: &[(&str, Setting)], output: &str) {
        self.nodes.push(NodeMessage {
            input: inputs.iter().map(|&input| input.to_owned()).collect(),
            output: vec![output.to_owned()],
            name: Some(self.fresh("node")),
            op_type: Some(kind.to_owned()),
            attribute: settings.iter().map(|(name, setting)| attribute(name, setting)).collect(),
            domain: None,
        });
    }

    /// A name that no file has: two spaces in it, and a number.
    fn fresh(&self, kind: &str) -> String {
        format!("lowered  {kind} {}", self.nodes.len() + self.constants.len())
    }

    /// Numbers that do not change.
    fn floats(&mut self, sides: &[usize], values: &[f32]) -> String {
        self.constant(FLOAT, sides, values.iter().flat_map(|value| value.to_le_bytes()).collect())
    }

    /// Whole numbers that do not change.
    fn ints(&mut self, sides: &[usize], values: &[i64]) -> String {
        self.constant(INT64, sides, values.iter().flat_map(|value| value.to_le_bytes()).collect())
    }

    fn constant(&mut self, data_type: i32, sides: &[usize], bytes: Vec<u8>) -> String {
        let name = self.fresh("constant");
        self.constants.push(TensorMessage {
            dims: sides.iter().map(|&side| side as i64).collect(),
            data_type: Some(data_type),
            name: Some(name.clone()),
            raw_data: Some(Bytes::from(bytes)),
            ..TensorMessage::default()
        });
        name
    }

    /// A tensor as numbers of 32 bits: learning operators take whole numbers, too.
    fn as_floats(&mut self, tensor: &str) -> String {
        self.node("Cast", &[tensor], &[("to", Setting::Int(FLOAT.into()))])
    }
}

/// What is done to a model's scores at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Nothing,
    Softmax,
    Logistic,
}

impl Ending {
    fn of(node: &NodeMessage) -> Result<Self, OnnxError> {
        match node.text("post_transform", "NONE").as_str() {
            "NONE" => Ok(Self::Nothing),
            "SOFTMAX" => Ok(Self::Softmax),
            "LOGISTIC" => Ok(Self::Logistic),
            other => {
                Err(node
                    .refused(&format!("ends with {other}, which is not supported; NONE, SOFTMAX and LOGISTIC are")))
            }
        }
    }

    /// Adds it, as an output of the node.
    fn finish(self, lowered: &mut Lowered, scores: &str, node: &NodeMessage, place: usize) {
        match self {
            Self::Nothing => lowered.finish("Identity", &[scores], &[], node, place),
            Self::Softmax => lowered.finish("Softmax", &[scores], &[("axis", Setting::Int(1))], node, place),
            Self::Logistic => lowered.finish("Sigmoid", &[scores], &[], node, place),
        }
    }
}

fn attribute(name: &str, setting: &Setting) -> Attribute {
    let named = Attribute { name: Some(name.to_owned()), ..Attribute::default() };
    match setting {
        Setting::Int(value) => Attribute { int: Some(*value), kind: Some(INT_KIND), ..named },
        Setting::Ints(values) => Attribute { ints: values.clone(), kind: Some(INTS_KIND), ..named },
    }
}
