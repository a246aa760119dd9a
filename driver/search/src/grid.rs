//! Every combination of the values of all parameters.

use std::sync::Arc;

use broadsweep_common::configuration::{Configuration, Value};

use super::decision::Origin;
use super::sampler::{Knowledge, Sampler};
use super::space::Space;

/// Takes the parameters in the order of their names, the last one fastest. Nothing is kept but where it stands.
#[derive(Clone, Debug)]
pub struct Grid {
    parameters: Vec<(Arc<str>, Vec<Value>)>,
    /// The next point.
    next: u64,
    points: u64,
}

impl Grid {
    /// The grid over `space`. A range without `count` has no points; a checked study has none of them in a grid.
    #[must_use]
    pub fn new(space: &Space) -> Self {
        let points_of =
            |name: &String, domain: &super::Domain| (name.as_str().into(), domain.points().unwrap_or_default());
        let parameters: Vec<_> = space.iter().map(|(name, domain)| points_of(name, domain)).collect();
        let points = parameters.iter().map(|(_, points)| points.len() as u64).fold(1, u64::saturating_mul);
        Self { parameters, next: 0, points }
    }

    fn point(&self, number: u64) -> Configuration {
        let mut rest = number;
        let values = self.parameters.iter().rev().map(|(name, points)| {
            let count = points.len() as u64;
            let value = points[(rest % count) as usize].clone();
            rest /= count;
            (Arc::clone(name), value)
        });
        values.collect()
    }
}

impl Sampler for Grid {
    fn next(&mut self, _: Knowledge<'_>) -> Option<(Configuration, Origin)> {
        let number = self.next;
        (number < self.points).then(|| {
            self.next += 1;
            (self.point(number), Origin::Point(number))
        })
    }

    fn recall(&mut self, _: &Configuration, origin: Origin) {
        if let Origin::Point(number) = origin {
            self.next = number.saturating_add(1);
        }
    }
}
