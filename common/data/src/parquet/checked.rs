//! Pages that the library has unpacked, before it takes values out of them.
//!
//! Texts that are written behind their lengths begin with how many there are, and the library takes memory for as many.
//! That is inside the page, where no header has it.
//!
//! Source: the Parquet format, Encodings.md.

use parquet::basic::Encoding;
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result};

use super::compact::{Broken, Compact};

/// The pages of a column, of which each is checked, and those without values are left out.
pub(super) struct CheckedPages {
    pub(super) pages: Box<dyn PageReader>,
    /// Whether values may be missing: levels say which, in front.
    pub(super) has_levels: bool,
}

impl PageReader for CheckedPages {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        while let Some(page) = self.pages.get_next_page()? {
            if page.is_data_page() && page.num_values() == 0 {
                continue; // the library takes it for the end
            }
            self.check(&page)?;
            return Ok(Some(page));
        }
        Ok(None)
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        self.pages.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<()> {
        self.pages.skip_next_page()
    }
}

impl Iterator for CheckedPages {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

impl CheckedPages {
    fn check(&self, page: &Page) -> Result<()> {
        let lists_of_lengths = match page.encoding() {
            Encoding::DELTA_LENGTH_BYTE_ARRAY => 1,
            Encoding::DELTA_BYTE_ARRAY => 2,
            _ => return Ok(()),
        };
        let mut rest = self.values_of(page).ok_or_else(|| corrupt("a page ends before its values"))?;
        let mut counted = None;
        for _ in 0..lists_of_lengths {
            let (values, bytes) = behind_differences(rest).map_err(|broken| match broken {
                Broken::Short => corrupt("a page ends before its values"),
                Broken::Wrong(what) => corrupt(what),
            })?;
            if values > u64::from(page.num_values()) || counted.is_some_and(|counted| counted != values) {
                return Err(corrupt("a page has other values than it says"));
            }
            counted = Some(values);
            rest = &rest[bytes..];
        }
        Ok(())
    }

    /// The bytes behind the levels.
    fn values_of<'a>(&self, page: &'a Page) -> Option<&'a [u8]> {
        let start = match page {
            Page::DataPageV2 { def_levels_byte_len, rep_levels_byte_len, .. } => {
                (*def_levels_byte_len as usize).checked_add(*rep_levels_byte_len as usize)?
            }
            Page::DataPage { buf, def_level_encoding: Encoding::RLE, .. } if self.has_levels => {
                (u32::from_le_bytes(*buf.first_chunk()?) as usize).checked_add(4)?
            }
            // One bit each, as older programs write them.
            Page::DataPage { num_values, .. } if self.has_levels => num_values.div_ceil(8) as usize,
            _ => 0,
        };
        page.buffer().get(start..)
    }
}

fn corrupt(what: &str) -> ParquetError {
    ParquetError::General(what.to_owned())
}

/// Steps over whole numbers that are written by their differences (`DELTA_BINARY_PACKED`): how many they are, and how many
/// bytes they take.
fn behind_differences(bytes: &[u8]) -> std::result::Result<(u64, usize), Broken> {
    const WRONG: Broken = Broken::Wrong("a page's lengths are said to be in blocks that cannot be");
    let mut input = Compact::new(bytes);
    let (block_values, miniblocks, values) = (input.varint()?, input.varint()?, input.varint()?);
    input.zigzag()?;
    if miniblocks == 0 || block_values % 128 > 0 || block_values % miniblocks > 0 || block_values > 1 << 31 {
        return Err(WRONG);
    }
    let values_each = block_values / miniblocks;
    if values_each == 0 || values_each % 32 > 0 {
        return Err(WRONG);
    }
    let mut left = values.saturating_sub(1);
    while left > 0 {
        input.zigzag()?; // the least difference
        let widths = input.take(miniblocks as usize)?;
        for &width in widths {
            // Behind the last value, widths mean nothing.
            if left > 0 {
                input.take((u64::from(width) * values_each / 8) as usize)?;
            }
            left = left.saturating_sub(values_each);
        }
    }
    Ok((values, input.position()))
}
