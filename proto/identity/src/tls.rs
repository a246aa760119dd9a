//! How two identities meet: TLS 1.3 alone, a certificate on both sides, and nothing that is remembered between two
//! connections, so that who is revoked is refused at the next one.

use std::sync::Arc;

use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::ServerName;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier};
use rustls::{AlertDescription, CertificateError, ClientConfig, Error, RootCertStore, ServerConfig};

use crate::Role;
use crate::identity::Identity;

/// What is spoken inside.
const HTTP_2: &[u8] = b"h2";

/// An identity that TLS cannot use.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Its certificate, key or authority is damaged.
    #[error("the identity is damaged: {0}")]
    Damaged(#[from] Error),
    /// Its list of revoked identities is.
    #[error("the identity is damaged: {0}")]
    Revocations(#[from] VerifierBuilderError),
}

/// What both sides compute with: the cipher that costs least first, since a broadcast is limited by it on a fast network.
fn provider() -> Arc<CryptoProvider> {
    let mut provider = ring::default_provider();
    provider.cipher_suites = [
        ring::cipher_suite::TLS13_AES_128_GCM_SHA256,
        ring::cipher_suite::TLS13_AES_256_GCM_SHA384,
        ring::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    ]
    .into();
    Arc::new(provider)
}

fn roots(identity: &Identity) -> Result<Arc<RootCertStore>, Error> {
    let mut roots = RootCertStore::empty();
    roots.add(identity.authority.clone())?;
    Ok(Arc::new(roots))
}

/// Who is believed: whoever has a certificate of the same authority that is not revoked, whatever its role.
///
/// # Errors
/// [`TlsError`].
pub fn peer_verifier(identity: &Identity) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let verifier = WebPkiClientVerifier::builder_with_provider(roots(identity)?, provider())
        .with_crls([identity.revoked.clone()])
        .only_check_end_entity_revocation();
    Ok(verifier.build()?)
}

/// How an executor takes connections: from whoever shows a certificate of its authority that is not revoked.
///
/// # Errors
/// [`TlsError`].
pub fn server_config(identity: &Identity) -> Result<Arc<ServerConfig>, TlsError> {
    let verifier = peer_verifier(identity)?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![identity.certificate.clone()], identity.key.clone_key())?;
    config.alpn_protocols = vec![HTTP_2.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// How a driver or an executor dials an executor: it believes one that shows a certificate of its authority, for that
/// role, that is not revoked.
///
/// # Errors
/// [`TlsError`].
pub fn client_config(identity: &Identity) -> Result<Arc<ClientConfig>, TlsError> {
    let verifier = WebPkiServerVerifier::builder_with_provider(roots(identity)?, provider())
        .with_crls([identity.revoked.clone()])
        .only_check_end_entity_revocation()
        .build()?;
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_webpki_verifier(verifier)
        .with_client_auth_cert(vec![identity.certificate.clone()], identity.key.clone_key())?;
    config.alpn_protocols = vec![HTTP_2.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// The name that an executor's certificate is for.
///
/// # Panics
/// Never: it is a host name.
#[must_use]
pub fn executor_name() -> ServerName<'static> {
    match ServerName::try_from(Role::Executor.host()) {
        Ok(name) => name,
        Err(error) => unreachable!("a fixed host name is one: {error}"),
    }
}

/// Why a connection was not made, as the side that has `error` sees it: which side lacks what, and what helps.
#[must_use]
pub fn why(error: &Error) -> String {
    const RENEW: &str = "`broadsweep cluster renew` makes new ones";
    match error {
        Error::InvalidMessage(_) => {
            "the other side speaks without encryption: give it its identity with --identity".to_owned()
        }
        Error::NoCertificatesPresented => "the other side has no identity: give it one with --identity".to_owned(),
        Error::InvalidCertificate(fault) => match fault {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                format!("the other side's identity has expired; {RENEW}")
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "the other side's identity is not valid yet: one of the two clocks is wrong by more than a day"
                    .to_owned()
            }
            CertificateError::Revoked => {
                "the other side's identity is revoked; `broadsweep cluster add` makes a new one".to_owned()
            }
            CertificateError::NotValidForName
            | CertificateError::NotValidForNameContext { .. }
            | CertificateError::InvalidPurpose
            | CertificateError::InvalidPurposeContext { .. } => {
                "the other side has a driver's identity where an executor's is due; give it its own file".to_owned()
            }
            _ => {
                "the other side's identity is of another authority; both must come from one `broadsweep cluster init`"
                    .to_owned()
            }
        },
        Error::AlertReceived(alert) => match alert {
            AlertDescription::CertificateExpired => format!("this side's identity has expired; {RENEW}"),
            AlertDescription::CertificateRevoked => {
                "this side's identity is revoked; `broadsweep cluster add` makes a new one".to_owned()
            }
            AlertDescription::CertificateRequired => "this side has no identity: name one with --identity".to_owned(),
            AlertDescription::UnknownCA | AlertDescription::DecryptError | AlertDescription::BadCertificate => {
                "this side's identity is of another authority; both must come from one `broadsweep cluster init`"
                    .to_owned()
            }
            other => format!("the other side refused the connection ({other:?})"),
        },
        other => format!("no encrypted connection: {other}"),
    }
}
