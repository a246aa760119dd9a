//! What a density is: its integral over the space is 1, and what is drawn from it is spread by it.

use broadsweep_common::configuration::Value;
use broadsweep_common::seeds::sampler_rng;

use super::*;
use crate::coordinate::coordinates;
use crate::space::{Domain, Space};

const STEPS: usize = 1000;

fn one_parameter(domain: Domain) -> Vec<Coordinate> {
    coordinates(&Space::from([("it".to_owned(), domain)]))
}

fn domains() -> [(&'static str, Domain, [f64; 3]); 4] {
    let words = ["a", "b", "c"].map(|word| Value::Choice(word.to_owned()));
    [
        ("reals", Domain::Reals { min: 1.0, max: 3.0, log: false, count: None }, [0.0, 0.3, 0.35]),
        ("integers", Domain::Integers { min: 1, max: 9, log: true, count: None }, [0.0, 4.0, 8.0]),
        ("many integers", Domain::Integers { min: 1, max: 999, log: false, count: None }, [0.1, 0.11, 0.95]),
        ("words", Domain::Values(words.into()), [1.0, 1.0, 2.0]),
    ]
}

/// Each place with the part of the space that it stands for.
fn places(kind: &PlaceKind) -> Vec<(f64, f64)> {
    match kind {
        PlaceKind::Smooth(_) => {
            (0..STEPS).map(|step| ((step as f64 + 0.5) / STEPS as f64, 1.0 / STEPS as f64)).collect()
        }
        PlaceKind::Cells { values, .. } | PlaceKind::Choices(values) => {
            (0..values.len()).map(|place| (place as f64, 1.0)).collect()
        }
    }
}

#[test]
fn a_density_sums_up_to_one() {
    for (name, domain, points) in domains() {
        let coordinates = one_parameter(domain);
        let points = points.map(|place| [place]);
        let points: Vec<_> =
            points.iter().zip([1.0, 0.5, 0.25]).map(|(point, weight)| (&point[..], weight)).collect();
        let density = Estimator::new(&coordinates, &points, 0.5);
        let places = places(&coordinates[0].kind);
        let sum: f64 = places.iter().map(|(place, part)| libm::exp(density.log_density(&[*place])) * part).sum();
        assert!((sum - 1.0).abs() < 1e-4, "{name}: {sum}");
    }
}

#[test]
fn what_is_drawn_is_spread_by_the_density() {
    for (name, domain, points) in domains() {
        let coordinates = one_parameter(domain);
        let points = points.map(|place| [place]);
        let points: Vec<_> = points.iter().map(|point| (&point[..], 1.0)).collect();
        let density = Estimator::new(&coordinates, &points, 0.5);
        let mut rng = sampler_rng(1, 2);
        let drawn: Vec<_> = (0..20_000).map(|_| density.draw(&mut rng)[0]).collect();
        for limit in [0.25, 0.5, 1.5, 4.5] {
            let below = drawn.iter().filter(|place| **place < limit).count() as f64 / drawn.len() as f64;
            let places = places(&coordinates[0].kind).into_iter().filter(|(place, _)| *place < limit);
            let expected: f64 = places.map(|(place, part)| libm::exp(density.log_density(&[place])) * part).sum();
            assert!((below - expected).abs() < 0.015, "{name} below {limit}: {below}, not {expected}");
        }
    }
}

#[test]
fn without_points_it_is_flat() {
    let coordinates = one_parameter(Domain::Reals { min: 0.0, max: 1.0, log: false, count: None });
    let density = Estimator::new(&coordinates, &[], 0.5);
    assert!([0.0, 0.3, 1.0].iter().all(|place| density.log_density(&[*place]).abs() < 1e-12));
}

#[test]
fn a_tail_that_is_left_out_is_below_the_last_bit() {
    for step in 0..=100 {
        let middle = f64::from(step) / 100.0;
        for width in [0.004, 0.02, 0.11, 0.12, 0.5] {
            let root = width * std::f64::consts::SQRT_2;
            let in_full = 0.5 * (libm::erfc((middle - 1.0) / root) - libm::erfc(middle / root));
            assert_eq!(mass(0.0, 1.0, middle, width).to_bits(), in_full.to_bits(), "{middle} {width}");
        }
    }
}

#[test]
fn kernels_that_are_left_out_are_below_the_last_bit() {
    let coordinates = one_parameter(Domain::Reals { min: 0.0, max: 1.0, log: false, count: None });
    let points: Vec<_> = (0..400).map(|number| [f64::from(number * 7 % 400) / 400.0]).collect();
    let points: Vec<_> = points.iter().map(|point| (&point[..], 1.0)).collect();
    let density = Estimator::new(&coordinates, &points, 0.02);
    for step in 0..100 {
        let at = f64::from(step) / 100.0;
        let mut terms = density.log_weights.clone();
        let (flat, kernels) = terms.split_last_mut().unwrap();
        *flat += density.factors[0].add(at, kernels);
        let in_full = libm::log(terms.into_iter().map(libm::exp).sum::<f64>());
        assert!((density.log_density(&[at]) - in_full).abs() < 1e-14, "{at}");
    }
}
