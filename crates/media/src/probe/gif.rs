//! GIF: its blocks, walked without decompressing any.

use super::{FRAMES_COUNTED, Probe, cut_short};
use crate::{Format, Result, bytes::le16, geometry::Size};

pub(super) fn probe(bytes: &[u8]) -> Result<Probe> {
    let side = |at: usize| le16(bytes, at).map(u32::from);
    let (width, height) = side(6).zip(side(8)).ok_or_else(cut_short(Format::Gif))?;
    let flags = *bytes.get(10).ok_or_else(cut_short(Format::Gif))?;
    let mut probe = Probe::still(Format::Gif, width, height);
    let blocks = bytes.get(13 + table_bytes(flags)..).unwrap_or_default();
    (probe.frames, probe.alpha) = frames(blocks, probe.stored);
    Ok(probe)
}

/// The bytes of the colour table that the flags of a screen or a frame announce.
fn table_bytes(flags: u8) -> usize {
    if flags & 0x80 == 0 { 0 } else { 3 << ((flags & 7) + 1) }
}

/// Counts the frames, and tells whether any has transparency or leaves a part of the canvas free. Ends where the file does.
fn frames(mut blocks: &[u8], canvas: Size) -> (u32, bool) {
    let (mut frames, mut alpha) = (0, false);
    while let Some(rest) = next(blocks, canvas, &mut frames, &mut alpha).filter(|_| frames < FRAMES_COUNTED) {
        blocks = rest;
    }
    (frames.max(1), alpha)
}

/// Takes one block off the front; `None` at the end.
fn next<'a>(blocks: &'a [u8], canvas: Size, frames: &mut u32, alpha: &mut bool) -> Option<&'a [u8]> {
    match *blocks.first()? {
        0x21 => {
            *alpha |= blocks.get(1) == Some(&0xf9) && blocks.get(3).is_some_and(|flags| flags & 1 == 1);
            after_sub_blocks(blocks.get(2..)?)
        }
        0x2c => {
            let side = |at: usize| le16(blocks, at).map(u32::from);
            *alpha |= (side(5)?, side(7)?) != (canvas.width, canvas.height) && *frames == 0;
            let flags = *blocks.get(9)?;
            *frames += 1;
            after_sub_blocks(blocks.get(11 + table_bytes(flags)..)?)
        }
        _ => None,
    }
}

/// What follows a chain of sub-blocks, each with its length in front, the last one empty.
fn after_sub_blocks(mut bytes: &[u8]) -> Option<&[u8]> {
    loop {
        let length = usize::from(*bytes.first()?);
        bytes = bytes.get(1 + length..)?;
        if length == 0 {
            return Some(bytes);
        }
    }
}
