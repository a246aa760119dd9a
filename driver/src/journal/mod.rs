//! The journal of a run: what happened, in records that survive the process and the machine.
//!
//! | file | holds |
//! |---|---|
//! | `storage` | the seam of simulation: one run folder, and why it cannot be read or written |
//! | `folder` | the real folder |
//! | `memory` | a folder in memory, for simulations: it crashes, tears and fills up on demand |
//! | `format` | bytes: the header and the frames; pure |
//! | `reader` | reads a journal in bounded memory; tells a torn end from damage |
//! | `writer` | [`Journal`]: append, commit, compact |
//! | `error` | why there is no journal to go on with |
//!
//! What the records say is not known here: a [`Journal`] takes any type that serde does. Their numbers are packed
//! (`common/src/codec.rs`): a trial's records are mostly small ones, and each commit waits for its bytes.
//!
//! # The file
//!
//! All integers are little-endian. A header of 16 bytes: magic (8), format version (u32), CRC-32C of these 12 bytes
//! (u32). Every version starts so, that each can name the other. Then frames, each written by one commit:
//!
//! | bytes | field | meaning |
//! |---|---|---|
//! | 4 | length | bytes of the payload, at most [`RECORD_BYTES_MAX`] and 4 |
//! | 4 | CRC-32C | of number, length and payload, in this order |
//! | 8 | number | of the frame's first record; records count from 0 |
//! | length | payload | the records, each its length (u32) and its bytes |
//!
//! **A commit is one frame**, not one frame a record: pages of one write reach a disk in any order, so after a power
//! failure the later records of a commit may stand there without the earlier ones. Frames of their own would look
//! like damage then, and the run could not be resumed. As it is, a frame is there or not, and a valid frame behind a
//! bad one proves that the bad one was synced once, and has changed since.
//!
//! An empty frame ends what a compaction wrote. It is never torn (the file was sealed whole), so damage in the frame
//! before it is told from a torn end, and it says how large the file was then.

mod error;
mod folder;
mod format;
mod memory;
mod reader;
mod storage;
mod writer;

pub use error::{Evidence, JournalError, Torn};
pub use folder::FolderStorage;
pub use format::{RECORD_BYTES_MAX, VERSION};
pub use memory::MemoryStorage;
pub use storage::{NewJournal, Storage, StorageError};
pub use writer::{COMPACTION_SLACK_BYTES, Journal, Recovered};

#[cfg(test)]
mod tests;
