//! PNG: every chunk's name, and the few chunks that matter.

use super::{Probe, cut_short, tiff};
use crate::{Error, Format, Result, bytes::be32};

/// A chunk: its name, its payload (as far as it is there), and all of it with length and checksum.
pub(crate) struct Chunk<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) payload: &'a [u8],
    pub(crate) whole: &'a [u8],
}

pub(super) fn probe(bytes: &[u8]) -> Result<Probe> {
    let header = chunks(bytes).next().filter(|chunk| chunk.name == b"IHDR").map(|chunk| chunk.payload);
    let header = header.ok_or_else(|| Error::corrupt(Format::Png, "its first chunk is no IHDR"))?;
    let side = |at: usize| be32(header, at).filter(|side| i32::try_from(*side).is_ok());
    let (width, height) = side(0).zip(side(4)).ok_or_else(cut_short(Format::Png))?;
    let mut probe = Probe::still(Format::Png, width, height);
    probe.alpha = matches!(header.get(9), Some(4 | 6));
    for chunk in chunks(bytes) {
        match chunk.name {
            b"iCCP" => probe.profile = true,
            b"tRNS" => probe.alpha = true,
            b"acTL" => probe.frames = be32(chunk.payload, 0).unwrap_or(1).clamp(1, super::FRAMES_COUNTED),
            b"eXIf" => probe.orientation = tiff::orientation(chunk.payload).unwrap_or_default(),
            _ => {}
        }
    }
    Ok(probe)
}

/// The chunks up to and with IEND. The last one may be cut short.
pub(crate) fn chunks(bytes: &[u8]) -> impl Iterator<Item = Chunk<'_>> {
    let mut rest = bytes.get(8..).unwrap_or_default();
    std::iter::from_fn(move || {
        let length = be32(rest, 0)? as usize;
        let (name, payload) = (rest.get(4..8)?, &rest[8..]);
        let end = length.saturating_add(12).min(rest.len());
        let chunk = Chunk { name, payload: &payload[..length.min(payload.len())], whole: &rest[..end] };
        rest = if name == b"IEND" { &[] } else { &rest[end..] };
        Some(chunk)
    })
}
