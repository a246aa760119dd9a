//! Bounds what unfinished calls hold: how many there are from one address, the bytes of messages of which only a part is
//! here, the time that a message may take, and the bytes of answers that nobody has read. A decoder keeps the part that it
//! has, and the sender gets new room for it in its window, so without this a connection could fill memory with the
//! beginnings of messages; and whoever asks and never reads could fill it with answers.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use tokio::time::{Sleep, sleep};
use tonic::Status;
use tonic::body::Body;

use super::{
    ANSWERS_BYTES_MAX, ANSWERS_OF_ONE_BYTES_MAX, CALLS_OF_ONE_MAX, MESSAGE_TIME_MAX, MESSAGES_BYTES_MAX,
    MESSAGES_OF_ONE_BYTES_MAX,
};

/// Bytes before each message: whether it is compressed, and its length.
const HEAD_BYTES: usize = 5;

/// What calls from one address have together, or, without `all`, those from all addresses.
#[derive(Debug, Default)]
pub(crate) struct Share {
    calls: AtomicUsize,
    message_bytes: AtomicUsize,
    answer_bytes: AtomicUsize,
    all: Option<Arc<Share>>,
}

/// What is counted in bytes.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// Parts of messages that are not whole yet.
    Message,
    /// Answers that nobody has read yet.
    Answer,
}

impl Kind {
    /// The most of it, from one address and from all.
    fn most(self) -> (usize, usize) {
        match self {
            Self::Message => (MESSAGES_OF_ONE_BYTES_MAX, MESSAGES_BYTES_MAX),
            Self::Answer => (ANSWERS_OF_ONE_BYTES_MAX, ANSWERS_BYTES_MAX),
        }
    }
}

impl Share {
    /// That of one address.
    pub(crate) fn within(all: Arc<Self>) -> Self {
        Self { all: Some(all), ..Self::default() }
    }

    fn bytes(&self, kind: Kind) -> &AtomicUsize {
        match kind {
            Kind::Message => &self.message_bytes,
            Kind::Answer => &self.answer_bytes,
        }
    }

    /// Room for so many bytes more.
    fn claim(&self, kind: Kind, bytes: usize) -> bool {
        let (of_one, of_all) = kind.most();
        let most = if self.all.is_some() { of_one } else { of_all };
        if self.bytes(kind).fetch_add(bytes, Ordering::Relaxed) + bytes > most
            || self.all.as_ref().is_some_and(|all| !all.claim(kind, bytes))
        {
            self.bytes(kind).fetch_sub(bytes, Ordering::Relaxed);
            return false;
        }
        true
    }

    fn free(&self, kind: Kind, bytes: usize) {
        self.bytes(kind).fetch_sub(bytes, Ordering::Relaxed);
        if let Some(all) = &self.all {
            all.free(kind, bytes);
        }
    }
}

/// Bytes of a share that are taken, until this is dropped.
#[derive(Debug)]
struct Claimed {
    share: Arc<Share>,
    kind: Kind,
    bytes: usize,
}

impl Claimed {
    fn nothing(share: Arc<Share>, kind: Kind) -> Self {
        Self { share, kind, bytes: 0 }
    }

    /// Makes them as many. Without room for more nothing changes, and this is false.
    #[must_use]
    fn set(&mut self, bytes: usize) -> bool {
        if bytes < self.bytes {
            self.share.free(self.kind, self.bytes - bytes);
        } else if !self.share.claim(self.kind, bytes - self.bytes) {
            return false;
        }
        self.bytes = bytes;
        true
    }
}

impl Drop for Claimed {
    fn drop(&mut self) {
        self.share.free(self.kind, self.bytes);
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
            claimed: Claimed::nothing(share, Kind::Message),
            head: [0; HEAD_BYTES],
            seen: 0,
            left: 0,
            patience: Some(patience),
        })
    }

    /// The body of its answer, bounded, with which the call ends.
    ///
    /// # Errors
    /// `RESOURCE_EXHAUSTED`, if too many bytes wait for this address to read them.
    pub(crate) fn until_end_of(self, body: Body) -> Result<Body, Status> {
        let unread = Claimed::nothing(Arc::clone(&self.0), Kind::Answer);
        let mut answering = Answering { body, unread, _call: self };
        answering.wait_to_be_read(0)?;
        Ok(Body::new(answering))
    }
}

impl Drop for CallGuard {
    fn drop(&mut self) {
        self.0.calls.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The body of an answer, while which its call counts.
///
/// What counts as unread is the frame that was taken out last, and what is known to come after it. The connection takes
/// out the next one when its peer has room for it, so the ones before have left.
struct Answering {
    body: Body,
    unread: Claimed,
    _call: CallGuard,
}

impl Answering {
    /// Takes note that a frame of so many bytes was taken out.
    fn wait_to_be_read(&mut self, bytes: usize) -> Result<(), Status> {
        let known = usize::try_from(self.body.size_hint().lower()).unwrap_or(usize::MAX);
        if self.unread.set(bytes.saturating_add(known)) {
            return Ok(());
        }
        Err(Status::resource_exhausted("the answers that one address has not read take too much memory"))
    }
}

impl http_body::Body for Answering {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(Ok(frame)) = &frame {
            self.wait_to_be_read(frame.data_ref().map_or(0, Bytes::len))?;
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

/// The body of a request.
struct Bounded {
    body: Body,
    /// Bytes of the message that comes, as far as they are here.
    claimed: Claimed,
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
        let mut claimed = self.claimed.bytes;
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
                claimed += taken;
                bytes = &bytes[taken..];
            }
            if self.left == 0 && self.seen == 0 {
                claimed = 0;
            }
        }
        // Where this fails the body is not read again.
        if !self.claimed.set(claimed) {
            return Err(Status::resource_exhausted("the unfinished messages of one address take too much memory"));
        }
        match &self.patience {
            _ if claimed == 0 && self.seen == 0 && self.left == 0 => self.patience = None,
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

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::future::poll_fn;

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
        let answer = || Body::new(Pieces([Bytes::from_static(b"content")].into()));
        let bodies: Vec<_> = calls.into_iter().map(|call| call.until_end_of(answer()).unwrap()).collect();
        assert!(CallGuard::new(Arc::clone(&share)).is_err(), "an answer under way counts");
        drop(bodies);
        CallGuard::new(share).unwrap();
    }

    /// An answer of one message whose length is known beforehand.
    struct Known(Option<Bytes>);

    impl http_body::Body for Known {
        type Data = Bytes;
        type Error = Status;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
            Poll::Ready(self.0.take().map(|content| Ok(Frame::data(content))))
        }

        fn size_hint(&self) -> SizeHint {
            SizeHint::with_exact(self.0.as_ref().map_or(0, Bytes::len) as u64)
        }
    }

    #[tokio::test]
    async fn answers_count_from_their_making_until_they_are_read_or_nobody_wants_them() {
        let (all, mebibyte) = (Arc::new(Share::default()), 1 << 20);
        let share = Arc::new(Share::within(Arc::clone(&all)));
        let ask = |share: &Arc<Share>| {
            let call = CallGuard::new(Arc::clone(share)).unwrap();
            call.until_end_of(Body::new(Known(Some(Bytes::from(vec![7; mebibyte])))))
        };
        let mut unread: Vec<_> = (0..ANSWERS_OF_ONE_BYTES_MAX / mebibyte).map(|_| ask(&share).unwrap()).collect();
        assert_eq!(ask(&share).unwrap_err().code(), tonic::Code::ResourceExhausted);
        assert_eq!(all.answer_bytes.load(Ordering::Relaxed), ANSWERS_OF_ONE_BYTES_MAX);
        ask(&Arc::new(Share::within(Arc::clone(&all)))).unwrap();
        // Taken out, a frame waits in the connection until the next one is asked for.
        next(&mut unread[0]).await.unwrap().unwrap();
        assert!(ask(&share).is_err());
        assert!(next(&mut unread[0]).await.is_none());
        unread.remove(0);
        unread.push(ask(&share).unwrap());
        drop(unread);
        assert_eq!(share.answer_bytes.load(Ordering::Relaxed), 0);
        assert_eq!(all.answer_bytes.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn a_stream_of_answers_counts_one_frame_at_a_time() {
        let share = Arc::new(Share::default());
        let call = CallGuard::new(Arc::clone(&share)).unwrap();
        let pieces = Pieces((0..1000).map(|_| Bytes::from(vec![7; 1 << 20])).collect());
        let mut body = call.until_end_of(Body::new(pieces)).unwrap();
        while let Some(frame) = next(&mut body).await {
            assert_eq!(share.answer_bytes.load(Ordering::Relaxed), frame.unwrap().data_ref().unwrap().len());
        }
    }
}
