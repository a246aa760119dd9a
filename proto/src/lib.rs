//! The messages between a driver and its executors, generated from `session.proto`, `blocks.proto` and `bulk.proto`.
//!
//! What they mean is written there. [`wire`] turns them into the checked types of `broadsweep_common`, and back.

use std::time::Duration;

pub mod bulk;
pub mod dial;
pub mod guard;
pub mod line;
pub mod proof;
pub mod safe_channel;
pub mod secret;
pub mod secure;
pub mod wire;

/// Compared in every hello; grows with each change that an older peer would misread.
pub const PROTOCOL: u32 = 11;

/// Largest message that either side takes: a block of 1 MiB fits with room, and so does the largest manifest.
pub const MESSAGE_BYTES_MAX: usize = 4 << 20;

/// Messages that a driver says are settled, beside those up to a number, in one message of its own.
pub const SETTLED_MAX: usize = 256;

/// Bytes that may be under way to a reader that has not taken them, a stream and a connection: enough for a link of
/// 10 Gbit/s over 3 ms.
pub const STREAM_WINDOW_BYTES: u32 = 4 << 20;
/// See [`STREAM_WINDOW_BYTES`].
pub const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;

/// Bytes of a frame that either side may send: about a block. With the usual 16 KiB, a block comes in by 64 reads, and
/// both sides together take a fifth more of the processor. Reports wait for at most one frame.
pub const FRAME_BYTES: u32 = 1 << 20;

/// A silent connection is probed this often, by both sides ...
pub const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// ... and is lost when a probe stays unanswered this long.
pub const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// One stream a driver and executor: hello, launches, reports.
pub mod session {
    tonic::include_proto!("broadsweep.session.v1");
}

/// What blobs there are, and what of them is where.
pub mod blocks {
    tonic::include_proto!("broadsweep.blocks.v1");
}
