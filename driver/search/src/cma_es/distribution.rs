//! What a generation is drawn from: a Gaussian for the parameters with an order, and odds for the choices without one.

use std::f64::consts::TAU;

use broadsweep_common::seeds::Rng;
use rand_chacha::rand_core::Rng as _;

use crate::cholesky::Cholesky;
use crate::coordinate::{Coordinate, PlaceKind};
use crate::space::fraction;
use crate::unit_point::{UnitPoint, point_at};

/// The least deviation of a parameter whose values are apart, in distances between them: a neighbour of the value in which
/// the mean stands is drawn once in a hundred times.
const APART_DEVIATION: f64 = 0.2;

/// What it is drawn from.
#[derive(Clone, Debug)]
pub(super) struct Distribution {
    /// Of each parameter with an order; the whole axis is folded into the unit interval, see [`folded`].
    pub(super) mean: Vec<f64>,
    /// The deviation in all directions, before the covariance.
    pub(super) step: f64,
    /// The lower factor of the covariance.
    pub(super) factor: Cholesky,
    /// Of each parameter with an order, what its deviation is multiplied by: more than 1 where values would stop to change.
    pub(super) stretch: Vec<f64>,
    /// Of each parameter without an order, how likely its choices are.
    pub(super) odds: Vec<Vec<f64>>,
}

/// The random numbers of one draw; which distribution they are put into is left open.
pub(super) struct Deviates {
    /// Standard normal, one a parameter with an order.
    normals: Vec<f64>,
    /// In 0 .. 1, one a parameter without.
    fractions: Vec<f64>,
}

/// What was drawn, one number a parameter: where it stands on the axis that is folded, or the number of the choice.
pub(super) type Genotype = Vec<f64>;

impl Deviates {
    pub(super) fn new(coordinates: &[Coordinate], rng: &mut Rng) -> Self {
        let ordered = coordinates.iter().filter(|coordinate| is_ordered(coordinate)).count();
        let normals = (0..ordered).map(|_| normal(rng)).collect();
        Self { normals, fractions: (ordered..coordinates.len()).map(|_| fraction(rng.next_u64())).collect() }
    }
}

impl Distribution {
    /// The draw that these numbers make, from a distribution that is `wider` times as wide: 1 is this one.
    pub(super) fn draw(&self, coordinates: &[Coordinate], chance: &Deviates, wider: f64) -> Genotype {
        let offsets = self.factor.multiply(&chance.normals);
        let scaled = offsets.iter().zip(&self.stretch).map(|(offset, stretch)| self.step * stretch * wider * offset);
        let mut ordered = scaled.zip(&self.mean).map(|(offset, mean)| mean + offset);
        let mut choices =
            chance.fractions.iter().zip(&self.odds).map(|(fraction, odds)| chosen(odds, *fraction, wider));
        let place = |coordinate| if is_ordered(coordinate) { ordered.next() } else { choices.next() };
        coordinates.iter().filter_map(place).collect()
    }
}

/// What the deviations of parameters whose values are apart are multiplied by, if those of all are as given.
pub(super) fn stretch(coordinates: &[Coordinate], mean: &[f64], deviations: &[f64]) -> Vec<f64> {
    let ordered = coordinates.iter().filter(|coordinate| is_ordered(coordinate));
    let least =
        ordered.zip(mean).map(|(coordinate, mean)| APART_DEVIATION * distance(&coordinate.kind, folded(*mean)));
    least.zip(deviations).map(|(least, deviation)| (least / deviation).max(1.0)).collect()
}

/// The point of the space at which a genotype stands.
pub(super) fn point_of(coordinates: &[Coordinate], genotype: &[f64]) -> Vec<f64> {
    let unit = |(coordinate, at): (&Coordinate, &f64)| if is_ordered(coordinate) { folded(*at) } else { *at };
    let unit: UnitPoint = coordinates.iter().zip(genotype).map(unit).collect();
    point_at(coordinates, &unit)
}

pub(super) fn is_ordered(coordinate: &Coordinate) -> bool {
    !matches!(coordinate.kind, PlaceKind::Choices(_))
}

/// The axis as a strip that is folded at each whole number: what is beyond an end is as far before it. A loss on the unit
/// interval becomes one on the whole axis, without a jump, and a Gaussian need not be cut off.
fn folded(at: f64) -> f64 {
    let at = (at - 2.0 * libm::floor(at / 2.0)).clamp(0.0, 2.0);
    if at > 1.0 { 2.0 - at } else { at }
}

/// How far a value is from the next, around a unit place; 0 where they are not apart.
fn distance(kind: &PlaceKind, at: f64) -> f64 {
    match kind {
        PlaceKind::Cells { edges, .. } => {
            let cell = edges[1..edges.len() - 1].partition_point(|edge| *edge <= at);
            edges[cell + 1] - edges[cell]
        }
        PlaceKind::Smooth(domain) => domain.size().map_or(0.0, |count| 1.0 / count as f64),
        PlaceKind::Choices(_) => 0.0,
    }
}

/// The choice at `fraction` of odds that are the more even the wider they are to be.
fn chosen(odds: &[f64], fraction: f64, wider: f64) -> f64 {
    let even = 1.0 / odds.len() as f64;
    let mut before = 0.0;
    for (place, odds) in odds.iter().enumerate() {
        before += even + (odds - even) / wider;
        if fraction < before {
            return place as f64;
        }
    }
    (odds.len() - 1) as f64
}

/// The transform of Box and Muller ("A note on the generation of random normal deviates", 1958).
fn normal(rng: &mut Rng) -> f64 {
    let [radius, angle] = [fraction(rng.next_u64()), fraction(rng.next_u64())];
    libm::sqrt(-2.0 * libm::log(1.0 - radius)) * libm::cos(TAU * angle)
}
