//! The output of a model that is applied to many rows: a folder that appears at once and whole. And its input, for executors
//! that cannot read it.
//!
//! | module | holds |
//! |---|---|
//! | [`mod@claim`] | an output, taken for one run: the folder beside it in which files are put |
//! | [`commit`] | those files made visible, all at once |
//! | [`manifest`] | `manifest.json`: which files an output has, and where they come from |
//! | [`store`] | an output on an object store: taken, filled and committed |
//! | [`output`] | an output, wherever it is |
//! | [`error`] | why an output is refused, or is not there |
//! | [`rows`] | the input, read for executors that cannot |
//! | `moves` | folders exchanged, moved, read and synced |

pub mod claim;
pub mod commit;
pub mod error;
pub mod manifest;
mod moves;
pub mod output;
pub mod rows;
pub mod store;
#[cfg(test)]
mod tests;

pub use claim::{Claim, Onto, Runner, claim};
pub use commit::Committed;
pub use error::OutputError;
pub use manifest::{Earlier, Manifest, OutputFile};
pub use output::Output;
pub use rows::InputHere;
pub use store::StoreClaim;
