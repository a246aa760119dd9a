//! An executor that runs no graphs of other programs: none is ever loaded, and what would use one cannot be reached.

use std::convert::Infallible;
use std::marker::PhantomData;

use broadsweep_common::application::GraphDescription;
use broadsweep_common::dataset::Dataset;
use broadsweep_common::schema::{Outputs, Schema};
use broadsweep_nn::Prediction;

/// None of them.
pub(in crate::trainers) struct ForeignGraph(Infallible);

impl ForeignGraph {
    pub(in crate::trainers) fn load(_: &[u8], _: GraphDescription, _: &Schema) -> Result<Self, String> {
        Err("it is an ONNX model of another program, and this executor was built without what runs them; build it with \
             --features onnx"
            .to_owned())
    }

    pub(in crate::trainers) fn pass<'n>(&'n self, _: &'n Outputs) -> GraphPass<'n> {
        match self.0 {}
    }
}

/// None of them.
pub(in crate::trainers) struct GraphPass<'n>(Infallible, PhantomData<&'n ()>);

impl GraphPass<'_> {
    pub(in crate::trainers) fn batch_rows(&self) -> usize {
        match self.0 {}
    }

    pub(in crate::trainers) fn predict(&mut self, _: &Dataset, _: impl FnMut(Prediction<'_>)) -> Result<(), String> {
        match self.0 {}
    }
}
