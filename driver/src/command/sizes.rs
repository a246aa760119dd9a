//! Sizes of clusters, as the command line has them: `1,2,13`.

use std::str::FromStr;

/// Executors that a cluster may have: more are a slip of the pen.
const EXECUTORS_MAX: u32 = 100_000;
/// Sizes that one command takes.
const SIZES_MAX: usize = 64;

/// Numbers of executors, each once, in ascending order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sizes(pub(super) Vec<u32>);

impl FromStr for Sizes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut sizes = Vec::new();
        for part in text.split(',') {
            let size = part.trim().parse().ok().filter(|size| (1..=EXECUTORS_MAX).contains(size));
            sizes.push(size.ok_or_else(|| {
                format!("`{part}` is no size: numbers of executors from 1 to {EXECUTORS_MAX} are, as in 1,2,13")
            })?);
        }
        if sizes.len() > SIZES_MAX {
            return Err(format!("{} sizes are too many; {SIZES_MAX} are plenty", sizes.len()));
        }
        sizes.sort_unstable();
        sizes.dedup();
        Ok(Self(sizes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_numbers_each_once_in_order() {
        assert_eq!("13, 1,2,2".parse(), Ok(Sizes(vec![1, 2, 13])));
        for wrong in ["", "0", "1,", "1,a", "-1", "1.5", "100001", "99999999999"] {
            assert!(wrong.parse::<Sizes>().unwrap_err().contains("is no size"), "{wrong}");
        }
        let many = vec!["1"; SIZES_MAX + 1].join(",");
        assert!(many.parse::<Sizes>().unwrap_err().contains("too many"));
    }
}
