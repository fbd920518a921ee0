//! Renditions of photographs that never become red, green and blue: of a JPEG or a lossy WebP that is made smaller, and stays one of the two or becomes an AVIF,
//! luma and chroma are decoded, resized and encoded as they are. That saves two conversions of colours and half of the chroma.
//!
//! It is left to the other way (`decode`, `steps`) where pixels are wanted for more than that: another profile than sRGB, other formats, a
//! canvas, a blur, a smart crop.

use crate::{
    Error, Format, Limits, Orientation, Result, Size,
    colour::Conversion,
    decode::{Source, webp},
    geometry::{Layout, Region},
    jpeg::{self, Header, Plane, Planes, Scale, Scales},
    libwebp,
    probe::jpeg_scans,
    recipe::{Gravity, Recipe},
    resample::{self, Samples},
    shrink::Shrink,
};
use fast_image_resize::{PixelType, images::ImageRef};
use std::borrow::Cow;

/// How much is left to a resize after a picture was decoded to a fraction, at least: half of a picture is made of the low frequencies of each
/// block, as a good filter would do it; other fractions are means.
const SCALES: [(u32, Scale, f64); 3] = [(8, Scale::Eighth, 1.25), (4, Scale::Quarter, 1.25), (2, Scale::Half, 1.0)];
/// The same of a WebP, whose means are over as many samples as are wanted.
const LEFT_OF_WEBP: f64 = 2.0;
/// Means over fewer samples than this along each side save nothing.
const WEBP_SCALED_FROM: f64 = 1.5;

/// What luma and chroma between black and white, or grey and the fullest colour, are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Range {
    /// That of JFIF (ITU-T T.871): 255 steps of luma from 0, and as many of chroma around 128.
    Full,
    /// That of WebP (ITU-R BT.601): 219 steps of luma from 16, 224 of chroma around 128.
    Limited,
}

impl Range {
    /// Tables of luma and of chroma from this range to another.
    pub(crate) fn to(self, other: Self) -> [[u8; 256]; 2] {
        let (from, to) = (self.steps(), other.steps());
        let luma = |value: f64| to.0 + (value - from.0) * to.1 / from.1;
        let chroma = |value: f64| 128.0 + (value - 128.0) * to.2 / from.2;
        let table = |of: &dyn Fn(f64) -> f64| std::array::from_fn(|value| (of(value as f64) + 0.5) as u8);
        [table(&luma), table(&chroma)]
    }

    /// Where luma begins, and how many steps there are of luma and of chroma.
    fn steps(self) -> (f64, f64, f64) {
        match self {
            Self::Full => (0.0, 255.0, 255.0),
            Self::Limited => (16.0, 219.0, 224.0),
        }
    }
}

/// A picture, upright.
pub(crate) struct Planar {
    pub(crate) size: Size,
    pub(crate) range: Range,
    pub(crate) luma: Vec<u8>,
    /// Blue and red, of half as many samples along each side, rounded up; none of a grey picture.
    pub(crate) chroma: Option<[Vec<u8>; 2]>,
    /// Whether the file ends too early.
    pub(crate) truncated: bool,
}

impl Planar {
    /// The size of each plane of chroma of a picture of this size.
    pub(crate) fn chroma_size(size: Size) -> Size {
        size.shrunk(2)
    }
}

/// The scale at which a JPEG is decoded that is to become so many times smaller.
pub(crate) fn scale(reduction: f64) -> Option<(u32, Scale)> {
    let found = SCALES.into_iter().find(|(shrink, _, left)| f64::from(*shrink) * left <= reduction);
    found.map(|(shrink, scale, _)| (shrink, scale))
}

/// What the samples of a picture are that was decoded at this scale.
pub(crate) fn samples(scale: Scale) -> Samples {
    if scale == Scale::Half { Samples::Points } else { Samples::Means }
}

/// The picture as the recipe wants it; `None` where this way does not lead there.
///
/// # Errors
/// [`Error::Deadline`].
pub(crate) fn render(source: &Source<'_>, recipe: &Recipe, layout: &Layout, format: Format) -> Result<Option<Planar>> {
    let plain = Recipe { crop: None, ..*recipe }.keeps_pixels() && recipe.gravity != Gravity::Smart;
    let suits = matches!(format, Format::Jpeg | Format::Webp | Format::Avif) && layout.canvas.is_none();
    if !plain || !suits {
        return Ok(None);
    }
    let decoded = match source.probe.format {
        Format::Jpeg => of_jpeg(source, layout.reduction())?,
        Format::Webp => of_webp(source, layout.reduction())?,
        _ => None,
    };
    decoded.map(|decoded| resized(source, &decoded, layout)).transpose()
}

/// What is resized.
struct Decoded {
    planes: Vec<Plane>,
    samples: Samples,
    range: Range,
    truncated: bool,
}

fn of_jpeg(source: &Source<'_>, reduction: f64) -> Result<Option<Decoded>> {
    let Some((_, scale)) = scale(reduction) else { return Ok(None) };
    match decode(source, scale) {
        Ok(decoded) => Ok(decoded.map(|Planes { planes, truncated, .. }| Decoded {
            planes,
            samples: samples(scale),
            range: Range::Full,
            truncated,
        })),
        Err(jpeg::Error::GivenUp) => Err(Error::Deadline),
        Err(jpeg::Error::Limit { .. }) => source.limits.check_scans(jpeg_scans(source.bytes).count).map(|()| None),
        // The other way reads it, or says what is wrong with it.
        Err(_) => Ok(None),
    }
}

fn decode(source: &Source<'_>, scale: Scale) -> Result<Option<Planes>, jpeg::Error> {
    let Limits { pixels_max, side_max, scans_max, .. } = *source.limits;
    let limits = jpeg::Limits { pixels: pixels_max, side: side_max, scans: scans_max as usize };
    let header = Header::read(source.bytes)?;
    let is_srgb = header.icc_profile.as_deref().is_none_or(|profile| Conversion::from_profile(profile).is_none());
    if header.is_rgb() || !is_srgb || !matches!(header.components.len(), 1 | 3) {
        return Ok(None);
    }
    jpeg::decode(source.bytes, Scales::from(scale), &limits, source.is_over).map(Some)
}

/// A lossy WebP is decoded to means where it is to be far smaller.
fn of_webp(source: &Source<'_>, reduction: f64) -> Result<Option<Decoded>> {
    let by = reduction / LEFT_OF_WEBP;
    let (true, Some(own)) = (reduction > 1.0, webp::of_planes(source)?) else { return Ok(None) };
    let side = |side: u32| (f64::from(side) / by).ceil() as u32;
    let (scaled, samples) = if by < WEBP_SCALED_FROM {
        (own, Samples::Points)
    } else {
        (Size { width: side(own.width), height: side(own.height) }, Samples::Means)
    };
    let [luma, blue, red] = libwebp::decode_planes(source.bytes, own, scaled, source.is_over)?;
    let planes =
        vec![webp_plane(luma, own, scaled, 1), webp_plane(blue, own, scaled, 2), webp_plane(red, own, scaled, 2)];
    Ok(Some(Decoded { planes, samples, range: Range::Limited, truncated: false }))
}

/// A plane of which a sample was that of so many pixels along each side before it was scaled, the last ones perhaps of fewer.
fn webp_plane(samples: Vec<u8>, own: Size, scaled: Size, by: u32) -> Plane {
    let size = scaled.shrunk(by);
    let covers = |samples: u32, of: u32| f64::from(samples) * f64::from(of) / f64::from(of.next_multiple_of(by));
    let (width, height) = (size.width as usize, size.height as usize);
    Plane {
        width,
        height,
        stride: width,
        samples,
        covers: (covers(size.width, own.width), covers(size.height, own.height)),
    }
}

fn resized(source: &Source<'_>, decoded: &Decoded, layout: &Layout) -> Result<Planar> {
    let (picture, stored, orientation) = (source.probe.stored, layout.stored, source.probe.orientation);
    let size = orientation.turn(stored);
    let of_size =
        |of: &Plane, to: Size| turned(plane(of, picture, layout.region, to, decoded.samples), to, orientation);
    let luma = of_size(&decoded.planes[0], stored);
    source.in_time()?;
    let chroma = match &decoded.planes[1..] {
        [blue, red] if (stored.width | stored.height).is_multiple_of(2) => {
            Some([blue, red].map(|of| of_size(of, Planar::chroma_size(stored))))
        }
        // At the end of an odd row a sample is that of one pixel, which as a stretch of the others would be another one's.
        [blue, red] => Some([blue, red].map(|of| halved(&of_size(of, stored), size))),
        _ => None,
    };
    Ok(Planar { size, range: decoded.range, luma, chroma, truncated: decoded.truncated })
}

/// A part of a plane, told in pixels of the picture, resized.
fn plane(plane: &Plane, picture: Size, region: Region, size: Size, samples: Samples) -> Vec<u8> {
    let (across, down) = (plane.covers.0 / f64::from(picture.width), plane.covers.1 / f64::from(picture.height));
    let Region { left, top, width, height } = region;
    let part = Region { left: left * across, top: top * down, width: width * across, height: height * down };
    let shown = Size { width: plane.width as u32, height: plane.height as u32 };
    // What an encoder has filled the last blocks with is no part of the picture.
    let rows: Cow<'_, [u8]> = if plane.width == plane.stride {
        Cow::from(&plane.samples[..plane.width * plane.height])
    } else {
        let rows = plane.samples.chunks_exact(plane.stride).take(plane.height);
        rows.flat_map(|row| &row[..plane.width]).copied().collect()
    };
    let from = ImageRef::new(shown.width, shown.height, &rows, PixelType::U8).expect("whole rows");
    resample::resize(&from, part.inside(shown), size, samples)
}

/// The means of squares of four samples, at the ends of two or one.
fn halved(samples: &[u8], size: Size) -> Vec<u8> {
    let width = size.width as usize;
    let mut shrink = Shrink::new(width, 1, false, 2);
    samples.chunks_exact(width).for_each(|row| shrink.push(row));
    shrink.finish()
}

/// Samples turned to be looked at.
fn turned(samples: Vec<u8>, stored: Size, orientation: Orientation) -> Vec<u8> {
    if orientation == Orientation::Upright {
        return samples;
    }
    let size = orientation.turn(stored);
    let at = |x: u32, y: u32| {
        let (left, top) = orientation.stored_pixel(stored, x, y);
        samples[top as usize * stored.width as usize + left as usize]
    };
    (0..size.height).flat_map(|y| (0..size.width).map(move |x| (x, y))).map(|(x, y)| at(x, y)).collect()
}
