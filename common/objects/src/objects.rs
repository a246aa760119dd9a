//! What can be done with objects. Whoever asks waits for the answer: the callers are threads that compute or command, and
//! know no tasks.

use std::fmt::Debug;
use std::fs::File;
use std::ops::Range;
use std::sync::mpsc::{Receiver, sync_channel};

use crate::{ObjectAddress, ObjectError};

/// An object as it was when it was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// What it is called.
    pub address: ObjectAddress,
    /// Its length.
    pub bytes: u64,
    /// What it would have another one of if it were changed: its `ETag`, or else when it was changed last, or nothing.
    pub tag: String,
}

/// When an object is to be put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Nothing has that name.
    Absent,
    /// It still has this tag.
    Unchanged(String),
}

/// What became of an object that was put under a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// It is there.
    Done,
    /// The condition does not hold, so that nothing was put.
    Refused,
}

/// An object that is on its way to its store.
#[derive(Debug)]
pub struct Pending {
    address: ObjectAddress,
    ended: Receiver<Result<(), ObjectError>>,
}

impl Pending {
    /// One whose end `ended` tells.
    #[must_use]
    pub fn new(address: ObjectAddress, ended: Receiver<Result<(), ObjectError>>) -> Self {
        Self { address, ended }
    }

    /// One that has ended.
    #[must_use]
    pub fn ended(address: ObjectAddress, how: Result<(), ObjectError>) -> Self {
        let (sender, ended) = sync_channel(1);
        // There is room for one, and the receiver is here.
        let _ = sender.send(how);
        Self { address, ended }
    }

    /// Waits until it is there.
    ///
    /// # Errors
    /// [`ObjectError`], if it is not there.
    pub fn wait(self) -> Result<(), ObjectError> {
        let Self { address, ended } = self;
        ended.recv().unwrap_or_else(|_| Err(ObjectError::Failed { address, said: "it was given up".to_owned() }))
    }
}

/// Stores and web servers, to those who wait for each answer. All requests have limits of time, and are tried again so
/// often.
pub trait Objects: Send + Sync + Debug {
    /// The objects below an address, in the order of the parts of their names; an error beyond `most`.
    ///
    /// # Errors
    /// [`ObjectError`], if they cannot be told.
    fn list(&self, below: &ObjectAddress, most: usize) -> Result<Vec<Object>, ObjectError>;

    /// What an object is now; `None` if there is none.
    ///
    /// # Errors
    /// [`ObjectError`], if that cannot be told.
    fn look(&self, address: &ObjectAddress) -> Result<Option<Object>, ObjectError>;

    /// All of a small object, and its tag; `None` if there is none.
    ///
    /// # Errors
    /// [`ObjectError`], if it cannot be read or has more than `most` bytes.
    fn read(&self, address: &ObjectAddress, most: u64) -> Result<Option<(Vec<u8>, String)>, ObjectError>;

    /// Brings these bytes of an object to their places in a file, unless `goes_on` says no meanwhile.
    ///
    /// # Errors
    /// [`ObjectError`]: it is not what it was, or cannot be read.
    fn fill(
        &self,
        object: &Object,
        ranges: &[Range<u64>],
        file: &File,
        goes_on: &dyn Fn() -> bool,
    ) -> Result<(), ObjectError>;

    /// Begins to put an object, in place of one that may be there.
    fn put(&self, address: &ObjectAddress, bytes: Vec<u8>) -> Pending;

    /// Puts an object if a condition holds, which nobody can make untrue meanwhile.
    ///
    /// # Errors
    /// [`ObjectError`]; then it may be there or not.
    fn put_if(&self, address: &ObjectAddress, bytes: Vec<u8>, condition: &Condition) -> Result<Put, ObjectError>;

    /// Removes objects. What is not there is no error.
    ///
    /// # Errors
    /// [`ObjectError`], if one of them cannot be removed.
    fn remove(&self, addresses: &[ObjectAddress]) -> Result<(), ObjectError>;
}

/// Sorts objects by the parts of their names: as folders would have them.
pub fn sort(objects: &mut [Object]) {
    objects.sort_by(|one, other| one.address.key().split('/').cmp(other.address.key().split('/')));
}
