//! `broadsweep import`: a sweep file of W&B's as a study.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use clap::Args;

use super::Failure;
use super::say::{print_bytes, say};
use crate::import::sweep;
use crate::results::show::counted;
use crate::study;
use crate::text_file;

/// Bytes that a sweep file may have.
const SWEEP_BYTES_MAX: u64 = 1 << 20;

#[derive(Args)]
#[command(
    after_help = "What a study cannot say is left out, and told line by line. Nothing is run. Exit codes: 0 done, 1 failed, 2 this is no sweep, or --out is there already"
)]
pub(super) struct ImportArgs {
    /// The sweep file, as `wandb sweep` takes it
    #[arg(value_name = "SWEEP.yaml")]
    sweep: PathBuf,

    /// Write the study to this file, which may not be there yet, instead of to the standard output
    #[arg(long, value_name = "STUDY.toml")]
    out: Option<PathBuf>,
}

pub(super) fn run(args: &ImportArgs) -> Result<ExitCode, Failure> {
    let shown = args.sweep.display();
    let text = text_file::read(&args.sweep, SWEEP_BYTES_MAX)
        .map_err(|error| Failure::wrong_use(anyhow!("cannot read the sweep {shown}: {error}")))?;
    let file = args.sweep.file_name().unwrap_or_default().to_string_lossy();
    let imported =
        sweep(&text, &file).map_err(|error| Failure::wrong_use(anyhow!("{shown}:{}: {error}", error.line)))?;
    // What is left out may have left nothing that can be run: better told now than by `tune`.
    study::parse(&imported.study, "the study that comes of it").map_err(Failure::wrong_use)?;
    match &args.out {
        Some(out) => write_new(out, imported.study.as_bytes())?,
        None => print_bytes(imported.study.as_bytes())?,
    }
    for note in &imported.notes {
        say(format_args!("{shown}:{}: {}", note.line, note.text));
    }
    if let Some(out) = &args.out {
        let notes = counted(imported.notes.len() as u64, "remark");
        say(format_args!("{} is written, with {notes}; next: broadsweep check {0}", out.display()));
    }
    Ok(ExitCode::SUCCESS)
}

fn write_new(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let shown = path.display();
    let mut file = match File::create_new(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(Failure::wrong_use(anyhow!("{shown} is there already; name another file")));
        }
        Err(error) => return Err(Failure::wrong_use(anyhow!("cannot write {shown}: {error}"))),
    };
    file.write_all(bytes).with_context(|| format!("cannot write {shown}")).map_err(Failure::from)
}
