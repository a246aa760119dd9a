//! Where an executor listens, as people write it: `node7`, `node7:7717`, `10.0.0.7`, `[::1]:7717`.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

/// The port of an executor whose address names none.
pub const PORT: u16 = 7717;

/// A host and a port. It is shown with both, and an IPv6 address in brackets.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    host: String,
    port: u16,
}

/// A text that is no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not host:port; an executor's address looks like node7:7717, or node7 for port {PORT}")]
pub struct BadAddress(pub String);

impl Address {
    /// The name or number of the machine, without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// 0 is a free one, for who listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl FromStr for Address {
    type Err = BadAddress;

    fn from_str(text: &str) -> Result<Self, BadAddress> {
        let bad = || BadAddress(text.to_owned());
        let is_v6 = |host: &str| host.parse::<Ipv6Addr>().is_ok();
        let (host, port) = if let Some(bracketed) = text.strip_prefix('[') {
            let (host, rest) = bracketed.split_once(']').filter(|(host, _)| is_v6(host)).ok_or_else(bad)?;
            (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':').ok_or_else(bad)?) })
        } else if is_v6(text) {
            (text, None)
        } else {
            let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
            let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
            if host.is_empty() || !host.bytes().all(fits) {
                return Err(bad());
            }
            (host, port)
        };
        let is_number = |port: &&str| port.bytes().all(|byte| byte.is_ascii_digit());
        let port = match port {
            None => PORT,
            Some(port) => Some(port).filter(is_number).and_then(|port| port.parse().ok()).ok_or_else(bad)?,
        };
        Ok(Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_a_port_has_the_usual_one() {
        for (text, shown) in [
            ("node7", "node7:7717"),
            ("node7:80", "node7:80"),
            ("rack_1.example-2.org", "rack_1.example-2.org:7717"),
            ("10.0.0.7", "10.0.0.7:7717"),
            ("localhost:0", "localhost:0"),
            ("[::1]", "[::1]:7717"),
            ("::1", "[::1]:7717"),
            ("[fd00::7]:80", "[fd00::7]:80"),
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!(address.to_string(), shown);
            assert_eq!(address, shown.parse().unwrap(), "{text} is read back");
        }
    }

    #[test]
    fn what_is_no_address_is_named() {
        for text in
            ["", ":80", "node7:", "node7:x", "node7:+80", "node7:70000", "http://node7", "a b", "[::1", "[a]:80"]
        {
            let error = text.parse::<Address>().unwrap_err();
            assert!(error.to_string().starts_with(&format!("`{text}` is not host:port")), "{error}");
        }
    }
}
