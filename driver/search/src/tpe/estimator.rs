//! A density over the space, made of kernels that stand where configurations were.
//!
//! One kernel a configuration, the product of one factor a parameter (Falkner, Klein, Hutter, "BOHB", 2018), and a flat
//! one over the whole space. Factors are Gaussians cut off at the ends of the unit interval; their integrals over the
//! interval of a value where there are few values; and for choices, as in Aitchison and Aitken (1976), the same at all
//! choices and more at the kernel's own.

use broadsweep_common::seeds::Rng;
use rand_chacha::rand_core::Rng as _;

use crate::coordinate::{Coordinate, PlaceKind};
use crate::space::{below, fraction};

/// The weight of the flat kernel; configurations have at most 1 each.
const FLAT_WEIGHT: f64 = 1.0;
/// Over the number of kernels: the weight of the even part of a factor of choices, beside 1 for the kernel's own.
const EVEN_PART: f64 = 0.5;
/// The deviation of a Gaussian that is integrated over intervals, if it is the only one. It does not follow the spread of
/// the points, as that of smooth factors does: on tables of real trainings that was worse.
const CELLS_WIDTH: f64 = 0.2;
/// Draws from a Gaussian before one that is cut off is replaced by its middle: each is inside at least every third time.
const GAUSSIAN_DRAWS_MAX: u32 = 32;
/// The least deviation of any Gaussian.
const WIDTH_MIN: f64 = 0.004;

/// The logarithm of the smallest share of a density's largest kernel that is added to it: all smaller ones together are
/// below its last bit, and most kernels are that far away from most candidates.
const LOG_PART_MIN: f64 = -45.0;

/// From here on the complementary error function is below half of the last bit of 1.
const ERFC_END: f64 = 6.0;

/// The density.
pub(super) struct Estimator<'a> {
    /// Of each kernel, the flat one last.
    log_weights: Vec<f64>,
    /// Of each parameter.
    factors: Vec<Factors<'a>>,
}

/// The factors of all kernels but the flat one, for one parameter.
enum Factors<'a> {
    Smooth {
        places: Vec<f64>,
        width: f64,
        /// What makes the integral over the unit interval 1.
        log_scales: Vec<f64>,
    },
    Cells {
        places: Vec<usize>,
        /// By the kernel's value and then by the value asked for.
        log_masses: Vec<f64>,
        edges: &'a [f64],
    },
    Choices {
        places: Vec<usize>,
        log_own: f64,
        log_other: f64,
        count: usize,
    },
}

impl<'a> Estimator<'a> {
    /// Kernels at these points with these weights. `breadth` is the deviation of a lone
    /// Gaussian over the spread of the points.
    pub(super) fn new(coordinates: &'a [Coordinate], points: &[(&[f64], f64)], breadth: f64) -> Self {
        let total = points.iter().map(|(_, weight)| weight).sum::<f64>() + FLAT_WEIGHT;
        let weights = points.iter().map(|(_, weight)| *weight).chain([FLAT_WEIGHT]);
        let log_weights = weights.map(|weight| libm::log(weight / total)).collect();
        let count = points.len().max(1) as f64;
        // Scott's rule (1992) for the product of kernels.
        let shrunk = libm::pow(count, -1.0 / (coordinates.len() as f64 + 4.0));
        let factors = coordinates.iter().enumerate().map(|(number, coordinate)| {
            let places = points.iter().map(|(point, _)| point[number]).collect::<Vec<_>>();
            match &coordinate.kind {
                PlaceKind::Smooth(_) => smooth(places, breadth * shrunk),
                PlaceKind::Cells { edges, .. } => cells(&places, edges, (CELLS_WIDTH * shrunk).max(WIDTH_MIN)),
                PlaceKind::Choices(values) => choices(&places, values.len(), EVEN_PART / count),
            }
        });
        Self { log_weights, factors: factors.collect() }
    }

    /// The logarithm of the density at `point`.
    pub(super) fn log_density(&self, point: &[f64]) -> f64 {
        let mut terms = self.log_weights.clone();
        if let Some((flat, kernels)) = terms.split_last_mut() {
            for (factors, &at) in self.factors.iter().zip(point) {
                *flat += factors.add(at, kernels);
            }
        }
        log_sum(&terms)
    }

    /// The logarithm of the density of the parameter `number` at `at`, whatever the others are, over that of an even density:
    /// 0 where it says nothing. The other factors are integrated out, each to 1.
    pub(super) fn log_beyond_even(&self, number: usize, at: f64) -> f64 {
        let mut terms = self.log_weights.clone();
        let mut log_even = 0.0;
        if let Some((flat, kernels)) = terms.split_last_mut() {
            log_even = self.factors[number].add(at, kernels);
            *flat += log_even;
        }
        log_sum(&terms) - log_even
    }

    /// A point from the density.
    pub(super) fn draw(&self, rng: &mut Rng) -> Vec<f64> {
        let weights = self.log_weights.iter().map(|weight| libm::exp(*weight));
        let kernel = first_beyond(fraction(rng.next_u64()), weights);
        self.factors.iter().map(|factors| factors.draw(kernel, rng)).collect()
    }
}

/// The logarithm of the sum of what these are the logarithms of.
fn log_sum(terms: &[f64]) -> f64 {
    let largest = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let parts = terms.iter().map(|term| term - largest).filter(|log_part| *log_part > LOG_PART_MIN);
    largest + libm::log(parts.map(libm::exp).sum::<f64>())
}

/// Gaussians as wide as the points are spread, of which one more is taken to be spread over the whole interval.
fn smooth<'a>(places: Vec<f64>, breadth: f64) -> Factors<'a> {
    let count = places.len() as f64 + 1.0;
    let mean = (places.iter().sum::<f64>() + 0.5) / count;
    let square = |distance: f64| distance * distance;
    let squares = places.iter().map(|place| square(place - mean)).sum::<f64>() + square(0.5 - mean) + 1.0 / 12.0;
    let width = (breadth * libm::sqrt(squares / count)).max(WIDTH_MIN);
    let peak = width * libm::sqrt(std::f64::consts::TAU);
    let log_scales = places.iter().map(|place| -libm::log(mass(0.0, 1.0, *place, width) * peak)).collect();
    Factors::Smooth { places, width, log_scales }
}

fn cells<'a>(places: &[f64], edges: &'a [f64], width: f64) -> Factors<'a> {
    let rows = edges.windows(2).flat_map(|own| {
        let middle = f64::midpoint(own[0], own[1]);
        let inside = mass(0.0, 1.0, middle, width);
        edges.windows(2).map(move |cell| libm::log(mass(cell[0], cell[1], middle, width) / inside))
    });
    Factors::Cells { places: places.iter().map(|place| *place as usize).collect(), log_masses: rows.collect(), edges }
}

fn choices<'a>(places: &[f64], count: usize, even_part: f64) -> Factors<'a> {
    let total = 1.0 + even_part * count as f64;
    Factors::Choices {
        places: places.iter().map(|place| *place as usize).collect(),
        log_own: libm::log((1.0 + even_part) / total),
        log_other: libm::log(even_part / total),
        count,
    }
}

impl Factors<'_> {
    /// Adds the logarithm of each kernel's factor at `at`; the flat one's is returned.
    fn add(&self, at: f64, kernels: &mut [f64]) -> f64 {
        match self {
            Self::Smooth { places, width, log_scales } => {
                for ((kernel, place), log_scale) in kernels.iter_mut().zip(places).zip(log_scales) {
                    let distance = (at - place) / width;
                    *kernel += log_scale - 0.5 * distance * distance;
                }
                0.0
            }
            Self::Cells { places, log_masses, edges } => {
                let (value, count) = (at as usize, edges.len() - 1);
                for (kernel, place) in kernels.iter_mut().zip(places) {
                    *kernel += log_masses[place * count + value];
                }
                libm::log(edges[value + 1] - edges[value])
            }
            Self::Choices { places, log_own, log_other, count } => {
                for (kernel, place) in kernels.iter_mut().zip(places) {
                    *kernel += if *place == at as usize { log_own } else { log_other };
                }
                -libm::log(*count as f64)
            }
        }
    }

    /// A place by the factor of this kernel; evenly where there is no such kernel, as for the flat one.
    fn draw(&self, kernel: usize, rng: &mut Rng) -> f64 {
        match self {
            Self::Smooth { places, width, .. } => match places.get(kernel) {
                Some(place) => cut_off_gaussian(*place, *width, rng),
                None => fraction(rng.next_u64()),
            },
            Self::Cells { places, log_masses, edges } => {
                let (drawn, count) = (fraction(rng.next_u64()), edges.len() - 1);
                let value = match places.get(kernel) {
                    Some(place) => {
                        let row = &log_masses[place * count..][..count];
                        first_beyond(drawn, row.iter().map(|log_mass| libm::exp(*log_mass)))
                    }
                    None => first_beyond(drawn, edges.windows(2).map(|cell| cell[1] - cell[0])),
                };
                value as f64
            }
            Self::Choices { places, log_own, log_other, count } => {
                let bits = rng.next_u64();
                let own = places.get(kernel);
                let mass = |value| libm::exp(if own == Some(&value) { *log_own } else { *log_other });
                let value = match own {
                    Some(_) => first_beyond(fraction(bits), (0..*count).map(mass)),
                    None => below(*count as u64, bits) as usize,
                };
                value as f64
            }
        }
    }
}

/// The first of `masses` with which their sum is beyond `drawn`; the last one if rounding leaves none.
fn first_beyond(drawn: f64, masses: impl ExactSizeIterator<Item = f64>) -> usize {
    let last = masses.len().saturating_sub(1);
    let mut rest = drawn;
    let mut masses = masses;
    let found = masses.position(|mass| {
        rest -= mass;
        rest < 0.0
    });
    found.unwrap_or(last)
}

/// How much of a Gaussian is between `low` and `high`.
fn mass(low: f64, high: f64, middle: f64, width: f64) -> f64 {
    let root = width * std::f64::consts::SQRT_2;
    // Distances to the side on which both are not below 0, if there is one: the complement is exact where it is small.
    let (near, far) = if low > middle { (low - middle, high - middle) } else { (middle - high, middle - low) };
    let (near, far) = (near / root, far / root);
    // The middle is between them, so that the one is 1 or more, and the other less than its last bit.
    if near <= 0.0 && far > ERFC_END {
        return 0.5 * libm::erfc(near);
    }
    0.5 * (libm::erfc(near) - libm::erfc(far))
}

fn cut_off_gaussian(middle: f64, width: f64, rng: &mut Rng) -> f64 {
    for _ in 0..GAUSSIAN_DRAWS_MAX {
        // Box and Muller (1958); the logarithm is of at least 2^-53.
        let radius = libm::sqrt(-2.0 * libm::log(1.0 - fraction(rng.next_u64())));
        let drawn = middle + width * radius * libm::cos(std::f64::consts::TAU * fraction(rng.next_u64()));
        if (0.0..1.0).contains(&drawn) {
            return drawn;
        }
    }
    middle
}

#[cfg(test)]
#[path = "estimator_tests.rs"]
mod tests;
