//! A finished model, as executors get it.

use serde::{Deserialize, Serialize};

use crate::codec::{self, CodecError};
use crate::model::ModelDescription;
use crate::schema::Schema;

/// A finished model, with all that is needed to use it on raw rows: broadcast once, in the place of a data set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FinishedModel {
    /// How raw rows become rows of the network, and its outputs answers.
    pub schema: Schema,
    /// What makes answers of rows.
    pub network: FinishedNetwork,
}

/// What makes answers of rows. Its numbers stand behind the model in its blob.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum FinishedNetwork {
    /// Built-in layers, every value fixed; their weights are a safetensors file.
    Layers(ModelDescription),
    /// A graph of another program: an ONNX file, of standard operators alone.
    Graph(GraphDescription),
}

/// How a graph of another program is used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GraphDescription {
    /// What it takes; the values of a row are handed out in this order.
    pub inputs: Vec<GraphInput>,
    /// How many rows it takes at a time, where it takes no other number.
    pub batch_rows: Option<u32>,
    /// Whether it takes the channels of an image before its height and width.
    pub channels_first: bool,
    /// The tensor that answers.
    pub output: String,
    /// What that says.
    pub reading: GraphReading,
}

/// An input of a graph.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GraphInput {
    /// Its name.
    pub name: String,
    /// What its values are.
    pub number: GraphNumber,
    /// The sides of a row; none where a row is one number.
    pub sides: Vec<u32>,
}

impl GraphInput {
    /// Values of a row; as many as there are numbers of 64 bits, if there were more.
    #[must_use]
    pub fn values(&self) -> u64 {
        self.sides.iter().fold(1, |values: u64, &side| values.saturating_mul(side.into()))
    }
}

/// What the values of an input are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GraphNumber {
    /// Numbers of 32 bits.
    Float,
    /// Whole numbers of 32 bits.
    Integer,
    /// Bytes.
    Byte,
}

/// What the numbers of an answer say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GraphReading {
    /// What is predicted.
    Values,
    /// For each class, how probable it is, or how much speaks for it: the largest is the class.
    Probabilities,
    /// The same before a softmax.
    Scores,
    /// How probable the second of two classes is.
    Second,
    /// The same before a sigmoid.
    SecondScore,
}

impl FinishedModel {
    /// The blob that executors get: itself, and behind it its weights as a safetensors file, or its graph.
    ///
    /// # Errors
    /// [`CodecError::Encode`], if its columns and categories are too many.
    pub fn to_blob(&self, weights: &[u8]) -> Result<Vec<u8>, CodecError> {
        codec::encode_before(self, weights)
    }

    /// The model of a blob, and its weights or its graph.
    ///
    /// # Errors
    /// [`CodecError`], if the bytes are no such blob.
    pub fn of_blob(bytes: &[u8]) -> Result<(Self, &[u8]), CodecError> {
        codec::decode_before(bytes)
    }
}
