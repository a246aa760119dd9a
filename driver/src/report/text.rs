//! Texts and numbers on their way into a page. A name in a study may be anything: it stays text, never markup.

use serde_json::{Number, Value};

use crate::results::show::printable;

/// Characters of a name in a picture: more would leave no room for the picture.
const LABEL_CHARACTERS_MAX: usize = 32;
/// The same beside a legend's entries, which have to fit a narrow screen as well.
const SHORT_LABEL_CHARACTERS_MAX: usize = 16;
/// Digits that a picture can show of a number.
const DIGITS: usize = 6;

/// `text` as HTML, in an element or in an attribute between quotes. Control characters, a NUL among them, which a
/// browser would replace, are shown as escapes.
pub(super) fn html(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in printable(text, usize::MAX).chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// `text` as a label of a picture. Plotly reads `<b>` and `&lt;` in every text that it draws.
pub(super) fn label(text: &str) -> String {
    long_label(text, LABEL_CHARACTERS_MAX)
}

/// The same, where something else stands beside it: the entries of a legend.
pub(super) fn short_label(text: &str) -> String {
    long_label(text, SHORT_LABEL_CHARACTERS_MAX)
}

/// The same, with room for so many characters.
pub(super) fn long_label(text: &str, characters_max: usize) -> String {
    printable(text, characters_max).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// `value` as JSON that can stand in a `<script>` element: no `<` that could end it, and no line separators, which are
/// line ends to some readers.
pub(super) fn script_json(value: &Value) -> String {
    let mut escaped = String::new();
    for character in value.to_string().chars() {
        match character {
            // All of them stand inside of texts only, so that an escape means the same.
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => escaped.extend([format!("\\u{:04x}", u32::from(character))]),
            other => escaped.push(other),
        }
    }
    escaped
}

/// A number with as many digits as a picture can show; `null` if it is none.
pub(super) fn number(number: f64) -> Value {
    let short = format!("{number:.*e}", DIGITS - 1).parse().ok();
    short.and_then(Number::from_f64).map_or(Value::Null, Value::Number)
}

/// [`number`] of each.
pub(super) fn numbers(all: impl IntoIterator<Item = f64>) -> Value {
    all.into_iter().map(number).collect()
}

/// A number in a sentence or at a tick: four digits at most, no exponent where that is short.
pub(super) fn short(number: f64) -> String {
    crate::results::show::value_text(&broadsweep_common::configuration::Value::Real(number))
}

/// `first and second`, `first, second and third`.
pub(super) fn listed(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// Whole percents; a digit more below ten.
pub(super) fn percent(fraction: f64) -> String {
    let percent = fraction * 100.0;
    if percent.abs() < 9.95 { format!("{percent:.1} %") } else { format!("{percent:.0} %") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: &str = "</script><img src=x onerror=\"alert('1')\">&lt;\u{2028}\0\u{202e}<!--";

    #[test]
    fn a_hostile_name_is_text_in_html() {
        let escaped = html(HOSTILE);
        assert!(!escaped.contains(['<', '>', '"', '\'', '\0', '\u{202e}', '\u{2028}']), "{escaped}");
        assert!(
            escaped.starts_with("&lt;/script&gt;&lt;img src=x onerror=&quot;alert(&#39;1&#39;)&quot;&gt;&amp;lt;")
        );
    }

    #[test]
    fn a_hostile_name_is_text_in_a_picture() {
        assert_eq!(label("<b>a</b> &lt;"), "&lt;b&gt;a&lt;/b&gt; &amp;lt;");
        assert_eq!(label(&"x".repeat(100)).chars().count(), LABEL_CHARACTERS_MAX + 1);
    }

    #[test]
    fn json_in_a_script_cannot_end_it_and_reads_back() {
        let value = Value::from(HOSTILE);
        let escaped = script_json(&value);
        assert!(!escaped.contains(['<', '>', '&', '\u{2028}', '\0']), "{escaped}");
        assert_eq!(serde_json::from_str::<Value>(&escaped).unwrap(), value);
    }

    #[test]
    fn numbers_are_short_and_what_is_none_is_null() {
        assert_eq!(numbers([1.0 / 3.0, 123_456_789.0, f64::NAN, 0.0]).to_string(), "[0.333333,123457000.0,null,0.0]");
    }

    #[test]
    fn words_are_listed_as_people_do() {
        let listed = |words: &[&str]| listed(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        assert_eq!([listed(&["a"]), listed(&["a", "b"]), listed(&["a", "b", "c"])], ["a", "a and b", "a, b and c"]);
    }

    #[test]
    fn percents_have_a_digit_more_below_ten() {
        assert_eq!([0.0312, 0.34, 1.0].map(percent), ["3.1 %", "34 %", "100 %"]);
    }
}
