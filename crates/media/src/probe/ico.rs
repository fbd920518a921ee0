//! ICO: its directory, and the header of the largest picture in it, which is the one that is used.

use super::{Probe, cut_short};
use crate::{
    Error, Format, Result,
    bytes::{le16, le32},
    geometry::Size,
};

/// At most this many entries are looked at.
const ENTRIES_MAX: usize = 256;

/// An icon of the directory.
pub(crate) struct Icon<'a> {
    /// The directory's entry, 16 bytes.
    pub(crate) entry: &'a [u8],
    /// A PNG, or a BMP without its first header.
    pub(crate) payload: &'a [u8],
}

pub(super) fn probe(bytes: &[u8]) -> Result<Probe> {
    let icon = largest(bytes)?;
    if icon.payload.starts_with(b"\x89PNG") {
        return Ok(Probe { format: Format::Ico, alpha: true, ..super::png::probe(icon.payload)? });
    }
    let Size { width, height } = bitmap_size(icon.payload).ok_or_else(cut_short(Format::Ico))?;
    Ok(Probe { alpha: true, ..Probe::still(Format::Ico, width, height) })
}

/// The largest icon by what the directory says, whose payload lies in the file.
pub(crate) fn largest(bytes: &[u8]) -> Result<Icon<'_>> {
    let count = usize::from(le16(bytes, 4).ok_or_else(cut_short(Format::Ico))?).min(ENTRIES_MAX);
    let entries = (0..count).filter_map(|number| bytes.get(6 + number * 16..22 + number * 16));
    let icons = entries.filter_map(|entry| Some(Icon { entry, payload: payload(bytes, entry)? }));
    let largest = icons.max_by_key(|icon| (claimed(icon.entry).pixels(), le16(icon.entry, 6)));
    largest.ok_or_else(|| Error::corrupt(Format::Ico, "its directory holds no icon"))
}

fn payload<'a>(bytes: &'a [u8], entry: &[u8]) -> Option<&'a [u8]> {
    let (length, start) = (le32(entry, 8)? as usize, le32(entry, 12)? as usize);
    bytes.get(start..start.checked_add(length)?).filter(|payload| payload.len() >= 40)
}

/// The size that the directory claims; 0 means 256.
fn claimed(entry: &[u8]) -> Size {
    let side = |at: usize| entry.get(at).map_or(0, |side| if *side == 0 { 256 } else { u32::from(*side) });
    Size { width: side(0), height: side(1) }
}

/// The height of the bitmap counts the mask below the picture, too.
fn bitmap_size(payload: &[u8]) -> Option<Size> {
    let side = |at: usize| le32(payload, at).map(|side| side.cast_signed().unsigned_abs());
    Some(Size { width: side(4)?, height: side(8)? / 2 })
}
