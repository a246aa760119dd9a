//! A message in pieces: its content goes out as it lies in memory, and stays in the frames in which it came.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http_body::{Body as _, Frame, SizeHint};
use prost::{Message, encode_length_delimiter, length_delimiter_len};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::HeaderMap;

use super::{FetchReply, PushRequest};
use crate::MESSAGE_BYTES_MAX;

/// Bytes before each message: whether it is compressed, and its length.
const HEAD_BYTES: usize = 5;
/// Frames with less than this are copied together: a sender of tiny ones must not have each of them cost a place in a
/// list.
const SMALL_BYTES: usize = 4096;

/// A message with a content that may be large.
pub(super) trait CarriesBlock: Message + Default {
    /// The number of its field, at most 15.
    const FIELD: u8;

    fn content(&mut self) -> &mut Bytes;
}

impl CarriesBlock for PushRequest {
    const FIELD: u8 = 4;

    fn content(&mut self) -> &mut Bytes {
        &mut self.content
    }
}

impl CarriesBlock for FetchReply {
    const FIELD: u8 = 1;

    fn content(&mut self) -> &mut Bytes {
        &mut self.content
    }
}

/// What introduces a message's content, and the content, as the last of its fields.
pub(super) fn pieces<M: CarriesBlock>(mut message: M) -> [Bytes; 2] {
    let content = mem::take(message.content());
    if content.is_empty() {
        return [piece(&message), content];
    }
    let key = M::FIELD << 3 | 2; // of a field with a length
    let rest = message.encoded_len() + 1 + length_delimiter_len(content.len());
    let mut head = started(rest, rest + content.len());
    message.encode_raw(&mut head);
    head.put_u8(key);
    // It fails where there is no room, and a `BytesMut` makes some.
    let _ = encode_length_delimiter(content.len(), &mut head);
    [head.freeze(), content]
}

/// A message without anything large.
pub(super) fn piece(message: &impl Message) -> Bytes {
    let bytes = message.encoded_len();
    let mut piece = started(bytes, bytes);
    message.encode_raw(&mut piece);
    piece.freeze()
}

/// A buffer for so many bytes of a message that has `length`, with its head.
fn started(bytes: usize, length: usize) -> BytesMut {
    let mut head = BytesMut::with_capacity(HEAD_BYTES + bytes);
    head.put_u8(0); // not compressed
    head.put_u32(length as u32);
    head
}

/// A body of messages, each in its pieces, and of trailers after them.
pub(super) struct Outgoing<I> {
    messages: I,
    content: Bytes,
    /// Bytes that are known to come.
    known_bytes: u64,
    trailers: Option<HeaderMap>,
}

impl<I: Iterator<Item = [Bytes; 2]>> Outgoing<I> {
    pub(super) fn new(messages: I, trailers: Option<HeaderMap>) -> Self {
        Self { messages, content: Bytes::new(), known_bytes: 0, trailers }
    }

    /// Says how many bytes all messages have, for whoever bounds what waits to be read.
    pub(super) fn of_bytes(self, known_bytes: u64) -> Self {
        Self { known_bytes, ..self }
    }
}

impl<I: Iterator<Item = [Bytes; 2]> + Unpin> http_body::Body for Outgoing<I> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = if !self.content.is_empty() {
            Some(Frame::data(mem::take(&mut self.content)))
        } else if let Some([head, content]) = self.messages.next() {
            self.content = content;
            Some(Frame::data(head))
        } else {
            self.trailers.take().map(Frame::trailers)
        };
        let bytes = frame.as_ref().and_then(Frame::data_ref).map_or(0, Bytes::len);
        self.known_bytes = self.known_bytes.saturating_sub(bytes as u64);
        Poll::Ready(frame.map(Ok))
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = SizeHint::new();
        hint.set_lower(self.known_bytes);
        hint
    }
}

/// The messages of a body, one after the other.
pub struct Messages<M> {
    body: Body,
    here: Pieces,
    trailers: Option<HeaderMap>,
    kind: PhantomData<fn() -> M>,
}

impl<M: Message + Default> Messages<M> {
    pub(super) fn new(body: Body) -> Self {
        Self { body, here: Pieces::default(), trailers: None, kind: PhantomData }
    }

    /// The next message; `None` after the last. It takes memory for what has come of it, and at most a frame more than
    /// [`MESSAGE_BYTES_MAX`]. Not to be asked again once it was dropped before it answered.
    ///
    /// # Errors
    /// [`Status`]: the connection's, or for what is no message.
    pub async fn message(&mut self) -> Result<Option<M>, Status> {
        if !self.gather(HEAD_BYTES).await? {
            return if self.here.has_remaining() { Err(torn()) } else { Ok(None) };
        }
        let (is_compressed, bytes) = (self.here.get_u8() != 0, self.here.get_u32() as usize);
        if is_compressed {
            return Err(Status::unimplemented("a compressed message, which nobody asked for"));
        }
        if bytes > MESSAGE_BYTES_MAX {
            return Err(Status::out_of_range(format!(
                "a message of {bytes} bytes; at most {MESSAGE_BYTES_MAX} are taken"
            )));
        }
        if !self.gather(bytes).await? {
            return Err(torn());
        }
        let message = M::decode((&mut self.here).take(bytes));
        message.map(Some).map_err(|error| Status::internal(format!("not a message of this kind: {error}")))
    }

    /// What the body ends with, after the only message that it may have.
    ///
    /// # Errors
    /// [`Status`]: the connection's, or if there is more.
    pub(super) async fn trailers(&mut self) -> Result<Option<HeaderMap>, Status> {
        while !self.here.has_remaining() {
            if !self.more().await? {
                return Ok(self.trailers.take());
            }
        }
        Err(Status::internal("more than the one message that was asked for"))
    }

    /// Waits for so many bytes; `false` if there are no more.
    async fn gather(&mut self, bytes: usize) -> Result<bool, Status> {
        while self.here.remaining() < bytes {
            if !self.more().await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Takes in the next frame; `false` after the last.
    async fn more(&mut self) -> Result<bool, Status> {
        let Some(frame) = poll_fn(|context| Pin::new(&mut self.body).poll_frame(context)).await else {
            return Ok(false);
        };
        match frame?.into_data() {
            Ok(data) => self.here.push(data),
            Err(frame) => self.trailers = frame.into_trailers().ok(),
        }
        Ok(true)
    }
}

fn torn() -> Status {
    Status::internal("the connection ended within a message")
}

/// Bytes that came in frames, read as one.
#[derive(Default)]
pub(super) struct Pieces {
    large: VecDeque<Bytes>,
    /// What came after them.
    small: BytesMut,
    /// Of `large`.
    bytes: usize,
}

impl Pieces {
    pub(super) fn push(&mut self, piece: Bytes) {
        if piece.len() < SMALL_BYTES {
            self.small.extend_from_slice(&piece);
            return;
        }
        for piece in [self.small.split().freeze(), piece] {
            self.bytes += piece.len();
            self.large.extend(Some(piece).filter(|piece| !piece.is_empty()));
        }
    }
}

impl Buf for Pieces {
    fn remaining(&self) -> usize {
        self.bytes + self.small.len()
    }

    fn chunk(&self) -> &[u8] {
        self.large.front().map_or(&self.small, |piece| piece)
    }

    fn advance(&mut self, bytes: usize) {
        let mut left = bytes;
        while let Some(front) = self.large.front_mut().filter(|_| left > 0) {
            let step = left.min(front.len());
            front.advance(step);
            if front.is_empty() {
                self.large.pop_front();
            }
            self.bytes -= step;
            left -= step;
        }
        self.small.advance(left);
    }

    /// Without a copy, if it came in one frame.
    fn copy_to_bytes(&mut self, bytes: usize) -> Bytes {
        if let Some(front) = self.large.front()
            && front.len() >= bytes
        {
            let copied = front.slice(..bytes);
            self.advance(bytes);
            return copied;
        }
        let mut copy = BytesMut::with_capacity(bytes);
        copy.put(self.take(bytes));
        copy.freeze()
    }
}
