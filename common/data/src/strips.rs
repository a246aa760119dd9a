//! Arrays whose first side varies fastest (Fortran order), row after row: some rows at a time, so that memory does not
//! grow with the file.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

/// Bytes that are turned at a time, unless one row has more.
const STRIP_BYTES: usize = 16 << 20;
/// Bytes of rows that are written to at a time, if eight have no more.
const BLOCK_BYTES: usize = 128 << 10;
/// Bytes of a column that is short: a page, which the system reads anyway.
const SHORT_BYTES_MAX: usize = 4 << 10;
/// Bytes of short columns that are read at once.
const SHORT_COLUMNS_BYTES: usize = 1 << 20;

/// The values of a file, turned strip by strip.
pub(super) struct Strips {
    file: File,
    /// Where the first value lies.
    start: u64,
    rows: usize,
    value_bytes: usize,
    /// For each value of a row as the file has them, one behind the other: where it belongs in the row.
    places: Vec<u32>,
    /// The rows that are turned, and their bytes.
    turned: Range<usize>,
    strip: Vec<u8>,
    /// The same before they are turned.
    columns: Vec<u8>,
}

impl Strips {
    /// Of values of so many bytes, which begin at `start`; `sides` has the rows first.
    pub(super) fn new(file: File, start: u64, sides: &[usize], value_bytes: usize) -> Self {
        let (rows, row_sides) = sides.split_first().map_or((0, &[][..]), |(&rows, sides)| (rows, sides));
        let places = places(row_sides);
        Self { file, start, rows, value_bytes, places, turned: 0..0, strip: Vec::new(), columns: Vec::new() }
    }

    /// Hands out the bytes of these rows, each as one piece or several.
    pub(super) fn read(&mut self, rows: Range<usize>, take: &mut impl FnMut(&[u8])) -> io::Result<()> {
        let row_bytes = self.places.len() * self.value_bytes;
        let mut next = rows.start;
        while next < rows.end {
            if !self.turned.contains(&next) {
                self.turn(next)?;
            }
            let end = rows.end.min(self.turned.end);
            let (from, to) = (next - self.turned.start, end - self.turned.start);
            take(&self.strip[from * row_bytes..to * row_bytes]);
            next = end;
        }
        Ok(())
    }

    /// Turns the strip that begins with this row: block by block of rows, so that what is written to stays at hand.
    fn turn(&mut self, first: usize) -> io::Result<()> {
        let row_bytes = self.places.len() * self.value_bytes;
        let rows = (STRIP_BYTES / row_bytes).clamp(1, self.rows - first);
        self.turned = 0..0;
        self.strip.resize(rows * row_bytes, 0);
        self.columns.resize(rows * row_bytes, 0);
        self.read_columns(first, rows)?;
        let block = (BLOCK_BYTES / row_bytes).max(8);
        for start in (0..rows).step_by(block) {
            let values = start * self.value_bytes..(start + block).min(rows) * self.value_bytes;
            let to = &mut self.strip[start * row_bytes..];
            for (column, &place) in self.columns.chunks_exact(rows * self.value_bytes).zip(&self.places) {
                put(
                    &column[values.clone()],
                    &mut to[place as usize * self.value_bytes..],
                    self.value_bytes,
                    row_bytes,
                );
            }
        }
        self.turned = first..first + rows;
        Ok(())
    }

    /// Reads these rows of all columns, one column behind the other. Columns that are short are read as they follow one
    /// another, with the rows that are not wanted.
    fn read_columns(&mut self, first: usize, rows: usize) -> io::Result<()> {
        let [whole, skipped, wanted] = [self.rows, first, rows].map(|rows| rows * self.value_bytes);
        if whole > SHORT_BYTES_MAX {
            for (nth, column) in self.columns.chunks_exact_mut(wanted).enumerate() {
                self.file.read_exact_at(column, self.start + nth as u64 * whole as u64 + skipped as u64)?;
            }
            return Ok(());
        }
        let at_once = SHORT_COLUMNS_BYTES / whole;
        let mut several = vec![0; at_once * whole];
        for (nth, columns) in self.columns.chunks_mut(at_once * wanted).enumerate() {
            let several = &mut several[..columns.len() / wanted * whole];
            self.file.read_exact_at(several, self.start + (nth * at_once * whole) as u64)?;
            for (column, read) in columns.chunks_exact_mut(wanted).zip(several.chunks_exact(whole)) {
                column.copy_from_slice(&read[skipped..skipped + wanted]);
            }
        }
        Ok(())
    }
}

/// Puts each value of a column into its row.
fn put(column: &[u8], to: &mut [u8], value_bytes: usize, row_bytes: usize) {
    match value_bytes {
        1 => scatter::<1>(column, to, row_bytes),
        2 => scatter::<2>(column, to, row_bytes),
        4 => scatter::<4>(column, to, row_bytes),
        8 => scatter::<8>(column, to, row_bytes),
        bytes => {
            let values = column.chunks_exact(bytes).zip(to.chunks_mut(row_bytes));
            values.for_each(|(value, row)| row[..bytes].copy_from_slice(value));
        }
    }
}

/// The same of values of so many bytes.
fn scatter<const BYTES: usize>(column: &[u8], to: &mut [u8], row_bytes: usize) {
    for (value, row) in column.as_chunks::<BYTES>().0.iter().zip(to.chunks_mut(row_bytes)) {
        if let Some(place) = row.first_chunk_mut() {
            *place = *value;
        }
    }
}

/// Where values belong whose first side varies fastest, among those whose last one does.
fn places(sides: &[usize]) -> Vec<u32> {
    let mut strides = vec![1_usize; sides.len()];
    for side in (1..sides.len()).rev() {
        strides[side - 1] = strides[side] * sides[side];
    }
    let count = sides.iter().product();
    let mut index = vec![0; sides.len()];
    let mut places = Vec::with_capacity(count);
    for _ in 0..count {
        let place: usize = index.iter().zip(&strides).map(|(index, stride)| index * stride).sum();
        places.push(place as u32);
        for (index, &side) in index.iter_mut().zip(sides) {
            *index += 1;
            if *index < side {
                break;
            }
            *index = 0;
        }
    }
    places
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use ndarray::{ArrayView, IxDyn, ShapeBuilder};
    use proptest::prelude::*;

    use super::*;

    /// What ndarray makes of the same bytes.
    fn turned_whole(bytes: &[u8], sides: &[usize], value_bytes: usize) -> Vec<u8> {
        let values: Vec<&[u8]> = bytes.chunks(value_bytes).collect();
        let view = ArrayView::from_shape(IxDyn(sides).f(), &values).unwrap();
        view.iter().flat_map(|value| value.iter().copied()).collect()
    }

    proptest! {
        #[test]
        fn strips_hold_what_turning_the_whole_gives(
            sides in prop::collection::vec(1_usize..6, 1..5), value_bytes in 1_usize..20, step in 1_usize..4,
        ) {
            let count = sides.iter().product::<usize>() * value_bytes;
            let bytes: Vec<u8> = (0..count).map(|place| (place * 7 + place / 251) as u8).collect();
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(b"header").unwrap();
            file.write_all(&bytes).unwrap();
            let mut strips = Strips::new(file, 6, &sides, value_bytes);
            let mut got = Vec::new();
            for first in (0..sides[0]).step_by(step) {
                let rows = first..(first + step).min(sides[0]);
                strips.read(rows, &mut |bytes| got.extend_from_slice(bytes)).unwrap();
            }
            prop_assert_eq!(got, turned_whole(&bytes, &sides, value_bytes));
        }
    }

    #[test]
    fn rows_that_are_wide_and_few_are_several_strips_too() {
        let sides = [5, 2, STRIP_BYTES / 4 + 3];
        let bytes: Vec<u8> = (0..sides.iter().product::<usize>()).map(|place| (place * 31 % 253) as u8).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        let mut strips = Strips::new(file, 0, &sides, 1);
        let mut got = Vec::new();
        strips.read(0..sides[0], &mut |bytes| got.extend_from_slice(bytes)).unwrap();
        assert!(got == turned_whole(&bytes, &sides, 1));
    }

    #[test]
    fn more_rows_than_a_strip_has_are_several_strips() {
        let (rows, values) = (STRIP_BYTES / 2 + 5, 3);
        let bytes: Vec<u8> = (0..rows * values).map(|place| (place % 253) as u8).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        let mut strips = Strips::new(file, 0, &[rows, values], 1);
        let mut got = Vec::new();
        strips.read(0..rows, &mut |bytes| got.extend_from_slice(bytes)).unwrap();
        assert!(got == turned_whole(&bytes, &[rows, values], 1));
    }
}
