//! Resizing by Lanczos' filter with three lobes, also of samples that are means already.
//!
//! A mean over a square of samples lowers what is fine in a picture more than what is coarse, by the sinc of its frequency. Where the means are
//! not much finer than what they become, that would show as blur: then the filter raises the finest that is left by as much. At the
//! frequency of half a sample of the result it is right, below that nearly.

use crate::geometry::{Region, Size};
use fast_image_resize::{
    Filter, FilterType, ResizeAlg, ResizeOptions, Resizer,
    images::{Image, ImageRef, TypedImage, TypedImageRef},
    pixels::U16x4,
};
use std::{cell::Cell, f64::consts::PI};

/// What the samples are that are resized.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Samples {
    /// Those of a camera, or nearly: a mean over no more than itself.
    Points,
    /// Each the mean over a square that reaches to the next.
    Means,
}

/// The region, which lies inside, resized. Alpha is premultiplied meanwhile where there is some.
pub(crate) fn resize(from: &ImageRef<'_>, region: Region, size: Size, samples: Samples) -> Vec<u8> {
    let mut to = Image::new(size.width, size.height, from.pixel_type());
    Resizer::new().resize(from, &mut to, &options(region, size, samples)).expect(FITS);
    to.into_vec()
}

/// The same of red, green, blue and alpha, premultiplied meanwhile, with room above 1: where the filter overshoots at an edge, alpha does
/// so as well, and by both the colour is that of the picture. Cut off at 1, alpha would leave a bright seam inside of the edge.
pub(crate) fn resize_with_alpha(
    pixels: &[[u8; 4]],
    own: Size,
    region: Region,
    size: Size,
    samples: Samples,
) -> Vec<u8> {
    let premultiplied: Vec<U16x4> = pixels.iter().map(|pixel| U16x4::new(premultiplied(*pixel))).collect();
    let from = TypedImageRef::new(own.width, own.height, &premultiplied).expect("as many as the size says");
    let mut to = TypedImage::<U16x4>::new(size.width, size.height);
    let options = options(region, size, samples).use_alpha(false);
    Resizer::new().resize_typed(&from, &mut to, &options).expect(FITS);
    to.pixels().iter().flat_map(|pixel| divided(pixel.0)).collect()
}

/// The part of what a mean has lowered that is raised again: all of it costs more bytes than it is worth to an encoder with loss.
const RAISED: f64 = 0.1;
/// What 1 is where there is room above it.
const ONE: u32 = 1 << 15;
const FITS: &str = "the region lies inside and both have the same kind";

fn options(region: Region, size: Size, samples: Samples) -> ResizeOptions {
    let Region { left, top, width, height } = region;
    let reduction = (width / f64::from(size.width)).min(height / f64::from(size.height));
    let filter = match samples {
        Samples::Means if reduction >= 1.0 => compensated(reduction),
        _ => FilterType::Lanczos3,
    };
    ResizeOptions::new().resize_alg(ResizeAlg::Convolution(filter)).crop(left, top, width, height)
}

#[inline(always)]
fn premultiplied([red, green, blue, alpha]: [u8; 4]) -> [u16; 4] {
    // 255 × 255 becomes one.
    const TIMES: u32 = ((ONE as u64) << 16).div_ceil(255 * 255) as u32;
    [red, green, blue, 255].map(|colour| ((u32::from(colour) * u32::from(alpha) * TIMES) >> 16) as u16)
}

#[inline(always)]
fn divided([red, green, blue, alpha]: [u16; 4]) -> [u8; 4] {
    let alpha = u32::from(alpha);
    let shown = ((alpha.min(ONE) * 255 + ONE / 2) / ONE) as u8;
    if shown == 0 {
        return [0; 4];
    }
    let [red, green, blue] = [red, green, blue].map(|of| ((u32::from(of) * 255 + alpha / 2) / alpha).min(255) as u8);
    [red, green, blue, shown]
}

thread_local! {
    /// What [`lanczos_of_means`] adds, for filters are plain functions: how much, and how far away.
    static COMPENSATION: Cell<(f64, f64)> = const { Cell::new((0.0, 1.0)) };
}

/// The filter for means of which so many, one or more, become one sample.
fn compensated(reduction: f64) -> FilterType {
    let away = 1.0 / reduction;
    let lowered = sinc(0.5 * away);
    let much = RAISED * (1.0 / lowered - 1.0) / (2.0 * (1.0 - (PI * away).cos()));
    COMPENSATION.set((much, away));
    let filter = Filter::new("Lanczos3 of means", lanczos_of_means, 3.0 + away);
    FilterType::Custom(filter.expect("its support is a positive number"))
}

fn lanczos_of_means(x: f64) -> f64 {
    let (much, away) = COMPENSATION.get();
    (1.0 + 2.0 * much) * lanczos(x) - much * (lanczos(x - away) + lanczos(x + away))
}

fn lanczos(x: f64) -> f64 {
    if x.abs() < 3.0 { sinc(x) * sinc(x / 3.0) } else { 0.0 }
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 { 1.0 } else { (PI * x).sin() / (PI * x) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fast_image_resize::PixelType;

    /// A row of waves of `period` samples of a camera, each `by` of which became one by their mean, resized to a fourth of those.
    fn contrast(period: f64, by: usize, samples: Samples) -> f64 {
        let wave = |at: usize| 128.0 + 100.0 * (2.0 * PI * (at as f64 + 0.5) / period).sin();
        let means: Vec<u8> = (0..512)
            .map(|mean| ((0..by).map(|at| wave(mean * by + at)).sum::<f64>() / by as f64).round() as u8)
            .flat_map(|mean| [mean; 1])
            .collect();
        let rows = means.repeat(512);
        let from = ImageRef::new(512, 512, &rows, PixelType::U8).expect("whole rows");
        let size = Size { width: 340, height: 340 };
        let made = resize(&from, Region::whole(Size { width: 512, height: 512 }), size, samples);
        let row = &made[340 * 170 + 20..340 * 170 + 320];
        f64::from(row.iter().max().expect("a row") - row.iter().min().expect("a row")) / 200.0
    }

    #[test]
    fn what_a_mean_has_lowered_is_raised_again() {
        // Near the finest that the result can show the mean has taken a third.
        let (fine, coarse) = (8.0 * 3.2, 8.0 * 40.0);
        let plain = contrast(fine, 8, Samples::Points);
        let raised = contrast(fine, 8, Samples::Means);
        assert!(plain < 0.88 && raised > plain + 0.005 && raised < 1.0, "{plain} {raised}");
        assert!((contrast(coarse, 8, Samples::Means) - 1.0).abs() < 0.03);
    }

    #[test]
    fn a_plane_of_one_shade_keeps_it() {
        let plane = vec![77; 64 * 64];
        let from = ImageRef::new(64, 64, &plane, PixelType::U8).expect("whole rows");
        let (whole, size) = (Region::whole(Size { width: 64, height: 64 }), Size { width: 23, height: 23 });
        let made = resize(&from, whole, size, Samples::Means);
        assert!(made.iter().all(|shade| shade.abs_diff(77) <= 1), "{made:?}");
    }
}
