//! Both ends of ours against the library's own codec, and against what is no message.

use std::sync::{Arc, Mutex};

use bytes::{Buf, Bytes};
use http_body::Frame;
use prost::Message;
use tonic::body::Body;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::codegen::{BoxFuture, Service, tokio_stream};
use tonic::{Code, Request, Response, Status};
use tonic_prost::ProstCodec;

use super::client::answer;
use super::pieces::{Outgoing, Pieces, pieces};
use super::*;
use crate::MESSAGE_BYTES_MAX;

/// Blocks as a broadcast pushes them, a large one among them.
fn blocks() -> Vec<PushRequest> {
    let content = |bytes: usize| Bytes::from((0..bytes).map(|place| place as u8).collect::<Vec<_>>());
    let block = |index, bytes| PushRequest {
        run: "a run".to_owned(),
        blob: content(32),
        index,
        content: content(bytes),
        encoding: Encoding::Lz4.into(),
    };
    vec![block(0, 1 << 20), block(1, 0), block(2, 3), block(3, 5000)]
}

fn as_one(pieces: [Bytes; 2]) -> Bytes {
    pieces.concat().into()
}

/// A body of these frames.
struct Frames(std::vec::IntoIter<Bytes>);

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Status>>> {
        std::task::Poll::Ready(self.0.next().map(|data| Ok(Frame::data(data))))
    }
}

fn messages(frames: Vec<Bytes>) -> Messages<PushRequest> {
    Messages::new(Body::new(Frames(frames.into_iter())))
}

async fn all(frames: Vec<Bytes>) -> Result<Vec<PushRequest>, Status> {
    let mut messages = messages(frames);
    let mut all = Vec::new();
    while let Some(message) = messages.message().await? {
        all.push(message);
    }
    Ok(all)
}

#[tokio::test]
async fn what_goes_out_comes_in_however_it_is_cut() {
    let sent = blocks();
    let wire: Bytes = sent.iter().cloned().map(|block| as_one(pieces(block))).collect::<Vec<_>>().concat().into();
    for cut in [1, 2, 5, 7, 4095, 4096, 4097, 1 << 16, wire.len()] {
        let frames = wire.chunks(cut).map(|frame| wire.slice_ref(frame)).collect();
        assert_eq!(all(frames).await.unwrap(), sent, "frames of {cut} bytes");
    }
    // Large and tiny frames by turns, and empty ones.
    let mut rest = wire;
    let mut frames = Vec::new();
    for bytes in [3, 0, 5000, 1, 9000, 0, 70_000, 2].into_iter().cycle() {
        frames.push(rest.split_to(bytes.min(rest.len())));
        if rest.is_empty() {
            break;
        }
    }
    assert_eq!(all(frames).await.unwrap(), sent);
}

#[tokio::test]
async fn a_block_that_came_in_one_frame_lies_where_it_came() {
    let block = blocks().remove(0);
    let lies_at = block.content.as_ptr();
    let came = all(pieces(block).into()).await.unwrap();
    assert_eq!(came[0].content.as_ptr(), lies_at);
}

#[tokio::test]
async fn what_is_no_message_is_refused() {
    let good = as_one(pieces(blocks().remove(2)));
    let with_head = |head: [u8; 5], rest: &[u8]| Bytes::from([&head[..], rest].concat());
    let too_long = (MESSAGE_BYTES_MAX as u32 + 1).to_be_bytes();
    for (name, frame, code) in [
        ("a part of a head", good.slice(..3), Code::Internal),
        ("a part of a message", good.slice(..good.len() - 1), Code::Internal),
        ("a compressed one", with_head([1, 0, 0, 0, 0], &[]), Code::Unimplemented),
        ("a long one", with_head([0, too_long[0], too_long[1], too_long[2], too_long[3]], &[]), Code::OutOfRange),
        ("the longest", with_head([0, 255, 255, 255, 255], &[]), Code::OutOfRange),
        ("noise", with_head([0, 0, 0, 0, 4], &[255; 4]), Code::Internal),
        ("a content longer than its message", with_head([0, 0, 0, 0, 3], &[4 << 3 | 2, 90, 1]), Code::Internal),
    ] {
        assert_eq!(all(vec![frame]).await.unwrap_err().code(), code, "{name}");
    }
}

#[test]
fn tiny_frames_cost_what_they_hold() {
    let mut here = Pieces::default();
    for _ in 0..100_000 {
        here.push(Bytes::from_static(b"x"));
    }
    assert_eq!(here.remaining(), 100_000);
    assert_eq!(here.chunk().len(), 100_000, "they lie together");
}

/// Serves the last of the blocks that were pushed.
#[derive(Default)]
struct Last(Mutex<Vec<PushRequest>>);

#[tonic::async_trait]
impl Bulk for Last {
    async fn push(&self, mut blocks: Messages<PushRequest>) -> Result<PushReply, Status> {
        while let Some(block) = blocks.message().await? {
            self.0.lock().unwrap().push(block);
        }
        Ok(PushReply {})
    }

    async fn fetch(&self, request: FetchRequest) -> Result<FetchReply, Status> {
        let block = self.0.lock().unwrap().iter().find(|block| block.index == request.index).cloned();
        let block = block.ok_or_else(|| Status::not_found("it is not here"))?;
        Ok(FetchReply { content: block.content, encoding: block.encoding })
    }
}

fn request(index: u32) -> FetchRequest {
    FetchRequest { run: "a run".to_owned(), blob: Bytes::new(), index, encoding: 0 }
}

#[tokio::test]
async fn a_client_of_the_library_is_served() {
    let last = Arc::new(Last::default());
    let mut client = tonic::client::Grpc::new(BulkServer::new(Arc::clone(&last)));
    let pushed = client
        .client_streaming(
            Request::new(tokio_stream::iter(blocks())),
            PathAndQuery::from_static(PUSH),
            ProstCodec::<PushRequest, PushReply>::default(),
        )
        .await;
    assert_eq!(pushed.unwrap().into_inner(), PushReply {});
    assert_eq!(*last.0.lock().unwrap(), blocks());
    for block in blocks() {
        let path = PathAndQuery::from_static(FETCH);
        let codec = ProstCodec::<FetchRequest, FetchReply>::default();
        let fetched = client.unary(Request::new(request(block.index)), path, codec).await;
        let expected = FetchReply { content: block.content, encoding: block.encoding };
        assert_eq!(fetched.unwrap().into_inner(), expected);
    }
    let codec = ProstCodec::<FetchRequest, FetchReply>::default();
    let refused = client.unary(Request::new(request(9)), PathAndQuery::from_static(FETCH), codec).await.unwrap_err();
    assert_eq!((refused.code(), refused.message()), (Code::NotFound, "it is not here"));
    let path = PathAndQuery::from_static("/broadsweep.bulk.v1.Bulk/Keep");
    let codec = ProstCodec::<FetchRequest, FetchReply>::default();
    let refused = client.unary(Request::new(request(0)), path, codec).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
}

/// Answers a fetch with what it was made with, by the library's server.
struct Answers(Result<FetchReply, Status>);

impl Service<Request<FetchRequest>> for Answers {
    type Response = Response<FetchReply>;
    type Error = Status;
    type Future = BoxFuture<Response<FetchReply>, Status>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Status>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<FetchRequest>) -> Self::Future {
        let answer = self.0.clone();
        Box::pin(async move { answer.map(Response::new) })
    }
}

async fn answered(answers: Result<FetchReply, Status>) -> Result<FetchReply, Status> {
    let asked = Body::new(Outgoing::new(std::iter::once([super::pieces::piece(&request(0)), Bytes::new()]), None));
    let codec = ProstCodec::<FetchReply, FetchRequest>::default();
    let request = tonic::codegen::http::Request::new(asked);
    answer(tonic::server::Grpc::new(codec).unary(Answers(answers), request).await).await
}

#[tokio::test]
async fn a_server_of_the_library_is_understood() {
    let block = FetchReply { content: vec![7; 1 << 20].into(), encoding: 1 };
    assert_eq!(answered(Ok(block.clone())).await.unwrap(), block);
    let refused = answered(Err(Status::not_found("gone: 100 %"))).await.unwrap_err();
    assert_eq!((refused.code(), refused.message()), (Code::NotFound, "gone: 100 %"));
}

#[tokio::test]
async fn an_answer_that_is_none_is_an_error() {
    let reply = FetchReply { content: vec![7; 5000].into(), encoding: 0 };
    let frame = as_one(pieces(reply));
    let ended = |code: &str| Some([(Status::GRPC_STATUS, code.parse().unwrap())].into_iter().collect());
    let twice = Bytes::from([&frame[..], &frame[..]].concat());
    for (name, frame, trailers, code) in [
        ("without a status", frame.clone(), None, Code::Unknown),
        ("with a status that is bad", frame.clone(), ended("8"), Code::ResourceExhausted),
        ("without a message", Bytes::new(), ended("0"), Code::Internal),
        ("with two messages", twice, ended("0"), Code::Internal),
    ] {
        let body = Outgoing::new(std::iter::once([frame, Bytes::new()]), trailers);
        let response = tonic::codegen::http::Response::new(Body::new(body));
        assert_eq!(answer::<FetchReply>(response).await.unwrap_err().code(), code, "{name}");
    }
    let mut response = tonic::codegen::http::Response::new(Body::empty());
    *response.status_mut() = tonic::codegen::http::StatusCode::BAD_GATEWAY;
    let refused = answer::<FetchReply>(response).await.unwrap_err();
    assert!(refused.message().contains("502"), "{refused}");
}

#[test]
fn a_message_in_pieces_is_the_message() {
    for block in blocks() {
        let mut wire = as_one(pieces(block.clone()));
        let (is_compressed, bytes) = (wire.get_u8(), wire.get_u32() as usize);
        assert_eq!((is_compressed, bytes), (0, wire.len()));
        assert_eq!(PushRequest::decode(wire).unwrap(), block);
    }
}
