//! Which output answers, and what it means.

use super::*;
use crate::AnswerKind;

#[test]
fn the_numbers_beside_a_label_answer_and_its_classes_are_called_as_the_graph_says() {
    let (opened, _) = classifier().open().unwrap();
    assert_eq!((opened.output.as_str(), opened.answer), ("shares", AnswerKind::OfClasses));
    assert_eq!(opened.names, ["left", "right", "none"]);

    let gathered = Made::of(3)
        .node("Softmax rows -> probabilities", vec![int("axis", 1)])
        .node("ArgMax rows -> place", vec![int("axis", 1)])
        .node("Gather words place -> found", vec![])
        .node("Reshape found sides -> label", vec![])
        .constant(text_tensor("words", &["a", "b", "c"]))
        .constant(int_tensor("sides", &[1], &[-1]))
        .output("label", STRING)
        .output("probabilities", FLOAT);
    assert_eq!(gathered.open().unwrap().0.names, ["a", "b", "c"]);
    let mut numbered = gathered.clone();
    numbered.graph.initializer[0] = int_tensor("words", &[3], &[7, -1, 5]);
    assert_eq!(numbered.open().unwrap().0.names, ["7", "-1", "5"]);
}

#[test]
fn a_softmax_is_of_classes_and_other_numbers_are_values() {
    let ending = |last: &str| {
        let made = Made::of(2).node(&format!("{last} rows -> y"), vec![]);
        made.node("Identity y -> answer", vec![]).output("answer", FLOAT).open().unwrap().0.answer
    };
    let found = ["Softmax", "Sigmoid", "Relu"].map(ending);
    assert_eq!(found, [AnswerKind::OfClasses, AnswerKind::Sigmoids, AnswerKind::Values]);
}

#[test]
fn several_outputs_of_numbers_are_refused_by_name() {
    let made = Made::of(2).node("Relu rows -> a", vec![]).node("Relu rows -> b", vec![]);
    let refusal = made.output("a", FLOAT).output("b", FLOAT).refusal();
    assert!(refusal.contains("`a`, `b`; export it with one"), "{refusal}");
}

#[test]
fn what_is_not_known_here_is_named_with_what_to_do() {
    for (node, what) in [
        ("ml.SVMClassifier rows -> y", "the operator SVMClassifier (node `the SVMClassifier`) is none of those"),
        ("NonZero rows -> y", "its memory would have no bound"),
        ("Reshape rows rows -> y", "its memory would have no bound"),
        ("Relu other -> y", "nothing before node 0 makes `other`"),
    ] {
        let refusal = Made::of(2).node(node, vec![]).output("y", FLOAT).refusal();
        assert!(refusal.contains(what), "{node}: {refusal}");
    }
    let own = Made::of(2).node("Own rows -> y", vec![]).output("y", FLOAT);
    let mut foreign = own.clone();
    foreign.graph.node[0].domain = Some("com.example".to_owned());
    assert!(foreign.refusal().contains("none of ONNX's own"), "{}", foreign.refusal());
    let within = Attribute { graph: Some(Bytes::new()), ..Attribute::default() };
    let looping = Made::of(2).node("Loop rows -> y", vec![within]).output("y", FLOAT);
    assert!(looping.refusal().contains("has a graph within it"), "{}", looping.refusal());
}

#[test]
fn shapes_may_depend_on_how_many_rows_there_are() {
    let made = Made::of(2)
        .node("Shape rows -> sides", vec![])
        .node("Gather sides first -> count", vec![])
        .node("Concat count rest -> new", vec![int("axis", 0)])
        .node("Reshape rows new -> y", vec![])
        .constant(int_tensor("first", &[1], &[0]))
        .constant(int_tensor("rest", &[1], &[-1]))
        .output("y", FLOAT);
    assert!(made.open().is_ok());
}
