//! JPEG at its full size. A file that ends too early is shown as far as it goes.

use super::{Decoded, Source};
use crate::{
    Error, Format, Result,
    colour::PROFILE_BYTES_MAX,
    pixels::Pixels,
    probe::{Scans, jpeg_scans},
};
use image::codecs::jpeg::JpegDecoder;
use jpeg_decoder::PixelFormat;
use std::io::Cursor;

pub(super) fn decode(source: &Source<'_>) -> Result<Decoded> {
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
    Ok(Decoded { pixels, profile, truncated: false })
}
