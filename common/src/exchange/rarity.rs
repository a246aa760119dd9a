//! How many hold each block, and the rarest of those that are looked for.
//!
//! Blocks are kept on shelves by their number of holders, one bit a block. A change of one holder moves one bit; a
//! search looks at 64 blocks at a time. A heap, or an ordered set of (holders, block), would make a search pass one by
//! one over thousands of blocks that only busy peers hold.

use super::blocks::{BlockSet, WORD_BITS};

/// The holders of each block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rarity {
    holders: Vec<u16>,
    /// `shelves[holders]`: the open blocks, those that are looked for. A closed block lies on no shelf. There are as
    /// many shelves as a block ever had holders, and one more: 12 KiB each for the longest blob.
    shelves: Vec<BlockSet>,
}

impl Rarity {
    /// `len` open blocks that nobody holds.
    pub(super) fn new(len: u32) -> Self {
        Self { holders: vec![0; len as usize], shelves: vec![BlockSet::full(len)] }
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
        let was_open = self.shelf(block).remove(block);
        self.holders[block as usize] = holders;
        if was_open {
            self.open(block);
        }
    }

    /// The block is looked for.
    pub(super) fn open(&mut self, block: u32) {
        self.shelf(block).insert(block);
    }

    /// The block is not looked for, for now or for good.
    pub(super) fn close(&mut self, block: u32) {
        self.shelf(block).remove(block);
    }

    /// The rarest open block that somebody holds, the lowest of those; `mask` says of each word, 64 blocks, which may
    /// be chosen. Looks at worst at `len / 64` words for each number of holders that an open block has, and asks for the
    /// masks of those with an open block.
    pub(super) fn rarest(&self, mask: impl Fn(usize) -> u64) -> Option<u32> {
        let held = self.shelves[1..].iter().filter(|shelf| shelf.count() > 0);
        held.flat_map(|shelf| shelf.words().iter().enumerate()).find_map(|(word, &open)| {
            let found = if open == 0 { 0 } else { open & mask(word) };
            (found != 0).then(|| word as u32 * WORD_BITS + found.trailing_zeros())
        })
    }

    /// Where the block lies if it is open.
    fn shelf(&mut self, block: u32) -> &mut BlockSet {
        let holders = usize::from(self.holders(block));
        if self.shelves.len() <= holders {
            self.shelves.resize(holders + 1, BlockSet::empty(self.holders.len() as u32));
        }
        &mut self.shelves[holders]
    }

    /// Whether every open block lies on the one shelf of its holders, and the closed ones on none.
    #[cfg(test)]
    pub(super) fn is_sound(&self, is_open: impl Fn(u32) -> bool) -> bool {
        (0..self.holders.len() as u32).all(|block| {
            let lies = |holders: usize| is_open(block) && holders == usize::from(self.holders(block));
            self.shelves.iter().enumerate().all(|(holders, shelf)| shelf.contains(block) == lies(holders))
        })
    }
}
