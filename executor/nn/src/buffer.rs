//! Values that start where a line of the cache does.

use std::ops::{Deref, DerefMut};

use bytemuck::{Pod, Zeroable};

/// Values of a line.
const LINE: usize = 16;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
struct Line([f32; LINE]);

/// So many values. Pixels of a blocked layout are whole lines: where the first one starts with a line, no vector lies
/// across two of them, and each is one read instead of two.
pub(super) struct Buffer {
    lines: Vec<Line>,
    len: usize,
}

impl Buffer {
    /// Zeros.
    pub(super) fn zeroed(len: usize) -> Self {
        Self { lines: bytemuck::allocation::zeroed_vec(len.div_ceil(LINE)), len }
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &bytemuck::cast_slice(&self.lines)[..self.len]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut bytemuck::cast_slice_mut(&mut self.lines)[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_starts_with_a_line_of_zeros() {
        for len in [0, 1, 15, 16, 17, 100_000] {
            let mut buffer = Buffer::zeroed(len);
            assert_eq!(buffer.len(), len);
            assert!(buffer.as_ptr().addr().is_multiple_of(64) && buffer.iter().all(|value| *value == 0.0));
            buffer.iter_mut().for_each(|value| *value = 1.0);
            assert_eq!(buffer.iter().sum::<f32>(), len as f32);
        }
    }
}
