//! `Range` (RFC 9110 section 14): which bytes of content a request asks for.

use larder_files::ByteRange;
use std::ops::Range;

/// At most so many ranges are answered as parts.
const RANGES_MAX: usize = 10;

/// Which bytes to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Selection {
    /// All of them, 200.
    Whole,
    /// One range, 206.
    One(Range<u64>),
    /// Several that don't touch each other, in the order asked for: 206 as `multipart/byteranges`.
    Several(Vec<Range<u64>>),
    /// None, 416.
    Nothing,
}

/// What `header` selects of `size` bytes. Another unit, a syntax error, overlapping or too many ranges select everything.
pub(crate) fn select(header: &str, size: u64) -> Selection {
    let Some(asked) = parse(header) else { return Selection::Whole };
    let ranges: Vec<_> = asked.iter().filter_map(|range| range.resolve(size).ok()).collect();
    if asked.len() > RANGES_MAX || overlap(&ranges) {
        return Selection::Whole;
    }
    match ranges.len() {
        0 => Selection::Nothing,
        1 => Selection::One(ranges[0].clone()),
        _ => Selection::Several(ranges),
    }
}

fn overlap(ranges: &[Range<u64>]) -> bool {
    let mut sorted: Vec<_> = ranges.iter().collect();
    sorted.sort_unstable_by_key(|range| range.start);
    sorted.windows(2).any(|pair| pair[1].start < pair[0].end)
}

fn parse(header: &str) -> Option<Vec<ByteRange>> {
    let (unit, set) = header.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let ranges: Option<Vec<_>> = set.split(',').map(str::trim).filter(|range| !range.is_empty()).map(one).collect();
    ranges.filter(|ranges| !ranges.is_empty())
}

fn one(text: &str) -> Option<ByteRange> {
    let (first, last) = text.split_once('-')?;
    match (first, last) {
        ("", last) => Some(ByteRange::Last(number(last)?)),
        (first, "") => Some(ByteRange::From(number(first)?)),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(ByteRange::Between { first, last })
        }
    }
}

/// Digits; a number too large to be an offset is as good as the largest.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::{Selection::*, *};

    #[test]
    fn what_each_header_selects_of_ten_bytes() {
        let cases = [
            ("bytes=0-0", One(0..1)),
            ("bytes=2-5", One(2..6)),
            ("bytes=2-", One(2..10)),
            ("bytes=-3", One(7..10)),
            ("bytes=-30", One(0..10)),
            ("bytes=5-99999999999999999999999", One(5..10)),
            ("BYTES = 2-5 ", One(2..6)),
            ("bytes=0-0,-1", Several(vec![0..1, 9..10])),
            ("bytes=5-6, 0-1", Several(vec![5..7, 0..2])),
            ("bytes=0-1,2-3", Several(vec![0..2, 2..4])),
            ("bytes=0-1,,20-30", One(0..2)),
            ("bytes=10-", Nothing),
            ("bytes=-0", Nothing),
            ("bytes=20-30,40-", Nothing),
            ("bytes=0-5,5-6", Whole),
            ("bytes=0-,-1", Whole),
            ("bytes=5-2", Whole),
            ("bytes=", Whole),
            ("bytes=,", Whole),
            ("bytes=a-b", Whole),
            ("bytes=1", Whole),
            ("bytes=--1", Whole),
            ("bytes=+1-2", Whole),
            ("bytes 0-1", Whole),
            ("lines=0-1", Whole),
            ("", Whole),
        ];
        for (header, selection) in cases {
            assert_eq!(select(header, 10), selection, "{header}");
        }
        let many = |count: u64| {
            format!("bytes={}", (0..count).map(|n| format!("{0}-{0}", n * 2)).collect::<Vec<_>>().join(","))
        };
        assert!(matches!(select(&many(10), 100), Several(ranges) if ranges.len() == 10));
        assert_eq!(select(&many(11), 100), Whole);
    }

    #[test]
    fn nothing_of_an_empty_file_is_satisfiable() {
        for header in ["bytes=0-", "bytes=-1", "bytes=0-0"] {
            assert_eq!(select(header, 0), Nothing, "{header}");
        }
    }
}
