//! Graphs made here, a node at a time, opened as files are.

mod hostile;
mod meaning;
#[cfg(feature = "run")]
mod running;

use std::io::Write as _;
use std::path::Path;

use bytes::Bytes;
use prost::Message;
use tempfile::NamedTempFile;

use crate::messages::{
    Attribute, DOUBLE, Dimension, DimensionValue, FLOAT, GraphMessage, INT64, ModelMessage, NodeMessage, OperatorSet,
    STRING, TensorMessage, TensorShape, TensorType, TypeMessage, ValueInfo,
};
use crate::{OnnxError, Opened, open};

/// A file while it is made.
#[derive(Clone, Default)]
struct Made {
    graph: GraphMessage,
}

impl Made {
    /// With an input of so many numbers a row.
    fn of(values: i64) -> Self {
        Self::default().input("rows", FLOAT, &[None, Some(values)])
    }

    fn input(mut self, name: &str, element: i32, sides: &[Option<i64>]) -> Self {
        self.graph.input.push(value(name, element, sides));
        self
    }

    fn output(mut self, name: &str, element: i32) -> Self {
        self.graph.output.push(value(name, element, &[None, None]));
        self
    }

    /// `"Kind a b -> c"`, of ONNX's own operators; `"ml.Kind a -> b c"` of the others.
    fn node(mut self, text: &str, attributes: Vec<Attribute>) -> Self {
        let (taken, made) = text.split_once(" -> ").unwrap();
        let mut words = taken.split(' ').map(ToOwned::to_owned);
        let kind = words.next().unwrap();
        let (domain, kind) = match kind.strip_prefix("ml.") {
            Some(kind) => (Some("ai.onnx.ml".to_owned()), kind.to_owned()),
            None => (None, kind),
        };
        self.graph.node.push(NodeMessage {
            input: words.collect(),
            output: made.split(' ').map(ToOwned::to_owned).collect(),
            name: Some(format!("the {kind}")),
            op_type: Some(kind),
            attribute: attributes,
            domain,
        });
        self
    }

    fn constant(mut self, tensor: TensorMessage) -> Self {
        self.graph.initializer.push(tensor);
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let operators = OperatorSet { domain: None, version: Some(17) };
        let graph = Some(self.graph.clone());
        ModelMessage { ir_version: Some(8), graph, opset_import: vec![operators], ..ModelMessage::default() }
            .encode_to_vec()
    }

    fn open(&self) -> Result<(Opened, Vec<u8>), OnnxError> {
        open_bytes(&self.bytes())
    }

    fn refusal(&self) -> String {
        self.open().unwrap_err().to_string()
    }
}

fn open_bytes(bytes: &[u8]) -> Result<(Opened, Vec<u8>), OnnxError> {
    open(written(bytes).path())
}

fn written(bytes: &[u8]) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    file
}

fn value(name: &str, element: i32, sides: &[Option<i64>]) -> ValueInfo {
    let dimension = |side: &Option<i64>| Dimension { value: side.map(DimensionValue::Fixed) };
    let shape = Some(TensorShape { dim: sides.iter().map(dimension).collect() });
    let tensor = Some(TensorType { element: Some(element), shape });
    ValueInfo { name: Some(name.to_owned()), kind: Some(TypeMessage { tensor }) }
}

fn int(name: &str, int: i64) -> Attribute {
    Attribute { name: Some(name.to_owned()), int: Some(int), kind: Some(2), ..Attribute::default() }
}

fn ints(name: &str, ints: &[i64]) -> Attribute {
    Attribute { name: Some(name.to_owned()), ints: ints.to_vec(), kind: Some(7), ..Attribute::default() }
}

fn floats(name: &str, floats: &[f32]) -> Attribute {
    Attribute { name: Some(name.to_owned()), floats: floats.to_vec(), kind: Some(6), ..Attribute::default() }
}

fn texts(name: &str, texts: &[&str]) -> Attribute {
    let texts = texts.iter().map(|&text| Bytes::from(text.to_owned())).collect();
    Attribute { name: Some(name.to_owned()), texts, kind: Some(8), ..Attribute::default() }
}

fn text(name: &str, text: &str) -> Attribute {
    let text = Some(Bytes::from(text.to_owned()));
    Attribute { name: Some(name.to_owned()), text, kind: Some(3), ..Attribute::default() }
}

fn int_tensor(name: &str, sides: &[i64], values: &[i64]) -> TensorMessage {
    let (name, data_type) = (Some(name.to_owned()), Some(INT64));
    TensorMessage { dims: sides.to_vec(), data_type, int64_data: values.to_vec(), name, ..TensorMessage::default() }
}

fn text_tensor(name: &str, texts: &[&str]) -> TensorMessage {
    let string_data = texts.iter().map(|&text| Bytes::from(text.to_owned())).collect();
    let (name, data_type) = (Some(name.to_owned()), Some(STRING));
    TensorMessage { dims: vec![texts.len() as i64], data_type, string_data, name, ..TensorMessage::default() }
}

/// A linear classifier of two numbers, as scikit-learn's converter makes one: with a map from each label.
fn classifier() -> Made {
    let linear = vec![
        floats("coefficients", &[1.0, 0.0, 0.0, 1.0, -1.0, -1.0]),
        floats("intercepts", &[0.0, 0.0, 0.5]),
        texts("classlabels_strings", &["left", "right", "none"]),
        text("post_transform", "SOFTMAX"),
    ];
    let mut made = Made::of(2)
        .node("ml.Scaler rows -> scaled", vec![floats("offset", &[1.0, 2.0]), floats("scale", &[0.5, 2.0])])
        .node("ml.LinearClassifier scaled -> output_label shares", linear)
        .node("ml.ZipMap shares -> maps", vec![texts("classlabels_strings", &["left", "right", "none"])])
        .output("output_label", STRING);
    made.graph.output.push(ValueInfo { name: Some("maps".to_owned()), kind: None });
    made
}

/// Two trees over two numbers: the first asks twice, the second once.
fn forest() -> Made {
    let attributes = vec![
        ints("nodes_treeids", &[0, 0, 0, 0, 0, 1, 1, 1]),
        ints("nodes_nodeids", &[0, 1, 2, 3, 4, 0, 1, 2]),
        ints("nodes_featureids", &[0, 0, 1, 0, 0, 1, 0, 0]),
        floats("nodes_values", &[0.5, 0.0, 2.0, 0.0, 0.0, -1.0, 0.0, 0.0]),
        texts("nodes_modes", &["BRANCH_LEQ", "LEAF", "BRANCH_LEQ", "LEAF", "LEAF", "BRANCH_LEQ", "LEAF", "LEAF"]),
        ints("nodes_truenodeids", &[1, 0, 3, 0, 0, 1, 0, 0]),
        ints("nodes_falsenodeids", &[2, 0, 4, 0, 0, 2, 0, 0]),
        ints("target_treeids", &[0, 0, 0, 1, 1]),
        ints("target_nodeids", &[1, 3, 4, 1, 2]),
        ints("target_ids", &[0; 5]),
        floats("target_weights", &[1.0, 2.0, 4.0, 10.0, 20.0]),
        floats("base_values", &[100.0]),
        int("n_targets", 1),
    ];
    Made::of(2).node("ml.TreeEnsembleRegressor rows -> variable", attributes).output("variable", FLOAT)
}

/// The path of what stands beside a file.
fn beside(file: &Path, name: &str) -> std::path::PathBuf {
    file.with_file_name(name)
}

#[test]
fn numbers_may_stand_in_a_file_beside_the_model_and_nowhere_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    let entry = |key: &str, value: &str| crate::messages::Property {
        key: Some(key.to_owned()),
        value: Some(value.to_owned()),
    };
    let tensor = |location: &str, length: &str| TensorMessage {
        dims: vec![2, 1],
        data_type: Some(FLOAT),
        name: Some("weights".to_owned()),
        external_data: vec![entry("location", location), entry("offset", "4"), entry("length", length)],
        data_location: Some(crate::messages::EXTERNAL),
        ..TensorMessage::default()
    };
    let open_with = |tensor| {
        let made = Made::of(2).node("MatMul rows weights -> values", vec![]).output("values", FLOAT).constant(tensor);
        std::fs::write(&path, made.bytes()).unwrap();
        open(&path)
    };
    let data: Vec<u8> = [9.0_f32, 3.0, 4.0].iter().flat_map(|number| number.to_le_bytes()).collect();
    std::fs::write(beside(&path, "model.onnx.data"), &data).unwrap();
    let (_, graph) = open_with(tensor("model.onnx.data", "8")).unwrap();
    let graph = ModelMessage::decode(&graph[..]).unwrap().graph.unwrap();
    assert_eq!(graph.initializer[0].numbers().unwrap(), [3.0, 4.0]);
    for (location, length, what) in [
        ("model.onnx.data", "12", "too short"),
        ("model.onnx.data", "18446744073709551615", "too short"),
        ("../model.onnx.data", "8", "no file beside it"),
        ("/etc/hostname", "8", "no file beside it"),
        ("..", "8", "no file beside it"),
        ("", "8", "no file beside it"),
        ("other", "8", "cannot read"),
    ] {
        let error = open_with(tensor(location, length)).unwrap_err().to_string();
        assert!(error.contains(what), "{location} {length}: {error}");
    }
}

#[test]
fn only_standard_operators_are_left_and_only_what_answers_needs() {
    let (_, graph) = classifier().open().unwrap();
    let graph = ModelMessage::decode(&graph[..]).unwrap().graph.unwrap();
    let kinds: Vec<_> = graph.node.iter().map(NodeMessage::kind).collect();
    assert_eq!(kinds, ["Cast", "Sub", "Mul", "Cast", "MatMul", "Add", "Softmax"]);
    assert!(graph.node.iter().all(|node| node.domain.is_none()));
}

#[test]
fn inputs_say_their_type_their_sides_and_how_many_rows_they_take() {
    let taking = |element, sides: &[Option<i64>]| {
        Made::default().input("x", element, sides).node("Relu x -> y", vec![]).output("y", FLOAT)
    };
    let (opened, _) = taking(DOUBLE, &[Some(4), Some(28), Some(28), Some(1)]).open().unwrap();
    assert_eq!((opened.batch_rows, &opened.inputs[0].sides[..]), (Some(4), &[28, 28, 1][..]));
    for (made, what) in [
        (taking(STRING, &[None, Some(1)]), "takes text"),
        (taking(FLOAT, &[None, None]), "does not say how long side 1"),
        (taking(FLOAT, &[Some(0), Some(1)]), "takes 0 rows"),
        (taking(FLOAT, &[]), "has no sides"),
        (taking(FLOAT, &[None, Some(1 << 20), Some(1 << 20)]), "a row of it has no value, or more than"),
        (taking(16, &[None, Some(1)]), "ONNX type 16"),
    ] {
        let refusal = made.refusal();
        assert!(refusal.contains(what), "{refusal}");
    }
}
