//! The `broadsweep` command.

fn main() {}
