//! Pictures made for the tests, byte by byte where that is the point.
#![allow(dead_code, unreachable_pub, reason = "each test file uses some of it")]

pub mod bombs;

use image::{ExtendedColorType, ImageEncoder, RgbImage, RgbaImage};
use larder_media::{Format, Recipe, RenderOptions, Rendition, Result, render};
use std::borrow::Cow;

pub const WIDTH: u32 = 48;
pub const HEIGHT: u32 = 32;
pub const RED: [u8; 3] = [230, 20, 20];
pub const GREEN: [u8; 3] = [20, 200, 20];
pub const BLUE: [u8; 3] = [30, 30, 220];

/// Renders with the default options.
pub fn made(source: &[u8], recipe: &str) -> Result<Rendition> {
    render(source, &recipe.parse::<Recipe>()?, &RenderOptions::default())
}

/// The pixels of a rendition, by decoders that are not the crate's own choice of the moment.
pub fn seen(rendition: &Rendition) -> RgbaImage {
    if rendition.format == Format::Jpeg {
        return seen_jpeg(&rendition.bytes);
    }
    image::load_from_memory(&rendition.bytes).expect("the rendition is a right file").into_rgba8()
}

pub fn seen_jpeg(bytes: &[u8]) -> RgbaImage {
    let mut decoder = jpeg_decoder::Decoder::new(bytes);
    let bytes = decoder.decode().expect("a right file");
    let info = decoder.info().expect("it is decoded");
    let channels = info.pixel_format.pixel_bytes();
    let rgba = bytes.chunks(channels).flat_map(|pixel| [pixel[0], pixel[channels / 2], pixel[channels - 1], 255]);
    RgbaImage::from_raw(info.width.into(), info.height.into(), rgba.collect()).expect("as many as the header says")
}

pub fn near(found: &[u8], wanted: [u8; 3], most: u8) -> bool {
    found.iter().zip(wanted).all(|(found, wanted)| found.abs_diff(wanted) <= most)
}

/// Blue, with a red square in the first corner of the stored pixels and a green one at the end of the first row.
pub fn marked() -> RgbImage {
    RgbImage::from_fn(WIDTH, HEIGHT, |x, y| {
        image::Rgb(match (x, y) {
            (0..16, 0..16) => RED,
            (32.., 0..16) => GREEN,
            _ => BLUE,
        })
    })
}

/// A TIFF directory that holds an orientation, which is what EXIF is.
pub fn exif(orientation: u16) -> Vec<u8> {
    let mut exif = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01".to_vec();
    exif.extend(orientation.to_be_bytes());
    exif.extend([0; 6]);
    exif
}

/// The marked picture, stored in this format and to be turned by this orientation. Formats that cannot say so are upright.
pub fn picture(format: Format, orientation: u16) -> Vec<u8> {
    let marked = marked();
    match format {
        Format::Jpeg => jpeg(&marked, &[&[b"Exif\0\0".as_slice(), &exif(orientation)].concat()]),
        Format::Png => png(&marked, |info| info.exif_metadata = Some(Cow::Owned(exif(orientation)))),
        Format::Webp => {
            let mut out = Vec::new();
            let mut encoder = image::codecs::webp::WebPEncoder::new_lossless(&mut out);
            encoder.set_exif_metadata(exif(orientation)).expect("WebP has EXIF");
            encoder.write_image(&marked, WIDTH, HEIGHT, ExtendedColorType::Rgb8).expect("an encoder");
            out
        }
        Format::Tiff => tiff(&marked, orientation, &[]),
        Format::Gif => through_image(image::ImageFormat::Gif),
        Format::Bmp => through_image(image::ImageFormat::Bmp),
        Format::Ico => through_image(image::ImageFormat::Ico),
        Format::Svg => svg().into_bytes(),
        other => panic!("no picture of {other} is made here"),
    }
}

/// Every format that can be decoded.
pub const DECODED: [Format; 8] =
    [Format::Jpeg, Format::Png, Format::Webp, Format::Tiff, Format::Gif, Format::Bmp, Format::Ico, Format::Svg];

fn through_image(format: image::ImageFormat) -> Vec<u8> {
    let mut out = std::io::Cursor::new(Vec::new());
    let rgba = image::DynamicImage::ImageRgb8(marked()).into_rgba8();
    rgba.write_to(&mut out, format).expect("an encoder");
    out.into_inner()
}

pub fn svg() -> String {
    let square = |x: u32, [red, green, blue]: [u8; 3]| {
        format!(r#"<rect x="{x}" width="16" height="16" fill="rgb({red},{green},{blue})"/>"#)
    };
    let [red, green, blue] = BLUE;
    let inside = square(0, RED) + &square(32, GREEN);
    format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}"><rect width="48" height="32" fill="rgb({red},{green},{blue})"/>{inside}</svg>"#
    )
}

/// A JPEG with these payloads of APP1.
pub fn jpeg(image: &RgbImage, app1: &[&[u8]]) -> Vec<u8> {
    jpeg_of(image, app1, jpeg_encoder::SamplingFactor::F_1_1, false)
}

/// With less chroma, or in several scans.
pub fn jpeg_of(
    image: &RgbImage,
    app1: &[&[u8]],
    sampling: jpeg_encoder::SamplingFactor,
    is_progressive: bool,
) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = jpeg_encoder::Encoder::new(&mut out, 95);
    encoder.set_sampling_factor(sampling);
    encoder.set_progressive(is_progressive);
    for payload in app1 {
        encoder.add_app_segment(1, payload.to_vec()).expect("short enough");
    }
    let (width, height) = (image.width() as u16, image.height() as u16);
    encoder.encode(image, width, height, jpeg_encoder::ColorType::Rgb).expect("an encoder");
    out
}

/// A PNG with whatever `change` puts into its header.
pub fn png(image: &RgbImage, change: impl FnOnce(&mut png::Info<'_>)) -> Vec<u8> {
    let mut info = png::Info::with_size(image.width(), image.height());
    (info.color_type, info.bit_depth) = (png::ColorType::Rgb, png::BitDepth::Eight);
    change(&mut info);
    let mut out = Vec::new();
    let mut writer =
        png::Encoder::with_info(&mut out, info).expect("a right header").write_header().expect("a right header");
    writer.write_image_data(image).expect("an encoder");
    writer.finish().expect("an encoder");
    out
}

/// A TIFF without compression; `extra` entries are put over those of the same tag: tag, type, count, value.
pub fn tiff(image: &RgbImage, orientation: u16, extra: &[(u16, u16, u32, u32)]) -> Vec<u8> {
    let pixels: &[u8] = image;
    let mut entries = vec![
        (256, 4, 1, image.width()),
        (257, 4, 1, image.height()),
        (258, 3, 1, 8),
        (259, 3, 1, 1),
        (262, 3, 1, 2),
        (273, 4, 1, 8),
        (274, 3, 1, orientation.into()),
        (277, 3, 1, 3),
        (278, 4, 1, image.height()),
        (279, 4, 1, pixels.len() as u32),
    ];
    for extra in extra {
        entries.retain(|entry: &(u16, u16, u32, u32)| entry.0 != extra.0);
        entries.push(*extra);
    }
    entries.sort_unstable();
    let start = 8 + pixels.len() as u32;
    let mut out = [b"II*\0".as_slice(), &start.to_le_bytes(), pixels].concat();
    out.extend((entries.len() as u16).to_le_bytes());
    for (tag, kind, count, value) in entries {
        out.extend([tag.to_le_bytes(), kind.to_le_bytes()].concat());
        out.extend([count.to_le_bytes(), value.to_le_bytes()].concat());
    }
    out.extend([0; 4]);
    out
}

/// A GIF of 20×10 pixels: each frame one colour.
pub fn animated_gif(colours: &[[u8; 3]]) -> Vec<u8> {
    let mut encoder = gif::Encoder::new(Vec::new(), 20, 10, &[]).expect("a right header");
    encoder.set_repeat(gif::Repeat::Infinite).expect("an encoder");
    for colour in colours {
        let mut frame = gif::Frame::from_rgb(20, 10, &colour.repeat(200));
        frame.delay = 7;
        encoder.write_frame(&frame).expect("an encoder");
    }
    encoder.into_inner().expect("an encoder")
}

/// A chunk of a PNG with its checksum.
pub fn chunk(name: &[u8; 4], payload: &[u8]) -> Vec<u8> {
    let named = [name.as_slice(), payload].concat();
    [&(payload.len() as u32).to_be_bytes()[..], &named, &crc32(&named).to_be_bytes()].concat()
}

fn crc32(bytes: &[u8]) -> u32 {
    let bit = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), bit))
}
