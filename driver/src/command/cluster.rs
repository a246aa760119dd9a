//! `broadsweep cluster`: the identities of a driver and its nodes, one file each.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::Context;
use broadsweep_identity::Role;
use broadsweep_identity::folder::{ClusterFolder, DRIVER_NAME, Entry};
use broadsweep_identity::identity::usual_place;
use clap::{Args, Subcommand};

use super::Failure;
use super::say::print;
use crate::cluster::nodes::read_nodes;
use crate::results::calendar::day;
use crate::results::show::counted;

#[derive(Subcommand)]
pub(super) enum ClusterCommand {
    /// Make an authority, and with it the identities of this driver and of all nodes: then only they can speak with each
    /// other
    #[command(
        after_help = "Copy each file to its node, and start the executor there with it:\n  broadsweep executor \
                      --listen 0.0.0.0:7717 --identity node-1.pem\nThe driver's goes where `broadsweep tune` looks for it, \
                      unless one is there; --identity names another."
    )]
    Init(InitArgs),
    /// Make the identity of one more node, or of one more driver
    Add(AddArgs),
    /// Make all identities anew: each lasts for a year
    Renew(FolderArgs),
    /// End the identity of a node or a driver: whoever has a file that was made later does not believe it any more, and
    /// ends the connections that it has with it
    Revoke(RevokeArgs),
    /// List the identities, and until when they last
    Show(FolderArgs),
}

#[derive(Args)]
pub(super) struct InitArgs {
    /// The nodes, as for `broadsweep tune`: a list, or a file with a line a node
    #[arg(long, value_name = "LIST|FILE")]
    nodes: OsString,

    /// Folder for the authority and all identities
    #[arg(long, value_name = "DIR", default_value = "cluster")]
    out: PathBuf,
}

#[derive(Args)]
pub(super) struct AddArgs {
    /// The node's host; for a driver, a name of your own choice
    name: String,

    /// Make it a driver's: nobody else can then go on with its runs, or end them but with --take-over
    #[arg(long)]
    driver: bool,

    #[command(flatten)]
    folder: FolderArgs,
}

#[derive(Args)]
pub(super) struct RevokeArgs {
    /// What it is called in `broadsweep cluster show`
    name: String,

    #[command(flatten)]
    folder: FolderArgs,
}

#[derive(Args)]
pub(super) struct FolderArgs {
    /// The folder of the authority
    #[arg(long = "in", value_name = "DIR", default_value = "cluster")]
    folder: PathBuf,
}

pub(super) fn run(command: &ClusterCommand) -> Result<ExitCode, Failure> {
    let now = SystemTime::now();
    let open = |folder: &FolderArgs| ClusterFolder::open(&folder.folder).map_err(Failure::wrong_use);
    let said = match command {
        ClusterCommand::Init(args) => init(args, now)?,
        ClusterCommand::Add(AddArgs { name, driver, folder }) => {
            let role = if *driver { Role::Driver } else { Role::Executor };
            let file = open(folder)?.add(role, name, now).map_err(Failure::wrong_use)?;
            let file = file.display();
            match role {
                Role::Driver => {
                    format!("{file}: copy it to where {name} starts runs, and name it there with --identity\n")
                }
                Role::Executor => format!("{file}: copy it to {name}\n"),
            }
        }
        ClusterCommand::Renew(folder) => {
            let files = open(folder)?.renew(now)?;
            let listed: Vec<_> = files.iter().map(|file| format!("{}\n", file.display())).collect();
            format!("{}copy them to their nodes: whoever runs takes the new one by itself\n", listed.concat())
        }
        ClusterCommand::Revoke(RevokeArgs { name, folder }) => {
            open(folder)?.revoke(name, now).map_err(Failure::wrong_use)?;
            let folder = folder.folder.display();
            format!("{name} is revoked; copy the files in {folder} again, so that the others know of it\n")
        }
        ClusterCommand::Show(folder) => {
            let folder = open(folder)?;
            folder.entries().map(|entry| line(&folder, entry, now)).collect()
        }
    };
    print(said)?;
    Ok(ExitCode::SUCCESS)
}

fn init(InitArgs { nodes, out }: &InitArgs, now: SystemTime) -> Result<String, Failure> {
    let nodes = read_nodes(nodes).map_err(Failure::wrong_use)?;
    let hosts: Vec<_> = nodes.iter().map(|node| node.host().to_owned()).collect();
    let folder = ClusterFolder::init(out, &hosts, now).map_err(Failure::wrong_use)?;
    let files = folder.entries().filter(|entry| entry.role == Role::Executor);
    let listed: Vec<_> =
        files.map(|entry| format!("{}\n", folder.file_of(entry.role, &entry.name).display())).collect();
    let own = folder.file_of(Role::Driver, DRIVER_NAME);
    let driver = match usual_place(Role::Driver).filter(|place| !place.exists()) {
        Some(place) => {
            put(&own, &place).with_context(|| format!("cannot put the driver's identity to {}", place.display()))?;
            format!("the driver's is where `broadsweep tune` looks for it: {}\n", place.display())
        }
        None => format!("the driver's is {}: name it with --identity\n", own.display()),
    };
    Ok(format!(
        "{}{}, each to be copied to its node, and named there with `broadsweep executor --identity`\n{driver}\
         who has {} can make more of them: keep it to yourself\n",
        listed.concat(),
        counted(listed.len() as u64, "identity file"),
        out.join("authority.pem").display(),
    ))
}

/// Copies a file with the rights that it has.
fn put(from: &Path, to: &Path) -> std::io::Result<()> {
    to.parent().map_or(Ok(()), std::fs::create_dir_all)?;
    std::fs::copy(from, to).map(drop)
}

fn line(folder: &ClusterFolder, entry: &Entry, now: SystemTime) -> String {
    let state = match (entry.is_revoked, entry.until < now) {
        (true, _) => "revoked".to_owned(),
        (false, true) => format!("expired on {}", day(entry.until)),
        (false, false) => format!("until {}", day(entry.until)),
    };
    let file = folder.file_of(entry.role, &entry.name);
    format!("{:8}  {:24}  {state:20}  {}\n", entry.role.word(), entry.name, file.display())
}
