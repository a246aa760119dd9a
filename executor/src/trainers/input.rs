//! The files of an input that is applied, where an executor reads them: of its machine, objects of stores, or what was sent
//! of them.

use std::path::Path;
use std::sync::Arc;

use broadsweep_common::application::{InputFile, Partition, Wanted};
use broadsweep_common::schema::Schema;
use broadsweep_data::partition::{Readable, unpack};
use broadsweep_objects::input::{BringError, bring, has_objects};
use broadsweep_objects::{AllowedStores, ObjectAddress, ObjectError, Objects};
use broadsweep_store::Content;

use super::trainer::{Means, in_words};
use crate::files::AllowedFiles;

/// What may be read here, if the input is among it; else why it cannot be.
pub(super) struct InputFiles(Result<ReadHere, String>);

impl InputFiles {
    /// Looks whether these files are here as they were cut, and may be read.
    pub(super) fn look(input: &[InputFile], means: &Means) -> Self {
        Self(ReadHere::of(input, means.files.as_ref(), means.stores.as_ref()))
    }

    /// Why they cannot be read here.
    pub(super) fn lacks(&self) -> Option<&str> {
        self.0.as_ref().err().map(String::as_str)
    }

    /// The files of a partition: what was sent of them, or themselves, all of them such as may be read; `None` if `goes_on`
    /// said no meanwhile.
    ///
    /// # Errors
    /// In words, if they are not here.
    pub(super) fn open(
        &self,
        read: (&Schema, &Wanted),
        (own, partition): (&[InputFile], &Partition),
        sent: Option<&Content>,
        goes_on: &(dyn Fn() -> bool + Sync),
    ) -> Result<Option<Vec<Readable>>, String> {
        if let Some(sent) = sent {
            return unpack((**sent).as_ref(), own).map(Some).map_err(in_words);
        }
        let here = self.0.as_ref().map_err(|reason| format!("its rows were not sent here: {reason}"))?;
        here.open(read, own, partition, goes_on)
    }
}

/// What may be read here.
struct ReadHere {
    files: Option<AllowedFiles>,
    stores: Option<(AllowedStores, Arc<dyn Objects>)>,
}

impl ReadHere {
    /// What may be read here, if all files of an input are among it; else in words why not.
    fn of(input: &[InputFile], files: Option<&AllowedFiles>, stores: Option<&AllowedStores>) -> Result<Self, String> {
        let stores = if has_objects(input) { Some(reach(input, stores)?) } else { None };
        let here = Self { files: files.cloned(), stores };
        for file in input.iter().filter(|file| !is_object(file)) {
            here.files()?.find(Path::new(&file.path))?;
            Readable::here(file.clone()).check().map_err(in_words)?;
        }
        Ok(here)
    }

    fn files(&self) -> Result<&AllowedFiles, String> {
        self.files.as_ref().ok_or_else(|| {
            "it reads no files of its machine (`--allow-files DIR` would let it read those below a folder)".to_owned()
        })
    }

    /// The files of a partition, all of them such as may be read; `None` if `goes_on` said no meanwhile.
    fn open(
        &self,
        read: (&Schema, &Wanted),
        own: &[InputFile],
        partition: &Partition,
        goes_on: &(dyn Fn() -> bool + Sync),
    ) -> Result<Option<Vec<Readable>>, String> {
        if has_objects(own) {
            let Some((allowed, objects)) = &self.stores else { return Err(NOT_ALLOWED.to_owned()) };
            own.iter().try_for_each(|file| allowed.find(&file.path).map(drop)).map_err(in_words)?;
            return match bring(&**objects, read, own, partition, goes_on) {
                Err(BringError::Object(ObjectError::Stopped)) => Ok(None),
                brought => brought.map(Some).map_err(in_words),
            };
        }
        let found = own.iter().map(|file| {
            self.files()?.find(Path::new(&file.path))?;
            Ok::<_, String>(Readable::here(file.clone()))
        });
        found.collect::<Result<_, _>>().map(Some)
    }
}

const NOT_ALLOWED: &str =
    "it reads nothing from stores (`--allow-stores s3://bucket/prefix` would let it read what is below that)";

fn is_object(file: &InputFile) -> bool {
    ObjectAddress::is_meant(Path::new(&file.path))
}

/// The stores of an input, if all of it may be read; the first object shows whether it can be.
fn reach(input: &[InputFile], allowed: Option<&AllowedStores>) -> Result<(AllowedStores, Arc<dyn Objects>), String> {
    let allowed = allowed.ok_or_else(|| NOT_ALLOWED.to_owned())?;
    let addresses = input.iter().filter(|file| is_object(file)).map(|file| allowed.find(&file.path));
    let addresses = addresses.collect::<Result<Vec<_>, _>>().map_err(in_words)?;
    let objects = broadsweep_objects::open().map_err(in_words)?;
    if let Some(first) = addresses.first() {
        let found = objects.look(first).map_err(in_words)?;
        found.ok_or_else(|| format!("{first} is not there"))?;
    }
    Ok((allowed.clone(), objects))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(path: &str) -> InputFile {
        InputFile { path: path.to_owned(), bytes: 1, modified_ns: 0, tag: String::new() }
    }

    #[test]
    fn objects_are_read_only_where_their_addresses_are_allowed() {
        let allowed = AllowedStores::below(&["s3://bucket/data".to_owned()]).unwrap();
        let inputs = [object("s3://bucket/data/a.csv"), object("http://169.254.169.254/latest")];
        let refused = |stores| ReadHere::of(&inputs, Some(&AllowedFiles::any()), stores).err().unwrap();
        assert_eq!(refused(None), NOT_ALLOWED);
        let error = refused(Some(&allowed));
        assert!(error.starts_with("http://169.254.169.254/latest is not below an address"), "{error}");
        let files = ReadHere::of(&[object("/none.csv")], None, Some(&allowed)).err().unwrap();
        assert!(files.contains("--allow-files"), "{files}");
    }
}
