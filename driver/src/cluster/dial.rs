//! The way to an executor, with errors that name the node.

use std::sync::Arc;
use std::time::Duration;

use broadsweep_proto::dial::{Connect, Unreachable, dial as connect};
use broadsweep_proto::safe_channel::SafeChannel;

use super::LinkError;

/// How long one dial, or the answer to a hello, may take.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// A channel to the executor at `address`.
pub(super) async fn dial(network: &Arc<dyn Connect>, address: &str) -> Result<SafeChannel, LinkError> {
    connect(network, address, ANSWER_TIMEOUT).await.map_err(|Unreachable { reason, nobody_listens }| {
        LinkError::Unreachable { address: address.to_owned(), reason, nobody_listens }
    })
}
