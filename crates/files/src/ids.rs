//! Ids: UUIDs of one kind each, so that a user's can't be taken for a file's.

use crate::{Environment, Timestamp};
use serde::{Deserialize, Serialize};
use std::fmt;
use uuid::Uuid;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// A new UUIDv7 (RFC 9562 section 5.7) of the environment's time and randomness.
            #[must_use]
            pub fn new(environment: &Environment) -> Self {
                Self::at(environment.clock.now(), environment)
            }

            /// The same of a given time.
            pub(crate) fn at(time: Timestamp, environment: &Environment) -> Self {
                let millis = u64::try_from(time.as_millis()).unwrap_or(0);
                Self(uuid::Builder::from_unix_timestamp_millis(millis, &environment.random()).into_uuid())
            }

            /// Reads the canonical text: lower case, with hyphens.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                let id = Uuid::parse_str(text).ok()?;
                (id.hyphenated().to_string() == text).then_some(Self(id))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }
    };
}

id!(
    /// A file, for ever: never given again.
    FileId
);
id!(
    /// A user.
    UserId
);
id!(
    /// A bucket.
    BucketId
);
id!(
    /// A store as it knows itself (`self` in its marker).
    StoreId
);

id!(
    /// A session: a log-in that goes on.
    SessionId
);

id!(
    /// A direct upload: content on its way past this server.
    DirectId
);

impl UserId {
    /// The built-in account `local`: whoever can read the data directory.
    pub const LOCAL: Self = Self(Uuid::from_u128(0x0000_0000_0000_7000_8000_0000_0000_0001));
}

impl FileId {
    /// No file that was made at this time or later, in milliseconds since 1970, has a smaller id.
    pub(crate) fn first_at(millis: i64) -> Self {
        const MILLIS_MAX: u64 = (1 << 48) - 1;
        let millis = u64::try_from(millis).unwrap_or(0).min(MILLIS_MAX);
        Self(Uuid::from_u128(u128::from(millis) << 80))
    }
}
