//! Who asks, and what they may.

use crate::{UserId, UserName};
use serde::{Deserialize, Serialize};

/// What a user may: their own files, or everybody's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Everything.
    Admin,
    /// What is theirs.
    User,
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Their id.
    pub id: UserId,
    /// Their name.
    pub name: UserName,
    /// What they may.
    pub role: Role,
}

impl Caller {
    /// The built-in account of whoever can read the data directory.
    #[must_use]
    pub fn local() -> Self {
        Self { id: UserId::LOCAL, name: UserName::local(), role: Role::Admin }
    }

    /// Whether what `owner` owns is there for this caller at all: another's is as absent.
    #[must_use]
    pub fn sees(&self, owner: UserId) -> bool {
        self.role == Role::Admin || self.id == owner
    }
}
