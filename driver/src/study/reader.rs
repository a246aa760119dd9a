//! A small reader over a parsed TOML document: every value knows its place, every table its keys.
//!
//! Not serde: a derive knows no spans of keys, stops at the first type that does not fit without saying where it
//! stands, and cannot tell a key of another format from a misspelt one.

use std::ops::Range;

use broadsweep_common::configuration::Value;
use toml::de::{DeTable, DeValue};

use super::diagnostic::{Diagnostic, Source};

/// Longest word that a suggestion is sought for.
const SUGGESTION_CHARACTERS_MAX: usize = 64;

/// A value of the document.
pub(super) struct Node<'a> {
    source: &'a Source,
    /// What messages call it: `[training] epochs`, `layer 2 (dense): units`.
    pub(super) place: String,
    pub(super) span: Range<usize>,
    value: &'a DeValue<'a>,
}

/// A table of the document.
pub(super) struct Table<'a> {
    source: &'a Source,
    /// What messages call it: `[training]`, `layer 2 (dense)`.
    pub(super) place: String,
    /// What stands before a key's name in the key's place.
    prefix: String,
    span: Range<usize>,
    entries: &'a DeTable<'a>,
}

/// A key of a table, with its value.
pub(super) struct Entry<'a> {
    pub(super) key: &'a str,
    pub(super) key_span: Range<usize>,
    pub(super) node: Node<'a>,
}

impl<'a> Node<'a> {
    pub(super) fn error(&self, message: impl AsRef<str>) -> Diagnostic {
        self.source.error(&self.span, message)
    }

    /// An error at the bytes `inside` of the text that stands here; at the whole of it where it is not written as it
    /// is read.
    pub(super) fn error_inside(&self, text: &str, inside: Range<usize>, message: impl AsRef<str>) -> Diagnostic {
        let start = self.span.start + 1; // behind the quote
        let is_as_written = self.source.text.get(start..start + text.len()) == Some(text);
        let span = start + inside.start..start + inside.end;
        self.source.error(if is_as_written { &span } else { &self.span }, message)
    }

    /// "`place` is `what stands there`; it has to be `expected`".
    pub(super) fn refused(&self, expected: &str) -> Diagnostic {
        let given = self.quoted();
        self.error(format!("{} is {given}; it has to be {expected}", self.place))
    }

    /// What stands here, as written if that is short.
    pub(super) fn quoted(&self) -> String {
        let kind = || format!("{} {}", article(self.value), kind(self.value));
        self.source.quoted(&self.span).map_or_else(kind, str::to_owned)
    }

    /// A number, a word or a flag; it may be any.
    pub(super) fn scalar(&self) -> Result<Value, Diagnostic> {
        match self.value {
            DeValue::String(text) => Ok(Value::Choice(text.to_string())),
            DeValue::Boolean(flag) => Ok(Value::Flag(*flag)),
            DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix())
                .map(Value::Integer)
                .map_err(|_| self.refused("a whole number of at most 64 bits")),
            DeValue::Float(float) => float.as_str().parse().map(Value::Real).map_err(|_| self.refused("a number")),
            DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => {
                Err(self.refused("a number, a word in quotes, or true or false"))
            }
        }
    }

    /// A text that is not empty.
    /// Whether it is true.
    pub(super) fn flag(&self) -> Result<bool, Diagnostic> {
        match self.scalar() {
            Ok(Value::Flag(flag)) => Ok(flag),
            _ => Err(self.refused("true or false")),
        }
    }

    pub(super) fn text(&self) -> Result<&'a str, Diagnostic> {
        match self.value {
            DeValue::String(text) if !text.is_empty() => Ok(text),
            _ => Err(self.refused("a text in quotes, not an empty one")),
        }
    }

    /// A whole number from `min` to `max`, for keys that no search reaches.
    pub(super) fn whole(&self, min: i64, max: i64) -> Result<i64, Diagnostic> {
        match self.scalar() {
            Ok(Value::Integer(integer)) if (min..=max).contains(&integer) => Ok(integer),
            // The message of a number beyond 64 bits.
            Err(error) if self.value.is_integer() => Err(error),
            _ if max == i64::MAX => Err(self.refused(&format!("a whole number, {min} or more"))),
            _ => Err(self.refused(&format!("a whole number from {min} to {max}"))),
        }
    }

    /// One of `words`, for keys that no search reaches.
    pub(super) fn word<T: Copy>(&self, words: &[(&'static str, T)]) -> Result<T, Diagnostic> {
        let names: Vec<_> = words.iter().map(|(name, _)| *name).collect();
        let DeValue::String(given) = self.value else { return Err(self.refused(&one_of(&names))) };
        if given.starts_with('$') {
            return Err(self.error(format!("{} cannot be searched; it has to be {}", self.place, one_of(&names))));
        }
        let found = words.iter().find(|(name, _)| name == given);
        found.map(|(_, value)| *value).ok_or_else(|| self.refused(&one_of_near(&names, given)))
    }

    /// The elements of an array.
    pub(super) fn array(&self) -> Result<Vec<Node<'a>>, Diagnostic> {
        let DeValue::Array(array) = self.value else { return Err(self.refused("an array, as in [1, 2]")) };
        let elements = array.iter().enumerate().map(|(index, element)| Node {
            source: self.source,
            place: format!("{}[{index}]", self.place),
            span: element.span(),
            value: element.get_ref(),
        });
        Ok(elements.collect())
    }

    /// The table here; messages call it `place`, and its keys `prefix` and their name.
    pub(super) fn table(&self, place: &str, prefix: &str) -> Result<Table<'a>, Diagnostic> {
        let DeValue::Table(entries) = self.value else {
            return Err(self.refused("a table, as in { key = value }"));
        };
        Ok(Table {
            source: self.source,
            place: place.to_owned(),
            prefix: prefix.to_owned(),
            span: self.span.clone(),
            entries,
        })
    }

    pub(super) fn is_table(&self) -> bool {
        self.value.is_table()
    }

    pub(super) fn is_array(&self) -> bool {
        self.value.is_array()
    }
}

impl<'a> Table<'a> {
    /// The whole document.
    pub(super) fn document(source: &'a Source, entries: &'a DeTable<'a>) -> Self {
        Self { source, place: "the study".to_owned(), prefix: String::new(), span: 0..0, entries }
    }

    pub(super) fn error(&self, message: impl AsRef<str>) -> Diagnostic {
        self.source.error(&self.span, message)
    }

    /// Refuses every key that is not in `keys`. `hint` may know a strange key from elsewhere, and say so.
    pub(super) fn allow(&self, keys: &[&str], hint: impl Fn(&str) -> Option<String>) -> Result<(), Diagnostic> {
        let Some(entry) = self.entries().into_iter().find(|entry| !keys.contains(&entry.key)) else {
            return Ok(());
        };
        let message = hint(entry.key).unwrap_or_else(|| {
            let near = nearest(entry.key, keys.iter().copied());
            let near = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
            format!("unknown key `{}` in {}{near}", entry.key, self.place)
        });
        let note = format!("{} has: {}", self.place, keys.join(", "));
        Err(self.source.error(&entry.key_span, message).with_note(note))
    }

    /// The value of `key`, if the study gives one.
    pub(super) fn get(&self, key: &str) -> Option<Node<'a>> {
        self.entries.get(key).map(|value| Node {
            source: self.source,
            place: format!("{}{key}", self.prefix),
            span: value.span(),
            value: value.get_ref(),
        })
    }

    /// The value of `key`; an error at the table's head says that `expected` is missing.
    pub(super) fn require(&self, key: &str, expected: &str) -> Result<Node<'a>, Diagnostic> {
        self.get(key).ok_or_else(|| {
            self.error(format!("{} has no `{key}`", self.place)).with_note(format!("add `{key}`: {expected}"))
        })
    }

    /// All keys, in the order of the file.
    pub(super) fn entries(&self) -> Vec<Entry<'a>> {
        let mut entries: Vec<_> = self
            .entries
            .iter()
            .map(|(key, value)| Entry {
                key: key.get_ref(),
                key_span: key.span(),
                node: Node {
                    source: self.source,
                    place: format!("{}{}", self.prefix, key.get_ref()),
                    span: value.span(),
                    value: value.get_ref(),
                },
            })
            .collect();
        entries.sort_by_key(|entry| entry.key_span.start);
        entries
    }
}

impl Entry<'_> {
    /// An error at the key.
    pub(super) fn error(&self, message: impl AsRef<str>) -> Diagnostic {
        self.node.source.error(&self.key_span, message)
    }
}

/// `one of "a", "b"`.
pub(super) fn one_of(words: &[&str]) -> String {
    let words: Vec<_> = words.iter().map(|word| format!("\"{word}\"")).collect();
    if words.len() == 1 { words.concat() } else { format!("one of {}", words.join(", ")) }
}

/// [`one_of`], and which of them `given` may have meant.
pub(super) fn one_of_near(words: &[&str], given: &str) -> String {
    match nearest(given, words.iter().copied()) {
        Some(near) => format!("{}; did you mean \"{near}\"?", one_of(words)),
        None => one_of(words),
    }
}

/// The candidate that `word` is most likely a misspelling of.
pub(super) fn nearest<'k>(word: &str, candidates: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    if word.chars().count() > SUGGESTION_CHARACTERS_MAX {
        return None;
    }
    let word = word.to_lowercase().replace('-', "_");
    let mistakes_max = (word.chars().count() / 3).max(1);
    candidates
        .filter(|candidate| candidate.len() <= 2 * SUGGESTION_CHARACTERS_MAX)
        .map(|candidate| (strsim::damerau_levenshtein(&word, &candidate.to_lowercase()), candidate))
        .filter(|(mistakes, _)| *mistakes <= mistakes_max)
        .min_by_key(|(mistakes, _)| *mistakes)
        .map(|(_, candidate)| candidate)
}

fn article(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::Integer(_) | DeValue::Array(_) => "an",
        _ => "a",
    }
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "long text",
        DeValue::Integer(_) => "integer",
        DeValue::Float(_) => "number",
        DeValue::Boolean(_) => "flag",
        DeValue::Datetime(_) => "date",
        DeValue::Array(_) => "array",
        DeValue::Table(_) => "table",
    }
}
