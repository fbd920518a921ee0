//! Pixels in memory and what can be done to them: turned, resized, put on a canvas, blurred. Nothing here knows of formats.

use crate::{
    Orientation,
    geometry::{Point, Region, Size},
    recipe::Colour,
    resample::{self, Samples},
};
use fast_image_resize::{
    MulDiv, PixelType,
    images::{Image, ImageRef},
};
use image::{ImageBuffer, Rgb, Rgba};

/// More pixels with alpha than this are resized with 8 bits a channel meanwhile, rather than with 16.
const ALPHA_PIXELS_MAX: u64 = 16 << 20;

/// Pixels: 8 bits a channel, red green blue and where there is transparency alpha, not premultiplied; rows without gaps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pixels {
    size: Size,
    alpha: bool,
    bytes: Vec<u8>,
}

impl Pixels {
    /// Pixels from bytes; `None` where their number is another than the size says.
    pub(crate) fn new(size: Size, alpha: bool, bytes: Vec<u8>) -> Option<Self> {
        let fits = size.pixels() * channels(alpha) as u64 == bytes.len() as u64;
        (fits && size.pixels() > 0).then_some(Self { size, alpha, bytes })
    }

    /// A canvas of one colour; transparent where that is `None`.
    pub(crate) fn filled(size: Size, colour: Option<Colour>) -> Self {
        let pixels = size.pixels() as usize;
        let bytes = match colour {
            Some(Colour(colour)) => colour.repeat(pixels),
            None => vec![0; pixels * 4],
        };
        Self { size, alpha: colour.is_none(), bytes }
    }

    pub(crate) fn size(&self) -> Size {
        self.size
    }

    /// Whether there is an alpha channel.
    pub(crate) fn has_alpha(&self) -> bool {
        self.alpha
    }

    /// Bytes of one pixel: 3 or 4.
    pub(crate) fn channels(&self) -> usize {
        channels(self.alpha)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// The pixels one after the other.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.bytes.chunks_exact(self.channels())
    }

    /// The pixels with an alpha channel, whether there was one or not.
    pub(crate) fn into_rgba(self) -> Vec<u8> {
        if self.alpha {
            self.bytes
        } else {
            self.iter().flat_map(|pixel| [pixel[0], pixel[1], pixel[2], 255]).collect()
        }
    }

    /// Without the alpha channel where every pixel is opaque.
    pub(crate) fn without_idle_alpha(self) -> Self {
        let opaque = self.alpha && self.iter().all(|pixel| pixel[3] == 255);
        if opaque { self.flattened(Colour::WHITE) } else { self }
    }

    /// On a background of one colour.
    pub(crate) fn flattened(self, background: Colour) -> Self {
        if !self.alpha {
            return self;
        }
        let bytes = self.iter().flat_map(|pixel| blend(pixel, background)).collect();
        Self { size: self.size, alpha: false, bytes }
    }

    /// Turned to be looked at.
    pub(crate) fn turned(self, orientation: Orientation) -> Self {
        if orientation == Orientation::Upright {
            return self;
        }
        let (size, channels) = (orientation.turn(self.size), self.channels());
        let mut bytes = Vec::with_capacity(self.bytes.len());
        for y in 0..size.height {
            for x in 0..size.width {
                let (left, top) = orientation.stored_pixel(self.size, x, y);
                let at = (top as usize * self.size.width as usize + left as usize) * channels;
                bytes.extend_from_slice(&self.bytes[at..at + channels]);
            }
        }
        Self { size, alpha: self.alpha, bytes }
    }

    /// The region, resized by Lanczos with three lobes; alpha is premultiplied meanwhile.
    pub(crate) fn resized(self, region: Region, size: Size, samples: Samples) -> Self {
        if size == self.size && region.is_whole(size) { self } else { self.sampled(region, size, samples) }
    }

    /// A copy of the region, resized.
    pub(crate) fn sampled(&self, region: Region, size: Size, samples: Samples) -> Self {
        let region = region.inside(self.size);
        let bytes = if self.alpha && self.size.pixels() <= ALPHA_PIXELS_MAX {
            resample::resize_with_alpha(self.bytes.as_chunks().0, self.size, region, size, samples)
        } else {
            let Size { width, height } = self.size;
            let from = ImageRef::new(width, height, &self.bytes, self.pixel_type()).expect("the bytes fit the size");
            resample::resize(&from, region, size, samples)
        };
        Self { size, alpha: self.alpha, bytes }
    }

    /// In the middle of a larger canvas, or elsewhere: `anchor` is the fraction of the free space left of and above the picture.
    pub(crate) fn on_canvas(self, canvas: Size, anchor: Point, background: Option<Colour>) -> Self {
        let mut whole = Self::filled(canvas, background.filter(|_| !self.alpha));
        let free = |canvas: u32, side: u32, fraction: f64| {
            (f64::from(canvas.saturating_sub(side)) * fraction).round() as usize
        };
        let left = free(canvas.width, self.size.width, anchor.x);
        let top = free(canvas.height, self.size.height, anchor.y);
        let alpha = whole.alpha;
        let (row, stride) = (self.size.width as usize * channels(alpha), canvas.width as usize * channels(alpha));
        let bytes = if alpha { self.into_rgba() } else { self.bytes };
        for (from, to) in bytes.chunks_exact(row).zip(whole.bytes.chunks_exact_mut(stride).skip(top)) {
            to[left * channels(alpha)..][..row].copy_from_slice(from);
        }
        whole
    }

    /// Blurred by a Gauss curve of this standard deviation in pixels.
    pub(crate) fn blurred(self, sigma: f64) -> Self {
        let Size { width, height } = self.size;
        let (size, alpha, sigma) = (self.size, self.alpha, sigma as f32);
        const FITS: &str = "the bytes fit the size";
        if !alpha {
            let image = ImageBuffer::<Rgb<u8>, _>::from_raw(width, height, self.bytes).expect(FITS);
            return Self { size, alpha, bytes: image::imageops::fast_blur(&image, sigma).into_raw() };
        }
        let premultiplied = self.with_alpha(|mul_div, image| mul_div.multiply_alpha_inplace(image));
        let image = ImageBuffer::<Rgba<u8>, _>::from_raw(width, height, premultiplied.bytes).expect(FITS);
        let blurred = Self { size, alpha, bytes: image::imageops::fast_blur(&image, sigma).into_raw() };
        blurred.with_alpha(|mul_div, image| mul_div.divide_alpha_inplace(image))
    }

    /// Sharpened by an unsharp mask: what a blur of this standard deviation takes away is added once more.
    pub(crate) fn sharpened(self, sigma: f64) -> Self {
        let blurred = self.clone().blurred(sigma);
        let (size, alpha, channels) = (self.size, self.alpha, self.channels());
        let mut bytes = self.bytes;
        for (at, (sharp, blurred)) in bytes.iter_mut().zip(blurred.bytes).enumerate() {
            if at % channels != 3 {
                *sharp = (2 * i16::from(*sharp) - i16::from(blurred)).clamp(0, 255) as u8;
            }
        }
        Self { size, alpha, bytes }
    }

    fn pixel_type(&self) -> PixelType {
        if self.alpha { PixelType::U8x4 } else { PixelType::U8x3 }
    }

    fn with_alpha<E: std::fmt::Debug>(self, change: impl Fn(&MulDiv, &mut Image<'_>) -> Result<(), E>) -> Self {
        let kind = self.pixel_type();
        let Size { width, height } = self.size;
        let mut image = Image::from_vec_u8(width, height, self.bytes, kind).expect("the bytes fit the size");
        change(&MulDiv::new(), &mut image).expect("four channels are supported");
        Self { size: self.size, alpha: true, bytes: image.into_vec() }
    }
}

fn channels(alpha: bool) -> usize {
    if alpha { 4 } else { 3 }
}

fn blend(pixel: &[u8], Colour(background): Colour) -> [u8; 3] {
    let alpha = u32::from(pixel[3]);
    std::array::from_fn(|at| {
        let mixed = u32::from(pixel[at]) * alpha + u32::from(background[at]) * (255 - alpha);
        ((mixed + 127) / 255) as u8
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const RED: [u8; 3] = [255, 0, 0];

    fn square(side: u32, pixel: impl Fn(u32, u32) -> [u8; 4]) -> Pixels {
        let bytes = (0..side).flat_map(|y| (0..side).map(move |x| (x, y))).flat_map(|(x, y)| pixel(x, y)).collect();
        Pixels::new(Size { width: side, height: side }, true, bytes).expect("four bytes for each pixel")
    }

    #[test]
    fn the_number_of_bytes_is_checked() {
        let size = Size { width: 2, height: 1 };
        assert!(Pixels::new(size, false, vec![0; 6]).is_some());
        assert!(Pixels::new(size, false, vec![0; 8]).is_none());
        assert!(Pixels::new(Size { width: 0, height: 1 }, false, vec![]).is_none());
    }

    #[test]
    fn the_colour_under_transparency_does_not_bleed_when_resizing() {
        let half = square(64, |x, _| if x < 32 { [255, 0, 0, 255] } else { [0, 255, 0, 0] });
        let small =
            half.resized(Region::whole(Size { width: 64, height: 64 }), Size { width: 7, height: 7 }, Samples::Points);
        assert!(small.iter().all(|pixel| pixel[1] <= 2 || pixel[3] <= 2), "green shows: {:?}", small.bytes());
    }

    #[test]
    fn a_shape_of_one_colour_keeps_it_up_to_its_edge_when_resizing() {
        let disc = square(200, |x, y| {
            let away = f64::from(x.abs_diff(100)).hypot(f64::from(y.abs_diff(100)));
            if away < 80.0 { [60, 120, 180, 255] } else { [0; 4] }
        });
        let whole = Region::whole(Size { width: 200, height: 200 });
        for side in [150, 67, 30] {
            let small = disc.sampled(whole, Size { width: side, height: side }, Samples::Points);
            let seam = small.iter().filter(|pixel| pixel[3] > 20);
            for pixel in seam {
                assert!((0..3).all(|at| pixel[at].abs_diff([60, 120, 180][at]) <= 2), "{side}: {pixel:?}");
            }
            let all = small.iter().map(|pixel| u32::from(pixel[3])).sum::<u32>() as f64 / f64::from(side * side * 255);
            assert!((all - 80.0_f64.powi(2) * std::f64::consts::PI / 40_000.0).abs() < 0.01, "{side}: {all}");
        }
    }

    #[test]
    fn the_colour_under_transparency_does_not_bleed_when_blurring() {
        let half = square(64, |x, _| if x < 32 { [255, 0, 0, 255] } else { [0, 255, 0, 0] });
        let blurred = half.blurred(3.0);
        assert!(blurred.iter().all(|pixel| pixel[1] <= 2 || pixel[3] <= 2));
        assert!(blurred.iter().any(|pixel| (50..200).contains(&pixel[3])), "the edge is soft");
    }

    #[test]
    fn an_edge_is_steeper_after_sharpening() {
        let step = square(32, |x, _| if x < 16 { [100, 100, 100, 255] } else { [150, 150, 150, 255] });
        let sharpened = step.sharpened(2.0);
        let row: Vec<u8> = sharpened.iter().take(32).map(|pixel| pixel[0]).collect();
        assert!(row[15] < 100 && row[16] > 150 && row[0] == 100 && row[31] == 150, "{row:?}");
    }

    #[test]
    fn flattening_mixes_with_the_background() {
        let half = square(1, |_, _| [0, 0, 0, 128]);
        assert_eq!(half.flattened(Colour(RED)).bytes(), [127, 0, 0]);
    }

    #[test]
    fn an_alpha_channel_that_hides_nothing_is_dropped() {
        assert!(!square(2, |_, _| [1, 2, 3, 255]).without_idle_alpha().has_alpha());
        assert!(square(2, |x, _| [1, 2, 3, 254 + x as u8]).without_idle_alpha().has_alpha());
    }

    #[test]
    fn the_anchor_says_where_on_the_canvas_the_picture_is() {
        let dot = Pixels::new(Size { width: 1, height: 1 }, false, RED.to_vec()).expect("one pixel");
        let canvas = Size { width: 3, height: 3 };
        for (anchor, place) in [((0.0, 0.0), 0), ((0.5, 0.5), 4), ((1.0, 1.0), 8), ((1.0, 0.0), 2)] {
            let anchor = Point { x: anchor.0, y: anchor.1 };
            let whole = dot.clone().on_canvas(canvas, anchor, Some(Colour::WHITE));
            assert_eq!(whole.iter().position(|pixel| pixel == RED), Some(place));
            assert_eq!(dot.clone().on_canvas(canvas, anchor, None).iter().filter(|pixel| pixel[3] == 0).count(), 8);
        }
    }
}
