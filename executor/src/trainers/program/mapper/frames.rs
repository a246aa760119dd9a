//! Where the messages of an Arrow stream end, and what each of them may be: found before memory is taken for it.
//!
//! Source: the Arrow columnar format, "IPC Streaming Format": each message begins with `ff ff ff ff`, the length of its
//! description in 32 bits and that description, which says how many bytes follow; a length of 0 ends the stream. Behind it
//! the next stream may begin, in the same pipe.

use arrow_ipc::{MessageHeader, convert::try_fb_to_schema, root_as_message};
use arrow_schema::Schema;

/// Bytes in front of a description.
const HEAD_BYTES: usize = 8;
/// What a message begins with.
const CONTINUATION: [u8; 4] = [0xff; 4];
/// Bytes of a description: of many thousand columns.
const DESCRIPTION_BYTES_MAX: usize = 16 << 20;
/// Bytes that follow one.
const BODY_BYTES_MAX: usize = 256 << 20;

/// A message of a stream.
#[derive(Debug)]
pub(super) enum Frame {
    /// The columns, with the bytes of the message.
    Schema(Box<Schema>, Vec<u8>),
    /// Rows, or words that columns refer to.
    Other(Vec<u8>),
    /// The stream has ended.
    End,
}

/// A stream that comes in pieces.
#[derive(Debug, Default)]
pub(super) struct Frames {
    bytes: Vec<u8>,
    /// Bytes of the message, once they are known.
    message_bytes: Option<usize>,
}

impl Frames {
    /// Adds what came.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Whether nothing is left that came.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The next message, once it is whole.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(super) fn next(&mut self) -> Result<Option<Frame>, String> {
        let Some((head, rest)) = self.bytes.split_at_checked(HEAD_BYTES) else {
            let begins = self.bytes.len().min(CONTINUATION.len());
            return if self.bytes[..begins] == CONTINUATION[..begins] {
                Ok(None)
            } else {
                Err(no_message(&self.bytes))
            };
        };
        if head[..4] != CONTINUATION {
            return Err(no_message(&self.bytes));
        }
        let described = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
        if described == 0 {
            self.bytes.drain(..HEAD_BYTES);
            return Ok(Some(Frame::End));
        }
        if described > DESCRIPTION_BYTES_MAX {
            return Err(format!(
                "its answers have a message whose description takes {described} bytes, and {DESCRIPTION_BYTES_MAX} may be"
            ));
        }
        let Some(description) = rest.get(..described) else { return Ok(None) };
        let all = match self.message_bytes {
            Some(all) => all,
            None => *self.message_bytes.insert(HEAD_BYTES + described + body_bytes(description)?),
        };
        if self.bytes.len() < all {
            return Ok(None);
        }
        let schema = schema_of(description)?;
        let behind = self.bytes.split_off(all);
        let message = std::mem::replace(&mut self.bytes, behind);
        self.message_bytes = None;
        Ok(Some(match schema {
            Some(schema) => Frame::Schema(Box::new(schema), message),
            None => Frame::Other(message),
        }))
    }
}

/// Bytes behind a description.
fn body_bytes(description: &[u8]) -> Result<usize, String> {
    let message = root_as_message(description).map_err(|error| malformed(&error))?;
    let bytes = usize::try_from(message.bodyLength()).ok().filter(|bytes| *bytes <= BODY_BYTES_MAX);
    bytes.ok_or_else(|| {
        format!(
            "its answers have a batch of {} bytes, and {BODY_BYTES_MAX} may be; write smaller batches",
            message.bodyLength()
        )
    })
}

/// The columns, of a message that has them.
fn schema_of(description: &[u8]) -> Result<Option<Schema>, String> {
    let message = root_as_message(description).map_err(|error| malformed(&error))?;
    match message.header_type() {
        MessageHeader::Schema => {
            let schema = message.header_as_schema().ok_or_else(|| malformed(&"it has no columns"))?;
            try_fb_to_schema(schema).map(Some).map_err(|error| malformed(&error))
        }
        MessageHeader::RecordBatch | MessageHeader::DictionaryBatch => Ok(None),
        other => Err(format!("its answers have a message of an unknown kind ({other:?})")),
    }
}

fn malformed(error: &impl ToString) -> String {
    format!("its answers have a damaged message: {}", error.to_string().lines().next().unwrap_or_default())
}

fn no_message(bytes: &[u8]) -> String {
    let start = &bytes[..bytes.len().min(24)];
    format!(
        "its answers are no Arrow stream: where a message should begin there is \"{}\"; print nothing to the descriptor that \
         BROADSWEEP_ANSWERS names but batches",
        start.escape_ascii()
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{ArrayRef, Int64Array, RecordBatch};
    use arrow_ipc::writer::StreamWriter;

    use super::*;

    fn stream() -> Vec<u8> {
        let column: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
        let batch = RecordBatch::try_from_iter([("a", column)]).unwrap();
        let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
        writer.write(&batch).unwrap();
        writer.finish().unwrap();
        writer.into_inner().unwrap()
    }

    /// What the pieces of some streams are understood as.
    fn read(pieces: &[&[u8]]) -> Result<String, String> {
        let (mut frames, mut found) = (Frames::default(), String::new());
        for piece in pieces {
            frames.push(piece);
            while let Some(frame) = frames.next()? {
                found.push(match frame {
                    Frame::Schema(..) => 's',
                    Frame::Other(_) => 'b',
                    Frame::End => '.',
                });
            }
        }
        Ok(found)
    }

    #[test]
    fn messages_are_found_however_they_arrive_and_one_stream_follows_the_other() {
        let two = stream().repeat(2);
        assert_eq!(read(&[&two]), Ok("sb.sb.".to_owned()));
        for cut in 0..two.len() {
            assert_eq!(read(&[&two[..cut], &two[cut..]]), Ok("sb.sb.".to_owned()), "cut at {cut}");
        }
        assert_eq!(read(&[&two[..two.len() - 1]]), Ok("sb.sb".to_owned()), "its end is to come");
    }

    #[test]
    fn what_is_no_message_is_an_error_before_memory_is_taken_for_it() {
        let whole = stream();
        let rows: [(&[u8], &str); 5] = [
            (b"Hi, Mom!", "no Arrow stream: where a message should begin there is \"Hi, Mom!\""),
            (b"x", "no Arrow stream"),
            (b"\xff\xff\xff\xff\xff\xff\xff\x7f", "whose description takes 2147483647 bytes"),
            (b"\xff\xff\xff\xff\x08\0\0\0abcdefgh", "damaged message"),
            (&[&whole[..8], &[0xaa; 512]].concat(), "damaged message"),
        ];
        for (bytes, fragment) in rows {
            let error = read(&[bytes]).unwrap_err();
            assert!(error.contains(fragment), "{error}");
        }
    }

    #[test]
    fn any_damage_is_an_error_or_harmless() {
        let whole = stream();
        for place in 0..whole.len() {
            for bit in 0..8 {
                let mut damaged = whole.clone();
                damaged[place] ^= 1 << bit;
                let _ = read(&[&damaged]);
            }
        }
    }
}
