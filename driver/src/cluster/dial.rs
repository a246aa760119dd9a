//! The way to an executor: a channel over TCP, or over whatever a simulation puts there.

use std::error::Error;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::time::Duration;

use broadsweep_proto::{KEEP_ALIVE_INTERVAL, KEEP_ALIVE_TIMEOUT};
use tonic::transport::{Channel, Endpoint};

use super::LinkError;

/// How long one dial, or the answer to a hello, may take.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// What [`Connect::connect`] returns.
pub type Connecting = Pin<Box<dyn Future<Output = Result<Channel, tonic::transport::Error>> + Send>>;

/// Opens the connection of an endpoint. The seam at which a simulation puts its own network.
pub trait Connect: Send + Sync {
    /// Starts to connect.
    fn connect(&self, endpoint: Endpoint) -> Connecting;
}

/// Connects over TCP.
#[derive(Clone, Copy, Debug)]
pub struct Tcp;

impl Connect for Tcp {
    fn connect(&self, endpoint: Endpoint) -> Connecting {
        Box::pin(async move { endpoint.connect().await })
    }
}

/// A channel to the executor at `address`.
pub(super) async fn dial(connect: &dyn Connect, address: &str) -> Result<Channel, LinkError> {
    let unreachable = |error: &(dyn Error + 'static)| LinkError::Unreachable {
        address: address.to_owned(),
        reason: root_cause(error),
        nobody_listens: is_refusal(error),
    };
    let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(|error| unreachable(&error))?;
    let endpoint = endpoint
        .connect_timeout(ANSWER_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true);
    let connected = tokio::time::timeout(ANSWER_TIMEOUT, connect.connect(endpoint)).await;
    let too_slow = |_| LinkError::Unreachable {
        address: address.to_owned(),
        reason: format!("no connection within {} s", ANSWER_TIMEOUT.as_secs()),
        nobody_listens: false,
    };
    connected.map_err(too_slow)?.map_err(|error| unreachable(&error))
}

/// What an error comes down to.
pub(super) fn root_cause(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// Whether the machine answered that nothing listens there.
fn is_refusal(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
            return true;
        }
        cause = error.source();
    }
    false
}
