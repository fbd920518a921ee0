//! WebP: the chunks of its RIFF.

use super::{FRAMES_COUNTED, Probe, cut_short, tiff};
use crate::{
    Error, Format, Result,
    bytes::{le16, le24, le32},
    geometry::Size,
};

/// A chunk: its name, its payload (as far as it is there), and all of it with name, length and padding.
pub(crate) struct Chunk<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) payload: &'a [u8],
    pub(crate) whole: &'a [u8],
}

pub(super) fn probe(bytes: &[u8]) -> Result<Probe> {
    let first = chunks(bytes).next().ok_or_else(cut_short(Format::Webp))?;
    match first.name {
        b"VP8X" => extended(bytes, first.payload),
        _ => bitstream(&first),
    }
}

/// The chunks of the file.
pub(crate) fn chunks(bytes: &[u8]) -> impl Iterator<Item = Chunk<'_>> {
    let end = le32(bytes, 4).map_or(0, |size| (size as usize).saturating_add(8)).min(bytes.len());
    let mut rest = bytes.get(12..end).unwrap_or_default();
    std::iter::from_fn(move || {
        let length = le32(rest, 4)? as usize;
        let end = length.saturating_add(length % 2).saturating_add(8).min(rest.len());
        let payload = &rest[8..];
        let chunk = Chunk { name: &rest[..4], payload: &payload[..length.min(payload.len())], whole: &rest[..end] };
        rest = &rest[end..];
        Some(chunk)
    })
}

/// A still without metadata: its bitstream says all.
fn bitstream(chunk: &Chunk<'_>) -> Result<Probe> {
    let (size, alpha) = match chunk.name {
        b"VP8 " => (lossy_size(chunk.payload), false),
        b"VP8L" => (lossless_size(chunk.payload), le32(chunk.payload, 1).is_some_and(|bits| bits >> 28 & 1 == 1)),
        _ => return Err(Error::corrupt(Format::Webp, "its first chunk is no picture")),
    };
    let Size { width, height } = size.ok_or_else(cut_short(Format::Webp))?;
    Ok(Probe { alpha, ..Probe::still(Format::Webp, width, height) })
}

/// A canvas with what lies on it. A still whose bitstream has another size than the canvas is a lie, and refused.
fn extended(bytes: &[u8], header: &[u8]) -> Result<Probe> {
    let side = |at: usize| le24(header, at).map(|less_one| less_one + 1);
    let (width, height) = side(4).zip(side(7)).ok_or_else(cut_short(Format::Webp))?;
    let mut probe = Probe::still(Format::Webp, width, height);
    probe.alpha = header[0] & 0x10 != 0;
    let mut frames = 0_u32;
    for chunk in chunks(bytes) {
        match chunk.name {
            b"ICCP" => probe.profile = true,
            b"EXIF" => probe.orientation = tiff::orientation(without_prefix(chunk.payload)).unwrap_or_default(),
            b"ANMF" => frames = frames.saturating_add(1),
            b"VP8 " | b"VP8L" if bitstream(&chunk)?.stored != probe.stored => {
                return Err(Error::corrupt(Format::Webp, "its picture has another size than its canvas"));
            }
            _ => {}
        }
    }
    probe.frames = frames.clamp(1, FRAMES_COUNTED);
    Ok(probe)
}

/// Some writers put the prefix of a JPEG before the EXIF.
fn without_prefix(exif: &[u8]) -> &[u8] {
    exif.strip_prefix(b"Exif\0\0").unwrap_or(exif)
}

fn lossy_size(payload: &[u8]) -> Option<Size> {
    let side = |at: usize| le16(payload, at).map(|side| u32::from(side & 0x3fff));
    let started = payload.get(3..6) == Some(b"\x9d\x01\x2a".as_slice());
    started.then_some(())?;
    Some(Size { width: side(6)?, height: side(8)? })
}

fn lossless_size(payload: &[u8]) -> Option<Size> {
    let bits = le32(payload, 1).filter(|_| payload[0] == 0x2f)?;
    Some(Size { width: (bits & 0x3fff) + 1, height: (bits >> 14 & 0x3fff) + 1 })
}
