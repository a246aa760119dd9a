//! Who may speak with whom in a cluster: one private authority, one identity a node, mutual TLS between them.
//!
//! | module | holds |
//! |---|---|
//! | [`authority`] | makes identities and says which are revoked |
//! | [`folder`] | the folder that holds an authority and all that it made |
//! | [`identity`] | one identity: the file of a node or of a driver |
//! | [`tls`] | how two of them meet: configurations, roles, and what went wrong, in words |
//!
//! A certificate names a role, not an address: nodes may move. An executor takes orders from drivers alone, and gives
//! blocks to both. The key of the authority stays in its folder; each identity is one file that its owner alone can read.

pub mod authority;
pub mod folder;
pub mod identity;
pub mod tls;

use std::fmt;

/// What the owner of an identity is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Gives orders.
    Driver,
    /// Takes them, and gives blocks to others of its kind.
    Executor,
}

impl Role {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Driver, Self::Executor];

    /// The one name that every certificate of this role is for, wherever its owner is.
    #[must_use]
    pub fn host(self) -> &'static str {
        match self {
            Self::Driver => "driver.broadsweep.internal",
            Self::Executor => "executor.broadsweep.internal",
        }
    }

    /// What people call it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Driver => "driver",
            Self::Executor => "executor",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
