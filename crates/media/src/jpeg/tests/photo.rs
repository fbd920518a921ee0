//! Pictures as cameras take them, written by an encoder and read by a full decoder: the reference.

use crate::jpeg::{Plane, Scale};
use image::{DynamicImage, ImageFormat};
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};

/// How a picture is encoded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Encoding {
    pub(crate) grey: bool,
    pub(crate) sampling: SamplingFactor,
    pub(crate) progressive: bool,
    /// With Huffman codes of its own, and one scan per component.
    pub(crate) optimised: bool,
    pub(crate) restart_interval: u16,
    pub(crate) quality: u8,
}

impl Default for Encoding {
    fn default() -> Self {
        let sampling = SamplingFactor::F_2_2;
        Encoding { grey: false, sampling, progressive: false, optimised: false, restart_interval: 0, quality: 85 }
    }
}

/// Gradients, waves, an edge and some noise; far from black and white, so that nothing is clamped and the mean of a block is exact.
pub(crate) fn encode(width: u16, height: u16, encoding: Encoding) -> Vec<u8> {
    let mut pixels = Vec::new();
    for (x, y) in (0..height).flat_map(|y| (0..width).map(move |x| (x, y))) {
        let (fx, fy) = (f32::from(x), f32::from(y));
        let edge = if fx + 2.0 * fy < 90.0 { 20.0 } else { 0.0 };
        let noise = f32::from((x.wrapping_mul(7919) ^ y.wrapping_mul(104_729_u32 as u16)) % 13);
        let luma = 90.0 + edge + noise + 20.0 * (fx / 23.0).sin() + 20.0 * (fy / 31.0).cos();
        let (red, blue) = (25.0 * (fx / 90.0).sin(), 25.0 * (fy / 110.0).cos());
        let colours = [luma + red, luma, luma + blue].map(|value| value as u8);
        pixels.extend_from_slice(if encoding.grey { &colours[1..2] } else { &colours });
    }
    let mut file = Vec::new();
    let mut encoder = Encoder::new(&mut file, encoding.quality);
    encoder.set_sampling_factor(encoding.sampling);
    encoder.set_progressive(encoding.progressive);
    encoder.set_optimized_huffman_tables(encoding.optimised);
    if encoding.restart_interval > 0 {
        encoder.set_restart_interval(encoding.restart_interval);
    }
    let colours = if encoding.grey { ColorType::Luma } else { ColorType::Rgb };
    encoder.encode(&pixels, width, height, colours).unwrap();
    file
}

/// A picture of the full decoder, by component: luma, blue, red.
pub(crate) struct Full {
    width: usize,
    height: usize,
    components: Vec<Vec<f32>>,
}

impl Full {
    pub(crate) fn decode(file: &[u8]) -> Full {
        let picture = image::load_from_memory_with_format(file, ImageFormat::Jpeg).unwrap();
        let (width, height) = (picture.width() as usize, picture.height() as usize);
        let components = match picture {
            DynamicImage::ImageLuma8(grey) => vec![grey.iter().map(|&value| value.into()).collect()],
            picture => {
                let pixels = picture.into_rgb8();
                let weighed = |[r, g, b]: [f32; 3], offset: f32| {
                    let weigh = |pixel: &image::Rgb<u8>| {
                        let [red, green, blue] = pixel.0.map(f32::from);
                        red * r + green * g + blue * b + offset
                    };
                    pixels.pixels().map(weigh).collect()
                };
                let luma = weighed([0.299, 0.587, 0.114], 0.0);
                vec![luma, weighed([-0.168_74, -0.331_26, 0.5], 128.0), weighed([0.5, -0.418_69, -0.081_31], 128.0)]
            }
        };
        Full { width, height, components }
    }

    /// The mean and the greatest difference of `plane` from the means of the pixels that each sample stands for. Beyond the edges
    /// the picture goes on as it ends, which is how encoders fill up blocks.
    pub(crate) fn difference(&self, component: usize, plane: &Plane) -> (f32, f32) {
        let across = self.width as f64 / plane.covers.0;
        let down = self.height as f64 / plane.covers.1;
        let (mut sum, mut greatest) = (0.0, 0_f32);
        for (x, y) in (0..plane.height).flat_map(|y| (0..plane.width).map(move |x| (x, y))) {
            let mean = self.mean(component, (x as f64 * across) as usize, (y as f64 * down) as usize, across, down);
            let difference = (mean - f32::from(plane.samples[y * plane.stride + x])).abs();
            sum += difference;
            greatest = greatest.max(difference);
        }
        (sum / (plane.width * plane.height) as f32, greatest)
    }

    fn mean(&self, component: usize, left: usize, top: usize, across: f64, down: f64) -> f32 {
        let (across, down) = (across.round() as usize, down.round() as usize);
        let mut sum = 0.0;
        for (x, y) in (0..down).flat_map(|y| (0..across).map(move |x| (left + x, top + y))) {
            let (x, y) = (x.min(self.width - 1), y.min(self.height - 1));
            sum += self.components[component][y * self.width + x];
        }
        sum / (across * down) as f32
    }
}

/// The greatest and the mean difference that are tolerated of luma, or of chroma.
///
/// At an eighth a sample is the mean of a block, exactly but for rounding: of the full decoder's pixels to whole numbers, twice
/// where it converts colours (0.5 each, less in the mean), and of the sample (0.5); beyond
/// the edges of the picture what the encoder filled in is not quite what is assumed. At more, the low frequencies are scaled by
/// their own transform, which keeps edges sharper than the mean does: a few units at edges and in noise, little in the mean.
/// Chroma that is subsampled is smeared over its neighbours by the full decoder, and smooth here.
pub(crate) fn tolerated(scale: Scale, chroma: bool) -> (f32, f32) {
    match (scale, chroma) {
        (Scale::Eighth, false) => (0.6, 3.0),
        (Scale::Quarter, false) => (0.8, 4.0),
        (Scale::Half, false) => (1.2, 6.0),
        (_, true) => (0.5, 2.0),
    }
}
