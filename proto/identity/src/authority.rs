//! The authority of a cluster: a key that signs identities, and a list of those that count no more.

use std::fmt::Write;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber,
};

use crate::Role;

/// How long an identity is valid.
pub const IDENTITY_LASTS: Duration = Duration::from_hours(24 * 365);
/// How long an authority is.
const AUTHORITY_LASTS: Duration = Duration::from_hours(24 * 365 * 10);
/// Clocks of a cluster may differ by as much: all that is made is valid since then.
const CLOCKS_DIFFER: Duration = Duration::from_hours(24);
/// Bytes of a serial number: the first of the digest of a public key.
const SERIAL_BYTES: usize = 16;

/// A key that signs identities.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
}

/// An identity that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// The certificate and its key, as PEM.
    pub pem: String,
    /// By which it can be revoked.
    pub serial: Serial,
    /// Until when it is valid.
    pub until: SystemTime,
}

/// What names a certificate, in hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Serial(String);

/// Why an authority cannot be made or read, or does not sign.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// No key or certificate could be made.
    #[error("cannot make a certificate: {0}")]
    Signing(#[from] rcgen::Error),
    /// A text is no serial number.
    #[error("{0:?} is no serial number: {digits} hexadecimal digits are", digits = 2 * SERIAL_BYTES)]
    Serial(String),
}

impl Serial {
    /// The number that `text` spells.
    ///
    /// # Errors
    /// [`AuthorityError::Serial`].
    pub fn parse(text: &str) -> Result<Self, AuthorityError> {
        let fits = text.len() == 2 * SERIAL_BYTES && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        fits.then(|| Self(text.to_ascii_lowercase())).ok_or_else(|| AuthorityError::Serial(text.to_owned()))
    }

    /// Its digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// That of the certificate of a key: no two keys have the same.
    fn of(key: &KeyPair) -> Self {
        let mut digest = CertificateParams::default().key_identifier(key);
        digest.truncate(SERIAL_BYTES);
        digest[0] &= 0x7f; // a serial number is positive
        digest[0] |= 0x40; // and has as many digits as all others
        Self(hexadecimal(&digest))
    }

    fn number(&self) -> SerialNumber {
        let digit = |place: usize| u8::from_str_radix(&self.0[place..place + 2], 16).unwrap_or_default();
        SerialNumber::from((0..self.0.len()).step_by(2).map(digit).collect::<Vec<_>>())
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // a string takes all
        text
    })
}

impl Authority {
    /// A new one.
    ///
    /// # Errors
    /// [`AuthorityError::Signing`].
    pub fn new(now: SystemTime) -> Result<Self, AuthorityError> {
        let key = KeyPair::generate()?;
        let certificate = parameters(&key, now).self_signed(&key)?.pem();
        Ok(Self { issuer: Issuer::new(parameters(&key, now), key), certificate })
    }

    /// The authority whose key and certificate these are.
    ///
    /// # Errors
    /// [`AuthorityError::Signing`], if the key is none.
    pub fn from_pem(key: &str, certificate: &str) -> Result<Self, AuthorityError> {
        let key = KeyPair::from_pem(key)?;
        // Of the parameters only the name counts here, which follows from the key.
        let issuer = Issuer::new(parameters(&key, SystemTime::UNIX_EPOCH + AUTHORITY_LASTS), key);
        Ok(Self { issuer, certificate: certificate.to_owned() })
    }

    /// Its key, as PEM: whoever has it can make identities.
    #[must_use]
    pub fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// Its certificate, as PEM: whoever has it can check identities.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate
    }

    /// Makes an identity with a key of its own.
    ///
    /// # Errors
    /// [`AuthorityError::Signing`].
    pub fn issue(&self, role: Role, name: &str, now: SystemTime) -> Result<Issued, AuthorityError> {
        let (key, until) = (KeyPair::generate()?, now + IDENTITY_LASTS);
        let serial = Serial::of(&key);
        let mut parameters = CertificateParams::new(vec![role.host().to_owned()])?;
        parameters.distinguished_name.remove(DnType::CommonName);
        parameters.distinguished_name.push(DnType::CommonName, format!("{role} {name}"));
        parameters.serial_number = Some(serial.number());
        parameters.not_before = (now - CLOCKS_DIFFER).into();
        parameters.not_after = until.into();
        parameters.use_authority_key_identifier_extension = true;
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        parameters.extended_key_usages = match role {
            Role::Driver => vec![ExtendedKeyUsagePurpose::ClientAuth],
            Role::Executor => vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
        };
        let certificate = parameters.signed_by(&key, &self.issuer)?;
        Ok(Issued { pem: certificate.pem() + &key.serialize_pem(), serial, until })
    }

    /// The signed list of the identities that count no more, as PEM. `number` grows from list to list.
    ///
    /// # Errors
    /// [`AuthorityError::Signing`].
    pub fn revocations(&self, revoked: &[Serial], number: u64, now: SystemTime) -> Result<String, AuthorityError> {
        let entry = |serial: &Serial| RevokedCertParams {
            serial_number: serial.number(),
            revocation_time: now.into(),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: (now - CLOCKS_DIFFER).into(),
            next_update: (now + AUTHORITY_LASTS).into(),
            crl_number: SerialNumber::from(number),
            issuing_distribution_point: None,
            revoked_certs: revoked.iter().map(entry).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        Ok(list.signed_by(&self.issuer)?.pem()?)
    }
}

/// What an authority's certificate says: its name follows from its key, so that no two are confused.
fn parameters(key: &KeyPair, now: SystemTime) -> CertificateParams {
    let mut parameters = CertificateParams::default();
    let digest = parameters.key_identifier(key);
    parameters.distinguished_name.remove(DnType::CommonName);
    parameters.distinguished_name.push(DnType::CommonName, format!("Broadsweep authority {}", hexadecimal(&digest)));
    parameters.serial_number = Some(Serial::of(key).number());
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    parameters.not_before = (now - CLOCKS_DIFFER).into();
    parameters.not_after = (now + AUTHORITY_LASTS).into();
    parameters
}
