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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_executor_that_cannot_take_the_data_is_told_apart_from_a_connection_that_broke() {
        for (code, cannot_take_it) in [
            (Code::ResourceExhausted, true),
            (Code::InvalidArgument, true),
            (Code::DataLoss, true),
            (Code::Unavailable, false),
        ] {
            let error = broadcast_error("node:1", &Status::new(code, "the disk is full"));
            assert_eq!(matches!(error, LinkError::Broadcast { .. }), cannot_take_it, "{code}");
            let said = error.to_string();
            assert!(said.starts_with("node:1") && said.ends_with("the disk is full"), "{said}");
        }
    }

    #[test]
    fn of_a_connection_that_died_the_cause_is_told() {
        let died = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        assert_eq!(status_in_words(&Status::from_error(Box::new(died))), "connection reset");
    }
}
