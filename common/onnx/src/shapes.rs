//! A graph whose shapes depend on the values of its rows could take any memory for a single row: it is refused. What one
//! batch of rows takes, each other one of as many rows takes then.

use std::collections::BTreeSet;

use crate::error::OnnxError;
use crate::messages::NodeMessage;

/// Refuses nodes whose outputs have sides that depend on the values of rows, not on their number alone.
pub(crate) fn check(nodes: &[NodeMessage], inputs: &[&str]) -> Result<(), OnnxError> {
    let mut of_rows: BTreeSet<&str> = inputs.iter().copied().collect();
    for node in nodes {
        let taken = |place: usize| node.input.get(place).is_some_and(|input| of_rows.contains(input.as_str()));
        let shaping: &[usize] = match node.kind() {
            "Reshape" | "Expand" | "Tile" | "OneHot" | "TopK" | "Upsample" | "Split" => &[1],
            "ConstantOfShape" | "NonZero" | "Compress" | "Unique" => &[0],
            "Range" => &[0, 1, 2],
            "Resize" => &[1, 2, 3],
            "Pad" => &[1, 3],
            "Slice" => &[1, 2, 3, 4],
            "MaxUnpool" => &[2],
            "NonMaxSuppression" => &[0, 1, 2, 3, 4],
            _ => &[],
        };
        if shaping.iter().any(|&place| taken(place)) {
            return Err(node.refused(
                "makes as many values as the values of a row say, which is not supported: its memory would have no bound",
            ));
        }
        let tells_shape = matches!(node.kind(), "Shape" | "Size");
        let any = (0..node.input.len()).any(taken);
        if any && !tells_shape {
            of_rows.extend(node.output.iter().map(String::as_str));
        }
    }
    Ok(())
}
