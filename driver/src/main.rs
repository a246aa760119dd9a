//! The `broadsweep` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    broadsweep_driver::command::main()
}
