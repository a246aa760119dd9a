//! The rows of a data set as files that a program maps into its memory: `numpy.load(name, mmap_mode="r")`.
//!
//! | file | shape | type |
//! |---|---|---|
//! | `train_features.npy` | `(rows, *shape of a row)` | `u1` where the study's files have bytes, else `f4`; as they are, unscaled |
//! | `train_labels.npy` | `(rows,)`, or `(rows, width)` of several numbers | `i4` classes, or `f4` numbers |
//!
//! Likewise for validation and test. A part without rows has no files, since `numpy` maps none that are empty. The cache
//! has the same bytes without these headers, so this is a second copy on disk, once a node; in memory there is none:
//! each file is written from the cache's map.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use broadsweep_common::dataset::{Dataset, Element, Part, TargetKind};

/// Anybody who may look into the folder may read them, and nobody writes them.
const READ_ONLY: u32 = 0o444;
/// A header ends at a multiple of this, so that what follows is aligned in a map.
const ALIGNMENT: usize = 64;
/// Bytes between two looks at whether anybody still waits for them.
const PIECE_BYTES: usize = 16 << 20;
/// `\x93NUMPY`, version 1.0.
const MAGIC: [u8; 8] = *b"\x93NUMPY\x01\x00";
/// Of the numbers in the cache: those of this machine.
const ORDER: char = if cfg!(target_endian = "little") { '<' } else { '>' };

/// Writes these parts of `data` into `folder`, which has no such files, until `is_given_up`.
pub(super) fn write(data: &Dataset, parts: &[Part], folder: &Path, is_given_up: &dyn Fn() -> bool) -> io::Result<()> {
    let header = data.header();
    let features_type = match header.element {
        Element::U8 => "|u1".to_owned(),
        Element::F32 => format!("{ORDER}f4"),
    };
    // Classes are below 65,536: as signed numbers they are the same bytes, and more libraries know these.
    let (labels_type, width) = match header.targets {
        TargetKind::Classes { .. } => (format!("{ORDER}i4"), None),
        TargetKind::Values { width } => (format!("{ORDER}f4"), Some(width).filter(|width| *width > 1)),
    };
    for part in parts.iter().copied().filter(|part| data.rows(*part) > 0) {
        let [features, labels] = part.file_names().map(|name| folder.join(name));
        write_array(
            &features,
            &features_type,
            (data.rows(part), &header.shape),
            data.feature_bytes(part),
            is_given_up,
        )?;
        write_array(
            &labels,
            &labels_type,
            (data.rows(part), width.as_slice()),
            data.target_bytes(part),
            is_given_up,
        )?;
    }
    Ok(())
}

fn write_array(
    path: &Path,
    element: &str,
    (rows, row): (usize, &[u32]),
    bytes: &[u8],
    is_given_up: &dyn Fn() -> bool,
) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(READ_ONLY).open(path)?;
    file.write_all(&array_header(element, rows, row))?;
    for piece in bytes.chunks(PIECE_BYTES) {
        if is_given_up() {
            return Err(io::Error::new(io::ErrorKind::Interrupted, "nobody waits for it any more"));
        }
        file.write_all(piece)?;
    }
    Ok(())
}

/// The header of an array of `rows` rows, each of shape `row`: nothing for a single value.
fn array_header(element: &str, rows: usize, row: &[u32]) -> Vec<u8> {
    let mut sides = format!("{rows},");
    for side in row {
        let _ = write!(sides, " {side},"); // a text takes all that is written
    }
    let mut text = format!("{{'descr': '{element}', 'fortran_order': False, 'shape': ({sides}), }}");
    let length = (MAGIC.len() + 2 + text.len() + 1).next_multiple_of(ALIGNMENT) - MAGIC.len() - 2;
    text.extend(std::iter::repeat_n(' ', length - 1 - text.len()));
    text.push('\n');
    let mut header = MAGIC.to_vec();
    header.extend((length as u16).to_le_bytes());
    header.extend(text.into_bytes());
    header
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Arc;

    use broadsweep_common::dataset::{DatasetBuilder, Header, Scaling};

    use super::*;

    fn data(shape: &[u32], element: Element, targets: TargetKind, rows: [u64; 3]) -> Dataset {
        let scaling = Scaling::Uniform { factor: 0.5, offset: 1.0 };
        let header = Header {
            shape: shape.to_vec(),
            element,
            targets,
            rows,
            scaling,
            files_bytes: 0,
            target_scaling: Vec::new(),
        };
        let mut builder = DatasetBuilder::new(header).unwrap();
        for part in Part::ALL {
            for row in 0..rows[part as usize] as usize {
                let value = (1 + 10 * part as usize + row) as u8;
                builder.feature_row(part, row).fill(value);
                builder.target_row(part, row)[0] = value;
            }
        }
        Dataset::open(Arc::new(builder.finish())).unwrap()
    }

    /// The text of a file's header and what follows it.
    fn read(path: &Path) -> (String, Vec<u8>) {
        let bytes = fs::read(path).unwrap();
        assert_eq!(bytes[..8], MAGIC);
        let end = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
        assert_eq!((end % ALIGNMENT, bytes[end - 1]), (0, b'\n'), "what follows is aligned");
        (String::from_utf8(bytes[10..end].to_vec()).unwrap().trim_end().to_owned(), bytes[end..].to_vec())
    }

    #[test]
    fn pixels_and_classes_are_written_as_they_lie_and_no_part_but_those_that_are_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let data = data(&[1, 2, 1], Element::U8, TargetKind::Classes { count: 100 }, [2, 0, 1]);
        write(&data, &[Part::Train, Part::Validation], folder.path(), &|| false).unwrap();
        let header =
            |dtype: &str, shape: &str| format!("{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}");
        let features = read(&folder.path().join("train_features.npy"));
        assert_eq!(features, (header("|u1", "(2, 1, 2, 1,)"), vec![1, 1, 2, 2]));
        let labels = read(&folder.path().join("train_labels.npy"));
        assert_eq!(labels, (header("<i4", "(2,)"), vec![1, 0, 0, 0, 2, 0, 0, 0]));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "no rows, no file; and no test rows");
        assert!(
            write(&data, &[Part::Train], folder.path(), &|| false).is_err(),
            "nothing that is there is overwritten"
        );
        let unwanted = tempfile::tempdir().unwrap();
        assert!(write(&data, &[Part::Train], unwanted.path(), &|| true).is_err(), "nobody waits for it");
    }

    #[test]
    fn a_single_number_a_row_has_no_side_of_its_own() {
        for (width, shape) in [(1, "(3,)"), (2, "(3, 2,)")] {
            let folder = tempfile::tempdir().unwrap();
            let data = data(&[4], Element::F32, TargetKind::Values { width }, [1, 1, 3]);
            write(&data, &Part::ALL, folder.path(), &|| false).unwrap();
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 6);
            let (labels, bytes) = read(&folder.path().join("test_labels.npy"));
            assert!(labels.contains("'<f4'") && labels.contains(shape), "{labels}");
            assert_eq!(bytes, data.target_bytes(Part::Test));
            let (features, bytes) = read(&folder.path().join("test_features.npy"));
            assert!(features.contains("'<f4'") && features.contains("(3, 4,)"), "{features}");
            assert_eq!(bytes, data.feature_bytes(Part::Test));
        }
    }
}
