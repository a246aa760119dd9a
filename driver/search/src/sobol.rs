//! Points that fill a space more evenly than chance does, each configuration once.
//!
//! Sobol's sequence with the direction numbers of Joe and Kuo (2008), shuffled and scrambled as Owen describes (1995) by
//! the hash of Laine and Karras in the form of Burley ("Practical hash-based Owen scrambling", 2020). The first 2^k points
//! have one value in each 2^-k of every parameter.

mod directions;

use std::collections::BTreeSet;
use std::sync::Arc;

use broadsweep_common::configuration::{Configuration, ConfigurationDigest};
use broadsweep_common::seeds::sampler_rng;
use rand_chacha::rand_core::Rng as _;

use super::decision::Origin;
use super::random::draws_max;
use super::sampler::{Knowledge, Sampler};
use super::space::{Domain, Space};
use directions::JOE_KUO;

/// Dimensions of the sequence. Parameters beyond them take the same ones in another order of the points (Burley's
/// padding).
const DIMENSIONS: usize = JOE_KUO.len() + 1;
/// Bits of a coordinate.
const BITS: usize = u32::BITS as usize;
/// The draw whose generator makes the keys of the scrambling: no point has this number.
const KEYS_DRAW: u64 = u64::MAX;

/// The points of a space, by number, each with a value for every parameter. Where a range has a `count`, its values in a grid are taken.
#[derive(Clone, Debug)]
pub(crate) struct SobolPoints {
    seed: u64,
    parameters: Vec<SobolParameter>,
}

#[derive(Clone, Debug)]
struct SobolParameter {
    name: Arc<str>,
    domain: Domain,
    directions: [u32; BITS],
    /// What scrambles the values.
    key: u32,
    /// What orders the points.
    order_key: u32,
}

impl SobolPoints {
    pub(crate) fn new(seed: u64, space: &Space) -> Self {
        let mut keys = sampler_rng(seed, KEYS_DRAW);
        let mut order_key = 0;
        let parameters = space.iter().enumerate().map(|(place, (name, domain))| {
            let dimension = place % DIMENSIONS;
            if dimension == 0 {
                order_key = keys.next_u32();
            }
            let domain = domain.points().map_or_else(|| domain.clone(), Domain::Values);
            let directions = directions_of(dimension);
            SobolParameter { name: name.as_str().into(), domain, directions, key: keys.next_u32(), order_key }
        });
        Self { seed, parameters: parameters.collect() }
    }

    /// Point `number`; points repeat after 2^32.
    pub(crate) fn at(&self, number: u64) -> Configuration {
        let mut finer = sampler_rng(self.seed, number);
        let values = self.parameters.iter().map(|parameter| {
            let place = scrambled(number as u32, parameter.order_key);
            let coordinate = scrambled(point(&parameter.directions, place), parameter.key);
            // What is finer than the sequence is by chance.
            let bits = (u64::from(coordinate) << BITS) | u64::from(finer.next_u32());
            (Arc::clone(&parameter.name), parameter.domain.at(bits))
        });
        values.collect()
    }
}

/// Takes the points in their order and skips those whose configuration came before or breaks a constraint.
#[derive(Clone, Debug)]
pub struct Sobol {
    space: Space,
    points: SobolPoints,
    wanted: u32,
    /// The next point.
    next: u64,
    picked: BTreeSet<ConfigurationDigest>,
}

impl Sobol {
    /// `trials` different points, or as many as there are before the space seems exhausted.
    #[must_use]
    pub fn new(seed: u64, space: &Space, trials: u32) -> Self {
        Self {
            space: space.clone(),
            points: SobolPoints::new(seed, space),
            wanted: trials,
            next: 0,
            picked: BTreeSet::new(),
        }
    }

    /// The configuration at the point of this number; `None` if it breaks a constraint.
    fn at(&self, number: u64) -> Option<Configuration> {
        self.space.admitted(self.points.at(number))
    }
}

impl Sampler for Sobol {
    fn next(&mut self, _: Knowledge<'_>) -> Option<(Configuration, Origin)> {
        let points_max = draws_max(&self.space, self.wanted);
        while self.picked.len() < self.wanted as usize && self.next < points_max {
            let number = self.next;
            self.next += 1;
            let Some(configuration) = self.at(number) else { continue };
            if self.picked.insert(configuration.digest()) {
                return Some((configuration, Origin::Draw(number)));
            }
        }
        None
    }

    fn recall(&mut self, configuration: &Configuration, origin: Origin) {
        let Origin::Draw(number) = origin else { return };
        // What was skipped in between repeats an earlier point, or is the control: one that counts, too.
        for skipped in self.next..number {
            self.picked.extend(self.at(skipped).map(|configuration| configuration.digest()));
        }
        self.picked.insert(configuration.digest());
        self.next = number.saturating_add(1);
    }
}

/// The directions of a dimension from 0: bit `i` of a point's number turns the bits of direction `i`.
fn directions_of(dimension: usize) -> [u32; BITS] {
    let mut directions = std::array::from_fn(|bit| 1 << (BITS - 1 - bit));
    let Some(&(coefficients, first)) = dimension.checked_sub(1).and_then(|row| JOE_KUO.get(row)) else {
        return directions;
    };
    let degree = first.len();
    for bit in 0..BITS {
        directions[bit] = if let Some(odd) = first.get(bit) {
            odd << (BITS - 1 - bit)
        } else {
            let oldest = directions[bit - degree];
            let terms = (1..degree).filter(|term| (coefficients >> (degree - 1 - term)) & 1 == 1);
            terms.fold(oldest ^ (oldest >> degree), |sum, term| sum ^ directions[bit - term])
        };
    }
    directions
}

/// The coordinate of a point, as a fraction of 2^32.
fn point(directions: &[u32; BITS], number: u32) -> u32 {
    (0..BITS).filter(|bit| (number >> bit) & 1 == 1).fold(0, |sum, bit| sum ^ directions[bit])
}

/// Each bit turned or not, as the bits above it decide: the points of every interval [k / 2^n, (k + 1) / 2^n) stay
/// together. Burley (2020), listing 2, whose order of bits is reversed.
fn scrambled(coordinate: u32, key: u32) -> u32 {
    let mut bits = coordinate.reverse_bits();
    bits = bits.wrapping_add(key);
    bits ^= bits.wrapping_mul(0x6c50_b47c);
    bits ^= bits.wrapping_mul(0xb82f_1e52);
    bits ^= bits.wrapping_mul(0xc7af_e638);
    bits ^= bits.wrapping_mul(0x8d22_f6e6);
    bits.reverse_bits()
}

#[cfg(test)]
mod tests {
    use broadsweep_common::configuration::Value;
    use proptest::prelude::*;

    use super::*;

    fn unit_space(parameters: usize) -> Space {
        let unit = Domain::Reals { min: 0.0, max: 1.0, log: false, count: None };
        (0..parameters).map(|place| (format!("{place:03}"), unit.clone())).collect()
    }

    /// Whether the first 2^k of these fractions of 2^32 have one value in each 2^-k, for all k.
    fn are_stratified(values: &[u32]) -> bool {
        (0..=values.len().ilog2()).all(|k| {
            let strata: BTreeSet<_> = values[..1 << k].iter().map(|value| u64::from(*value) << k >> BITS).collect();
            strata.len() == 1 << k
        })
    }

    /// The points on Joe and Kuo's page for three dimensions, and those of `SciPy` for the last two; both are in the order of the
    /// Gray code there.
    #[test]
    fn the_first_points_are_as_published() {
        let of = |dimension| {
            (0..8).map(move |number| f64::from(point(&directions_of(dimension), number)) / 4_294_967_296.0)
        };
        let rows: [(usize, [f64; 8]); 5] = [
            (0, [0.0, 0.5, 0.25, 0.75, 0.125, 0.625, 0.375, 0.875]),
            (1, [0.0, 0.5, 0.75, 0.25, 0.625, 0.125, 0.375, 0.875]),
            (2, [0.0, 0.5, 0.75, 0.25, 0.375, 0.875, 0.625, 0.125]),
            (62, [0.0, 0.5, 0.25, 0.75, 0.625, 0.125, 0.875, 0.375]),
            (63, [0.0, 0.5, 0.25, 0.75, 0.375, 0.875, 0.125, 0.625]),
        ];
        for (dimension, expected) in rows {
            assert_eq!(of(dimension).collect::<Vec<_>>(), expected, "dimension {dimension}");
        }
    }

    #[test]
    fn the_first_points_of_each_power_of_two_are_stratified_in_each_dimension() {
        for dimension in 0..DIMENSIONS {
            let directions = directions_of(dimension);
            let values: Vec<_> = (0..4096).map(|number| point(&directions, number)).collect();
            assert!(are_stratified(&values), "dimension {dimension}");
        }
    }

    proptest! {
        #[test]
        fn scrambled_points_are_stratified_too(seed: u64, place in 0_usize..130) {
            let points = SobolPoints::new(seed, &unit_space(130));
            let values: Vec<_> = (0..64)
                .map(|number| match points.at(number).iter().nth(place) {
                    Some((_, Value::Real(value))) => (value * 4_294_967_296.0) as u32,
                    other => panic!("{other:?}"),
                })
                .collect();
            prop_assert!(are_stratified(&values));
        }
    }

    #[test]
    fn parameters_do_not_go_together_and_seeds_differ() {
        let points = SobolPoints::new(1, &unit_space(130)).at(5);
        let values: BTreeSet<_> = points.iter().map(|(_, value)| value.to_string()).collect();
        assert_eq!(values.len(), 130);
        assert_ne!(points, SobolPoints::new(2, &unit_space(130)).at(5));
    }

    #[test]
    fn a_small_space_is_taken_in_full_and_nothing_twice() {
        let space = Space::from([
            ("whole".to_owned(), Domain::Integers { min: 1, max: 5, log: true, count: None }),
            ("flag".to_owned(), Domain::Values(vec![Value::Flag(false), Value::Flag(true)])),
        ]);
        let mut sampler = Sobol::new(3, &space, 40);
        let picked: Vec<_> = std::iter::from_fn(|| sampler.next(Knowledge::default())).collect();
        let different: BTreeSet<_> = picked.iter().map(|(configuration, _)| configuration.digest()).collect();
        assert_eq!((picked.len(), different.len()), (10, 10));
    }
}
