//! The IDX format, as MNIST comes: two zeros, a type, the number of sides, the sides, the values; big-endian.
//!
//! Source: <http://yann.lecun.com/exdb/mnist/>, "file formats for the MNIST database".

use super::array::{Array, ArrayHeader};
use super::error::{DataError, Origin, Sides};
use super::number::Number;
use super::source::Source;

/// Opens an IDX file and reads its header.
pub(super) fn open(file: Origin) -> Result<Array, DataError> {
    let mut source = Source::open(file)?;
    let mut magic = [0; 4];
    let got = source.fill(&mut magic)?;
    let number = match magic[..got] {
        [0, 0, 0x08, _] => Number::U8,
        [0, 0, 0x09, _] => Number::I8,
        [0, 0, 0x0b, _] => Number::I16,
        [0, 0, 0x0c, _] => Number::I32,
        [0, 0, 0x0d, _] => Number::F32,
        [0, 0, 0x0e, _] => Number::F64,
        _ => return Err(DataError::Magic { file: source.file, format: "IDX", start: hex(&magic[..got]) }),
    };
    let mut sides = vec![0; 4 * usize::from(magic[3])];
    let got = source.fill(&mut sides)?;
    if got < sides.len() {
        let what = format!("it ends after {} of {} sides", got / 4, magic[3]);
        return Err(DataError::Header { file: source.file, what });
    }
    let header_bytes = (magic.len() + sides.len()) as u64;
    let (sides, _) = sides.as_chunks();
    let sides = Sides(sides.iter().map(|&side| u64::from(u32::from_be_bytes(side))).collect());
    Array::new(source, ArrayHeader { sides, number, big_endian: true, fortran: false, header_bytes })
}

/// Bytes as messages show them.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}
