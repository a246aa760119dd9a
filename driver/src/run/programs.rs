//! Where executors have found the study's program, as people are told: before anything is placed there, a line a path.

use std::collections::{BTreeMap, BTreeSet};

use crate::results::show::{counted, printable};

/// Paths that are told: executors could make them up.
const PATHS_MAX: usize = 16;
/// Executors that are named with one.
const NAMES_MAX: usize = 4;
/// Characters of a path that are shown.
const CHARACTERS_MAX: usize = 500;

/// The paths that people were told of.
#[derive(Debug, Default)]
pub(super) struct Programs(BTreeSet<String>);

impl Programs {
    /// What to say of executors that are used from now on, each with where it found the program: nothing of a path that was
    /// told before.
    pub(super) fn tell<'a>(&mut self, found: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<String> {
        let mut paths: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (executor, path) in found {
            paths.entry(path).or_default().push(executor);
        }
        let is_one = paths.len() == 1 && self.0.is_empty();
        let room = PATHS_MAX - self.0.len();
        let new: Vec<_> = paths.into_iter().filter(|(path, _)| !self.0.contains(*path)).take(room).collect();
        let line = |(path, executors): (&str, Vec<&str>)| {
            self.0.insert(path.to_owned());
            let place = match &executors[..] {
                [one] => (*one).to_owned(),
                all if is_one => counted(all.len() as u64, "executor"),
                all => listed(all),
            };
            format!("program: {} on {place}", printable(path, CHARACTERS_MAX))
        };
        new.into_iter().map(line).collect()
    }
}

fn listed(executors: &[&str]) -> String {
    let named = executors.iter().take(NAMES_MAX).copied().collect::<Vec<_>>().join(", ");
    let more = executors.len().saturating_sub(NAMES_MAX);
    if more == 0 { named } else { format!("{named} and {more} more") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_told_once_and_different_ones_by_executor() {
        let mut programs = Programs::default();
        let same = ["a", "b", "c"].map(|executor| (executor, "/usr/bin/python"));
        assert_eq!(programs.tell(same), ["program: /usr/bin/python on 3 executors"]);
        assert_eq!(programs.tell([("d", "/usr/bin/python")]), [""; 0]);
        assert_eq!(programs.tell([("e", "/opt/\u{1b}[2Jpython")]), ["program: /opt/\\u{1b}[2Jpython on e"]);
        let mut programs = Programs::default();
        let mixed =
            ["a", "b", "c", "d", "e", "f"].map(|executor| (executor, if executor == "c" { "/x" } else { "/y" }));
        assert_eq!(programs.tell(mixed), ["program: /x on c", "program: /y on a, b, d, e and 1 more"]);
        let made_up: Vec<_> = (0..100).map(|number| format!("/{number}")).collect();
        assert_eq!(programs.tell(made_up.iter().map(|path| ("liar", path.as_str()))).len(), PATHS_MAX - 2);
        assert_eq!(programs.tell([("liar", "/more")]), [""; 0]);
    }
}
