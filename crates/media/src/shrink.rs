//! Pixels that come row by row made fewer: each the mean over a square. What is left of a picture that is to be far smaller is resized from those,
//! so that neither it nor the time of a resize is as large as the source.

/// At most so many pixels of a side become one: a row's sums fit 16 bits.
pub(crate) const BY_MAX: u32 = 16;

/// The pixels as they come in: 8 bits a channel, the last one alpha where there is some, not premultiplied.
pub(crate) struct Shrink {
    by: usize,
    channels: usize,
    alpha: bool,
    /// Of each column, the sums of the rows that are not done yet; colours are premultiplied.
    sums: Vec<u16>,
    rows: usize,
    out: Vec<u8>,
}

impl Shrink {
    /// Of rows of `width` pixels, each square of `by` of which becomes one; 1 to [`BY_MAX`].
    pub(crate) fn new(width: usize, channels: usize, alpha: bool, by: usize) -> Self {
        debug_assert!((1..=BY_MAX as usize).contains(&by), "{by}");
        Self { by, channels, alpha, sums: vec![0; width * channels], rows: 0, out: Vec::new() }
    }

    /// Takes the next row.
    pub(crate) fn push(&mut self, row: &[u8]) {
        match (self.alpha, self.channels) {
            (true, 2) => add_premultiplied::<2>(&mut self.sums, row),
            (true, _) => add_premultiplied::<4>(&mut self.sums, row),
            _ => add(&mut self.sums, row),
        }
        self.rows += 1;
        if self.rows == self.by {
            self.flush();
        }
    }

    /// The means, in rows; those at the ends are over fewer pixels.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        if self.rows > 0 {
            self.flush();
        }
        self.out
    }

    fn flush(&mut self) {
        match self.channels {
            1 => self.flush_of::<1>(),
            2 => self.flush_of::<2>(),
            3 => self.flush_of::<3>(),
            _ => self.flush_of::<4>(),
        }
        self.sums.fill(0);
        self.rows = 0;
    }

    fn flush_of<const CHANNELS: usize>(&mut self) {
        for group in self.sums.chunks(self.by * CHANNELS) {
            let count = (group.len() / CHANNELS * self.rows) as u32;
            let mut mean = [0_u32; CHANNELS];
            for sums in group.chunks_exact(CHANNELS) {
                mean.iter_mut().zip(sums).for_each(|(mean, sum)| *mean += u32::from(*sum));
            }
            let alpha = mean[CHANNELS - 1];
            let is_mixed = self.alpha && alpha > 0 && alpha < 255 * count;
            // A division by what is the same for nearly all of them.
            let reciprocal = u64::from(u32::MAX / count) + 1;
            let divided = |sum: u32| ((u64::from(sum + count / 2) * reciprocal) >> 32) as u32;
            let whole = |sum: u32| ((sum * 255 + alpha / 2) / alpha).min(255);
            let (last, colours) = mean.split_last_mut().expect("a pixel has channels");
            colours.iter_mut().for_each(|sum| *sum = if is_mixed { whole(*sum) } else { divided(*sum) });
            *last = divided(*last);
            self.out.extend(mean.map(|value| value as u8));
        }
    }
}

fn add(sums: &mut [u16], row: &[u8]) {
    sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += u16::from(*value));
}

/// Most pixels of a picture with transparency are opaque, or nothing at all: of so many at a time it is looked at first.
const AT_A_TIME: usize = 16;

fn add_premultiplied<const CHANNELS: usize>(sums: &mut [u16], row: &[u8]) {
    for (sums, pixels) in sums.chunks_mut(AT_A_TIME * CHANNELS).zip(row.chunks(AT_A_TIME * CHANNELS)) {
        let alphas = pixels.chunks_exact(CHANNELS).map(|pixel| pixel[CHANNELS - 1]);
        let (all, any) = alphas.fold((255, 0), |(all, any), alpha| (all & alpha, any | alpha));
        match (all, any) {
            (255, _) => add(sums, pixels),
            (_, 0) => {}
            _ => {
                for (sums, pixel) in sums.chunks_exact_mut(CHANNELS).zip(pixels.chunks_exact(CHANNELS)) {
                    let alpha = u16::from(pixel[CHANNELS - 1]);
                    for (sum, colour) in sums[..CHANNELS - 1].iter_mut().zip(pixel) {
                        *sum += divided_by_255(u16::from(*colour) * alpha);
                    }
                    sums[CHANNELS - 1] += alpha;
                }
            }
        }
    }
}

/// Rounded, for what is at most 255 × 255.
fn divided_by_255(value: u16) -> u16 {
    let value = value + 128;
    (value + (value >> 8)) >> 8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pixel_is_the_mean_of_its_square_and_of_fewer_at_the_ends() {
        let mut shrink = Shrink::new(5, 1, false, 2);
        for row in [[0, 10, 20, 30, 7], [10, 20, 30, 40, 8], [1, 3, 5, 7, 9]] {
            shrink.push(&row);
        }
        assert_eq!(shrink.finish(), [10, 30, 8, 2, 6, 9]);
    }

    #[test]
    fn the_colour_under_transparency_does_not_count() {
        let mut shrink = Shrink::new(2, 4, true, 2);
        shrink.push(&[200, 100, 50, 255, 0, 255, 0, 0]);
        shrink.push(&[200, 100, 50, 255, 0, 255, 0, 0]);
        assert_eq!(shrink.finish(), [200, 100, 50, 128]);
        let mut nothing = Shrink::new(1, 2, true, 1);
        nothing.push(&[99, 0]);
        assert_eq!(nothing.finish(), [0, 0]);
    }

    #[test]
    fn the_largest_squares_of_the_brightest_fit() {
        let mut shrink = Shrink::new(16, 3, false, 16);
        (0..16).for_each(|_| shrink.push(&[255; 48]));
        assert_eq!(shrink.finish(), [255; 3]);
    }

    #[test]
    fn every_mean_is_right() {
        for by in 1..=16_usize {
            for value in 0..=255 {
                let mut shrink = Shrink::new(by, 1, false, by);
                (0..by).for_each(|_| shrink.push(&vec![value; by]));
                assert_eq!(shrink.finish(), [value], "{by}");
            }
        }
    }

    #[test]
    fn a_division_by_255_is_rounded() {
        for value in 0..=255 * 255 {
            assert_eq!(divided_by_255(value), ((f64::from(value) / 255.0) + 0.5).floor() as u16, "{value}");
        }
    }
}
