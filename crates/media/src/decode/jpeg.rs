//! JPEG, at its full size or at a fraction of it where the rendition is smaller still. A file that ends too early is shown as far as it
//! goes.

use super::{Decoded, Source};
use crate::{
    Error, Format, Limits, Result,
    colour::PROFILE_BYTES_MAX,
    jpeg::{self, Plane, Planes, Scale, Scales},
    pixels::Pixels,
    planar,
    probe::{Scans, jpeg_scans},
};
use fast_image_resize::{
    FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer,
    images::{Image, ImageRef},
};
use image::codecs::jpeg::JpegDecoder;
use jpeg_decoder::PixelFormat;
use std::io::Cursor;

pub(super) fn decode(source: &Source<'_>, reduction: f64) -> Result<Decoded> {
    match planar::scale(reduction).map(|(shrink, scale)| at_scale(source, shrink, scale)) {
        None => at_full_size(source),
        Some(Err(jpeg::Error::GivenUp)) => Err(Error::Deadline),
        // A full decoder reads it, or says what is wrong with it.
        Some(Err(_)) => at_full_size(source),
        Some(Ok(decoded)) => Ok(decoded),
    }
}

fn at_scale(source: &Source<'_>, shrink: u32, scale: Scale) -> Result<Decoded, jpeg::Error> {
    let Limits { pixels_max, side_max, scans_max, .. } = *source.limits;
    let limits = jpeg::Limits { pixels: pixels_max, side: side_max, scans: scans_max as usize };
    let header = jpeg::Header::read(source.bytes)?;
    let scales = if header.progressive { scale.into() } else { Scales { luma: scale, chroma: finer(scale) } };
    let Planes { planes, truncated, header } = jpeg::decode(source.bytes, scales, &limits, source.is_over)?;
    let size = source.probe.stored.shrunk(shrink);
    let planes: Vec<Vec<u8>> = planes.iter().map(|plane| fitted(plane, (size.width, size.height))).collect();
    let rgb = match &planes[..] {
        [grey] => grey.iter().flat_map(|shade| [*shade; 3]).collect(),
        [one, two, three] if header.is_rgb() => interleaved(one, two, three, |r, g, b| [r, g, b]),
        [luma, blue, red] => interleaved(luma, blue, red, rgb),
        _ => return Err(jpeg::Error::Unsupported("neither grey nor three components")),
    };
    let pixels = Pixels::new(size, false, rgb).ok_or(jpeg::Error::Corrupt("it has no pixels"))?;
    let profile = header.icc_profile.filter(|profile| profile.len() <= PROFILE_BYTES_MAX);
    Ok(Decoded { pixels, profile, shrink, samples: planar::samples(scale), truncated })
}

/// Chroma has half of luma's samples along each side in most pictures; so decoded it has as many.
fn finer(scale: Scale) -> Scale {
    if scale == Scale::Eighth { Scale::Quarter } else { Scale::Half }
}

/// A plane's samples, as many as luma has.
fn fitted(plane: &Plane, (width, height): (u32, u32)) -> Vec<u8> {
    if (plane.width, plane.height) == (width as usize, height as usize) {
        return plane.samples.chunks_exact(plane.stride).flat_map(|row| &row[..plane.width]).copied().collect();
    }
    let rows = (plane.samples.len() / plane.stride) as u32;
    let from = ImageRef::new(plane.stride as u32, rows, &plane.samples, PixelType::U8).expect("whole rows");
    let mut to = Image::new(width, height, PixelType::U8);
    let (across, down) = (plane.covers.0.min(plane.stride as f64), plane.covers.1.min(f64::from(rows)));
    let options =
        ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear)).crop(0.0, 0.0, across, down);
    Resizer::new().resize(&from, &mut to, &options).expect("the picture lies inside, and both are planes");
    to.into_vec()
}

fn interleaved(one: &[u8], two: &[u8], three: &[u8], pixel: impl Fn(u8, u8, u8) -> [u8; 3]) -> Vec<u8> {
    one.iter().zip(two).zip(three).flat_map(|((one, two), three)| pixel(*one, *two, *three)).collect()
}

/// Luma and chroma to red, green and blue as JFIF has them (ITU-T T.871, section 7), in fixed point with 16 bits.
fn rgb(luma: u8, blue: u8, red: u8) -> [u8; 3] {
    let (luma, blue, red) = ((i32::from(luma) << 16) + (1 << 15), i32::from(blue) - 128, i32::from(red) - 128);
    let shade = |value: i32| (value >> 16).clamp(0, 255) as u8;
    [shade(luma + 91_881 * red), shade(luma - 22_554 * blue - 46_802 * red), shade(luma + 116_130 * blue)]
}

fn at_full_size(source: &Source<'_>) -> Result<Decoded> {
    let scans = jpeg_scans(source.bytes);
    source.limits.check_scans(scans.count)?;
    let decoded = match scans {
        Scans { progressive: false, count: 2.., .. } => apart(source),
        _ => JpegDecoder::new(Cursor::new(source.bytes))
            .map_err(|fault| source.fault(fault))
            .and_then(|decoder| source.through_image(decoder)),
    };
    Ok(Decoded { truncated: scans.end.is_none(), ..decoded? })
}

/// Decodes a baseline file with a scan for each component. The decoder of `image` (zune-jpeg 0.5.15, its issue 422) turns those with
/// fewer rows of chroma green without a word, and the encoder of this crate writes such files.
fn apart(source: &Source<'_>) -> Result<Decoded> {
    let mut decoder = jpeg_decoder::Decoder::new(source.reader());
    decoder.set_max_decoding_buffer_size(usize::try_from(source.limits.decoded_bytes_max).unwrap_or(usize::MAX));
    let bytes = decoder.decode().map_err(|fault| source.fault(fault))?;
    let rgb = match decoder.info().map(|info| info.pixel_format) {
        Some(PixelFormat::RGB24) => bytes,
        Some(PixelFormat::L8) => bytes.iter().flat_map(|shade| [*shade; 3]).collect(),
        _ => return Err(Error::unsupported("a JPEG of this kind", "save it as an RGB JPEG")),
    };
    let pixels = Pixels::new(source.probe.stored, false, rgb);
    let profile = decoder.icc_profile().filter(|profile| profile.len() <= PROFILE_BYTES_MAX);
    let pixels =
        pixels.ok_or_else(|| Error::corrupt(Format::Jpeg, "its pixels are more or fewer than its header says"))?;
    Ok(Decoded { profile, ..Decoded::whole(pixels) })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How far a picture of 800 x 600 is shrunk as it is decoded, where it is to become so many times smaller.
    fn shrink(reduction: f64, is_progressive: bool) -> u32 {
        let mut bytes = Vec::new();
        let mut encoder = jpeg_encoder::Encoder::new(&mut bytes, 80);
        encoder.set_progressive(is_progressive);
        let grey = vec![99; 800 * 600 * 3];
        encoder.encode(&grey, 800, 600, jpeg_encoder::ColorType::Rgb).expect("an encoder");
        let limits = Limits::default();
        let source = Source::open(&bytes, &limits, &|| false).expect("a right picture");
        let decoded = decode(&source, reduction).expect("a right picture");
        assert!(decoded.pixels.bytes().iter().all(|shade| shade.abs_diff(99) < 3));
        decoded.shrink
    }

    #[test]
    fn as_much_is_left_to_the_resize_as_it_needs() {
        let cases = [(1.0, 1), (1.9, 1), (2.0, 2), (4.9, 2), (5.0, 4), (9.9, 4), (10.0, 8), (100.0, 8)];
        for (reduction, expected) in cases {
            assert_eq!(shrink(reduction, false), expected, "{reduction}");
            let of_progressive = if expected == 8 { 8 } else { 1 };
            assert_eq!(shrink(reduction, true), of_progressive, "{reduction}");
        }
    }
}
