//! How many hold each block, and the rarest of those that are looked for.
//!
//! Blocks are kept on shelves by their number of holders, one bit a block. A change of one holder moves one bit; a
//! search looks at 64 blocks at a time. A heap, or an ordered set of (holders, block), would make a search pass one by
//! one over thousands of blocks that only busy peers hold.

use super::blocks::{BlockSet, WORD_BITS};

/// Holders that are told apart: blocks that are held by as many or more lie on one shelf.
const SHELVES: usize = 16;

/// The holders of each block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rarity {
    holders: Vec<u16>,
    /// `shelves[holders]`: the open blocks, those that are looked for. A closed block lies on no shelf.
    shelves: Vec<BlockSet>,
}

impl Rarity {
    /// `len` open blocks that nobody holds.
    pub(super) fn new(len: u32) -> Self {
        let mut shelves = vec![BlockSet::empty(len); SHELVES + 1];
        shelves[0] = BlockSet::full(len);
        Self { holders: vec![0; len as usize], shelves }
    }

    /// How many hold the block.
    pub(super) fn holders(&self, block: u32) -> u16 {
        self.holders[block as usize]
    }

    /// Blocks that are looked for.
    pub(super) fn open_count(&self) -> u32 {
        self.shelves.iter().map(BlockSet::count).sum()
    }

    /// Open blocks that nobody holds.
    pub(super) fn unheld(&self) -> &BlockSet {
        &self.shelves[0]
    }

    /// One more holds the block.
    pub(super) fn add(&mut self, block: u32) {
        let holders = self.holders(block);
        self.set(block, holders + 1);
    }

    /// One less holds it.
    pub(super) fn drop_one(&mut self, block: u32) {
        let holders = self.holders(block);
        self.set(block, holders - 1);
    }

    fn set(&mut self, block: u32, holders: u16) {
        let (before, after) = (self.shelf(block), shelf_of(holders));
        self.holders[block as usize] = holders;
        if before != after && self.shelves[before].remove(block) {
            self.shelves[after].insert(block);
        }
    }

    /// The block is looked for.
    pub(super) fn open(&mut self, block: u32) {
        let shelf = self.shelf(block);
        self.shelves[shelf].insert(block);
    }

    /// The block is not looked for, for now or for good.
    pub(super) fn close(&mut self, block: u32) {
        let shelf = self.shelf(block);
        self.shelves[shelf].remove(block);
    }

    /// The rarest open block that somebody holds, the lowest of those; `mask` says of each word, 64 blocks, which may
    /// be chosen. Looks at `SHELVES * len / 64` words at worst, and asks for the masks of those with an open block.
    pub(super) fn rarest(&self, mask: impl Fn(usize) -> u64) -> Option<u32> {
        let held = self.shelves[1..].iter().filter(|shelf| shelf.count() > 0);
        held.flat_map(|shelf| shelf.words().iter().enumerate()).find_map(|(word, &open)| {
            let found = if open == 0 { 0 } else { open & mask(word) };
            (found != 0).then(|| word as u32 * WORD_BITS + found.trailing_zeros())
        })
    }

    fn shelf(&self, block: u32) -> usize {
        shelf_of(self.holders(block))
    }

    /// Whether every open block lies on the one shelf of its holders, and the closed ones on none.
    #[cfg(test)]
    pub(super) fn is_sound(&self, is_open: impl Fn(u32) -> bool) -> bool {
        (0..self.holders.len() as u32).all(|block| {
            let lies = |shelf: usize| is_open(block) && shelf == self.shelf(block);
            (0..=SHELVES).all(|shelf| self.shelves[shelf].contains(block) == lies(shelf))
        })
    }
}

fn shelf_of(holders: u16) -> usize {
    usize::from(holders).min(SHELVES)
}
