//! GIF: a palette for each frame, transparency all or nothing.

use crate::{Error, Format, Result, Size, pixels::Pixels};
use gif::{DisposalMethod, Encoder, Frame, Repeat};

/// Every n-th pixel is looked at for the palette; 1 is slowest, 30 fastest.
const PALETTE_SPEED: i32 = 10;
/// A pixel with less alpha than this becomes transparent, any other opaque.
const ALPHA_SEEN: u8 = 128;

pub(super) fn encode(pixels: Pixels) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    let size = sides(pixels.size())?;
    let mut encoder = Encoder::new(&mut out, size.0, size.1, &[]).map_err(refused)?;
    encoder.write_frame(&frame(pixels)?).map_err(refused)?;
    drop(encoder);
    Ok(out)
}

/// An animation that is repeated for ever.
pub(crate) struct Animation(Encoder<Vec<u8>>);

impl Animation {
    pub(super) fn new(size: Size) -> Result<Self> {
        let (width, height) = sides(size)?;
        let mut encoder = Encoder::new(Vec::new(), width, height, &[]).map_err(refused)?;
        encoder.set_repeat(Repeat::Infinite).map_err(refused)?;
        Ok(Self(encoder))
    }

    /// Every frame is a whole canvas, so the one before is cleared away.
    pub(super) fn add(&mut self, pixels: Pixels, delay_ms: u32) -> Result<()> {
        let delay = u16::try_from(delay_ms / 10).unwrap_or(u16::MAX);
        let frame = Frame { delay, dispose: DisposalMethod::Background, ..frame(pixels)? };
        self.0.write_frame(&frame).map_err(refused)
    }

    pub(super) fn finish(self) -> Result<Vec<u8>> {
        self.0.into_inner().map_err(refused)
    }
}

fn frame(pixels: Pixels) -> Result<Frame<'static>> {
    let (width, height) = sides(pixels.size())?;
    let mut rgba = pixels.into_rgba();
    for pixel in rgba.chunks_exact_mut(4) {
        pixel[3] = if pixel[3] < ALPHA_SEEN { 0 } else { 255 };
    }
    Ok(Frame::from_rgba_speed(width, height, &mut rgba, PALETTE_SPEED))
}

fn sides(size: Size) -> Result<(u16, u16)> {
    let side =
        |side: u32| u16::try_from(side).map_err(|_| Error::encode(Format::Gif, "a side has more than 65535 pixels"));
    Ok((side(size.width)?, side(size.height)?))
}

fn refused(fault: impl std::fmt::Display) -> Error {
    Error::encode(Format::Gif, fault)
}
