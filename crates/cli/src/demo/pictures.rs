//! The pictures that the demo brings along, drawn here, and the sheet on which it shows what became of them.

use crate::output::size;
use anyhow::Result;
use larder_media::{RenderOptions, render};
use std::{fmt::Write, time::Duration};

const WIDTH: u32 = 1600;
const HEIGHT: u32 = 1067;

/// A landscape at dusk, as a camera would hand it over: JPEG, with the grain of one.
pub(super) fn landscape() -> Vec<u8> {
    let (mut pixels, mut state) = (Vec::with_capacity((WIDTH * HEIGHT * 3) as usize), 0x2545_f491_u32);
    for y in 0..HEIGHT {
        for x in 0..WIDTH {
            // A linear congruential generator: the same grain each time.
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let grain = f64::from(state >> 24) / 255.0 * 8.0 - 4.0;
            pixels.extend(colour(f64::from(x), f64::from(y)).map(|value| (value + grain).clamp(0.0, 255.0) as u8));
        }
    }
    made(&bitmap(WIDTH, HEIGHT, &pixels), "q_92,f_jpeg")
}

/// The colour of a place in the landscape.
fn colour(x: f64, y: f64) -> [f64; 3] {
    let (width, height) = (f64::from(WIDTH), f64::from(HEIGHT));
    let (sun_x, sun_y) = (width * 0.68, height * 0.46);
    let mix = |a: [f64; 3], b: [f64; 3], t: f64| std::array::from_fn(|at| a[at] + (b[at] - a[at]) * t.clamp(0.0, 1.0));
    let sky = mix([38.0, 52.0, 110.0], [250.0, 168.0, 96.0], (y / (height * 0.62)).powf(1.4));
    let far = (x - sun_x).hypot(y - sun_y);
    let lit = mix(sky, [255.0, 246.0, 214.0], (1.0 - (far - 52.0) / 170.0).powi(3).clamp(0.0, 1.0));
    let ridge = |base: f64, swing: f64, long: f64, at: f64| {
        height * base + swing * ((x / long + at).sin() + 0.5 * (x / long * 2.3 + at * 1.7).sin())
    };
    let hills = [
        (ridge(0.58, 34.0, 210.0, 0.4), [112.0, 92.0, 128.0]),
        (ridge(0.68, 46.0, 150.0, 2.1), [66.0, 66.0, 98.0]),
        (ridge(0.82, 40.0, 110.0, 4.4), [30.0, 40.0, 52.0]),
    ];
    let hill = hills.iter().rev().find(|(top, _)| y >= *top);
    hill.map_or(lit, |(top, colour)| mix(*colour, [18.0, 22.0, 30.0], (y - top) / (height * 0.5)))
}

/// A drawing, as a designer would send it.
pub(super) fn drawing() -> Vec<u8> {
    let mut svg = String::from(
        "<svg xmlns='http://www.w3.org/2000/svg' width='900' height='600' viewBox='0 0 900 600'>\
         <defs><linearGradient id='g' x2='0' y2='1'><stop stop-color='#1d7874'/><stop offset='1' stop-color='#071e22'/></linearGradient></defs>\
         <rect width='900' height='600' rx='48' fill='url(#g)'/>",
    );
    for shelf in 0..3 {
        let y = 170 + shelf * 160;
        let _ = write!(svg, "<rect x='90' y='{y}' width='720' height='14' fill='#f4c095'/>");
        for jar in 0..6 {
            let (x, tall) = (110 + jar * 118, 70 + (jar * 37 + shelf * 53) % 50);
            let fill = ["#ee2e31", "#f4c095", "#679289", "#ffe8d6", "#d1495b", "#edae49"][((jar + shelf) % 6) as usize];
            let _ = write!(
                svg,
                "<rect x='{x}' y='{}' width='78' height='{tall}' rx='14' fill='{fill}'/><rect x='{}' y='{}' width='50' height='14' rx='5' fill='#fff'/>",
                y - tall,
                x + 14,
                y - tall - 12
            );
        }
    }
    svg.push_str("</svg>");
    svg.into_bytes()
}

/// A sticker with a transparent background: PNG.
pub(super) fn sticker() -> Vec<u8> {
    let svg = "<svg xmlns='http://www.w3.org/2000/svg' width='700' height='700'><g transform='translate(350 350)'>\
               <circle r='300' fill='#edae49' fill-opacity='.85'/><circle r='300' fill='none' stroke='#fff' stroke-width='24'/>\
               <path d='M-150-60h300v190a40 40 0 0 1-40 40h-220a40 40 0 0 1-40-40z' fill='#d1495b'/>\
               <rect x='-120' y='-130' width='240' height='70' rx='16' fill='#003d5b'/></g></svg>";
    made(svg.as_bytes(), "f_png")
}

fn made(source: &[u8], recipe: &str) -> Vec<u8> {
    let recipe = recipe.parse().expect("a good recipe");
    render(source, &recipe, &RenderOptions::default()).expect("a picture of ours").bytes
}

/// A Windows bitmap of 24 bits, whose rows begin at the bottom.
fn bitmap(width: u32, height: u32, rgb: &[u8]) -> Vec<u8> {
    let row = (width as usize * 3).div_ceil(4) * 4;
    let mut bytes = b"BM".to_vec();
    bytes.extend((54 + row as u32 * height).to_le_bytes());
    bytes.extend([0; 4]);
    for number in [54, 40, width, height] {
        bytes.extend(number.to_le_bytes());
    }
    bytes.extend([1, 0, 24, 0]);
    bytes.extend([0; 24]);
    for line in rgb.chunks(width as usize * 3).rev() {
        let begun = bytes.len();
        line.chunks(3).for_each(|pixel| bytes.extend([pixel[2], pixel[1], pixel[0]]));
        bytes.resize(begun + row, 0);
    }
    bytes
}

/// One picture on the sheet.
pub(super) struct Shown {
    /// Under which heading.
    pub(super) of: String,
    /// A preset or a recipe.
    pub(super) by: String,
    pub(super) content_type: String,
    pub(super) bytes: Vec<u8>,
    /// From the request to the answer's last byte.
    pub(super) took: Duration,
}

/// A page that needs nothing else: each picture stands in it.
pub(super) fn sheet(pictures: &[Shown]) -> Result<String> {
    let mut page = String::from(
        "<!doctype html><meta charset='utf-8'><title>Larder: pictures and their renditions</title><style>\
         body{font:15px/1.5 system-ui,sans-serif;margin:2rem;background:#f6f4ef;color:#222}h1,h2{font-weight:600}\
         section{display:flex;flex-wrap:wrap;gap:1.2rem;align-items:flex-end}figure{margin:0;max-width:30rem}\
         img{max-width:30rem;max-height:22rem;background:repeating-conic-gradient(#ddd 0 25%,#fff 0 50%) 0/20px 20px;border:1px solid #ccc}\
         figcaption{font-size:.85rem;color:#555}code{color:#222}</style><h1>Pictures and their renditions</h1>\
         <p>Each was asked for over HTTP; the time is from the request to its last byte, made anew. Sizes are those on the wire.</p>",
    );
    let mut heading = "";
    for Shown { of, by, content_type, bytes, took } in pictures {
        if heading != of {
            let close = if heading.is_empty() { "" } else { "</section>" };
            write!(page, "{close}<h2>{}</h2><section>", escaped(of))?;
            heading = of;
        }
        let probe = larder_media::probe(bytes)?;
        let shown = probe.shown();
        write!(
            page,
            "<figure><img alt='{by}' src='data:{content_type};base64,{}'><figcaption><code>{by}</code><br>{} · {}×{} · {} · {:.0} ms</figcaption></figure>",
            data_encoding::BASE64.encode(bytes),
            probe.format,
            shown.width,
            shown.height,
            size(bytes.len() as u64),
            took.as_secs_f64() * 1000.0,
            by = escaped(by),
        )?;
    }
    page.push_str("</section>\n");
    Ok(page)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pictures_are_pictures() {
        for (bytes, format, width) in [(landscape(), "jpeg", WIDTH), (drawing(), "svg", 900), (sticker(), "png", 700)] {
            let probe = larder_media::probe(&bytes).unwrap();
            assert_eq!((probe.format.name(), probe.shown().width), (format, width));
        }
    }

    #[test]
    fn a_sheet_needs_nothing_else() {
        let of = "a<b>'s".to_owned();
        let one = Shown {
            of,
            by: "w_10".into(),
            content_type: "image/png".into(),
            bytes: sticker(),
            took: Duration::from_millis(12),
        };
        let page = sheet(&[one]).unwrap();
        assert!(page.contains("a&lt;b>&#39;s") && page.contains("png · 700×700 ·") && page.contains("12 ms"), "{page}");
        assert!(!page.contains("http:") && !page.contains("https:"), "it loads nothing");
    }
}
