//! Inverse cosine transforms of the low frequencies of a block: to one sample, to 2 x 2, to 4 x 4.
//!
//! A block of 8 x 8 of which only the lowest N x N frequencies are transformed, by the transform of that size, is the block
//! scaled to N x N. Why not the mean of 8/N x 8/N samples of the whole transform: it needs all coefficients and is no better.

use super::{huffman::LowFrequencies, tables::Factors};

/// Quantisation factors of the low frequencies, placed as [`LowFrequencies`] are.
pub(super) type LowFactors = [f32; 16];

/// The zigzag index of each place in rows of four.
const ZIGZAG: [usize; 16] = [0, 1, 5, 6, 2, 4, 7, 13, 3, 8, 12, 17, 9, 11, 18, 24];

/// The factors that [`quarter`] and [`half`] need.
pub(super) fn low_factors(factors: &Factors) -> LowFactors {
    ZIGZAG.map(|index| f32::from(factors[index]))
}

/// The mean of a block whose DC coefficient is `dc`, quantised by `factor`.
#[inline(always)]
pub(super) fn eighth(dc: i16, factor: i32) -> u8 {
    (((i32::from(dc) * factor + 4) >> 3) + 128).clamp(0, 255) as u8
}

/// A block at a quarter of its size, of its lowest 2 x 2 frequencies.
#[inline(always)]
pub(super) fn quarter(block: &LowFrequencies, factors: &LowFactors) -> [[u8; 2]; 2] {
    let frequency = |place: usize| f32::from(block[place]) * factors[place];
    let (mean, across, down, both) = (frequency(0), frequency(1), frequency(4), frequency(5));
    let (left, right) = (mean + across, mean - across);
    let (left_fall, right_fall) = (down + both, down - both);
    [[sample(left + left_fall), sample(right + right_fall)], [sample(left - left_fall), sample(right - right_fall)]]
}

/// A block at half its size, of its lowest 4 x 4 frequencies.
#[inline(always)]
pub(super) fn half(block: &LowFrequencies, factors: &LowFactors) -> [[u8; 4]; 4] {
    let row = |start: usize| {
        let frequency = |n: usize| f32::from(block[start + n]) * factors[start + n];
        Four([frequency(0), frequency(1), frequency(2), frequency(3)])
    };
    let columns = transform([row(0), row(4), row(8), row(12)]);
    let [top, upper, lower, bottom] = transpose(transform(transpose(columns)));
    [top.samples(), upper.samples(), lower.samples(), bottom.samples()]
}

/// What a transform leaves, eight times too large and around zero, as a sample.
#[inline(always)]
fn sample(value: f32) -> u8 {
    (value * 0.125 + 128.5).clamp(0.0, 255.0) as u8
}

/// Four values that are transformed alike: the compiler makes one vector of them, as long as they are written out (it doesn't
/// see through `map`).
#[derive(Clone, Copy)]
struct Four([f32; 4]);

impl Four {
    #[inline(always)]
    fn plus(self, other: Four) -> Four {
        let (Four([a, b, c, d]), Four([e, f, g, h])) = (self, other);
        Four([a + e, b + f, c + g, d + h])
    }

    #[inline(always)]
    fn minus(self, other: Four) -> Four {
        let (Four([a, b, c, d]), Four([e, f, g, h])) = (self, other);
        Four([a - e, b - f, c - g, d - h])
    }

    #[inline(always)]
    fn times(self, factor: f32) -> Four {
        let Four([a, b, c, d]) = self;
        Four([a * factor, b * factor, c * factor, d * factor])
    }

    #[inline(always)]
    fn samples(self) -> [u8; 4] {
        let Four([a, b, c, d]) = self;
        [sample(a), sample(b), sample(c), sample(d)]
    }
}

/// The inverse transform of four frequencies, of four columns at once.
#[inline(always)]
fn transform(frequencies: [Four; 4]) -> [Four; 4] {
    /// The square root of 2, times the cosine of an eighth and of three eighths of pi.
    const COSINE_1: f32 = 1.306_563;
    const COSINE_3: f32 = 0.541_196_1;
    let [f0, f1, f2, f3] = frequencies;
    let (even_outer, even_inner) = (f0.plus(f2), f0.minus(f2));
    let odd_outer = f1.times(COSINE_1).plus(f3.times(COSINE_3));
    let odd_inner = f1.times(COSINE_3).minus(f3.times(COSINE_1));
    [even_outer.plus(odd_outer), even_inner.plus(odd_inner), even_inner.minus(odd_inner), even_outer.minus(odd_outer)]
}

#[inline(always)]
fn transpose([a, b, c, d]: [Four; 4]) -> [Four; 4] {
    let column = |n: usize| Four([a.0[n], b.0[n], c.0[n], d.0[n]]);
    [column(0), column(1), column(2), column(3)]
}
