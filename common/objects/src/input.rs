//! Objects as the input of an application: listed as files are, and brought to this machine as far as they are needed, in
//! files without names that are as long as the objects and have zeros elsewhere.

use std::cell::OnceCell;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::{iter, slice, thread};

use broadsweep_common::application::{InputFile, Partition, Portion, Wanted};
use broadsweep_common::schema::Schema;
use broadsweep_data::DataError;
use broadsweep_data::partition::{Elsewhere, Readable, needed};

use crate::address::Scheme;
use crate::{Object, ObjectAddress, ObjectError, Objects};

/// Objects that an input may have: each is remembered.
const OBJECTS_MAX: usize = 1 << 20;
/// Bytes at the beginning by which readers tell what a file is, and how it is written.
const HEAD_BYTES: u64 = 1 << 20;
/// Bytes at the end of a Parquet file: how long what is before them is, which says where all else is, and four letters.
const PARQUET_END_BYTES: u64 = 8;
/// Bytes of an object that take long enough to be told of.
const TOLD_BYTES_MIN: u64 = 64 << 20;
/// Objects that are brought at the same time.
const TOGETHER: usize = 8;

/// Why the files of a partition were not brought.
#[derive(Debug, thiserror::Error)]
pub enum BringError {
    /// One of the objects.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// What is in it.
    #[error(transparent)]
    Data(Box<DataError>),
}

impl From<DataError> for BringError {
    fn from(error: DataError) -> Self {
        Self::Data(Box::new(error))
    }
}

/// The objects of an input, for whoever cuts it.
pub struct ObjectInput<'o> {
    objects: OnceCell<Arc<dyn Objects>>,
    tell: &'o dyn Fn(&str),
}

impl<'o> ObjectInput<'o> {
    /// Nothing is asked of stores before an input is an address. `tell` is told of objects that have to be brought whole.
    #[must_use]
    pub fn new(tell: &'o dyn Fn(&str)) -> Self {
        Self { objects: OnceCell::new(), tell }
    }

    /// The same, of these stores.
    #[must_use]
    pub fn of(objects: Arc<dyn Objects>, tell: &'o dyn Fn(&str)) -> Self {
        Self { objects: OnceCell::from(objects), tell }
    }

    fn objects(&self) -> Result<&dyn Objects, ObjectError> {
        if self.objects.get().is_none() {
            // Nobody else is here to set it meanwhile.
            let _ = self.objects.set(crate::open()?);
        }
        self.objects.get().map(AsRef::as_ref).ok_or(ObjectError::NotBuilt)
    }
}

impl Elsewhere for ObjectInput<'_> {
    fn is_meant(&self, input: &Path) -> bool {
        ObjectAddress::is_meant(input)
    }

    fn look(&self, name: &str) -> Result<Option<InputFile>, DataError> {
        let address = ObjectAddress::parse(name).map_err(in_words)?;
        if address.key().is_empty() && address.scheme() == Scheme::S3 {
            return Ok(None);
        }
        let found = self.objects().and_then(|objects| objects.look(&address)).map_err(in_words)?;
        Ok(found.map(file_of))
    }

    fn list(&self, below: &str) -> Result<Vec<InputFile>, DataError> {
        let address = ObjectAddress::parse(below).map_err(in_words)?;
        if address.scheme() != Scheme::S3 {
            return Err(in_words(ObjectError::NoList(address)));
        }
        let found = self.objects().and_then(|objects| objects.list(&address, OBJECTS_MAX)).map_err(in_words)?;
        Ok(found.into_iter().map(file_of).collect())
    }

    fn bring(&self, file: &InputFile) -> Result<Readable, DataError> {
        let brought = self.objects().map_err(BringError::from).and_then(|objects| {
            let (mut copy, object) = (Copy::of(file)?, object_of(file)?);
            copy.fill(objects, &object, slice::from_ref(&(0..HEAD_BYTES)), &|| true)?;
            let rest = match kind_of(&copy)? {
                Kind::Parquet => copy.footer(objects, &object, &|| true)?,
                Kind::Array => Vec::new(),
                Kind::Other => iter::once(HEAD_BYTES..file.bytes).collect(),
            };
            if rest.iter().any(|range| range.end - range.start.min(range.end) > TOLD_BYTES_MIN) {
                (self.tell)(&format!(
                    "reading {} ({} MB) to see where its rows begin",
                    file.path,
                    file.bytes / 1_000_000
                ));
            }
            copy.fill(objects, &object, &rest, &|| true)?;
            Ok(copy.into_readable(file))
        });
        brought.map_err(|error| match error {
            BringError::Object(error) => in_words(error),
            BringError::Data(error) => *error,
        })
    }
}

/// Whether there are objects among these files.
#[must_use]
pub fn has_objects(files: &[InputFile]) -> bool {
    files.iter().any(|file| ObjectAddress::is_meant(Path::new(&file.path)))
}

/// The files of a partition, with what it needs of them, as long as `goes_on` says so.
///
/// # Errors
/// [`BringError`]: an object has changed or cannot be read, or there is no room for it.
pub fn bring(
    objects: &dyn Objects,
    (schema, wanted): (&Schema, &Wanted),
    files: &[InputFile],
    partition: &Partition,
    goes_on: &(dyn Fn() -> bool + Sync),
) -> Result<Vec<Readable>, BringError> {
    let (Some(file), false) = (files.first(), is_needed_whole(partition)) else {
        return bring_whole(objects, files, goes_on);
    };
    let (mut copy, object) = (Copy::of(file)?, object_of(file)?);
    copy.fill(objects, &object, slice::from_ref(&(0..HEAD_BYTES)), goes_on)?;
    let opening = match (kind_of(&copy)?, &partition.portion) {
        (Kind::Parquet, _) => copy.footer(objects, &object, goes_on)?,
        (Kind::Array, _) | (Kind::Other, Portion::Lines { .. }) => Vec::new(),
        (Kind::Other, _) => iter::once(0..file.bytes).collect(),
    };
    copy.fill(objects, &object, &opening, goes_on)?;
    let readable = [copy.share(file)?];
    let ranges = needed(schema, wanted, &readable, partition)?;
    copy.fill(objects, &object, ranges.first().map_or(&[], Vec::as_slice), goes_on)?;
    Ok(Vec::from(readable))
}

fn is_needed_whole(partition: &Partition) -> bool {
    matches!(partition.portion, Portion::Whole | Portion::Pictures { .. })
}

/// All of each file: several at a time, since they may be many and small.
fn bring_whole(
    objects: &dyn Objects,
    files: &[InputFile],
    goes_on: &(dyn Fn() -> bool + Sync),
) -> Result<Vec<Readable>, BringError> {
    let one = |file: &InputFile| {
        let (mut copy, object) = (Copy::of(file)?, object_of(file)?);
        copy.fill(objects, &object, slice::from_ref(&(0..file.bytes)), goes_on)?;
        Ok::<_, BringError>(copy.into_readable(file))
    };
    let share = files.len().div_ceil(TOGETHER).max(1);
    thread::scope(|scope| {
        let brought: Vec<_> = files
            .chunks(share)
            .map(|some| scope.spawn(move || some.iter().map(one).collect::<Result<Vec<_>, _>>()))
            .collect();
        let mut readable = Vec::with_capacity(files.len());
        for some in brought {
            readable.extend(some.join().map_err(|_| ObjectError::Stopped)??);
        }
        Ok(readable)
    })
}

/// What an object is, as far as that says what is needed to open it.
enum Kind {
    Parquet,
    /// One array behind its header.
    Array,
    Other,
}

fn kind_of(copy: &Copy) -> Result<Kind, BringError> {
    let mut first = [0; 8];
    let got = first.len().min(copy.bytes as usize);
    copy.file.read_exact_at(&mut first[..got], 0).map_err(|error| copy.unread(&error))?;
    Ok(match first {
        [b'P', b'A', b'R', b'1', ..] => Kind::Parquet,
        [0x93, b'N', b'U', b'M', b'P', b'Y', ..] | [0, 0, 8..=14, 1..=8, ..] => Kind::Array,
        _ => Kind::Other,
    })
}

/// A copy of an object that is being filled.
struct Copy {
    file: File,
    address: ObjectAddress,
    bytes: u64,
}

impl Copy {
    fn of(file: &InputFile) -> Result<Self, BringError> {
        let address = ObjectAddress::parse(&file.path)?;
        let unwritten =
            |error: std::io::Error| ObjectError::NotBrought { address: address.clone(), said: error.to_string() };
        let copy = tempfile::tempfile().map_err(unwritten)?;
        copy.set_len(file.bytes).map_err(unwritten)?;
        Ok(Self { file: copy, address, bytes: file.bytes })
    }

    fn unread(&self, error: &std::io::Error) -> ObjectError {
        ObjectError::NotBrought { address: self.address.clone(), said: error.to_string() }
    }

    fn fill(
        &mut self,
        objects: &dyn Objects,
        object: &Object,
        ranges: &[Range<u64>],
        goes_on: &dyn Fn() -> bool,
    ) -> Result<(), ObjectError> {
        objects.fill(object, ranges, &self.file, goes_on)
    }

    /// Where the description of a Parquet file is, once its end has been brought.
    fn footer(
        &mut self,
        objects: &dyn Objects,
        object: &Object,
        goes_on: &dyn Fn() -> bool,
    ) -> Result<Vec<Range<u64>>, BringError> {
        let from = self.bytes.saturating_sub(PARQUET_END_BYTES);
        self.fill(objects, object, slice::from_ref(&(from..self.bytes)), goes_on)?;
        let mut length = [0; 4];
        if self.bytes >= PARQUET_END_BYTES {
            self.file.read_exact_at(&mut length, from).map_err(|error| self.unread(&error))?;
        }
        Ok(iter::once(from.saturating_sub(u32::from_le_bytes(length).into())..self.bytes).collect())
    }

    fn share(&self, file: &InputFile) -> Result<Readable, ObjectError> {
        let copy = self.file.try_clone().map_err(|error| self.unread(&error))?;
        Ok(Readable::brought(file.clone(), copy))
    }

    fn into_readable(self, file: &InputFile) -> Readable {
        Readable::brought(file.clone(), self.file)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that `map_err` takes")]
fn in_words(error: ObjectError) -> DataError {
    DataError::Elsewhere { what: error.to_string() }
}

fn file_of(object: Object) -> InputFile {
    let Object { address, bytes, tag } = object;
    InputFile { path: address.to_string(), bytes, modified_ns: 0, tag }
}

fn object_of(file: &InputFile) -> Result<Object, ObjectError> {
    Ok(Object { address: ObjectAddress::parse(&file.path)?, bytes: file.bytes, tag: file.tag.clone() })
}
