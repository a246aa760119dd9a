//! Layers with weights on plain row-major memory, for the `gemm` crate.

mod conv;
mod dense;

pub(crate) use conv::Conv;
#[cfg(test)]
pub(crate) use conv::tile_positions;
pub(crate) use dense::Dense;
