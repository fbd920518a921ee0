//! JPEG: the segments before the first scan.

use super::{Probe, cut_short, tiff};
use crate::{Error, Format, Orientation, Result, bytes::be16, geometry::Size};

/// A segment before the first scan: its marker, and where its payload lies.
pub(crate) struct Segment<'a> {
    pub(crate) marker: u8,
    pub(crate) payload: &'a [u8],
    /// Marker, length and payload.
    pub(crate) whole: &'a [u8],
    /// Where the first byte behind it lies.
    pub(crate) end: usize,
}

const PROGRESSIVE_FRAME: u8 = 0xc2;
const START_OF_SCAN: u8 = 0xda;
const END_OF_IMAGE: u8 = 0xd9;

pub(super) fn probe(bytes: &[u8]) -> Result<Probe> {
    let mut probe = Probe::still(Format::Jpeg, 0, 0);
    let mut framed = false;
    for segment in segments(bytes) {
        match segment.marker {
            marker if is_frame(marker) => {
                probe.stored = size(segment.payload)?;
                framed = true;
            }
            0xe1 => probe.orientation = exif(segment.payload).unwrap_or(probe.orientation),
            0xe2 => probe.profile |= segment.payload.starts_with(b"ICC_PROFILE\0"),
            _ => {}
        }
    }
    if framed { Ok(probe) } else { Err(Error::corrupt(Format::Jpeg, "it has no frame header")) }
}

/// The segments from the start of the picture up to and with the header of the first scan.
pub(crate) fn segments(bytes: &[u8]) -> impl Iterator<Item = Segment<'_>> {
    let (mut at, mut over) = (2, false);
    std::iter::from_fn(move || {
        // Any number of fill bytes may stand before a marker.
        while !over && bytes.get(at) == Some(&0xff) && bytes.get(at + 1) == Some(&0xff) {
            at += 1;
        }
        let marker = bytes.get(at + 1).copied().filter(|_| !over && bytes[at] == 0xff)?;
        let end = at + 2 + usize::from(be16(bytes, at + 2)?);
        over = marker == START_OF_SCAN || marker == END_OF_IMAGE;
        let segment = Segment { marker, payload: bytes.get(at + 4..end)?, whole: &bytes[at..end], end };
        at = end;
        Some(segment)
    })
}

/// The coded part of the picture.
pub(crate) struct Scans {
    /// How many scans there are.
    pub(crate) count: usize,
    /// Whether each scan refines the whole picture.
    pub(crate) progressive: bool,
    /// Where the first byte behind the picture lies; `None` where the picture is cut short.
    pub(crate) end: Option<usize>,
}

/// Walks the scans from marker to marker.
pub(crate) fn scans(bytes: &[u8]) -> Scans {
    let progressive = segments(bytes).any(|segment| segment.marker == PROGRESSIVE_FRAME);
    let (mut at, mut count) = (segments(bytes).last().map_or(2, |last| last.end), 1);
    while let Some(found) = bytes.get(at..).and_then(|rest| memchr::memchr(0xff, rest)) {
        at += found;
        match bytes.get(at + 1) {
            Some(&END_OF_IMAGE) => return Scans { count, progressive, end: Some(at + 2) },
            // A coded 0xff, a restart, or fill.
            Some(0 | 0xd0..=0xd7) => at += 2,
            Some(0xff) => at += 1,
            Some(&marker) => {
                count += usize::from(marker == START_OF_SCAN);
                at += 2 + usize::from(be16(bytes, at + 2).unwrap_or_default());
            }
            None => break,
        }
    }
    Scans { count, progressive, end: None }
}

/// Start of frame, of any kind of coding; three numbers in the range are other segments.
fn is_frame(marker: u8) -> bool {
    (0xc0..=0xcf).contains(&marker) && !matches!(marker, 0xc4 | 0xc8 | 0xcc)
}

fn size(frame: &[u8]) -> Result<Size> {
    let side = |at: usize| be16(frame, at).map(u32::from).ok_or_else(cut_short(Format::Jpeg));
    let (height, width) = (side(1)?, side(3)?);
    // The height may follow after the first scan (DNL). Nobody writes that.
    if height == 0 {
        Err(Error::corrupt(Format::Jpeg, "its header gives no height"))
    } else {
        Ok(Size { width, height })
    }
}

fn exif(payload: &[u8]) -> Option<Orientation> {
    tiff::orientation(payload.strip_prefix(b"Exif\0")?.get(1..)?)
}
