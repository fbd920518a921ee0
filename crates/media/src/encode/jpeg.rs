//! JPEG: baseline, chroma at half size, optimised Huffman tables; grey pixels without chroma.

use crate::{Error, Format, Result, pixels::Pixels};
use jpeg_encoder::{ChromaSubsamplingMethod, ColorType, Encoder, SamplingFactor};

pub(super) fn encode(pixels: &Pixels, quality: u8) -> Result<Vec<u8>> {
    let size = pixels.size();
    let side =
        |side: u32| u16::try_from(side).map_err(|_| Error::encode(Format::Jpeg, "a side has more than 65535 pixels"));
    let (width, height) = (side(size.width)?, side(size.height)?);
    let mut out = Vec::with_capacity(pixels.bytes().len() / 12);
    let mut encoder = Encoder::new(&mut out, quality);
    encoder.set_optimized_huffman_tables(true);
    encoder.set_sampling_factor(SamplingFactor::F_2_2);
    encoder.set_chroma_subsampling_method(ChromaSubsamplingMethod::Average);
    let done = match super::png::grey(pixels) {
        Some(grey) => encoder.encode(&grey, width, height, ColorType::Luma),
        None if pixels.has_alpha() => encoder.encode(pixels.bytes(), width, height, ColorType::Rgba),
        None => encoder.encode(pixels.bytes(), width, height, ColorType::Rgb),
    };
    done.map_err(|fault| Error::encode(Format::Jpeg, fault))?;
    Ok(out)
}
