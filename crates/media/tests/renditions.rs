//! Renditions by what is seen in them.

mod common;

use common::{BLUE, DECODED, GREEN, HEIGHT, RED, WIDTH, animated_gif, jpeg, made, marked, near, picture, png, seen};
use image::RgbaImage;
use larder_media::{Error, Format, Limits, Point, Recipe, RenderOptions, Size, placeholder, probe, render};
use std::borrow::Cow;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Corner {
    TopLeft,
    TopRight,
    BottomRight,
    BottomLeft,
}

use Corner::{BottomLeft, BottomRight, TopLeft, TopRight};

/// Where the red and the green mark are shown for each orientation from 1 to 8.
const SHOWN: [(Corner, Corner); 8] = [
    (TopLeft, TopRight),
    (TopRight, TopLeft),
    (BottomRight, BottomLeft),
    (BottomLeft, BottomRight),
    (TopLeft, BottomLeft),
    (TopRight, BottomRight),
    (BottomRight, TopRight),
    (BottomLeft, TopLeft),
];

/// The corner that has this colour, of which there must be exactly one.
fn corner_of(colour: [u8; 3], image: &RgbaImage) -> Corner {
    let (right, bottom) = (image.width() - 3, image.height() - 3);
    let corners = [(TopLeft, 2, 2), (TopRight, right, 2), (BottomRight, right, bottom), (BottomLeft, 2, bottom)];
    let mut found = corners.into_iter().filter(|(_, x, y)| near(&image.get_pixel(*x, *y).0[..3], colour, 40));
    let (corner, ..) = found.next().unwrap_or_else(|| panic!("no corner has {colour:?}"));
    assert!(found.next().is_none());
    corner
}

fn size(width: u32, height: u32) -> Size {
    Size { width, height }
}

#[test]
fn every_format_is_shown_upright_from_every_orientation() {
    for format in [Format::Jpeg, Format::Png, Format::Webp, Format::Tiff] {
        for (orientation, (red, green)) in (1..).zip(SHOWN) {
            let source = picture(format, orientation);
            let shown = if orientation > 4 { size(HEIGHT, WIDTH) } else { size(WIDTH, HEIGHT) };
            assert_eq!(probe(&source).map(|probe| probe.shown()), Ok(shown), "{format} {orientation}");
            for recipe in ["f_png", "f_webp,w_24", "f_jpeg,q_95", "f_png,w_30,h_30"] {
                let image = seen(&made(&source, recipe).expect(recipe));
                let corners = (corner_of(RED, &image), corner_of(GREEN, &image));
                assert_eq!(corners, (red, green), "{format} {orientation} {recipe}");
            }
        }
    }
}

#[test]
fn a_crop_is_of_the_picture_as_it_is_shown() {
    let quarters = [(TopLeft, "0:0"), (TopRight, "0.5:0"), (BottomRight, "0.5:0.5"), (BottomLeft, "0:0.5")];
    for (orientation, (red, _)) in (1..).zip(SHOWN) {
        let (_, start) = quarters.into_iter().find(|(corner, _)| *corner == red).expect("every corner is listed");
        let recipe = format!("f_png,crop_{start}:0.5:0.5");
        let image = seen(&made(&picture(Format::Png, orientation), &recipe).expect("a right recipe"));
        let red_pixels = image.pixels().filter(|pixel| near(&pixel.0[..3], RED, 2)).count();
        assert_eq!(red_pixels, 16 * 16, "{orientation}");
    }
}

/// Hills of colour, and a dark corner.
fn landscape(width: u32, height: u32) -> image::RgbImage {
    image::RgbImage::from_fn(width, height, |x, y| {
        let (across, down) = (f64::from(x) / f64::from(width), f64::from(y) / f64::from(height));
        let wave = |waves: f64| 128.0 + 100.0 * (waves * (across + 2.0 * down)).sin();
        let lit = if across < 0.2 && down < 0.2 { 0.1 } else { 1.0 };
        image::Rgb([wave(5.0), wave(9.0), 255.0 * across].map(|shade| (shade * lit) as u8))
    })
}

/// The mean difference of two pictures of one size, in shades.
fn difference(one: &RgbaImage, other: &RgbaImage) -> f64 {
    assert_eq!(one.dimensions(), other.dimensions());
    let sum: u64 = one.iter().zip(other.iter()).map(|(one, other)| u64::from(one.abs_diff(*other))).sum();
    sum as f64 / one.len() as f64
}

#[test]
fn a_jpeg_that_is_decoded_to_a_fraction_looks_as_one_that_is_decoded_whole() {
    use jpeg_encoder::SamplingFactor::{F_1_1, F_2_1, F_2_2, F_4_1};
    for (width, height) in [(640, 480), (643, 487)] {
        let landscape = landscape(width, height);
        for (sampling, is_progressive) in
            [(F_1_1, false), (F_2_1, false), (F_2_2, false), (F_4_1, false), (F_2_2, true)]
        {
            for orientation in [1, 4, 6] {
                let exif = common::exif(orientation);
                let source = [b"Exif\0\0".as_slice(), &exif].concat();
                let source = common::jpeg_of(&landscape, &[&source], sampling, is_progressive);
                let whole = png(&landscape, |info| info.exif_metadata = Some(Cow::Owned(exif)));
                // Those of JPEG and WebP never become red, green and blue.
                for recipe in [
                    "f_png,w_300",
                    "f_png,w_120",
                    "f_png,w_40",
                    "f_png,w_40,crop_0.5:0:0.5:0.5",
                    "f_png,w_30,h_30,fit_cover,g_northwest",
                    "f_jpeg,q_98,w_300",
                    "f_jpeg,q_98,w_41,crop_0.5:0:0.5:0.5",
                    "f_webp,q_98,w_120",
                    "f_webp,q_98,w_31,h_31,fit_cover,g_northwest",
                ] {
                    let [found, wanted] =
                        [&source, &whole].map(|source| seen(&made(source, recipe).expect("a right picture")));
                    let difference = difference(&found, &wanted);
                    let what = format!("{width}x{height} {sampling:?} {is_progressive} {orientation} {recipe}");
                    assert!(difference < 3.0, "{what}: {difference}");
                }
            }
        }
    }
}

/// A lossy WebP of libwebp's, or one with an orientation.
fn lossy_webp(image: &image::RgbImage, orientation: u16) -> Vec<u8> {
    let plain = made(&png(image, |_| {}), "f_webp,q_100").expect("a right picture").bytes;
    let size = |side: u32| (side - 1).to_le_bytes();
    let (width, height) = (size(image.width()), size(image.height()));
    let exif = common::exif(orientation);
    let header = [&[8, 0, 0, 0], &width[..3], &height[..3]].concat();
    let chunk = |name: &[u8], payload: &[u8]| [name, &(payload.len() as u32).to_le_bytes(), payload].concat();
    let chunks = [b"WEBP", &chunk(b"VP8X", &header)[..], &plain[12..], &chunk(b"EXIF", &exif)].concat();
    chunk(b"RIFF", &chunks)
}

#[test]
fn a_webp_that_is_decoded_to_means_looks_as_one_that_is_decoded_whole() {
    for (width, height) in [(640, 480), (643, 487)] {
        let landscape = landscape(width, height);
        for orientation in [1, 4, 6] {
            let source = lossy_webp(&landscape, orientation);
            assert_eq!(probe(&source).expect("right").orientation as u16, orientation);
            let exif = common::exif(orientation);
            let whole = png(&landscape, |info| info.exif_metadata = Some(Cow::Owned(exif)));
            for recipe in [
                "f_webp,q_98,w_400",
                "f_webp,q_98,w_300",
                "f_webp,q_98,w_121",
                "f_jpeg,q_98,w_300",
                "f_jpeg,q_98,w_41,crop_0.5:0:0.5:0.5",
                "f_webp,q_98,w_40",
                "f_webp,q_98,w_31,h_31,fit_cover,g_northwest",
                "f_webp,q_98,w_200,h_20,fit_fill",
                "f_jpeg,q_98,w_1",
                "f_png,w_120",
                "f_png,w_120,flip_h",
            ] {
                let [found, wanted] =
                    [&source, &whole].map(|source| seen(&made(source, recipe).expect("a right picture")));
                let difference = difference(&found, &wanted);
                assert!(difference < 3.0, "{width}x{height} {orientation} {recipe}: {difference}");
            }
        }
    }
}

#[test]
fn a_webp_of_another_gamut_or_with_transparency_is_shown_as_such_though_it_is_made_smaller() {
    let transparent = RgbaImage::from_fn(200, 100, |x, _| image::Rgba([220, 40, 30, if x < 100 { 0 } else { 255 }]));
    let mut png = std::io::Cursor::new(Vec::new());
    transparent.write_to(&mut png, image::ImageFormat::Png).expect("an encoder");
    let webp = made(png.get_ref(), "f_webp,q_95").expect("right").bytes;
    assert!(probe(&webp).expect("right").alpha);
    let small = seen(&made(&webp, "f_webp,q_95,w_20").expect("right"));
    assert!(small.get_pixel(4, 4)[3] == 0 && near(&small.get_pixel(15, 4).0, [220, 40, 30], 12), "{small:?}");
    let white = seen(&made(&webp, "f_jpeg,q_95,w_20").expect("right"));
    assert!(near(&white.get_pixel(4, 4).0, [255; 3], 6) && near(&white.get_pixel(15, 4).0, [220, 40, 30], 12));
    let wide = image::RgbImage::from_pixel(64, 64, image::Rgb([200, 100, 100]));
    let plain = lossy_webp(&wide, 1);
    let profile = moxcms::ColorProfile::new_display_p3().encode().expect("a profile");
    let chunk = [b"ICCP", &(profile.len() as u32).to_le_bytes()[..], &profile, &[0][..profile.len() % 2]].concat();
    let mut bytes = [&plain[..30], &chunk, &plain[30..]].concat();
    bytes[20] |= 0x20;
    let riff = (bytes.len() as u32 - 8).to_le_bytes();
    bytes[4..8].copy_from_slice(&riff);
    for format in ["jpeg", "webp", "png"] {
        let [red, green, ..] = seen(&made(&bytes, &format!("f_{format},w_8")).expect("right")).get_pixel(4, 4).0;
        assert!(red > 205 && green < 100, "{format} {red} {green}");
    }
}

#[test]
fn a_webp_that_is_cut_or_lies_about_its_size_is_refused() {
    let image = landscape(90, 70);
    let mut sources = vec![lossy_webp(&image, 1)];
    let mut lossless = std::io::Cursor::new(Vec::new());
    image.write_to(&mut lossless, image::ImageFormat::WebP).expect("an encoder");
    sources.push(lossless.into_inner());
    for source in sources {
        for recipe in ["f_png", "f_webp,w_10", "f_jpeg,w_40"] {
            assert!(made(&source, recipe).is_ok(), "{recipe}");
            // The end of the pixels may be no more than bits that nothing is decoded of.
            for cut in (0..source.len() * 9 / 10).step_by(7) {
                let refused = made(&source[..cut], recipe);
                assert!(refused.is_err(), "{recipe} of {cut} bytes: {refused:?}");
            }
        }
    }
    let lossy = lossy_webp(&image, 1);
    for (place, value) in [(24, 0), (24, 200), (27, 0), (27, 200)] {
        let mut lie = lossy.clone();
        lie[place] = value;
        assert!(matches!(made(&lie, "f_webp,w_10"), Err(Error::Corrupt { .. })), "{place}");
    }
}

#[test]
fn the_last_of_an_odd_row_has_its_own_colour() {
    let at = |edge: u32| image::RgbImage::from_fn(800, 600, |x, _| image::Rgb(if x < edge { RED } else { BLUE }));
    let half = jpeg_encoder::SamplingFactor::F_2_2;
    let (split, mostly) = (common::jpeg_of(&at(400), &[], half, false), common::jpeg_of(&at(752), &[], half, false));
    for (source, recipe) in [
        (&split, "w_1,crop_0:0:0.48:1"),
        (&split, "w_31,crop_0:0:0.48:1"),
        (&split, "w_31,h_31,fit_cover,g_west,crop_0:0:0.48:1"),
    ] {
        for format in ["jpeg", "webp"] {
            let made = seen(&made(source, &format!("f_{format},q_95,{recipe}")).expect("a right picture"));
            assert!(
                made.pixels().all(|pixel| near(&pixel.0, RED, 14)),
                "{format} {recipe}: {:?}",
                made.pixels().next_back()
            );
        }
    }
    // 94 of 100 columns are red.
    let dot = seen(&made(&mostly, "f_jpeg,q_95,w_1").expect("a right picture"));
    assert!(dot.get_pixel(0, 0)[0] > 190 && dot.get_pixel(0, 0)[2] < 60, "{dot:?}");
}

#[test]
fn a_grey_jpeg_stays_grey_and_one_of_another_gamut_is_converted_though_it_is_made_smaller() {
    let mut grey = Vec::new();
    let shades: Vec<u8> = (0..200 * 100).map(|at| (at % 200) as u8).collect();
    let encoder = jpeg_encoder::Encoder::new(&mut grey, 95);
    encoder.encode(&shades, 200, 100, jpeg_encoder::ColorType::Luma).expect("an encoder");
    for format in ["jpeg", "webp"] {
        let made = seen(&made(&grey, &format!("f_{format},w_50")).expect("a right picture"));
        let is_grey = |pixel: &image::Rgba<u8>| pixel[0].abs_diff(pixel[1]) < 3 && pixel[1].abs_diff(pixel[2]) < 3;
        assert!(made.pixels().all(is_grey), "{format}");
        assert!(made.get_pixel(2, 10)[0] < 30 && made.get_pixel(47, 10)[0] > 170, "{format}");
    }
    let mut wide = Vec::new();
    let mut encoder = jpeg_encoder::Encoder::new(&mut wide, 95);
    let profile = moxcms::ColorProfile::new_display_p3().encode().expect("a profile");
    encoder.add_icc_profile(&profile).expect("short enough");
    encoder.encode(&[200, 100, 100].repeat(64 * 64), 64, 64, jpeg_encoder::ColorType::Rgb).expect("an encoder");
    let made = seen(&made(&wide, "f_jpeg,w_8").expect("a right picture"));
    let [red, green, ..] = made.get_pixel(4, 4).0;
    assert!(red > 205 && green < 100, "{red} {green}");
}

#[test]
fn formats_without_an_orientation_are_shown_as_stored() {
    for format in [Format::Gif, Format::Bmp, Format::Ico, Format::Svg] {
        let image = seen(&made(&picture(format, 1), "f_png").expect("a right picture"));
        assert_eq!((corner_of(RED, &image), corner_of(GREEN, &image)), (TopLeft, TopRight), "{format}");
        assert_eq!(image.dimensions(), (WIDTH, HEIGHT), "{format}");
    }
}

#[test]
fn every_format_becomes_every_other() {
    for from in DECODED {
        for to in [Format::Jpeg, Format::Png, Format::Webp, Format::Gif] {
            let rendition = made(&picture(from, 1), &format!("w_24,f_{to}")).expect("a right recipe");
            assert_eq!((rendition.format, rendition.size), (to, size(24, 16)), "{from} to {to}");
            let found = probe(&rendition.bytes).expect("a right file");
            assert_eq!((found.format, found.stored), (to, size(24, 16)), "{from} to {to}");
            assert_eq!(corner_of(RED, &seen(&rendition)), TopLeft, "{from} to {to}");
        }
    }
}

#[test]
fn avif_is_written() {
    for bg in ["", ",bg_fff"] {
        let source = picture(Format::Png, 6);
        let rendition = made(&source, &format!("w_16,f_avif{bg}")).expect("a right recipe");
        let found = probe(&rendition.bytes).expect("a right file");
        assert_eq!((found.format, found.stored, found.shown()), (Format::Avif, size(16, 24), size(16, 24)));
    }
}

/// What follows the first box of this name, wherever it lies.
fn avif_box<'a>(file: &'a [u8], name: &[u8; 4]) -> Option<&'a [u8]> {
    file.windows(4).position(|found| found == name).map(|at| &file[at + 4..])
}

#[test]
fn an_avif_of_a_photograph_has_its_luma_and_chroma_as_they_are() {
    let landscape = landscape(643, 487);
    let photo = common::jpeg_of(&landscape, &[], jpeg_encoder::SamplingFactor::F_2_2, false);
    let grey = {
        let mut file = Vec::new();
        let encoder = jpeg_encoder::Encoder::new(&mut file, 95);
        encoder.encode(&[99; 200 * 100], 200, 100, jpeg_encoder::ColorType::Luma).expect("an encoder");
        file
    };
    // The profile of AV1 and, in the next byte, whether chroma is coarser across and down; then whether the range is full, as it is where
    // nothing is said.
    let told = |file: &[u8]| {
        let av1c = avif_box(file, b"av1C").expect("every AVIF has one");
        (av1c[1] >> 5, av1c[2] & 0x0c, avif_box(file, b"colr").map_or(1, |colr| colr[10] >> 7))
    };
    for (source, recipe, wanted) in [
        (&photo, "f_avif,w_121", (0, 0x0c, 1)),
        (&grey, "f_avif,w_50", (0, 0x0c, 1)),
        (&lossy_webp(&landscape, 1), "f_avif,w_121", (0, 0x0c, 0)),
        (&png(&landscape, |_| {}), "f_avif,w_121", (1, 0, 1)),
    ] {
        let rendition = made(source, recipe).expect("a right picture");
        assert_eq!(told(&rendition.bytes), wanted, "{recipe}");
        assert_eq!(probe(&rendition.bytes).expect("a right file").stored, rendition.size);
    }
    let bytes = |quality: u8| made(&photo, &format!("f_avif,w_200,q_{quality}")).expect("right").bytes.len();
    assert!(bytes(20) < bytes(50) && bytes(50) < bytes(80));
}

#[test]
fn the_crates_own_jpegs_are_read_again() {
    let first = made(&picture(Format::Png, 1), "f_jpeg,q_95").expect("a right picture");
    let again = seen(&made(&first.bytes, "f_png").expect("the crate's own"));
    assert_eq!((corner_of(RED, &again), corner_of(GREEN, &again)), (TopLeft, TopRight));
    assert!(near(&again.get_pixel(24, 28).0[..3], BLUE, 12), "{:?}", again.get_pixel(24, 28));
}

#[test]
fn rotating_and_flipping_come_after_resizing() {
    let source = picture(Format::Png, 1);
    let corners = |recipe: &str| {
        let rendition = made(&source, recipe).expect(recipe);
        let image = seen(&rendition);
        assert_eq!((image.width(), image.height()), (rendition.size.width, rendition.size.height), "{recipe}");
        (corner_of(RED, &image), corner_of(GREEN, &image))
    };
    assert_eq!(corners("w_24,rot_90,f_png"), (TopRight, BottomRight));
    assert_eq!(corners("rot_180,f_png"), (BottomRight, BottomLeft));
    assert_eq!(corners("rot_270,f_png"), (BottomLeft, TopLeft));
    assert_eq!(corners("flip_h,f_png"), (TopRight, TopLeft));
    assert_eq!(corners("flip_v,f_png"), (BottomLeft, BottomRight));
    assert_eq!(corners("flip_hv,f_png"), (BottomRight, BottomLeft));
    assert_eq!(corners("rot_90,flip_h,f_png"), (TopLeft, BottomLeft));
    assert_eq!(made(&source, "w_24,rot_90").map(|rendition| rendition.size), Ok(size(16, 24)));
}

#[test]
fn cover_keeps_the_focal_point() {
    let focused = |x: f64, recipe: &str| {
        let recipe: Recipe = recipe.parse().expect("right");
        let options = RenderOptions { focal: Some(Point { x, y: 0.5 }), ..RenderOptions::default() };
        seen(&render(&picture(Format::Png, 1), &recipe, &options).expect("right"))
    };
    let recipe = "w_16,h_32,fit_cover,g_focal,f_png";
    assert!(near(&focused(0.0, recipe).get_pixel(8, 8).0, RED, 5));
    assert!(near(&focused(1.0, recipe).get_pixel(8, 8).0, GREEN, 5));
    assert!(near(&focused(0.5, recipe).get_pixel(8, 8).0, BLUE, 5));
    assert!(near(&focused(f64::NAN, recipe).get_pixel(8, 8).0, BLUE, 5));
    assert!(
        near(&focused(1.0, "w_16,h_32,fit_cover,f_png").get_pixel(8, 8).0, BLUE, 5),
        "g_center takes no focal point"
    );
}

#[test]
fn smart_keeps_what_there_is_to_see() {
    let mut plain = image::RgbImage::from_pixel(300, 60, image::Rgb([90; 3]));
    for (x, y) in (240..270).flat_map(|x| (15..45).map(move |y| (x, y))) {
        plain.put_pixel(x, y, image::Rgb(if (x + y) % 6 < 3 { RED } else { [250; 3] }));
    }
    for orientation in 1..=8_u16 {
        let source = png(&plain, |info| info.exif_metadata = Some(Cow::Owned(common::exif(orientation))));
        let image = seen(&made(&source, "w_60,h_60,fit_cover,g_smart,f_png").expect("right"));
        assert_eq!(image.dimensions(), (60, 60));
        assert!(image.pixels().filter(|pixel| pixel.0[0] > 200).count() > 600, "{orientation}: the square is cut");
    }
}

#[test]
fn contain_fills_the_canvas_with_the_background() {
    let source = picture(Format::Png, 1);
    let corner = |recipe: &str| seen(&made(&source, recipe).expect(recipe)).get_pixel(1, 1).0;
    assert_eq!(corner("w_24,h_24,fit_contain,f_png")[3], 0);
    assert_eq!(corner("w_24,h_24,fit_contain,f_png,bg_00ff00"), [0, 255, 0, 255]);
    assert!(near(&corner("w_24,h_24,fit_contain,f_jpeg"), [255; 3], 30));
    let small = made(&source, "w_100,h_100,fit_contain,f_png").expect("right");
    assert_eq!(small.size, size(100, 100));
    let dots = seen(&small).pixels().filter(|pixel| pixel.0[3] == 255).count() as u32;
    assert_eq!(dots, WIDTH * HEIGHT, "the picture itself is not enlarged");
}

#[test]
fn transparency_is_kept_or_flattened() {
    let half = RgbaImage::from_fn(20, 20, |x, _| image::Rgba(if x < 10 { [200, 0, 0, 255] } else { [0, 200, 0, 0] }));
    let mut source = std::io::Cursor::new(Vec::new());
    half.write_to(&mut source, image::ImageFormat::Png).expect("an encoder");
    let right = |recipe: &str| seen(&made(source.get_ref(), recipe).expect(recipe)).get_pixel(17, 10).0;
    for format in ["png", "webp", "gif"] {
        assert_eq!(right(&format!("f_{format}"))[3], 0, "{format}");
        assert!(near(&right(&format!("f_{format},bg_0000ff"))[..3], [0, 0, 255], 12), "{format}");
    }
    assert!(near(&right("f_jpeg"), [255; 3], 6), "{:?}", right("f_jpeg"));
    assert!(near(&right("f_jpeg,bg_000"), [0; 3], 6));
}

#[test]
fn a_wide_gamut_becomes_srgb() {
    let profile = moxcms::ColorProfile::new_display_p3().encode().expect("a profile");
    let plain = image::RgbImage::from_pixel(8, 8, image::Rgb([200, 100, 100]));
    let source = png(&plain, |info| info.icc_profile = Some(Cow::Owned(profile)));
    assert!(probe(&source).is_ok_and(|probe| probe.profile));
    for recipe in ["f_png", "f_png,w_4", ""] {
        let rendition = made(&source, recipe).expect("right");
        let [red, green, ..] = seen(&rendition).get_pixel(2, 2).0;
        assert!(red > 205 && green < 100, "{recipe}: {red} {green}");
        assert!(probe(&rendition.bytes).is_ok_and(|probe| !probe.profile), "{recipe}");
    }
}

#[test]
fn no_metadata_is_left() {
    let secret = b"Exif\0\0GPS 55.7558 N, 37.6173 E".as_slice();
    let mut tailed = jpeg(&marked(), &[secret, b"http://ns.adobe.com/xap/1.0/\0GPS in XMP"]);
    tailed.extend(b"GPS behind the end");
    let text = png(&marked(), |info| {
        info.uncompressed_latin1_text.push(png::text_metadata::TEXtChunk::new("where", "GPS here"))
    });
    let mut exif = picture(Format::Webp, 1);
    exif.truncate(exif.len() - 4);
    exif.extend(b" GPS");
    for source in [tailed, text, exif] {
        let has_gps = |bytes: &[u8]| bytes.windows(3).any(|part| part == b"GPS");
        assert!(has_gps(&source), "the test's picture has it");
        for recipe in ["", "w_20", "f_jpeg", "f_png", "f_webp", "f_gif", "q_100", "f_auto"] {
            let rendition = made(&source, recipe).expect(recipe);
            assert!(!has_gps(&rendition.bytes), "{:?} {recipe}", rendition.format);
        }
    }
}

#[test]
fn a_rendition_of_the_same_size_is_not_larger_than_the_source() {
    let busy = image::RgbImage::from_fn(WIDTH, HEIGHT, |x, y| {
        image::Rgb([x * 31, y * 57, x * y * 13].map(|value| value as u8))
    });
    let mut small = Vec::new();
    let mut encoder = jpeg_encoder::Encoder::new(&mut small, 20);
    encoder.add_app_segment(1, b"Exif\0\0secret".to_vec()).expect("short");
    encoder.encode(&busy, WIDTH as u16, HEIGHT as u16, jpeg_encoder::ColorType::Rgb).expect("an encoder");
    for recipe in ["q_100", "f_jpeg,q_100", "f_auto,q_100", "w_4000,q_100"] {
        let rendition = made(&small, recipe).expect("right");
        assert!(rendition.is_source && rendition.bytes.len() < small.len(), "{recipe}");
        assert!(!rendition.bytes.windows(6).any(|part| part == b"secret"), "{recipe}");
        let (ours, theirs) = (seen(&rendition), common::seen_jpeg(&small));
        assert_eq!(ours, theirs, "not a pixel is touched");
    }
    for recipe in ["q_100,w_47", "f_webp,q_100", "f_png", "q_100,flip_h", "q_100,rot_180", "q_100,crop_0:0:1:0.5"] {
        assert!(!made(&small, recipe).expect("right").is_source, "{recipe}");
    }
    let turned = jpeg(&marked(), &[&[b"Exif\0\0".as_slice(), &common::exif(3)].concat()]);
    assert!(!made(&turned, "q_100").expect("right").is_source, "it would be upside down");
}

#[test]
fn an_animation_stays_one_where_the_format_can() {
    let source = animated_gif(&[RED, GREEN, BLUE]);
    assert_eq!(probe(&source).map(|probe| probe.frames), Ok(3));
    for recipe in ["w_10", "w_10,f_gif", "w_10,f_webp", "w_10,f_webp,rot_90,blur_1"] {
        let rendition = made(&source, recipe).expect(recipe);
        let found = probe(&rendition.bytes).expect("a right file");
        assert_eq!((rendition.frames, found.frames, found.stored), (3, 3, rendition.size), "{recipe}");
    }
    let still = made(&source, "f_jpeg").expect("right");
    assert_eq!(still.frames, 1);
    assert!(near(&seen(&still).get_pixel(5, 5).0, RED, 20));
    let there_and_back = made(&made(&source, "f_webp").expect("right").bytes, "f_gif").expect("right");
    assert_eq!(there_and_back.frames, 3);
}

#[test]
fn an_animation_keeps_its_times_and_its_colours() {
    let webp = made(&animated_gif(&[RED, GREEN]), "f_webp,q_90").expect("right");
    let frames = gif_frames(&made(&webp.bytes, "f_gif").expect("right").bytes);
    assert_eq!(frames.len(), 2);
    for ((delay, colour), wanted) in frames.into_iter().zip([RED, GREEN]) {
        assert_eq!(delay, 7);
        assert!(near(&colour, wanted, 25), "{colour:?} {wanted:?}");
    }
}

fn gif_frames(bytes: &[u8]) -> Vec<(u16, [u8; 3])> {
    let mut options = gif::DecodeOptions::new();
    options.set_color_output(gif::ColorOutput::RGBA);
    let mut decoder = options.read_info(bytes).expect("a right file");
    let mut frames = Vec::new();
    while let Some(frame) = decoder.read_next_frame().expect("a right frame") {
        frames.push((frame.delay, [frame.buffer[0], frame.buffer[1], frame.buffer[2]]));
    }
    frames
}

#[test]
fn an_animation_of_too_many_frames_is_refused_and_its_still_is_not() {
    let source = animated_gif(&vec![RED; 101]);
    let refused = made(&source, "").expect_err("over the limit").to_string();
    assert_eq!(refused, "the number of frames is 101, over the limit of 100: ask for a still, as with `f_jpeg`");
    assert!(made(&source, "f_jpeg").is_ok());
    assert!(made(&animated_gif(&vec![RED; 100]), "").is_ok());
}

#[test]
fn a_cut_picture_is_shown_as_far_as_it_goes() {
    let tall =
        image::RgbImage::from_fn(64, 512, |x, y| image::Rgb([(x * 3) as u8, (y / 3) as u8, ((x * y) % 200) as u8]));
    for source in [jpeg(&tall, &[]), png(&tall, |_| {})] {
        let half = made(&source[..source.len() / 2], "f_png").expect("half of it is there");
        assert!(half.truncated && half.size == size(64, 512), "{:?}", probe(&source));
        let (there, missing) = (seen(&half), seen(&half));
        let whole = seen(&made(&source, "f_png").expect("all of it is there"));
        assert!((0..64).all(|x| near(&there.get_pixel(x, 40).0, [0, 1, 2].map(|at| whole.get_pixel(x, 40).0[at]), 3)));
        assert!((0..64).all(|x| near(&missing.get_pixel(x, 511).0, [128; 3], 3)), "{:?}", missing.get_pixel(9, 511));
        assert!(!made(&source, "f_png").expect("all of it is there").truncated);
        // And where it is shrunk as it is decoded.
        for side in [8, 4] {
            let recipe = format!("f_png,w_{side}");
            let half = made(&source[..source.len() / 2], &recipe).expect("half of it is there");
            assert!(half.truncated && half.size == size(side, side * 8), "{:?}", probe(&source));
            let (small, whole) = (seen(&half), seen(&made(&source, &recipe).expect("all of it is there")));
            let is_near = |x: u32, y: u32, wanted: [u8; 3]| near(&small.get_pixel(x, y).0, wanted, 6);
            let above = |x: u32| [0, 1, 2].map(|at| whole.get_pixel(x, side / 2).0[at]);
            assert!((0..side).all(|x| is_near(x, side / 2, above(x)) && is_near(x, side * 8 - 1, [128; 3])), "{side}");
        }
    }
}

#[test]
fn a_drawing_is_drawn_at_the_size_that_is_asked_for() {
    let source = common::svg();
    for (recipe, wanted) in
        [("w_480", size(480, 320)), ("w_480,h_480,fit_cover", size(480, 480)), ("", size(48, 32)), ("h_8", size(12, 8))]
    {
        let rendition = made(source.as_bytes(), recipe).expect(recipe);
        assert_eq!((rendition.size, rendition.format), (wanted, Format::Png), "{recipe}");
    }
    let sharp = seen(&made(source.as_bytes(), "w_480").expect("right"));
    assert!(
        near(&sharp.get_pixel(158, 5).0, RED, 2) && near(&sharp.get_pixel(161, 5).0, BLUE, 2),
        "the edge is drawn, not enlarged"
    );
}

#[test]
fn a_deadline_that_is_over_ends_the_work() {
    for format in DECODED {
        let recipe: Recipe = "w_10".parse().expect("right");
        let options = RenderOptions { is_over: &|| true, ..RenderOptions::default() };
        assert_eq!(render(&picture(format, 1), &recipe, &options).map(|_| ()), Err(Error::Deadline), "{format}");
    }
}

#[test]
fn a_deadline_is_noticed_at_any_look() {
    let looks = std::cell::Cell::new(0);
    let recipe: Recipe = "w_10,blur_1,f_webp".parse().expect("right");
    let rendered_within = |last: u32| {
        looks.set(0);
        let is_over = || {
            looks.set(looks.get() + 1);
            looks.get() > last
        };
        let options = RenderOptions { is_over: &is_over, ..RenderOptions::default() };
        match render(&picture(Format::Png, 6), &recipe, &options) {
            Ok(_) => true,
            Err(fault) => {
                assert_eq!(fault, Error::Deadline, "after {last} looks");
                false
            }
        }
    };
    let enough = (0..1_000).find(|last| rendered_within(*last)).expect("a thousand looks are enough");
    assert!(enough > 10, "looked at {enough} times only");
}

#[test]
fn limits_are_the_callers() {
    let mut limits = Limits::default();
    limits.pixels_max = 100;
    let recipe: Recipe = "".parse().expect("right");
    let refused = render(&picture(Format::Png, 1), &recipe, &RenderOptions { limits, ..RenderOptions::default() });
    assert!(matches!(refused, Err(Error::TooLarge { limit: 100, .. })));
    assert!(matches!(made(&picture(Format::Png, 1), "w_4096,h_4096,dpr_3,fit_contain"), Err(Error::TooLarge { .. })));
    assert!(matches!(made(&picture(Format::Png, 1), "w_4096,h_4096,fit_contain,f_avif"), Err(Error::TooLarge { .. })));
}

#[test]
fn the_same_recipe_gives_the_same_bytes() {
    for recipe in ["w_20,f_jpeg", "w_20,f_png", "w_20,f_webp", "w_20,f_gif", "w_20,h_20,fit_cover,g_smart,f_avif"] {
        let source = picture(Format::Webp, 6);
        assert_eq!(made(&source, recipe), made(&source, recipe), "{recipe}");
    }
}

#[test]
fn a_placeholder_is_of_the_picture_as_it_is_shown() {
    let of = |orientation: u16| {
        placeholder(&picture(Format::Jpeg, orientation), &Limits::default(), &|| false).expect("a right picture")
    };
    let ratio = |hash: &[u8]| thumbhash::thumb_hash_to_approximate_aspect_ratio(hash).expect("a right hash");
    assert!(ratio(&of(1).thumbhash) > 1.2 && ratio(&of(6).thumbhash) < 0.8);
    assert!(near(&of(1).dominant_colour, BLUE, 20), "{:?}", of(1).dominant_colour);
    assert!(of(1).thumbhash.len() <= 25);
}
