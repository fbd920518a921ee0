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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ranges() -> impl Strategy<Value = ByteRange> {
        let offset = || prop_oneof![0..20_u64, any::<u64>(), Just(u64::MAX)];
        prop_oneof![
            offset().prop_map(ByteRange::From),
            (offset(), offset()).prop_map(|(first, last)| ByteRange::Between { first, last }),
            offset().prop_map(ByteRange::Last),
        ]
    }

    /// Whether a range selects the byte at `offset`, as the RFC says it.
    fn selects(range: ByteRange, offset: u64, size: u64) -> bool {
        match range {
            ByteRange::From(first) => offset >= first,
            ByteRange::Between { first, last } => first <= offset && offset <= last,
            ByteRange::Last(count) => size - offset <= count,
        }
    }

    proptest! {
        #[test]
        fn a_range_selects_exactly_the_bytes_that_it_says(range in ranges(), size in 0..20_u64) {
            let expected: Vec<u64> = (0..size).filter(|offset| selects(range, *offset, size)).collect();
            let resolved = range.resolve(size).map(|range| range.collect::<Vec<_>>()).unwrap_or_default();
            prop_assert_eq!(resolved, expected);
        }

        #[test]
        fn a_range_stays_within_the_object(range in ranges(), size in any::<u64>()) {
            match range.resolve(size) {
                Ok(resolved) => prop_assert!(resolved.start < resolved.end && resolved.end <= size),
                Err(invalid) => prop_assert_eq!(invalid, InvalidRange { range, size }),
            }
        }

        #[test]
        fn resolving_what_was_resolved_changes_nothing(range in ranges(), size in any::<u64>()) {
            if let Ok(resolved) = range.resolve(size) {
                let again = ByteRange::Between { first: resolved.start, last: resolved.end - 1 };
                prop_assert_eq!(again.resolve(size), Ok(resolved));
            }
        }
    }
}
