//! The files of an input that is applied, where an executor reads them: under their own names, or as what was sent of them.

use std::path::Path;

use broadsweep_common::application::InputFile;
use broadsweep_data::partition::{Readable, unpack};
use broadsweep_store::Content;

use super::trainer::in_words;
use crate::files::AllowedFiles;

/// Which files may be read here, if those of the input are among them; else why they cannot be.
pub(super) struct InputFiles(Result<AllowedFiles, String>);

impl InputFiles {
    /// Looks whether these files are here as they were cut, and may be read.
    pub(super) fn look(files: &[InputFile], allowed: Option<&AllowedFiles>) -> Self {
        let allowed = allowed.ok_or_else(|| {
            "it reads no files of its machine (`--allow-files DIR` would let it read those below a folder)".to_owned()
        });
        Self(allowed.and_then(|allowed| {
            for file in files {
                allowed.find(Path::new(&file.path))?;
                Readable::here(file.clone()).check().map_err(in_words)?;
            }
            Ok(allowed.clone())
        }))
    }

    /// Why they cannot be read here.
    pub(super) fn lacks(&self) -> Option<&str> {
        self.0.as_ref().err().map(String::as_str)
    }

    /// The files of a partition: what was sent of them, or themselves, all of them such as may be read.
    ///
    /// # Errors
    /// In words, if they are not here.
    pub(super) fn open(&self, own: &[InputFile], sent: Option<&Content>) -> Result<Vec<Readable>, String> {
        if let Some(sent) = sent {
            return unpack((**sent).as_ref(), own).map_err(in_words);
        }
        let allowed = self.0.as_ref().map_err(|reason| format!("its rows were not sent here: {reason}"))?;
        let found = own.iter().map(|file| {
            allowed.find(Path::new(&file.path))?;
            Ok(Readable::here(file.clone()))
        });
        found.collect()
    }
}
