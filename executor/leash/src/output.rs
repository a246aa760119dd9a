//! What a program prints: cut into lines as a terminal would show them, and kept in a bounded part.

use std::collections::VecDeque;

/// Bytes of one line; a longer one is cut into several.
const LINE_BYTES_MAX: usize = 16 << 10;

/// Cuts output into lines. A line that was overwritten by way of `\r`, as progress bars do it, is forgotten.
#[derive(Clone, Debug, Default)]
pub struct Lines {
    line: Vec<u8>,
    after_return: bool,
}

impl Lines {
    /// Takes in what came, and gives each line that is now whole, without its end.
    pub fn push(&mut self, mut bytes: &[u8], mut on_line: impl FnMut(&[u8])) {
        while let Some(&first) = bytes.first() {
            match first {
                b'\n' => self.end_line(&mut on_line),
                b'\r' => self.after_return = true,
                _ => {
                    if std::mem::take(&mut self.after_return) {
                        self.line.clear();
                    }
                    let room = LINE_BYTES_MAX - self.line.len();
                    let end =
                        bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(bytes.len()).min(room);
                    self.line.extend_from_slice(&bytes[..end]);
                    bytes = &bytes[end..];
                    if self.line.len() == LINE_BYTES_MAX {
                        self.end_line(&mut on_line);
                    }
                    continue;
                }
            }
            bytes = &bytes[1..];
        }
    }

    fn end_line(&mut self, on_line: &mut impl FnMut(&[u8])) {
        self.after_return = false;
        on_line(&self.line);
        self.line.clear();
    }

    /// What came after the last line's end.
    #[must_use]
    pub fn unfinished(&self) -> &[u8] {
        &self.line
    }
}

/// The first and the last bytes of a text that may be long.
#[derive(Clone, Debug)]
pub struct Excerpt {
    first: Vec<u8>,
    first_bytes_max: usize,
    last: VecDeque<u8>,
    last_bytes_max: usize,
    left_out_bytes: u64,
}

impl Excerpt {
    /// Of so many bytes.
    #[must_use]
    pub fn new(first_bytes_max: usize, last_bytes_max: usize) -> Self {
        Self { first: Vec::new(), first_bytes_max, last: VecDeque::new(), last_bytes_max, left_out_bytes: 0 }
    }

    /// Adds to the text.
    pub fn push(&mut self, bytes: &[u8]) {
        let (first, rest) = bytes.split_at(bytes.len().min(self.first_bytes_max - self.first.len()));
        self.first.extend_from_slice(first);
        let kept = &rest[rest.len().saturating_sub(self.last_bytes_max)..];
        let surplus = (self.last.len() + kept.len()).saturating_sub(self.last_bytes_max);
        self.last.drain(..surplus);
        self.last.extend(kept);
        self.left_out_bytes += (surplus + rest.len() - kept.len()) as u64;
    }

    /// The text; where some is missing, a line says how much.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut text = self.first.clone();
        if self.left_out_bytes > 0 {
            text.extend_from_slice(format!("\n[{} bytes left out]\n", self.left_out_bytes).as_bytes());
        }
        text.extend(&self.last);
        text
    }

    /// Bytes in the middle that are not kept.
    #[must_use]
    pub fn left_out_bytes(&self) -> u64 {
        self.left_out_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(pieces: &[&str]) -> (Vec<String>, String) {
        let mut lines = Lines::default();
        let mut found = Vec::new();
        for piece in pieces {
            lines.push(piece.as_bytes(), |line| found.push(String::from_utf8_lossy(line).into_owned()));
        }
        (found, String::from_utf8_lossy(lines.unfinished()).into_owned())
    }

    #[test]
    fn lines_that_were_overwritten_are_forgotten_wherever_the_pieces_end() {
        let expected = (vec!["a".to_owned(), "100 %".to_owned(), String::new(), "dos".to_owned()], "end".to_owned());
        let text = "a\n1 %\r50 %\r100 %\r\n\ndos\r\nbegin\rend";
        assert_eq!(lines(&[text]), expected);
        for cut in 1..text.len() {
            assert_eq!(lines(&[&text[..cut], &text[cut..]]), expected, "cut at {cut}");
        }
    }

    #[test]
    fn a_line_without_end_is_cut() {
        let (found, rest) = lines(&[&"x".repeat(LINE_BYTES_MAX * 2 + 5)]);
        assert_eq!((found.len(), found[0].len(), rest.as_str()), (2, LINE_BYTES_MAX, "xxxxx"));
    }

    #[test]
    fn the_first_and_the_last_bytes_are_kept() {
        let mut excerpt = Excerpt::new(3, 4);
        for piece in ["ab", "cdef", "g"] {
            excerpt.push(piece.as_bytes());
        }
        assert_eq!(excerpt.to_bytes(), b"abcdefg", "so far all of it");
        excerpt.push(b"hi");
        assert_eq!(excerpt.to_bytes(), b"abc\n[2 bytes left out]\nfghi");
        excerpt.push(b"0123456789");
        assert_eq!(excerpt.to_bytes(), b"abc\n[12 bytes left out]\n6789");
        let mut none = Excerpt::new(0, 0);
        none.push(b"abc");
        assert_eq!(none.left_out_bytes(), 3);
    }
}
