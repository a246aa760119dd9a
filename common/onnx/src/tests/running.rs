//! Graphs that are run: what they answer is what their operators' pages say.

use broadsweep_common::application::{GraphDescription, GraphReading};

use super::*;
use crate::Session;

fn session(made: &Made) -> Session {
    let (opened, graph) = made.open().unwrap();
    Session::load(&graph, description(opened)).unwrap()
}

fn description(opened: Opened) -> GraphDescription {
    let Opened { inputs, batch_rows, output, .. } = opened;
    GraphDescription { inputs, batch_rows, channels_first: false, output, reading: GraphReading::Values }
}

fn answers(made: &Made, rows: usize, values: &[f32]) -> Vec<f32> {
    session(made).runner().run(rows, values).unwrap()
}

#[track_caller]
fn assert_near(found: &[f32], wanted: &[f32]) {
    let near = found.len() == wanted.len() && found.iter().zip(wanted).all(|(one, other)| (one - other).abs() < 1e-6);
    assert!(near, "{found:?} for {wanted:?}");
}

#[test]
fn rows_are_scaled_multiplied_and_become_shares() {
    // Scaled (1, 2) and (0, -2); scores (1, 2, -2.5) and (0, -2, 2.5).
    let found = answers(&classifier(), 2, &[3.0, 3.0, 1.0, 1.0]);
    let softmax = |scores: [f32; 3]| {
        let sum: f32 = scores.iter().map(|score| score.exp()).sum();
        scores.map(|score| score.exp() / sum)
    };
    assert_near(&found, &[softmax([1.0, 2.0, -2.5]), softmax([0.0, -2.0, 2.5])].concat());
}

#[test]
fn every_row_walks_down_every_tree() {
    let rows = [[0.5, -1.0], [0.5, -0.9], [0.6, 2.0], [0.6, 2.1], [9.0, -5.0]];
    let found = answers(&forest(), rows.len(), &rows.concat());
    assert_near(&found, &[111.0, 121.0, 122.0, 124.0, 112.0]);
}

#[test]
fn a_forest_of_two_classes_may_speak_of_one() {
    let classes = |weights: [f32; 2], ending: &str| {
        let attributes = vec![
            ints("nodes_treeids", &[0; 3]),
            ints("nodes_nodeids", &[0, 1, 2]),
            ints("nodes_featureids", &[0; 3]),
            floats("nodes_values", &[0.0; 3]),
            texts("nodes_modes", &["BRANCH_LT", "LEAF", "LEAF"]),
            ints("nodes_truenodeids", &[1, 0, 0]),
            ints("nodes_falsenodeids", &[2, 0, 0]),
            ints("class_treeids", &[0; 2]),
            ints("class_nodeids", &[1, 2]),
            ints("class_ids", &[0; 2]),
            floats("class_weights", &weights),
            ints("classlabels_int64s", &[3, 5]),
            text("post_transform", ending),
        ];
        let made = Made::of(1).node("ml.TreeEnsembleClassifier rows -> label shares", attributes);
        answers(&made.output("label", INT64).output("shares", FLOAT), 2, &[-1.0, 0.0])
    };
    assert_near(&classes([0.25, 0.75], "NONE"), &[0.75, 0.25, 0.25, 0.75]);
    let share = 1.0 / (1.0 + 2.0_f32.exp());
    assert_near(&classes([-2.0, 2.0], "LOGISTIC"), &[1.0 - share, share, share, 1.0 - share]);
}

#[test]
fn columns_are_filled_normed_marked_and_picked() {
    let made = Made::of(3)
        .node(
            "ml.Imputer rows -> filled",
            vec![floats("imputed_value_floats", &[3.0]), {
                Attribute { name: Some("replaced_value_float".to_owned()), float: Some(-9.0), ..Attribute::default() }
            }],
        )
        .node("ml.Normalizer filled -> normed", vec![text("norm", "L2")])
        .node("ml.ArrayFeatureExtractor normed places -> picked", vec![])
        .node("ml.Binarizer filled -> marks", vec![])
        .node("ml.FeatureVectorizer picked marks -> y", vec![])
        .constant(int_tensor("places", &[1, 2], &[2, 0]))
        .output("y", FLOAT);
    let found = answers(&made, 2, &[-9.0, 0.0, 4.0, 0.0, 0.0, 0.0]);
    assert_near(&found, &[0.8, 0.6, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
}

#[test]
fn of_equal_values_the_first_is_the_largest_and_a_fraction_is_true() {
    let place = Made::of(3)
        .node("ArgMax rows -> place", vec![int("axis", 1), int("keepdims", 0)])
        .node("Cast place -> y", vec![int("to", FLOAT.into())])
        .output("y", FLOAT);
    assert_near(&answers(&place, 2, &[0.5, 0.5, 0.1, 0.0, 2.0, 2.0]), &[0.0, 1.0]);
    let truth = Made::of(2)
        .node("Cast rows -> truth", vec![int("to", 9)])
        .node("Cast truth -> y", vec![int("to", FLOAT.into())])
        .output("y", FLOAT);
    assert_near(&answers(&truth, 1, &[0.3, 0.0]), &[1.0, 0.0]);
}

#[test]
fn several_inputs_are_fed_each_with_all_rows_and_whole_numbers_have_to_be_whole() {
    let made = Made::default()
        .input("size", FLOAT, &[None, Some(1)])
        .input("count", INT64, &[None, Some(1)])
        .node("Cast count -> number", vec![int("to", FLOAT.into())])
        .node("Mul size number -> y", vec![])
        .output("y", FLOAT);
    assert_near(&answers(&made, 2, &[0.5, 1.5, 3.0, 4.0]), &[1.5, 6.0]);
    let error = session(&made).runner().run(1, &[0.5, 3.5]).unwrap_err().to_string();
    assert!(error.contains("`count` takes whole numbers, and 3.5 is none"), "{error}");
}

#[test]
fn a_graph_of_fixed_rows_takes_so_many_and_others_as_many_as_are_well_run_together() {
    let of = |rows: Option<i64>, values: i64| {
        let made = Made::default().input("x", FLOAT, &[rows, Some(values)]).node("Relu x -> y", vec![]);
        session(&made.output("y", FLOAT)).batch_rows()
    };
    assert_eq!([of(Some(3), 2), of(None, 2), of(None, 1 << 17), of(None, 1 << 20)], [3, 256, 2, 1]);
}

#[test]
fn operators_that_the_runtime_lacks_are_named() {
    let made = Made::of(2).node("Hardmax rows -> y", vec![]).output("y", FLOAT);
    let (opened, graph) = made.open().unwrap();
    let error = Session::load(&graph, description(opened)).err().unwrap().to_string();
    assert!(error.contains("Hardmax") && error.contains("export the model for other operators"), "{error}");
}
