//! Tests of whole studies.

mod bad;
mod good;
mod hostile;
mod sampling;

/// A study that uses much of the format; other tests change it.
const GOOD: &str = include_str!("good.toml");

/// The examples, by the path from the workspace.
const EXAMPLES: &[(&str, &str)] = &[
    ("examples/mnist/article.toml", include_str!("../../../../examples/mnist/article.toml")),
    ("examples/mnist/small.toml", include_str!("../../../../examples/mnist/small.toml")),
    ("examples/mnist/quick.toml", include_str!("../../../../examples/mnist/quick.toml")),
    ("tests/studies/tiny.toml", include_str!("../../../../tests/studies/tiny.toml")),
];

/// [`GOOD`] with its one `from` replaced.
fn changed(from: &str, to: &str) -> String {
    assert_eq!(GOOD.matches(from).count(), 1, "`{from}` has to stand in the good study once");
    GOOD.replace(from, to)
}

/// [`GOOD`] with everything from the line `head` up to the next table replaced.
fn with_table(head: &str, table: &str) -> String {
    let start = GOOD.find(head).unwrap();
    let end = GOOD[start + 1..].find("\n[").map_or(GOOD.len(), |next| start + 1 + next + 1);
    format!("{}{table}\n{}", &GOOD[..start], &GOOD[end..])
}
