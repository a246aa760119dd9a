//! Text that people write: studies and node lists. Editors and systems save it in more than one way, and all of it is
//! read here.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// What some editors put in front of UTF-8.
const MARK: &[u8] = "\u{feff}".as_bytes();
/// The same in front of UTF-16, of either order.
const WIDE_MARKS: [&[u8]; 2] = [&[0xff, 0xfe], &[0xfe, 0xff]];

/// Why bytes are no text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotText {
    /// Each letter has two bytes.
    #[error("it is UTF-16 text; save it as UTF-8")]
    Utf16,
    /// Anything else.
    #[error("it is not UTF-8 text")]
    NotUtf8,
}

/// The text of a file that has no more bytes than it may.
///
/// # Errors
/// What the system said, or in words what the file is instead.
pub(crate) fn read(path: &Path, bytes_max: u64) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        let why = format!("it has more than the {bytes_max} bytes that such a file may have");
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    }
    decode(bytes).map_err(|not_text| io::Error::new(io::ErrorKind::InvalidData, not_text))
}

/// The text in `bytes`, without the mark that some editors put in front.
///
/// # Errors
/// [`NotText`].
pub(crate) fn decode(mut bytes: Vec<u8>) -> Result<String, NotText> {
    // Without a mark, the letters of a name or a number show it: one of their two bytes is 0.
    let is_wide = WIDE_MARKS.iter().any(|mark| bytes.starts_with(mark))
        || matches!(bytes[..], [0, other, ..] | [other, 0, ..] if other != 0);
    if is_wide {
        return Err(NotText::Utf16);
    }
    if bytes.starts_with(MARK) {
        bytes.drain(..MARK.len());
    }
    String::from_utf8(bytes).map_err(|_| NotText::NotUtf8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_in_front_is_no_part_of_the_text() {
        assert_eq!(decode("\u{feff}name = 'a'".into()).as_deref(), Ok("name = 'a'"));
        assert_eq!(decode("é".into()).as_deref(), Ok("é"));
        assert_eq!(decode(Vec::new()).as_deref(), Ok(""));
    }

    #[test]
    fn what_is_no_text_is_named() {
        let wide = |swap: bool, mark: bool| {
            let units = mark.then_some(0xfeff).into_iter().chain("node7".encode_utf16());
            units
                .flat_map(|unit: u16| if swap { unit.to_be_bytes() } else { unit.to_le_bytes() })
                .collect::<Vec<u8>>()
        };
        for (swap, mark) in [(false, false), (false, true), (true, false), (true, true)] {
            assert_eq!(decode(wide(swap, mark)), Err(NotText::Utf16), "swap {swap}, mark {mark}");
        }
        assert_eq!(decode(vec![b'a', 0xe9]), Err(NotText::NotUtf8));
    }

    #[test]
    fn a_file_that_is_too_long_is_not_taken_in() {
        let error = read(Path::new("/dev/zero"), 1 << 10).unwrap_err();
        assert!(error.to_string().contains("more than the 1024 bytes"), "{error}");
    }
}
