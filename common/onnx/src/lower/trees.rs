//! Trees: all rows walk down all trees of a forest at once, a level at a time, as in "A Tensor Compiler for Unified Machine
//! Learning Prediction Serving" (Nakandala et al., 2020), where it is called tree traversal.
//!
//! A row's place in each tree is the number of a node. A level is: the feature and the threshold of the node, whether the
//! row's feature is below it, and the node on that side. A leaf leads to itself.

use std::collections::{BTreeMap, BTreeSet};

use super::{Ending, Lowered, Setting};
use crate::error::OnnxError;
use crate::messages::NodeMessage;

/// Levels of a tree, at most: each is some nodes of the graph.
const LEVELS_MAX: usize = 512;
/// Numbers that all leaves may have.
const LEAVES_MAX: usize = 1 << 28;

/// Output 1, what speaks for each class.
pub(super) fn classify(lowered: &mut Lowered, node: &NodeMessage) -> Result<(), OnnxError> {
    let ending = Ending::of(node)?;
    let classes = node.class_labels().len();
    let ids = node.ints("class_ids");
    // Two classes, and leaves that speak of one alone.
    let is_binary = classes == 2 && ids.iter().all(|id| Some(id) == ids.first());
    let outputs = if is_binary { 1 } else { classes };
    let weights = node.floats("class_weights")?;
    let is_share = weights.iter().all(|&weight| weight >= 0.0);
    let base = node.floats("base_values")?;
    let leaves = Leaves { prefix: "class", outputs, weights, all_are_one: is_binary };
    let scores = Forest::of(node)?.walk(lowered, node, leaves)?;
    let scores = with_base(lowered, scores, &base, outputs);
    if !is_binary {
        ending.finish(lowered, &scores, node, 1);
        return Ok(());
    }
    let opposite = if is_share {
        let one = lowered.floats(&[1], &[1.0]);
        lowered.node("Sub", &[&one, &scores], &[])
    } else {
        lowered.node("Neg", &[&scores], &[])
    };
    let both = lowered.node("Concat", &[&opposite, &scores], &[("axis", Setting::Int(1))]);
    let ending = if is_share { Ending::Nothing } else { ending };
    ending.finish(lowered, &both, node, 1);
    Ok(())
}

/// The values.
pub(super) fn regress(lowered: &mut Lowered, node: &NodeMessage) -> Result<(), OnnxError> {
    let outputs = usize::try_from(node.int("n_targets").unwrap_or(1)).unwrap_or_default();
    let (weights, base) = (node.floats("target_weights")?, node.floats("base_values")?);
    let forest = Forest::of(node)?;
    let trees = forest.roots.len();
    let mut values = forest.walk(lowered, node, Leaves { prefix: "target", outputs, weights, all_are_one: false })?;
    match node.text("aggregate_function", "SUM").as_str() {
        "SUM" => {}
        "AVERAGE" => {
            let share = lowered.floats(&[1], &[1.0 / trees as f32]);
            values = lowered.node("Mul", &[&values, &share], &[]);
        }
        other => return Err(node.refused(&format!("takes the {other} of its trees; SUM and AVERAGE are known"))),
    }
    let values = with_base(lowered, values, &base, outputs);
    Ending::of(node)?.finish(lowered, &values, node, 0);
    Ok(())
}

fn with_base(lowered: &mut Lowered, scores: String, base: &[f32], outputs: usize) -> String {
    if base.len() != outputs {
        return scores;
    }
    let base = lowered.floats(&[outputs], base);
    lowered.node("Add", &[&scores, &base], &[])
}

/// What the leaves say.
struct Leaves {
    /// What the attributes begin with.
    prefix: &'static str,
    outputs: usize,
    weights: Vec<f32>,
    /// Whether every number is of the only output, whatever it says of that.
    all_are_one: bool,
}

/// All nodes of all trees, one after the other.
struct Forest {
    /// Which node of which tree stands where.
    places: BTreeMap<(i64, i64), usize>,
    features: Vec<i64>,
    thresholds: Vec<f32>,
    /// The node where it is true, and where not.
    then: [Vec<i64>; 2],
    roots: Vec<i64>,
    levels: usize,
    /// The standard operator that compares.
    compare: &'static str,
}

impl Forest {
    fn of(node: &NodeMessage) -> Result<Self, OnnxError> {
        let damaged = |what: &str| OnnxError::Damaged(format!("a tree of `{}`: {what}", node.kind()));
        let (trees, ids) = (node.ints("nodes_treeids"), node.ints("nodes_nodeids"));
        let (features, modes) = (node.ints("nodes_featureids"), node.texts("nodes_modes"));
        let (yes, no) = (node.ints("nodes_truenodeids"), node.ints("nodes_falsenodeids"));
        let thresholds = node.floats("nodes_values")?;
        let count = trees.len();
        let lengths = [ids.len(), features.len(), modes.len(), yes.len(), no.len(), thresholds.len()];
        if count == 0 || lengths.iter().any(|&length| length != count) {
            return Err(damaged("its lists differ in their lengths"));
        }
        let mut places = BTreeMap::new();
        for place in 0..count {
            if places.insert((trees[place], ids[place]), place).is_some() {
                return Err(damaged("a node is there twice"));
            }
        }
        let is_leaf: Vec<bool> = modes.iter().map(|mode| mode == "LEAF").collect();
        let mut then = [vec![0; count], vec![0; count]];
        let mut is_root = vec![true; count];
        for place in 0..count {
            for (side, child) in [yes[place], no[place]].into_iter().enumerate() {
                if is_leaf[place] {
                    then[side][place] = place as i64;
                    continue;
                }
                let child = places.get(&(trees[place], child)).ok_or_else(|| damaged("a branch leads nowhere"))?;
                then[side][place] = *child as i64;
                if !std::mem::replace(&mut is_root[*child], false) {
                    return Err(damaged("two branches lead to one node"));
                }
            }
        }
        let roots: Vec<i64> = (0..count).filter(|&place| is_root[place]).map(|place| place as i64).collect();
        let all_trees: BTreeSet<_> = trees.iter().collect();
        if roots.len() != all_trees.len() {
            return Err(damaged("it has no root, or several"));
        }
        let compare = comparison(node, &modes)?;
        let features =
            features.iter().zip(&is_leaf).map(|(&feature, &leaf)| if leaf { 0 } else { feature }).collect();
        let mut forest = Self { places, features, thresholds, then, roots, levels: 0, compare };
        forest.levels = forest.count_levels(&is_leaf).ok_or_else(|| damaged("it is too deep, or turns back"))?;
        Ok(forest)
    }

    /// The most steps from a root to a leaf; `None` if there are too many, or if some nodes are on no way.
    fn count_levels(&self, is_leaf: &[bool]) -> Option<usize> {
        let mut level: Vec<usize> = self.roots.iter().map(|&root| root as usize).collect();
        let mut seen = level.len();
        for levels in 0..=LEVELS_MAX {
            level.retain(|&place| !is_leaf[place]);
            if level.is_empty() {
                return (seen == is_leaf.len()).then_some(levels);
            }
            level = level.iter().flat_map(|&place| self.then.iter().map(move |then| then[place] as usize)).collect();
            seen += level.len();
        }
        None
    }

    /// Adds the walk, and the sum over all trees of what their leaves say: `(rows, outputs)`.
    fn walk(self, lowered: &mut Lowered, node: &NodeMessage, leaves: Leaves) -> Result<String, OnnxError> {
        let (nodes, outputs) = (self.features.len(), leaves.outputs);
        let weights = self.weights(node, leaves)?;
        let rows = lowered.as_floats(node.first_input());
        let features = lowered.ints(&[nodes], &self.features);
        let thresholds = lowered.floats(&[nodes], &self.thresholds);
        let [yes, no] = self.then.map(|then| lowered.ints(&[nodes], &then));
        let roots = lowered.ints(&[1, self.roots.len()], &self.roots);
        let axis = |axis: i64| [("axis", Setting::Int(axis))];
        // A zero for each row makes the roots as many as there are rows.
        let first = lowered.ints(&[1], &[0]);
        let column = lowered.node("Gather", &[&rows, &first], &axis(1));
        let zeros = lowered.node("Sub", &[&column, &column], &[]);
        let zeros = lowered.node("Cast", &[&zeros], &[("to", Setting::Int(crate::messages::INT64.into()))]);
        let mut place = lowered.node("Add", &[&zeros, &roots], &[]);
        for _ in 0..self.levels {
            let of = |lowered: &mut Lowered, list: &str| lowered.node("Gather", &[list, &place], &axis(0));
            let [feature, threshold, yes, no] = [&features, &thresholds, &yes, &no].map(|list| of(lowered, list));
            let value = lowered.node("GatherElements", &[&rows, &feature], &axis(1));
            let is_so = lowered.node(self.compare, &[&value, &threshold], &[]);
            place = lowered.node("Where", &[&is_so, &yes, &no], &[]);
        }
        let weights = lowered.floats(&[nodes, outputs], &weights);
        let said = lowered.node("Gather", &[&weights, &place], &axis(0));
        Ok(lowered.node("ReduceSum", &[&said], &[("axes", Setting::Ints(vec![1])), ("keepdims", Setting::Int(0))]))
    }

    /// What each node says of each output: zeros where it is no leaf.
    fn weights(&self, node: &NodeMessage, leaves: Leaves) -> Result<Vec<f32>, OnnxError> {
        let Leaves { prefix, outputs, weights, all_are_one } = leaves;
        let list = |name: &str| node.ints(&format!("{prefix}_{name}"));
        let (trees, ids, places) = (list("treeids"), list("nodeids"), list("ids"));
        let damaged = || OnnxError::Damaged(format!("a leaf of `{}` is of no tree or output", node.kind()));
        let numbers = self.features.len().checked_mul(outputs).filter(|numbers| (1..=LEAVES_MAX).contains(numbers));
        let mut all = vec![0.0; numbers.ok_or_else(damaged)?];
        if [trees.len(), ids.len(), places.len()].iter().any(|&length| length != weights.len()) {
            return Err(damaged());
        }
        for (place, weight) in weights.into_iter().enumerate() {
            let leaf = self.places.get(&(trees[place], ids[place])).ok_or_else(damaged)?;
            let output = if all_are_one { 0 } else { usize::try_from(places[place]).map_err(|_| damaged())? };
            if output >= outputs {
                return Err(damaged());
            }
            all[leaf * outputs + output] += weight;
        }
        Ok(all)
    }
}

/// The standard operator for what all nodes do.
fn comparison(node: &NodeMessage, modes: &[String]) -> Result<&'static str, OnnxError> {
    let mut branches = modes.iter().map(String::as_str).filter(|&mode| mode != "LEAF");
    let first = branches.next().unwrap_or("BRANCH_LEQ");
    let found = match first {
        "BRANCH_LEQ" => Some("LessOrEqual"),
        "BRANCH_LT" => Some("Less"),
        "BRANCH_GTE" => Some("GreaterOrEqual"),
        "BRANCH_GT" => Some("Greater"),
        "BRANCH_EQ" => Some("Equal"),
        _ => None,
    };
    found.filter(|_| branches.all(|mode| mode == first)).ok_or_else(|| {
        node.refused(
            "compares in ways that are not supported; export it with one comparison (BRANCH_LEQ and the like)",
        )
    })
}
