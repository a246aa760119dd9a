//! The `broadsweep` command, built beside the tests that start it.

use std::process::ExitCode;

fn main() -> ExitCode {
    broadsweep_driver::command::main()
}
