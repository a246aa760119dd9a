//! Where every random number comes from.
//!
//! A generator is seeded from what it is for: never from time, executor, attempt or the order of events. Shuffles
//! come from (study seed, repeat, epoch), so that trials share them; initialisation and dropout also from the
//! configuration's values, so that a trial ends in the same weights on 1, 2 or 13 nodes.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::configuration::ConfigurationDigest;

/// The generator that everything here uses: the same numbers on every processor.
pub type Rng = ChaCha8Rng;

/// Which rows are held out of the training rows for validation.
#[must_use]
pub fn split_rng(study_seed: u64) -> Rng {
    rng(b"split", &[study_seed])
}

/// The draws of the sampler for one trial.
#[must_use]
pub fn sampler_rng(study_seed: u64, draw: u64) -> Rng {
    rng(b"sampler", &[study_seed, draw])
}

/// Which trials are drawn again to say how certain something is.
#[must_use]
pub fn resampling_rng(study_seed: u64) -> Rng {
    rng(b"resampling", &[study_seed])
}

/// The order of the training rows in one epoch (counted from 1). Shared by all trials.
#[must_use]
pub fn shuffle_rng(study_seed: u64, repeat: u32, epoch: u32) -> Rng {
    rng(b"shuffle", &[study_seed, u64::from(repeat), u64::from(epoch)])
}

/// The seed of a trial: of study seed, the configuration's values and repeat only.
#[must_use]
pub fn trial_seed(study_seed: u64, configuration: ConfigurationDigest, repeat: u32) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"broadsweep trial v1").update(&study_seed.to_le_bytes());
    hasher.update(&configuration.0.0).update(&repeat.to_le_bytes());
    first_word(&hasher.finalize())
}

/// The starting weights of one layer.
#[must_use]
pub fn initialization_rng(trial_seed: u64, layer: usize) -> Rng {
    rng(b"initialization", &[trial_seed, layer as u64])
}

/// The dropout masks of one layer in one epoch (counted from 1): an epoch can be repeated without the earlier ones.
#[must_use]
pub fn dropout_rng(trial_seed: u64, layer: usize, epoch: u32) -> Rng {
    rng(b"dropout", &[trial_seed, layer as u64, u64::from(epoch)])
}

fn rng(purpose: &[u8], parts: &[u64]) -> Rng {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"broadsweep seed v1 ").update(purpose);
    for part in parts {
        hasher.update(&part.to_le_bytes());
    }
    Rng::from_seed(*hasher.finalize().as_bytes())
}

fn first_word(hash: &blake3::Hash) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&hash.as_bytes()[..8]);
    u64::from_le_bytes(word)
}

#[cfg(test)]
mod tests {
    use rand_chacha::rand_core::Rng as _;

    use super::*;

    #[test]
    fn purposes_do_not_share_their_numbers() {
        let mut first = [
            split_rng(1).next_u64(),
            split_rng(2).next_u64(),
            sampler_rng(1, 0).next_u64(),
            resampling_rng(1).next_u64(),
            shuffle_rng(1, 0, 1).next_u64(),
            shuffle_rng(1, 0, 2).next_u64(),
            shuffle_rng(1, 1, 1).next_u64(),
            initialization_rng(1, 0).next_u64(),
            dropout_rng(1, 0, 1).next_u64(),
        ]
        .to_vec();
        let drawn = first.len();
        first.sort_unstable();
        first.dedup();
        assert_eq!(first.len(), drawn);
    }
}
