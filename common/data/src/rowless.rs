//! Data sets without rows.

use broadsweep_common::dataset::{DatasetError, DatasetWriter, Element, Header, Scaling, TargetKind};

use super::destination::{Destination, Sink};
use super::{Archive, DataError, Loaded};

/// A data set without rows: what a study without `[data]` broadcasts.
///
/// # Errors
/// None in practice: such a header is a good one.
pub fn without_rows() -> Result<Loaded, DataError> {
    of_files(&Archive::default(), &Destination::Memory)
}

/// A data set of files alone.
///
/// # Errors
/// [`DataError`], for the first that cannot be packed.
pub fn of_files(files: &Archive, destination: &Destination) -> Result<Loaded, DataError> {
    let (header, mut remarks) = (header_without_rows(files.bytes().map_err(DataError::File)?), Vec::new());
    let layout = |error: DatasetError| DataError::FilesLayout(error);
    let bytes = DatasetWriter::<Sink>::bytes_of(&header).map_err(layout)?;
    let sink = destination.begin(bytes, &mut remarks)?;
    let mut writer = DatasetWriter::new(header.clone(), sink).map_err(layout)?;
    files.write(writer.files()).map_err(DataError::File)?;
    let data = writer.finish().map_err(DataError::Unwritable)?.seal()?;
    Ok(Loaded { data, header, schema: None, held_out: [Vec::new(), Vec::new()], remarks })
}

fn header_without_rows(files_bytes: u64) -> Header {
    Header {
        shape: vec![1],
        element: Element::U8,
        targets: TargetKind::Classes { count: 1 },
        rows: [0; 3],
        scaling: Scaling::Uniform { factor: 1.0, offset: 0.0 },
        files_bytes,
        target_scaling: Vec::new(),
    }
}
