//! Blocks on their way: messages whose content is copied neither on its way out nor on its way in.
//!
//! On the wire they are what `bulk.proto` says, for any gRPC library. The usual codec, though, copies each message into a
//! buffer before it goes out, and from frames into another one when it comes: in a broadcast these copies, and the fresh
//! memory that they take, would be a fifth of what both sides compute. Here a message goes out in two pieces, of which the
//! second is the block itself, and is read from the frames as they came.
//!
//! | module | holds |
//! |---|---|
//! | `pieces` | a message in pieces, out and in |
//! | `client` | calls |
//! | `server` | answers |

mod client;
mod pieces;
mod server;
#[cfg(test)]
mod tests;

pub use client::BulkClient;
pub use messages::{Encoding, FetchReply, FetchRequest, PushReply, PushRequest};
pub use pieces::Messages;
pub use server::{Bulk, BulkServer};

/// The name of the service on the wire, and the paths of what it can be asked.
const NAME: &str = "broadsweep.bulk.v1.Bulk";
const PUSH: &str = "/broadsweep.bulk.v1.Bulk/Push";
const FETCH: &str = "/broadsweep.bulk.v1.Bulk/Fetch";

/// What a body of messages is called.
const CONTENT_TYPE: &str = "application/grpc";

mod messages {
    tonic::include_proto!("broadsweep.bulk.v1");
}
