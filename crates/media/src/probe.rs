//! What a picture is, from its headers alone: no pixel is decoded, nothing is allocated by what the picture claims, and the time
//! grows with the bytes given only. Each format has a reader of its headers here; the limits are applied by `limits`.

mod avif;
mod bmp;
mod gif;
mod ico;
mod jpeg;
mod png;
mod svg;
mod tiff;
mod webp;

pub(crate) use ico::largest as largest_icon;
pub(crate) use jpeg::{Scans, scans as jpeg_scans, segments as jpeg_segments};
pub(crate) use png::chunks as png_chunks;
pub(crate) use webp::chunks as webp_chunks;

use crate::{Error, Format, Orientation, Result, geometry::Size};

/// Frames are counted up to this many; an animation of more has this many and is over any limit.
pub(crate) const FRAMES_COUNTED: u32 = 10_000;

/// What a picture is, by its headers. A claim: only rendering tells whether the pixels are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Probe {
    /// The format, by content.
    pub format: Format,
    /// The size in pixels as stored.
    pub stored: Size,
    /// How it is to be turned to be looked at.
    pub orientation: Orientation,
    /// How many frames there are; 1 where it does not move. Counted up to 10,000.
    pub frames: u32,
    /// Whether it may have transparent pixels.
    pub alpha: bool,
    /// Whether it brings an ICC profile.
    pub profile: bool,
}

/// Reads the headers of a picture.
///
/// ```
/// let gif = b"GIF89a\x03\x00\x02\x00\x00\x00\x00,\0\0\0\0\x03\0\x02\0\0\x02\0;";
/// let probe = larder_media::probe(gif)?;
/// assert_eq!((probe.format.name(), probe.stored.width, probe.stored.height), ("gif", 3, 2));
/// # Ok::<(), larder_media::Error>(())
/// ```
///
/// # Errors
/// [`Error::NotAnImage`], [`Error::Unsupported`], [`Error::Corrupt`].
pub fn probe(bytes: &[u8]) -> Result<Probe> {
    let format = Format::of(bytes)?;
    let probe = read(format, bytes)?;
    match probe.stored {
        Size { width: 0, .. } | Size { height: 0, .. } => Err(Error::corrupt(format, "it has no pixels")),
        _ => Ok(probe),
    }
}

fn read(format: Format, bytes: &[u8]) -> Result<Probe> {
    match format {
        Format::Jpeg => jpeg::probe(bytes),
        Format::Png => png::probe(bytes),
        Format::Gif => gif::probe(bytes),
        Format::Webp => webp::probe(bytes),
        Format::Avif => avif::probe(bytes),
        Format::Bmp => bmp::probe(bytes),
        Format::Tiff => tiff::probe(bytes),
        Format::Ico => ico::probe(bytes),
        Format::Svg => svg::probe(bytes),
    }
}

impl Probe {
    /// The size in pixels as shown, orientation applied.
    #[must_use]
    pub fn shown(&self) -> Size {
        self.orientation.turn(self.stored)
    }

    /// Whether it moves.
    #[must_use]
    pub fn is_animated(&self) -> bool {
        self.frames > 1
    }

    /// An upright picture of one frame, without alpha and without a profile.
    fn still(format: Format, width: u32, height: u32) -> Self {
        let stored = Size { width, height };
        Self { format, stored, orientation: Orientation::Upright, frames: 1, alpha: false, profile: false }
    }
}

/// The error of a header that ends before it is whole.
fn cut_short(format: Format) -> impl Fn() -> Error {
    move || Error::corrupt(format, "its header is cut short")
}
