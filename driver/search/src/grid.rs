//! Every combination of the values of all parameters.

use broadsweep_common::configuration::Configuration;

use super::combinations::Combinations;
use super::decision::Origin;
use super::sampler::{Knowledge, Sampler};
use super::space::{Domain, Space};

/// Takes the parameters in the order of their names, the last one fastest, but each after those that decide whether it is
/// there. Points that break a constraint are counted and skipped. Nothing is kept but where it stands.
#[derive(Clone, Debug)]
pub struct Grid {
    space: Space,
    /// `None` where there are no points.
    combinations: Option<Combinations>,
    /// The point at which they stand.
    at: u64,
    /// The next point that can be picked.
    next: u64,
}

impl Grid {
    /// The grid over `space`. A range without `count` has no points; a checked study has none of them in a grid.
    #[must_use]
    pub fn new(space: &Space) -> Self {
        let is_open = space.values().any(Domain::is_open);
        let combinations = if is_open { None } else { Combinations::new(space) };
        Self { space: space.clone(), combinations, at: 0, next: 0 }
    }
}

impl Sampler for Grid {
    fn next(&mut self, _: Knowledge<'_>) -> Option<(Configuration, Origin)> {
        let combinations = self.combinations.as_mut()?;
        while self.at < self.next {
            combinations.advance();
            self.at += 1;
        }
        loop {
            let configuration = combinations.current()?;
            let number = self.at;
            combinations.advance();
            self.at += 1;
            if self.space.broken_constraint(&configuration).is_none() {
                self.next = self.at;
                return Some((configuration, Origin::Point(number)));
            }
        }
    }

    fn recall(&mut self, _: &Configuration, origin: Origin) {
        if let Origin::Point(number) = origin {
            self.next = number.saturating_add(1);
        }
    }
}
