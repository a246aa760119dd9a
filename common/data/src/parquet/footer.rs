//! The footer of a file, checked before the library reads it.
//!
//! The library bounds lists by the bytes that are left. But it goes as deep as columns are said to be nested, until its
//! stack ends; it gives each nested column the names of all its groups; and it counts through lists of truth values that
//! take no bytes.
//!
//! Source: the Parquet format, parquet.thrift, `FileMetaData`.

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::compact::{Broken, Compact, Kind};
use super::refusal::Refusal;

/// The length of the footer and the letters behind it.
const TAIL_BYTES: u64 = 8;
/// Groups of columns inside each other.
const DEPTH_MAX: usize = 64;
/// Of all columns' names together: that of a nested column has those of its groups before it, which multiplies them.
const NAMES_BYTES_MAX: usize = 64 << 20;
/// What the library keeps for each part of such a name, beside its letters.
const NAME_PART_BYTES: usize = 48;

/// What a field has to be, so that the library reads the same as is checked here.
enum Shape {
    Flag,
    Byte,
    Whole,
    Double,
    Text,
    List(&'static Shape),
    /// Fields by their numbers. Others are skipped.
    Of(&'static [(&'static [i16], Shape)]),
}

use Shape::{Byte, Double, Flag, List, Of, Text, Whole};

const EMPTY: Shape = Of(&[]);
const FILE: Shape = Of(&[
    (&[1, 3], Whole),
    (&[2], List(&ELEMENT)),
    (&[4], List(&GROUP)),
    (&[5], List(&KEY_VALUE)),
    (&[6], Text),
    (&[7], List(&Of(&[(&[1, 2], EMPTY)]))),
]);
const ELEMENT: Shape = Of(&[(&[1, 2, 3, 5, 6, 7, 8, 9], Whole), (&[4], Text), (&[10], LOGICAL)]);
const LOGICAL: Shape = Of(&[
    (&[5], Of(&[(&[1, 2], Whole)])),
    (&[7, 8], Of(&[(&[1], Flag), (&[2], Of(&[(&[1, 2, 3], EMPTY)]))])),
    (&[10], Of(&[(&[1], Byte), (&[2], Flag)])),
    (&[16], Of(&[(&[1], Byte)])),
    (&[17, 18], Of(&[(&[1], Text), (&[2], Whole)])),
]);
const KEY_VALUE: Shape = Of(&[(&[1, 2], Text)]);
const GROUP: Shape = Of(&[
    (&[1], List(&Of(&[(&[1], Text), (&[2, 4, 5, 6, 7], Whole), (&[3], CHUNK)]))),
    (&[2, 3, 5, 6, 7], Whole),
    (&[4], List(&Of(&[(&[1], Whole), (&[2, 3], Flag)]))),
]);
const CHUNK: Shape = Of(&[
    (&[1, 4, 5, 6, 7, 9, 10, 11, 14, 15], Whole),
    (&[2], List(&Whole)),
    (&[3], List(&Text)),
    (&[8], List(&KEY_VALUE)),
    (&[12], Of(&[(&[1, 2, 5, 6], Text), (&[3, 4, 9], Whole), (&[7, 8], Flag)])),
    (&[13], List(&Of(&[(&[1, 2, 3], Whole)]))),
    (&[16], Of(&[(&[1], Whole), (&[2, 3], List(&Whole))])),
    (&[17], Of(&[(&[1], Of(&[(&[1, 2, 3, 4, 5, 6, 7, 8], Double)])), (&[2], List(&Whole))])),
]);

impl Shape {
    fn check(&self, input: &mut Compact<'_>, kind: Kind) -> Result<(), Broken> {
        match (self, kind) {
            (Of(fields), Kind::Struct) => input.each_field(|input, number, kind| {
                match fields.iter().find(|(numbers, _)| numbers.contains(&number)) {
                    Some((_, shape)) => shape.check(input, kind),
                    None => input.skip(kind),
                }
            }),
            (List(shape), Kind::List) => input.each_element(kind, |input, kind| shape.check(input, kind)),
            (Flag, Kind::True | Kind::False)
            | (Byte, Kind::Byte)
            | (Whole, Kind::Whole)
            | (Double, Kind::Double)
            | (Text, Kind::Binary) => input.skip(kind),
            _ => Err(Broken::Wrong("a field is of another kind than it has to be")),
        }
    }
}

/// Refuses a footer that the library should not see. Where it begins, in a file of so many bytes.
pub(super) fn check(file: &File, file_bytes: u64) -> Result<u64, Refusal> {
    let mut tail = [0; TAIL_BYTES as usize];
    let end = file_bytes.checked_sub(TAIL_BYTES).ok_or_else(|| Refusal::corrupt("it ends too early"))?;
    file.read_exact_at(&mut tail, end)?;
    let [length @ .., _, _, _, _] = tail;
    match &tail[4..] {
        b"PAR1" => {}
        b"PARE" => return Err(Refusal::Unsupported("it is encrypted; write it anew without encryption".into())),
        _ => return Err(Refusal::corrupt("its end is no end of a Parquet file")),
    }
    let length = u64::from(u32::from_le_bytes(length));
    let start = end.checked_sub(length).ok_or_else(|| Refusal::corrupt("its footer is longer than the file"))?;
    // As many bytes as the file has.
    let mut bytes = vec![0; length as usize];
    file.read_exact_at(&mut bytes, start)?;
    FILE.check(&mut Compact::new(&bytes), Kind::Struct)?;
    check_columns(&bytes)?;
    Ok(start)
}

/// Refuses columns that are nested too deeply, or whose names take too much.
fn check_columns(footer: &[u8]) -> Result<(), Refusal> {
    let mut elements = Vec::new();
    Compact::new(footer).each_field(|input, field, kind| match field {
        2 => input.each_element(kind, |input, kind| {
            let (mut name_bytes, mut children) = (0, 0);
            input.inner(kind, |input, field, kind| {
                match field {
                    4 => name_bytes = input.binary(kind)?.len(),
                    5 => children = input.small(kind)?,
                    _ => input.skip(kind)?,
                }
                Ok(())
            })?;
            elements.push((name_bytes, children));
            Ok(())
        }),
        _ => input.skip(kind),
    })?;
    // Of each group around: how many elements are still to come in it, and the bytes of the path to it.
    let mut around = vec![(1, 0)];
    let mut names_bytes = 0;
    for (name_bytes, children) in elements {
        while around.last().is_some_and(|&(left, _)| left <= 0) {
            around.pop();
        }
        let depth = around.len();
        let Some((left, path_bytes)) = around.last_mut() else {
            return Err(Refusal::corrupt("it names columns that belong nowhere"));
        };
        *left -= 1;
        let path_bytes = *path_bytes + name_bytes + NAME_PART_BYTES;
        if children > 0 {
            around.push((children, path_bytes));
        }
        if depth > DEPTH_MAX {
            return Err(Refusal::Unsupported("its columns are nested too deeply".into()));
        }
        names_bytes += path_bytes;
        if names_bytes > NAMES_BYTES_MAX {
            return Err(Refusal::TooLarge("the names of its columns take more than 64 MiB".into()));
        }
    }
    Ok(())
}
