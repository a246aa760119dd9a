//! The slim executor for cluster machines: `broadsweep executor` without the driver.

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use broadsweep_executor::command::{self, ExecutorArgs};
use broadsweep_executor::signals::survive_large_files;
use clap::Parser;
use tracing_subscriber::EnvFilter;

/// Trains for a Broadsweep driver on this machine.
#[derive(Parser)]
#[command(version, name = "broadsweep-executor")]
struct Command {
    #[command(flatten)]
    executor: ExecutorArgs,
}

fn main() -> ExitCode {
    command::supervise_if_asked();
    let command = Command::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let colours = io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(colours).init();
    survive_large_files();
    let (ended, code) = match command.executor.check() {
        Ok(()) => (command::run(&command.executor), ExitCode::FAILURE),
        wrong_use => (wrong_use, ExitCode::from(2)),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            code
        }
    }
}
