//! WebP: a still by libwebp; the first frame of an animation by `image`, as all of them are.

use super::{Decoded, Source};
use crate::{
    Error, Format, Result, Size,
    colour::{Conversion, PROFILE_BYTES_MAX},
    libwebp::{self, Features},
    probe::webp_chunks,
};
use image::codecs::webp::WebPDecoder;

pub(super) fn decode(source: &Source<'_>) -> Result<Decoded> {
    let features = features(source)?;
    if features.is_animated {
        let decoder = WebPDecoder::new(source.reader()).map_err(|fault| source.fault(fault))?;
        return source.through_image(decoder);
    }
    let pixels = libwebp::decode(source.bytes, features, source.is_over)?;
    let profile = profile(source).map(<[u8]>::to_vec);
    Ok(Decoded { profile, ..Decoded::whole(pixels.without_idle_alpha()) })
}

/// The size of a still that is luma and chroma in sRGB, and nothing else.
pub(crate) fn of_planes(source: &Source<'_>) -> Result<Option<Size>> {
    let Features { size, alpha, is_animated, is_lossy } = features(source)?;
    let is_plain = is_lossy && !alpha && !is_animated;
    let is_srgb = || profile(source).and_then(Conversion::from_profile).is_none();
    Ok((is_plain && is_srgb()).then_some(size))
}

/// What libwebp takes it for: of the size that the limits were asked about.
fn features(source: &Source<'_>) -> Result<Features> {
    let features = Features::read(source.bytes)?;
    if features.size == source.probe.stored {
        Ok(features)
    } else {
        Err(Error::corrupt(Format::Webp, "its pixels are more or fewer than its header says"))
    }
}

fn profile<'a>(source: &Source<'a>) -> Option<&'a [u8]> {
    let found = webp_chunks(source.bytes).find(|chunk| chunk.name == b"ICCP");
    found.map(|chunk| chunk.payload).filter(|profile| source.probe.profile && profile.len() <= PROFILE_BYTES_MAX)
}
