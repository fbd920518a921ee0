//! Renditions of photographs that never become red, green and blue: of a JPEG that is made smaller, and stays a JPEG or becomes a WebP, luma and chroma
//! are decoded, resized and encoded as they are. That saves two conversions of colours and half of the chroma.
//!
//! It is left to the other way (`decode`, `steps`) where pixels are wanted for more than that: another profile than sRGB, other formats, a
//! canvas, a blur, a smart crop.

use crate::{
    Error, Format, Limits, Orientation, Result, Size,
    colour::Conversion,
    decode::Source,
    geometry::{Layout, Region},
    jpeg::{self, Header, Plane, Planes, Scale, Scales},
    recipe::{Gravity, Recipe},
    resample::{self, Samples},
};
use fast_image_resize::{PixelType, images::ImageRef};

/// How much is left to a resize after a picture was decoded to a fraction, at least: half of a picture is made of the low frequencies of each
/// block, as a good filter would do it; other fractions are means.
const SCALES: [(u32, Scale, f64); 3] = [(8, Scale::Eighth, 1.25), (4, Scale::Quarter, 1.25), (2, Scale::Half, 1.0)];

/// A picture in the full range of JFIF (ITU-T T.871), upright.
pub(crate) struct Planar {
    pub(crate) size: Size,
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
    let even = (layout.stored.width | layout.stored.height).is_multiple_of(2);
    let suits = matches!(format, Format::Jpeg | Format::Webp)
        && layout.canvas.is_none()
        && (source.probe.orientation == Orientation::Upright || even);
    let Some((_, scale)) = scale(layout.reduction()).filter(|_| plain && suits) else { return Ok(None) };
    match decode(source, scale) {
        Ok(Some(planes)) => resized(source, &planes, layout, samples(scale)),
        Ok(None) => Ok(None),
        Err(jpeg::Error::GivenUp) => Err(Error::Deadline),
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

fn resized(source: &Source<'_>, planes: &Planes, layout: &Layout, samples: Samples) -> Result<Option<Planar>> {
    let (picture, size) = (source.probe.stored, layout.stored);
    let orientation = source.probe.orientation;
    let turned = |samples: Vec<u8>, size: Size| turned(samples, size, orientation);
    let luma = turned(plane(&planes.planes[0], picture, layout.region, size, samples), size);
    source.in_time()?;
    let chroma = match &planes.planes[1..] {
        [blue, red] => {
            // A sample of chroma is that of two pixels, also at the end of an odd row.
            let half = Planar::chroma_size(size);
            let Region { left, top, width, height } = layout.region;
            let stretched = |length: f64, half: u32, side: u32| length * f64::from(2 * half) / f64::from(side);
            let region = Region {
                left,
                top,
                width: stretched(width, half.width, size.width),
                height: stretched(height, half.height, size.height),
            };
            Some([blue, red].map(|of| turned(plane(of, picture, region, half, samples), half)))
        }
        _ => None,
    };
    Ok(Some(Planar { size: orientation.turn(size), luma, chroma, truncated: planes.truncated }))
}

/// A part of a plane, told in pixels of the picture, resized. Behind the plane's edge its last samples go on.
fn plane(plane: &Plane, picture: Size, region: Region, size: Size, samples: Samples) -> Vec<u8> {
    let (across, down) = (plane.covers.0 / f64::from(picture.width), plane.covers.1 / f64::from(picture.height));
    let Region { left, top, width, height } = region;
    let part = Region { left: left * across, top: top * down, width: width * across, height: height * down };
    let reaches = |start: f64, length: f64, there: usize| ((start + length - 1e-6).ceil() as usize).max(there);
    let (columns, rows) = (reaches(part.left, part.width, plane.width), reaches(part.top, part.height, plane.height));
    let padded;
    let (stride, bytes) = match columns > plane.width || rows > plane.height {
        true => {
            padded = padded_to(plane, columns, rows);
            (columns, &padded)
        }
        false => (plane.stride, &plane.samples),
    };
    let from = ImageRef::new(stride as u32, (bytes.len() / stride) as u32, bytes, PixelType::U8).expect("whole rows");
    let shown = Size { width: columns as u32, height: rows as u32 };
    resample::resize(&from, part.inside(shown), size, false, samples)
}

/// The samples that show the picture, and beyond them the last of each row, and the last row.
fn padded_to(plane: &Plane, columns: usize, rows: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(columns * rows);
    for row in (0..rows).map(|row| row.min(plane.height - 1)) {
        let row = &plane.samples[row * plane.stride..][..plane.width];
        bytes.extend_from_slice(row);
        bytes.resize(bytes.len() + columns - plane.width, row[plane.width - 1]);
    }
    bytes
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
