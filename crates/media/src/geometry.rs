//! Sizes and regions: which part of a picture becomes which size. Nothing here looks at a pixel.

use crate::{
    Orientation,
    recipe::{Fit, Gravity, Recipe},
};

/// Width and height in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Pixels from left to right.
    pub width: u32,
    /// Pixels from top to bottom.
    pub height: u32,
}

impl Size {
    /// The number of pixels.
    #[must_use]
    pub fn pixels(self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }

    /// The longer side in pixels.
    #[must_use]
    pub fn longest(self) -> u32 {
        self.width.max(self.height)
    }

    /// The size of a picture of which `by` pixels along each side become one, the last ones perhaps fewer.
    pub(crate) fn shrunk(self, by: u32) -> Self {
        Self { width: self.width.div_ceil(by), height: self.height.div_ceil(by) }
    }

    /// This size times `scale`, rounded, no side below one pixel.
    pub(crate) fn scaled(self, scale: f64) -> Self {
        let side = |length: u32| (f64::from(length) * scale).round().max(1.0) as u32;
        Self { width: side(self.width), height: side(self.height) }
    }
}

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

/// A part of a picture, in pixels, which need not be whole ones.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Region {
    pub(crate) left: f64,
    pub(crate) top: f64,
    pub(crate) width: f64,
    pub(crate) height: f64,
}

impl Region {
    pub(crate) fn whole(size: Size) -> Self {
        Self { left: 0.0, top: 0.0, width: size.width.into(), height: size.height.into() }
    }

    pub(crate) fn is_whole(self, size: Size) -> bool {
        self == Self::whole(size)
    }

    /// The same part of a picture of which `by` pixels along each side became one.
    pub(crate) fn shrunk(self, by: u32) -> Self {
        let by = f64::from(by);
        Self { left: self.left / by, top: self.top / by, width: self.width / by, height: self.height / by }
    }

    /// The part of this region that lies inside a picture of this size; never empty, and never outside by a rounding.
    pub(crate) fn inside(self, size: Size) -> Self {
        let side = |start: f64, length: f64, most: u32| {
            let most = f64::from(most);
            let start = start.clamp(0.0, most - 1e-6);
            let length = length.clamp(1e-6, most - start);
            (start, if start + length > most { length * (1.0 - 1e-9) } else { length })
        };
        let (left, width) = side(self.left, self.width, size.width);
        let (top, height) = side(self.top, self.height, size.height);
        Self { left, top, width, height }
    }

    /// The largest region inside this one with the shape `width` to `height`, as near to `focus` as its edges let it.
    fn with_shape(self, width: f64, height: f64, focus: Point) -> Self {
        let scale = (self.width / width).min(self.height / height);
        let (width, height) = (width * scale, height * scale);
        let place = |start: f64, length: f64, wanted: f64, focus: f64| {
            (focus - wanted / 2.0).clamp(start, start + length - wanted)
        };
        Self {
            left: place(self.left, self.width, width.min(self.width), focus.x),
            top: place(self.top, self.height, height.min(self.height), focus.y),
            width: width.min(self.width),
            height: height.min(self.height),
        }
    }
}

/// A point of a picture: pixels, or fractions where it says so.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// From the left.
    pub x: f64,
    /// From the top.
    pub y: f64,
}

impl Point {
    /// The middle, in fractions.
    pub const CENTER: Self = Self { x: 0.5, y: 0.5 };

    /// The same point with both fractions in 0–1; what is no number is the middle.
    pub(crate) fn clamped(self) -> Self {
        let fraction = |value: f64| if value.is_nan() { 0.5 } else { value.clamp(0.0, 1.0) };
        Self { x: fraction(self.x), y: fraction(self.y) }
    }
}

/// Which part of the stored pixels becomes which size, and the canvas that it is put on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Layout {
    /// The part of the stored picture that is kept.
    pub(crate) region: Region,
    /// What that part is resized to, still as stored.
    pub(crate) stored: Size,
    /// The same, as shown.
    pub(crate) shown: Size,
    /// The canvas, where it is larger than the picture, and the fractions of the free space left of and above the picture.
    pub(crate) canvas: Option<(Size, Point)>,
}

impl Layout {
    /// How many pixels of the picture become one along each side, at least.
    pub(crate) fn reduction(&self) -> f64 {
        let across = self.region.width / f64::from(self.stored.width);
        across.min(self.region.height / f64::from(self.stored.height))
    }
}

/// Lays a picture of `stored` pixels out by the recipe. `focus` is in fractions of the picture as shown.
pub(crate) fn lay_out(recipe: &Recipe, stored: Size, orientation: Orientation, focus: Point) -> Layout {
    let whole = orientation.turn(stored);
    let cropped = crop(recipe, whole);
    let focus = Point { x: focus.x * f64::from(whole.width), y: focus.y * f64::from(whole.height) };
    let (region, shown) = fit(recipe, cropped, focus);
    let region = orientation.stored_region(stored, region);
    Layout { region, stored: orientation.turn(shown), shown, canvas: canvas(recipe, shown) }
}

/// The part that `crop` keeps, in whole pixels, so that what is not resized is not blurred either.
pub(crate) fn crop(recipe: &Recipe, whole: Size) -> Region {
    let Some(crop) = recipe.crop else { return Region::whole(whole) };
    let side = |start: f64, length: f64, of: u32| {
        let start = (start * f64::from(of)).round().min(f64::from(of - 1));
        (start, (length * f64::from(of)).round().clamp(1.0, f64::from(of) - start))
    };
    let (left, width) = side(crop.left.get(), crop.width.get(), whole.width);
    let (top, height) = side(crop.top.get(), crop.height.get(), whole.height);
    Region { left, top, width, height }
}

/// The part that `fit` keeps and the size that it becomes. Never more pixels than there are.
fn fit(recipe: &Recipe, cropped: Region, focus: Point) -> (Region, Size) {
    let (width, height) = (recipe.width_wanted(), recipe.height_wanted());
    match (width, height, recipe.fit) {
        (None, None, _) => (cropped, whole_pixels(cropped, 1.0)),
        (Some(width), Some(height), Fit::Cover) => {
            let region = cropped.with_shape(width, height, focus);
            (region, whole_pixels(region, (width / region.width).min(1.0)))
        }
        (Some(width), Some(height), Fit::Fill) => (
            cropped,
            whole_pixels(
                Region { width: width.min(cropped.width), height: height.min(cropped.height), ..cropped },
                1.0,
            ),
        ),
        _ => {
            let scale = |wanted: Option<f64>, there: f64| wanted.map_or(1.0, |wanted| wanted / there);
            let scale = scale(width, cropped.width).min(scale(height, cropped.height)).min(1.0);
            (cropped, whole_pixels(cropped, scale))
        }
    }
}

fn whole_pixels(region: Region, scale: f64) -> Size {
    let side = |length: f64| (length * scale).round().max(1.0) as u32;
    Size { width: side(region.width), height: side(region.height) }
}

/// The canvas of `contain`, where the picture does not fill it.
fn canvas(recipe: &Recipe, picture: Size) -> Option<(Size, Point)> {
    let (Some(width), Some(height), Fit::Contain) = (recipe.width_wanted(), recipe.height_wanted(), recipe.fit) else {
        return None;
    };
    let canvas = Size { width: width.round() as u32, height: height.round() as u32 };
    (canvas != picture).then_some((canvas, recipe.gravity.anchor().unwrap_or(Point::CENTER)))
}

impl Gravity {
    /// The point in fractions that the direction names; `None` where it depends on the picture.
    pub(crate) fn anchor(self) -> Option<Point> {
        let (x, y) = match self {
            Self::Center => (0.5, 0.5),
            Self::North => (0.5, 0.0),
            Self::NorthEast => (1.0, 0.0),
            Self::East => (1.0, 0.5),
            Self::SouthEast => (1.0, 1.0),
            Self::South => (0.5, 1.0),
            Self::SouthWest => (0.0, 1.0),
            Self::West => (0.0, 0.5),
            Self::NorthWest => (0.0, 0.0),
            Self::Focal | Self::Smart => return None,
        };
        Some(Point { x, y })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lay(recipe: &str, width: u32, height: u32) -> Layout {
        let recipe: Recipe = recipe.parse().expect("the test's recipe is right");
        let focus = recipe.gravity.anchor().unwrap_or(Point::CENTER);
        lay_out(&recipe, Size { width, height }, Orientation::Upright, focus)
    }

    fn shown(recipe: &str, width: u32, height: u32) -> (u32, u32) {
        let Size { width, height } = lay(recipe, width, height).shown;
        (width, height)
    }

    #[test]
    fn each_fit_gives_the_size_that_its_name_says() {
        let cases = [
            ("", (4000, 3000)),
            ("w_400", (400, 300)),
            ("h_300", (400, 300)),
            ("w_400,h_400", (400, 300)),
            ("w_400,h_400,fit_contain", (400, 300)),
            ("w_400,h_400,fit_cover", (400, 400)),
            ("w_400,h_400,fit_fill", (400, 400)),
            ("w_400,dpr_2", (800, 600)),
            ("w_400,crop_0:0:0.5:1", (400, 600)),
        ];
        for (recipe, size) in cases {
            assert_eq!(shown(recipe, 4000, 3000), size, "{recipe}");
        }
    }

    #[test]
    fn nothing_is_enlarged() {
        let cases = [
            ("w_400", (40, 30)),
            ("w_400,h_400,fit_cover", (30, 30)),
            ("w_400,h_20,fit_fill", (40, 20)),
            ("w_400,h_400,fit_contain", (40, 30)),
        ];
        for (recipe, size) in cases {
            assert_eq!(shown(recipe, 40, 30), size, "{recipe}");
        }
    }

    #[test]
    fn contain_has_the_canvas_that_was_asked_for() {
        let canvas = lay("w_400,h_400,fit_contain,g_south", 4000, 3000).canvas;
        assert_eq!(canvas, Some((Size { width: 400, height: 400 }, Point { x: 0.5, y: 1.0 })));
        assert_eq!(lay("w_400,h_300,fit_contain", 4000, 3000).canvas, None);
    }

    #[test]
    fn gravity_says_which_part_covers() {
        for (gravity, left) in [("west", 0.0), ("center", 500.0), ("east", 1000.0), ("northeast", 1000.0)] {
            let region = lay(&format!("w_300,h_300,fit_cover,g_{gravity}"), 4000, 3000).region;
            assert_eq!(region, Region { left, top: 0.0, width: 3000.0, height: 3000.0 }, "{gravity}");
        }
    }

    #[test]
    fn a_side_never_becomes_nothing() {
        assert_eq!(shown("w_10", 16_000, 3), (10, 1));
        assert_eq!(shown("crop_0.9999:0.9999:0.0001:0.0001", 3, 3), (1, 1));
    }

    #[test]
    fn a_turned_picture_is_laid_out_as_it_is_shown() {
        let recipe: Recipe = "w_300,crop_0:0:1:0.25".parse().expect("right");
        let stored = Size { width: 4000, height: 3000 };
        let layout = lay_out(&recipe, stored, Orientation::Quarter, Point::CENTER);
        assert_eq!(layout.region, Region { left: 0.0, top: 0.0, width: 1000.0, height: 3000.0 });
        assert_eq!((layout.shown, layout.stored), (Size { width: 300, height: 100 }, Size { width: 100, height: 300 }));
    }
}
