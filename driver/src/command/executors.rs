//! The executors of a run: nodes that are named, or local ones with a cache folder.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, bail};
use broadsweep_common::address::Address;
use broadsweep_common::size::ByteSize;
use broadsweep_executor::command::{MAX_S, ORPHAN_TIMEOUT_S, default_cache_dir};
use broadsweep_executor::machine::cores;
use broadsweep_proto::proof::Proof;
use broadsweep_proto::secret::Secret;
use clap::Args;
use tokio::sync::mpsc;

use super::node_file::NodeFile;
use super::say::say;
use crate::cluster::local::{LocalExecutors, LocalShape, is_local};
use crate::cluster::nodes::read_nodes;
use crate::cluster::roster::{Crew, Introduction, LocalCrew, NodeCrew, Roster};
use crate::cluster::{Member, Newcomer};
use crate::results::folder::{make_folder, remove_empty};
use broadsweep_data::destination::Destination;

/// Seconds that nodes get to answer, unless one says otherwise.
pub(super) const CONNECT_TIMEOUT_S: u64 = 10;

/// The flags that say which executors a run uses.
#[derive(Args)]
pub(super) struct ExecutorFlags {
    /// Use this machine: E executors that share its cores, or `ExS` for E executors of S slots each
    #[arg(long, value_name = "E|ExS", default_value = "1", conflicts_with = "nodes")]
    local: LocalShape,

    /// Use executors that run elsewhere: host,host:port,node[01-04] or a file with a line a node; a node that is added to
    /// the file joins the run. The port is 7717 where none is named
    #[arg(long, value_name = "LIST|FILE")]
    nodes: Option<OsString>,

    #[command(flatten)]
    pub(super) identity: IdentityFlags,

    /// Seconds to wait for nodes to answer; those that answer later join the run
    #[arg(long, value_name = "SECONDS", default_value_t = CONNECT_TIMEOUT_S, value_parser = clap::value_parser!(u64).range(1..=86_400))]
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

    /// What that folder may have, as 20GB or 512MiB: what was not used for longest goes first, what is in use stays
    /// [default: half of what is free on its disk, and 64GiB at most]
    #[arg(long, value_name = "SIZE", conflicts_with = "nodes")]
    cache_bytes: Option<ByteSize>,

    /// Use a fresh cache folder for local executors, so that the data is broadcast anew
    #[arg(long, conflicts_with_all = ["nodes", "cache_dir"])]
    cold: bool,

    /// Seconds that local executors outlive this driver if it is killed, for `broadsweep resume` to find them at work
    #[arg(long, value_name = "SECONDS", conflicts_with = "nodes", default_value_t = ORPHAN_TIMEOUT_S, value_parser = clap::value_parser!(u64).range(1..=MAX_S))]
    orphan_timeout: u64,
}

/// The flags that say who a driver is to its nodes.
#[derive(Args)]
pub(super) struct IdentityFlags {
    /// Who this driver is to its nodes: the file that `broadsweep cluster init` made for it [default: driver.pem in the
    /// user's folder of settings, if it is there]
    #[arg(long, value_name = "FILE", conflicts_with = "local")]
    identity: Option<PathBuf>,

    /// Dial nodes without an identity, and without encryption
    #[arg(long, conflicts_with_all = ["identity", "local"])]
    insecure: bool,
}

impl IdentityFlags {
    /// How nodes are to be dialled, if the flags say so.
    pub(super) fn introduction(&self) -> Option<Introduction> {
        match &self.identity {
            // A later driver may start in another folder.
            Some(path) => Some(Introduction::File(std::path::absolute(path).unwrap_or_else(|_| path.clone()))),
            None => self.insecure.then_some(Introduction::Insecure),
        }
    }
}

/// Which executors a run uses: chosen and checked before anything of the run is made.
pub(super) enum Choice {
    /// Executors that run elsewhere.
    Nodes {
        /// What was asked for.
        crew: NodeCrew,
        /// What that names now.
        nodes: Vec<Address>,
        /// What they are shown.
        proof: Proof,
    },
    /// Executors that this machine lends.
    Local {
        /// How many, with how many slots.
        shape: LocalShape,
        /// The rest of what there is to know.
        crew: LocalCrew,
        /// What was made for them, until they are started.
        made: MadeFolders,
    },
}

/// Folders that were made for a run that may not begin: with this, those go that are still empty.
#[derive(Default)]
pub(super) struct MadeFolders(Vec<PathBuf>);

impl Drop for MadeFolders {
    fn drop(&mut self) {
        remove_empty(&self.0);
    }
}

/// What is to change of the local executors of a run that is resumed.
pub(super) struct LocalChanges {
    pub(super) shape: Option<LocalShape>,
    pub(super) cache_dir: Option<PathBuf>,
    pub(super) cache_bytes: Option<ByteSize>,
}

impl LocalChanges {
    fn of_cache(&self) -> bool {
        self.cache_dir.is_some() || self.cache_bytes.is_some()
    }
}

/// Whether an executor of the one can be adopted as one of the other.
fn are_alike(one: &LocalCrew, other: &LocalCrew) -> bool {
    (&one.shape, &one.cache) == (&other.shape, &other.cache)
}

/// Executors that were started or named; local ones end when this is dropped.
pub(super) struct Executors {
    /// Those that are there from the start.
    pub(super) members: Vec<Member>,
    /// Those that join later.
    pub(super) newcomers: mpsc::Receiver<Newcomer>,
    /// What ends with the run.
    pub(super) local: Local,
}

/// Local executors and their cache folder, if there are any.
pub(super) struct Local {
    _executors: Option<(LocalExecutors, Cache)>,
    /// Nobody else may join: the channel of newcomers stays open.
    _told: mpsc::Sender<Newcomer>,
}

/// The cache folder of local executors.
struct Cache {
    path: PathBuf,
    /// A fresh one goes when the run ends.
    cold: bool,
}

impl Choice {
    /// What the flags ask for.
    pub(super) fn of(flags: &ExecutorFlags) -> anyhow::Result<Self> {
        let choice = match &flags.nodes {
            Some(nodes) => Self::nodes(nodes, flags.identity.introduction().unwrap_or_default())?,
            None => Self::Local {
                shape: flags.local,
                crew: LocalCrew {
                    shape: flags.local.to_string(),
                    cache: if flags.cold { cold_cache() } else { cache_folder(flags.cache_dir.as_deref())? },
                    cache_bytes: flags.cache_bytes.map(|size| size.0),
                    cold: flags.cold,
                    orphan_timeout_s: flags.orphan_timeout,
                    secret: Secret::draw()?,
                    children: vec![None; flags.local.executors as usize],
                },
                made: MadeFolders::default(),
            },
        };
        choice.check(flags.nodes_min, &[])?;
        Ok(choice)
    }

    /// Where the data set is put: where local executors find it, unless each run is to begin without it.
    pub(super) fn destination(&self) -> Destination {
        match self {
            Self::Nodes { .. } => user_cache(),
            Self::Local { crew: LocalCrew { cold: true, .. }, .. } => Destination::Temporary,
            Self::Local { crew: LocalCrew { cache, cache_bytes, .. }, .. } => {
                Destination::LocalCache { folder: cache.clone(), bytes_max: *cache_bytes, rehash: false }
            }
        }
    }

    /// How they and this driver know each other.
    pub(super) fn proof(&self) -> Proof {
        match self {
            Self::Nodes { proof, .. } => proof.clone(),
            Self::Local { crew, .. } => Proof::Secret(crew.secret.clone()),
        }
    }

    /// What an earlier driver of the run used, but for what is to change.
    pub(super) fn again(
        crew: Crew,
        changes: &LocalChanges,
        introduction: Option<Introduction>,
    ) -> anyhow::Result<Self> {
        let known = match crew {
            Crew::Nodes(_) if changes.shape.is_none() && changes.of_cache() => bail!(
                "--cache-dir and --cache-bytes are for local executors, and this run has nodes; add --local to go on \
                 with this machine instead"
            ),
            Crew::Nodes(crew) if changes.shape.is_none() => {
                return Self::nodes(&crew.argument, introduction.unwrap_or(crew.introduction));
            }
            Crew::Nodes(_) => None,
            Crew::Local(crew) => Some(crew),
        };
        let known_shape = known.as_ref().map(|crew| crew.shape.parse()).transpose().map_err(anyhow::Error::msg)?;
        let shape: LocalShape = changes.shape.or(known_shape).context("the run has no executors")?;
        let cache = match (&changes.cache_dir, &known) {
            (None, Some(crew)) => crew.cache.clone(),
            (cache_dir, _) => cache_folder(cache_dir.as_deref())?,
        };
        let crew = LocalCrew {
            shape: shape.to_string(),
            cold: changes.cache_dir.is_none() && known.as_ref().is_some_and(|crew| crew.cold),
            cache,
            cache_bytes: changes.cache_bytes.map(|size| size.0).or(known.as_ref().and_then(|crew| crew.cache_bytes)),
            orphan_timeout_s: known.as_ref().map_or(ORPHAN_TIMEOUT_S, |crew| crew.orphan_timeout_s),
            secret: known.as_ref().map_or_else(Secret::draw, |crew| Ok(crew.secret.clone()))?,
            children: vec![None; shape.executors as usize],
        };
        let children = known.filter(|known| are_alike(known, &crew)).map(|known| known.children);
        let crew = LocalCrew { children: children.unwrap_or(crew.children.clone()), ..crew };
        Ok(Self::Local { shape, crew, made: MadeFolders::default() })
    }

    /// Ends the local executors of an earlier driver that this one does not adopt. They would train on for nobody.
    pub(super) fn end_others(&self, roster: &Roster) {
        let Crew::Local(known) = roster.crew() else { return };
        if !matches!(self, Self::Local { crew, .. } if are_alike(&known, crew)) {
            roster.kill_children();
            drop_cold_cache(&Crew::Local(known));
        }
    }

    /// Executors that run elsewhere.
    pub(super) fn nodes(argument: &OsStr, introduction: Introduction) -> anyhow::Result<Self> {
        let nodes = read_nodes(argument)?;
        let proof = introduction.proof().map_err(anyhow::Error::msg)?;
        // Resumed from another folder, the file has to be found all the same.
        let argument = fs::canonicalize(argument).map_or_else(|_| argument.to_owned(), PathBuf::into_os_string);
        Ok(Self::Nodes { crew: NodeCrew { argument, introduction }, nodes, proof })
    }

    /// Whether there can be as many as are needed, with the executors that the run knows: its nodes are dialled too.
    pub(super) fn check(&self, nodes_min: u32, known: &[String]) -> anyhow::Result<()> {
        let count = match self {
            Self::Nodes { nodes, .. } => node_names(known, nodes).len(),
            Self::Local { shape, .. } => shape.executors as usize,
        };
        if nodes_min as usize > count {
            bail!("--nodes-min {nodes_min} of {count} nodes: there are too few");
        }
        Ok(())
    }

    /// What the run folder says of it.
    pub(super) fn crew(&self) -> Crew {
        match self {
            Self::Nodes { crew, .. } => Crew::Nodes(crew.clone()),
            Self::Local { crew, .. } => Crew::Local(crew.clone()),
        }
    }

    /// Makes what local executors share. Neither an error here nor one before they are started leaves anything behind.
    pub(super) fn prepare(&mut self) -> anyhow::Result<()> {
        if let Self::Local { crew, made, .. } = self {
            made.0 = make_folder(&crew.cache).with_context(|| {
                let cache = crew.cache.display();
                format!("cannot make the cache folder {cache}; name another one with --cache-dir")
            })?;
        }
        Ok(())
    }

    /// Starts local executors, or finds those of an earlier driver, with their logs in the run's `folder`; nodes are
    /// only named. Those that the run knows come first, in its order, also if they do not take part any more.
    pub(super) fn start(self, folder: &Path, roster: &Roster, known: &[String]) -> anyhow::Result<Executors> {
        let (told, newcomers) = mpsc::channel(16);
        match self {
            Self::Nodes { crew: NodeCrew { argument, .. }, nodes, .. } => {
                let names = node_names(known, &nodes);
                let members = names.iter().map(|name| Member::node(name)).collect();
                let members = in_known_order(known, members);
                if Path::new(&argument).is_file() {
                    tokio::spawn(NodeFile::new(argument.into(), names).watch(told.clone()));
                }
                Ok(Executors { members, newcomers, local: Local { _executors: None, _told: told } })
            }
            Self::Local { shape, crew, mut made } => {
                let logs = folder.join("logs");
                fs::create_dir_all(&logs).with_context(|| format!("cannot make {}", logs.display()))?;
                let (slots, cores) = (shape.slots(cores()), cores());
                if slots > cores {
                    let warning = "warning: more slots than cores, so trials will wait for each other";
                    say(format_args!("{warning} ({slots} slots, {cores} cores)"));
                }
                let cache = Cache { path: crew.cache.clone(), cold: crew.cold };
                let (local, members) = LocalExecutors::start(shape, &crew, &logs, roster)?;
                made.0.clear(); // from now on they are in use
                let local = Local { _executors: Some((local, cache)), _told: told };
                Ok(Executors { members: in_known_order(known, members), newcomers, local })
            }
        }
    }
}

/// The nodes that a run dials: those that it knows, then those among `nodes` that are new to it.
fn node_names(known: &[String], nodes: &[Address]) -> Vec<String> {
    let is_node = |name: &&String| !is_local(name);
    let mut names: Vec<_> = known.iter().filter(is_node).cloned().collect();
    names.extend(nodes.iter().map(ToString::to_string).filter(|node| !known.contains(node)));
    names
}

/// The journal counts executors in the order in which it met them: those come first, and each keeps its number. One that
/// takes no part any more is nowhere.
fn in_known_order(known: &[String], mut members: Vec<Member>) -> Vec<Member> {
    let mut ordered = Vec::new();
    for name in known {
        let place = members.iter().position(|member| member.name == *name);
        ordered.push(place.map_or_else(|| Member::former(name), |place| members.remove(place)));
    }
    ordered.append(&mut members);
    ordered
}

/// Where local executors keep data sets, from the root: a run may be resumed from another folder.
pub(super) fn cache_folder(cache_dir: Option<&Path>) -> anyhow::Result<PathBuf> {
    let Some(folder) = cache_dir else { return default_cache_dir() };
    std::path::absolute(folder).with_context(|| format!("cannot tell where {} is", folder.display()))
}

/// The cache folder of this user, for a driver without executors here.
pub(super) fn user_cache() -> Destination {
    default_cache_dir().map_or(Destination::Temporary, |folder| Destination::UserCache { folder, rehash: false })
}

/// How the names of cache folders begin that belong to one run.
const COLD: &str = "broadsweep-cold-";

/// Removes the cache folder that was a run's own, whose driver was killed before it could.
pub(super) fn drop_cold_cache(crew: &Crew) {
    let Crew::Local(LocalCrew { cold: true, cache, .. }) = crew else { return };
    let is_ours = cache.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(COLD.as_bytes()));
    if is_ours && cache.exists() {
        drop(Cache { path: cache.clone(), cold: true });
    }
}

/// A cache folder that nobody has used.
pub(super) fn cold_cache() -> PathBuf {
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let name = format!("{COLD}{}-{}", std::process::id(), since_1970.as_millis());
    std::env::temp_dir().join(name)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn local(cache: PathBuf) -> Choice {
        let shape: LocalShape = "1".parse().unwrap();
        let (cold, cache_bytes) = (true, None);
        let crew = LocalCrew {
            shape: shape.to_string(),
            cache,
            cache_bytes,
            cold,
            orphan_timeout_s: 1,
            secret: Secret::draw().unwrap(),
            children: vec![None],
        };
        Choice::Local { shape, crew, made: MadeFolders::default() }
    }

    #[test]
    fn a_run_that_does_not_begin_leaves_no_cache_folder_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let (outer, cache) = (folder.path().join("outer"), folder.path().join("outer/cold"));
        let mut choice = local(cache.clone());
        choice.prepare().unwrap();
        assert!(cache.is_dir());
        drop(choice);
        assert!(!outer.exists(), "neither it nor what was made above it");
        fs::create_dir(&outer).unwrap();
        let mut choice = local(cache.clone());
        choice.prepare().unwrap();
        drop(choice);
        assert!(outer.is_dir() && !cache.exists(), "what was there stays");
        fs::create_dir(&cache).unwrap();
        let mut choice = local(cache.clone());
        choice.prepare().unwrap();
        drop(choice);
        assert!(cache.is_dir(), "it is an earlier driver's");
        let mut choice = local(outer.join("used"));
        choice.prepare().unwrap();
        fs::write(outer.join("used/block"), b"data").unwrap();
        drop(choice);
        assert!(outer.join("used/block").is_file(), "somebody uses it");
    }

    #[test]
    fn as_many_nodes_can_be_needed_as_are_named_or_known() {
        let choice = Choice::nodes("c:1,b:1".as_ref(), Introduction::Insecure).unwrap();
        let known = ["a:1", "local 0", "b:1"].map(str::to_owned);
        assert!(choice.check(2, &[]).is_ok() && choice.check(3, &[]).is_err());
        assert!(choice.check(3, &known).is_ok());
        let error = choice.check(4, &known).unwrap_err().to_string();
        assert_eq!(error, "--nodes-min 4 of 3 nodes: there are too few");
        assert!(local(PathBuf::new()).check(2, &known).is_err(), "local ones are all that there are");
    }
}
