//! Linear models.

use super::{Ending, Lowered, Setting};
use crate::error::OnnxError;
use crate::messages::NodeMessage;

/// Output 1, the scores of the classes; the label is found from them elsewhere.
pub(super) fn classify(lowered: &mut Lowered, node: &NodeMessage) -> Result<(), OnnxError> {
    let ending = Ending::of(node)?;
    let outputs = node.floats("intercepts")?.len();
    let scores = product(lowered, node, outputs)?;
    if outputs > 1 {
        ending.finish(lowered, &scores, node, 1);
        return Ok(());
    }
    if ending != Ending::Logistic {
        return Err(node.refused("has one score for two classes and no LOGISTIC at its end, which is not supported"));
    }
    let opposite = lowered.node("Neg", &[&scores], &[]);
    let both = lowered.node("Concat", &[&opposite, &scores], &[("axis", Setting::Int(1))]);
    ending.finish(lowered, &both, node, 1);
    Ok(())
}

/// The values.
pub(super) fn regress(lowered: &mut Lowered, node: &NodeMessage) -> Result<(), OnnxError> {
    let targets = usize::try_from(node.int("targets").unwrap_or(1)).unwrap_or_default();
    let values = product(lowered, node, targets)?;
    Ending::of(node)?.finish(lowered, &values, node, 0);
    Ok(())
}

/// `x · coefficientsᵀ + intercepts`, with so many outputs.
fn product(lowered: &mut Lowered, node: &NodeMessage, outputs: usize) -> Result<String, OnnxError> {
    let (coefficients, intercepts) = (node.floats("coefficients")?, node.floats("intercepts")?);
    let inputs = coefficients.len().checked_div(outputs).unwrap_or_default();
    let fits = inputs > 0 && inputs * outputs == coefficients.len();
    if !fits || (!intercepts.is_empty() && intercepts.len() != outputs) {
        return Err(OnnxError::Damaged("the coefficients of a linear model do not fit its outputs".to_owned()));
    }
    let values = lowered.as_floats(node.first_input());
    let mut turned = vec![0.0; coefficients.len()];
    for (place, coefficient) in coefficients.iter().enumerate() {
        turned[place % inputs * outputs + place / inputs] = *coefficient;
    }
    let turned = lowered.floats(&[inputs, outputs], &turned);
    let product = lowered.node("MatMul", &[&values, &turned], &[]);
    if intercepts.is_empty() {
        return Ok(product);
    }
    let intercepts = lowered.floats(&[outputs], &intercepts);
    Ok(lowered.node("Add", &[&product, &intercepts], &[]))
}
