//! The codecs that pages are packed with, as far as they bound what comes out.
//!
//! Source: the Parquet format, Compression.md.

use parquet::basic::Compression;

use super::refusal::Refusal;

/// Bytes that one byte can become at most. Snappy: a copy of 64 bytes takes 3 (`format_description.txt`, 2.2.2).
const SNAPPY_RATIO_MAX: usize = 22;
/// Deflate (zlib technical details, Adler).
const GZIP_RATIO_MAX: usize = 1032;
/// Zstd: a block of 128 KiB at most has a header of 3 bytes (RFC 8878, 3.1.1.2).
const ZSTD_RATIO_MAX: usize = (128 << 10) / 3 + 1;

/// What packs pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PageCodec {
    Plain,
    Snappy,
    Gzip,
    Zstd,
}

impl PageCodec {
    pub(super) fn of(compression: Compression) -> Result<Self, Refusal> {
        let name = match compression {
            Compression::UNCOMPRESSED => return Ok(Self::Plain),
            Compression::SNAPPY => return Ok(Self::Snappy),
            Compression::GZIP(_) => return Ok(Self::Gzip),
            Compression::ZSTD(_) => return Ok(Self::Zstd),
            Compression::BROTLI(_) => "Brotli",
            Compression::LZO => "LZO",
            Compression::LZ4 | Compression::LZ4_RAW => "LZ4",
        };
        Err(Refusal::Unsupported(format!("its pages are packed by {name}; write it anew with zstd, snappy or gzip")))
    }

    /// Whether so many bytes can become so many.
    pub(super) fn can_make(self, unpacked: usize, packed: usize) -> bool {
        match self {
            Self::Plain => unpacked == packed,
            Self::Snappy => unpacked <= packed.saturating_mul(SNAPPY_RATIO_MAX),
            Self::Gzip => unpacked <= packed.saturating_mul(GZIP_RATIO_MAX),
            Self::Zstd => unpacked <= packed.saturating_mul(ZSTD_RATIO_MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_that_no_packed_bytes_can_become_is_refused_beforehand() {
        for (codec, most) in
            [(PageCodec::Plain, 10), (PageCodec::Snappy, 220), (PageCodec::Gzip, 10_320), (PageCodec::Zstd, 436_910)]
        {
            assert!(codec.can_make(most, 10), "{codec:?}");
            assert!(!codec.can_make(most + 1, 10), "{codec:?}");
        }
    }
}
