//! A block set is a set: compared with the standard library's.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::super::BlockSet;

proptest! {
    #[test]
    fn it_does_what_a_set_does(len in 0_u32..200, changes in prop::collection::vec((any::<bool>(), 0_u32..220), 0..300)) {
        let mut set = BlockSet::empty(len);
        let mut plain = BTreeSet::new();
        for (inserts, index) in changes {
            if inserts {
                prop_assert_eq!(set.insert(index), index < len && plain.insert(index));
            } else {
                prop_assert_eq!(set.remove(index), plain.remove(&index));
            }
            prop_assert_eq!(set.count() as usize, plain.len());
            prop_assert_eq!(set.is_full(), plain.len() == len as usize);
            prop_assert_eq!(set.contains(index), plain.contains(&index));
        }
        prop_assert_eq!(set.present().collect::<Vec<_>>(), plain.iter().copied().collect::<Vec<_>>());
        prop_assert_eq!(BlockSet::from_bytes(len, &set.to_bytes()), Some(set));
    }

    #[test]
    fn bytes_that_are_no_set_are_refused(len in 0_u32..200, bytes in prop::collection::vec(any::<u8>(), 0..28)) {
        let stray = (len as usize..bytes.len() * 8).any(|bit| bytes[bit / 8] & (1 << (bit % 8)) != 0);
        let fits = bytes.len() == len.div_ceil(8) as usize && !stray;
        let set = BlockSet::from_bytes(len, &bytes);
        prop_assert_eq!(set.is_some(), fits);
        prop_assert!(set.is_none_or(|set| set.to_bytes() == bytes));
    }

    #[test]
    fn bytes_of_the_right_length_are_a_set_unless_a_bit_is_stray(len in 1_u32..200, fill in any::<u8>()) {
        let bytes = vec![fill; len.div_ceil(8) as usize];
        let stray = len % 8 != 0 && fill >> (len % 8) != 0;
        prop_assert_eq!(BlockSet::from_bytes(len, &bytes).is_none(), stray);
    }
}

#[test]
fn a_full_set_has_every_block_and_no_other() {
    for len in [0, 1, 7, 8, 63, 64, 65, 128, 200] {
        let full = BlockSet::full(len);
        assert_eq!(full.present().collect::<Vec<_>>(), (0..len).collect::<Vec<_>>());
        assert_eq!((full.count(), full.is_full()), (len, true));
        let mut grown = BlockSet::empty(len);
        (0..len).for_each(|index| assert!(grown.insert(index)));
        assert_eq!(grown, full);
    }
}
