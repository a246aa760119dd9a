//! One identity: the file of a node or of a driver. PEM: its certificate, its key, the authority's certificate, and the
//! list of those that count no more; lines before them say the same to people.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustls::client::verify_server_name;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, ServerName};
use rustls::server::ParsedCertificate;
use webpki::EndEntityCert;

use crate::Role;

/// Bytes that a file may have: thousands of revoked identities fit.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// What others than the owner may do with a file.
const OTHERS: u32 = 0o077;

/// Who a process is, and whom it believes.
#[derive(Debug)]
pub struct Identity {
    /// What it is.
    pub role: Role,
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) key: PrivateKeyDer<'static>,
    pub(crate) authority: CertificateDer<'static>,
    pub(crate) revoked: CertificateRevocationListDer<'static>,
}

/// Why a file holds no identity that can be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// It cannot be read.
    #[error("cannot read the identity {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others can read the key in it.
    #[error("others than its owner can read the identity {file}; say: chmod 600 {file}", file = .0.display())]
    Open(PathBuf),
    /// It belongs to somebody else, who can change it.
    #[error("the identity {} belongs to another user, who could change it; copy it to a file of your own", .0.display())]
    Foreign(PathBuf),
    /// It is something else.
    #[error("{} holds no identity: {what}; `broadsweep cluster init` makes them, one file a node", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
}

impl Identity {
    /// Its certificate, which everybody may see.
    #[must_use]
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// The identity in a file that its owner alone can read.
    ///
    /// # Errors
    /// [`IdentityError`], which names the file and says what to do.
    pub fn read(path: &Path) -> Result<Self, IdentityError> {
        let unreadable = |source| IdentityError::Unreadable { path: path.to_owned(), source };
        let file = File::open(path).map_err(unreadable)?;
        // Of the open file: the name may mean another one by now.
        let facts = file.metadata().map_err(unreadable)?;
        if facts.mode() & OTHERS != 0 {
            return Err(IdentityError::Open(path.to_owned()));
        }
        if ![rustix::process::geteuid().as_raw(), 0].contains(&facts.uid()) {
            return Err(IdentityError::Foreign(path.to_owned()));
        }
        let mut bytes = Vec::new();
        file.take(FILE_BYTES_MAX).read_to_end(&mut bytes).map_err(unreadable)?;
        Self::parse(&bytes).map_err(|what| IdentityError::Malformed { path: path.to_owned(), what })
    }

    /// The identity that the text of a file holds; otherwise what is wrong with it.
    ///
    /// # Errors
    /// In words.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let certificates = CertificateDer::pem_slice_iter(text).collect::<Result<Vec<_>, _>>();
        let certificates = certificates.map_err(|error| format!("its certificates cannot be read ({error})"))?;
        let [certificate, authority] = <[_; 2]>::try_from(certificates)
            .map_err(|found| format!("it has {} certificates, and not its own and the authority's", found.len()))?;
        let lacks = |what: &'static str| move |_: pem::Error| format!("it has no {what}");
        let key = PrivateKeyDer::from_pem_slice(text).map_err(lacks("key"))?;
        let revoked =
            CertificateRevocationListDer::from_pem_slice(text).map_err(lacks("list of revoked identities"))?;
        let role = role_of(&certificate).ok_or("its certificate is for neither a driver nor an executor")?;
        Ok(Self { role, certificate, key, authority, revoked })
    }
}

/// Where the identity of a driver or an executor is looked for if none is named: in the user's folder of settings. `None`
/// if the environment names neither that nor a home.
#[must_use]
pub fn usual_place(role: Role) -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = set("XDG_CONFIG_HOME").or_else(|| set("HOME").map(|home| home.join(".config")))?;
    Some(base.join("broadsweep").join(format!("{role}.pem")))
}

/// Whose a certificate is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// What it is.
    pub role: Role,
    /// What the authority calls it: the same in all certificates that it has one after the other.
    pub name: String,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.role, self.name)
    }
}

/// Whose a certificate is, as it says itself: believed only of one that the authority signed.
#[must_use]
pub fn owner_of(certificate: &CertificateDer<'_>) -> Option<Owner> {
    let role = role_of(certificate)?;
    let parsed = EndEntityCert::try_from(certificate).ok()?;
    let name = common_name(parsed.subject())?.strip_prefix(&format!("{role} "))?.to_owned();
    Some(Owner { role, name })
}

/// The common name in a subject as [`Authority::issue`](crate::authority::Authority::issue) writes it: the one attribute
/// that there is.
fn common_name(subject: &[u8]) -> Option<&str> {
    // Object identifier 2.5.4.3 in DER (RFC 5280, appendix A.1).
    const COMMON_NAME: [u8; 5] = [0x06, 0x03, 0x55, 0x04, 0x03];
    /// A byte of length follows.
    const LONG_FORM: u8 = 0x81;
    let at = subject.windows(COMMON_NAME.len()).position(|window| window == COMMON_NAME)?;
    let (_kind_of_text, rest) = subject.get(at + COMMON_NAME.len()..)?.split_first()?;
    let ([LONG_FORM, length, text @ ..] | [length @ 0..=0x7f, text @ ..]) = rest else { return None };
    str::from_utf8(text.get(..usize::from(*length))?).ok()
}

/// What the owner of a certificate is, as it says itself: believed only of one that the authority signed.
#[must_use]
pub fn role_of(certificate: &CertificateDer<'_>) -> Option<Role> {
    let parsed = ParsedCertificate::try_from(certificate).ok()?;
    let is_for =
        |role: &Role| ServerName::try_from(role.host()).is_ok_and(|name| verify_server_name(&parsed, &name).is_ok());
    Role::ALL.into_iter().find(is_for)
}
