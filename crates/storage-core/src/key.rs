//! Names of objects: [`Key`] for one, [`Prefix`] for all below a folder. What parses here is safe everywhere: no empty segment,
//! no `.` or `..`, no control character. How a key becomes a path or a URL is the backend's own business.

use std::{fmt, sync::Arc};

/// The name of an object: 1 to [`Key::BYTES_MAX`] bytes of UTF-8 in segments divided by `/`.
///
/// No segment is empty, `.` or `..`; no character is a control character. Cloning is cheap.
///
/// ```
/// # use larder_storage_core::Key;
/// let key = Key::new("documents/ivanov/report.pdf")?;
/// assert_eq!(key.segments().last(), Some("report.pdf"));
/// assert!(Key::new("a//b").is_err());
/// # Ok::<(), larder_storage_core::InvalidKey>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Arc<str>);

/// Why a text is no [`Key`] or [`Prefix`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidKey {
    /// The text is empty.
    #[error("a key can't be empty")]
    Empty,
    /// The text is longer than [`Key::BYTES_MAX`].
    #[error("a key has at most {max} bytes, this one has {len}", max = Key::BYTES_MAX)]
    TooLong {
        /// Its length in bytes.
        len: usize,
    },
    /// A segment is empty, `.` or `..`, or the text begins or ends with `/`.
    #[error("`{segment}` can't be a segment of a key")]
    Segment {
        /// The segment.
        segment: String,
    },
    /// The text holds a control character.
    #[error("a key can't hold the control character U+{code:04X}")]
    Control {
        /// Its code point.
        code: u32,
    },
}

impl Key {
    /// The longest key, in bytes: S3's own bound.
    pub const BYTES_MAX: usize = 1024;

    /// Checks `text` and makes a key of it.
    ///
    /// # Errors
    /// [`InvalidKey`] names the first rule that is broken.
    pub fn new(text: impl AsRef<str>) -> Result<Self, InvalidKey> {
        let text = text.as_ref();
        if text.is_empty() {
            return Err(InvalidKey::Empty);
        }
        check(text)?;
        Ok(Self(text.into()))
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its segments, in order; never none, never an empty one.
    pub fn segments(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/')
    }

    /// The key of the same folder whose last segment has `suffix` added.
    ///
    /// # Errors
    /// [`InvalidKey::TooLong`] and what [`Key::new`] refuses.
    pub fn with_suffix(&self, suffix: &str) -> Result<Self, InvalidKey> {
        Self::new(format!("{}{suffix}", self.0))
    }
}

fn check(text: &str) -> Result<(), InvalidKey> {
    if text.len() > Key::BYTES_MAX {
        return Err(InvalidKey::TooLong { len: text.len() });
    }
    if let Some(control) = text.chars().find(|c| c.is_control()) {
        return Err(InvalidKey::Control { code: control as u32 });
    }
    match text.split('/').find(|segment| matches!(*segment, "" | "." | "..")) {
        Some(segment) => Err(InvalidKey::Segment { segment: segment.to_owned() }),
        None => Ok(()),
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl AsRef<str> for Key {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for Key {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for Key {
    type Err = InvalidKey;
    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        Self::new(text)
    }
}

/// A folder: everything, or every key that begins with it. It always ends in `/`, so `images` never matches `images2/…`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Prefix(String);

impl Prefix {
    /// The prefix of every key.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// Makes a prefix of `text`, with or without a `/` at its end; the empty text is [`Prefix::all`].
    ///
    /// # Errors
    /// As [`Key::new`].
    pub fn new(text: impl AsRef<str>) -> Result<Self, InvalidKey> {
        let text = text.as_ref();
        if text.is_empty() {
            return Ok(Self::all());
        }
        let folder = text.strip_suffix('/').unwrap_or(text);
        check(folder)?;
        Ok(Self(format!("{folder}/")))
    }

    /// The prefix as text: empty, or with a `/` at its end.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `key` lies below this folder.
    #[must_use]
    pub fn contains(&self, key: &Key) -> bool {
        key.as_str().starts_with(&self.0)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_no_key_is_refused_by_its_first_broken_rule() {
        let segment = |segment: &str| InvalidKey::Segment { segment: segment.to_owned() };
        let long = "k".repeat(Key::BYTES_MAX + 1);
        let table = [
            ("", InvalidKey::Empty),
            (long.as_str(), InvalidKey::TooLong { len: 1025 }),
            ("/a", segment("")),
            ("a/", segment("")),
            ("a//b", segment("")),
            (".", segment(".")),
            ("a/../b", segment("..")),
            ("a/./b", segment(".")),
            ("a\0b", InvalidKey::Control { code: 0 }),
            ("a\nb", InvalidKey::Control { code: 10 }),
            ("a\u{7f}", InvalidKey::Control { code: 127 }),
            ("a\u{85}b", InvalidKey::Control { code: 0x85 }),
        ];
        for (text, expected) in table {
            assert_eq!(Key::new(text), Err(expected), "{text:?}");
        }
    }

    #[test]
    fn a_suffix_is_held_to_the_same_rules() {
        let key = Key::new("a/b.pdf").unwrap();
        assert_eq!(key.with_suffix(".attr.json").unwrap().as_str(), "a/b.pdf.attr.json");
        assert!(key.with_suffix("/..").is_err());
        assert!(key.with_suffix(&"x".repeat(Key::BYTES_MAX)).is_err());
    }

    #[test]
    fn a_prefix_is_a_folder_and_never_a_twin() {
        let images = Prefix::new("images").unwrap();
        assert_eq!(images, Prefix::new("images/").unwrap());
        assert!(images.contains(&Key::new("images/a").unwrap()));
        for stranger in ["images2/a", "images", "image/a", "a/images/b"] {
            assert!(!images.contains(&Key::new(stranger).unwrap()), "{stranger}");
        }
        for bad in ["/", "a//", "//", "../", "a/./"] {
            assert!(Prefix::new(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_key_gives_back_the_text_that_made_it(text in "[a-zA-Zéß報 %+.\\\\~:-]{1,40}(/[a-z.é]{1,9}){0,5}") {
            if let Ok(key) = Key::new(&text) {
                prop_assert_eq!(key.as_str(), &text);
                prop_assert_eq!(key.segments().collect::<Vec<_>>().join("/"), text.clone());
                prop_assert_eq!(text.parse(), Ok(key.clone()));
                prop_assert_eq!(key.to_string(), text);
                prop_assert!(Prefix::all().contains(&key));
            }
        }

        #[test]
        fn any_text_is_a_safe_key_or_refused(text in any::<String>()) {
            if let Ok(key) = Key::new(&text) {
                prop_assert!((1..=Key::BYTES_MAX).contains(&key.as_str().len()));
                prop_assert!(key.segments().all(|segment| !matches!(segment, "" | "." | "..")));
                prop_assert!(!key.as_str().contains(char::is_control));
            }
        }

        #[test]
        fn a_folder_holds_what_lies_below_it(folder in "[a-z]{1,5}(/[a-z]{1,5}){0,3}", name in "[a-z/]{1,9}") {
            if let Ok(key) = Key::new(format!("{folder}/{name}")) {
                prop_assert!(Prefix::new(&folder).unwrap().contains(&key));
                let twin = Prefix::new(format!("{folder}2")).unwrap();
                prop_assert!(!twin.contains(&key));
            }
        }
    }
}
