//! Bounds what unfinished calls hold: how many there are from one address, the bytes of messages of which only a part is
//! here, and the time that a message may take. A decoder keeps the part that it has, and the sender gets new room for it
//! in its window, so without this a connection could fill memory with the beginnings of messages.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::time::{Sleep, sleep};
use tonic::Status;
use tonic::body::Body;

use super::{CALLS_OF_ONE_MAX, MESSAGE_TIME_MAX, MESSAGES_BYTES_MAX, MESSAGES_OF_ONE_BYTES_MAX};

/// Bytes before each message: whether it is compressed, and its length.
const HEAD_BYTES: usize = 5;

/// What calls from one address have together, or, without `all`, those from all addresses.
#[derive(Debug, Default)]
pub(crate) struct Share {
    calls: AtomicUsize,
    message_bytes: AtomicUsize,
    all: Option<Arc<Share>>,
}

impl Share {
    /// That of one address.
    pub(crate) fn within(all: Arc<Self>) -> Self {
        Self { all: Some(all), ..Self::default() }
    }

    /// Room for so many bytes more.
    fn claim(&self, bytes: usize) -> bool {
        let most = if self.all.is_some() { MESSAGES_OF_ONE_BYTES_MAX } else { MESSAGES_BYTES_MAX };
        if self.message_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes > most
            || self.all.as_ref().is_some_and(|all| !all.claim(bytes))
        {
            self.message_bytes.fetch_sub(bytes, Ordering::Relaxed);
            return false;
        }
        true
    }

    fn free(&self, bytes: usize) {
        self.message_bytes.fetch_sub(bytes, Ordering::Relaxed);
        if let Some(all) = &self.all {
            all.free(bytes);
        }
    }
}

/// A call that counts among those of its address, until it is dropped.
#[derive(Debug)]
pub(crate) struct CallGuard(Arc<Share>);

impl CallGuard {
    /// Counts one more.
    ///
    /// # Errors
    /// `RESOURCE_EXHAUSTED`, if there are as many as there may be.
    pub(crate) fn new(share: Arc<Share>) -> Result<Self, Status> {
        let call = Self(share); // dropped where it is one too many
        if call.0.calls.fetch_add(1, Ordering::Relaxed) < CALLS_OF_ONE_MAX {
            return Ok(call);
        }
        Err(Status::resource_exhausted(format!("more than {CALLS_OF_ONE_MAX} calls at a time from one address")))
    }

    /// The body of the call's request, bounded.
    pub(crate) fn bound(&self, body: Body) -> Body {
        let patience = Box::pin(sleep(MESSAGE_TIME_MAX));
        let share = Arc::clone(&self.0);
        Body::new(Bounded {
            body,
            share,
            claimed: 0,
            head: [0; HEAD_BYTES],
            seen: 0,
            left: 0,
            patience: Some(patience),
        })
    }

    /// The body of its answer, with which the call ends.
    pub(crate) fn until_end_of(self, body: Body) -> Body {
        Body::new(Answering { body, _call: self })
    }
}

impl Drop for CallGuard {
    fn drop(&mut self) {
        self.0.calls.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The body of an answer, while which its call counts.
struct Answering {
    body: Body,
    _call: CallGuard,
}

impl http_body::Body for Answering {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of a request.
struct Bounded {
    body: Body,
    share: Arc<Share>,
    /// Bytes of the message that comes, as far as they are here.
    claimed: usize,
    head: [u8; HEAD_BYTES],
    /// Bytes of the next message's head.
    seen: usize,
    /// Bytes of the message that are still to come.
    left: usize,
    /// Runs out while a message is due or under way.
    patience: Option<Pin<Box<Sleep>>>,
}

impl Bounded {
    /// Takes note of bytes that came.
    fn pass(&mut self, mut bytes: &[u8]) -> Result<(), Status> {
        let before = self.claimed;
        while !bytes.is_empty() {
            if self.left == 0 {
                let taken = bytes.len().min(HEAD_BYTES - self.seen);
                self.head[self.seen..self.seen + taken].copy_from_slice(&bytes[..taken]);
                self.seen += taken;
                bytes = &bytes[taken..];
                if self.seen == HEAD_BYTES {
                    let [_, length @ ..] = self.head;
                    (self.seen, self.left) = (0, u32::from_be_bytes(length) as usize);
                }
            } else {
                let taken = bytes.len().min(self.left);
                self.left -= taken;
                self.claimed += taken;
                bytes = &bytes[taken..];
            }
            if self.left == 0 && self.seen == 0 {
                self.claimed = 0;
            }
        }
        // Nothing is counted twice where this fails: the body is not read again, and what was claimed before is freed.
        let after = std::mem::replace(&mut self.claimed, before);
        if after < before {
            self.share.free(before - after);
        } else if !self.share.claim(after - before) {
            return Err(Status::resource_exhausted("the unfinished messages of one address take too much memory"));
        }
        self.claimed = after;
        match &self.patience {
            _ if after == 0 && self.seen == 0 && self.left == 0 => self.patience = None,
            None => self.patience = Some(Box::pin(sleep(MESSAGE_TIME_MAX))),
            Some(_) => {}
        }
        Ok(())
    }
}

impl http_body::Body for Bounded {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(context) else {
            if let Some(patience) = &mut this.patience {
                ready!(patience.as_mut().poll(context));
                let late = format!("no message within {} s", MESSAGE_TIME_MAX.as_secs());
                return Poll::Ready(Some(Err(Status::deadline_exceeded(late))));
            }
            return Poll::Pending;
        };
        if let Some(Ok(frame)) = &frame
            && let Some(bytes) = frame.data_ref()
            && let Err(refused) = this.pass(bytes)
        {
            return Poll::Ready(Some(Err(refused)));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Bounded {
    fn drop(&mut self) {
        self.share.free(self.claimed);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::future::poll_fn;

    use http_body::Body as _;

    use super::*;

    struct Pieces(VecDeque<Bytes>);

    impl http_body::Body for Pieces {
        type Data = Bytes;
        type Error = Status;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
            Poll::Ready(self.0.pop_front().map(|piece| Ok(Frame::data(piece))))
        }
    }

    fn message(bytes: usize) -> Vec<u8> {
        [&[0][..], &(bytes as u32).to_be_bytes(), &vec![7; bytes]].concat()
    }

    fn body(call: &CallGuard, content: &[u8], piece: usize) -> Body {
        call.bound(Body::new(Pieces(content.chunks(piece).map(Bytes::copy_from_slice).collect())))
    }

    async fn next(body: &mut Body) -> Option<Result<Frame<Bytes>, Status>> {
        poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await
    }

    #[tokio::test]
    async fn whole_messages_pass_as_they_are_and_hold_nothing_however_they_come() {
        let share = Arc::new(Share::default());
        let call = CallGuard::new(Arc::clone(&share)).unwrap();
        let content = [message(0), message(3000), message(1), message(0)].concat();
        for piece in [1, 4, 5, 6, 3005, 9000] {
            let (mut body, mut passed) = (body(&call, &content, piece), Vec::new());
            while let Some(frame) = next(&mut body).await {
                passed.extend_from_slice(&frame.unwrap().into_data().unwrap());
            }
            assert_eq!(passed, content);
            assert_eq!(share.message_bytes.load(Ordering::Relaxed), 0, "by {piece}");
        }
    }

    #[tokio::test]
    async fn parts_of_messages_count_until_they_are_whole_or_nobody_wants_them() {
        let (all, mebibyte) = (Arc::new(Share::default()), 1 << 20);
        let share = Arc::new(Share::within(Arc::clone(&all)));
        let call = CallGuard::new(Arc::clone(&share)).unwrap();
        let half = &message(2 * mebibyte)[..HEAD_BYTES + mebibyte];
        let mut held = Vec::new();
        let refused = loop {
            let mut body = body(&call, half, usize::MAX);
            match next(&mut body).await.unwrap() {
                Ok(_) => held.push(body),
                Err(refused) => break refused,
            }
        };
        assert_eq!(refused.code(), tonic::Code::ResourceExhausted);
        assert_eq!(held.len() * mebibyte, MESSAGES_OF_ONE_BYTES_MAX);
        assert_eq!(all.message_bytes.load(Ordering::Relaxed), MESSAGES_OF_ONE_BYTES_MAX);
        let other = CallGuard::new(Arc::new(Share::within(Arc::clone(&all)))).unwrap();
        next(&mut body(&other, half, usize::MAX)).await.unwrap().unwrap();
        drop(held);
        assert_eq!(share.message_bytes.load(Ordering::Relaxed), 0);
        assert_eq!(all.message_bytes.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn an_address_has_so_many_calls_at_a_time() {
        let share = Arc::new(Share::default());
        let calls: Vec<_> = (0..CALLS_OF_ONE_MAX).map(|_| CallGuard::new(Arc::clone(&share)).unwrap()).collect();
        assert_eq!(CallGuard::new(Arc::clone(&share)).unwrap_err().code(), tonic::Code::ResourceExhausted);
        let bodies: Vec<_> = calls.into_iter().map(|call| call.until_end_of(Body::empty())).collect();
        assert!(CallGuard::new(Arc::clone(&share)).is_err(), "an answer under way counts");
        drop(bodies);
        CallGuard::new(share).unwrap();
    }
}
