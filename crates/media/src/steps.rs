//! What happens to pixels between decoder and encoder, as one list.

use crate::{
    Orientation, Result, Size,
    colour::Conversion,
    decode::Source,
    geometry::Layout,
    pixels::Pixels,
    recipe::{Colour, Flip, Recipe, Rotation},
    resample::Samples,
};

/// What one rendition does to the pixels of each of its frames.
pub(crate) struct Plan {
    pub(crate) recipe: Recipe,
    pub(crate) orientation: Orientation,
    pub(crate) layout: Layout,
    /// How many pixels of the picture, along each side, one of those that are decoded stands for.
    pub(crate) shrink: u32,
    /// What those are.
    pub(crate) samples: Samples,
    pub(crate) conversion: Option<Conversion>,
    /// What lies under the picture; `None` where it may stay transparent.
    pub(crate) background: Option<Colour>,
}

type Step = fn(Pixels, &Plan) -> Pixels;

/// Every step, in order. Cropping and resizing are one step and come first, because all others are cheaper on the small picture; the
/// layout says where the crop lies in the picture as it is stored, before it is turned.
const STEPS: [(&str, Step); 9] = [
    ("crop and resize", crop_and_resize),
    ("convert to sRGB", to_srgb),
    ("orient", |pixels, plan| pixels.turned(plan.orientation)),
    ("put on the canvas", put_on_canvas),
    ("rotate", |pixels, plan| pixels.turned(plan.recipe.rotation.orientation())),
    ("flip", flip),
    ("blur", blur),
    ("sharpen", sharpen),
    ("flatten", flatten),
];

/// Takes the pixels of a frame through every step.
///
/// # Errors
/// [`crate::Error::Deadline`], looked at before each step.
pub(crate) fn run(pixels: Pixels, plan: &Plan, source: &Source<'_>) -> Result<Pixels> {
    STEPS.iter().try_fold(pixels, |pixels, (_, step)| source.in_time().map(|()| step(pixels, plan)))
}

impl Plan {
    /// The size that all frames have in the end.
    pub(crate) fn size(&self) -> Size {
        let size = self.layout.canvas.map_or(self.layout.shown, |(canvas, _)| canvas);
        self.recipe.rotation.orientation().turn(size)
    }
}

fn crop_and_resize(pixels: Pixels, plan: &Plan) -> Pixels {
    pixels.resized(plan.layout.region.shrunk(plan.shrink), plan.layout.stored, plan.samples)
}

fn to_srgb(pixels: Pixels, plan: &Plan) -> Pixels {
    match &plan.conversion {
        Some(conversion) => conversion.apply(pixels),
        None => pixels,
    }
}

fn put_on_canvas(pixels: Pixels, plan: &Plan) -> Pixels {
    match plan.layout.canvas {
        Some((canvas, anchor)) => pixels.on_canvas(canvas, anchor, plan.background),
        None => pixels,
    }
}

fn flip(pixels: Pixels, plan: &Plan) -> Pixels {
    pixels.turned(match plan.recipe.flip {
        Flip::None => Orientation::Upright,
        Flip::Horizontal => Orientation::Mirrored,
        Flip::Vertical => Orientation::Flipped,
        Flip::Both => Orientation::Half,
    })
}

fn blur(pixels: Pixels, plan: &Plan) -> Pixels {
    let sigma = plan.recipe.blur.get();
    if sigma > 0.0 { pixels.blurred(sigma) } else { pixels }
}

fn sharpen(pixels: Pixels, plan: &Plan) -> Pixels {
    let sigma = plan.recipe.sharpen.get();
    if sigma > 0.0 { pixels.sharpened(sigma) } else { pixels }
}

fn flatten(pixels: Pixels, plan: &Plan) -> Pixels {
    match plan.background {
        Some(background) => pixels.flattened(background),
        None => pixels,
    }
}

impl Rotation {
    /// The orientation that is undone by this rotation.
    fn orientation(self) -> Orientation {
        match self {
            Self::None => Orientation::Upright,
            Self::Quarter => Orientation::Quarter,
            Self::Half => Orientation::Half,
            Self::ThreeQuarters => Orientation::ThreeQuarters,
        }
    }
}
