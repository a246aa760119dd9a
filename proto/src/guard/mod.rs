//! What keeps whoever floods from costing others anything: before it has said who it is, and after.
//!
//! | module | holds |
//! |---|---|
//! | `places` | how many connections there may be, in all and from one address, and how fast they may come |
//! | `door` | lets connections in, one place each |
//! | [`frames`] | counts what a peer sends, and says when it is a flood |
//! | `calls` | bounds what unfinished calls of one address hold, and how long they may take |
//! | `options` | what the gRPC library itself can bound |
//!
//! # What a stranger can hold
//!
//! | of | at most |
//! |---|---|
//! | connections that have not shown who they are | [`STRANGERS_MAX`] in all, [`STRANGERS_OF_ONE_MAX`] from one address: who comes then pushes out the oldest of the address that has most |
//! | memory of one of them | 192 KiB: a TLS handshake message of 64 KiB twice, and what is read ahead |
//! | time | [`HANDSHAKE_MAX`] until it has shown who it is, or, where nobody has to, [`FIRST_CALL_MAX`] until its first call |
//! | new connections | [`COMING_BURST`] from one address, then [`COMING_RATE`] a second; one that floods counts as many |
//!
//! So strangers hold at most 48 MiB, and where nobody says who it is, each peer is bounded as those that are known.
//!
//! # What a peer can hold
//!
//! | of | at most |
//! |---|---|
//! | connections | [`PEERS_MAX`] in all, [`PEERS_OF_ONE_MAX`] from one address |
//! | bytes that came and wait for their reader | [`CONNECTION_WINDOW_BYTES`](crate::CONNECTION_WINDOW_BYTES) a connection |
//! | calls at a time | [`STREAMS_MAX`] a connection, [`CALLS_OF_ONE_MAX`] from one address |
//! | messages of which a part is here | [`MESSAGES_OF_ONE_BYTES_MAX`] from one address, [`MESSAGES_BYTES_MAX`] in all, each for [`MESSAGE_TIME_MAX`] |
//! | answers that it has not read | [`ANSWERS_OF_ONE_BYTES_MAX`] from one address, [`ANSWERS_BYTES_MAX`] in all |
//! | headers of a call | [`HEADERS_BYTES_MAX`] |
//! | frames in a second | what `frames` allows of each kind; who sends more is cut off and named |
//!
//! What comes over a connection takes less than 21 MiB: its window, one frame, 64 KiB that are read ahead, and 16 KiB of
//! headers for each of its calls.
//! The messages of an address add 64 MiB at most, and its answers 128 MiB. What was measured under attack is far below that: `tests/tests/attacks.rs` asserts a bound for the whole
//! executor.

use std::time::Duration;

mod calls;
mod door;
pub mod frames;
mod options;
mod places;

pub use door::door;
pub use options::{bounded_endpoint, bounded_server};

pub(crate) use calls::{CallGuard, Share};
pub(crate) use frames::{Flood, Meter, Side};
pub(crate) use places::Visit;

/// Connections of strangers at a time.
pub const STRANGERS_MAX: usize = 256;
/// Those of them that come from one address.
pub const STRANGERS_OF_ONE_MAX: usize = 32;
/// Connections of peers that are known, or that need not be.
pub const PEERS_MAX: usize = 1024;
/// Those of them that come from one address: a driver and 255 executors may share a machine.
pub const PEERS_OF_ONE_MAX: usize = 256;
/// Connections that may come from one address at once.
pub const COMING_BURST: u32 = 512;
/// Connections a second that may come from it later.
pub const COMING_RATE: u32 = 250;
/// As many connections of its address does one that floods count as.
pub const FLOOD_COSTS: u32 = 250;
/// How long a stranger may take to show who it is.
pub const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// How long a connection on which nobody says who it is may be without a call, and how long one call's headers may take.
pub const FIRST_CALL_MAX: Duration = Duration::from_secs(10);

/// Calls at a time on one connection.
pub const STREAMS_MAX: u32 = 200;
/// Calls at a time from one address.
pub const CALLS_OF_ONE_MAX: usize = 1024;
/// Bytes of unfinished messages from one address.
pub const MESSAGES_OF_ONE_BYTES_MAX: usize = 64 << 20;
/// Bytes of unfinished messages from all addresses.
pub const MESSAGES_BYTES_MAX: usize = 256 << 20;
/// Bytes of answers that one address has not read yet: 128 blocks.
pub const ANSWERS_OF_ONE_BYTES_MAX: usize = 128 << 20;
/// Bytes of answers that nobody has read yet.
pub const ANSWERS_BYTES_MAX: usize = 512 << 20;
/// How long a message may take from its first byte to its last, and a call until its first message: 4 MiB over
/// 300 kbit/s.
pub const MESSAGE_TIME_MAX: Duration = Duration::from_mins(2);
/// Bytes of the headers, or trailers, of one call. A reason of 4 KiB fits three times over.
pub const HEADERS_BYTES_MAX: u32 = 16 << 10;
/// Calls that a peer took back before they were looked at, and calls that broke the protocol, on one connection.
pub const RESETS_PENDING_MAX: usize = 64;
