//! Graphs of other programs, where this executor was built to run them (the feature `onnx`).

#[cfg(not(feature = "onnx"))]
mod absent;
#[cfg(feature = "onnx")]
mod present;

#[cfg(not(feature = "onnx"))]
pub(super) use absent::{ForeignGraph, GraphPass};
#[cfg(feature = "onnx")]
pub(super) use present::{ForeignGraph, GraphPass};
