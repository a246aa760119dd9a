//! The executors of a run: nodes that are named, or local ones with a cache folder.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, bail};
use broadsweep_executor::command::{cores, default_cache_dir};
use clap::Args;
use tokio::sync::watch;

use crate::cluster::Member;
use crate::cluster::local::{LocalExecutors, LocalShape};
use crate::cluster::nodes::{NodeAddress, read_nodes};

/// The flags that say which executors a run uses.
#[derive(Args)]
pub(super) struct ExecutorFlags {
    /// Use this machine: E executors that share its cores, or `ExS` for E executors of S slots each
    #[arg(long, value_name = "E|ExS", default_value = "1", conflicts_with = "nodes")]
    local: LocalShape,

    /// Use executors that run elsewhere: host:port,host:port or a file with a line a node
    #[arg(long, value_name = "LIST|FILE")]
    nodes: Option<String>,

    /// Seconds to wait for nodes to answer; those that answer later join the run
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(super) connect_timeout: u64,

    /// Nodes that have to be ready before anything is trained
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) nodes_min: u32,

    /// Take nodes over that another run holds, and end its hold
    #[arg(long, requires = "nodes")]
    pub(super) take_over: bool,

    /// Folder in which local executors keep data sets across runs [default: broadsweep in the user's cache folder]
    #[arg(long, value_name = "DIR", conflicts_with = "nodes")]
    cache_dir: Option<PathBuf>,

    /// Use a fresh cache folder for local executors, so that the data is broadcast anew
    #[arg(long, conflicts_with_all = ["nodes", "cache_dir"])]
    cold: bool,
}

/// Which executors a run uses: chosen and checked before anything of the run is made.
pub(super) enum Choice {
    /// Executors that run elsewhere.
    Nodes(Vec<NodeAddress>),
    /// Executors that this machine lends.
    Local {
        /// How many, with how many slots.
        shape: LocalShape,
        /// Where they keep data sets.
        cache: Cache,
    },
}

/// Executors that were started or named; local ones end when this is dropped.
pub(super) struct Executors {
    pub(super) members: Vec<Member>,
    _local: Option<(LocalExecutors, Cache)>,
    /// Nodes never move: their addresses stay said.
    _nodes: Vec<watch::Sender<Option<String>>>,
}

/// The cache folder of local executors.
pub(super) struct Cache {
    path: PathBuf,
    /// A fresh one goes when the run ends.
    cold: bool,
}

impl Choice {
    /// What the flags ask for.
    pub(super) fn of(flags: &ExecutorFlags) -> anyhow::Result<Self> {
        let choice = match &flags.nodes {
            Some(nodes) => Self::Nodes(read_nodes(nodes)?),
            None => Self::Local { shape: flags.local, cache: Cache::of(flags)? },
        };
        if flags.nodes_min as usize > choice.count() {
            bail!("--nodes-min {} of {} nodes: there are too few", flags.nodes_min, choice.count());
        }
        Ok(choice)
    }

    fn count(&self) -> usize {
        match self {
            Self::Nodes(nodes) => nodes.len(),
            Self::Local { shape, .. } => shape.executors as usize,
        }
    }

    /// Makes what local executors share. An error here leaves nothing else behind.
    pub(super) fn prepare(&self) -> anyhow::Result<()> {
        match self {
            Self::Nodes(_) => Ok(()),
            Self::Local { cache, .. } => cache.make(),
        }
    }

    /// Starts local executors, with their logs in the run's `folder`; nodes are only named.
    pub(super) fn start(self, folder: &Path) -> anyhow::Result<Executors> {
        match self {
            Self::Nodes(nodes) => {
                let members = nodes.iter().map(|node| {
                    let (sender, whereabouts) = watch::channel(Some(node.to_string()));
                    (sender, Member { name: node.to_string(), whereabouts })
                });
                let (senders, members) = members.unzip();
                Ok(Executors { members, _local: None, _nodes: senders })
            }
            Self::Local { shape, cache } => {
                let logs = folder.join("logs");
                fs::create_dir_all(&logs).with_context(|| format!("cannot make {}", logs.display()))?;
                let (slots, cores) = (shape.slots(cores()), cores());
                if slots > cores {
                    let warning = "warning: more slots than cores, so trials will wait for each other";
                    writeln!(io::stderr(), "{warning} ({slots} slots, {cores} cores)")?;
                }
                let (local, members) = LocalExecutors::start(shape, &cache.path, &logs)?;
                Ok(Executors { members, _local: Some((local, cache)), _nodes: Vec::new() })
            }
        }
    }
}

impl Cache {
    fn of(flags: &ExecutorFlags) -> anyhow::Result<Self> {
        let path = if flags.cold {
            let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            let name = format!("broadsweep-cold-{}-{}", std::process::id(), since_1970.as_millis());
            std::env::temp_dir().join(name)
        } else {
            flags.cache_dir.clone().map_or_else(default_cache_dir, Ok)?
        };
        Ok(Self { path, cold: flags.cold })
    }

    fn make(&self) -> anyhow::Result<()> {
        let made = if self.cold { fs::create_dir(&self.path) } else { fs::create_dir_all(&self.path) };
        made.with_context(|| {
            format!("cannot make the cache folder {}; name another one with --cache-dir", self.path.display())
        })
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        if self.cold
            && self.path.exists()
            && let Err(error) = fs::remove_dir_all(&self.path)
        {
            tracing::warn!(cache = %self.path.display(), %error, "the fresh cache folder could not be removed");
        }
    }
}
