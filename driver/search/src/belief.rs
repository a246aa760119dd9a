//! What a sampler that learns believes of one parameter, whatever the others are: for people who look at a search. Nothing is
//! picked by it.
//!
//! A Gaussian process says which loss is to be expected along the parameter ([`Believed::Losses`]), the tree-structured
//! Parzen estimator where good results are and where the others are ([`Believed::Densities`]). How the other parameters are
//! left out stands with each sampler: in `gaussian/belief.rs` and `tpe/belief.rs`.

use std::sync::Arc;

use broadsweep_common::configuration::{Configuration, Value};

use super::coordinate::{Coordinate, PlaceKind};
use super::space::Domain;

/// Places looked at along a parameter with so many values that they are treated as numbers between two ends.
const SMOOTH_PLACES: u32 = 41;

/// What is believed of one parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct Belief {
    /// Its name.
    pub parameter: Arc<str>,
    /// What is believed, value by value: numbers ascend, words stand as in the study.
    pub believed: Believed,
}

/// What there is to believe. There is one value at least.
#[derive(Clone, Debug, PartialEq)]
pub enum Believed {
    /// Which loss is to be expected.
    Losses(Vec<ExpectedLoss>),
    /// Where good results are, and where the others are.
    Densities(Vec<DensityPair>),
}

/// The loss that is to be expected with a value of a parameter, in the unit of the observations.
#[derive(Clone, Debug, PartialEq)]
pub struct ExpectedLoss {
    /// The value.
    pub value: Value,
    /// As likely to be more as to be less.
    pub median: f64,
    /// One standard deviation better: with a normal distribution, 16 % is below it.
    pub low: f64,
    /// One standard deviation worse.
    pub high: f64,
}

/// How densely results lie at a value of a parameter, over how densely they lay there if they were spread evenly: 1 says
/// nothing, 2 is twice as many.
#[derive(Clone, Debug, PartialEq)]
pub struct DensityPair {
    /// The value.
    pub value: Value,
    /// Of the good results.
    pub good: f64,
    /// Of the other ones.
    pub others: f64,
}

impl DensityPair {
    /// How much denser the good results are than the others: where it is large, the sampler looks.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        self.good / self.others
    }
}

/// The values of a parameter that a belief is asked for, each with its place: all of a few, else some from end to end.
pub(crate) fn steps(coordinate: &Coordinate) -> Vec<(f64, Value)> {
    let mut values = match &coordinate.kind {
        PlaceKind::Cells { values, .. } | PlaceKind::Choices(values) => values.clone(),
        PlaceKind::Smooth(domain) => stepped(domain),
    };
    values.dedup();
    let own_place = |value: Value| {
        let alone = Configuration::from_iter([(Arc::clone(&coordinate.name), value.clone())]);
        Some((coordinate.place(&alone)?, value))
    };
    values.into_iter().filter_map(own_place).collect()
}

/// Some values of a domain with many, its ends among them.
fn stepped(domain: &Domain) -> Vec<Value> {
    let count = Some(SMOOTH_PLACES);
    let ranged = match domain {
        Domain::Integers { min, max, log, .. } => Domain::Integers { min: *min, max: *max, log: *log, count },
        Domain::Reals { min, max, log, .. } => Domain::Reals { min: *min, max: *max, log: *log, count },
        Domain::Values(values) | Domain::Ordered(values) => {
            let last = values.len().saturating_sub(1);
            let chosen = (0..SMOOTH_PLACES as usize).map(|step| step * last / (SMOOTH_PLACES as usize - 1));
            return chosen.filter_map(|place| values.get(place).cloned()).collect();
        }
    };
    ranged.points().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coordinate::coordinates;
    use crate::space::Space;

    fn values(domain: Domain) -> Vec<(f64, Value)> {
        steps(&coordinates(&Space::from([("it".to_owned(), domain)]))[0])
    }

    #[test]
    fn a_range_is_looked_at_from_end_to_end_and_a_list_value_by_value() {
        let rates = values(Domain::Reals { min: 1e-4, max: 1.0, log: true, count: None });
        let (first, last) = (&rates[0], &rates[rates.len() - 1]);
        assert_eq!((rates.len(), first, last), (41, &(0.0, Value::Real(1e-4)), &(1.0, Value::Real(1.0))));
        assert!(rates[20].1 == Value::Real(0.01) && (rates[20].0 - 0.5).abs() < 1e-12, "{rates:?}");
        let layers = values(Domain::Integers { min: 1, max: 3, log: false, count: None });
        assert_eq!(layers, [1, 2, 3].map(|layers| ((layers - 1) as f64, Value::Integer(layers))));
        let words = ["tanh", "elu"].map(|word| Value::Choice(word.to_owned()));
        assert_eq!(values(Domain::Values(words.to_vec())), [(0.0, words[0].clone()), (1.0, words[1].clone())]);
    }

    #[test]
    fn no_value_of_a_range_comes_twice() {
        let units = values(Domain::Integers { min: 1, max: 34, log: false, count: None });
        assert_eq!((units.len(), &units[0].1, &units[33].1), (34, &Value::Integer(1), &Value::Integer(34)));
        let many = values(Domain::Ordered((0..100).map(Value::Integer).collect()));
        assert_eq!((many.len(), &many[0].1, &many[40].1), (41, &Value::Integer(0), &Value::Integer(99)));
        for steps in [units, many] {
            assert!(steps.windows(2).all(|pair| pair[0].0 < pair[1].0), "{steps:?}");
        }
    }
}
