//! The way to an executor: a channel over TCP, or over whatever a simulation puts there.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tonic::transport::Endpoint;

use crate::guard::bounded_endpoint;
use crate::line::Verdict;
use crate::proof::Proof;
use crate::safe_channel::SafeChannel;
use crate::secure::Dialler;

/// What [`Connect::connect`] returns.
pub type Connecting = Pin<Box<dyn Future<Output = Result<SafeChannel, tonic::transport::Error>> + Send>>;

/// Opens the connection of an endpoint. The seam at which a simulation puts its own network.
pub trait Connect: Send + Sync {
    /// Starts to connect.
    fn connect(&self, endpoint: Endpoint) -> Connecting;
}

/// Connects over TCP.
#[derive(Clone, Debug, Default)]
pub struct Tcp {
    /// How both ends know each other.
    pub proof: Proof,
}

impl Connect for Tcp {
    fn connect(&self, endpoint: Endpoint) -> Connecting {
        let verdict = Verdict::default();
        let dialler = Dialler { proof: self.proof.clone(), verdict: verdict.clone() };
        Box::pin(async move { Ok(SafeChannel::new(endpoint.connect_with_connector(dialler).await?, verdict)) })
    }
}

/// Why there is no channel.
#[derive(Clone, Debug)]
pub struct Unreachable {
    /// What the system said.
    pub reason: String,
    /// Whether the machine is there, and no process listens: what ran there is gone.
    pub nobody_listens: bool,
}

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl From<&(dyn Error + 'static)> for Unreachable {
    fn from(error: &(dyn Error + 'static)) -> Self {
        Self { reason: root_cause(error), nobody_listens: is_refusal(error) }
    }
}

/// A channel to the executor at `address`, within `timeout`.
///
/// # Errors
/// [`Unreachable`].
pub async fn dial(connect: &Arc<dyn Connect>, address: &str, timeout: Duration) -> Result<SafeChannel, Unreachable> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"));
    let endpoint = endpoint.map_err(|error| Unreachable::from(&error as &(dyn Error + 'static)))?;
    let endpoint = bounded_endpoint(endpoint).connect_timeout(timeout);
    match tokio::time::timeout(timeout, connect.connect(endpoint)).await {
        Ok(Ok(channel)) => Ok(channel),
        Ok(Err(error)) => Err(Unreachable::from(&error as &(dyn Error + 'static))),
        Err(_) => {
            let reason = format!("no connection within {} s", timeout.as_secs());
            Err(Unreachable { reason, nobody_listens: false })
        }
    }
}

/// Whether `address` is this machine itself, as far as that can be read off: where bytes cost less than encoding them.
#[must_use]
pub fn is_loopback(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// What an error comes down to.
#[must_use]
pub fn root_cause(error: &dyn Error) -> String {
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

#[cfg(test)]
mod tests {
    use super::is_loopback;

    #[test]
    fn an_address_of_this_machine_is_known_as_such() {
        for (address, expected) in [
            ("127.0.0.1:7717", true),
            ("127.8.0.1:1", true),
            ("[::1]:7717", true),
            ("localhost:7717", true),
            ("10.0.0.7:7717", false),
            ("[fd00::1]:7717", false),
            ("node-1:7717", false),
            ("", false),
        ] {
            assert_eq!(is_loopback(address), expected, "{address}");
        }
    }
}
