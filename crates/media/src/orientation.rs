//! How the stored pixels are to be turned before anybody looks at them: the eight orientations of EXIF and TIFF.

use crate::geometry::{Region, Size};

/// Where the first stored row and the first stored column belong in the picture as shown, numbered as in EXIF.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Orientation {
    /// 1: as stored.
    #[default]
    Upright = 1,
    /// 2: left and right change places.
    Mirrored = 2,
    /// 3: turned by half.
    Half = 3,
    /// 4: top and bottom change places.
    Flipped = 4,
    /// 5: rows become columns.
    Transposed = 5,
    /// 6: to be turned clockwise by a quarter.
    Quarter = 6,
    /// 7: rows become columns, from the other corner.
    Transversed = 7,
    /// 8: to be turned counter-clockwise by a quarter.
    ThreeQuarters = 8,
}

use Orientation::{Flipped, Half, Mirrored, Quarter, ThreeQuarters, Transposed, Transversed, Upright};

impl Orientation {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 8] = [Upright, Mirrored, Half, Flipped, Transposed, Quarter, Transversed, ThreeQuarters];

    /// The orientation of this number; any number outside 1–8 means upright, as readers have it.
    #[must_use]
    pub fn from_exif(number: u16) -> Self {
        Self::ALL.into_iter().find(|known| *known as u16 == number).unwrap_or_default()
    }

    /// Whether width and height change places.
    #[must_use]
    pub fn swaps_sides(self) -> bool {
        self as u8 >= Transposed as u8
    }

    /// A size as shown from one as stored, and the other way round.
    pub(crate) fn turn(self, size: Size) -> Size {
        if self.swaps_sides() { Size { width: size.height, height: size.width } } else { size }
    }

    /// The stored pixel that is shown at (`x`, `y`) of a picture that is `stored` in memory.
    pub(crate) fn stored_pixel(self, stored: Size, x: u32, y: u32) -> (u32, u32) {
        let (right, bottom) = (stored.width - 1, stored.height - 1);
        match self {
            Upright => (x, y),
            Mirrored => (right - x, y),
            Half => (right - x, bottom - y),
            Flipped => (x, bottom - y),
            Transposed => (y, x),
            Quarter => (y, bottom - x),
            Transversed => (right - y, bottom - x),
            ThreeQuarters => (right - y, x),
        }
    }

    /// The stored region that is shown as `shown`.
    pub(crate) fn stored_region(self, stored: Size, shown: Region) -> Region {
        let Region { left, top, width, height } = shown;
        let (far_x, far_y) = (f64::from(stored.width), f64::from(stored.height));
        let (left, top) = match self {
            Upright => (left, top),
            Mirrored => (far_x - left - width, top),
            Half => (far_x - left - width, far_y - top - height),
            Flipped => (left, far_y - top - height),
            Transposed => (top, left),
            Quarter => (top, far_y - left - width),
            Transversed => (far_x - top - height, far_y - left - width),
            ThreeQuarters => (far_x - top - height, left),
        };
        let (width, height) = if self.swaps_sides() { (height, width) } else { (width, height) };
        Region { left: left.max(0.0), top: top.max(0.0), width, height }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORED: Size = Size { width: 4, height: 3 };

    #[test]
    fn the_first_stored_pixel_is_shown_in_the_corner_that_exif_says() {
        let corners = [(0, 0), (3, 0), (3, 2), (0, 2), (0, 0), (2, 0), (2, 3), (0, 3)];
        for (orientation, (x, y)) in Orientation::ALL.into_iter().zip(corners) {
            assert_eq!(orientation.stored_pixel(STORED, x, y), (0, 0), "{orientation:?}");
        }
    }

    #[test]
    fn a_region_of_one_pixel_turns_as_the_pixel_does() {
        for orientation in Orientation::ALL {
            let Size { width, height } = orientation.turn(STORED);
            for (x, y) in (0..width).flat_map(|x| (0..height).map(move |y| (x, y))) {
                let shown = Region { left: x.into(), top: y.into(), width: 1.0, height: 1.0 };
                let stored = orientation.stored_region(STORED, shown);
                let (left, top) = orientation.stored_pixel(STORED, x, y);
                assert_eq!((stored.left, stored.top), (left.into(), top.into()), "{orientation:?} {x} {y}");
            }
        }
    }

    #[test]
    fn an_unknown_number_is_upright() {
        assert_eq!([0, 9, 700].map(Orientation::from_exif), [Upright; 3]);
        assert_eq!(Orientation::from_exif(6), Quarter);
    }
}
