//! Exponential and its relatives, value by value.
//!
//! They have no branches and call nothing, so that loops over them are vectorised, and they use sums and products
//! alone, so that they give the same bits with every kernel and on every processor. NaN stays NaN.

/// Adding and subtracting this rounds to a whole number, and leaves it in the lowest bits in between.
const ROUNDER: f32 = 12_582_912.0; // 1.5 × 2^23
/// ln 2 in two parts, the first of so few digits that its products with whole numbers are exact.
const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
/// Beyond this, `e^x` is not a normal number.
const EXP_MIN: f32 = -87.0;
const EXP_MAX: f32 = 88.0;

/// `e^x`, within two units of the last place; `e^-87` and `e^88` stand for all that is smaller and larger.
///
/// `x = n ln 2 + r` with whole `n`: `2^n` is made of bits, `e^r` is its series to the seventh power, where the next
/// term is below 2^-27.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    let x = if x < EXP_MIN { EXP_MIN } else { x };
    let x = if x > EXP_MAX { EXP_MAX } else { x };
    let shifted = x * std::f32::consts::LOG2_E + ROUNDER;
    let n = shifted - ROUNDER;
    let r = x - n * LN_2[0] - n * LN_2[1];
    let mut sum = 1.0 / 5040.0;
    for coefficient in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        sum = sum * r + coefficient;
    }
    sum * f32::from_bits(shifted.to_bits().wrapping_add(127) << 23)
}

/// `tanh x`, within a few units of the last place.
///
/// Near 0, where the exponential would lose digits, its series to the eleventh power.
#[inline(always)]
pub(super) fn tanh(x: f32) -> f32 {
    let square = x * x;
    let mut sum = -1382.0 / 155_925.0;
    for coefficient in [62.0 / 2835.0, -17.0 / 315.0, 2.0 / 15.0, -1.0 / 3.0] {
        sum = sum * square + coefficient;
    }
    let near = x + x * square * sum;
    let far = 1.0 - 2.0 / (exp(2.0 * x.abs()) + 1.0);
    if square < 0.0625 { near } else { far.copysign(x) }
}

/// `1 / (1 + e^-x)`.
#[inline(always)]
pub(super) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// Φ: the share of the standard normal distribution below `x`, within 3e-7 (Abramowitz and Stegun, 1964, 7.1.26).
#[inline(always)]
pub(super) fn normal_distribution(x: f32) -> f32 {
    let z = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * z);
    let mut sum = 1.061_405_4;
    for coefficient in [-1.453_152, 1.421_413_7, -0.284_496_74, 0.254_829_6] {
        sum = sum * t + coefficient;
    }
    let above = 0.5 * t * sum * exp(-z * z);
    if x < 0.0 { above } else { 1.0 - above }
}

/// φ: the density of the standard normal distribution at `x`.
#[inline(always)]
pub(super) fn normal_density(x: f32) -> f32 {
    const FACTOR: f32 = 0.398_942_3; // 1 / √(2π)
    FACTOR * exp(-0.5 * x * x)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points() -> impl Iterator<Item = f32> {
        (-9000..9000).map(|step| step as f32 * 0.009_7 + 0.000_1)
    }

    #[test]
    fn they_are_as_close_to_the_truth_as_they_say() {
        for x in points() {
            let truth = f64::from(x);
            let close = |name: &str, value: f32, truth: f64, relative: f64, absolute: f64| {
                let distance = (f64::from(value) - truth).abs();
                assert!(distance <= relative * truth.abs() + absolute, "{name}({x}) = {value}, not {truth}");
            };
            close("exp", exp(x), truth.exp(), 2.0 * 1.2e-7, 1e-37);
            close("tanh", tanh(x / 10.0), libm::tanh(f64::from(x / 10.0)), 5.0 * 1.2e-7, 0.0);
            close("sigmoid", sigmoid(x), 1.0 / (1.0 + (-truth).exp()), 4.0 * 1.2e-7, 1e-37);
            let half = f64::from(x / 10.0) * std::f64::consts::FRAC_1_SQRT_2;
            close("normal", normal_distribution(x / 10.0), 0.5 * (1.0 + libm::erf(half)), 0.0, 3e-7);
        }
    }

    #[test]
    fn the_ends_of_the_line_have_their_limits_and_nan_stays() {
        assert!(exp(f32::NEG_INFINITY) < 1e-37 && exp(f32::INFINITY) > 1e38);
        assert_eq!([tanh(f32::INFINITY), tanh(f32::NEG_INFINITY), tanh(0.0)], [1.0, -1.0, 0.0]);
        assert_eq!([sigmoid(f32::INFINITY), normal_distribution(f32::INFINITY)], [1.0, 1.0]);
        assert_eq!([sigmoid(0.0), exp(0.0)], [0.5, 1.0]);
        for function in [exp, tanh, sigmoid, normal_distribution, normal_density] {
            assert!(function(f32::NAN).is_nan());
        }
    }
}
