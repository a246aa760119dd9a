//! Where the rows of partitions come from that executors cannot read themselves.

use std::future::{Future, ready};
use std::pin::Pin;

use bytes::Bytes;

/// What a [`PartitionSource`] answers: bytes, or in words why there are none.
pub type RowsFuture = Pin<Box<dyn Future<Output = Result<Bytes, String>> + Send>>;

/// What partitions need of their files, read beside the run loop.
pub trait PartitionSource: Send + Sync {
    /// The parts of its files that a partition needs, as executors take them.
    fn rows_of(&self, partition: u32) -> RowsFuture;
}

/// Of a run that applies no model.
impl PartitionSource for () {
    fn rows_of(&self, partition: u32) -> RowsFuture {
        Box::pin(ready(Err(format!("there is no input, and no partition {partition} of it"))))
    }
}
