//! Pixels to bytes, without any metadata. Each format has a file here.

mod avif;
mod gif;
mod jpeg;
mod png;

use crate::{Error, Format, Result, Size, libwebp, pixels::Pixels, planar::Planar};

/// The quality where the recipe gives none: the same look in each format rather than the same number.
const QUALITIES: [(Format, u8); 3] = [(Format::Jpeg, 80), (Format::Webp, 80), (Format::Avif, 60)];

/// Encodes a still. `quality` is 1–100 and without meaning for PNG and GIF.
///
/// # Errors
/// [`Error::Encode`], and [`Error::Deadline`] where the encoder can be broken off.
pub(crate) fn still(
    pixels: Pixels,
    format: Format,
    quality: Option<u8>,
    is_over: &dyn Fn() -> bool,
) -> Result<Vec<u8>> {
    let quality = quality.unwrap_or_else(|| default_quality(format));
    match format {
        Format::Jpeg => jpeg::encode(&pixels, quality),
        Format::Png => png::encode(&pixels),
        Format::Gif => gif::encode(pixels),
        Format::Webp => libwebp::encode(&pixels, quality, is_over),
        Format::Avif => avif::encode(&pixels, quality),
        Format::Bmp | Format::Tiff | Format::Ico | Format::Svg => Err(Error::encode(format, "it is read only")),
    }
}

/// Encodes luma and chroma as they are.
///
/// # Errors
/// As [`still`]; of other formats than JPEG, WebP and AVIF too.
pub(crate) fn planar(
    picture: &Planar,
    format: Format,
    quality: Option<u8>,
    is_over: &dyn Fn() -> bool,
) -> Result<Vec<u8>> {
    let quality = quality.unwrap_or_else(|| default_quality(format));
    match format {
        Format::Jpeg => jpeg::encode_planar(picture, quality),
        Format::Webp => libwebp::encode_planar(picture, quality, is_over),
        Format::Avif => avif::encode_planar(picture, quality),
        other => Err(Error::encode(other, "it does not take luma and chroma")),
    }
}

/// An encoder of animations, frame by frame.
pub(crate) enum Animation {
    Gif(gif::Animation),
    Webp(libwebp::Animation),
}

impl Animation {
    /// # Errors
    /// [`Error::Encode`].
    pub(crate) fn new(size: Size, format: Format, quality: Option<u8>) -> Result<Self> {
        match format {
            Format::Gif => gif::Animation::new(size).map(Self::Gif),
            _ => libwebp::Animation::new(size, quality.unwrap_or_else(|| default_quality(format))).map(Self::Webp),
        }
    }

    /// # Errors
    /// [`Error::Encode`].
    pub(crate) fn add(&mut self, pixels: Pixels, delay_ms: u32) -> Result<()> {
        match self {
            Self::Gif(animation) => animation.add(pixels, delay_ms),
            Self::Webp(animation) => animation.add(&pixels, delay_ms),
        }
    }

    /// # Errors
    /// [`Error::Encode`].
    pub(crate) fn finish(self) -> Result<Vec<u8>> {
        match self {
            Self::Gif(animation) => animation.finish(),
            Self::Webp(animation) => animation.finish(),
        }
    }
}

fn default_quality(format: Format) -> u8 {
    QUALITIES.iter().find(|(known, _)| *known == format).map_or(80, |(_, quality)| *quality)
}
