//! Restart intervals: the entropy-coded data of a scan, cut at its restart markers and freed of its stuffing.

use super::segment::marker;
use memchr::memchr;

/// The restart intervals of one scan, in order.
///
/// Taking the stuffing away beforehand costs one copy; looking for it at every refill costs more.
pub(super) struct Intervals<'a> {
    /// Begins with the scan's data.
    bytes: &'a [u8],
    position: usize,
    /// Whether `position` is where the scan ends: at another marker or at the end of the file.
    ended: bool,
    unstuffed: Vec<u8>,
}

impl<'a> Intervals<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Intervals { bytes, position: 0, ended: false, unstuffed: Vec::new() }
    }

    /// The next interval without its stuffing; None behind the last.
    pub(super) fn next(&mut self) -> Option<&[u8]> {
        if self.ended {
            return None;
        }
        self.unstuffed.clear();
        loop {
            let rest = &self.bytes[self.position..];
            let Some(found) = Found::first(rest) else {
                self.unstuffed.extend_from_slice(rest);
                self.position = self.bytes.len();
                self.ended = true;
                break;
            };
            let stuffed = found.code == marker::STUFFING;
            self.unstuffed.extend_from_slice(&rest[..found.start + usize::from(stuffed)]);
            if !stuffed {
                self.ended = !found.is_restart();
                self.position += if self.ended { found.start } else { found.end };
                break;
            }
            self.position += found.end;
        }
        Some(&self.unstuffed)
    }

    /// Where the scan ends: behind all its intervals, read or not.
    pub(super) fn end(mut self) -> usize {
        while !self.ended {
            match Found::first(&self.bytes[self.position..]) {
                Some(found) if found.code == marker::STUFFING || found.is_restart() => self.position += found.end,
                Some(found) => {
                    self.position += found.start;
                    self.ended = true;
                }
                None => {
                    self.position = self.bytes.len();
                    self.ended = true;
                }
            }
        }
        self.position
    }
}

/// A `0xff` and what it stands for.
struct Found {
    /// Of the `0xff`, the first if there are several.
    start: usize,
    /// Behind the code.
    end: usize,
    code: u8,
}

impl Found {
    fn first(bytes: &[u8]) -> Option<Found> {
        let start = memchr(0xff, bytes)?;
        let fill = bytes[start..].iter().take_while(|&&byte| byte == 0xff).count();
        let code = *bytes.get(start + fill)?;
        Some(Found { start, end: start + fill + 1, code })
    }

    fn is_restart(&self) -> bool {
        (marker::RESTART_FIRST..=marker::RESTART_LAST).contains(&self.code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn intervals(bytes: &[u8]) -> (Vec<Vec<u8>>, usize) {
        let mut intervals = Intervals::new(bytes);
        let mut all = Vec::new();
        while let Some(interval) = intervals.next() {
            all.push(interval.to_vec());
        }
        (all, intervals.end())
    }

    #[test]
    fn stuffing_is_removed_and_restart_markers_cut() {
        let bytes = [1, 0xff, 0, 2, 0xff, 0xd0, 3, 0xff, 0xff, 0xd7, 0xff, 0, 0xff, 0, 0xff, 0xd9, 4];
        let expected = vec![vec![1, 0xff, 2], vec![3], vec![0xff, 0xff]];
        assert_eq!(intervals(&bytes), (expected, 14));
    }

    #[test]
    fn data_may_end_anywhere() {
        assert_eq!(intervals(&[]), (vec![vec![]], 0));
        assert_eq!(intervals(&[1, 2]), (vec![vec![1, 2]], 2));
        assert_eq!(intervals(&[1, 0xff, 0xff]), (vec![vec![1, 0xff, 0xff]], 3));
        assert_eq!(intervals(&[1, 0xff, 0xd3]), (vec![vec![1], vec![]], 3));
    }

    #[test]
    fn the_end_of_a_scan_is_found_without_reading_it() {
        let bytes = [1, 0xff, 0, 0xff, 0xd0, 3, 0xff, 0xff, 0xda, 7];
        assert_eq!(Intervals::new(&bytes).end(), 6);
        let mut begun = Intervals::new(&bytes);
        assert_eq!(begun.next(), Some(&[1, 0xff][..]));
        assert_eq!(begun.end(), 6);
    }
}
