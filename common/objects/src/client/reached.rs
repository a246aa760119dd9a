//! How stores and servers are reached: by the settings of the environment, by one client, within limits of time.

use std::collections::BTreeMap;
use std::env;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::client::{HttpClient, HttpConnector};
use object_store::http::HttpBuilder;
use object_store::path::Path;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};
use reqwest::redirect::Policy;
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};

use crate::address::Scheme;
use crate::{ObjectAddress, ObjectError};

/// How long a connection may take.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);
/// How long a server may say nothing.
const SILENCE_MAX: Duration = Duration::from_mins(1);
/// Tries after the first one, and for how long.
const RETRIES_MAX: usize = 6;
const RETRY_TIME_MAX: Duration = Duration::from_mins(1);

/// The stores that were reached so far.
#[derive(Debug)]
pub(super) struct Reached {
    connector: Connector,
    buckets: Mutex<BTreeMap<String, Arc<dyn ObjectStore>>>,
    retries: RetryConfig,
}

/// One client for all: connections are kept.
#[derive(Clone, Debug)]
struct Connector(reqwest::Client);

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.0.clone()))
    }
}

impl Reached {
    /// None yet; what they are asked with comes from the environment.
    pub(super) fn by_environment() -> Result<Self, ObjectError> {
        let mut roots = RootCertStore::empty();
        // A system without certificates can still reach what is not encrypted.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| ObjectError::Environment { said: error.to_string() })?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .redirect(Policy::none())
            .connect_timeout(CONNECT_TIME_MAX)
            .read_timeout(SILENCE_MAX)
            .user_agent(concat!("broadsweep/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| ObjectError::Environment { said: error.to_string() })?;
        let backoff = BackoffConfig { max_backoff: Duration::from_secs(5), ..BackoffConfig::default() };
        let retries = RetryConfig { backoff, max_retries: RETRIES_MAX, retry_timeout: RETRY_TIME_MAX };
        Ok(Self { connector: Connector(client), buckets: Mutex::default(), retries })
    }

    /// Who has an object, and what it is called there.
    pub(super) fn find(&self, address: &ObjectAddress) -> Result<(Arc<dyn ObjectStore>, Path), ObjectError> {
        let wrong = |error: object_store::Error| ObjectError::Environment { said: error.to_string() };
        if address.scheme() != Scheme::S3 {
            let server = HttpBuilder::new()
                .with_url(address.to_string())
                .with_retry(self.retries.clone())
                .with_http_connector(self.connector.clone())
                .build()
                .map_err(wrong)?;
            return Ok((Arc::new(server), Path::default()));
        }
        let path = Path::parse(address.key()).map_err(|error| {
            let what = format!("the library for stores cannot name it: {error}");
            ObjectError::Address { text: address.to_string(), what }
        })?;
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = buckets.get(address.host()) {
            return Ok((known.clone(), path));
        }
        let is_plain = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"]
            .into_iter()
            .filter_map(|name| env::var(name).ok())
            .any(|endpoint| endpoint.starts_with("http://"));
        let mut builder = AmazonS3Builder::from_env()
            .with_bucket_name(address.host())
            .with_retry(self.retries.clone())
            .with_http_connector(self.connector.clone());
        if is_plain {
            builder = builder.with_allow_http(true);
        }
        let store: Arc<dyn ObjectStore> = Arc::new(builder.build().map_err(wrong)?);
        buckets.insert(address.host().to_owned(), store.clone());
        Ok((store, path))
    }

    /// The same with this store in the place of a bucket, and without waiting between tries.
    #[cfg(test)]
    pub(super) fn with_bucket(self, name: &str, store: Arc<dyn ObjectStore>) -> Self {
        self.buckets.lock().unwrap().insert(name.to_owned(), store);
        let backoff = BackoffConfig {
            init_backoff: Duration::from_millis(1),
            max_backoff: Duration::from_millis(2),
            ..BackoffConfig::default()
        };
        Self { retries: RetryConfig { backoff, ..self.retries }, ..self }
    }
}
