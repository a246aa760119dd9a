//! Who is not of a closed cluster gets nowhere: each kind of stranger, at each call, on each side, while a study runs
//! that nothing of it touches.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic, in its helping functions too")]

use std::collections::BTreeSet;
use std::error::Error;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use broadsweep_common::blob::Blob;
use broadsweep_identity::Role;
use broadsweep_identity::identity::Identity;
use broadsweep_identity::tls::{client_config, executor_name, server_config};
use broadsweep_proto::blocks::{PullReply, PullRequest};
use broadsweep_proto::dial::{Connect, Tcp, dial};
use broadsweep_proto::proof::{IdentityFile, Proof};
use broadsweep_proto::safe_channel::SafeChannel;
use broadsweep_proto::session::{Peers, driver_item};
use broadsweep_proto::wire::manifest_message;
use broadsweep_tests::hostile_driver::{HostileDriver, hello, message};
use broadsweep_tests::lab::{Executor, Lab, tiny_with};
use broadsweep_tests::papers::{Paper, Papers};
use broadsweep_tests::process::Ended;
use bytes::Bytes;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::time::{sleep, timeout};
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::ResolvesClientCert;
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{ClientConfig, ClientConnection, ServerConfig, SignatureScheme};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tonic::client::Grpc;
use tonic::codegen::http::Uri;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::codegen::{BoxFuture, Service};
use tonic::transport::Endpoint;
use tonic::{Code, Request};
use tonic_prost::ProstCodec;

const PROGRAM: &str = env!("CARGO_BIN_EXE_broadsweep-under-test");

/// All that can be called, and whether an executor may call it.
const CALLS: [(&str, bool); 6] = [
    ("/broadsweep.session.v1.Session/Hold", false),
    ("/broadsweep.blocks.v1.Blocks/Offer", false),
    ("/broadsweep.blocks.v1.Blocks/Pull", false),
    ("/broadsweep.blocks.v1.Blocks/Watch", true),
    ("/broadsweep.bulk.v1.Bulk/Push", false),
    ("/broadsweep.bulk.v1.Bulk/Fetch", true),
];
/// How long a stranger waits for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// What each `rpc` of a file of the protocol is called on the wire.
fn calls_of(proto: &str) -> Vec<String> {
    let word_after = |line: &str, keyword: &str| {
        let rest = line.trim().strip_prefix(keyword)?.trim_start();
        Some(rest.split(['(', ' ', '{', ';']).next()?.to_owned())
    };
    let package = proto.lines().find_map(|line| word_after(line, "package ")).unwrap();
    let mut service = String::new();
    let mut calls = Vec::new();
    for line in proto.lines() {
        if let Some(name) = word_after(line, "service ") {
            service = name;
        } else if let Some(name) = word_after(line, "rpc ") {
            calls.push(format!("/{package}.{service}/{name}"));
        }
    }
    calls
}

#[test]
fn no_call_of_the_protocol_is_forgotten_here() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let protos = files.filter(|path| path.extension().is_some_and(|extension| extension == "proto"));
    let written: BTreeSet<_> = protos.flat_map(|path| calls_of(&std::fs::read_to_string(path).unwrap())).collect();
    assert_eq!(written, CALLS.iter().map(|(path, _)| (*path).to_owned()).collect());
}

/// Shows nothing.
#[derive(Debug)]
struct Nameless;

impl ResolvesClientCert for Nameless {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

fn identity(path: &Path) -> Identity {
    Identity::read(path).unwrap()
}

/// TLS of a client that believes whom `papers` believe, whatever it shows: who attacks does not look at certificates.
fn client_showing(papers: &Papers, shown: Option<&Path>) -> Arc<ClientConfig> {
    let mut config = (*client_config(&identity(&papers.driver)).unwrap()).clone();
    config.client_auth_cert_resolver = match shown {
        Some(path) => Arc::clone(&client_config(&identity(path)).unwrap().client_auth_cert_resolver),
        None => Arc::new(Nameless),
    };
    Arc::new(config)
}

/// TLS of a server that believes whom `papers` believe, whatever it shows.
fn server_showing(papers: &Papers, shown: &Path) -> Arc<ServerConfig> {
    let mut config = (*server_config(&identity(&papers.good)).unwrap()).clone();
    config.cert_resolver = Arc::clone(&server_config(&identity(shown)).unwrap().cert_resolver);
    Arc::new(config)
}

/// Dials with TLS, as whoever it shows.
#[derive(Clone)]
struct Dialler(Arc<ClientConfig>);

impl Service<Uri> for Dialler {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = io::Error;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connector = TlsConnector::from(Arc::clone(&self.0));
        Box::pin(async move {
            let stream = TcpStream::connect(uri.authority().unwrap().as_str()).await?;
            Ok(TokioIo::new(connector.connect(executor_name(), stream).await?))
        })
    }
}

/// Makes a call with an empty message. `None` if there was no answer: the connection was refused.
async fn called(address: &str, tls: Option<&Arc<ClientConfig>>, path: &'static str) -> Option<Code> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    let connected = match tls {
        Some(config) => endpoint.connect_with_connector(Dialler(Arc::clone(config))).await,
        None => endpoint.connect().await,
    };
    let mut client = Grpc::new(SafeChannel::from(connected.ok()?));
    client.ready().await.ok()?;
    let codec = ProstCodec::<PullRequest, PullReply>::default();
    let answered = client.unary(Request::new(PullRequest::default()), PathAndQuery::from_static(path), codec).await;
    match answered {
        Ok(_) => Some(Code::Ok),
        // What came from the connection has it as its source.
        Err(status) if status.source().is_some() => None,
        Err(status) => Some(status.code()),
    }
}

/// Each kind of stranger makes each call.
async fn assert_nobody_calls(papers: &Papers, address: &str) {
    let shown = |paper: &Paper| (paper.name, Some(client_showing(papers, Some(&paper.path))));
    let mut strangers: Vec<_> = papers.refused_of(Role::Driver).iter().map(shown).collect();
    strangers.push(("no certificate", Some(client_showing(papers, None))));
    strangers.push(("plaintext", None));
    for (name, tls) in &strangers {
        for (path, _) in CALLS {
            let answer = timeout(PATIENCE, called(address, tls.as_ref(), path)).await.unwrap();
            assert_eq!(answer, None, "{name} at {path}");
        }
    }
    let executors = client_showing(papers, Some(&papers.other));
    for (path, is_open_to_executors) in CALLS {
        let answer = timeout(PATIENCE, called(address, Some(&executors), path)).await.unwrap();
        assert_eq!(answer == Some(Code::PermissionDenied), !is_open_to_executors, "{path}: {answer:?}");
        assert!(!matches!(answer, None | Some(Code::Ok)), "{path}: {answer:?}");
    }
    let drivers = client_showing(papers, Some(&papers.driver));
    for (path, _) in CALLS {
        let answer = timeout(PATIENCE, called(address, Some(&drivers), path)).await.unwrap();
        assert!(!matches!(answer, None | Some(Code::PermissionDenied)), "the driver at {path}: {answer:?}");
    }
    assert_no_bytes_get_in(papers, address).await;
}

/// Handshakes that stall, and bytes that are none.
async fn assert_no_bytes_get_in(papers: &Papers, address: &str) {
    let mut hello = Vec::new();
    let config = client_showing(papers, Some(&papers.driver));
    ClientConnection::new(config, executor_name()).unwrap().write_tls(&mut hello).unwrap();
    let mut stalled = Vec::new();
    for length in [0, 1, 5, hello.len() / 2, hello.len() - 1, hello.len()] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(&hello[..length]).await.unwrap();
        stalled.push(stream);
    }
    for position in (0..hello.len()).step_by(7) {
        let mut garbled = hello.clone();
        garbled[position] ^= 0xff;
        let mut stream = TcpStream::connect(address).await.unwrap();
        // It may be refused before it has said all.
        let _ = stream.write_all(&[&garbled[..], &[0xff; 300]].concat()).await;
        let mut answer = Vec::new();
        // Where it takes the end of a broken message for its beginning, it waits for more.
        let _ = timeout(Duration::from_millis(20), stream.read_to_end(&mut answer)).await;
    }
    drop(stalled);
}

/// A node that is none: where it listens, and whom it let in.
struct Impostor {
    name: &'static str,
    address: String,
    guests: Arc<AtomicUsize>,
    visits: Arc<AtomicUsize>,
}

/// How an impostor meets whoever dials it.
enum Guise {
    Tls(Arc<ServerConfig>),
    Says(&'static [u8]),
}

impl Impostor {
    async fn start(name: &'static str, guise: Guise) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (guests, visits) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let (came_in, came) = (Arc::clone(&guests), Arc::clone(&visits));
        tokio::spawn(async move {
            let mut silent = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                came.fetch_add(1, Ordering::Relaxed);
                match &guise {
                    Guise::Tls(config) => {
                        let acceptor = TlsAcceptor::from(Arc::clone(config));
                        let came_in = Arc::clone(&came_in);
                        tokio::spawn(async move {
                            if let Ok(mut stream) = acceptor.accept(stream).await {
                                let mut said = [0; 24];
                                let said = stream.read(&mut said).await.unwrap_or(0);
                                came_in.fetch_add(usize::from(said > 0), Ordering::Relaxed);
                            }
                        });
                    }
                    Guise::Says(bytes) => {
                        let _ = stream.write_all(bytes).await; // it may have gone
                        silent.push(stream);
                    }
                }
            }
        });
        Self { name, address, guests, visits }
    }

    async fn start_all(papers: &Papers) -> Vec<Self> {
        let mut impostors = Vec::new();
        for Paper { name, path } in papers.refused_of(Role::Executor) {
            impostors.push(Self::start(name, Guise::Tls(server_showing(papers, &path))).await);
        }
        // The beginning of a settings frame, a stalled handshake, and what is neither.
        let others = [("plaintext", &[0, 0, 0, 4, 0, 0, 0, 0, 0][..]), ("stalled", &[]), ("garbage", &[0xff; 300])];
        for (name, bytes) in others {
            impostors.push(Self::start(name, Guise::Says(bytes)).await);
        }
        impostors
    }

    fn assert_alone(&self, side: &str) {
        assert!(self.visits.load(Ordering::Relaxed) > 0, "{side} never came to {}", self.name);
        assert_eq!(self.guests.load(Ordering::Relaxed), 0, "{side} believed {}", self.name);
    }
}

/// An executor that is told to fetch from impostors, by its own driver.
async fn assert_executors_believe_no_impostor(papers: &Papers, executor: &Executor) {
    let impostors = Impostor::start_all(papers).await;
    let own = IdentityFile::open(&papers.driver).unwrap();
    let tcp: Arc<dyn Connect> = Arc::new(Tcp { proof: Proof::Identity(Arc::new(own)) });
    let channel = dial(&tcp, &executor.address, PATIENCE).await.unwrap();
    let mut driver = HostileDriver::open_on(channel, message("matrix", 1, vec![hello()])).await.unwrap();
    driver.answer().await;
    let blob = Blob::new(vec![7; 100]).unwrap();
    driver.offer(manifest_message(&blob.manifest), false).await.unwrap();
    let addresses: Vec<_> = impostors.iter().map(|impostor| impostor.address.clone()).collect();
    let name = Bytes::copy_from_slice(&blob.manifest.digest().0);
    driver.say(vec![driver_item::Item::Peers(Peers { blob: name, addresses, encoded: true })]).await;
    let everyone_was_asked = async {
        while impostors.iter().any(|impostor| impostor.visits.load(Ordering::Relaxed) == 0) {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, everyone_was_asked).await.unwrap();
    sleep(Duration::from_millis(100)).await; // whoever believed it would speak now
    impostors.iter().for_each(|impostor| impostor.assert_alone("the executor"));
}

#[test]
fn whoever_is_not_of_the_cluster_gets_nowhere_on_any_side_and_the_study_goes_on() {
    let lab = Lab::new(PROGRAM);
    let papers = Papers::make(&lab.path(""));
    let node = |path: &Path, cache: &str| lab.executor_with(cache, 1, &["--identity", path.to_str().unwrap()]);
    let (executor, other) = (node(&papers.good, "cache"), node(&papers.other, "other"));
    let study = lab.write("study.toml", tiny_with(&[("[16, 32, 64]", "[32]"), ("epochs = 12", "epochs = 30")]));
    let own = ["--identity", papers.driver.to_str().unwrap()];
    let runtime = Runtime::new().unwrap();
    let impostors = runtime.block_on(Impostor::start_all(&papers));
    let addresses = impostors.iter().map(|impostor| impostor.address.as_str()).chain([executor.address.as_str()]);
    let nodes = addresses.collect::<Vec<_>>().join(",");
    let driver = lab.tune(&study, "disturbed", &[&["--nodes", &nodes][..], &own].concat());
    let _ = executor.process.line_with("held run=");
    runtime.block_on(assert_nobody_calls(&papers, &executor.address));
    runtime.block_on(assert_executors_believe_no_impostor(&papers, &other));
    let Ended { code, stderr, .. } = driver.wait();
    assert_eq!(code, Some(0), "{stderr}");
    impostors.iter().for_each(|impostor| impostor.assert_alone("the driver"));
    let undisturbed = lab.tuned(&study, "undisturbed", &["--local", "1x1"]);
    assert_eq!(lab.outcome("disturbed").digest(), undisturbed.digest(), "{stderr}");
    for executor in [executor, other] {
        let said = executor.process.cut_off();
        assert!(!stderr.contains("panicked") && !said.stderr.contains("panicked"), "{stderr}{}", said.stderr);
    }
}
