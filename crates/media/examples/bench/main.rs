//! The half of `cargo xtask bench media` that must be built for release.
//!
//! - `corpus DIR` makes the pictures, each of a seed, unless they are there.
//! - `work` reads lines `TIMES FILE RECIPE OUT` and answers each with the processor time of one rendition in nanoseconds and its bytes. The last one
//!   is left at `OUT`.
//! - `reference FILE WIDTH HEIGHT OUT` decodes a picture in full and resizes it by Lanczos' filter of three lobes, as a PNG.
//! - `score REFERENCE PICTURE` prints the SSIMULACRA2 of two pictures of one size: 100 of the same, 90 where nobody sees a difference.
mod corpus;

use image::{ImageReader, RgbImage, imageops::FilterType};
use larder_media::{Format, Recipe, RenderOptions, render};
use ssimulacra2::{ColorPrimaries, Rgb, TransferCharacteristic, compute_frame_ssimulacra2};
use std::{
    error::Error,
    fs,
    io::{BufRead, Write, stdin, stdout},
    path::Path,
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["corpus", folder] => corpus::make(Path::new(folder)),
        ["work"] => work(),
        ["reference", file, width, height, out] => reference(file, (width.parse()?, height.parse()?), out),
        ["score", one, other] => Ok(writeln!(stdout(), "{}", score(one, other)?)?),
        _ => Err("corpus DIR, work, reference FILE WIDTH HEIGHT OUT or score REFERENCE PICTURE".into()),
    }
}

/// Processor time that this process has had so far, all threads together, in nanoseconds.
fn processor_time() -> i64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}

fn work() -> Result<()> {
    for line in stdin().lock().lines() {
        let line = line?;
        let [times, file, recipe, out] = line.split(' ').collect::<Vec<_>>()[..] else {
            return Err(format!("not a line of work: {line}").into());
        };
        let (times, recipe): (u32, Recipe) = (times.parse()?, recipe.parse()?);
        let source = fs::read(file)?;
        let options = RenderOptions { accepted: &[Format::Webp, Format::Avif], ..RenderOptions::default() };
        let (begun, mut made) = (processor_time(), None);
        for _ in 0..times {
            made = Some(render(&source, &recipe, &options)?);
        }
        let took = (processor_time() - begun) / i64::from(times);
        let made = made.ok_or("no times")?;
        fs::write(out, &made.bytes)?;
        writeln!(stdout(), "{took} {}", made.bytes.len())?;
    }
    Ok(())
}

fn open(file: &str) -> Result<image::DynamicImage> {
    Ok(ImageReader::open(file)?.with_guessed_format()?.decode()?)
}

fn reference(file: &str, (width, height): (u32, u32), out: &str) -> Result<()> {
    let picture = open(file)?;
    // Premultiplied, as both sides have it: what is transparent has no colour.
    let resized = image::imageops::resize(&over_grey(&picture), width, height, FilterType::Lanczos3);
    Ok(resized.save_with_format(out, image::ImageFormat::Png)?)
}

/// A picture as it shows over grey.
fn over_grey(picture: &image::DynamicImage) -> RgbImage {
    let picture = picture.to_rgba8();
    RgbImage::from_fn(picture.width(), picture.height(), |x, y| {
        let [red, green, blue, alpha] = picture.get_pixel(x, y).0.map(u32::from);
        image::Rgb([red, green, blue].map(|value| ((value * alpha + 128 * (255 - alpha) + 127) / 255) as u8))
    })
}

fn score(one: &str, other: &str) -> Result<f64> {
    let linear = |file: &str| -> Result<Rgb> {
        let picture = over_grey(&open(file)?);
        let size = (picture.width() as usize, picture.height() as usize);
        let pixels = picture.pixels().map(|pixel| pixel.0.map(|value| f32::from(value) / 255.0)).collect();
        Ok(Rgb::new(pixels, size.0, size.1, TransferCharacteristic::SRGB, ColorPrimaries::BT709)?)
    };
    Ok(compute_frame_ssimulacra2(linear(one)?, linear(other)?)?)
}
