//! Node lists: `host:port,host:port`, or a file with a line a node.

use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Nodes that one list may name.
const NODES_MAX: usize = 10_000;

/// Where an executor listens: a host (name, IPv4 or bracketed IPv6) and a port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeAddress(String);

/// A node list that cannot be used.
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
    #[error("`{argument}` is neither host:port, as node7:7717 is, nor the path of a file that names nodes")]
    Neither {
        /// What was given.
        argument: String,
    },
    /// An entry is no address.
    #[error("{place}: `{entry}` is not host:port; an executor's address looks like node7:7717 or 10.0.0.7:7717")]
    Address {
        /// The file and line, or `--nodes`.
        place: String,
        /// What stands there.
        entry: String,
    },
    /// An address stands twice: one executor would be dialled twice.
    #[error("{place}: {address} is named twice")]
    Twice {
        /// The file and line, or `--nodes`.
        place: String,
        /// Which address.
        address: NodeAddress,
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

impl FromStr for NodeAddress {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (host, port) = text.rsplit_once(':').ok_or(())?;
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host_fits = match bracketed {
            Some(inner) => inner.parse::<std::net::Ipv6Addr>().is_ok(),
            None => {
                !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
            }
        };
        let port_fits = port.parse::<u16>().is_ok_and(|port| port > 0);
        if host_fits && port_fits { Ok(Self(text.to_owned())) } else { Err(()) }
    }
}

impl fmt::Display for NodeAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Reads what `--nodes` was given: addresses with commas between them, or the path of a file. An argument with a
/// colon is a list; anything else is a file.
///
/// # Errors
/// [`NodesError`], naming the line.
pub fn read_nodes(argument: &OsStr) -> Result<Vec<NodeAddress>, NodesError> {
    let path = Path::new(argument);
    let list = argument.to_str().filter(|list| list.contains(':'));
    if let Some(list) = list.filter(|_| !path.exists()) {
        let entries = list.split(',').map(|entry| ("--nodes".to_owned(), entry.trim()));
        return collect("--nodes", entries);
    }
    let text = fs::read_to_string(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => NodesError::Neither { argument: path.display().to_string() },
        _ => NodesError::File { path: path.to_owned(), source },
    })?;
    let file = path.display().to_string();
    let entries = text.lines().enumerate().filter_map(|(index, line)| {
        let entry = line.split('#').next().unwrap_or_default().trim();
        (!entry.is_empty()).then(|| (format!("{file}:{}", index + 1), entry))
    });
    collect(&file, entries)
}

fn collect<'a>(list: &str, entries: impl Iterator<Item = (String, &'a str)>) -> Result<Vec<NodeAddress>, NodesError> {
    let mut nodes: Vec<NodeAddress> = Vec::new();
    for (place, entry) in entries {
        let Ok(address) = entry.parse() else {
            return Err(NodesError::Address { place, entry: entry.to_owned() });
        };
        if nodes.contains(&address) {
            return Err(NodesError::Twice { place, address });
        }
        if nodes.len() == NODES_MAX {
            return Err(NodesError::TooMany { place: list.to_owned() });
        }
        nodes.push(address);
    }
    if nodes.is_empty() {
        return Err(NodesError::Empty { place: list.to_owned() });
    }
    Ok(nodes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(argument: &str) -> Result<Vec<String>, String> {
        let nodes = read_nodes(argument.as_ref()).map_err(|error| error.to_string())?;
        Ok(nodes.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_list_has_commas_and_a_file_has_lines_and_comments() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("nodes");
        fs::write(&file, "# the rack\nnode1:7717\n\n  [::1]:80 # by address\n").unwrap();
        assert_eq!(shown(&file.to_string_lossy()).unwrap(), ["node1:7717", "[::1]:80"]);
        assert_eq!(shown("node1:7717, 10.0.0.2:7717").unwrap(), ["node1:7717", "10.0.0.2:7717"]);
    }

    #[test]
    fn a_bad_list_names_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("nodes");
        let path = file.to_string_lossy();
        let rows = [
            ("no port", "node1:7717\nnode2\n", format!("{path}:2: `node2` is not host:port")),
            ("port 0", "node1:0", format!("{path}:1: `node1:0` is not host:port")),
            ("a URL", "http://node1:7717", format!("{path}:1: `http://node1:7717` is not host:port")),
            ("twice", "node1:7717\nnode1:7717", format!("{path}:2: node1:7717 is named twice")),
            ("empty", "# nothing\n", format!("{path} names no node")),
        ];
        for (name, text, expected) in rows {
            fs::write(&file, text).unwrap();
            let error = shown(&path).unwrap_err();
            assert!(error.starts_with(&expected), "{name}: {error}");
        }
        assert!(shown("missing-file").unwrap_err().starts_with("`missing-file` is neither host:port"));
    }
}
