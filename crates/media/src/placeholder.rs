//! What is shown before a picture is there: a blurred miniature of some 25 bytes and one colour.

use crate::{Limits, Result, colour::Conversion, decode::Source, geometry::Region, pixels::Pixels};

/// The longer side that a thumbhash is computed from; its definition asks for no more.
const LOOKED_AT: u32 = 100;
/// Colours are counted in boxes of this many steps of each channel.
const BOX: u8 = 32;

/// What stands in for a picture until it is loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Placeholder {
    /// The [thumbhash](https://evanw.github.io/thumbhash/): at most 25 bytes, with shape, colours and transparency.
    pub thumbhash: Vec<u8>,
    /// Red, green and blue of the colour that most of what is opaque has; white where nothing is.
    pub dominant_colour: [u8; 3],
}

/// Computes the placeholder of a picture, of an animation that of the first frame.
///
/// `is_over` is asked now and then whether the caller's deadline is over.
///
/// # Errors
/// As [`crate::render`].
pub fn placeholder(source: &[u8], limits: &Limits, is_over: &dyn Fn() -> bool) -> Result<Placeholder> {
    let source = Source::open(source, limits, is_over)?;
    let small = |size: crate::Size| size.scaled((f64::from(LOOKED_AT) / f64::from(size.longest())).min(1.0));
    let stored = source.probe.stored;
    let reduction = f64::from(stored.longest()) / f64::from(LOOKED_AT);
    let decoded = source.still(small(stored), reduction)?;
    let size = if source.probe.format == crate::Format::Svg { small(stored) } else { stored };
    let whole = Region::whole(size).shrunk(decoded.shrink);
    let mut pixels = decoded.pixels.resized(whole, small(size), decoded.samples).turned(source.probe.orientation);
    if let Some(conversion) = decoded.profile.as_deref().and_then(Conversion::from_profile) {
        pixels = conversion.apply(pixels);
    }
    Ok(of(pixels))
}

fn of(pixels: Pixels) -> Placeholder {
    let dominant_colour = dominant_colour(&pixels);
    let (width, height) = (pixels.size().width as usize, pixels.size().height as usize);
    Placeholder { thumbhash: thumbhash::rgba_to_thumb_hash(width, height, &pixels.into_rgba()), dominant_colour }
}

/// The mean of the fullest box; of several the darkest.
fn dominant_colour(pixels: &Pixels) -> [u8; 3] {
    let mut boxes = std::collections::BTreeMap::<[u8; 3], (u32, [u32; 3])>::new();
    for pixel in pixels.iter().filter(|pixel| pixel.get(3).is_none_or(|alpha| *alpha >= 128)) {
        let colour = [pixel[0], pixel[1], pixel[2]];
        let (count, sums) = boxes.entry(colour.map(|value| value / BOX)).or_default();
        *count += 1;
        sums.iter_mut().zip(colour).for_each(|(sum, value)| *sum += u32::from(value));
    }
    let fullest = boxes.into_values().rev().max_by_key(|(count, _)| *count);
    fullest.map_or([255; 3], |(count, sums)| sums.map(|sum| (sum / count) as u8))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Size, recipe::Colour};

    const SIZE: Size = Size { width: 40, height: 20 };

    #[test]
    fn the_dominant_colour_is_the_one_that_most_has() {
        let bytes = (0..800).flat_map(|at| if at % 3 == 0 { [250, 0, 0] } else { [10, 20, 200] }).collect();
        let pixels = Pixels::new(SIZE, false, bytes).expect("fits");
        assert_eq!(dominant_colour(&pixels), [10, 20, 200]);
        assert_eq!(dominant_colour(&Pixels::filled(SIZE, None)), [255; 3]);
    }

    #[test]
    fn a_thumbhash_tells_colour_and_shape() {
        let Placeholder { thumbhash, .. } = of(Pixels::filled(SIZE, Some(Colour([200, 100, 50]))));
        let (red, green, blue, alpha) = thumbhash::thumb_hash_to_average_rgba(&thumbhash).expect("a right hash");
        let near = |value: f32, wanted: f32| (value * 255.0 - wanted).abs() < 8.0;
        assert!(near(red, 200.0) && near(green, 100.0) && near(blue, 50.0) && alpha > 0.9);
        assert!(
            thumbhash::thumb_hash_to_approximate_aspect_ratio(&thumbhash)
                .is_ok_and(|ratio| (1.5..2.5).contains(&ratio))
        );
    }
}
