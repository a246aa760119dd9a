//! Rows as JSON lines: an object a row, its members in the order of the columns. What is missing, or is a number that
//! JSON does not know, is null. Integers are written with all their digits, and numbers in the shortest way that parses
//! back to the same bits.

use serde_json::Value;

use broadsweep_common::application::{KeptCell, KeptColumn};

pub(super) struct JsonLines {
    /// What stands in front of each value: `{"first":`, `,"second":`.
    in_front: Vec<String>,
    text: String,
}

impl JsonLines {
    pub(super) fn new(columns: &[KeptColumn]) -> Self {
        let in_front = columns.iter().enumerate().map(|(place, column)| {
            let opened = if place == 0 { '{' } else { ',' };
            format!("{opened}{}:", quoted(&column.name))
        });
        Self { in_front: in_front.collect(), text: String::new() }
    }

    pub(super) fn push(&mut self, cells: &[KeptCell]) {
        for (in_front, cell) in self.in_front.iter().zip(cells) {
            self.text.push_str(in_front);
            let value = match cell {
                KeptCell::Text(text) => quoted(text),
                KeptCell::Integer(integer) => integer.to_string(),
                KeptCell::Number(number) if number.is_finite() => format!("{number:?}"),
                KeptCell::Flag(flag) => flag.to_string(),
                KeptCell::Missing | KeptCell::Number(_) => "null".to_owned(),
            };
            self.text.push_str(&value);
        }
        self.text.push_str("}\n");
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.text.into_bytes()
    }
}

/// Text as JSON writes it.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}
