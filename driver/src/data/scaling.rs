//! What features are multiplied by and shifted by, from the rows that are trained on.

use broadsweep_common::dataset::Scaling;

use crate::study::ScalingKind;

use super::{Features, Values};

/// Values a row of which each can have a factor and an offset: the header that carries them has its limit.
pub(super) const STANDARD_VALUES_MAX: usize = 1 << 22;

/// The scaling of `features`, over the rows that are not `held_out`.
pub(super) fn of(kind: ScalingKind, features: &Features, held_out: &[bool]) -> Scaling {
    let shift = match kind {
        ScalingKind::None => return Scaling::Uniform { factor: 1.0, offset: 0.0 },
        ScalingKind::Standard => return standard(features, held_out),
        ScalingKind::Unit => 0.0,
        ScalingKind::Centered => -0.5,
    };
    match &features.values {
        Values::U8(_) => Scaling::Uniform { factor: 1.0 / 255.0, offset: shift as f32 },
        Values::F32(_) => uniform(features, held_out, shift),
    }
}

/// The least of all values to `shift`, the largest to `1 + shift`; if they are equal, all to 0.
fn uniform(features: &Features, held_out: &[bool], shift: f64) -> Scaling {
    let (mut least, mut largest) = (f64::INFINITY, f64::NEG_INFINITY);
    each_training_value(features, held_out, |_, value| {
        least = least.min(value);
        largest = largest.max(value);
    });
    let (factor, offset) = pair(1.0 / (largest - least), least, shift);
    Scaling::Uniform { factor, offset }
}

/// Mean 0 and variance 1, feature by feature; in two passes, as one pass cancels where the mean is large.
fn standard(features: &Features, held_out: &[bool]) -> Scaling {
    let row_values = features.row_values();
    let rows = held_out.iter().filter(|&&held| !held).count() as f64;
    // Sums are of differences from the first row: a constant feature sums to 0 exactly.
    let mut first = vec![f64::NAN; row_values];
    let mut means = vec![0.0; row_values];
    each_training_value(features, held_out, |column, value| {
        if first[column].is_nan() {
            first[column] = value;
        }
        means[column] += value - first[column];
    });
    means.iter_mut().zip(&first).for_each(|(mean, first)| *mean = first + *mean / rows);
    let mut squares = vec![0.0; row_values];
    each_training_value(features, held_out, |column, value| {
        let difference = value - means[column];
        squares[column] += difference * difference;
    });
    let pairs = means.iter().zip(squares).map(|(&mean, squares)| pair(1.0 / (squares / rows).sqrt(), mean, 0.0));
    let (factors, offsets) = pairs.unzip();
    Scaling::PerFeature { factors, offsets }
}

/// Factor and offset that take `zero` to `shift`; both 0 where the factor is no 32-bit number, as without spread.
fn pair(factor: f64, zero: f64, shift: f64) -> (f32, f32) {
    let offset = (shift - zero * factor) as f32;
    if (factor as f32).is_finite() && offset.is_finite() { (factor as f32, offset) } else { (0.0, 0.0) }
}

/// Calls `each` with the column and the value of every value that is trained on, in the file's order.
fn each_training_value(features: &Features, held_out: &[bool], mut each: impl FnMut(usize, f64)) {
    let trained = (0..features.rows).filter(|&row| !held_out[row]);
    let row_values = features.row_values();
    match &features.values {
        Values::U8(values) => {
            for row in trained {
                let row = &values[row * row_values..][..row_values];
                row.iter().enumerate().for_each(|(column, &value)| each(column, f64::from(value)));
            }
        }
        Values::F32(values) => {
            for row in trained {
                let row = &values[row * row_values..][..row_values];
                row.iter().enumerate().for_each(|(column, &value)| each(column, f64::from(value)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::error::Origin;
    use super::*;

    fn features(shape: u32, values: Values) -> Features {
        let rows = match &values {
            Values::U8(values) => values.len(),
            Values::F32(values) => values.len(),
        } / shape as usize;
        Features { file: Origin::file("x".into()), shape: vec![shape], rows, values }
    }

    #[test]
    fn uniform_scaling_is_by_255_for_pixels_and_by_the_training_rows_for_numbers() {
        let pixels = features(1, Values::U8(vec![0, 10, 20]));
        // The last row is held out: its 100 must not count.
        let numbers = features(1, Values::F32(vec![-1.0, 3.0, 100.0]));
        let constant = features(1, Values::F32(vec![7.0, 7.0, 8.0]));
        let tiny = features(1, Values::F32(vec![0.0, 1e-42, 0.0]));
        for (name, kind, features, factor, offset) in [
            ("none", ScalingKind::None, &numbers, 1.0, 0.0),
            ("unit pixels", ScalingKind::Unit, &pixels, 1.0 / 255.0, 0.0),
            ("centered pixels", ScalingKind::Centered, &pixels, 1.0 / 255.0, -0.5),
            ("unit numbers", ScalingKind::Unit, &numbers, 0.25, 0.25),
            ("centered numbers", ScalingKind::Centered, &numbers, 0.25, -0.25),
            ("unit constant", ScalingKind::Unit, &constant, 0.0, 0.0),
            ("centered constant", ScalingKind::Centered, &constant, 0.0, 0.0),
            ("a factor beyond f32", ScalingKind::Unit, &tiny, 0.0, 0.0),
        ] {
            let scaling = of(kind, features, &[false, false, true]);
            assert_eq!(scaling, Scaling::Uniform { factor, offset }, "{name}");
        }
    }

    #[test]
    fn standard_scaling_gives_each_feature_mean_0_and_variance_1_and_a_constant_feature_0() {
        let values = [[1.0, 0.1, 16_777_216.0], [3.0, 0.1, 16_777_218.0], [9.0, 5.0, 0.0]];
        let numbers = features(3, Values::F32(values.concat()));
        let pixels = features(3, Values::U8(vec![1, 4, 10, 3, 4, 20, 255, 0, 0]));
        let held_out = [false, false, true];
        let want = Scaling::PerFeature { factors: vec![1.0, 0.0, 1.0], offsets: vec![-2.0, 0.0, -16_777_217.0] };
        assert_eq!(of(ScalingKind::Standard, &numbers, &held_out), want);
        let want = Scaling::PerFeature { factors: vec![1.0, 0.0, 0.2], offsets: vec![-2.0, 0.0, -3.0] };
        assert_eq!(of(ScalingKind::Standard, &pixels, &held_out), want);
    }
}
