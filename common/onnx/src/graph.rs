//! The graph of a file: whether it is one, and who makes what.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use prost::Message;

use crate::error::{OnnxError, shown};
use crate::messages::{EXTERNAL, GraphMessage, ModelMessage, NodeMessage, OperatorSet, TensorMessage};

/// Nodes of a graph, at most.
const NODES_MAX: usize = 200_000;

/// The graph of a file.
pub(crate) struct Graph {
    /// As the file has it, but for constants, which are all in [`Self::constants`].
    pub(crate) message: GraphMessage,
    pub(crate) operators: Vec<OperatorSet>,
    /// By name.
    pub(crate) constants: BTreeMap<String, TensorMessage>,
    /// The place of the node that makes a tensor.
    makers: BTreeMap<String, usize>,
}

impl Graph {
    /// The graph of a file's bytes.
    ///
    /// # Errors
    /// [`OnnxError::Damaged`], if they are none, or if a node takes what no node before it makes;
    /// [`OnnxError::Unsupported`], if it has graphs within it.
    pub(crate) fn read(bytes: Bytes) -> Result<Self, OnnxError> {
        let model = ModelMessage::decode(bytes).map_err(|error| OnnxError::Damaged(error.to_string()))?;
        let graph = model.graph.filter(|graph| !graph.output.is_empty());
        let mut message = graph.ok_or_else(|| OnnxError::Damaged("it has no graph".to_owned()))?;
        if message.node.len() > NODES_MAX {
            let nodes = message.node.len();
            return Err(OnnxError::Unsupported(format!("it has {nodes} nodes, and {NODES_MAX} are allowed")));
        }
        let mut constants = BTreeMap::new();
        for tensor in std::mem::take(&mut message.initializer) {
            constants.insert(tensor.name.clone().unwrap_or_default(), tensor);
        }
        let (nodes, constant): (Vec<_>, Vec<_>) =
            std::mem::take(&mut message.node).into_iter().partition(|node| node.kind() != "Constant");
        for node in constant {
            let name = node.output.first().cloned().unwrap_or_default();
            constants.insert(name.clone(), node.constant(name)?);
        }
        message.node = nodes;
        // Old files list constants as inputs too.
        message.input.retain(|input| !constants.contains_key(input.name.as_deref().unwrap_or_default()));
        let mut graph = Self { message, operators: model.opset_import, constants, makers: BTreeMap::new() };
        graph.link()?;
        Ok(graph)
    }

    /// Notes who makes what; each node may take what those before it make.
    fn link(&mut self) -> Result<(), OnnxError> {
        let inputs = self.message.input.iter().filter_map(|input| input.name.as_deref());
        let mut known: BTreeSet<&str> = inputs.chain(self.constants.keys().map(String::as_str)).collect();
        for (place, node) in self.message.node.iter().enumerate() {
            if node.attribute.iter().any(|attribute| attribute.graph.is_some()) {
                return Err(node.refused(
                    "has a graph within it, which is not supported; export the model without loops and branches",
                ));
            }
            let unknown = node.input.iter().find(|input| !input.is_empty() && !known.contains(input.as_str()));
            if let Some(unknown) = unknown {
                let what = format!("nothing before node {place} makes `{}`, which it takes", shown(unknown));
                return Err(OnnxError::Damaged(what));
            }
            for output in node.output.iter().filter(|output| !output.is_empty()) {
                if !known.insert(output) {
                    return Err(OnnxError::Damaged(format!("`{}` is made twice", shown(output))));
                }
                self.makers.insert(output.clone(), place);
            }
        }
        Ok(())
    }

    /// The node that makes a tensor; none of an input or a constant.
    pub(crate) fn maker(&self, tensor: &str) -> Option<&NodeMessage> {
        self.makers.get(tensor).map(|&place| &self.message.node[place])
    }

    /// The nodes that this tensor needs, in their order.
    pub(crate) fn needed_for(&self, tensor: &str) -> Vec<&NodeMessage> {
        let (mut needed, mut left) = (BTreeSet::new(), vec![tensor]);
        while let Some(tensor) = left.pop() {
            if let Some(&place) = self.makers.get(tensor)
                && needed.insert(place)
            {
                left.extend(self.message.node[place].input.iter().map(String::as_str));
            }
        }
        needed.into_iter().map(|place| &self.message.node[place]).collect()
    }

    /// Constants whose numbers stand in other files.
    pub(crate) fn external(&mut self) -> impl Iterator<Item = &mut TensorMessage> {
        self.constants.values_mut().filter(|tensor| tensor.data_location == Some(EXTERNAL))
    }
}

impl NodeMessage {
    /// The tensor of a node that is one.
    fn constant(self, name: String) -> Result<TensorMessage, OnnxError> {
        let refused = self.refused("holds no tensor, which is not supported; export the model again");
        let mut attributes = self.attribute.into_iter();
        let attribute = attributes.next().ok_or(refused)?;
        let name = Some(name);
        Ok(match (attribute.name.as_deref(), attribute.tensor) {
            (Some("value"), Some(tensor)) => TensorMessage { name, ..tensor },
            (Some("value_float"), _) => TensorMessage {
                name,
                data_type: Some(crate::messages::FLOAT),
                float_data: attribute.float.into_iter().collect(),
                ..TensorMessage::default()
            },
            (Some("value_floats"), _) => TensorMessage {
                name,
                data_type: Some(crate::messages::FLOAT),
                dims: vec![attribute.floats.len() as i64],
                float_data: attribute.floats,
                ..TensorMessage::default()
            },
            (Some("value_int"), _) => TensorMessage {
                name,
                data_type: Some(crate::messages::INT64),
                int64_data: attribute.int.into_iter().collect(),
                ..TensorMessage::default()
            },
            (Some("value_ints"), _) => TensorMessage {
                name,
                data_type: Some(crate::messages::INT64),
                dims: vec![attribute.ints.len() as i64],
                int64_data: attribute.ints,
                ..TensorMessage::default()
            },
            _ => {
                return Err(OnnxError::Unsupported(
                    "a constant of the graph is neither numbers nor a tensor; export the model again".to_owned(),
                ));
            }
        })
    }
}
