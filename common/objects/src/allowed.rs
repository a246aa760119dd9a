//! Which addresses an executor reads for a driver: whoever gives orders must not reach whatever the executor could.

use crate::{ObjectAddress, ObjectError};

/// What the addresses begin with that may be read.
#[derive(Clone, Debug)]
pub struct AllowedStores(Option<Vec<ObjectAddress>>);

impl AllowedStores {
    /// Objects below these addresses.
    ///
    /// # Errors
    /// [`ObjectError::Address`], if one of them is none.
    pub fn below(texts: &[String]) -> Result<Self, ObjectError> {
        texts
            .iter()
            .map(|text| ObjectAddress::parse(text))
            .collect::<Result<_, _>>()
            .map(|prefixes| Self(Some(prefixes)))
    }

    /// All that this process may read: for an executor that its driver started.
    #[must_use]
    pub fn any() -> Self {
        Self(None)
    }

    /// The address that a text is.
    ///
    /// # Errors
    /// [`ObjectError`], if it is none, or may not be read.
    pub fn find(&self, text: &str) -> Result<ObjectAddress, ObjectError> {
        let address = ObjectAddress::parse(text)?;
        let is_allowed =
            |prefixes: &Vec<ObjectAddress>| prefixes.iter().any(|prefix| address.below(prefix).is_some());
        if self.0.as_ref().is_none_or(is_allowed) { Ok(address) } else { Err(ObjectError::NotAllowed(address)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_below_an_allowed_address_is_read() {
        let allowed = ["s3://bucket/data/", "https://host/files"].map(str::to_owned);
        let allowed = AllowedStores::below(&allowed).unwrap();
        for text in ["s3://bucket/data/a.csv", "s3://bucket/data", "https://HOST/files/a/b.csv"] {
            assert!(allowed.find(text).is_ok(), "{text}");
        }
        for text in [
            "s3://bucket/database/a.csv",
            "s3://bucket",
            "http://host/files/a",
            "https://host:8080/files/a",
            "https://host/files/../secrets",
            "https://host/files/%2e%2e/secrets",
            "https://host@169.254.169.254/files/a",
            "http://169.254.169.254/latest/meta-data",
        ] {
            assert!(allowed.find(text).is_err(), "{text}");
        }
        assert!(AllowedStores::any().find("s3://other/a").is_ok());
        assert!(AllowedStores::below(&["data".to_owned()]).is_err());
        assert!(AllowedStores::below(&[]).unwrap().find("s3://bucket/data/a").is_err());
    }
}
