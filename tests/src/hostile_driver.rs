//! Speaks to a real executor as a driver would, and says what no driver would say.

use broadsweep_proto::blocks::blocks_client::BlocksClient;
use broadsweep_proto::blocks::{Manifest, OfferRequest};
use broadsweep_proto::bulk::{BulkClient, PushRequest};
use broadsweep_proto::safe_channel::SafeChannel;
use broadsweep_proto::session::session_client::SessionClient;
use broadsweep_proto::session::{DriverItem, ExecutorItem, FromDriver, FromExecutor, Hello, driver_item};
use broadsweep_proto::{MESSAGE_BYTES_MAX, PROTOCOL};
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Endpoint;
use tonic::{Status, Streaming};

/// A session with a real executor, in which anything can be said.
#[derive(Debug)]
pub struct HostileDriver {
    /// The run that it claims to be.
    pub run: String,
    stream: mpsc::Sender<FromDriver>,
    inbound: Streaming<FromExecutor>,
    channel: SafeChannel,
    sequence: u64,
}

/// The description of a study that every executor understands.
///
/// # Panics
/// If such a study is none any more.
#[must_use]
pub fn description() -> Vec<u8> {
    let study = "name = 'a'\ntrainer = { kind = 'replay', seconds = 0, epochs = 1, error = 0.5 }\n";
    let study = broadsweep_driver::study::parse(study, "study.toml").unwrap();
    broadsweep_common::codec::encode(&study.description(Vec::new())).unwrap()
}

/// A hello that every executor welcomes.
#[must_use]
pub fn hello() -> driver_item::Item {
    driver_item::Item::Hello(Hello { protocol: PROTOCOL, build: "hostile".to_owned(), take_over: false })
}

/// A message of `run` with this number and these items.
#[must_use]
pub fn message(run: &str, sequence: u64, items: Vec<driver_item::Item>) -> FromDriver {
    let items = items.into_iter().map(|item| DriverItem { item: Some(item) }).collect();
    FromDriver { run: run.to_owned(), generation: 1, sequence, acknowledged: 0, items, settled: Vec::new() }
}

/// A channel to an executor.
pub async fn dial(address: &str) -> SafeChannel {
    Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap().into()
}

/// The blocks service of an executor.
#[must_use]
pub fn blocks(channel: SafeChannel) -> BlocksClient<SafeChannel> {
    BlocksClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX)
}

impl HostileDriver {
    /// Opens a session with `first`, whatever that is.
    ///
    /// # Errors
    /// What the executor says to that.
    pub async fn open(address: &str, first: FromDriver) -> Result<Self, Status> {
        Self::open_on(dial(address).await, first).await
    }

    /// The same on a connection that is there.
    ///
    /// # Errors
    /// What the executor says to that.
    pub async fn open_on(channel: SafeChannel, first: FromDriver) -> Result<Self, Status> {
        let (stream, messages) = mpsc::channel(64);
        let (run, sequence) = (first.run.clone(), first.sequence);
        stream.send(first).await.unwrap();
        let mut client = SessionClient::new(channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let inbound = client.hold(ReceiverStream::new(messages)).await?.into_inner();
        Ok(Self { run, stream, inbound, channel, sequence })
    }

    /// A session that begins as it should, whichever run was there before.
    pub async fn hold(address: &str, run: &str) -> Self {
        let hello = Hello { protocol: PROTOCOL, build: "hostile".to_owned(), take_over: true };
        let first = message(run, 1, vec![driver_item::Item::Hello(hello)]);
        let mut driver = Self::open(address, first).await.unwrap();
        assert_eq!(driver.answer().await.len(), 1, "a welcome");
        driver
    }

    /// Sends items in a message with the number that is due.
    pub async fn say(&mut self, items: Vec<driver_item::Item>) {
        self.sequence += 1;
        self.send(message(&self.run, self.sequence, items)).await;
    }

    /// Sends a message as it is. The session may be over: its end says so.
    pub async fn send(&self, message: FromDriver) {
        let _ = self.stream.send(message).await;
    }

    /// The items of the executor's next message.
    pub async fn answer(&mut self) -> Vec<ExecutorItem> {
        self.inbound.message().await.unwrap().expect("the session goes on").items
    }

    /// Reads to the session's end: what the executor says last, or nothing.
    pub async fn ending(mut self) -> Option<Status> {
        loop {
            match self.inbound.message().await {
                Ok(Some(_)) => {}
                Ok(None) => return None,
                Err(status) => return Some(status),
            }
        }
    }

    /// Offers a manifest as this run.
    ///
    /// # Errors
    /// What the executor says to that.
    pub async fn offer(&self, manifest: Manifest, cached: bool) -> Result<Vec<u32>, Status> {
        let request = OfferRequest { run: self.run.clone(), manifest: Some(manifest), cached };
        Ok(blocks(self.channel.clone()).offer(request).await?.into_inner().missing)
    }

    /// Pushes one block as this run.
    ///
    /// # Errors
    /// What the executor says to that.
    pub async fn push(&self, blob: &[u8], index: u32, content: Bytes) -> Result<(), Status> {
        self.push_encoded(blob, index, (content, 0)).await
    }

    /// Pushes one block as this run, with the number of an encoding.
    ///
    /// # Errors
    /// What the executor says to that.
    pub async fn push_encoded(
        &self,
        blob: &[u8],
        index: u32,
        (content, encoding): (Bytes, i32),
    ) -> Result<(), Status> {
        let blob = Bytes::copy_from_slice(blob);
        let block = PushRequest { run: self.run.clone(), blob, index, content, encoding };
        BulkClient::new(self.channel.clone()).push([block]).await.map(|_| ())
    }

    /// The connection below the session.
    #[must_use]
    pub fn channel(&self) -> SafeChannel {
        self.channel.clone()
    }
}
