//! Why a session ends, or never comes about.

use std::error::Error;

use broadsweep_proto::dial::root_cause;
use tonic::{Code, Status};

use super::LinkError;
use super::teller::RunOver;

/// How a session ended.
pub(super) enum SessionEnd {
    /// The run is over, and the executor knows, or is left as it is.
    RunOver,
    /// The run is over, and the executor may not have heard it.
    Unheard,
    /// It was ready, and is over.
    Lost { reason: String },
    /// It never became ready.
    Failed(LinkError),
}

impl From<RunOver> for SessionEnd {
    fn from(_: RunOver) -> Self {
        Self::RunOver
    }
}

impl From<LinkError> for SessionEnd {
    fn from(error: LinkError) -> Self {
        Self::Failed(error)
    }
}

/// What the peer said, or what the connection died of.
pub(super) fn status_in_words(status: &Status) -> String {
    match status.source() {
        Some(source) => root_cause(source),
        None => status.message().to_owned(),
    }
}

/// Why an executor did not take the data or the description.
pub(super) fn broadcast_error(address: &str, status: &Status) -> LinkError {
    let (address, reason) = (address.to_owned(), status_in_words(status));
    match status.code() {
        Code::ResourceExhausted | Code::InvalidArgument | Code::DataLoss => LinkError::Broadcast { address, reason },
        _ => LinkError::Broken { address, reason },
    }
}
