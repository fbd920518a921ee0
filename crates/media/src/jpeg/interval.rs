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
    /// Whether the scan ended: at another marker or at the end of the file.
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
            self.position += found.end;
            if !stuffed {
                self.ended = !found.is_restart();
                break;
            }
        }
        Some(&self.unstuffed)
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

    fn intervals(bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut intervals = Intervals::new(bytes);
        std::iter::from_fn(|| intervals.next().map(<[u8]>::to_vec)).collect()
    }

    #[test]
    fn stuffing_is_removed_and_restart_markers_cut() {
        let bytes = [1, 0xff, 0, 2, 0xff, 0xd0, 3, 0xff, 0xff, 0xd7, 0xff, 0, 0xff, 0, 0xff, 0xd9, 4];
        assert_eq!(intervals(&bytes), [&[1, 0xff, 2][..], &[3], &[0xff, 0xff]]);
    }

    #[test]
    fn data_may_end_anywhere() {
        assert_eq!(intervals(&[]), [[]]);
        assert_eq!(intervals(&[1, 2]), [[1, 2]]);
        assert_eq!(intervals(&[1, 0xff, 0xff]), [[1, 0xff, 0xff]]);
        assert_eq!(intervals(&[1, 0xff, 0xd3]), [&[1][..], &[]]);
    }
}
