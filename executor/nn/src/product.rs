//! The `gemm-f32` crate behind one safe function.
//!
//! The crate above it, `gemm`, is the same for five types of numbers: half a minute of every fresh build for four that
//! nobody here has.

#![expect(unsafe_code, reason = "`gemm-f32` takes raw pointers")]

use gemm_common::Parallelism;
use gemm_f32::gemm::f32::get_gemm_fn;
use ndarray::{ArrayView2, ArrayViewMut2};

/// What happens to the values that a product is written over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Write {
    /// They are replaced.
    Replace,
    /// The product is added to them.
    Add,
}

/// `output = left × right`, or `output += left × right`.
///
/// | argument | shape |
/// |---|---|
/// | `left` | `(m, k)` |
/// | `right` | `(k, n)` |
/// | `output` | `(m, n)` |
///
/// Any strides will do that do not walk backwards, so `.t()` transposes for free.
///
/// # Panics
/// If the shapes do not fit, or a stride is negative.
pub(super) fn multiply(
    left: &ArrayView2<'_, f32>,
    right: &ArrayView2<'_, f32>,
    write: Write,
    output: &mut ArrayViewMut2<'_, f32>,
) {
    let (m, k) = left.dim();
    let n = right.ncols();
    assert_eq!(right.nrows(), k, "the inner sides differ");
    assert_eq!(output.dim(), (m, n), "the output has another shape");
    if m == 0 || n == 0 {
        return;
    }
    let (left, right, mut output) = if output.strides()[1] < output.strides()[0] {
        // The kernels fill columns: they are given the same product, transposed, where a column is a row of the output.
        (right.t(), left.t(), output.view_mut().reversed_axes())
    } else {
        (left.view(), right.view(), output.view_mut())
    };
    let strides = [left.strides(), right.strides(), output.strides()];
    assert!(strides.iter().all(|of_one| of_one.iter().all(|stride| *stride >= 0)), "a view walks backwards");
    let (m, n) = output.dim();
    // SAFETY: the three views hold every element that these sizes and strides reach (the shapes were compared
    // above), `output` is borrowed mutably and so overlaps neither input, and all are f32.
    unsafe {
        get_gemm_fn()(
            m,
            n,
            k,
            output.as_mut_ptr(),
            output.strides()[1],
            output.strides()[0],
            write == Write::Add,
            left.as_ptr(),
            left.strides()[1],
            left.strides()[0],
            right.as_ptr(),
            right.strides()[1],
            right.strides()[0],
            1.0_f32,
            1.0_f32,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

/// `values` as `(rows, columns)`.
///
/// # Panics
/// If there are more or fewer values.
#[expect(clippy::expect_used, reason = "buffers are cut by the shapes that they are viewed with")]
pub(super) fn matrix(values: &[f32], rows: usize, columns: usize) -> ArrayView2<'_, f32> {
    ArrayView2::from_shape((rows, columns), values).expect("as many values as the shape has")
}

/// `values` as `(rows, columns)`, to be written.
///
/// # Panics
/// If there are more or fewer values.
#[expect(clippy::expect_used, reason = "buffers are cut by the shapes that they are viewed with")]
pub(super) fn matrix_mut(values: &mut [f32], rows: usize, columns: usize) -> ArrayViewMut2<'_, f32> {
    ArrayViewMut2::from_shape((rows, columns), values).expect("as many values as the shape has")
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn a_product_is_replaced_or_added_and_may_be_transposed() {
        let left = array![[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]];
        let right = array![[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]];
        let mut output = array![[9.0, 9.0], [9.0, 9.0]];
        multiply(&left.view(), &right.view(), Write::Replace, &mut output.view_mut());
        assert_eq!(output, array![[4.0, 5.0], [10.0, 11.0]]);
        multiply(&right.t(), &left.t(), Write::Add, &mut output.view_mut());
        assert_eq!(output, array![[8.0, 15.0], [15.0, 22.0]]);
    }

    #[test]
    #[should_panic(expected = "the inner sides differ")]
    fn shapes_that_do_not_fit_never_reach_the_kernel() {
        let side = array![[1.0, 2.0]];
        multiply(&side.view(), &side.view(), Write::Replace, &mut array![[0.0, 0.0]].view_mut());
    }
}
