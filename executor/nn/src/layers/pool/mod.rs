//! Max and average pooling.

mod average;
mod max;
#[cfg(test)]
mod tests;

pub(crate) use self::average::AveragePool;
pub(crate) use self::max::{MaxPool, Windowed};
