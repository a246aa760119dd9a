//! A graph while it is built: each node gives one tensor, which has a number for a name.

use broadsweep_onnx::messages::{
    Attribute, BOOL, DOUBLE, Dimension, DimensionValue, FLOAT, FLOAT_KIND, GraphMessage, INT_KIND, INT64, INTS_KIND,
    NodeMessage, STRING, TensorMessage, TensorShape, TensorType, TypeMessage, ValueInfo,
};
use bytes::Bytes;

/// A graph while it is built.
#[derive(Default)]
pub(super) struct Graph {
    nodes: Vec<NodeMessage>,
    constants: Vec<TensorMessage>,
    inputs: Vec<ValueInfo>,
    outputs: Vec<ValueInfo>,
}

/// A tensor of the graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tensor(pub(super) String);

/// Numbers or texts that do not change.
pub(super) enum Constant<'a> {
    Floats(&'a [f32]),
    Doubles(&'a [f64]),
    Ints(&'a [i64]),
    Flags(&'a [bool]),
    Texts(&'a [String]),
}

/// What a node does beyond its inputs.
pub(super) enum Setting {
    Float(f32),
    Int(i64),
    Ints(Vec<i64>),
}

impl Graph {
    /// The graph's input: so many rows as there are, each of these sides.
    pub(super) fn input(&mut self, name: &str, element: i32, row: &[i64]) -> Tensor {
        self.inputs.push(value_info(name, element, row));
        Tensor(name.to_owned())
    }

    /// A node whose result is one tensor.
    pub(super) fn node(&mut self, kind: &str, inputs: &[&Tensor], settings: Vec<(&str, Setting)>) -> Tensor {
        let name = format!("{}{}", kind.to_lowercase(), self.nodes.len() + 1);
        self.named_node(&name, kind, inputs, settings)
    }

    /// The same, as an output of the graph.
    pub(super) fn output(
        &mut self,
        name: &str,
        (element, row): (i32, &[i64]),
        (kind, inputs, settings): (&str, &[&Tensor], Vec<(&str, Setting)>),
    ) {
        self.named_node(name, kind, inputs, settings);
        self.outputs.push(value_info(name, element, row));
    }

    fn named_node(&mut self, name: &str, kind: &str, inputs: &[&Tensor], settings: Vec<(&str, Setting)>) -> Tensor {
        self.nodes.push(NodeMessage {
            input: inputs.iter().map(|input| input.0.clone()).collect(),
            output: vec![name.to_owned()],
            name: Some(name.to_owned()),
            op_type: Some(kind.to_owned()),
            attribute: settings.into_iter().map(|(name, setting)| attribute(name, setting)).collect(),
            domain: None,
        });
        Tensor(name.to_owned())
    }

    /// Numbers or texts that do not change, as many as these sides hold.
    pub(super) fn constant(&mut self, name: &str, sides: &[i64], constant: &Constant<'_>) -> Tensor {
        let name = format!("{name}_{}", self.constants.len() + 1);
        let (data_type, raw_data, string_data): (_, Vec<u8>, _) = match constant {
            Constant::Floats(values) => {
                (FLOAT, values.iter().flat_map(|value| value.to_le_bytes()).collect(), vec![])
            }
            Constant::Doubles(values) => {
                (DOUBLE, values.iter().flat_map(|value| value.to_le_bytes()).collect(), vec![])
            }
            Constant::Ints(values) => (INT64, values.iter().flat_map(|value| value.to_le_bytes()).collect(), vec![]),
            Constant::Flags(values) => (BOOL, values.iter().map(|&value| u8::from(value)).collect(), vec![]),
            Constant::Texts(values) => {
                (STRING, Vec::new(), values.iter().map(|text| Bytes::from(text.clone())).collect())
            }
        };
        self.constants.push(TensorMessage {
            dims: sides.to_vec(),
            data_type: Some(data_type),
            // Texts may be in their own field alone.
            raw_data: (data_type != STRING).then(|| Bytes::from(raw_data)),
            string_data,
            name: Some(name.clone()),
            ..TensorMessage::default()
        });
        Tensor(name)
    }

    /// The whole.
    pub(super) fn finish(self, name: &str) -> GraphMessage {
        GraphMessage {
            node: self.nodes,
            name: Some(name.to_owned()),
            initializer: self.constants,
            input: self.inputs,
            output: self.outputs,
        }
    }
}

fn attribute(name: &str, setting: Setting) -> Attribute {
    let mut attribute = Attribute { name: Some(name.to_owned()), ..Attribute::default() };
    match setting {
        Setting::Float(value) => (attribute.float, attribute.kind) = (Some(value), Some(FLOAT_KIND)),
        Setting::Int(value) => (attribute.int, attribute.kind) = (Some(value), Some(INT_KIND)),
        Setting::Ints(values) => (attribute.ints, attribute.kind) = (values, Some(INTS_KIND)),
    }
    attribute
}

fn value_info(name: &str, element: i32, row: &[i64]) -> ValueInfo {
    let rows = DimensionValue::Named("rows".to_owned());
    let sides = std::iter::once(rows).chain(row.iter().map(|&side| DimensionValue::Fixed(side)));
    let shape = TensorShape { dim: sides.map(|value| Dimension { value: Some(value) }).collect() };
    let tensor = TensorType { element: Some(element), shape: Some(shape) };
    ValueInfo { name: Some(name.to_owned()), kind: Some(TypeMessage { tensor: Some(tensor) }) }
}
