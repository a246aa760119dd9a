//! Changes inputs as a careless or hostile writer would. The same seed makes the same changes: a test that fails on one
//! machine fails on all.

/// Bytes that an input is not grown beyond.
const INPUT_BYTES_MAX: usize = 64 << 10;
/// Changes that one input gets at most.
const CHANGES_MAX: u64 = 4;

/// Numbers at the edges of what fields hold.
const NUMBERS: [u64; 14] =
    [0, 1, 2, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 1 << 63, u64::MAX];
/// What stands where a text has a word or a number.
const WORDS: [&str; 18] = [
    "0",
    "-1",
    "1e999",
    "nan",
    "-0.0",
    "99999999999999999999",
    "9223372036854775807",
    "4294967296",
    "0.1",
    "true",
    "\"\"",
    "\"$x\"",
    "\u{e9}",
    "\0",
    "\n",
    ",,",
    "[1, 2]",
    "{ a = 1 }",
];
/// What parsers that call themselves open.
const OPENING: [&str; 5] = ["[", "{\"a\":", "(", "a.", "{ a = "];

/// Makes inputs out of others.
#[derive(Debug)]
pub struct Mutator(u64);

impl Mutator {
    /// With its own course for each seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// One of `inputs`, changed in one place or a few. There has to be one.
    pub fn change(&mut self, inputs: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = self.one_of(inputs).clone();
        for _ in 0..=self.below(CHANGES_MAX as usize) {
            self.change_once(&mut bytes, inputs);
        }
        bytes
    }

    fn change_once(&mut self, bytes: &mut Vec<u8>, inputs: &[Vec<u8>]) {
        let at = self.below(bytes.len() + 1);
        let some = self.some_of(bytes);
        match self.below(12) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(some)),
            2 => {
                let twice = bytes[some].to_vec();
                insert(bytes, at, &twice);
            }
            3 => {
                let other = self.one_of(inputs);
                let part = self.some_of(other);
                insert(bytes, at, &other[part]);
            }
            4 => {
                let other = self.one_of(inputs);
                let part = self.some_of(other);
                bytes.splice(some, other[part].iter().copied());
            }
            5 => {
                let word = self.one_of(&WORDS).as_bytes();
                let place = word_around(bytes, at);
                bytes.splice(place, word.iter().copied());
            }
            6 => {
                let most = 1 << self.below(14);
                let times = self.below(most);
                let opened = self.one_of(&OPENING).repeat(times);
                insert(bytes, at, opened.as_bytes());
            }
            7 | 8 => self.put_number(bytes, at),
            9 => {
                let new: Vec<_> = (0..=self.below(8)).map(|_| self.next() as u8).collect();
                insert(bytes, at, &new);
            }
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << self.below(8);
                }
            }
        }
    }

    /// Writes a number over what stands at `at`, in 1 to 8 bytes, either end first.
    fn put_number(&mut self, bytes: &mut [u8], at: usize) {
        let number = match self.below(4) {
            0 => self.next(),
            _ => self.one_of(&NUMBERS).wrapping_add(self.below(3) as u64).wrapping_sub(1),
        };
        let width = 1 << self.below(4);
        let mut field = number.to_le_bytes()[..width].to_vec();
        if self.below(2) == 0 {
            field.reverse();
        }
        if let Some(place) = bytes.get_mut(at..at + width) {
            place.copy_from_slice(&field);
        }
    }

    fn one_of<'a, T>(&mut self, things: &'a [T]) -> &'a T {
        &things[self.below(things.len())]
    }

    /// A stretch of `bytes`, mostly a short one.
    fn some_of(&mut self, bytes: &[u8]) -> std::ops::Range<usize> {
        let start = self.below(bytes.len() + 1);
        let longest = bytes.len() - start;
        let longest = if self.below(4) == 0 { longest } else { longest.min(32) };
        start..start + self.below(longest + 1)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    /// The next number of `SplitMix64` (Steele, Lea and Flood, 2014).
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

fn insert(bytes: &mut Vec<u8>, at: usize, new: &[u8]) {
    if bytes.len() + new.len() <= INPUT_BYTES_MAX {
        bytes.splice(at..at, new.iter().copied());
    }
}

/// The word or number that `at` stands in.
fn word_around(bytes: &[u8], at: usize) -> std::ops::Range<usize> {
    let is_part = |byte: &&u8| byte.is_ascii_alphanumeric() || b"_.-$".contains(byte);
    let before = bytes[..at].iter().rev().take_while(is_part).count();
    let behind = bytes[at..].iter().take_while(is_part).count();
    at - before..at + behind
}
