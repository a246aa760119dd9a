//! Standard operators that `rten` 0.27 understands otherwise than ONNX does, put into others that it understands alike.

use super::{Lowered, Setting};
use crate::messages::{BOOL, NodeMessage};

/// A number as a truth: anything but 0 is one. `rten` cuts to whole numbers, so that 0.3 would be none.
pub(super) fn is_cast_to_truth(node: &NodeMessage) -> bool {
    node.kind() == "Cast" && node.int("to") == Some(BOOL.into())
}

/// See [`is_cast_to_truth`].
pub(super) fn cast_to_truth(lowered: &mut Lowered, node: &NodeMessage) {
    let values = lowered.as_floats(node.first_input());
    let zero = lowered.floats(&[1], &[0.0]);
    let is_zero = lowered.node("Equal", &[&values, &zero], &[]);
    lowered.finish("Not", &[&is_zero], &[], node, 0);
}

/// The place of the first of the largest values, or of the smallest. `rten` takes the last of those that are equal, here as
/// in `ArgMin`; its `TopK` takes the first.
pub(super) fn first_largest(lowered: &mut Lowered, node: &NodeMessage) {
    let axis = node.int("axis").unwrap_or(0);
    let one = lowered.ints(&[1], &[1]);
    let settings = [("axis", Setting::Int(axis)), ("largest", Setting::Int(i64::from(node.kind() == "ArgMax")))];
    let place = lowered.second("TopK", &[node.first_input(), &one], &settings);
    if node.int("keepdims").unwrap_or(1) == 1 {
        lowered.finish("Identity", &[&place], &[], node, 0);
    } else {
        let axes = lowered.ints(&[1], &[axis]);
        lowered.finish("Squeeze", &[&place, &axes], &[], node, 0);
    }
}
