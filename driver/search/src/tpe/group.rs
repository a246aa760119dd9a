//! Parameters that are there together: those with the same conditions. Without conditions, all of them.
//!
//! Optuna's `group` finds them in the trials, since its spaces are written as programs; here the study says them.

use broadsweep_common::configuration::Configuration;

use super::estimator::Estimator;
use crate::condition::Condition;
use crate::coordinate::Coordinate;
use crate::space::Space;

/// One of them.
#[derive(Clone, Debug)]
pub(super) struct Group {
    is_conditional: bool,
    /// Places of its parameters among all.
    places: Vec<usize>,
    coordinates: Vec<Coordinate>,
}

/// The groups of a space with these coordinates, those that are always there first. A space without parameters has one.
pub(super) fn groups(space: &Space, coordinates: &[Coordinate]) -> Vec<Group> {
    let mut groups: Vec<(&[Condition], Vec<usize>)> = vec![(&[], Vec::new())];
    for (place, coordinate) in coordinates.iter().enumerate() {
        let conditions = space.conditions(&coordinate.name);
        match groups.iter_mut().find(|(known, _)| *known == conditions) {
            Some((_, places)) => places.push(place),
            None => groups.push((conditions, vec![place])),
        }
    }
    let group = |(conditions, places): (&[Condition], Vec<usize>)| Group {
        is_conditional: !conditions.is_empty(),
        coordinates: places.iter().map(|place| coordinates[*place].clone()).collect(),
        places,
    };
    groups.into_iter().map(group).collect()
}

impl Group {
    /// Whether a configuration has its parameters.
    pub(super) fn is_in(&self, configuration: &Configuration) -> bool {
        !self.is_conditional || self.coordinates.iter().any(|one| configuration.get(&one.name).is_some())
    }

    /// One of its parameters, by its name, and its number among them.
    pub(super) fn coordinate(&self, name: &str) -> Option<(usize, &Coordinate)> {
        self.coordinates.iter().enumerate().find(|(_, one)| &*one.name == name)
    }

    /// The places of its parameters in a point.
    pub(super) fn part(&self, point: &[f64]) -> Vec<f64> {
        self.places.iter().map(|place| point[*place]).collect()
    }

    /// Writes the places of its parameters into a point.
    pub(super) fn put(&self, part: &[f64], point: &mut [f64]) {
        for (place, at) in self.places.iter().zip(part) {
            point[*place] = *at;
        }
    }

    /// The density of its parameters in the configurations that have them, each with its point and its weight.
    pub(super) fn estimator(&self, known: &[((&Configuration, &[f64]), f64)], breadth: f64) -> Estimator<'_> {
        let own = known.iter().filter(|((configuration, _), _)| self.is_in(configuration));
        let parts: Vec<_> = own.map(|((_, point), weight)| (self.part(point), *weight)).collect();
        let points: Vec<_> = parts.iter().map(|(part, weight)| (part.as_slice(), *weight)).collect();
        Estimator::new(&self.coordinates, &points, breadth)
    }
}
