//! Objects of S3-compatible stores and of web servers: what they are called, who may read them, and how they are read,
//! listed and put.
//!
//! Credentials and the endpoint are those of the environment, as programs for AWS have them; nothing of them is kept,
//! shown or sent. Without the feature `stores` there are only the names, and [`open`] says what is missing.
//!
//! | module | holds |
//! |---|---|
//! | [`address`] | `s3://bucket/key`, `https://host/path` |
//! | [`allowed`] | which addresses an executor reads for a driver |
//! | [`error`] | what went wrong with which object, and what to do |
//! | [`objects`] | what can be done with objects |
//! | [`input`] | objects as the input of an application: listed, and brought as far as they are needed |
//! | `client` | who does it, through the crate `object_store` |

pub mod address;
pub mod allowed;
#[cfg(feature = "stores")]
mod client;
pub mod error;
pub mod input;
pub mod objects;

use std::sync::Arc;

pub use address::ObjectAddress;
pub use allowed::AllowedStores;
pub use error::ObjectError;
pub use objects::{Condition, Object, Objects, Pending, Put};

/// Whether this program was built with stores and web servers.
#[must_use]
pub fn is_built() -> bool {
    cfg!(feature = "stores")
}

/// Stores and web servers, with the credentials of this process's environment. Nothing is asked of them yet.
///
/// # Errors
/// [`ObjectError::NotBuilt`] without the feature `stores`; else the environment has something that is none of its
/// settings.
#[cfg(feature = "stores")]
pub fn open() -> Result<Arc<dyn Objects>, ObjectError> {
    Ok(Arc::new(client::Client::new()?))
}

/// Stores and web servers, of which this program knows nothing.
///
/// # Errors
/// [`ObjectError::NotBuilt`].
#[cfg(not(feature = "stores"))]
pub fn open() -> Result<Arc<dyn Objects>, ObjectError> {
    Err(ObjectError::NotBuilt)
}
