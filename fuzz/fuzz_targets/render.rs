//! Whatever claims to be a picture becomes a rendition as large as it says, or is refused.
#![no_main]

use larder_media::{Format, Limits, RenderOptions, placeholder, probe, render};
use libfuzzer_sys::fuzz_target;
use std::time::{Duration, Instant};

const RECIPES: [&str; 8] = [
    "w_16,f_jpeg",
    "w_16,f_webp",
    "w_16,f_png",
    "w_16,f_gif",
    "w_20,h_12,fit_cover,g_smart,f_png",
    "w_20,h_30,fit_contain,bg_08f,rot_90,f_jpeg",
    "crop_0.25:0.25:0.5:0.5,flip_hv,blur_1,f_png",
    "q_50",
];

fuzz_target!(|file: (u8, &[u8])| {
    let (choice, bytes) = file;
    let mut limits = Limits::default();
    (limits.pixels_max, limits.decoded_bytes_max, limits.source_bytes_max) = (1 << 18, 1 << 20, 1 << 20);
    (limits.frames_max, limits.scans_max) = (8, 8);
    let until = Instant::now() + Duration::from_secs(2);
    let is_over = || Instant::now() >= until;
    let accepted = [Format::Webp];
    let options = RenderOptions { limits, focal: None, accepted: &accepted, is_over: &is_over };
    let recipe = RECIPES[usize::from(choice) % RECIPES.len()].parse().expect("a good recipe");
    if let Ok(made) = render(bytes, &recipe, &options) {
        let found = probe(&made.bytes).expect("a rendition is a picture");
        assert_eq!((found.format, found.shown(), found.frames), (made.format, made.size, made.frames));
    }
    if let Ok(found) = placeholder(bytes, &limits, &is_over) {
        assert!((5..=25).contains(&found.thumbhash.len()));
    }
});
