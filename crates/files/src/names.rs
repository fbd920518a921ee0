//! Names with rules: [`BucketName`], [`UserName`], [`StoreName`].

use serde::{Deserialize, Serialize};
use std::{fmt, sync::Arc};

/// Why a text is no such name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no {what}: {rule}")]
pub struct InvalidName {
    text: String,
    what: &'static str,
    rule: &'static str,
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks `text` and makes a name of it.
            ///
            /// # Errors
            /// [`InvalidName`] says the rule.
            pub fn new(text: impl AsRef<str>) -> Result<Self, InvalidName> {
                let text = text.as_ref();
                let check: fn(&str) -> bool = $check;
                if check(text) {
                    Ok(Self(text.into()))
                } else {
                    Err(InvalidName { text: text.chars().take(64).collect(), what: $what, rule: $rule })
                }
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;
            fn try_from(text: String) -> Result<Self, InvalidName> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.as_str().to_owned()
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidName;
            fn from_str(text: &str) -> Result<Self, InvalidName> {
                Self::new(text)
            }
        }
    };
}

fn spelled(text: &str, max: usize, further: &[u8]) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    (1..=max).contains(&bytes.len()) && plain(bytes[0]) && bytes.iter().all(|b| plain(*b) || further.contains(b))
}

name!(
    /// The name of a bucket.
    BucketName,
    "name of a bucket",
    "2 to 63 characters of a-z, 0-9 and -, not beginning with -",
    |text| text.len() >= 2 && spelled(text, 63, b"-")
);
name!(
    /// The name of a user: a directory of theirs on every store.
    UserName,
    "name of a user",
    "1 to 40 characters of a-z, 0-9, `.`, `_` and `-`, beginning with a letter or digit, not ending in .attr.json",
    |text| spelled(text, 40, b"._-") && !text.ends_with(".attr.json")
);
name!(
    /// The name of a store, as the configuration has it.
    StoreName,
    "name of a store",
    "1 to 63 characters of a-z, 0-9 and _, beginning with a letter",
    |text| spelled(text, 63, b"_") && text.as_bytes()[0].is_ascii_lowercase()
);

impl UserName {
    /// The name of the built-in account, which can't be given.
    #[must_use]
    pub fn local() -> Self {
        Self("local".into())
    }
}
