//! Colours as the web expects them: pixels with an ICC profile of another space become sRGB, so that the profile can be left out.

use crate::pixels::Pixels;
use moxcms::{ColorProfile, DataColorSpace, Layout, Transform8BitExecutor, TransformOptions, Xyzd};
use std::sync::Arc;

/// A profile over this size is taken for none: real ones have a few kilobytes, those for print up to two megabytes.
pub(crate) const PROFILE_BYTES_MAX: usize = 4 << 20;

/// A conversion of colours to sRGB.
pub(crate) struct Conversion {
    opaque: Arc<Transform8BitExecutor>,
    with_alpha: Arc<Transform8BitExecutor>,
}

impl Conversion {
    /// The conversion from this profile; `None` where the profile is sRGB or next to it, is for something else than red, green and
    /// blue (the decoders turn CMYK and grey to those already), or cannot be read.
    pub(crate) fn from_profile(profile: &[u8]) -> Option<Self> {
        let small = (profile.len() <= PROFILE_BYTES_MAX).then_some(profile)?;
        let source = ColorProfile::new_from_slice(small).ok()?;
        if source.color_space != DataColorSpace::Rgb || is_srgb(&source) {
            return None;
        }
        let to_srgb = |layout| {
            source.create_transform_8bit(layout, &ColorProfile::new_srgb(), layout, TransformOptions::default()).ok()
        };
        Some(Self { opaque: to_srgb(Layout::Rgb)?, with_alpha: to_srgb(Layout::Rgba)? })
    }

    /// Converts the pixels.
    pub(crate) fn apply(&self, mut pixels: Pixels) -> Pixels {
        let transform = if pixels.has_alpha() { &self.with_alpha } else { &self.opaque };
        let source = pixels.bytes().to_vec();
        transform.transform(&source, pixels.bytes_mut()).expect("both have the same whole number of pixels");
        pixels
    }
}

/// Whether the primaries are those of sRGB within a rounding and mid grey is as bright.
fn is_srgb(profile: &ColorProfile) -> bool {
    let srgb = ColorProfile::new_srgb();
    let near = |a: Xyzd, b: Xyzd| (a.x - b.x).abs() + (a.y - b.y).abs() + (a.z - b.z).abs() < 0.01;
    near(profile.red_colorant, srgb.red_colorant)
        && near(profile.green_colorant, srgb.green_colorant)
        && near(profile.blue_colorant, srgb.blue_colorant)
        && changes_grey_little(profile, &srgb)
}

fn changes_grey_little(profile: &ColorProfile, srgb: &ColorProfile) -> bool {
    let transform = profile.create_transform_8bit(Layout::Rgb, srgb, Layout::Rgb, TransformOptions::default());
    let mut grey = [0; 3];
    transform.is_ok_and(|transform| transform.transform(&[128; 3], &mut grey).is_ok())
        && grey.iter().all(|value| value.abs_diff(128) <= 3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Size;

    fn dot(colour: [u8; 3]) -> Pixels {
        Pixels::new(Size { width: 1, height: 1 }, false, colour.to_vec()).expect("one pixel")
    }

    #[test]
    fn display_p3_becomes_srgb() {
        let p3 = ColorProfile::new_display_p3().encode().expect("a profile of the crate's own");
        let conversion = Conversion::from_profile(&p3).expect("wider than sRGB");
        let converted = conversion.apply(dot([200, 100, 100]));
        assert!(converted.bytes()[0] > 205 && converted.bytes()[1] < 100, "{:?}", converted.bytes());
        assert_eq!(conversion.apply(dot([255; 3])).bytes(), [255; 3]);
    }

    #[test]
    fn srgb_and_rubbish_need_no_conversion() {
        let srgb = ColorProfile::new_srgb().encode().expect("a profile of the crate's own");
        assert!(Conversion::from_profile(&srgb).is_none());
        assert!(Conversion::from_profile(b"no profile").is_none());
        assert!(Conversion::from_profile(&vec![0; PROFILE_BYTES_MAX + 1]).is_none());
    }
}
