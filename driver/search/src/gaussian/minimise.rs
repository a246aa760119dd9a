//! The least value of a smooth function between bounds.
//!
//! The method of Broyden, Fletcher, Goldfarb and Shanno with a limited memory (Nocedal and Wright, "Numerical
//! optimization", 2006, algorithm 7.4), projected: variables at a border that the gradient points beyond stay there
//! (Bertsekas, 1982), and each step is cut off at the borders.

/// Steps that are remembered.
const MEMORY: usize = 8;
/// How much of the decrease that the gradient promises is enough (Armijo, 1966).
const ENOUGH: f64 = 1e-4;
/// What a step that is too long is multiplied by.
const SHORTER: f64 = 0.3;
/// Below this share of the value, a decrease ends the search.
const DECREASE_MIN: f64 = 1e-7;

/// Where to look, and for how long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds<'a> {
    /// Least values.
    pub(super) low: &'a [f64],
    /// Largest values.
    pub(super) high: &'a [f64],
    /// How long the first step is at most.
    pub(super) first_step: f64,
    /// How often the function may be called.
    pub(super) calls_max: usize,
}

/// Where it is least of all places looked at, and its value there. `function` writes its gradient.
pub(super) fn minimise(
    start: &[f64],
    within: Bounds<'_>,
    mut function: impl FnMut(&[f64], &mut [f64]) -> f64,
) -> (Vec<f64>, f64) {
    let mut x: Vec<f64> = clamp(start.to_vec(), within);
    let mut gradient = vec![0.0; x.len()];
    let mut value = function(&x, &mut gradient);
    let mut memory: Vec<PastStep> = Vec::new();
    let mut calls = 1;
    while calls < within.calls_max && value.is_finite() {
        let free: Vec<bool> =
            (0..x.len()).map(|i| is_free(x[i], gradient[i], within.low[i], within.high[i])).collect();
        let mut direction = downhill(&gradient, &free, &memory);
        if memory.is_empty() {
            let norm = libm::sqrt(dot(&direction, &direction));
            let scale = if norm > within.first_step { within.first_step / norm } else { 1.0 };
            for part in &mut direction {
                *part *= scale;
            }
        }
        let mut length = 1.0;
        let found = loop {
            if calls >= within.calls_max || length < 1e-6 {
                break None;
            }
            let tried = x.iter().zip(&direction).map(|(x, part)| x + length * part).collect();
            let tried = clamp(tried, within);
            let moved: Vec<f64> = tried.iter().zip(&x).map(|(new, old)| new - old).collect();
            let mut new_gradient = vec![0.0; x.len()];
            let new_value = function(&tried, &mut new_gradient);
            calls += 1;
            if new_value <= value + ENOUGH * dot(&gradient, &moved) {
                break Some((tried, moved, new_value, new_gradient));
            }
            length *= SHORTER;
        };
        let Some((tried, moved, new_value, new_gradient)) = found else { break };
        let turned: Vec<f64> = new_gradient.iter().zip(&gradient).map(|(new, old)| new - old).collect();
        let is_converged = value - new_value <= DECREASE_MIN * (1.0 + value.abs());
        (x, value, gradient) = (tried, new_value, new_gradient);
        if is_converged {
            break;
        }
        let curvature = dot(&moved, &turned);
        if curvature > 1e-10 * dot(&turned, &turned) {
            if memory.len() == MEMORY {
                memory.remove(0);
            }
            memory.push(PastStep { moved, turned, curvature });
        }
    }
    (x, value)
}

/// A step that was taken.
struct PastStep {
    moved: Vec<f64>,
    /// What it changed the gradient by.
    turned: Vec<f64>,
    curvature: f64,
}

/// Where to go; straight down if what is remembered points upwards.
fn downhill(gradient: &[f64], free: &[bool], memory: &[PastStep]) -> Vec<f64> {
    let masked = |vector: &[f64]| -> Vec<f64> {
        vector.iter().zip(free).map(|(part, is_free)| if *is_free { *part } else { 0.0 }).collect()
    };
    let steepest = masked(gradient);
    let mut direction = steepest.clone();
    let mut shares = Vec::with_capacity(memory.len());
    for step in memory.iter().rev() {
        let share = dot(&step.moved, &direction) / step.curvature;
        direction.iter_mut().zip(&step.turned).for_each(|(part, turned)| *part -= share * turned);
        shares.push(share);
    }
    if let Some(last) = memory.last() {
        let scale = last.curvature / dot(&last.turned, &last.turned);
        for part in &mut direction {
            *part *= scale;
        }
    }
    for (step, share) in memory.iter().zip(shares.iter().rev()) {
        let other = dot(&step.turned, &direction) / step.curvature;
        direction.iter_mut().zip(&step.moved).for_each(|(part, moved)| *part += (share - other) * moved);
    }
    direction = masked(&direction);
    if dot(&direction, &steepest) <= 0.0 {
        direction = steepest;
    }
    for part in &mut direction {
        *part = -*part;
    }
    direction
}

fn is_free(x: f64, slope: f64, low: f64, high: f64) -> bool {
    !(x <= low && slope > 0.0 || x >= high && slope < 0.0)
}

fn clamp(mut x: Vec<f64>, within: Bounds<'_>) -> Vec<f64> {
    x.iter_mut().enumerate().for_each(|(i, x)| *x = x.max(within.low[i]).min(within.high[i]));
    x
}

fn dot(one: &[f64], other: &[f64]) -> f64 {
    one.iter().zip(other).map(|(one, other)| one * other).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rosenbrock(x: &[f64], gradient: &mut [f64]) -> f64 {
        let bend = x[1] - x[0] * x[0];
        gradient[0] = -400.0 * x[0] * bend - 2.0 * (1.0 - x[0]);
        gradient[1] = 200.0 * bend;
        100.0 * bend * bend + (1.0 - x[0]) * (1.0 - x[0])
    }

    #[test]
    fn it_follows_a_bent_valley_to_its_end() {
        let within = Bounds { low: &[-5.0; 2], high: &[5.0; 2], first_step: 0.1, calls_max: 200 };
        let (x, value) = minimise(&[-1.2, 1.0], within, rosenbrock);
        assert!(value < 1e-6 && (x[0] - 1.0).abs() < 1e-2, "{x:?} {value}");
    }

    #[test]
    fn it_stays_in_the_box_and_calls_no_more_than_it_may() {
        let mut calls = 0;
        let within = Bounds { low: &[-5.0; 2], high: &[0.5, 5.0], first_step: 0.1, calls_max: 60 };
        let (x, value) = minimise(&[-1.2, 1.0], within, |x, gradient| {
            calls += 1;
            assert!(x[0] <= 0.5 && x[1] <= 5.0);
            rosenbrock(x, gradient)
        });
        assert!((value - 0.25).abs() < 1e-3 && (x[0] - 0.5).abs() < 1e-3, "{x:?} {value}");
        assert!(calls <= 60);
    }
}
