//! What executors say of themselves before anything is placed there, as people are told: a line for each thing that is
//! said, once.

use std::collections::{BTreeMap, BTreeSet};

use crate::results::show::{counted, printable};

/// Things that are told: executors could make them up.
const THINGS_MAX: usize = 16;
/// Executors that are named with one.
const NAMES_MAX: usize = 4;
/// Characters of one that are shown.
const CHARACTERS_MAX: usize = 500;

/// What people were told of one kind.
#[derive(Debug, Default)]
pub(super) struct Told(BTreeSet<String>);

impl Told {
    /// What to say of executors that are used from now on, each with what it says: nothing of what was told before. `words`
    /// makes a line of that and of who says it.
    pub(super) fn tell<'a>(
        &mut self,
        said: impl IntoIterator<Item = (&'a str, &'a str)>,
        words: impl Fn(&str, &str) -> String,
    ) -> Vec<String> {
        let mut things: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (executor, thing) in said {
            things.entry(thing).or_default().push(executor);
        }
        let is_one = things.len() == 1 && self.0.is_empty();
        let room = THINGS_MAX - self.0.len();
        let new: Vec<_> = things.into_iter().filter(|(thing, _)| !self.0.contains(*thing)).take(room).collect();
        let line = |(thing, executors): (&str, Vec<&str>)| {
            self.0.insert(thing.to_owned());
            let place = match &executors[..] {
                [one] => (*one).to_owned(),
                all if is_one => counted(all.len() as u64, "executor"),
                all => listed(all),
            };
            words(&printable(thing, CHARACTERS_MAX), &place)
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

    fn line(thing: &str, place: &str) -> String {
        format!("program: {thing} on {place}")
    }

    #[test]
    fn a_thing_is_told_once_and_different_ones_by_executor() {
        let mut told = Told::default();
        let same = ["a", "b", "c"].map(|executor| (executor, "/usr/bin/python"));
        assert_eq!(told.tell(same, line), ["program: /usr/bin/python on 3 executors"]);
        assert_eq!(told.tell([("d", "/usr/bin/python")], line), [""; 0]);
        assert_eq!(told.tell([("e", "/opt/\u{1b}[2Jpython")], line), ["program: /opt/\\u{1b}[2Jpython on e"]);
        let mut told = Told::default();
        let mixed =
            ["a", "b", "c", "d", "e", "f"].map(|executor| (executor, if executor == "c" { "/x" } else { "/y" }));
        assert_eq!(told.tell(mixed, line), ["program: /x on c", "program: /y on a, b, d, e and 1 more"]);
        let made_up: Vec<_> = (0..100).map(|number| format!("/{number}")).collect();
        assert_eq!(told.tell(made_up.iter().map(|path| ("liar", path.as_str())), line).len(), THINGS_MAX - 2);
        assert_eq!(told.tell([("liar", "/more")], line), [""; 0]);
    }
}
