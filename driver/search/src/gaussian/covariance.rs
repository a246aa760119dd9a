//! How alike the losses of two configurations are expected to be.
//!
//! Matérn's covariance of smoothness 5/2 with a length scale a parameter (Rasmussen and Williams, "Gaussian processes for
//! machine learning", 2006, 4.17 and 5.1): `s (1 + √5 r + 5/3 r²) exp(-√5 r)`, where `r²` is the sum of the squares of the
//! distances, each over its length scale. Different choices without an order are at a distance of 1 from each other: one
//! dimension a choice, in which each is at `1/√2` or 0.

use crate::unit_point::UnitPoint;

const ROOT_5: f64 = 2.236_067_977_499_79;

/// What the covariance of two points depends on.
#[derive(Clone, Debug)]
pub(super) struct Covariance<'a> {
    /// Of each parameter, whether its values have an order.
    pub(super) is_ordered: &'a [bool],
    /// 1 over the square of each length scale.
    pub(super) closeness: Vec<f64>,
    /// The variance of a loss before anything is known.
    pub(super) variance: f64,
    /// The variance of a loss if the same configuration is trained again.
    pub(super) noise: f64,
}

impl Covariance<'_> {
    /// The square of the distance in one parameter, before the length scale.
    pub(super) fn square(is_ordered: bool, one: f64, other: f64) -> f64 {
        let distance = one - other;
        // Choices are whole numbers.
        if is_ordered { distance * distance } else { distance.abs().min(1.0) }
    }

    fn distance(&self, one: &[f64], other: &[f64]) -> f64 {
        let mut sum = 0.0;
        for (place, closeness) in self.closeness.iter().enumerate() {
            sum += closeness * Self::square(self.is_ordered[place], one[place], other[place]);
        }
        libm::sqrt(sum)
    }

    /// The covariance of two points, without noise.
    pub(super) fn of(&self, one: &[f64], other: &[f64]) -> f64 {
        self.with_slope(one, other).0
    }

    /// The covariance, and its derivative by half of `r²` with the sign turned: `s 5/3 (1 + √5 r) exp(-√5 r)`.
    pub(super) fn with_slope(&self, one: &[f64], other: &[f64]) -> (f64, f64) {
        let scaled = ROOT_5 * self.distance(one, other);
        let decay = self.variance * libm::exp(-scaled);
        (decay * (1.0 + scaled + scaled * scaled / 3.0), decay * (1.0 + scaled) * (5.0 / 3.0))
    }

    /// The covariances of these points with noise, by columns; nothing above the diagonal.
    pub(super) fn matrix(&self, points: &[UnitPoint]) -> Vec<f64> {
        self.matrix_of(&self.pairs(points), points.len())
    }

    /// Of each point with each one before it, row by row, what [`Self::with_slope`] says.
    pub(super) fn pairs(&self, points: &[UnitPoint]) -> Vec<(f64, f64)> {
        let mut pairs = Vec::with_capacity(points.len() * points.len() / 2);
        for (row, one) in points.iter().enumerate() {
            pairs.extend(points[..row].iter().map(|other| self.with_slope(one, other)));
        }
        pairs
    }

    /// [`Self::matrix`] of so many points from their [`Self::pairs`].
    pub(super) fn matrix_of(&self, pairs: &[(f64, f64)], size: usize) -> Vec<f64> {
        let mut columns = vec![0.0; size * size];
        let mut pairs = pairs.iter();
        for row in 0..size {
            for (column, (covariant, _)) in pairs.by_ref().take(row).enumerate() {
                columns[column * size + row] = *covariant;
            }
            columns[row * size + row] = self.variance + self.noise;
        }
        columns
    }
}
