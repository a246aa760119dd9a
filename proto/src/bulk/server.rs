//! Answers of the service that carries blocks.

use std::convert::Infallible;
use std::fmt;
use std::iter;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use tonic::codegen::http::{Request, Response};
use tonic::codegen::{BoxFuture, Service};
use tonic::server::NamedService;

use super::pieces::{Messages, Outgoing, piece, pieces};
use super::{FETCH, FetchReply, FetchRequest, NAME, PUSH, PushReply, PushRequest};

/// What a server of blocks does.
#[tonic::async_trait]
pub trait Bulk: Send + Sync + 'static {
    /// Takes blocks of blobs that were offered before.
    async fn push(&self, blocks: Messages<PushRequest>) -> Result<PushReply, Status>;

    /// Gives one block.
    async fn fetch(&self, request: FetchRequest) -> Result<FetchReply, Status>;
}

/// Serves blocks beside the other services of a server.
pub struct BulkServer<T> {
    service: Arc<T>,
}

impl<T: Bulk> BulkServer<T> {
    /// A server that does what `service` does.
    #[must_use]
    pub fn new(service: Arc<T>) -> Self {
        Self { service }
    }
}

impl<T> Clone for BulkServer<T> {
    fn clone(&self) -> Self {
        Self { service: Arc::clone(&self.service) }
    }
}

impl<T> fmt::Debug for BulkServer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BulkServer")
    }
}

impl<T> NamedService for BulkServer<T> {
    const NAME: &'static str = NAME;
}

impl<T: Bulk> Service<Request<Body>> for BulkServer<T> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let service = Arc::clone(&self.service);
        Box::pin(async move { Ok(answer(&*service, request).await.unwrap_or_else(Status::into_http)) })
    }
}

async fn answer(service: &impl Bulk, request: Request<Body>) -> Result<Response<Body>, Status> {
    let (head, body) = request.into_parts();
    match head.uri.path() {
        PUSH => {
            let reply = service.push(Messages::new(body)).await?;
            Ok(response([piece(&reply), Bytes::new()]))
        }
        FETCH => {
            let request = Messages::new(body).message().await?;
            let request = request.ok_or_else(|| Status::invalid_argument("a request without a message"))?;
            Ok(response(pieces(service.fetch(request).await?)))
        }
        path => Err(Status::unimplemented(format!("nothing is served at {path}"))),
    }
}

fn response(message: [Bytes; 2]) -> Response<Body> {
    let good = HeaderMap::from_iter([(Status::GRPC_STATUS, HeaderValue::from_static("0"))]);
    let bytes = message.iter().map(|piece| piece.len() as u64).sum();
    let outgoing = Outgoing::new(iter::once(message), Some(good)).of_bytes(bytes);
    let mut response = Response::new(Body::new(outgoing));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(super::CONTENT_TYPE));
    response
}
