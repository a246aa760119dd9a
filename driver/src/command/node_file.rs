//! A node file that people edit while the run goes on: nodes that are added join, and what cannot be used is said.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::interval;

use crate::cluster::nodes::{NodeList, NodesError, read_node_file};
use crate::cluster::{Member, Newcomer};

/// How often a node file is looked at.
const POLL: Duration = Duration::from_secs(1);

/// What is known of a node file.
#[derive(Debug)]
pub(super) struct NodeFile {
    path: PathBuf,
    /// What it held when it was last looked at, or why it could not be read.
    seen: Option<Result<String, String>>,
    /// The names of the executors that the run has.
    known: BTreeSet<String>,
    /// What was said of it.
    said: BTreeSet<String>,
}

impl NodeFile {
    /// The file at `path`, of a run that has executors with the `known` names.
    pub(super) fn new(path: PathBuf, known: Vec<String>) -> Self {
        Self { path, seen: None, known: known.into_iter().collect(), said: BTreeSet::new() }
    }

    /// Tells of what is new in it until the run is over.
    pub(super) async fn watch(mut self, told: mpsc::Sender<Newcomer>) {
        let mut looks = interval(POLL);
        loop {
            looks.tick().await;
            let read = read_node_file(&self.path);
            for newcomer in self.look(read) {
                if told.send(newcomer).await.is_err() {
                    return; // the run is over
                }
            }
        }
    }

    /// What is new in what was `read`. It has to read the same twice: half a line of a file that is just being written
    /// may be a node too.
    fn look(&mut self, read: Result<String, NodesError>) -> Vec<Newcomer> {
        let read = read.map_err(|error| error.to_string());
        if self.seen.as_ref() != Some(&read) {
            self.seen = Some(read);
            return Vec::new();
        }
        let list = match read {
            Ok(text) => NodeList::of_file(&self.path.display().to_string(), &text),
            Err(error) => return self.remark(error.clone(), &error).into_iter().collect(),
        };
        let unusable = list.unusable.iter().filter_map(|unusable| {
            let line = unusable.to_string();
            self.remark(unusable.entry(), &line)
        });
        let mut newcomers: Vec<_> = unusable.collect();
        let nodes = list.nodes.iter().map(ToString::to_string);
        let added = nodes.filter(|node| self.known.insert(node.clone()));
        newcomers.extend(added.map(|node| Newcomer::Executor(Member::node(&node))));
        newcomers
    }

    /// A line for people, the first time that something is wrong with `what`.
    fn remark(&mut self, what: String, line: &str) -> Option<Newcomer> {
        self.said.insert(what).then(|| Newcomer::Remark(format!("{line}; going on with the nodes that can be used")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(newcomers: Vec<Newcomer>) -> Vec<String> {
        let name = |newcomer| match newcomer {
            Newcomer::Executor(member) => member.name,
            Newcomer::Remark(line) => line,
        };
        newcomers.into_iter().map(name).collect()
    }

    fn twice(file: &mut NodeFile, text: &str) -> Vec<String> {
        [(); 2].into_iter().flat_map(|()| names(file.look(Ok(text.to_owned())))).collect()
    }

    #[test]
    fn good_lines_join_and_bad_ones_are_named_once_wherever_they_stand() {
        let mut file = NodeFile::new("nodes".into(), vec!["a:7717".to_owned()]);
        assert_eq!(twice(&mut file, "a\n"), Vec::<String>::new());
        let said = twice(&mut file, "a\nhttp://b\nc\na\n");
        assert!(said[0].starts_with("nodes:2: `http://b` is not host:port"), "{said:?}");
        assert!(said[1].starts_with("nodes:4: a:7717 is named twice"), "{said:?}");
        assert_eq!(said[2..], ["c:7717"]);
        assert_eq!(twice(&mut file, "a\n\nhttp://b\nc\nd\na\n"), ["d:7717"]);
    }

    #[test]
    fn half_a_line_is_no_node() {
        let mut file = NodeFile::new("nodes".into(), Vec::new());
        assert!(file.look(Ok("node".to_owned())).is_empty());
        assert!(file.look(Ok("node12:80\n".to_owned())).is_empty());
        assert_eq!(names(file.look(Ok("node12:80\n".to_owned()))), ["node12:80"]);
        assert!(file.look(Ok("node12:80\n".to_owned())).is_empty());
    }

    #[test]
    fn a_file_that_is_gone_is_named_once_and_read_again_when_it_is_back() {
        let mut file = NodeFile::new("nodes".into(), Vec::new());
        let gone = || NodesError::File { path: "nodes".into(), source: std::io::ErrorKind::NotFound.into() };
        let said: Vec<_> = (0..4).flat_map(|_| names(file.look(Err(gone())))).collect();
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].starts_with("cannot read the node file nodes"), "{said:?}");
        assert_eq!(twice(&mut file, "a"), ["a:7717"]);
    }
}
