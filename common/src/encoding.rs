//! How a block looks on the wire: as it is, or encoded where that makes it smaller.
//!
//! Names, digests and files are of the block as it is, whatever way it came. What a receiver decodes into has the length
//! that the manifest gives to the block: a message cannot ask for more.

use bytes::Bytes;

/// An encoding pays if it leaves less than this many hundredths of the bytes: below that, what it saves on a network of
/// 1 Gbit/s is more than the two milliseconds that it takes for a block.
const PAYS_BELOW_PERCENT: usize = 90;
/// Parts that a sample has, spread evenly: together the bytes of two blocks, which are encoded in milliseconds.
const SAMPLE_PARTS: usize = 32;
/// Bytes of each part: as far as LZ4 looks back, so that a part shrinks about as much as the block around it.
const PART_BYTES: usize = 64 << 10;

/// What was done to a block before it went out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// Nothing.
    #[default]
    Raw,
    /// One LZ4 block, without a frame and without its length. Of the fast methods the one with a small pure decoder;
    /// zstd would halve the bytes once more, and costs a C library.
    Lz4,
}

/// A block as it is on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// What was done to it.
    pub encoding: Encoding,
    /// What came of that.
    pub content: Bytes,
}

/// The content is not a block of this length in the encoding that it claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("its LZ4 encoding does not decode to {bytes} bytes")]
pub struct Undecodable {
    /// What the block has.
    pub bytes: usize,
}

impl Encoding {
    /// What pays for the blocks of `content`, by a sample of it. The same for the same bytes; costs a few milliseconds.
    #[must_use]
    pub fn by_sample(content: &[u8]) -> Self {
        let last = content.len().saturating_sub(PART_BYTES);
        let starts = (0..SAMPLE_PARTS).map(|part| last / (SAMPLE_PARTS - 1) * part);
        let parts = starts.map(|start| &content[start..content.len().min(start + PART_BYTES)]);
        let (raw, encoded) = parts
            .fold((0, 0), |(raw, encoded), part| (raw + part.len(), encoded + lz4_flex::block::compress(part).len()));
        if encoded * 100 < raw * PAYS_BELOW_PERCENT { Self::Lz4 } else { Self::Raw }
    }
}

impl Encoded {
    /// The block in this encoding, or as it is if that would not be shorter.
    #[must_use]
    pub fn of(block: Bytes, encoding: Encoding) -> Self {
        let encoded = match encoding {
            Encoding::Raw => None,
            Encoding::Lz4 => Some(lz4_flex::block::compress(&block)).filter(|encoded| encoded.len() < block.len()),
        };
        match encoded {
            Some(content) => Self { encoding, content: content.into() },
            None => Self { encoding: Encoding::Raw, content: block },
        }
    }

    /// The block, which has to have `bytes` bytes. Takes memory for so many and no more; what came raw is passed on
    /// whatever its length is, for whoever checks it against its digest.
    ///
    /// # Errors
    /// [`Undecodable`].
    pub fn decode(self, bytes: usize) -> Result<Bytes, Undecodable> {
        match self.encoding {
            Encoding::Raw => Ok(self.content),
            Encoding::Lz4 => {
                let mut block = vec![0; bytes];
                match lz4_flex::block::decompress_into(&self.content, &mut block) {
                    Ok(decoded) if decoded == bytes => Ok(block.into()),
                    Ok(_) | Err(_) => Err(Undecodable { bytes }),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::blob::BLOCK_BYTES;

    /// Bytes without a pattern.
    fn noise(bytes: usize) -> Vec<u8> {
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        };
        (0..bytes).map(|_| next()).collect()
    }

    /// Half of it noise, in runs of 16 bytes.
    fn half_noise(bytes: usize) -> Vec<u8> {
        let mut content = noise(bytes);
        content.chunks_mut(32).for_each(|chunk| chunk.iter_mut().take(16).for_each(|byte| *byte = 0));
        content
    }

    fn lz4(content: Vec<u8>) -> Encoded {
        Encoded { encoding: Encoding::Lz4, content: content.into() }
    }

    #[test]
    fn a_sample_tells_what_shrinks_from_what_does_not() {
        for bytes in [200, PART_BYTES, 3 * BLOCK_BYTES + 7, 40 * BLOCK_BYTES] {
            assert_eq!(Encoding::by_sample(&vec![7; bytes]), Encoding::Lz4, "{bytes} bytes, all the same");
            assert_eq!(Encoding::by_sample(&half_noise(bytes)), Encoding::Lz4, "{bytes} bytes, half of them zeros");
            assert_eq!(Encoding::by_sample(&noise(bytes)), Encoding::Raw, "{bytes} bytes of noise");
        }
        assert_eq!(Encoding::by_sample(&[]), Encoding::Raw);
    }

    #[test]
    fn a_header_unlike_the_rest_does_not_decide() {
        let mut content = noise(32 * BLOCK_BYTES);
        content[..BLOCK_BYTES].fill(0);
        assert_eq!(Encoding::by_sample(&content), Encoding::Raw);
    }

    #[test]
    fn a_block_that_does_not_shrink_goes_as_it_is() {
        let block = Bytes::from(noise(BLOCK_BYTES));
        assert_eq!(
            Encoded::of(block.clone(), Encoding::Lz4),
            Encoded { encoding: Encoding::Raw, content: block.clone() }
        );
        assert_eq!(Encoded::of(Bytes::new(), Encoding::Lz4).encoding, Encoding::Raw);
        let zeros = Encoded::of(vec![0; BLOCK_BYTES].into(), Encoding::Lz4);
        assert!(zeros.encoding == Encoding::Lz4 && zeros.content.len() < 5000);
    }

    #[test]
    fn an_encoding_that_claims_another_length_is_refused() {
        let block = half_noise(BLOCK_BYTES);
        let good = lz4_flex::block::compress(&block);
        assert_eq!(lz4(good.clone()).decode(BLOCK_BYTES), Ok(block.into()));
        let bytes = BLOCK_BYTES;
        for (name, content) in [
            ("a bomb: 64 MiB of zeros", lz4_flex::block::compress(&vec![0; 64 << 20])),
            ("a byte too much", lz4_flex::block::compress(&half_noise(bytes + 1))),
            ("a byte too little", lz4_flex::block::compress(&half_noise(bytes - 1))),
            ("half of it", good[..good.len() / 2].to_vec()),
            ("nothing", Vec::new()),
            ("noise", noise(bytes)),
            ("itself twice", [good.clone(), good].concat()),
        ] {
            assert_eq!(lz4(content).decode(bytes), Err(Undecodable { bytes }), "{name}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn what_was_encoded_decodes_to_itself(
            seed in prop::collection::vec(any::<u8>(), 1..200),
            repeats in 1_usize..100,
            lz4 in any::<bool>(),
        ) {
            let block = Bytes::from(seed.repeat(repeats));
            let encoding = if lz4 { Encoding::Lz4 } else { Encoding::Raw };
            let encoded = Encoded::of(block.clone(), encoding);
            prop_assert!(encoded.content.len() <= block.len());
            prop_assert_eq!(encoded.decode(block.len()), Ok(block));
        }

        #[test]
        fn arbitrary_bytes_never_panic(content in prop::collection::vec(any::<u8>(), 0..300), bytes in 0_usize..5000) {
            let decoded = lz4(content).decode(bytes);
            prop_assert!(decoded.is_err() || decoded.is_ok_and(|block| block.len() == bytes));
        }
    }
}
