//! Names and values of parameters in as little room as a table has for them. The whole ones stand below it, with the best.

use broadsweep_common::configuration::Value;

use super::show::{printable, value_text};

/// Digits of a number that is cut.
const DIGITS_MAX: usize = 3;

/// How much room each parameter has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// What its name and its values need.
    Whole,
    /// A name over several lines, and its values whole.
    Stacked,
    /// Both in so many characters.
    Characters(usize),
}

/// A parameter's name, in lines.
pub(super) fn name_in(room: Room, name: &str) -> String {
    match room {
        Room::Whole => name.to_owned(),
        Room::Stacked => stacked(name, longest_part(name)),
        Room::Characters(width) => {
            let parts = stacked(name, width);
            // Better without its `_` than cut.
            let fitting = |part: &str| match part.strip_suffix('_') {
                Some(word) if word.chars().count() == width => word.to_owned(),
                _ => cut(part, width),
            };
            parts.lines().map(fitting).collect::<Vec<_>>().join("\n")
        }
    }
}

/// A parameter's value, in one line.
pub(super) fn value_in(room: Room, value: &Value) -> String {
    let whole = value_text(value);
    let Room::Characters(width) = room else { return whole };
    if whole.chars().count() <= width {
        return whole;
    }
    match value {
        Value::Real(real) => rounded(*real, width),
        Value::Integer(integer) => rounded(*integer as f64, width),
        Value::Choice(_) | Value::Flag(_) => cut(&whole, width),
    }
}

/// With as many digits as there is room for; without room for one, it is shown too wide rather than wrong.
fn rounded(number: f64, width: usize) -> String {
    let shown = |digits: usize| {
        let rounded: f64 = format!("{number:.digits$e}").parse().unwrap_or(number);
        let (plain, short) = (rounded.to_string(), format!("{rounded:e}"));
        if plain.len() <= width { plain } else { short }
    };
    let mut texts = (0..DIGITS_MAX).rev().map(shown);
    texts.find(|text| text.len() <= width).unwrap_or_else(|| shown(0))
}

fn longest_part(name: &str) -> usize {
    name.split_inclusive('_').map(|part| part.chars().count()).max().unwrap_or_default()
}

/// The parts of a name up to each `_`, which stays at the end of its line, as many on a line as there is room for.
fn stacked(name: &str, width: usize) -> String {
    let mut lines: Vec<String> = Vec::new();
    for part in name.split_inclusive('_') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + part.chars().count() <= width => line.push_str(part),
            _ => lines.push(part.to_owned()),
        }
    }
    lines.join("\n")
}

/// At most so many characters, the last one `…` where there are more.
fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width { text.to_owned() } else { printable(text, width.saturating_sub(1)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_broken_where_its_words_end_and_cut_only_where_one_is_too_long() {
        assert_eq!(name_in(Room::Whole, "learning_rate"), "learning_rate");
        assert_eq!(name_in(Room::Stacked, "learning_rate"), "learning_\nrate");
        assert_eq!(name_in(Room::Stacked, "learning_rate_to"), "learning_\nrate_to");
        assert_eq!(name_in(Room::Characters(6), "learning_rate_to"), "learn…\nrate_\nto");
        assert_eq!(name_in(Room::Characters(6), "fc_1"), "fc_1");
        assert_eq!(name_in(Room::Characters(6), "weight_decay"), "weight\ndecay");
    }

    #[test]
    fn a_value_keeps_its_size_when_it_loses_digits() {
        let shown = |value: Value| [8, 6, 5].map(|width| value_in(Room::Characters(width), &value));
        assert_eq!(shown(Value::Real(0.001_668_1)), ["0.001668", "0.0017", "0.002"]);
        assert_eq!(shown(Value::Real(-0.333_333)), ["-0.3333", "-0.333", "-0.33"]);
        assert_eq!(shown(Value::Real(1.234_567e-7)), ["1.235e-7", "1.2e-7", "1e-7"]);
        assert_eq!(shown(Value::Integer(1_048_576)), ["1048576", "1.05e6", "1e6"]);
        assert_eq!(shown(Value::Choice("leaky_relu".into())), ["leaky_r…", "leaky…", "leak…"]);
        assert_eq!(shown(Value::Flag(false)), ["false"; 3]);
        assert_eq!(value_in(Room::Characters(3), &Value::Real(-1.7e-10)), "-2e-10", "too wide rather than wrong");
        assert_eq!(value_in(Room::Stacked, &Value::Choice("leaky_relu".into())), "leaky_relu");
    }
}
