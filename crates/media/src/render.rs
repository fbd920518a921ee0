//! From a picture's bytes and a recipe to the rendition's bytes: probe, limits, decode, steps, encode. What is done to pixels is the
//! list in `steps`.

use crate::{
    Error, Format, Limits, Point, Probe, Recipe, Result, Size,
    colour::Conversion,
    decode::{Decoded, Source},
    encode,
    geometry::{self, lay_out},
    pixels::Pixels,
    planar::{self, Planar},
    recipe::{Colour, Fit, FormatChoice, Gravity},
    resample::Samples,
    smart, steps,
    steps::Plan,
    strip,
};

/// The version of what is done to pictures. It is raised when the same picture and recipe come out as other bytes, so that who keeps
/// renditions by it makes them anew.
pub const PIPELINE: u32 = 1;

/// What the recipe does not say.
#[derive(Clone, Copy)]
pub struct RenderOptions<'a> {
    /// How large picture and rendition may be.
    pub limits: Limits,
    /// The point for `g_focal`, in fractions of the picture as shown; the middle where there is none.
    pub focal: Option<Point>,
    /// The formats besides JPEG, PNG and GIF that whoever asked can show, for `f_auto`. Leave AVIF out to have WebP meanwhile.
    pub accepted: &'a [Format],
    /// Asked between steps and while decoding and encoding where that can be broken off: whether the deadline is over.
    pub is_over: &'a dyn Fn() -> bool,
}

impl Default for RenderOptions<'_> {
    /// The default limits, no focal point, nothing accepted beyond what everybody shows, and no deadline.
    fn default() -> Self {
        Self { limits: Limits::default(), focal: None, accepted: &[], is_over: &|| false }
    }
}

/// A picture made by a recipe.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rendition {
    /// The file, without metadata.
    pub bytes: Vec<u8>,
    /// Its format.
    pub format: Format,
    /// Its size in pixels.
    pub size: Size,
    /// How many frames it has; 1 for a still.
    pub frames: u32,
    /// Whether the source ends too early: what was there is shown, the rest is grey.
    pub truncated: bool,
    /// Whether the bytes are the source's own, less its metadata, because they are fewer than those of the encoder.
    pub is_source: bool,
}

impl std::fmt::Debug for Rendition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { bytes, format, size, frames, .. } = self;
        write!(f, "Rendition({format}, {size}, {frames} frames, {} bytes)", bytes.len())
    }
}

/// Makes a rendition of a picture.
///
/// The result is turned as it is to be looked at, in sRGB, without metadata, and never larger in pixels than the source (only the
/// canvas of `contain` is). It is not larger in bytes than the source either where that can be had honestly: if the recipe changes
/// no pixel, the source has the format asked for, is upright and in sRGB, then its own bytes without metadata are the rendition as
/// soon as they are fewer. Another format that was asked for by name is delivered, and may be larger.
///
/// Holds the decoded source (at most `limits.decoded_bytes_max`, twice that where a decoder has another layout), for an animation
/// three frames of it at a time.
///
/// # Errors
/// Any of [`Error`]; the limits are checked before anything is decoded.
pub fn render(source: &[u8], recipe: &Recipe, options: &RenderOptions<'_>) -> Result<Rendition> {
    let source = Source::open(source, &options.limits, options.is_over)?;
    match animated_format(recipe, &source.probe, options.accepted) {
        Some(format) => animation(&source, recipe, options, format),
        None => still(&source, recipe, options),
    }
}

fn still(source: &Source<'_>, recipe: &Recipe, options: &RenderOptions<'_>) -> Result<Rendition> {
    let drawn = drawn_size(recipe, source);
    if let Some(rendition) = planar(source, recipe, options)? {
        return Ok(rendition);
    }
    let layout = lay_out(recipe, drawn, source.probe.orientation, Point::CENTER);
    let Decoded { pixels, profile, shrink, samples, truncated } = source.still(drawn, layout.reduction())?;
    let format = still_format(recipe, &source.probe, options.accepted, pixels.has_alpha());
    let plan = plan(source, (drawn, &pixels, (shrink, samples)), profile.as_deref(), recipe, options, format)?;
    let done = steps::run(pixels, &plan, source)?.without_idle_alpha();
    source.in_time()?;
    let encoded = encode::still(done, format, recipe.quality, options.is_over)?;
    let rendition = Rendition { bytes: encoded, format, size: plan.size(), frames: 1, truncated, is_source: false };
    Ok(match own_bytes(source, &plan, format) {
        Some((format, bytes)) if !truncated && bytes.len() < rendition.bytes.len() => {
            Rendition { bytes, format, is_source: true, ..rendition }
        }
        _ => rendition,
    })
}

/// A photograph that is made smaller and nothing else, past the pixels of the others; `None` where that does not do.
fn planar(source: &Source<'_>, recipe: &Recipe, options: &RenderOptions<'_>) -> Result<Option<Rendition>> {
    if !matches!(source.probe.format, Format::Jpeg | Format::Webp) {
        return Ok(None);
    }
    let format = still_format(recipe, &source.probe, options.accepted, false);
    let focus = match recipe.gravity {
        Gravity::Focal => options.focal.unwrap_or(Point::CENTER).clamped(),
        named => named.anchor().unwrap_or(Point::CENTER),
    };
    let layout = lay_out(recipe, source.probe.stored, source.probe.orientation, focus);
    options.limits.check_rendition(layout.shown, format)?;
    let Some(picture) = planar::render(source, recipe, &layout, format)? else { return Ok(None) };
    source.in_time()?;
    let bytes = encode::planar(&picture, format, recipe.quality, options.is_over)?;
    let Planar { size, truncated, .. } = picture;
    Ok(Some(Rendition { bytes, format, size, frames: 1, truncated, is_source: false }))
}

fn animation(source: &Source<'_>, recipe: &Recipe, options: &RenderOptions<'_>, format: Format) -> Result<Rendition> {
    options.limits.check_frames(source.probe.frames)?;
    let mut frames = source.frames()?.peekable();
    let plan = match frames.peek() {
        Some(Ok(first)) => {
            plan(source, (first.pixels.size(), &first.pixels, (1, Samples::Points)), None, recipe, options, format)?
        }
        Some(Err(fault)) => return Err(fault.clone()),
        None => return Err(Error::corrupt(source.probe.format, "it has no frame")),
    };
    let mut encoder = encode::Animation::new(plan.size(), format, recipe.quality)?;
    let mut count = 0;
    for frame in frames {
        let frame = frame?;
        options.limits.check_frames(count + 1)?;
        encoder.add(steps::run(frame.pixels, &plan, source)?, frame.delay_ms)?;
        count += 1;
    }
    let bytes = encoder.finish()?;
    Ok(Rendition { bytes, format, size: plan.size(), frames: count, truncated: false, is_source: false })
}

/// Lays the rendition of a picture of this size out, and checks its size before it is made. The pixels are those of the picture, or
/// the means of so many along each side.
fn plan(
    source: &Source<'_>,
    (size, pixels, (shrink, samples)): (Size, &Pixels, (u32, Samples)),
    profile: Option<&[u8]>,
    recipe: &Recipe,
    options: &RenderOptions<'_>,
    format: Format,
) -> Result<Plan> {
    let orientation = source.probe.orientation;
    let focus = match recipe.gravity {
        Gravity::Focal => options.focal.unwrap_or(Point::CENTER).clamped(),
        Gravity::Smart => smart_focus(recipe, pixels, source),
        named => named.anchor().unwrap_or(Point::CENTER),
    };
    let background = recipe.background.or_else(|| (!format.has_alpha()).then_some(Colour::WHITE));
    let layout = lay_out(recipe, size, orientation, focus);
    let plan = Plan {
        recipe: *recipe,
        orientation,
        layout,
        shrink,
        samples,
        conversion: profile.and_then(Conversion::from_profile),
        background,
    };
    options.limits.check_rendition(plan.size(), format)?;
    Ok(plan)
}

/// The middle of what there is to see, for a recipe that cuts something off.
fn smart_focus(recipe: &Recipe, pixels: &Pixels, source: &Source<'_>) -> Point {
    let (Some(width), Some(height), Fit::Cover) = (recipe.width_wanted(), recipe.height_wanted(), recipe.fit) else {
        return Point::CENTER;
    };
    let orientation = source.probe.orientation;
    let whole = orientation.turn(pixels.size());
    let cropped = geometry::crop(recipe, whole);
    let stored = orientation.stored_region(pixels.size(), cropped);
    let Point { x, y } = smart::focus(pixels, stored, orientation, (width, height));
    let fraction = |start: f64, length: f64, at: f64, of: u32| (start + at * length) / f64::from(of);
    Point {
        x: fraction(cropped.left, cropped.width, x, whole.width),
        y: fraction(cropped.top, cropped.height, y, whole.height),
    }
}

/// The format of an animation, where source and recipe want one.
fn animated_format(recipe: &Recipe, probe: &Probe, accepted: &[Format]) -> Option<Format> {
    let format = match recipe.format {
        FormatChoice::Is(format) => format,
        FormatChoice::Source => probe.format,
        FormatChoice::Auto if accepted.contains(&Format::Webp) => Format::Webp,
        FormatChoice::Auto => Format::Gif,
    };
    (probe.is_animated() && probe.format.animates() && format.animates()).then_some(format)
}

/// The format of a still.
fn still_format(recipe: &Recipe, probe: &Probe, accepted: &[Format], alpha: bool) -> Format {
    let common = if alpha && recipe.background.is_none() { Format::Png } else { Format::Jpeg };
    match recipe.format {
        FormatChoice::Is(format) => format,
        FormatChoice::Source if probe.format.is_writable() => probe.format,
        FormatChoice::Source if matches!(probe.format, Format::Svg | Format::Ico) => Format::Png,
        FormatChoice::Source => common,
        FormatChoice::Auto => {
            [Format::Avif, Format::Webp].into_iter().find(|format| accepted.contains(format)).unwrap_or(common)
        }
    }
}

/// The size that a drawing is drawn at: what the recipe needs of it, as far as the limits let it. Other pictures have their size.
fn drawn_size(recipe: &Recipe, source: &Source<'_>) -> Size {
    let natural = source.probe.stored;
    if source.probe.format != Format::Svg {
        return natural;
    }
    let cropped = geometry::crop(recipe, natural);
    let needs = |wanted: Option<f64>, there: f64| wanted.map(|wanted| wanted / there);
    let (across, down) = (needs(recipe.width_wanted(), cropped.width), needs(recipe.height_wanted(), cropped.height));
    let both = |across: f64, down: f64| if recipe.fit == Fit::Inside { across.min(down) } else { across.max(down) };
    let scale = across.zip(down).map(|(across, down)| both(across, down)).or(across).or(down).unwrap_or(1.0);
    let limits = source.limits;
    let side = f64::from(limits.side_max) / f64::from(natural.longest());
    let pixels = (limits.pixels_max as f64 / natural.pixels() as f64).sqrt() * 0.99;
    natural.scaled(scale.min(side).min(pixels))
}

/// The source's own bytes without metadata, where they show what the recipe asks for.
fn own_bytes(source: &Source<'_>, plan: &Plan, format: Format) -> Option<(Format, Vec<u8>)> {
    let own = source.probe.format;
    // Whoever shows anything shows these two.
    let suits = own == format || (plan.recipe.is_auto() && matches!(own, Format::Jpeg | Format::Png));
    let same = plan.layout.region.is_whole(source.probe.stored) && plan.size() == source.probe.stored;
    let upright = plan.orientation == crate::Orientation::Upright;
    let unchanged =
        plan.recipe.keeps_pixels() && same && upright && plan.conversion.is_none() && !source.probe.is_animated();
    (suits && unchanged).then(|| strip::strip(own, source.bytes)).flatten().map(|bytes| (own, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(format: Format, frames: u32) -> Probe {
        let stored = Size { width: 4, height: 3 };
        Probe { format, stored, orientation: crate::Orientation::Upright, frames, alpha: true, profile: false }
    }

    fn recipe(text: &str) -> Recipe {
        text.parse().expect("the test's recipe is right")
    }

    #[test]
    fn the_format_is_what_was_asked_for_or_what_suits() {
        let both = [Format::Webp, Format::Avif];
        let cases: [(&str, Format, &[Format], bool, Format); 9] = [
            ("", Format::Webp, &[], true, Format::Webp),
            ("", Format::Bmp, &[], true, Format::Png),
            ("", Format::Tiff, &[], false, Format::Jpeg),
            ("", Format::Svg, &[], false, Format::Png),
            ("f_gif", Format::Jpeg, &[], false, Format::Gif),
            ("f_auto", Format::Png, &both, true, Format::Avif),
            ("f_auto", Format::Png, &both[..1], true, Format::Webp),
            ("f_auto", Format::Png, &[], true, Format::Png),
            ("f_auto,bg_fff", Format::Png, &[], true, Format::Jpeg),
        ];
        for (text, source, accepted, alpha, format) in cases {
            assert_eq!(still_format(&recipe(text), &probe(source, 1), accepted, alpha), format, "{text} {source}");
        }
    }

    #[test]
    fn an_animation_stays_one_where_the_format_can() {
        type Case = (&'static str, Format, u32, &'static [Format], Option<Format>);
        let cases: [Case; 7] = [
            ("", Format::Gif, 2, &[], Some(Format::Gif)),
            ("", Format::Gif, 1, &[], None),
            ("f_webp", Format::Gif, 2, &[], Some(Format::Webp)),
            ("f_jpeg", Format::Gif, 2, &[], None),
            ("f_auto", Format::Gif, 2, &[Format::Avif, Format::Webp], Some(Format::Webp)),
            ("f_auto", Format::Webp, 2, &[], Some(Format::Gif)),
            ("f_webp", Format::Png, 2, &[], None),
        ];
        for (text, source, frames, accepted, format) in cases {
            assert_eq!(animated_format(&recipe(text), &probe(source, frames), accepted), format, "{text} {source}");
        }
    }
}
