//! JPEG: baseline, chroma at half size, optimised Huffman tables; grey pixels without chroma.

use crate::{
    Error, Format, Result, Size,
    pixels::Pixels,
    planar::{Planar, Range},
};
use jpeg_encoder::{ChromaSubsamplingMethod, ColorType, Encoder, ImageBuffer, JpegColorType, SamplingFactor};

pub(super) fn encode(pixels: &Pixels, quality: u8) -> Result<Vec<u8>> {
    let (width, height) = sides(pixels.size())?;
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

pub(super) fn encode_planar(picture: &Planar, quality: u8) -> Result<Vec<u8>> {
    let (width, height) = sides(picture.size)?;
    let mut out = Vec::with_capacity(picture.luma.len() / 4);
    let mut encoder = Encoder::new(&mut out, quality);
    encoder.set_optimized_huffman_tables(true);
    encoder.set_sampling_factor(SamplingFactor::F_2_2);
    let done = encoder.encode_image(Rows { picture, tables: picture.range.to(Range::Full), width, height });
    done.map_err(|fault| Error::encode(Format::Jpeg, fault))?;
    Ok(out)
}

fn sides(size: Size) -> Result<(u16, u16)> {
    let side =
        |side: u32| u16::try_from(side).map_err(|_| Error::encode(Format::Jpeg, "a side has more than 65535 pixels"));
    Ok((side(size.width)?, side(size.height)?))
}

/// Planes as the encoder asks for them: it wants chroma for each pixel, and takes one of four of those.
struct Rows<'a> {
    picture: &'a Planar,
    /// Of luma and chroma, to what JPEG has.
    tables: [[u8; 256]; 2],
    width: u16,
    height: u16,
}

impl ImageBuffer for Rows<'_> {
    fn get_jpeg_color_type(&self) -> JpegColorType {
        if self.picture.chroma.is_some() { JpegColorType::Ycbcr } else { JpegColorType::Luma }
    }

    fn width(&self) -> u16 {
        self.width
    }

    fn height(&self) -> u16 {
        self.height
    }

    fn fill_buffers(&self, y: u16, buffers: &mut [Vec<u8>; 4]) {
        let (width, y) = (usize::from(self.width), usize::from(y));
        let [luma, chroma] = &self.tables;
        buffers[0].extend(self.picture.luma[y * width..][..width].iter().map(|sample| luma[usize::from(*sample)]));
        let half = width.div_ceil(2);
        for (plane, buffer) in self.picture.chroma.iter().flatten().zip(&mut buffers[1..]) {
            let row = &plane[y / 2 * half..][..half];
            buffer.extend(row.iter().flat_map(|sample| [chroma[usize::from(*sample)]; 2]).take(width));
        }
    }
}
