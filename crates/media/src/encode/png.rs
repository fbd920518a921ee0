//! PNG: grey where all is grey, a palette where 256 colours are enough, else true colour. Always lossless.

use crate::{Error, Format, Result, pixels::Pixels};
use png::{BitDepth, ColorType, Compression, DeflateCompression, Encoder, Filter};
use std::collections::HashMap;

/// The effort of deflating, 1–9: 6 takes a third more time for a fortieth fewer bytes.
const EFFORT: u8 = 2;

pub(super) fn encode(pixels: &Pixels) -> Result<Vec<u8>> {
    let (grey, palette) = (grey(pixels), Palette::of(pixels));
    let written = match (grey, palette) {
        (Some(_), Some(palette)) if palette.colours.len() <= 16 => write_palette(pixels, &palette),
        (Some(grey), _) => write(pixels, ColorType::Grayscale, &grey),
        (None, Some(palette)) => write_palette(pixels, &palette),
        (None, None) if pixels.has_alpha() => write(pixels, ColorType::Rgba, pixels.bytes()),
        (None, None) => write(pixels, ColorType::Rgb, pixels.bytes()),
    };
    written.map_err(|fault| Error::encode(Format::Png, fault))
}

/// The lightness of every pixel, where all are grey and opaque.
pub(super) fn grey(pixels: &Pixels) -> Option<Vec<u8>> {
    let all = !pixels.has_alpha() && pixels.iter().all(|pixel| pixel[0] == pixel[1] && pixel[1] == pixel[2]);
    all.then(|| pixels.iter().map(|pixel| pixel[0]).collect())
}

/// At most 256 colours, those with transparency first, and which pixel has which.
struct Palette {
    colours: Vec<[u8; 4]>,
    places: Vec<u8>,
}

impl Palette {
    /// The palette of the pixels; `None` where they have more than 256 colours.
    fn of(pixels: &Pixels) -> Option<Self> {
        let mut colours: HashMap<[u8; 4], u8> = HashMap::new();
        for pixel in pixels.iter() {
            colours.insert(rgba(pixel), 0);
            if colours.len() > 256 {
                return None;
            }
        }
        let mut sorted: Vec<[u8; 4]> = colours.keys().copied().collect();
        sorted.sort_unstable_by_key(|[red, green, blue, alpha]| [*alpha, *red, *green, *blue]);
        for (place, colour) in sorted.iter().enumerate() {
            colours.insert(*colour, place as u8);
        }
        let places = pixels.iter().map(|pixel| colours[&rgba(pixel)]).collect();
        Some(Self { colours: sorted, places })
    }

    /// The fewest bits that can tell the colours apart.
    fn depth(&self) -> BitDepth {
        match self.colours.len() {
            0..=2 => BitDepth::One,
            3..=4 => BitDepth::Two,
            5..=16 => BitDepth::Four,
            _ => BitDepth::Eight,
        }
    }

    /// The places, as many in a byte as there is room for; each row begins with a byte of its own.
    fn packed(&self, width: usize) -> Vec<u8> {
        let bits = self.depth() as usize;
        let pack = |places: &[u8]| {
            places.iter().enumerate().fold(0, |byte, (at, place)| byte | place << (8 - bits * (at + 1)))
        };
        self.places.chunks(width).flat_map(|row| row.chunks(8 / bits).map(pack)).collect()
    }
}

fn rgba(pixel: &[u8]) -> [u8; 4] {
    [pixel[0], pixel[1], pixel[2], pixel.get(3).copied().unwrap_or(255)]
}

fn write_palette(pixels: &Pixels, palette: &Palette) -> Result<Vec<u8>, png::EncodingError> {
    let mut out = Vec::new();
    let mut encoder = encoder(&mut out, pixels, ColorType::Indexed);
    encoder.set_depth(palette.depth());
    encoder.set_filter(Filter::NoFilter);
    encoder.set_palette(
        palette.colours.iter().flat_map(|[red, green, blue, _]| [*red, *green, *blue]).collect::<Vec<u8>>(),
    );
    let transparent = palette.colours.iter().map(|[.., alpha]| *alpha).take_while(|alpha| *alpha < 255);
    let transparent: Vec<u8> = transparent.collect();
    if !transparent.is_empty() {
        encoder.set_trns(transparent);
    }
    encoder.write_header()?.write_image_data(&palette.packed(pixels.size().width as usize))?;
    Ok(out)
}

fn write(pixels: &Pixels, colours: ColorType, bytes: &[u8]) -> Result<Vec<u8>, png::EncodingError> {
    let mut out = Vec::new();
    encoder(&mut out, pixels, colours).write_header()?.write_image_data(bytes)?;
    Ok(out)
}

fn encoder<'a>(out: &'a mut Vec<u8>, pixels: &Pixels, colours: ColorType) -> Encoder<'a, &'a mut Vec<u8>> {
    let mut encoder = Encoder::new(out, pixels.size().width, pixels.size().height);
    encoder.set_color(colours);
    encoder.set_compression(Compression::Balanced);
    encoder.set_deflate_compression(DeflateCompression::Level(EFFORT));
    encoder
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Size;

    fn read(png: &[u8]) -> (ColorType, BitDepth, Vec<u8>) {
        let image = image::load_from_memory_with_format(png, image::ImageFormat::Png).expect("a right file");
        let reader = png::Decoder::new(std::io::Cursor::new(png)).read_info().expect("a right header");
        (reader.info().color_type, reader.info().bit_depth, image.into_rgba8().into_raw())
    }

    fn pixels(width: u32, colours: impl Iterator<Item = [u8; 4]>) -> Pixels {
        let bytes: Vec<u8> = colours.flatten().collect();
        let height = (bytes.len() / 4) as u32 / width;
        Pixels::new(Size { width, height }, true, bytes).expect("fits").without_idle_alpha()
    }

    #[test]
    fn every_kind_of_png_is_lossless() {
        let cases = [
            (2, 255, ColorType::Indexed, BitDepth::One),
            (3, 200, ColorType::Indexed, BitDepth::Two),
            (13, 255, ColorType::Indexed, BitDepth::Four),
            (200, 100, ColorType::Indexed, BitDepth::Eight),
            (1_000, 255, ColorType::Rgb, BitDepth::Eight),
            (1_000, 7, ColorType::Rgba, BitDepth::Eight),
        ];
        for (colours, alpha, kind, depth) in cases {
            let colour = |at: u32| {
                [
                    (at % colours % 250) as u8,
                    (at % colours / 250) as u8,
                    9,
                    if at.is_multiple_of(colours) { alpha } else { 255 },
                ]
            };
            let source = pixels(37, (0..37 * 60).map(colour));
            let (found, bits, bytes) = read(&encode(&source).expect("an encoder"));
            assert_eq!((found, bits), (kind, depth), "{colours} colours");
            assert_eq!(bytes, source.into_rgba(), "{colours} colours");
        }
    }

    #[test]
    fn grey_is_written_as_grey() {
        let source = pixels(16, (0..=255).map(|shade| [shade, shade, shade, 255]));
        let (kind, _, bytes) = read(&encode(&source).expect("an encoder"));
        assert_eq!((kind, bytes), (ColorType::Grayscale, source.into_rgba()));
    }
}
