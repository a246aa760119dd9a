//! What constraints mean, and what is said of those that mean nothing.

use proptest::prelude::*;

use super::*;

fn configuration() -> Configuration {
    let values = [
        ("a", Value::Real(0.1)),
        ("b", Value::Real(0.2)),
        ("units_1", Value::Integer(64)),
        ("units_2", Value::Integer(32)),
        ("optimizer", Value::Choice("adam".to_owned())),
        ("flag", Value::Flag(true)),
        ("odd-name", Value::Integer(3)),
        ("and", Value::Integer(1)),
    ];
    Configuration::from_iter(values)
}

fn domains() -> BTreeMap<String, Domain> {
    let words = |words: &[&str]| Domain::Values(words.iter().map(|word| Value::Choice((*word).to_owned())).collect());
    let real = Domain::Reals { min: 0.0, max: 1.0, log: false, count: None };
    let mixed = Domain::Values(vec![Value::Choice("auto".to_owned()), Value::Integer(3)]);
    [
        ("a", real),
        ("units", Domain::Integers { min: 1, max: 64, log: false, count: None }),
        ("optimizer", words(&["sgd", "adam"])),
        ("flag", Domain::Values(vec![Value::Flag(true), Value::Flag(false)])),
        ("mixed", mixed),
    ]
    .map(|(name, domain)| (name.to_owned(), domain))
    .into()
}

#[test]
fn a_constraint_means_what_it_says() {
    let rows = [
        ("units_2 <= units_1", true),
        ("units_1 < units_2", false),
        ("units_1 == 64 and units_2 != 64", true),
        ("a + b <= 0.3", true), // as people count
        ("a + b < 0.3", false),
        ("a + b * 2 == 0.5", true),
        ("(a + b) * 2 == 0.6", true),
        ("-a - -b > 0", true),
        ("1 - a - b >= 0.7", true),
        ("optimizer != \"adam\" or a < 0.05", false),
        ("optimizer == 'adam'", true),
        ("flag == true", true),
        ("not flag == false", true),
        ("not (a < 1 or b < 1)", false),
        ("not (a > 1 or b > 1)", true),
        ("a > 1 or a < 1 and b > 1", false), // and before or
        ("(a > 1 or a < 1) and b < 1", true),
        ("${odd-name} * 2 == 6", true),
        ("${and} == 1", true),
        ("9_223_372_036_854_775_807 > units_1", true),
        ("((a < b))", true),
        // What is absent is asked for nothing, also where it is denied.
        ("gone < 0", true),
        ("not gone < 0", true),
        ("not (gone < 0 or gone > 0)", true),
        ("gone + a == 7", true),
        ("gone < 0 and a > 1", false),
        ("gone < 0 or a > 1", true),
    ];
    for (text, holds) in rows {
        let constraint = Constraint::parse(text).unwrap_or_else(|error| panic!("{text}: {error:?}"));
        assert_eq!(constraint.holds(&configuration()), holds, "{text}");
    }
}

#[test]
fn what_cannot_be_read_is_said_where_it_stands() {
    let deep = format!("{}a < 1{}", "(".repeat(70), ")".repeat(70));
    let rows = [
        ("", "", "it ends where a number or a parameter is missing"),
        ("a <", "", "it ends where a number or a parameter is missing"),
        ("a < b < 1", "a < b <", "two comparisons are joined with `and`, as in a < b and b < c"),
        ("a = b", "=", "equality is written with `==`"),
        ("a < b && b < 1", "&&", "`and` joins comparisons of which all have to hold"),
        ("a < b || b < 1", "||", "`or` joins comparisons of which one has to hold"),
        ("!flag", "!", "a negation is written with `not`, and inequality with `!=`"),
        ("a / b < 1", "/", "there is no division; multiply the other side instead"),
        ("flag", "flag", "`flag` is compared with nothing; a flag is asked for by flag == true"),
        ("a < 1 and flag", "flag", "`flag` is compared with nothing; a flag is asked for by flag == true"),
        ("(a < b) < 1", "(a < b)", "a comparison cannot itself be compared or added; join it with `and` or `or`"),
        ("a < 1 + (b < 2)", "(b < 2)", "a comparison cannot itself be compared or added; join it with `and` or `or`"),
        ("a < 1 b", "b", "`b` stands where `and`, `or` or its end is expected"),
        ("(a < 1", "", "it ends where `)` is missing"),
        ("a < and", "and", "a comparison is missing before `and`"),
        ("word == \"adam", "\"adam", "a \" is missing behind this word"),
        ("a < 1e999", "1e999", "`1e999` is no number"),
        ("a < $b", "$", "a parameter is written by its name, or as ${name}"),
        (&deep, "", "more than 64 levels within each other"),
    ];
    for (text, marked, message) in rows {
        let error = Constraint::parse(text).unwrap_err();
        assert_eq!((&text[error.span.clone()], error.message.as_str()), (marked, message), "{text}");
    }
    let long = format!("a < {}1", "1 + ".repeat(2000));
    assert_eq!(Constraint::parse(&long).unwrap_err().message, "it has more than 4096 bytes");
}

#[test]
fn what_can_never_be_meant_is_refused() {
    let rows = [
        ("a < units and mixed == \"auto\"", None),
        ("mixed != 3 or a == 0.5", None),
        ("optimizer == optimizer", None),
        ("1 < 2", Some(("1 < 2", "this comparison names no parameter"))),
        (
            "optimizer < 1",
            Some((
                "optimizer",
                "only numbers are ordered or added, and `optimizer` can be \"sgd\"; compare it with == or !=",
            )),
        ),
        (
            "a + mixed == 1",
            Some((
                "mixed",
                "only numbers are ordered or added, and `mixed` can be \"auto\"; compare it with == or !=",
            )),
        ),
        ("a < 'x'", Some(("'x'", "only numbers are ordered or added"))),
        ("optimizer == 'admm'", Some(("'admm'", "`optimizer` is never \"admm\"; it is one of \"sgd\", \"adam\""))),
        ("flag != 1", Some(("1", "`flag` is never 1; it is one of true, false"))),
        ("'x' == units", Some(("'x'", "`units` is never \"x\"; it is a number"))),
    ];
    for (text, expected) in rows {
        let checked = Constraint::parse(text).unwrap().check(&domains());
        let found = checked.as_ref().err().map(|error| (&text[error.span.clone()], error.message.as_str()));
        assert_eq!(found, expected, "{text}");
    }
}

#[test]
fn names_are_told_with_their_places() {
    let text = "not (a + ${b-c} < 1) or d == 'e'";
    let names = Constraint::parse(text).unwrap();
    let names: Vec<_> = names.names().into_iter().map(|(name, span)| (name.to_owned(), &text[span])).collect();
    let expected = [("a", "a"), ("b-c", "${b-c}"), ("d", "d")].map(|(name, place)| (name.to_owned(), place));
    assert_eq!(names, expected);
}

/// Words of the language, and what is none.
fn written_text() -> impl Strategy<Value = String> {
    let words = [
        "a",
        "units",
        "optimizer",
        "and",
        "or",
        "not",
        "(",
        ")",
        "<",
        "<=",
        "==",
        "!=",
        "=",
        "+",
        "-",
        "*",
        "/",
        "1",
        "0.5",
        "1e9",
        "'sgd'",
        "\"",
        "true",
        "${a}",
        "$",
        "é",
        " ",
    ];
    prop::collection::vec(prop::sample::select(words.to_vec()), 0..12).prop_map(|words| words.join(" "))
}

/// Comparisons of all kinds, joined.
fn sound_text() -> impl Strategy<Value = String> {
    let leaves = ["a < 0.5", "units >= 2", "a + units == 1.25", "a != units", "units * 2 <= 1 - a", "-a > units"];
    prop::sample::select(leaves.to_vec()).prop_map(str::to_owned).prop_recursive(4, 16, 3, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(one, other)| format!("({one} and {other})")),
            (inner.clone(), inner.clone()).prop_map(|(one, other)| format!("({one} or {other})")),
            inner.prop_map(|inner| format!("not {inner}")),
        ]
    })
}

proptest! {
    #[test]
    fn no_text_makes_it_panic_and_errors_are_inside_of_it(text in prop_oneof![written_text(), ".{0,40}"]) {
        let error = match Constraint::parse(&text) {
            Ok(constraint) => {
                let _ = constraint.holds(&configuration());
                for (name, span) in constraint.names() {
                    prop_assert!(text[span].contains(name));
                }
                constraint.check(&domains()).err()
            }
            Err(error) => Some(error),
        };
        if let Some(error) = error {
            prop_assert!(text.get(error.span.clone()).is_some(), "{:?}", error);
        }
    }

    #[test]
    fn a_negation_is_the_opposite_where_nothing_is_absent_and_holds_where_all_is(text in sound_text()) {
        let [one, other] = [text.clone(), format!("not ({text})")].map(|text| Constraint::parse(&text).unwrap());
        let whole = Configuration::from_iter([("a", Value::Real(0.25)), ("units", Value::Integer(1))]);
        prop_assert_ne!(one.holds(&whole), other.holds(&whole));
        prop_assert!(one.holds(&Configuration::default()) && other.holds(&Configuration::default()));
    }
}
