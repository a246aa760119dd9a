//! What went wrong with which object: what the store said, and what to do.

use crate::ObjectAddress;

/// What went wrong with an object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ObjectError {
    /// This program was built without what it takes.
    #[error(
        "this broadsweep was built without object stores and web servers: build it with `cargo build --release --features \
         stores`, or copy the files to a disk"
    )]
    NotBuilt,
    /// A text that is no address.
    #[error("{text}: {what}")]
    Address {
        /// The text, without what may be a secret.
        text: String,
        /// What is wrong with it, and what to write.
        what: String,
    },
    /// An executor does not read it for a driver.
    #[error("{0} is not below an address that --allow-stores names there")]
    NotAllowed(ObjectAddress),
    /// The environment's settings are none.
    #[error("{said}; look at the variables AWS_* of the environment")]
    Environment {
        /// What is wrong with them.
        said: String,
    },
    /// Nothing has that name.
    #[error(
        "{address} is not there{}; look at its name, and at AWS_ENDPOINT_URL where the store is not Amazon's",
        told(said)
    )]
    NotFound {
        /// Which object.
        address: ObjectAddress,
        /// What the store said.
        said: String,
    },
    /// The credentials are wrong, or do not allow it.
    #[error(
        "{address}: the store refuses{}; look at the credentials in the environment (AWS_ACCESS_KEY_ID and others), and at what they allow",
        told(said)
    )]
    Denied {
        /// Which object.
        address: ObjectAddress,
        /// What the store said.
        said: String,
    },
    /// It is not what it was.
    #[error(
        "{0} has changed since it was cut into partitions; leave the input as it is until all of it is done, and run again"
    )]
    Changed(ObjectAddress),
    /// The server names another place, which may be one that must not be read.
    #[error("{address} is elsewhere, as its server says; {}", if *is_store {
        "set AWS_REGION, or AWS_ENDPOINT_URL, to where the bucket is"
    } else {
        "name the address that it leads to"
    })]
    Elsewhere {
        /// Which object.
        address: ObjectAddress,
        /// Whether a store says so.
        is_store: bool,
    },
    /// A web server cannot be asked for what it has.
    #[error("{0} is not there, and a web server does not tell what else it has; name each file of it")]
    NoList(ObjectAddress),
    /// More objects than are remembered.
    #[error("{address} has more than {most} objects below it; name fewer of them at a time")]
    TooMany {
        /// Below which address.
        address: ObjectAddress,
        /// How many there may be.
        most: usize,
    },
    /// An object is larger than whoever asks for it takes.
    #[error("{address} has {bytes} bytes, more than the {most} that it may have")]
    TooLarge {
        /// Which object.
        address: ObjectAddress,
        /// Its bytes.
        bytes: u64,
        /// How many it may have.
        most: u64,
    },
    /// Whoever waited for it no longer does.
    #[error("it was stopped")]
    Stopped,
    /// It cannot be written where it is brought to.
    #[error("{address} cannot be brought to this machine: {said}; see to it that there is room in the cache folder")]
    NotBrought {
        /// Which object.
        address: ObjectAddress,
        /// What the system said.
        said: String,
    },
    /// Anything else, after some tries.
    #[error(
        "{address}: the store does not answer as it should{}; see to it that it can be reached, and run again",
        told(said)
    )]
    Failed {
        /// Which object.
        address: ObjectAddress,
        /// What the store or the connection said.
        said: String,
    },
}

fn told(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!(" ({said})") }
}
