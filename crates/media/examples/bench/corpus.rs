//! Pictures of the kinds that people upload, each made of a seed.

use super::Result;
use image::{ExtendedColorType, ImageEncoder, Rgba, RgbaImage, codecs::png::PngEncoder};
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use larder_media::{Recipe, RenderOptions, render};
use std::{fs, path::Path};

pub(super) fn make(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    let missing = |name: &str| !folder.join(name).exists();
    let keep = |name: &str, bytes: Vec<u8>| {
        // Whole or not at all: another run takes what is there.
        fs::write(folder.join("unfinished"), bytes)
            .and_then(|()| fs::rename(folder.join("unfinished"), folder.join(name)))
    };
    for (name, (width, height), progressive) in [
        ("photo-12.jpg", (4_000, 3_000), false),
        ("photo-12-progressive.jpg", (4_000, 3_000), true),
        ("photo-24-progressive.jpg", (6_000, 4_000), true),
    ] {
        if missing(name) {
            keep(name, jpeg(&photo(width, height, 1), progressive)?)?;
        }
    }
    if missing("photo-12.webp") {
        // At its own size: encoded anew and nothing else.
        let recipe: Recipe = "f_webp,q_85".parse()?;
        let source = jpeg(&photo(4_000, 3_000, 1), false)?;
        keep("photo-12.webp", render(&source, &recipe, &RenderOptions::default())?.bytes)?;
    }
    type Make = fn(u32, u32, u64) -> RgbaImage;
    let drawn: [(&str, Make, (u32, u32)); 3] = [
        ("photo.png", photo, (1_920, 1_440)),
        ("screenshot.png", screenshot, (2_560, 1_440)),
        ("art.png", art, (2_000, 2_000)),
    ];
    for (name, draw, (width, height)) in drawn {
        if missing(name) {
            keep(name, png(&draw(width, height, 2), name == "art.png")?)?;
        }
    }
    if missing("animation.gif") {
        keep("animation.gif", animation(640, 480, 40)?)?;
    }
    Ok(())
}

/// A number of 24 bits that is the same for the same place and seed (the finaliser of MurmurHash3).
fn hash(x: u32, y: u32, seed: u64) -> f32 {
    let mut bits = (u64::from(x) << 32 | u64::from(y)) ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    bits = (bits ^ (bits >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    ((bits ^ (bits >> 33)) >> 40) as f32 / (1 << 24) as f32
}

/// Noise between 0 and 1 that is smooth over `cell` pixels.
fn noise(x: u32, y: u32, cell: u32, seed: u64) -> f32 {
    let (left, top) = (x / cell, y / cell);
    let smooth = |at: u32| {
        let t = (at % cell) as f32 / cell as f32;
        t * t * (3.0 - 2.0 * t)
    };
    let (across, down) = (smooth(x), smooth(y));
    let row = |y: u32| hash(left, y, seed) * (1.0 - across) + hash(left + 1, y, seed) * across;
    row(top) * (1.0 - down) + row(top + 1) * down
}

/// A landscape as a camera sees it: a sky, hills with edges before one another, leaves, and the grain of a sensor.
fn photo(width: u32, height: u32, seed: u64) -> RgbaImage {
    let unit = height / 12;
    RgbaImage::from_fn(width, height, |x, y| {
        let horizon = |layer: u64| {
            let base = height as f32 * (0.35 + 0.15 * layer as f32);
            base + (noise(x, 0, 3 * unit, seed + layer) - 0.5) * 2.5 * unit as f32
                + noise(x, 0, unit / 8, seed + 7 + layer) * 12.0
        };
        let layer = (0..4).rev().find(|layer| y as f32 > horizon(*layer));
        let clouds = 0.6 * noise(x, y, 2 * unit, seed + 20) + 0.3 * noise(x, y, unit / 2, seed + 21);
        let leaves =
            0.5 * noise(x, y, 24, seed + 30) + 0.3 * noise(x, y, 9, seed + 31) + 0.2 * noise(x, y, 4, seed + 32);
        let colour = match layer {
            None => [0.45 + 0.4 * clouds, 0.6 + 0.3 * clouds, 0.85 + 0.1 * clouds],
            Some(layer) => {
                let far = 1.0 - layer as f32 / 4.0;
                let light = (0.35 + 0.65 * leaves) * (0.9 - 0.35 * far) + 0.25 * far;
                [0.55 * light + 0.1 * far, 0.75 * light, 0.35 * light + 0.3 * far]
            }
        };
        let grain = |channel: u64| (hash(x, y, seed + 40 + channel) - 0.5) * 0.09;
        let value = |at: usize| ((colour[at] + grain(at as u64)).clamp(0.0, 1.0) * 255.0) as u8;
        Rgba([value(0), value(1), value(2), 255])
    })
}

/// Windows with lines of something like text.
fn screenshot(width: u32, height: u32, seed: u64) -> RgbaImage {
    RgbaImage::from_fn(width, height, |x, y| {
        let window = (x / 860, y / 720);
        let (left, top) = (x % 860, y % 720);
        if left < 20 || top < 20 {
            let shade = 60 + (y * 60 / height) as u8;
            return Rgba([shade / 2, shade, shade + 40, 255]);
        }
        if top < 56 {
            return Rgba([225, 228, 232, 255]);
        }
        // Letters of 7 × 12 pixels of which each has strokes of its own, on lines of 20.
        let (column, line) = (left / 9, top / 20);
        let is_dark = hash(window.0 * 1000 + line, window.1, seed) * 96.0 > column as f32;
        let (inside_x, inside_y) = (left % 9, top % 20);
        let letter = (hash(column, line + window.1 * 999, seed + 1) * 64.0) as u32;
        let stroke = inside_x < 7 && (4..16).contains(&inside_y) && ((inside_x * 5 + inside_y * 3 + letter) % 7 < 2);
        let is_space = hash(column, line, seed + 2) < 0.17;
        let ink = if line % 9 == 0 { Rgba([20, 80, 200, 255]) } else { Rgba([30, 30, 30, 255]) };
        if is_dark && stroke && !is_space { ink } else { Rgba([252, 252, 252, 255]) }
    })
}

/// Flat shapes with smooth edges over nothing.
fn art(width: u32, height: u32, seed: u64) -> RgbaImage {
    let circles: Vec<_> = (0..40)
        .map(|number| {
            let at = |what: u64| hash(number, 0, seed + what);
            let colour = [at(4), at(5), at(6)].map(|value| (value * 255.0) as u8);
            (at(1) * width as f32, at(2) * height as f32, 60.0 + at(3) * width as f32 / 8.0, colour)
        })
        .collect();
    RgbaImage::from_fn(width, height, |x, y| {
        let mut pixel = Rgba([0, 0, 0, 0]);
        for (left, top, radius, [red, green, blue]) in &circles {
            let away = (x as f32 - left).hypot(y as f32 - top) - radius;
            if away < 0.5 {
                let alpha = (255.0 * (0.5 - away).clamp(0.0, 1.0)) as u8;
                pixel = Rgba([*red, *green, *blue, alpha.max(pixel.0[3])]);
            }
        }
        pixel
    })
}

fn jpeg(picture: &RgbaImage, progressive: bool) -> Result<Vec<u8>> {
    let mut file = Vec::new();
    let mut encoder = Encoder::new(&mut file, 90);
    encoder.set_sampling_factor(SamplingFactor::F_2_2);
    encoder.set_progressive(progressive);
    let size = (u16::try_from(picture.width())?, u16::try_from(picture.height())?);
    encoder.encode(picture.as_raw(), size.0, size.1, ColorType::Rgba)?;
    Ok(file)
}

fn png(picture: &RgbaImage, alpha: bool) -> Result<Vec<u8>> {
    let mut file = Vec::new();
    let encoder = PngEncoder::new(&mut file);
    let (width, height) = picture.dimensions();
    if alpha {
        encoder.write_image(picture.as_raw(), width, height, ExtendedColorType::Rgba8)?;
    } else {
        let plain = image::DynamicImage::from(picture.clone()).into_rgb8();
        encoder.write_image(plain.as_raw(), width, height, ExtendedColorType::Rgb8)?;
    }
    Ok(file)
}

/// A ball before hills that pass by.
fn animation(width: u16, height: u16, frames: u16) -> Result<Vec<u8>> {
    let scene = photo(u32::from(width) * 2, u32::from(height), 3);
    let mut file = Vec::new();
    let mut encoder = gif::Encoder::new(&mut file, width, height, &[])?;
    encoder.set_repeat(gif::Repeat::Infinite)?;
    for number in 0..frames {
        let shift = u32::from(width) * u32::from(number) / u32::from(frames);
        let ball = (f32::from(width) / 2.0, f32::from(height) * (0.4 + 0.3 * (f32::from(number) / 6.0).sin()));
        let mut pixels = RgbaImage::from_fn(u32::from(width), u32::from(height), |x, y| {
            let inside = (x as f32 - ball.0).hypot(y as f32 - ball.1) < 50.0;
            if inside { Rgba([220, 60, 40, 255]) } else { *scene.get_pixel(x + shift, y) }
        });
        let mut frame = gif::Frame::from_rgba_speed(width, height, pixels.as_mut(), 10);
        frame.delay = 5;
        encoder.write_frame(&frame)?;
    }
    drop(encoder);
    Ok(file)
}
