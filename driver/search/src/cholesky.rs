//! Triangular factors of covariance matrices, in plain `f64`.
//!
//! All sums have a fixed order, and the innermost loops add a multiple of one column to another: a compiler may do several
//! elements at once without a different result, so that all processors give the same bits.

/// The lower factor `L` of a matrix `K = L Lᵀ`.
#[derive(Clone, Debug)]
pub(crate) struct Cholesky {
    size: usize,
    /// Column by column; what is above the diagonal means nothing.
    columns: Vec<f64>,
}

impl Cholesky {
    /// The factor of a symmetric matrix given by its columns, of which what is above the diagonal is not read. `None` if
    /// the matrix is not positive definite.
    pub(crate) fn new(mut columns: Vec<f64>, size: usize) -> Option<Self> {
        for place in 0..size {
            let (before, rest) = columns.split_at_mut(place * size);
            let column = &mut rest[place..size];
            for earlier in before.chunks_exact(size) {
                subtract(column, earlier[place], &earlier[place..]);
            }
            let pivot = column[0];
            if pivot <= 0.0 || !pivot.is_finite() {
                return None;
            }
            let root = libm::sqrt(pivot);
            for element in column {
                *element /= root;
            }
        }
        Some(Self { size, columns })
    }

    /// Column `place`, from the diagonal down.
    fn column(&self, place: usize) -> &[f64] {
        &self.columns[place * self.size + place..(place + 1) * self.size]
    }

    /// Half the logarithm of the determinant of `K`.
    pub(crate) fn half_log_determinant(&self) -> f64 {
        (0..self.size).map(|place| libm::log(self.column(place)[0])).sum()
    }

    /// Replaces `b` by `L⁻¹ b`.
    pub(crate) fn solve_lower(&self, b: &mut [f64]) {
        for place in 0..self.size {
            let column = self.column(place);
            b[place] /= column[0];
            let solved = b[place];
            subtract(&mut b[place + 1..], solved, &column[1..]);
        }
    }

    /// Replaces `b` by `L⁻ᵀ b`.
    pub(crate) fn solve_upper(&self, b: &mut [f64]) {
        for place in (0..self.size).rev() {
            let column = self.column(place);
            let known: f64 = column[1..].iter().zip(&b[place + 1..]).map(|(element, solved)| element * solved).sum();
            b[place] = (b[place] - known) / column[0];
        }
    }

    /// `L b`.
    pub(crate) fn multiply(&self, b: &[f64]) -> Vec<f64> {
        let mut product = vec![0.0; self.size];
        for (place, factor) in b.iter().enumerate() {
            subtract(&mut product[place..], -factor, self.column(place));
        }
        product
    }

    /// `K⁻¹` by its columns, down to the diagonal; what is below it is 0.
    pub(crate) fn inverse(&self) -> Vec<f64> {
        let size = self.size;
        // The rows of L⁻¹, each from those above it.
        let mut rows = vec![0.0; size * size];
        for place in 0..size {
            let (above, rest) = rows.split_at_mut(place * size);
            let row = &mut rest[..=place];
            for (earlier, known) in above.chunks_exact(size).enumerate() {
                subtract(row, self.columns[earlier * size + place], &known[..=earlier]);
            }
            row[place] = 1.0;
            let pivot = self.columns[place * size + place];
            for element in row {
                *element /= pivot;
            }
        }
        let mut inverse = vec![0.0; size * size];
        for (place, column) in inverse.chunks_exact_mut(size).enumerate() {
            for row in rows.chunks_exact(size).skip(place) {
                subtract(&mut column[..=place], -row[place], row);
            }
        }
        inverse
    }
}

/// `target -= factor * source`, as far as the shorter one goes.
fn subtract(target: &mut [f64], factor: f64, source: &[f64]) {
    for (element, other) in target.iter_mut().zip(source) {
        *element -= factor * other;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The matrix of Wikipedia's article on this decomposition, and its factor.
    #[test]
    fn a_known_matrix_has_its_known_factor() {
        let factor = Cholesky::new(vec![4.0, 12.0, -16.0, 0.0, 37.0, -43.0, 0.0, 0.0, 98.0], 3).unwrap();
        assert_eq!(
            (factor.column(0), factor.column(1), factor.column(2)),
            (&[2.0, 6.0, -8.0][..], &[1.0, 5.0][..], &[3.0][..])
        );
        assert!((factor.half_log_determinant() - libm::log(6.0)).abs() < 1e-15);
        let mut solved = [4.0 - 16.0, 12.0 - 43.0, -16.0 + 98.0];
        factor.solve_lower(&mut solved);
        factor.solve_upper(&mut solved);
        assert!(solved.iter().zip([1.0, 0.0, 1.0]).all(|(one, other)| (one - other).abs() < 1e-9), "{solved:?}");
    }

    #[test]
    fn what_is_multiplied_is_solved_again() {
        let factor = Cholesky::new(vec![4.0, 12.0, -16.0, 0.0, 37.0, -43.0, 0.0, 0.0, 98.0], 3).unwrap();
        let mut product = factor.multiply(&[1.0, 2.0, -1.0]);
        assert_eq!(product, [2.0, 8.0, -1.0]);
        factor.solve_lower(&mut product);
        assert_eq!(product, [1.0, 2.0, -1.0]);
    }

    #[test]
    fn the_inverse_undoes_the_matrix() {
        let matrix = [4.0, 12.0, -16.0, 12.0, 37.0, -43.0, -16.0, -43.0, 98.0];
        let inverse = Cholesky::new(matrix.to_vec(), 3).unwrap().inverse();
        let element = |row: usize, column: usize| inverse[row.max(column) * 3 + row.min(column)];
        for row in 0..3 {
            for column in 0..3 {
                let product: f64 = (0..3).map(|inner| matrix[row * 3 + inner] * element(inner, column)).sum();
                assert!((product - f64::from(u8::from(row == column))).abs() < 1e-9, "{row} {column}: {product}");
            }
        }
    }

    #[test]
    fn what_is_not_positive_definite_has_none() {
        assert!(Cholesky::new(vec![1.0, 2.0, 0.0, 1.0], 2).is_none());
        assert!(Cholesky::new(vec![f64::NAN], 1).is_none());
    }
}
