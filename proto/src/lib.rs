//! The messages between a driver and its executors, generated from `session.proto` and `blocks.proto`.
//!
//! What they mean is written there. Nothing here checks them: `broadsweep_common::wire` turns them into checked types.

/// Compared in every hello; grows with each change that an older peer would misread.
pub const PROTOCOL: u32 = 1;

/// Largest message that either side takes: a block of 1 MiB fits with room, and so does the largest manifest.
pub const MESSAGE_BYTES_MAX: usize = 4 << 20;

/// One stream a driver and executor: hello, launches, reports.
pub mod session {
    tonic::include_proto!("broadsweep.session.v1");
}

/// Bulk: offers, pushes, pulls.
pub mod blocks {
    tonic::include_proto!("broadsweep.blocks.v1");
}
