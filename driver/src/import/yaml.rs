//! YAML as far as sweep files need it: a tree whose values know their line, of bounded size.

use std::collections::BTreeMap;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput};

use super::ImportError;

/// Values that a file may have, with those that anchors repeat.
const NODES_MAX: usize = 100_000;
const DEPTH_MAX: usize = 64;

/// A value, and the line where it starts, counted from 1.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub(super) line: usize,
    pub(super) value: Yaml,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Yaml {
    Null,
    Flag(bool),
    Integer(i64),
    Real(f64),
    Text(String),
    List(Vec<Node>),
    /// In the order of the file.
    Map(Vec<(String, Node)>),
}

impl Node {
    /// The value of `key`, if this is a map that has it.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        self.entries().iter().find(|(known, _)| known == key).map(|(_, node)| node)
    }

    /// The entries of a map; of anything else there are none.
    pub(super) fn entries(&self) -> &[(String, Self)] {
        if let Yaml::Map(entries) = &self.value { entries } else { &[] }
    }

    /// The elements of a list; of anything else there are none.
    pub(super) fn elements(&self) -> &[Self] {
        if let Yaml::List(elements) = &self.value { elements } else { &[] }
    }

    pub(super) fn text(&self) -> Option<&str> {
        if let Yaml::Text(text) = &self.value { Some(text) } else { None }
    }

    pub(super) fn number(&self) -> Option<f64> {
        match self.value {
            Yaml::Integer(integer) => Some(integer as f64),
            Yaml::Real(real) if real.is_finite() => Some(real),
            _ => None,
        }
    }

    pub(super) fn is_integer(&self) -> bool {
        matches!(self.value, Yaml::Integer(_))
    }

    pub(super) fn error(&self, message: impl Into<String>) -> ImportError {
        ImportError { line: self.line, message: message.into() }
    }
}

/// Reads the first document of `text`.
pub(super) fn read(text: &str) -> Result<Node, ImportError> {
    let mut reader = Reader { events: Parser::new_from_str(text), anchors: BTreeMap::new(), nodes: 0 };
    loop {
        let (event, span) = reader.next()?;
        match event {
            Event::StreamStart | Event::DocumentStart(_) | Event::Nothing => {}
            Event::StreamEnd => return Ok(Node { line: 1, value: Yaml::Null }),
            event => return reader.node(event, span, 0),
        }
    }
}

struct Reader<'t> {
    events: Parser<'t, StrInput<'t>>,
    anchors: BTreeMap<usize, Node>,
    nodes: usize,
}

impl<'t> Reader<'t> {
    fn next(&mut self) -> Result<(Event<'t>, Span), ImportError> {
        let error = |error: ScanError| ImportError {
            line: error.marker().line(),
            message: format!("this is not YAML: {}", error.info()),
        };
        self.events.next().unwrap_or(Ok((Event::StreamEnd, Span::default()))).map_err(error)
    }

    fn node(&mut self, event: Event<'t>, span: Span, depth: usize) -> Result<Node, ImportError> {
        let line = span.start.line();
        self.count(1, line)?;
        if depth > DEPTH_MAX {
            return Err(ImportError { line, message: format!("more than {DEPTH_MAX} levels within each other") });
        }
        let (value, anchor) = match event {
            Event::Scalar(text, ScalarStyle::Plain, anchor, _) => (plain(&text), anchor),
            Event::Scalar(text, _, anchor, _) => (Yaml::Text(text.into_owned()), anchor),
            Event::SequenceStart(anchor, _) => (Yaml::List(self.list(depth)?), anchor),
            Event::MappingStart(anchor, _) => (Yaml::Map(self.map(depth)?), anchor),
            Event::Alias(anchor) => {
                let node = self.anchors.get(&anchor).cloned();
                let node = node.ok_or_else(|| ImportError { line, message: "an alias of nothing".to_owned() })?;
                self.count(node.size(), line)?;
                (node.value, 0)
            }
            _ => (Yaml::Null, 0),
        };
        let node = Node { line, value };
        if anchor > 0 {
            self.count(node.size(), line)?;
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Node>, ImportError> {
        let mut elements = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd | Event::StreamEnd, _) => return Ok(elements),
                (event, span) => elements.push(self.node(event, span, depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Vec<(String, Node)>, ImportError> {
        let mut entries: Vec<(String, Node)> = Vec::new();
        loop {
            let (key, line) = match self.next()? {
                (Event::MappingEnd | Event::StreamEnd, _) => return Ok(entries),
                (Event::Scalar(key, ..), span) => (key.into_owned(), span.start.line()),
                (_, span) => {
                    let message = "a key that is no word".to_owned();
                    return Err(ImportError { line: span.start.line(), message });
                }
            };
            let (event, span) = self.next()?;
            // A map or a list starts below its key, and whoever looks for it looks for the key.
            let node = Node { line, ..self.node(event, span, depth + 1)? };
            if entries.iter().any(|(known, _)| *known == key) {
                return Err(node.error(format!("`{key}` is given twice")));
            }
            entries.push((key, node));
        }
    }

    fn count(&mut self, nodes: usize, line: usize) -> Result<(), ImportError> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes <= NODES_MAX {
            return Ok(());
        }
        Err(ImportError { line, message: format!("more than {NODES_MAX} values") })
    }
}

impl Node {
    fn size(&self) -> usize {
        let inner: usize = match &self.value {
            Yaml::List(elements) => elements.iter().map(Self::size).sum(),
            Yaml::Map(entries) => entries.iter().map(|(_, node)| node.size()).sum(),
            _ => 0,
        };
        inner + 1
    }
}

/// A word without quotes, as Python's reader takes it, which W&B uses; only that `1e-3` is a number here, as whoever
/// writes it means.
fn plain(text: &str) -> Yaml {
    let is_number = text.starts_with(|first: char| first.is_ascii_digit() || "+-.".contains(first));
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Yaml::Null,
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Yaml::Flag(true),
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => Yaml::Flag(false),
        _ if is_number => {
            let digits = text.replace('_', "");
            let integer = digits.parse().ok().map(Yaml::Integer);
            let real = || digits.parse().ok().filter(|real: &f64| real.is_finite()).map(Yaml::Real);
            integer.or_else(real).unwrap_or_else(|| Yaml::Text(text.to_owned()))
        }
        _ => Yaml::Text(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    #[test]
    fn values_have_their_kind_and_their_line() {
        let node = read("# c\na: 1\nb: [1e-3, -.5, 'x', yes, ~]\nc: {d: 2020-01-01}\n").unwrap();
        assert_eq!(node.get("a"), Some(&Node { line: 2, value: Yaml::Integer(1) }));
        let values: Vec<_> = node.get("b").unwrap().elements().iter().map(|one| one.value.clone()).collect();
        let text = Yaml::Text("x".to_owned());
        assert_eq!(values, [Yaml::Real(0.001), Yaml::Real(-0.5), text, Yaml::Flag(true), Yaml::Null]);
        assert_eq!(node.get("c").and_then(|c| c.get("d")?.text()), Some("2020-01-01"));
    }

    #[test]
    fn anchors_are_repeated_and_cannot_grow_without_bound() {
        let node = read("a: &x {b: 1}\nc: *x\n").unwrap();
        assert_eq!(node.get("a").unwrap().value, node.get("c").unwrap().value);
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let before = format!("*a{}", level - 1);
            let _ = writeln!(bomb, "a{level}: &a{level} [{}]", vec![before; 10].join(", "));
        }
        assert!(read(&bomb).unwrap_err().message.contains("values"));
        assert!(read(&"[".repeat(1000)).is_err());
    }

    #[test]
    fn what_is_no_yaml_is_an_error_with_its_line() {
        for (text, line) in [("a: 1\nb: [1, 2\n", 3), ("a: 1\na: 2\n", 2), ("a: *nothing\n", 1), ("? [a]\n: 1\n", 1)]
        {
            assert_eq!(read(text).unwrap_err().line, line, "{text}");
        }
        assert_eq!(read("").unwrap().value, Yaml::Null);
    }
}
