//! PNG, by the `png` crate itself: `image` would inflate every text, and knows no picture of which a part is missing. Of one that is to be far
//! smaller no more than some rows are held at a time.

use super::{Decoded, Source};
use crate::{
    Error, Format, Result, Size,
    colour::PROFILE_BYTES_MAX,
    pixels::Pixels,
    resample::Samples,
    shrink::{BY_MAX, Shrink},
};
use png::{ColorType, Decoder, DecodingError, Limits, Transformations};

/// The shade of what is missing.
const GREY: u8 = 128;
/// What is left to a resize after a picture was shrunk, at least. A resize is the better filter, and as fast but for the largest pictures
/// and those with alpha.
const LEFT_TO_RESIZE: f64 = 4.0;
const LEFT_TO_RESIZE_ALPHA: f64 = 2.0;
/// Squares of fewer pixels cost more than they save a resize without alpha.
const BY_MIN: u32 = 3;

pub(super) fn decode(source: &Source<'_>, reduction: f64) -> Result<Decoded> {
    let mut reader = open(source)?;
    let colours = reader.output_color_type().0;
    let shrink = shrink(reduction, has_alpha(colours));
    if shrink > 1 && !reader.info().interlaced {
        return shrunk(source, reader, colours, shrink);
    }
    let length = reader.output_buffer_size().ok_or_else(|| Error::corrupt(Format::Png, "its size overflows"))?;
    let mut bytes = missing(length, colours);
    let truncated = match reader.next_frame(&mut bytes) {
        Ok(_) => false,
        Err(DecodingError::IoError(fault)) if fault.kind() == std::io::ErrorKind::UnexpectedEof => true,
        Err(fault) => return Err(source.fault(fault)),
    };
    let profile = reader.info().icc_profile.as_ref().map(|profile| profile.to_vec());
    let pixels = spread(bytes, colours, source.probe.stored)
        .ok_or_else(|| Error::corrupt(Format::Png, "its rows have another length"))?;
    Ok(Decoded { profile, truncated, ..Decoded::whole(pixels.without_idle_alpha()) })
}

/// How many pixels of a side become one as they are decoded.
fn shrink(reduction: f64, alpha: bool) -> u32 {
    let (left, by_min) = if alpha { (LEFT_TO_RESIZE_ALPHA, 1) } else { (LEFT_TO_RESIZE, BY_MIN) };
    let by = (reduction / left).clamp(1.0, BY_MAX.into()) as u32;
    if by < by_min { 1 } else { by }
}

fn has_alpha(colours: ColorType) -> bool {
    matches!(colours, ColorType::GrayscaleAlpha | ColorType::Rgba)
}

/// Decodes to means over squares.
fn shrunk(
    source: &Source<'_>,
    mut reader: png::Reader<super::Reader<'_>>,
    colours: ColorType,
    by: u32,
) -> Result<Decoded> {
    let stored = source.probe.stored;
    let alpha = has_alpha(colours);
    let mut shrink = Shrink::new(stored.width as usize, colours.samples(), alpha, by as usize);
    let mut truncated = false;
    for _ in 0..stored.height {
        let row = if truncated { Ok(None) } else { reader.next_row() };
        match row {
            Ok(Some(row)) => shrink.push(row.data()),
            Ok(None) => shrink.push(&missing(stored.width as usize * colours.samples(), colours)),
            Err(DecodingError::IoError(fault)) if fault.kind() == std::io::ErrorKind::UnexpectedEof => {
                truncated = true;
                shrink.push(&missing(stored.width as usize * colours.samples(), colours));
            }
            Err(fault) => return Err(source.fault(fault)),
        }
    }
    // The end of the data counts too.
    match if truncated { Ok(None) } else { reader.next_row() } {
        Ok(_) => {}
        Err(DecodingError::IoError(fault)) if fault.kind() == std::io::ErrorKind::UnexpectedEof => truncated = true,
        Err(fault) => return Err(source.fault(fault)),
    }
    let profile = reader.info().icc_profile.as_ref().map(|profile| profile.to_vec());
    let pixels = spread(shrink.finish(), colours, stored.shrunk(by))
        .ok_or_else(|| Error::corrupt(Format::Png, "its rows have another length"))?;
    Ok(Decoded { pixels: pixels.without_idle_alpha(), profile, shrink: by, samples: Samples::Means, truncated })
}

/// Reads the chunks before the pixels. A profile that inflates beyond its limit is left out.
fn open<'a>(source: &Source<'a>) -> Result<png::Reader<super::Reader<'a>>> {
    let with = |profile: bool| {
        let row_bytes = source.probe.stored.width as usize * 8;
        let mut decoder =
            Decoder::new_with_limits(source.reader(), Limits { bytes: PROFILE_BYTES_MAX + row_bytes * 4 });
        decoder.set_ignore_text_chunk(true);
        decoder.set_ignore_iccp_chunk(!profile);
        decoder.set_transformations(Transformations::normalize_to_color8());
        decoder.read_info()
    };
    match with(true) {
        Err(DecodingError::LimitsExceeded) => with(false).map_err(|fault| source.fault(fault)),
        opened => opened.map_err(|fault| source.fault(fault)),
    }
}

/// Opaque grey.
fn missing(length: usize, colours: ColorType) -> Vec<u8> {
    let mut bytes = vec![GREY; length];
    if has_alpha(colours) {
        bytes.iter_mut().skip(colours.samples() - 1).step_by(colours.samples()).for_each(|alpha| *alpha = 255);
    }
    bytes
}

/// Red, green and blue for each shade of grey.
fn spread(bytes: Vec<u8>, colours: ColorType, size: Size) -> Option<Pixels> {
    match colours {
        ColorType::Grayscale => Pixels::new(size, false, bytes.iter().flat_map(|shade| [*shade; 3]).collect()),
        ColorType::GrayscaleAlpha => {
            let rgba = bytes.chunks_exact(2).flat_map(|pixel| [pixel[0], pixel[0], pixel[0], pixel[1]]);
            Pixels::new(size, true, rgba.collect())
        }
        ColorType::Rgb => Pixels::new(size, false, bytes),
        ColorType::Rgba => Pixels::new(size, true, bytes),
        ColorType::Indexed => None,
    }
}
