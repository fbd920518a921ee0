//! Where to look: the part of a picture with most edges and most colour, for `g_smart`. The same pixels always give the same part.

use crate::{
    Orientation, Size,
    geometry::{Point, Region},
    pixels::Pixels,
    resample::Samples,
};

/// The longer side of the copy that is looked at: enough to tell a face from a wall.
const LOOKED_AT: u32 = 64;

/// The middle of the window with the shape `width` to `height` that holds most, in fractions of `region`, which is a part of the
/// stored picture; the answer is as shown.
pub(crate) fn focus(stored: &Pixels, region: Region, orientation: Orientation, shape: (f64, f64)) -> Point {
    let whole = Size { width: region.width.ceil() as u32, height: region.height.ceil() as u32 };
    let small = whole.scaled((f64::from(LOOKED_AT) / f64::from(whole.longest())).min(1.0));
    let looked_at = stored.sampled(region, small, Samples::Points).turned(orientation);
    let Size { width, height } = looked_at.size();
    let weights = weights(&looked_at);
    let columns: Vec<u64> = (0..width as usize).map(|x| weights.iter().skip(x).step_by(width as usize).sum()).collect();
    let rows: Vec<u64> = weights.chunks(width as usize).map(|row| row.iter().sum()).collect();
    let scale = (f64::from(width) / shape.0).min(f64::from(height) / shape.1);
    Point { x: best_middle(&columns, shape.0 * scale), y: best_middle(&rows, shape.1 * scale) }
}

/// How much there is to see at each pixel: the step to its neighbours in lightness, and a part of its colourfulness.
fn weights(pixels: &Pixels) -> Vec<u64> {
    let width = pixels.size().width as usize;
    let seen: Vec<(i64, u64)> = pixels.iter().map(|pixel| (lightness(pixel), colourfulness(pixel))).collect();
    let step = |at: usize, other: usize| seen.get(other).map_or(0, |there| there.0.abs_diff(seen[at].0));
    let weight = |at: usize| {
        let right = if (at + 1).is_multiple_of(width) { 0 } else { step(at, at + 1) };
        4 * (right + step(at, at + width)) + seen[at].1 / 4
    };
    (0..seen.len()).map(weight).collect()
}

fn lightness(pixel: &[u8]) -> i64 {
    let [red, green, blue] = [pixel[0], pixel[1], pixel[2]].map(i64::from);
    let light = (299 * red + 587 * green + 114 * blue) / 1000;
    light * alpha(pixel) as i64 / 255
}

fn colourfulness(pixel: &[u8]) -> u64 {
    let [red, green, blue] = [pixel[0], pixel[1], pixel[2]];
    let spread = red.max(green).max(blue) - red.min(green).min(blue);
    u64::from(spread) * alpha(pixel) / 255
}

fn alpha(pixel: &[u8]) -> u64 {
    pixel.get(3).map_or(255, |alpha| u64::from(*alpha))
}

/// The middle, as a fraction, of the window of this length with the largest sum; of several the most central.
fn best_middle(sums: &[u64], length: f64) -> f64 {
    let count = sums.len();
    let window = (length.round() as usize).clamp(1, count);
    let central = |start: usize| (2 * start + window).abs_diff(count);
    let sum = |start: usize| sums[start..start + window].iter().sum::<u64>();
    let best = (0..=count - window).max_by_key(|start| (sum(*start), std::cmp::Reverse(central(*start)), *start));
    let start = best.expect("there is a window, since none is longer than all");
    if window == count { 0.5 } else { (start as f64 + window as f64 / 2.0) / count as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = Size { width: 200, height: 100 };

    /// Grey with a chequered square of 20 pixels at `left`.
    fn picture(left: u32) -> Pixels {
        let pixel = |x: u32, y: u32| {
            let inside = (left..left + 20).contains(&x) && (40..60).contains(&y);
            if inside && (x / 4 + y / 4).is_multiple_of(2) { [250, 40, 40] } else { [120; 3] }
        };
        let bytes = (0..100).flat_map(|y| (0..200).map(move |x| (x, y))).flat_map(|(x, y)| pixel(x, y)).collect();
        Pixels::new(SIZE, false, bytes).expect("fits")
    }

    #[test]
    fn the_window_holds_what_there_is_to_see() {
        for left in [0, 30, 120, 180] {
            let Point { x, .. } = focus(&picture(left), Region::whole(SIZE), Orientation::Upright, (1.0, 1.0));
            let window = (x * 200.0 - 50.0, x * 200.0 + 50.0);
            assert!(window.0 <= f64::from(left) + 3.0 && window.1 >= f64::from(left) + 17.0, "{left}: {window:?}");
        }
    }

    #[test]
    fn a_picture_without_anything_to_see_is_cut_in_the_middle() {
        let plain = Pixels::filled(SIZE, Some(crate::recipe::Colour([9; 3])));
        let Point { x, y } = focus(&plain, Region::whole(SIZE), Orientation::Upright, (1.0, 1.0));
        assert_eq!((x, y), (0.5, 0.5));
    }

    #[test]
    fn the_focus_is_in_the_picture_as_it_is_shown() {
        let seen = focus(&picture(180), Region::whole(SIZE), Orientation::Mirrored, (1.0, 1.0));
        assert!(seen.x < 0.4, "{seen:?}");
        let turned = focus(&picture(180), Region::whole(SIZE), Orientation::Quarter, (1.0, 1.0));
        assert!(turned.y > 0.6, "{turned:?}");
    }
}
