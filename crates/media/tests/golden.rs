//! Golden pictures: what renditions looked like when somebody looked at them. A rendition whose pixels are another's than those in
//! `tests/golden/` must be as good as equal to the eye (SSIMULACRA2); `LARDER_GOLDEN=write` writes them anew, to be looked at.

mod common;

use common::{HEIGHT, WIDTH, animated_gif, exif, marked, picture, png, seen, svg};
use image::{RgbImage, Rgba, RgbaImage};
use larder_media::{Format, Point, Recipe, RenderOptions, render};
use ssimulacra2::{ColorPrimaries, Rgb, TransferCharacteristic, compute_frame_ssimulacra2};
use std::{borrow::Cow, fs, path::PathBuf};

/// Where lossless formats are not equal in every pixel, and of lossy ones: nobody sees the difference above 90.
const SCORE_MIN: f64 = 90.0;

struct Golden {
    name: String,
    source: Vec<u8>,
    recipe: &'static str,
}

fn golden(name: impl Into<String>, source: Vec<u8>, recipe: &'static str) -> Golden {
    Golden { name: name.into(), source, recipe }
}

/// Something in every corner, and edges in all directions.
fn scene(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let (u, v) = (f64::from(x) / f64::from(width), f64::from(y) / f64::from(height));
        let disc = (u - 0.7).hypot(v - 0.35) < 0.18;
        let stripes = v > 0.6 && (u * 24.0 + v * 6.0).fract() < 0.5;
        let colour = match (disc, stripes) {
            (true, _) => [0.95, 0.75 - 0.3 * v, 0.2],
            (_, true) => [0.15 + 0.4 * u, 0.35, 0.25],
            _ => [0.25 + 0.5 * u, 0.55 - 0.3 * v, 0.85 - 0.4 * u],
        };
        image::Rgb(colour.map(|value: f64| (value * 255.0) as u8))
    })
}

/// The same with a transparent half moon.
fn sticker() -> Vec<u8> {
    let scene = scene(96, 64);
    let pixels = RgbaImage::from_fn(96, 64, |x, y| {
        let alpha = match (f64::from(x) - 60.0).hypot(f64::from(y) - 30.0) {
            far if far < 18.0 => 0,
            far if far < 26.0 => ((far - 18.0) / 8.0 * 255.0) as u8,
            _ => 255,
        };
        let [red, green, blue] = scene.get_pixel(x, y).0;
        Rgba([red, green, blue, alpha])
    });
    let mut out = std::io::Cursor::new(Vec::new());
    pixels.write_to(&mut out, image::ImageFormat::Png).expect("an encoder");
    out.into_inner()
}

fn jpeg(image: &RgbImage, change: impl FnOnce(&mut jpeg_encoder::Encoder<&mut Vec<u8>>)) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = jpeg_encoder::Encoder::new(&mut out, 92);
    change(&mut encoder);
    let (width, height) = (image.width() as u16, image.height() as u16);
    encoder.encode(image, width, height, jpeg_encoder::ColorType::Rgb).expect("an encoder");
    out
}

fn profile() -> Vec<u8> {
    moxcms::ColorProfile::new_display_p3().encode().expect("a profile")
}

fn goldens() -> Vec<Golden> {
    let mut all = vec![];
    for format in [Format::Jpeg, Format::Png, Format::Webp, Format::Tiff] {
        for orientation in 1..=8 {
            all.push(golden(format!("{format}-turned-{orientation}"), picture(format, orientation), "w_24,f_png"));
        }
    }
    for format in [Format::Gif, Format::Bmp, Format::Ico, Format::Svg] {
        all.push(golden(format!("{format}"), picture(format, 1), "w_24,f_png"));
    }
    let scene_png = png(&scene(96, 64), |_| {});
    let scene_jpeg = jpeg(&scene(192, 128), |_| {});
    for (name, recipe) in [
        ("alpha-png", "w_48,f_png"),
        ("alpha-webp", "w_48,f_webp"),
        ("alpha-gif", "w_48,f_gif"),
        ("alpha-on-white", "w_48,f_jpeg"),
        ("alpha-on-orange", "w_48,bg_ff8000,f_jpeg"),
        ("alpha-in-a-frame", "w_48,h_48,fit_contain,f_png"),
    ] {
        all.push(golden(name, sticker(), recipe));
    }
    let wide = png(&scene(96, 64), |info| info.icc_profile = Some(Cow::Owned(profile())));
    let wide_jpeg = jpeg(&scene(192, 128), |encoder| encoder.add_icc_profile(&profile()).expect("short enough"));
    all.push(golden("profile-png", wide, "w_48,f_png"));
    all.push(golden("profile-jpeg", wide_jpeg, "w_48,f_jpeg"));
    for (name, recipe) in [
        ("inside", "w_40,h_40,f_png"),
        ("contain", "w_40,h_40,fit_contain,bg_333,f_png"),
        ("cover", "w_40,h_40,fit_cover,f_png"),
        ("cover-north-west", "w_30,h_40,fit_cover,g_northwest,f_png"),
        ("cover-south-east", "w_30,h_40,fit_cover,g_southeast,f_png"),
        ("cover-focal", "w_30,h_40,fit_cover,g_focal,f_png"),
        ("cover-smart", "w_30,h_40,fit_cover,g_smart,f_png"),
        ("fill", "w_60,h_20,fit_fill,f_png"),
        ("crop", "crop_0.5:0.1:0.4:0.5,w_38,f_png"),
        ("turned", "w_40,rot_90,f_png"),
        ("mirrored", "w_40,flip_h,f_png"),
        ("blurred", "w_48,blur_2,f_png"),
        ("sharpened", "w_48,sharpen_1,f_png"),
        ("twice-the-pixels", "w_24,dpr_2,f_png"),
    ] {
        all.push(golden(name, scene_png.clone(), recipe));
    }
    all.push(golden("jpeg-to-webp", scene_jpeg.clone(), "w_48,f_webp"));
    all.push(golden("jpeg-to-jpeg", scene_jpeg, "w_48,f_jpeg"));
    all.push(golden("progressive", jpeg(&scene(192, 128), |encoder| encoder.set_progressive(true)), "w_48,f_jpeg"));
    all.push(golden("drawing-made-large", svg().into_bytes(), "w_96,f_png"));
    all.push(golden("still-of-an-animation", animated_gif(&[[200, 30, 30], [30, 30, 200]]), "f_png"));
    let turned_with_exif = jpeg(&marked(), |encoder| {
        encoder.add_app_segment(1, [b"Exif\0\0".as_slice(), &exif(6)].concat()).expect("short enough");
    });
    all.push(golden("turned-and-cropped", turned_with_exif, "w_16,h_16,fit_cover,g_north,f_png"));
    all
}

/// As Cargo says where the tests run, which may be a copy of where they were built.
fn folder() -> PathBuf {
    PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("Cargo runs the tests")).join("tests/golden")
}

/// On grey, for the score knows no transparency.
fn on_grey(picture: &RgbaImage) -> Rgb {
    let pixels = picture.pixels().map(|Rgba([red, green, blue, alpha])| {
        let mix = |value: &u8| (f32::from(*value) * f32::from(*alpha) + 128.0 * f32::from(255 - alpha)) / 255.0 / 255.0;
        [mix(red), mix(green), mix(blue)]
    });
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    Rgb::new(pixels.collect(), width, height, TransferCharacteristic::SRGB, ColorPrimaries::BT709).expect("as many")
}

#[test]
fn renditions_look_as_they_did_when_somebody_looked_at_them() {
    let (writes, goldens) = (std::env::var_os("LARDER_GOLDEN").is_some_and(|word| word == "write"), goldens());
    assert!(goldens.len() >= 60, "only {}", goldens.len());
    let mut wrong = vec![];
    for Golden { name, source, recipe } in &goldens {
        let options = RenderOptions { focal: Some(Point { x: 0.7, y: 0.35 }), ..RenderOptions::default() };
        let rendition = render(source, &recipe.parse::<Recipe>().expect(recipe), &options).expect(name);
        let (found, path) = (seen(&rendition), folder().join(format!("{name}.png")));
        if writes {
            found.save(&path).expect("the folder is there");
            continue;
        }
        let kept = image::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).into_rgba8();
        if kept.dimensions() != found.dimensions() {
            wrong.push(format!("{name}: {:?} instead of {:?}", found.dimensions(), kept.dimensions()));
        } else if kept != found {
            let score = compute_frame_ssimulacra2(on_grey(&kept), on_grey(&found)).expect("pictures of one size");
            if score < SCORE_MIN {
                wrong.push(format!("{name} scores {score:.1}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    // A picture that nothing is compared with is a forgotten one.
    let listed = fs::read_dir(folder()).expect("the folder is there");
    let names = listed.map(|entry| entry.expect("it can be read").file_name().into_string().expect("UTF-8"));
    let unknown: Vec<_> =
        names.filter(|file| !goldens.iter().any(|golden| format!("{}.png", golden.name) == *file)).collect();
    assert!(unknown.is_empty(), "nothing is compared with {unknown:?}");
}

/// What is compared must be able to fail.
#[test]
fn a_picture_that_is_another_is_told_by_its_score() {
    let one = RgbaImage::from_fn(WIDTH, HEIGHT, |x, y| {
        let [red, green, blue] = marked().get_pixel(x, y).0;
        Rgba([red, green, blue, 255])
    });
    let score = |other: &RgbaImage| compute_frame_ssimulacra2(on_grey(&one), on_grey(other)).expect("of one size");
    assert!(score(&image::imageops::flip_horizontal(&one)) < SCORE_MIN);
    let mut darker = one.clone();
    darker.pixels_mut().for_each(|pixel| pixel.0[1] = pixel.0[1].saturating_sub(24));
    assert!(score(&darker) < SCORE_MIN);
    assert!(score(&one) > 99.0);
}
