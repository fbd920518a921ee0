//! ICO: the largest icon alone, so that what the others claim costs nothing.

use super::{Decoded, Source, png};
use crate::{Result, probe::largest_icon};
use image::codecs::ico::IcoDecoder;

pub(super) fn decode(source: &Source<'_>) -> Result<Decoded> {
    let icon = largest_icon(source.bytes)?;
    if icon.payload.starts_with(b"\x89PNG") {
        return png::decode(&Source { bytes: icon.payload, ..*source }, 1.0);
    }
    let alone = alone(icon.entry, icon.payload);
    let decoder = IcoDecoder::new(std::io::Cursor::new(&alone)).map_err(|fault| source.fault(fault))?;
    source.through_image(decoder)
}

/// A file with this one icon, whose directory tells the truth about its length and place.
fn alone(entry: &[u8], payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes();
    [b"\0\0\x01\0\x01\0", &entry[..8], &length, &22_u32.to_le_bytes(), payload].concat()
}
