//! An output, wherever it is: a folder, or objects of a store below an address.

use std::path::Path;

use broadsweep_common::application::KeptColumn;
use broadsweep_data::output::OutputFormat;
use broadsweep_objects::ObjectAddress;

use super::claim::{Claim, Onto, Runner, claim};
use super::store::StoreClaim;
use super::{Committed, Manifest, OutputError};

/// An output that a run writes.
#[derive(Debug)]
pub enum Output {
    /// In a folder.
    Folder(Claim),
    /// On a store.
    Store(StoreClaim),
}

impl Output {
    /// Takes an output for a run, or goes on with what the run took before.
    ///
    /// # Errors
    /// [`OutputError`]; then the output is as it was.
    pub fn take(output: &Path, onto: Onto, run: Runner<'_>) -> Result<Self, OutputError> {
        if !ObjectAddress::is_meant(output) {
            return claim(output, onto, run).map(Self::Folder);
        }
        let place = address_of(output)?;
        StoreClaim::take(broadsweep_objects::open()?, &place, onto, run).map(Self::Store)
    }

    /// Looks whether files of this format, with these columns, can be added to those that are in the output.
    ///
    /// # Errors
    /// [`OutputError::Unlike`], or the output's manifest cannot be read.
    pub fn check_like(&self, format: OutputFormat, columns: &[KeptColumn]) -> Result<(), OutputError> {
        match self {
            Self::Folder(claim) => claim.check_like(format, columns),
            Self::Store(claim) => claim.check_like(format, columns),
        }
    }

    /// Puts a file into the output that is not visible yet. The same file may be put again.
    ///
    /// # Errors
    /// [`OutputError`], if it is not there.
    pub fn put(&self, name: &str, bytes: &[u8]) -> Result<(), OutputError> {
        match self {
            Self::Folder(claim) => claim.put(name, bytes),
            Self::Store(claim) => claim.put(name, bytes),
        }
    }

    /// Makes the files visible that the manifest names, all at once and durably.
    ///
    /// # Errors
    /// [`OutputError`]; then the run can take the output again and commit again, unless it says that it cannot.
    pub fn commit(self, manifest: &Manifest) -> Result<Committed, OutputError> {
        match self {
            Self::Folder(claim) => claim.commit(manifest),
            Self::Store(claim) => claim.commit(manifest),
        }
    }

    /// Gives the output back as it was.
    ///
    /// # Errors
    /// [`OutputError`], if what was put cannot be removed.
    pub fn release(self) -> Result<(), OutputError> {
        match self {
            Self::Folder(claim) => claim.release(),
            Self::Store(claim) => claim.release(),
        }
    }
}

/// The address that an output has on a store.
///
/// # Errors
/// [`OutputError`], if it is none, or is that of a web server.
pub fn address_of(output: &Path) -> Result<ObjectAddress, OutputError> {
    let address = ObjectAddress::parse(&output.to_string_lossy())?;
    if address.is_of_store() { Ok(address) } else { Err(OutputError::NoStore(address)) }
}
