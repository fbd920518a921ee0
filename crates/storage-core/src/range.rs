//! Parts of objects: [`ByteRange`] as a client asks for it, resolved against a size it does not know.

use std::ops::Range;

/// A part of an object, in bytes, as RFC 9110 section 14.1.2 has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ByteRange {
    /// From this offset to the end.
    From(u64),
    /// From `first` to `last`, both included; an end past the object's is cut to it.
    Between {
        /// Offset of the first byte.
        first: u64,
        /// Offset of the last byte, never below `first`.
        last: u64,
    },
    /// The last so many bytes; all of a shorter object.
    Last(u64),
}

/// A range that selects nothing of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("range {range:?} selects nothing of an object of {size} bytes")]
pub struct InvalidRange {
    /// What was asked for.
    pub range: ByteRange,
    /// The object's size in bytes.
    pub size: u64,
}

impl ByteRange {
    /// The half-open range of offsets that this selects of an object of `size` bytes; never empty.
    ///
    /// # Errors
    /// [`InvalidRange`] where it selects no byte: it starts at or past the end, it is `Last(0)`, or `last` is below `first`.
    pub fn resolve(self, size: u64) -> Result<Range<u64>, InvalidRange> {
        let range = match self {
            Self::From(first) => first..size,
            Self::Between { first, last } => first..last.saturating_add(1).min(size),
            Self::Last(count) => size.saturating_sub(count)..size,
        };
        if range.start < range.end { Ok(range) } else { Err(InvalidRange { range: self, size }) }
    }
}
