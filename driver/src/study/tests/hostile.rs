//! No text makes the reader panic, and every error points into its text.

use proptest::prelude::*;

use super::conditions::LAYERED;
use super::{EXAMPLES, GOOD, RECORDED, REPLAY, configurations, resolves};
use crate::study::{Diagnostic, parse};

fn check(text: &str) {
    match parse(text, "s.toml") {
        // A huge space is good; only small ones are worth the time of listing them here.
        Ok(study) => {
            if let Some(1..=10_000) = broadsweep_search::space::size(&study.search.space) {
                for configuration in configurations(&study).unwrap_or_default() {
                    assert!(resolves(&study, &configuration), "{text}");
                }
            }
        }
        Err(error) => check_error(text, &error),
    }
}

fn check_error(text: &str, error: &Diagnostic) {
    let shown = error.to_string();
    let lines: Vec<_> = shown.lines().collect();
    assert!((4..=5).contains(&lines.len()), "{shown}");
    assert!(lines[0].starts_with(&format!("s.toml:{}:{}: ", error.line(), error.column())), "{shown}");
    assert!(error.line() <= text.matches('\n').count() + 1, "{shown}");
    assert!(lines[3].contains('^'), "{shown}");
    assert!(!shown.contains(|character: char| character.is_control() && character != '\n'), "{shown}");
}

/// A piece of text that a study could contain where it should not.
fn fragment() -> impl Strategy<Value = String> {
    let pieces = [
        "",
        "\n",
        "\"",
        "[",
        "]",
        "{",
        "}",
        "=",
        ",",
        "#",
        "$",
        "\"$\"",
        "\"$rate\"",
        "-1",
        "0",
        "1e999",
        "nan",
        "inf",
        "-0.0",
        "99999999999999999999",
        "0xffffffffffffffff",
        "1979-05-27",
        "true",
        "\"é\"",
        "\t",
        "\r\n",
        "\u{feff}",
        "\u{1b}",
        "values",
        "range",
        "count",
        "step",
        "ordered = true",
        "when",
        "when = { second = true }",
        "if = '$second'",
        "second",
        " and ",
        "not (",
        "[x]",
        "[[model.layers]]",
        "a.b.c = 1\n",
        "'''",
        "[[[[[[",
        "{ a = { b = 1 } }",
        "9223372036854775807",
    ];
    prop_oneof![proptest::sample::select(pieces.to_vec()).prop_map(str::to_owned), "\\PC{0,12}", ".{0,6}",]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn no_text_makes_it_panic(text in "(?s).{0,200}") {
        check(&text);
    }

    #[test]
    fn no_change_of_a_good_study_makes_it_panic(
        which in 0..EXAMPLES.len() + 5, at: prop::sample::Index, length in 0_usize..12, fragment in fragment(),
    ) {
        let others = [GOOD, REPLAY, RECORDED, LAYERED, LAYERED];
        let text = EXAMPLES.get(which).map_or_else(|| others[which - EXAMPLES.len()], |(_, text)| text);
        let start = text.floor_char_boundary(at.index(text.len()));
        let end = text.ceil_char_boundary(start + length);
        check(&format!("{}{fragment}{}", &text[..start], &text[end..]));
    }

    #[test]
    fn no_value_in_the_place_of_another_makes_it_panic(
        at: prop::sample::Index, fragment in fragment(), layered: bool,
    ) {
        let text = if layered { LAYERED } else { GOOD };
        let values: Vec<_> = text.match_indices("= ").map(|(start, _)| start + 2).collect();
        let start = values[at.index(values.len())];
        let end = start + text[start..].find([',', '\n', '}']).unwrap();
        check(&format!("{}{fragment}{}", &text[..start], &text[end..]));
    }
}

#[test]
fn a_deep_text_is_an_error() {
    check(&"[".repeat(100_000));
    check(&format!("a = {}", "[".repeat(100_000)));
    check(&format!("a = {}", "{ b = ".repeat(50_000)));
    check(&format!("{}c = 1", "a.".repeat(50_000)));
}
