//! A channel on which no answer can end whoever reads it, and no refusal gets lost.
//!
//! The gRPC library reads `grpc-status-details-bin` from headers and trailers of an answer, and panics where that is not
//! base64. Nobody here reads details, so they are taken out before the library sees them.

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::{HeaderMap, Request, Response};
use tonic::codegen::{BoxFuture, Service};
use tonic::transport::Channel;

use crate::line::Verdict;

const DETAILS: &str = "grpc-status-details-bin";

/// A [`Channel`] whose answers carry no details of their status, and whose errors say why its owner is not let in.
#[derive(Clone, Debug)]
pub struct SafeChannel {
    channel: Channel,
    verdict: Verdict,
}

/// The body of an answer, whose trailers carry none either.
struct Answer(Body);

impl From<Channel> for SafeChannel {
    fn from(channel: Channel) -> Self {
        Self::new(channel, Verdict::default())
    }
}

impl SafeChannel {
    /// One whose connections note there that they are refused.
    pub(crate) fn new(channel: Channel, verdict: Verdict) -> Self {
        Self { channel, verdict }
    }
}

impl Service<Request<Body>> for SafeChannel {
    type Response = Response<Body>;
    type Error = Box<dyn Error + Send + Sync>;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.channel.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (response, verdict) = (self.channel.call(request), self.verdict.clone());
        Box::pin(async move {
            response.await.map(without_details).map_err(|error| match verdict.reason() {
                Some(reason) => Status::permission_denied(reason).into(),
                None => error.into(),
            })
        })
    }
}

/// The same answer without details of its status.
fn without_details(mut response: Response<Body>) -> Response<Body> {
    response.headers_mut().remove(DETAILS);
    response.map(|body| Body::new(Answer(body)))
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let mut frame = ready!(Pin::new(&mut self.0).poll_frame(context));
        if let Some(Ok(frame)) = &mut frame {
            frame.trailers_mut().map(|trailers: &mut HeaderMap| trailers.remove(DETAILS));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::future::poll_fn;

    use http_body::Body as _;

    use super::*;

    struct Frames(VecDeque<Frame<Bytes>>);

    impl http_body::Body for Frames {
        type Data = Bytes;
        type Error = Status;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
            Poll::Ready(self.0.pop_front().map(Ok))
        }
    }

    #[tokio::test]
    async fn details_are_taken_out_of_headers_and_trailers_and_all_else_stays() {
        let mut told = HeaderMap::new();
        told.insert("grpc-status", "13".parse().unwrap());
        let expected = told.clone();
        told.insert(DETAILS, "%%%".parse().unwrap());
        let frames = [Frame::data(Bytes::from_static(b"content")), Frame::trailers(told.clone())];
        let mut response = Response::new(Body::new(Frames(frames.into())));
        *response.headers_mut() = told;
        let (head, mut body) = without_details(response).into_parts();
        assert_eq!(head.headers, expected);
        let mut next = async || poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await;
        assert_eq!(next().await.unwrap().unwrap().into_data().unwrap(), "content");
        assert_eq!(next().await.unwrap().unwrap().into_trailers().unwrap(), expected);
        assert!(next().await.is_none());
    }
}
