//! Calls of the service that carries blocks.

use std::future::poll_fn;
use std::iter;

use prost::Message;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http::header::{CONTENT_TYPE, HeaderMap, HeaderValue, TE};
use tonic::codegen::http::{Method, Request, Response, StatusCode, Uri, Version};
use tonic::{Code, Status};

use crate::safe_channel::SafeChannel;

use super::pieces::{Messages, Outgoing, piece, pieces};
use super::{FETCH, FetchReply, FetchRequest, PUSH, PushReply, PushRequest};

/// Asks whoever serves blocks on the other side of a channel.
#[derive(Clone, Debug)]
pub struct BulkClient {
    channel: SafeChannel,
}

impl BulkClient {
    /// A client on this channel.
    #[must_use]
    pub fn new(channel: SafeChannel) -> Self {
        Self { channel }
    }

    /// Gives blocks of blobs that were offered before. They are taken as fast as they go out.
    ///
    /// # Errors
    /// [`Status`]: the other side's, or the connection's.
    pub async fn push<I>(&mut self, blocks: I) -> Result<PushReply, Status>
    where
        I: IntoIterator<Item = PushRequest>,
        I::IntoIter: Send + Unpin + 'static,
    {
        let blocks = blocks.into_iter().map(pieces::<PushRequest>);
        self.call(PUSH, Body::new(Outgoing::new(blocks, None))).await
    }

    /// Asks for one block.
    ///
    /// # Errors
    /// [`Status`]: the other side's, or the connection's.
    pub async fn fetch(&mut self, request: FetchRequest) -> Result<FetchReply, Status> {
        let request = iter::once([piece(&request), bytes::Bytes::new()]);
        self.call(FETCH, Body::new(Outgoing::new(request, None))).await
    }

    async fn call<M: Message + Default>(&mut self, path: &'static str, body: Body) -> Result<M, Status> {
        let mut request = Request::new(body);
        *request.method_mut() = Method::POST;
        *request.version_mut() = Version::HTTP_2;
        *request.uri_mut() = Uri::from_static(path);
        request.headers_mut().insert(TE, HeaderValue::from_static("trailers"));
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(super::CONTENT_TYPE));
        let ready = poll_fn(|context| self.channel.poll_ready(context)).await;
        ready.map_err(Status::from_error)?;
        let response = self.channel.call(request).await.map_err(Status::from_error)?;
        answer(response).await
    }
}

/// The one message of an answer, if its status is good.
pub(super) async fn answer<M: Message + Default>(response: Response<Body>) -> Result<M, Status> {
    let (head, body) = response.into_parts();
    if let Some(refusal) = status(head.headers).filter(|status| status.code() != Code::Ok) {
        return Err(refusal);
    }
    if head.status != StatusCode::OK {
        return Err(Status::unknown(format!("HTTP status {}", head.status)));
    }
    let mut messages = Messages::new(body);
    let message = messages.message().await?;
    let ended = messages.trailers().await?.and_then(status);
    match (ended, message) {
        (Some(ended), Some(message)) if ended.code() == Code::Ok => Ok(message),
        (Some(ended), _) if ended.code() != Code::Ok => Err(ended),
        (Some(_), _) => Err(Status::internal("an answer without a message")),
        (None, _) => Err(Status::unknown("an answer without a status")),
    }
}

/// The status that headers tell.
fn status(headers: HeaderMap) -> Option<Status> {
    Status::from_header_map(&headers)
}
