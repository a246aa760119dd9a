//! What is done to columns before a model.

use super::{Lowered, Setting};
use crate::error::OnnxError;
use crate::messages::{FLOAT, NodeMessage};

/// `(x - offset) * scale`.
pub(super) fn scale(lowered: &mut Lowered, node: &NodeMessage) -> Result<(), OnnxError> {
    let (offsets, scales) = (node.floats("offset")?, node.floats("scale")?);
    let values = lowered.as_floats(node.first_input());
    let offsets = lowered.floats(&[offsets.len()], &offsets);
    let scales = lowered.floats(&[scales.len()], &scales);
    let centered = lowered.node("Sub", &[&values, &offsets], &[]);
    lowered.finish("Mul", &[&centered, &scales], &[], node, 0);
    Ok(())
}

/// Another value where one is missing, or is the one that stands for that.
pub(super) fn impute(lowered: &mut Lowered, node: &NodeMessage) -> Result<(), OnnxError> {
    let fills = node.floats("imputed_value_floats")?;
    if fills.is_empty() {
        return Err(
            node.refused("fills in whole numbers, which is not supported; export the model for float columns")
        );
    }
    let replaced = node.float("replaced_value_float").unwrap_or_default();
    let values = lowered.as_floats(node.first_input());
    let is_replaced = if replaced.is_nan() {
        lowered.node("IsNaN", &[&values], &[])
    } else {
        let replaced = lowered.floats(&[1], &[replaced]);
        lowered.node("Equal", &[&values, &replaced], &[])
    };
    let fills = lowered.floats(&[fills.len()], &fills);
    lowered.finish("Where", &[&is_replaced, &fills, &values], &[], node, 0);
    Ok(())
}

/// Each row divided by its norm, unless that is 0.
pub(super) fn normalize(lowered: &mut Lowered, node: &NodeMessage) -> Result<(), OnnxError> {
    let values = lowered.as_floats(node.first_input());
    let along = || [("axes", Setting::Ints(vec![1])), ("keepdims", Setting::Int(1))];
    let norm = match node.text("norm", "MAX").as_str() {
        "L1" => lowered.node("ReduceL1", &[&values], &along()),
        "L2" => lowered.node("ReduceL2", &[&values], &along()),
        "MAX" => lowered.node("ReduceMax", &[&values], &along()),
        other => return Err(node.refused(&format!("has the norm {other}; L1, L2 and MAX are known"))),
    };
    let zero = lowered.floats(&[1], &[0.0]);
    let one = lowered.floats(&[1], &[1.0]);
    let is_zero = lowered.node("Equal", &[&norm, &zero], &[]);
    let norm = lowered.node("Where", &[&is_zero, &one, &norm], &[]);
    lowered.finish("Div", &[&values, &norm], &[], node, 0);
    Ok(())
}

/// 1 above a threshold, and 0 up to it.
pub(super) fn binarize(lowered: &mut Lowered, node: &NodeMessage) {
    let values = lowered.as_floats(node.first_input());
    let threshold = lowered.floats(&[1], &[node.float("threshold").unwrap_or_default()]);
    let is_above = lowered.node("Greater", &[&values, &threshold], &[]);
    lowered.finish("Cast", &[&is_above], &[("to", Setting::Int(FLOAT.into()))], node, 0);
}

/// Columns side by side.
pub(super) fn join(lowered: &mut Lowered, node: &NodeMessage) {
    let columns: Vec<String> = node.input.iter().map(|input| lowered.as_floats(input)).collect();
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    lowered.finish("Concat", &columns, &[("axis", Setting::Int(1))], node, 0);
}

/// Some columns.
pub(super) fn pick(lowered: &mut Lowered, node: &NodeMessage) -> Result<(), OnnxError> {
    let [values, places] = &node.input[..] else { return Err(node.refused("has not two inputs")) };
    // The places may have sides of their own, as `(1, places)`; the result has a row for each row.
    let all = lowered.ints(&[1], &[-1]);
    let places = lowered.node("Reshape", &[places, &all], &[]);
    lowered.finish("Gather", &[values, &places], &[("axis", Setting::Int(-1))], node, 0);
    Ok(())
}
