//! Which blocks of a blob somebody has: one bit a block, with its count kept.

use std::fmt;

/// Bits of one word of a set.
pub(super) const WORD_BITS: u32 = u64::BITS;

// One a peer and a node; the bits themselves are 12 KiB for the longest blob.
const _: () = assert!(size_of::<BlockSet>() <= 32);

/// A set of block indexes below a fixed length.
#[derive(Clone, PartialEq, Eq)]
pub struct BlockSet {
    /// Bit `index % 64` of word `index / 64`; no bit at or beyond `len` is ever set.
    words: Vec<u64>,
    len: u32,
    count: u32,
}

impl BlockSet {
    /// None of `len` blocks.
    #[must_use]
    pub fn empty(len: u32) -> Self {
        Self { words: vec![0; len.div_ceil(WORD_BITS) as usize], len, count: 0 }
    }

    /// All of `len` blocks.
    #[must_use]
    pub fn full(len: u32) -> Self {
        let mut set = Self { words: vec![u64::MAX; len.div_ceil(WORD_BITS) as usize], len, count: len };
        if let Some(last) = set.words.last_mut() {
            *last = Self::last_word(len);
        }
        set
    }

    /// Blocks of the blob, in the set or not.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "it is the blob's length; `count` says how many are here")]
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Blocks in the set.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Whether every block is here.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.count == self.len
    }

    /// Whether block `index` is here; `false` if there is no such block.
    #[must_use]
    pub fn contains(&self, index: u32) -> bool {
        index < self.len && self.words[(index / WORD_BITS) as usize] & bit(index) != 0
    }

    /// Adds block `index`; whether it is new. `false`, and no change, if there is no such block.
    pub fn insert(&mut self, index: u32) -> bool {
        let new = index < self.len && !self.contains(index);
        if new {
            self.words[(index / WORD_BITS) as usize] |= bit(index);
            self.count += 1;
        }
        new
    }

    /// Takes block `index` out; whether it was here.
    pub fn remove(&mut self, index: u32) -> bool {
        let was_here = self.contains(index);
        if was_here {
            self.words[(index / WORD_BITS) as usize] &= !bit(index);
            self.count -= 1;
        }
        was_here
    }

    /// The blocks that are here, in order.
    pub fn present(&self) -> impl Iterator<Item = u32> + '_ {
        (0_u32..).zip(&self.words).flat_map(|(word, &bits)| bits_of(word, bits))
    }

    /// As it goes over the wire: bit `index % 8` of byte `index / 8`.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes: Vec<u8> = self.words.iter().flat_map(|word| word.to_le_bytes()).collect();
        bytes.truncate(bytes_of(self.len));
        bytes
    }

    /// What [`to_bytes`](Self::to_bytes) made; `None` if it is not a set of `len` blocks: too many or too few bytes,
    /// or a bit that stands for no block. Takes no more memory than `bytes` does.
    #[must_use]
    pub fn from_bytes(len: u32, bytes: &[u8]) -> Option<Self> {
        if bytes.len() != bytes_of(len) {
            return None;
        }
        let word = |part: &[u8]| {
            let mut whole = [0; 8];
            whole[..part.len()].copy_from_slice(part);
            u64::from_le_bytes(whole)
        };
        let words: Vec<u64> = bytes.chunks(8).map(word).collect();
        let count = words.iter().map(|word| word.count_ones()).sum();
        let set = Self { words, len, count };
        let stray = set.words.last().is_some_and(|&last| last > Self::last_word(len));
        (!stray).then_some(set)
    }

    /// The bits, for whoever looks at 64 blocks at a time.
    pub(super) fn words(&self) -> &[u64] {
        &self.words
    }

    /// The last word of a full set, the largest that any set may have there. The wrap makes the shift 0, not 64, where
    /// the last word is whole.
    fn last_word(len: u32) -> u64 {
        u64::MAX >> (len.wrapping_neg() % WORD_BITS)
    }
}

impl fmt::Debug for BlockSet {
    /// Not the bits: a long blob's would fill a screen.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} of {} blocks", self.count, self.len)
    }
}

fn bit(index: u32) -> u64 {
    1 << (index % WORD_BITS)
}

fn bytes_of(len: u32) -> usize {
    len.div_ceil(8) as usize
}

/// The indexes of the bits that are set in word `word`.
fn bits_of(word: u32, mut bits: u64) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let lowest = (bits != 0).then(|| bits.trailing_zeros())?;
        bits &= bits - 1;
        Some(word * WORD_BITS + lowest)
    })
}
