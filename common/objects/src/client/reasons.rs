//! What stores say, in our words: without addresses of requests, ids and signatures, which may be secrets.

use std::error::Error as _;

use broadsweep_common::printable::printable;
use object_store::Error;

use crate::address::Scheme;
use crate::{ObjectAddress, ObjectError};

/// Letters of what a store said.
const SAID_MAX: usize = 300;

/// Whether a store did not put an object since its condition does not hold.
pub(super) fn is_refused(error: &Error) -> bool {
    matches!(error, Error::AlreadyExists { .. } | Error::Precondition { .. } | Error::NotModified { .. })
}

/// What went wrong with an object.
pub(super) fn failed(address: &ObjectAddress, error: &Error) -> ObjectError {
    let (address, said) = (address.clone(), said(error));
    match error {
        Error::NotFound { .. } => ObjectError::NotFound { address, said },
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => ObjectError::Denied { address, said },
        Error::Precondition { .. } | Error::NotModified { .. } => ObjectError::Changed(address),
        _ if is_redirect(error) => ObjectError::Elsewhere { is_store: address.scheme() == Scheme::S3, address },
        _ => ObjectError::Failed { address, said },
    }
}

fn is_redirect(error: &Error) -> bool {
    let text = chain(error);
    text.contains("non-2xx status code: 3") || text.contains("redirect")
}

/// An error and what it comes from.
fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

/// What the store said itself, or else what became of the connection.
fn said(error: &Error) -> String {
    let text = chain(error);
    let between = |name: &str| {
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        rest.split_once(&format!("</{name}>")).map(|(inside, _)| inside)
    };
    if let Some(code) = between("Code") {
        let message = between("Message").map_or_else(String::new, |message| format!(": {message}"));
        return printable(&format!("{code}{message}"), SAID_MAX);
    }
    if let Some((_, status)) = text.split_once("non-2xx status code: ") {
        let status: Vec<&str> = status.split([':', '\n']).take(1).collect();
        return printable(&format!("status {}", status.join("")), SAID_MAX);
    }
    // The deepest one says what happened; those around it name the request.
    let mut deepest: &dyn std::error::Error = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    printable(&deepest.to_string(), SAID_MAX)
}
