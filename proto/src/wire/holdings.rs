//! What an executor tells whoever watches it: which blocks of a blob it has.

use broadsweep_common::exchange::BlockSet;

use super::WireError;
use crate::blocks::Holdings;

/// What one watched executor has told so far. It tells each block once, so that no stream has more messages than the
/// blob has blocks, and one.
#[derive(Debug)]
pub struct Told {
    blocks: BlockSet,
    has_begun: bool,
}

impl Told {
    /// Of a blob of so many blocks, nothing yet.
    #[must_use]
    pub fn new(blocks: u32) -> Self {
        Self { blocks: BlockSet::empty(blocks), has_begun: false }
    }

    /// The blocks that the next message adds, in its order.
    ///
    /// # Errors
    /// [`WireError`], if it tells of blocks that there are not, of one twice, or of none although it is not the first.
    /// What it told before that counts as told: nothing more of this executor is worth reading.
    pub fn add(&mut self, message: Holdings) -> Result<Vec<u32>, WireError> {
        let Holdings { all, came } = message;
        let is_first = !std::mem::replace(&mut self.has_begun, true);
        let mut new = Vec::new();
        match all {
            Some(_) if !is_first => return Err(WireError::Twice("list of all blocks".to_owned())),
            Some(all) => {
                let all = BlockSet::from_bytes(self.blocks.len(), &all).ok_or(WireError::NoSuchBlock)?;
                new.extend(all.present());
                self.blocks = all;
            }
            None if is_first => return Err(WireError::Missing("list of all blocks")),
            None if came.is_empty() => return Err(WireError::Missing("blocks")),
            None => {}
        }
        for index in came {
            if index >= self.blocks.len() {
                return Err(WireError::NoSuchBlock);
            }
            if !self.blocks.insert(index) {
                return Err(WireError::Twice(format!("block {index}")));
            }
            new.push(index);
        }
        Ok(new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(indices: &[u32]) -> Holdings {
        let mut set = BlockSet::empty(10);
        indices.iter().for_each(|index| assert!(set.insert(*index)));
        Holdings { all: Some(set.to_bytes().into()), came: Vec::new() }
    }

    fn came(indices: &[u32]) -> Holdings {
        Holdings { all: None, came: indices.to_vec() }
    }

    #[test]
    fn each_block_is_told_once() {
        let mut told = Told::new(10);
        assert_eq!(told.add(all(&[1, 9])), Ok(vec![1, 9]));
        assert_eq!(told.add(came(&[5, 0])), Ok(vec![5, 0]));
        assert_eq!(told.add(came(&[2])), Ok(vec![2]));
    }

    #[test]
    fn what_an_executor_cannot_have_or_has_told_is_an_error() {
        let twice = |index: u32| WireError::Twice(format!("block {index}"));
        let rows = [
            ("no such block", came(&[3, 10]), WireError::NoSuchBlock),
            ("far beyond", came(&[u32::MAX]), WireError::NoSuchBlock),
            ("told at first", came(&[1]), twice(1)),
            ("twice in a message", came(&[4, 4]), twice(4)),
            ("all again", all(&[1, 2]), WireError::Twice("list of all blocks".to_owned())),
            ("nothing", came(&[]), WireError::Missing("blocks")),
        ];
        for (name, message, wanted) in rows {
            let mut told = Told::new(10);
            assert_eq!(told.add(all(&[1])), Ok(vec![1]), "{name}");
            assert_eq!(told.add(message), Err(wanted), "{name}");
        }
        assert_eq!(Told::new(10).add(came(&[1])), Err(WireError::Missing("list of all blocks")));
        let short = Holdings { all: Some(vec![0].into()), came: Vec::new() };
        assert_eq!(Told::new(10).add(short), Err(WireError::NoSuchBlock));
        assert_eq!(Told::new(4).add(all(&[1])), Err(WireError::NoSuchBlock), "of another blob");
    }
}
