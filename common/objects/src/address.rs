//! What objects are called: `s3://bucket/key`, `https://host/path`, `http://host/path`.
//!
//! An address is one text and means one object: it has no credentials and no query, no `..`, and nothing that is written
//! in two ways, so that addresses can be compared letter by letter.

use std::fmt;
use std::path::Path;

use broadsweep_common::printable::printable;

use crate::ObjectError;

/// Bytes of a key, as stores have it.
const KEY_BYTES_MAX: usize = 1024;
/// Bytes of a bucket's or a server's name.
const HOST_BYTES_MAX: usize = 255;
/// Letters of a text that is no address, in a message.
const SHOWN_MAX: usize = 200;

/// Who has an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scheme {
    /// An S3-compatible store, at the endpoint of the environment.
    S3,
    /// A web server.
    Https,
    /// A web server, without encryption.
    Http,
}

impl Scheme {
    const ALL: [(&'static str, Self); 3] = [("s3", Self::S3), ("https", Self::Https), ("http", Self::Http)];

    fn name(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Https => "https",
            Self::Http => "http",
        }
    }
}

/// What an object is called, or what the names of several begin with.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectAddress {
    scheme: Scheme,
    /// The bucket, or the server with its port.
    host: String,
    /// Without a `/` at its ends.
    key: String,
}

impl fmt::Display for ObjectAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.name(), self.host)?;
        if self.key.is_empty() { Ok(()) } else { write!(f, "/{}", self.key) }
    }
}

impl ObjectAddress {
    /// Whether a text is meant as an address, not as a path: it begins with `name://`.
    #[must_use]
    pub fn is_meant(path: &Path) -> bool {
        let Some((name, _)) = path.to_str().and_then(|text| text.split_once("://")) else { return false };
        let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
        name.starts_with(|first: char| first.is_ascii_alphabetic()) && name.bytes().all(is_letter)
    }

    /// The address that a text is.
    ///
    /// # Errors
    /// [`ObjectError::Address`], with what to write instead.
    pub fn parse(text: &str) -> Result<Self, ObjectError> {
        let refused = |what: &str| Err(ObjectError::Address { text: shown(text), what: what.to_owned() });
        let (name, rest) = text.split_once("://").unwrap_or_default();
        let Some((_, scheme)) = Scheme::ALL.into_iter().find(|(known, _)| *known == name) else {
            return refused("only s3://bucket/key, https://host/path and http://host/path are known");
        };
        let (host, key) = rest.split_once('/').unwrap_or((rest, ""));
        if host.contains('@') {
            return refused(
                "it has a user's name or password in it, which would be kept with the run; leave them out",
            );
        }
        if !is_host(scheme, host) {
            let what = if scheme == Scheme::S3 { "a bucket" } else { "a server" };
            return refused(&format!("it does not name {what}"));
        }
        let key = key.strip_suffix('/').unwrap_or(key);
        match wrong_key(scheme, key) {
            Some(what) => refused(what),
            None => Ok(Self { scheme, host: in_one_way(scheme, host), key: key.to_owned() }),
        }
    }

    /// Whether a store has it, which can be asked for more than one object.
    #[must_use]
    pub fn is_of_store(&self) -> bool {
        self.scheme == Scheme::S3
    }

    /// Who has it.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The bucket, or the server with its port.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// What it is called there, without a `/` at its ends.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The same bucket or server, and another key.
    ///
    /// # Errors
    /// [`ObjectError::Address`], if nothing can be called so.
    pub fn with_key(&self, key: &str) -> Result<Self, ObjectError> {
        Self::parse(&format!("{}://{}/{key}", self.scheme.name(), self.host))
    }

    /// An object below this one.
    ///
    /// # Errors
    /// [`ObjectError::Address`], if nothing can be called so.
    pub fn join(&self, name: &str) -> Result<Self, ObjectError> {
        let between = if self.key.is_empty() { "" } else { "/" };
        self.with_key(&format!("{}{between}{name}", self.key))
    }

    /// What comes behind another address, if this one is below it or is the same.
    #[must_use]
    pub fn below(&self, other: &Self) -> Option<&str> {
        if (self.scheme, &self.host) != (other.scheme, &other.host) {
            return None;
        }
        let rest = self.key.strip_prefix(&other.key)?;
        match rest.strip_prefix('/') {
            Some(rest) if !other.key.is_empty() => Some(rest),
            _ if rest.is_empty() || other.key.is_empty() => Some(rest),
            _ => None,
        }
    }
}

/// Names of servers mean the same in small letters, those of buckets do not.
fn in_one_way(scheme: Scheme, host: &str) -> String {
    if scheme == Scheme::S3 { host.to_owned() } else { host.to_ascii_lowercase() }
}

/// Whether a bucket or a server can be called so.
fn is_host(scheme: Scheme, host: &str) -> bool {
    let (name, port) = match (scheme, host.rsplit_once(':')) {
        (Scheme::Https | Scheme::Http, Some((name, port))) if !host.ends_with(']') => (name, Some(port)),
        _ => (host, None),
    };
    let is_v6 = |name: &str| {
        let inside = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
        inside.is_some_and(|inside| inside.parse::<std::net::Ipv6Addr>().is_ok())
    };
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let is_plain = (1..=HOST_BYTES_MAX).contains(&name.len())
        && name.bytes().all(is_letter)
        && name.starts_with(|first: char| first.is_ascii_alphanumeric());
    let is_port = |port: &str| port.bytes().all(|digit| digit.is_ascii_digit()) && port.parse::<u16>().is_ok();
    (is_plain || (scheme != Scheme::S3 && is_v6(name))) && port.is_none_or(is_port)
}

/// What is wrong with a key, if anything is.
fn wrong_key(scheme: Scheme, key: &str) -> Option<&'static str> {
    if key.len() > KEY_BYTES_MAX {
        return Some("it is longer than the 1024 bytes that an object's key may have");
    }
    if key.chars().any(char::is_control) {
        return Some("it has control characters in it");
    }
    let is_in_the_way = |part: &str| part.is_empty() || part == "." || part == "..";
    if !key.is_empty() && key.split('/').any(is_in_the_way) {
        return Some("between its `/` there is nothing, `.` or `..`; write each part of it");
    }
    if scheme == Scheme::S3 {
        return None;
    }
    if key.contains('?') {
        return Some(
            "what follows `?` may be a key to it, which would be kept with the run: name it without, or copy the file",
        );
    }
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/%".contains(&byte);
    if !key.bytes().all(is_plain) {
        return Some("some of its letters need to be written as `%` and two digits");
    }
    // What these stand for would be a `/`, a part such as `..`, or the end of a name.
    let mut escapes = key.split('%').skip(1).map(|rest| rest.get(..2).unwrap_or_default().to_ascii_lowercase());
    let is_wrong = |escape: String| {
        escape.len() != 2
            || !escape.bytes().all(|digit| digit.is_ascii_hexdigit())
            || ["2e", "2f", "5c", "00"].contains(&escape.as_str())
    };
    escapes.any(is_wrong).then_some("a `%` in it is not followed by two digits of a letter that a name may have")
}

/// A text that may be no address, without what may be a password.
fn shown(text: &str) -> String {
    let (name, rest) = text.split_once("://").unwrap_or(("", text));
    let rest = rest.rsplit_once('@').map_or(rest, |(_, rest)| rest);
    let rest = rest.split('?').next().unwrap_or_default();
    printable(&format!("{name}://{rest}"), SHOWN_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_and_written_alike() {
        for (text, host, key) in [
            ("s3://bucket", "bucket", ""),
            ("s3://my.bucket/a/größe *[1].csv", "my.bucket", "a/größe *[1].csv"),
            ("https://example.org:8443/a%20b.csv", "example.org:8443", "a%20b.csv"),
            ("http://[::1]:80/x", "[::1]:80", "x"),
        ] {
            let address = ObjectAddress::parse(text).unwrap();
            assert_eq!((address.host(), address.key(), address.to_string().as_str()), (host, key, text));
        }
        assert_eq!(ObjectAddress::parse("https://Example.ORG/A/").unwrap().to_string(), "https://example.org/A");
        assert_eq!(ObjectAddress::parse("s3://b/a").unwrap().join("c.csv").unwrap().to_string(), "s3://b/a/c.csv");
        assert_eq!(ObjectAddress::parse("s3://b").unwrap().join("c.csv").unwrap().to_string(), "s3://b/c.csv");
    }

    #[test]
    fn what_is_no_address_or_holds_a_secret_is_refused_without_showing_it() {
        for (text, wrong) in [
            ("gs://bucket/a", "only s3://bucket/key"),
            ("s3:///a", "does not name a bucket"),
            ("s3://b:80/a", "does not name a bucket"),
            ("https://:80/a", "does not name a server"),
            ("https://host:http/a", "does not name a server"),
            ("http://[::g]/a", "does not name a server"),
            ("https://me:secret@host/a", "it has a user's name or password in it"),
            ("https://host/a?X-Amz-Signature=secret", "what follows `?` may be a key to it"),
            ("https://host/a b", "need to be written as `%`"),
            ("https://host/a/%2e%2e/b", "a `%` in it is not followed"),
            ("https://host/a%2Fb", "a `%` in it is not followed"),
            ("https://host/a%2", "a `%` in it is not followed"),
            ("https://host/a/../b", "there is nothing, `.` or `..`"),
            ("s3://bucket/a//b", "there is nothing, `.` or `..`"),
            ("s3://bucket//b", "there is nothing, `.` or `..`"),
            ("s3://bucket/a\nb", "control characters"),
        ] {
            let error = ObjectAddress::parse(text).unwrap_err().to_string();
            assert!(error.contains(wrong) && !error.contains("secret"), "{text}: {error}");
        }
        let long = format!("s3://bucket/{}", "a".repeat(1025));
        assert!(ObjectAddress::parse(&long).unwrap_err().to_string().contains("longer than"));
    }

    #[test]
    fn texts_with_a_scheme_are_meant_as_addresses_and_paths_are_not() {
        for text in ["s3://b/k", "gs://b", "https://h/p"] {
            assert!(ObjectAddress::is_meant(Path::new(text)), "{text}");
        }
        for text in ["data/a.csv", "/a://b", "./s3://b", "://b", "C:\\x", "3s://b"] {
            assert!(!ObjectAddress::is_meant(Path::new(text)), "{text}");
        }
    }

    #[test]
    fn what_is_below_an_address_is_told_part_by_part() {
        let address = |text| ObjectAddress::parse(text).unwrap();
        for (one, other, below) in [
            ("s3://b/a/c.csv", "s3://b/a", Some("c.csv")),
            ("s3://b/a/c.csv", "s3://b", Some("a/c.csv")),
            ("s3://b/a", "s3://b/a/", Some("")),
            ("s3://b/ab", "s3://b/a", None),
            ("s3://bb/a", "s3://b", None),
            ("http://b/a", "https://b", None),
            ("https://b:1/a", "https://b", None),
        ] {
            assert_eq!(address(one).below(&address(other)), below, "{one} below {other}");
        }
    }
}
