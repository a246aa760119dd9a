//! What the driver pushes: which block, to which node, and why.

/// An executor that takes part, by a number that the caller gives it. It must have left before its number joins again,
/// so that what is left of an old connection is not mistaken for news.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeId(pub u32);

/// Why a block is pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// No node has it.
    Scattered,
    /// Others have it, but this node gets nothing from them.
    Fed,
}

/// One block to push to one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Push {
    /// To whom.
    pub node: NodeId,
    /// Which block.
    pub index: u32,
    /// Why.
    pub why: Why,
}
