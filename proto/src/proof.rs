//! How a process shows others who it is: an identity's file in use, or a secret that a driver shares with the executors
//! that it started itself.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use broadsweep_identity::Role;
use broadsweep_identity::identity::{Identity, usual_place};
use broadsweep_identity::tls::{client_config, peer_verifier, server_config};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::{ClientConfig, ServerConfig};

use crate::secret::Secret;

/// How often a file is looked at while connections are open.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// How both ends of a connection know each other.
#[derive(Clone, Debug, Default)]
pub enum Proof {
    /// Not at all: on loopback, or by the word of whoever started them.
    #[default]
    Nothing,
    /// By the identities that one authority gave them. All is encrypted.
    Identity(Arc<IdentityFile>),
    /// By what the driver gave the executors that it started.
    Secret(Secret),
}

/// The file of an identity, read again when it changes: who is renewed or revoked need not start anything anew.
#[derive(Debug)]
pub struct IdentityFile {
    path: PathBuf,
    used: Mutex<Used>,
}

/// What a file held when it was read last.
#[derive(Clone, Debug)]
pub(crate) struct Used {
    stamp: Stamp,
    looked: Instant,
    /// Grows with each file that was read.
    version: u64,
    role: Role,
    pub(crate) server: Arc<ServerConfig>,
    pub(crate) client: Arc<ClientConfig>,
    peers: Arc<dyn ClientCertVerifier>,
}

/// By which a file is known to be the one that was read: its device, number, size and time of change.
type Stamp = (u64, u64, u64, i64, i64);

fn stamp(path: &Path) -> io::Result<Stamp> {
    let facts = fs::metadata(path)?;
    Ok((facts.dev(), facts.ino(), facts.size(), facts.ctime(), facts.ctime_nsec()))
}

fn read(path: &Path, version: u64) -> Result<Used, String> {
    let stamp = stamp(path).map_err(|error| format!("cannot read the identity {}: {error}", path.display()))?;
    let identity = Identity::read(path).map_err(|error| error.to_string())?;
    let damaged = |error| format!("{}: {error}", path.display());
    Ok(Used {
        stamp,
        looked: Instant::now(),
        version,
        role: identity.role,
        server: server_config(&identity).map_err(damaged)?,
        client: client_config(&identity).map_err(damaged)?,
        peers: peer_verifier(&identity).map_err(damaged)?,
    })
}

impl IdentityFile {
    /// Uses the identity in a file.
    ///
    /// # Errors
    /// In words, with what to do.
    pub fn open(path: &Path) -> Result<Self, String> {
        let used = Mutex::new(read(path, 0)?);
        Ok(Self { path: path.to_owned(), used })
    }

    /// The identity for this role: in the file that is named, or in the usual place if there is one.
    ///
    /// # Errors
    /// In words: it cannot be used, or is of the other role.
    pub fn for_role(role: Role, named: Option<&Path>) -> Result<Option<Arc<Self>>, String> {
        let usual = || usual_place(role).filter(|path| path.is_file());
        let Some(path) = named.map(Path::to_owned).or_else(usual) else { return Ok(None) };
        let file = Self::open(&path)?;
        if file.role() == role {
            return Ok(Some(Arc::new(file)));
        }
        let (path, other) = (path.display(), file.role());
        Err(format!("{path} is the {other}'s identity, and the {role}'s is due: name its own file"))
    }

    /// What its owner is.
    #[must_use]
    pub fn role(&self) -> Role {
        self.used().role
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is in the file now. One that cannot be used any more changes nothing: it may be half copied.
    pub(crate) fn current(&self) -> Used {
        let mut used = self.used();
        self.look(&mut used);
        used.clone()
    }

    /// Whether the owner of `certificate`, which was believed when `version` of the file was in use, still is; if so, the
    /// version that says so. The file is looked at once in a while.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn still_believes(
        &self,
        certificate: &CertificateDer<'static>,
        version: Option<u64>,
    ) -> Result<u64, rustls::Error> {
        let mut used = self.used();
        if used.looked.elapsed() >= LOOK_INTERVAL {
            self.look(&mut used);
        }
        if version != Some(used.version) {
            used.peers.verify_client_cert(certificate, &[], UnixTime::now())?;
        }
        Ok(used.version)
    }

    fn look(&self, used: &mut Used) {
        used.looked = Instant::now();
        match stamp(&self.path) {
            Ok(stamp) if stamp != used.stamp => match read(&self.path, used.version + 1) {
                Ok(newer) => *used = newer,
                Err(error) => {
                    tracing::warn!("{error}; going on with the identity that was there before");
                    used.stamp = stamp;
                }
            },
            Ok(_) | Err(_) => {}
        }
    }

    fn used(&self) -> MutexGuard<'_, Used> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
