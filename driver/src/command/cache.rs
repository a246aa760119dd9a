//! `broadsweep cache`: what executors of this machine keep across runs, and the room that it takes.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use broadsweep_executor::command::default_cache_dir;
use broadsweep_store::{CacheFolder, Cleared, Entry};
use clap::{Args, Subcommand};
use comfy_table::{Cell, CellAlignment, LineStyle, Table, TableStyle};
use serde_json::json;

use super::Failure;
use super::say::{print, print_json};
use crate::results::show::{bytes_text, counted, duration_text};

/// Digits of a blob's name in the table: enough to tell any two apart.
const NAME_DIGITS: usize = 12;

#[derive(Subcommand)]
pub(super) enum CacheCommand {
    /// List what the cache has, the last used first
    #[command(
        after_help = "`in use` has a living executor; what is half written is finished when its data is sent again, \
                            or goes first when room is needed."
    )]
    List(ListArgs),
    /// Remove all that nobody uses; also while executors run
    Clear(FolderArgs),
}

#[derive(Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    folder: FolderArgs,

    /// Print one JSON document instead of a table
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(super) struct FolderArgs {
    /// The cache folder of the executors [default: broadsweep in the user's cache folder]
    #[arg(long, value_name = "DIR")]
    cache_dir: Option<PathBuf>,
}

pub(super) fn run(command: &CacheCommand) -> Result<ExitCode, Failure> {
    let (CacheCommand::List(ListArgs { folder, .. }) | CacheCommand::Clear(folder)) = command;
    let folder = folder.cache_dir.clone().map_or_else(default_cache_dir, Ok).map_err(Failure::wrong_use)?;
    let cache = CacheFolder::find(&folder).map_err(Failure::wrong_use)?;
    let shown = folder.display();
    let text = match (command, cache) {
        (CacheCommand::List(ListArgs { json: true, .. }), cache) => {
            let entries = cache.as_ref().map_or_else(|| Ok(Vec::new()), CacheFolder::entries)?;
            let bytes_max = cache.map(|cache| cache.bytes_max());
            let listed = json!({
                "folder": shown.to_string(),
                "bytes": sum(&entries),
                "bytes_max": bytes_max,
                "entries": entries.iter().map(entry_json).collect::<Vec<_>>(),
            });
            print_json(format!("{listed:#}\n"))?;
            return Ok(ExitCode::SUCCESS);
        }
        (_, None) => format!("no executor has kept anything in {shown}\n"),
        (CacheCommand::List(_), Some(cache)) => {
            listed(&cache.entries()?, cache.bytes_max(), &shown.to_string(), SystemTime::now())
        }
        (CacheCommand::Clear(_), Some(cache)) => cleared(&cache.clear()?, &shown.to_string()),
    };
    print(text)?;
    Ok(ExitCode::SUCCESS)
}

fn entry_json(entry: &Entry) -> serde_json::Value {
    json!({
        "blob": entry.blob,
        "bytes": entry.bytes,
        "last_used_unix_s": entry.last_used.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
        "in_use": entry.is_in_use,
        "half_written": entry.is_half_written,
    })
}

/// A table of the entries, and what they take together.
fn listed(entries: &[Entry], bytes_max: u64, folder: &str, now: SystemTime) -> String {
    let mut text = String::new();
    if !entries.is_empty() {
        let mut table = Table::new();
        table.load_style(TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─')));
        table.set_header(["data set", "size", "last used", "state"]);
        for entry in entries {
            let ago = now.duration_since(entry.last_used).unwrap_or_default();
            let name = &entry.blob[..NAME_DIGITS.min(entry.blob.len())];
            table.add_row([
                Cell::new(name),
                Cell::new(bytes_text(entry.bytes)).set_alignment(CellAlignment::Right),
                Cell::new(format!("{} ago", duration_text(ago))).set_alignment(CellAlignment::Right),
                Cell::new(state(entry)),
            ]);
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        for line in table.lines() {
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text.push('\n');
    }
    let (count, bytes) = (data_sets(entries), bytes_text(sum(entries)));
    text + &format!("{count}, {bytes} of at most {}, in {folder}\n", bytes_text(bytes_max))
}

fn state(entry: &Entry) -> &'static str {
    match (entry.is_half_written, entry.is_in_use) {
        (true, true) => "arriving",
        (true, false) => "half written",
        (false, true) => "in use",
        (false, false) => "",
    }
}

/// What went, and what stays and why.
fn cleared(cleared: &Cleared, folder: &str) -> String {
    let gone =
        format!("{} removed from {folder}, {} freed\n", data_sets(&cleared.gone), bytes_text(sum(&cleared.gone)));
    if cleared.kept.is_empty() {
        return gone;
    }
    let (verb, kept) = (if cleared.kept.len() == 1 { "stays" } else { "stay" }, bytes_text(sum(&cleared.kept)));
    gone + &format!("{} {verb}, {kept}: in use by executors that run\n", data_sets(&cleared.kept))
}

fn data_sets(entries: &[Entry]) -> String {
    counted(entries.len() as u64, "data set")
}

fn sum(entries: &[Entry]) -> u64 {
    entries.iter().map(|entry| entry.bytes).sum()
}
