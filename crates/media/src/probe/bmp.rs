//! BMP: its second header.

use super::{Probe, cut_short};
use crate::{
    Format, Result,
    bytes::{le16, le32},
};

pub(super) fn probe(bytes: &[u8]) -> Result<Probe> {
    let old = le32(bytes, 14) == Some(12);
    let (size, depth) = if old { (short_size(bytes), le16(bytes, 24)) } else { (size(bytes), le16(bytes, 28)) };
    let ((width, height), depth) = size.zip(depth).ok_or_else(cut_short(Format::Bmp))?;
    Ok(Probe { alpha: depth == 32, ..Probe::still(Format::Bmp, width, height) })
}

/// A negative height means that the first row is the top one.
fn size(bytes: &[u8]) -> Option<(u32, u32)> {
    let side = |at: usize| le32(bytes, at).map(|side| side.cast_signed().unsigned_abs());
    side(18).zip(side(22))
}

fn short_size(bytes: &[u8]) -> Option<(u32, u32)> {
    le16(bytes, 18).map(u32::from).zip(le16(bytes, 20).map(u32::from))
}
