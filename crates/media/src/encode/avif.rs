//! AVIF, by rav1e on one thread: the caller runs as many renditions at once as there are cores.

use crate::{Error, Format, Result, pixels::Pixels};
use ravif::{BitDepth, EncodedImage, Encoder, Img, RGB8, RGBA8};

/// 1 is slowest, 10 fastest.
const SPEED: u8 = 7;

pub(super) fn encode(pixels: &Pixels, quality: u8) -> Result<Vec<u8>> {
    let (width, height) = (pixels.size().width as usize, pixels.size().height as usize);
    let quality = f32::from(quality);
    // With 10 bits, which are a few bytes fewer, builds of libaom for 8 bits, that of sharp among them, read nothing.
    let encoder = Encoder::new()
        .with_quality(quality)
        .with_alpha_quality(quality)
        .with_bit_depth(BitDepth::Eight)
        .with_speed(SPEED)
        .with_num_threads(Some(1));
    let encoded = if pixels.has_alpha() {
        let rgba: Vec<RGBA8> = pixels.iter().map(|pixel| RGBA8::new(pixel[0], pixel[1], pixel[2], pixel[3])).collect();
        encoder.encode_rgba(Img::new(&rgba[..], width, height))
    } else {
        let rgb: Vec<RGB8> = pixels.iter().map(|pixel| RGB8::new(pixel[0], pixel[1], pixel[2])).collect();
        encoder.encode_rgb(Img::new(&rgb[..], width, height))
    };
    let EncodedImage { avif_file, .. } = encoded.map_err(|fault| Error::encode(Format::Avif, fault))?;
    Ok(avif_file)
}
