//! Node lists: addresses with commas between them, or a file with a line a node. What other programs write is read too:
//! host files of MPI, and the ranges of Slurm.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;
use std::net::ToSocketAddrs;
use std::path::{Path, PathBuf};

use broadsweep_common::address::{Address, BadAddress};

use super::node_names::{expand, split_at_commas};
use crate::text_file;

/// Nodes that one list may name.
const NODES_MAX: usize = 10_000;
/// Bytes that a node file may have.
const FILE_BYTES_MAX: u64 = 16 << 20;
/// What `--nodes` is called where its entries stand there themselves.
const ARGUMENT: &str = "--nodes";

/// A node list, or an entry of one, that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum NodesError {
    /// The file cannot be read.
    #[error("cannot read the node file {}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is no such file, and it is no address.
    #[error(
        "`{argument}` is neither host:port, as node7:7717 is, nor a host that can be found here, nor the path of a file \
         that names nodes"
    )]
    Neither {
        /// What was given.
        argument: String,
    },
    /// An entry is no address.
    #[error("{place}: {bad}")]
    Address {
        /// The file and line, or `--nodes`.
        place: String,
        /// What stands there.
        bad: BadAddress,
    },
    /// An address stands twice: one executor would be dialled twice.
    #[error("{place}: {address} is named twice")]
    Twice {
        /// The file and line, or `--nodes`.
        place: String,
        /// Which address.
        address: Address,
    },
    /// There is nothing in the list.
    #[error("{place} names no node")]
    Empty {
        /// The file, or `--nodes`.
        place: String,
    },
    /// There is too much in the list.
    #[error("{place} names more than {NODES_MAX} nodes")]
    TooMany {
        /// The file, or `--nodes`.
        place: String,
    },
}

impl NodesError {
    /// What it is about, wherever that stands.
    #[must_use]
    pub fn entry(&self) -> String {
        match self {
            Self::File { .. } | Self::Neither { .. } | Self::Empty { .. } | Self::TooMany { .. } => self.to_string(),
            Self::Address { bad, .. } => bad.to_string(),
            Self::Twice { address, .. } => address.to_string(),
        }
    }
}

/// What stands in a node list.
#[derive(Debug, Default)]
pub struct NodeList {
    /// In their order, each once.
    pub nodes: Vec<Address>,
    /// What cannot be used.
    pub unusable: Vec<NodesError>,
    known: BTreeSet<Address>,
}

/// Reads what `--nodes` was given: a list, or the path of a file. What has a comma, a colon or a bracket is a list unless
/// there is such a file; a bare word may be a host.
///
/// # Errors
/// The first [`NodesError`], naming the line.
pub fn read_nodes(argument: &OsStr) -> Result<Vec<Address>, NodesError> {
    let (path, shown) = (Path::new(argument), argument.display().to_string());
    let is_file = path.exists();
    let list = match argument.to_str() {
        _ if is_file => NodeList::of_file(&shown, &read_node_file(path)?),
        Some(list) if list.contains([':', ',', '[']) || is_host(list) => NodeList::of_argument(list),
        _ => return Err(NodesError::Neither { argument: shown }),
    };
    if let Some(unusable) = list.unusable.into_iter().next() {
        return Err(unusable);
    }
    if list.nodes.is_empty() {
        return Err(NodesError::Empty { place: if is_file { shown } else { ARGUMENT.to_owned() } });
    }
    Ok(list.nodes)
}

/// The text of a node file.
///
/// # Errors
/// [`NodesError::File`].
pub fn read_node_file(path: &Path) -> Result<String, NodesError> {
    let read = text_file::read(path, FILE_BYTES_MAX);
    read.map_err(|source| NodesError::File { path: path.to_owned(), source })
}

/// Whether a word is a host, and not the misspelt name of a file.
fn is_host(word: &str) -> bool {
    word.parse::<Address>().is_ok_and(|address| (address.host(), address.port()).to_socket_addrs().is_ok())
}

impl NodeList {
    /// What stands in the file that is called `path`: a line a node, or several with commas between them. `#` begins a
    /// comment, and so does a tab behind an entry.
    #[must_use]
    pub fn of_file(path: &str, text: &str) -> Self {
        let mut list = Self::default();
        for (index, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            let (entries, remark) = line.split_once('\t').unwrap_or((line, ""));
            let place = format!("{path}:{}", index + 1);
            // A node that stands behind a tab must not be lost for a comment.
            let is_lost = |word: &&str| word.contains(':') && word.parse::<Address>().is_ok();
            match remark.split_whitespace().find(is_lost) {
                Some(_) => list.refuse(place, line),
                None if !entries.is_empty() => list.take(path, &place, entries),
                None => {}
            }
        }
        list
    }

    fn of_argument(argument: &str) -> Self {
        let mut list = Self::default();
        list.take(ARGUMENT, ARGUMENT, argument);
        list
    }

    /// Takes in entries with commas between them.
    fn take(&mut self, list: &str, place: &str, entries: &str) {
        for entry in split_at_commas(entries) {
            if self.nodes.len() + self.unusable.len() >= NODES_MAX {
                self.unusable.push(NodesError::TooMany { place: list.to_owned() });
                return;
            }
            let mut words = entry.split_whitespace();
            let name = words.next().unwrap_or_default();
            let names = if words.all(is_slot_count) { expand(name, NODES_MAX) } else { None };
            let nodes = names.and_then(|names| names.iter().map(|name| node(name)).collect::<Option<Vec<_>>>());
            let Some(nodes) = nodes else {
                self.refuse(place.to_owned(), entry.trim());
                continue;
            };
            for address in nodes {
                self.add(list, place, address);
            }
        }
    }

    fn add(&mut self, list: &str, place: &str, address: Address) {
        if !self.known.insert(address.clone()) {
            self.unusable.push(NodesError::Twice { place: place.to_owned(), address });
        } else if self.nodes.len() == NODES_MAX {
            self.unusable.push(NodesError::TooMany { place: list.to_owned() });
        } else {
            self.nodes.push(address);
        }
    }

    fn refuse(&mut self, place: String, entry: &str) {
        self.unusable.push(NodesError::Address { place, bad: BadAddress(entry.to_owned()) });
    }
}

/// An address that can be dialled.
fn node(name: &str) -> Option<Address> {
    name.parse().ok().filter(|address: &Address| address.port() > 0)
}

/// How many processes MPI may start there: executors know their slots themselves.
fn is_slot_count(word: &str) -> bool {
    let count = ["slots=", "max_slots=", "max-slots="].iter().find_map(|name| word.strip_prefix(name));
    count.is_some_and(|count| count.parse::<u32>().is_ok())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn shown(argument: &str) -> Result<Vec<String>, String> {
        let nodes = read_nodes(argument.as_ref()).map_err(|error| error.to_string())?;
        Ok(nodes.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_list_has_commas_and_a_file_has_lines_and_comments() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("nodes");
        let rows: [(&str, &[u8], &[&str]); 11] = [
            ("comments", b"# the rack\nnode1:80\n\n  [::1]:80 # by address\n", &["node1:80", "[::1]:80"]),
            ("no port", b"node1\n10.0.0.2\n", &["node1:7717", "10.0.0.2:7717"]),
            ("a mark in front", b"\xef\xbb\xbfnode1:80\r\n", &["node1:80"]),
            ("no end of the line", b"node1:80", &["node1:80"]),
            ("a tab", b"node1:80\tgpu 3\n\tnode2:80\n", &["node1:80", "node2:80"]),
            ("MPI", b"node1 slots=2\nnode2:80 slots=2 max_slots=4\n", &["node1:7717", "node2:80"]),
            ("a port, no slots", b"node1:2\n", &["node1:2"]),
            ("commas", b"node1:80,node2:80\n", &["node1:80", "node2:80"]),
            (
                "Slurm",
                b"node[08-10,12],login\n",
                &["node08:7717", "node09:7717", "node10:7717", "node12:7717", "login:7717"],
            ),
            ("a range with a port", b"rack[1-2]n[1,3]:80", &["rack1n1:80", "rack1n3:80", "rack2n1:80", "rack2n3:80"]),
            ("an empty line with a mark", b"\xef\xbb\xbf\nnode1", &["node1:7717"]),
        ];
        for (name, text, expected) in rows {
            fs::write(&file, text).unwrap();
            assert_eq!(shown(&file.to_string_lossy()).unwrap(), expected, "{name}");
        }
        assert_eq!(shown("node1, 10.0.0.2:80").unwrap(), ["node1:7717", "10.0.0.2:80"]);
        assert_eq!(shown("node[1-2]").unwrap(), ["node1:7717", "node2:7717"]);
        assert_eq!(shown("localhost").unwrap(), ["localhost:7717"]);
        assert_eq!(shown("[::1]").unwrap(), ["[::1]:7717"]);
    }

    #[test]
    fn a_bad_list_names_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("nodes");
        let path = file.to_string_lossy();
        let rows: [(&str, &[u8], String); 11] = [
            ("no host", b"node1:7717\n:7717\n", format!("{path}:2: `:7717` is not host:port")),
            ("port 0", b"node1:0", format!("{path}:1: `node1:0` is not host:port")),
            ("a URL", b"http://node1:7717", format!("{path}:1: `http://node1:7717` is not host:port")),
            ("twice", b"node1:7717\nnode1", format!("{path}:2: node1:7717 is named twice")),
            ("twice in a range", b"node[1,1]", format!("{path}:1: node1:7717 is named twice")),
            ("two in a line", b"node1 node2", format!("{path}:1: `node1 node2` is not host:port")),
            ("two and a tab", b"node1:80\tnode2:80", format!("{path}:1: `node1:80\tnode2:80` is not host:port")),
            ("a range of too many", b"node[1-20000]", format!("{path}:1: `node[1-20000]` is not host:port")),
            ("too many", b"node[1-9999]\na,b", format!("{path} names more than 10000 nodes")),
            ("empty", b"# nothing\n", format!("{path} names no node")),
            ("UTF-16", b"\xff\xfen\0", format!("cannot read the node file {path}: it is UTF-16 text")),
        ];
        for (name, text, expected) in rows {
            fs::write(&file, text).unwrap();
            let error = shown(&path).unwrap_err();
            assert!(error.starts_with(&expected), "{name}: {error}");
        }
        assert!(shown("missing/file").unwrap_err().starts_with("`missing/file` is neither host:port"));
    }

    #[test]
    fn entries_that_cannot_be_used_count_too_and_each_says_what_it_is_about() {
        let list = NodeList::of_argument(&format!("{}node1", ":80,".repeat(NODES_MAX)));
        assert!(list.nodes.is_empty());
        let told: Vec<_> = list.unusable[NODES_MAX - 1..].iter().map(NodesError::entry).collect();
        assert_eq!(told.len(), 2);
        assert!(told[0].starts_with("`:80` is not host:port"), "{told:?}");
        assert_eq!(told[1], "--nodes names more than 10000 nodes");
        let twice = NodeList::of_argument("node1,node1");
        assert_eq!(twice.unusable[0].entry(), "node1:7717");
    }

    #[test]
    fn what_can_be_used_does_not_depend_on_what_cannot() {
        let list = NodeList::of_file("nodes", "node1\nhttp://node2\nnode3\nnode1:7717\n");
        let nodes: Vec<_> = list.nodes.iter().map(ToString::to_string).collect();
        let unusable: Vec<_> = list.unusable.iter().map(ToString::to_string).collect();
        assert_eq!(nodes, ["node1:7717", "node3:7717"]);
        assert!(unusable[0].starts_with("nodes:2: `http://node2` is not host:port"), "{unusable:?}");
        assert_eq!(unusable[1..], ["nodes:4: node1:7717 is named twice"]);
    }
}
