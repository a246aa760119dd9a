//! What is there, in which order, and what depends on itself.

use super::*;

fn condition(parent: &str, words: &[&str]) -> Condition {
    Condition {
        parent: parent.to_owned(),
        values: words.iter().map(|word| Value::Choice((*word).to_owned())).collect(),
    }
}

fn of(rows: &[(&str, &[Condition])]) -> BTreeMap<String, Vec<Condition>> {
    rows.iter().map(|(name, conditions)| ((*name).to_owned(), conditions.to_vec())).collect()
}

fn words(rows: &[(&str, &str)]) -> Configuration {
    rows.iter().map(|(name, word)| (*name, Value::Choice((*word).to_owned()))).collect()
}

#[test]
fn a_parameter_is_there_where_all_that_decide_it_are_there_and_say_so() {
    // The names are against the order in which they depend on each other.
    let rows: [(&str, &[Condition]); 3] = [
        ("a", &[condition("b", &["yes"]), condition("d", &["on", "half"])]),
        ("b", &[condition("c", &["yes"])]),
        ("c", &[]),
    ];
    let conditions = Conditions::new(of(&rows)).unwrap();
    for (b, c, d, there) in [
        ("yes", "yes", "on", "a b c d"),
        ("yes", "yes", "half", "a b c d"),
        ("yes", "yes", "off", "b c d"),
        ("no", "yes", "on", "b c d"),
        ("yes", "no", "on", "c d"), // b would say yes, and is not there
    ] {
        let active = conditions.active(&words(&[("a", "1"), ("b", b), ("c", c), ("d", d)]));
        assert_eq!(active.names().collect::<Vec<_>>().join(" "), there, "{b} {c} {d}");
    }
    assert_eq!(conditions.ordered(["a", "b", "c", "d"].into_iter()), ["c", "b", "d", "a"]);
}

#[test]
fn conditions_that_say_the_same_are_equal_however_they_are_written() {
    let one = Conditions::new(of(&[("a", &[condition("p", &["x", "y"]), condition("q", &["z"])])])).unwrap();
    let other = Conditions::new(of(&[("a", &[condition("q", &["z"]), condition("p", &["y", "x"])])])).unwrap();
    assert_eq!(one, other);
}

#[test]
fn parameters_that_depend_on_each_other_are_named_and_those_behind_them_are_not() {
    let rows: [(&str, &[Condition]); 4] = [
        ("a", &[condition("b", &["x"])]), // not in the cycle, but stuck behind it
        ("b", &[condition("free", &["x"]), condition("c", &["x"])]),
        ("c", &[condition("d", &["x"])]),
        ("d", &[condition("b", &["x"])]),
    ];
    let ConditionCycle(names) = Conditions::new(of(&rows)).unwrap_err();
    assert_eq!(names, ["b", "c", "d"]);
    let ConditionCycle(names) = Conditions::new(of(&[("a", &[condition("a", &["x"])])])).unwrap_err();
    assert_eq!(names, ["a"]);
}
