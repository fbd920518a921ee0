//! Recipes: what to make of a picture, as short text that stands in a URL (`w_400,h_300,fit_cover,f_webp`). A recipe has one
//! canonical form, so that equal recipes are one rendition. What a recipe means for pixels is the business of `render`.

use crate::{
    Format,
    fixed::{Fixed, digits},
};
use std::fmt::{self, Display};
use std::str::FromStr;

/// What to make of a picture. [`Display`] writes the canonical form: keys in one order, defaults left out.
///
/// ```
/// use larder_media::Recipe;
///
/// let recipe: Recipe = "f_webp,q_75,h_300,w_0400,fit_inside".parse()?;
/// assert_eq!(recipe.to_string(), "w_400,h_300,q_75,f_webp");
/// # Ok::<(), larder_media::InvalidRecipe>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Recipe {
    pub(crate) width: Option<u32>,
    pub(crate) height: Option<u32>,
    pub(crate) fit: Fit,
    pub(crate) gravity: Gravity,
    pub(crate) quality: Option<u8>,
    pub(crate) format: FormatChoice,
    pub(crate) pixel_ratio: PixelRatio,
    pub(crate) background: Option<Colour>,
    pub(crate) rotation: Rotation,
    pub(crate) flip: Flip,
    pub(crate) blur: Sigma,
    pub(crate) sharpen: Sigma,
    pub(crate) crop: Option<Crop>,
}

/// A recipe as it stands in a URL, with what is said about the URL rather than about the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct RecipeInUrl {
    /// What to make.
    pub recipe: Recipe,
    /// `exp`: seconds since 1970 after which the URL is void.
    pub expires_at: Option<u64>,
    /// `v`: the revision of the file that the URL is for.
    pub revision: Option<u64>,
}

/// Why a text is no recipe.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidRecipe {
    /// No such key.
    #[error("unknown key `{0}` in the recipe; keys are {known}", known = known_keys())]
    UnknownKey(String),
    /// A key stands twice.
    #[error("the recipe has `{0}` twice")]
    Twice(&'static str),
    /// The key has a value that it cannot have.
    #[error("`{key}` of the recipe is `{value}`; allowed is {allowed}")]
    Value {
        /// The key.
        key: &'static str,
        /// As sent, cut after 40 characters.
        value: String,
        /// What the key takes.
        allowed: &'static str,
    },
    /// The key is about a URL, and this recipe does not stand in one.
    #[error("`{0}` is allowed in the recipe of a URL only")]
    OnlyInUrl(&'static str),
}

/// How the picture meets the size asked for. It is never enlarged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) enum Fit {
    /// Whole, and no side longer than asked for.
    #[default]
    Inside,
    /// Whole, on a canvas of exactly the size asked for.
    Contain,
    /// Cut to the shape asked for.
    Cover,
    /// Stretched to the size asked for.
    Fill,
}

/// What `cover` keeps, and where `contain` puts the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) enum Gravity {
    #[default]
    Center,
    North,
    NorthEast,
    East,
    SouthEast,
    South,
    SouthWest,
    West,
    NorthWest,
    /// The point given for the file.
    Focal,
    /// Where the picture has most edges.
    Smart,
}

/// The format of the rendition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) enum FormatChoice {
    /// The source's own where it can be written, else JPEG, or PNG where there is transparency.
    #[default]
    Source,
    /// The smallest among those that the caller accepts.
    Auto,
    /// This one.
    Is(Format),
}

/// Pixels of the rendition for each pixel asked for: 1–3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct PixelRatio(Fixed<2>);

impl Default for PixelRatio {
    fn default() -> Self {
        Self(Fixed::whole(1))
    }
}

/// Red, green, blue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Colour(pub(crate) [u8; 3]);

/// Clockwise, after resizing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) enum Rotation {
    #[default]
    None,
    Quarter,
    Half,
    ThreeQuarters,
}

/// Which sides change places, after rotating.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) enum Flip {
    #[default]
    None,
    Horizontal,
    Vertical,
    Both,
}

/// The standard deviation of a Gauss curve in pixels of the rendition; 0 means not at all.
pub(crate) type Sigma = Fixed<1>;

/// The part to keep, in fractions of the picture as shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Crop {
    pub(crate) left: Fixed<4>,
    pub(crate) top: Fixed<4>,
    pub(crate) width: Fixed<4>,
    pub(crate) height: Fixed<4>,
}

/// A key of a recipe: how its value is read and written. `read` answers `None` for what is not `allowed`, `write` for the default.
struct Key {
    name: &'static str,
    allowed: &'static str,
    read: fn(&mut RecipeInUrl, &str) -> Option<()>,
    write: fn(&RecipeInUrl) -> Option<String>,
}

/// Every key, in the order of the canonical form.
const KEYS: [Key; 15] = [
    Key {
        name: "w",
        allowed: "1 to 4096 pixels",
        read: |url, value| set(&mut url.recipe.width, side(value).map(Some)),
        write: |url| text(url.recipe.width),
    },
    Key {
        name: "h",
        allowed: "1 to 4096 pixels",
        read: |url, value| set(&mut url.recipe.height, side(value).map(Some)),
        write: |url| text(url.recipe.height),
    },
    Key {
        name: "fit",
        allowed: "inside, contain, cover or fill",
        read: |url, value| set(&mut url.recipe.fit, named(&FITS, value)),
        write: |url| name_of(&FITS, url.recipe.fit),
    },
    Key {
        name: "g",
        allowed: "center, north, northeast, east, southeast, south, southwest, west, northwest, focal or smart",
        read: |url, value| set(&mut url.recipe.gravity, named(&GRAVITIES, value)),
        write: |url| name_of(&GRAVITIES, url.recipe.gravity),
    },
    Key {
        name: "q",
        allowed: "1 to 100",
        read: |url, value| {
            set(&mut url.recipe.quality, between(value, 1, 100).and_then(|q| u8::try_from(q).ok()).map(Some))
        },
        write: |url| text(url.recipe.quality),
    },
    Key {
        name: "f",
        allowed: "auto, jpeg, png, webp, avif or gif",
        read: |url, value| set(&mut url.recipe.format, FormatChoice::named(value)),
        write: |url| url.recipe.format.name().map(String::from),
    },
    Key {
        name: "dpr",
        allowed: "1 to 3 with at most 2 decimals",
        read: |url, value| set(&mut url.recipe.pixel_ratio, PixelRatio::parse(value)),
        write: |url| unless_default(url.recipe.pixel_ratio, |ratio| ratio.0.to_string()),
    },
    Key {
        name: "bg",
        allowed: "a colour of 3 or 6 hexadecimal digits",
        read: |url, value| set(&mut url.recipe.background, Colour::parse(value).map(Some)),
        write: |url| text(url.recipe.background),
    },
    Key {
        name: "rot",
        allowed: "0, 90, 180 or 270",
        read: |url, value| set(&mut url.recipe.rotation, named(&ROTATIONS, value)),
        write: |url| name_of(&ROTATIONS, url.recipe.rotation),
    },
    Key {
        name: "flip",
        allowed: "h, v or hv",
        read: |url, value| set(&mut url.recipe.flip, named(&FLIPS, value)),
        write: |url| name_of(&FLIPS, url.recipe.flip),
    },
    Key {
        name: "blur",
        allowed: "0 to 100 pixels with at most 1 decimal",
        read: |url, value| set(&mut url.recipe.blur, sigma(value, 100)),
        write: |url| unless_default(url.recipe.blur, |sigma| sigma.to_string()),
    },
    Key {
        name: "sharpen",
        allowed: "0 to 10 pixels with at most 1 decimal",
        read: |url, value| set(&mut url.recipe.sharpen, sigma(value, 10)),
        write: |url| unless_default(url.recipe.sharpen, |sigma| sigma.to_string()),
    },
    Key {
        name: "crop",
        allowed: "left:top:width:height in fractions from 0 to 1 with at most 4 decimals, inside the picture",
        read: |url, value| set(&mut url.recipe.crop, Crop::parse(value)),
        write: |url| text(url.recipe.crop),
    },
    Key {
        name: "exp",
        allowed: "seconds since 1970",
        read: |url, value| set(&mut url.expires_at, whole(value).map(Some)),
        write: |url| text(url.expires_at),
    },
    Key {
        name: "v",
        allowed: "a revision, a whole number",
        read: |url, value| set(&mut url.revision, whole(value).map(Some)),
        write: |url| text(url.revision),
    },
];

/// The first of each list is the default, which the canonical form leaves out.
const FITS: [(&str, Fit); 4] =
    [("inside", Fit::Inside), ("contain", Fit::Contain), ("cover", Fit::Cover), ("fill", Fit::Fill)];

const GRAVITIES: [(&str, Gravity); 11] = [
    ("center", Gravity::Center),
    ("north", Gravity::North),
    ("northeast", Gravity::NorthEast),
    ("east", Gravity::East),
    ("southeast", Gravity::SouthEast),
    ("south", Gravity::South),
    ("southwest", Gravity::SouthWest),
    ("west", Gravity::West),
    ("northwest", Gravity::NorthWest),
    ("focal", Gravity::Focal),
    ("smart", Gravity::Smart),
];

const ROTATIONS: [(&str, Rotation); 4] =
    [("0", Rotation::None), ("90", Rotation::Quarter), ("180", Rotation::Half), ("270", Rotation::ThreeQuarters)];

const FLIPS: [(&str, Flip); 4] = [("", Flip::None), ("h", Flip::Horizontal), ("v", Flip::Vertical), ("hv", Flip::Both)];

impl FromStr for RecipeInUrl {
    type Err = InvalidRecipe;

    fn from_str(text: &str) -> Result<Self, InvalidRecipe> {
        let (mut url, mut seen) = (Self::default(), [false; KEYS.len()]);
        for part in text.split(',').filter(|_| !text.is_empty()) {
            let (name, value) = part.split_once('_').unwrap_or((part, ""));
            let place = KEYS.iter().position(|key| key.name == name);
            let place = place.ok_or_else(|| InvalidRecipe::UnknownKey(shortened(name)))?;
            let key = &KEYS[place];
            if std::mem::replace(&mut seen[place], true) {
                return Err(InvalidRecipe::Twice(key.name));
            }
            let read = (key.read)(&mut url, value).filter(|()| !value.is_empty());
            read.ok_or_else(|| InvalidRecipe::Value { key: key.name, value: shortened(value), allowed: key.allowed })?;
        }
        Ok(url)
    }
}

impl FromStr for Recipe {
    type Err = InvalidRecipe;

    fn from_str(text: &str) -> Result<Self, InvalidRecipe> {
        match text.parse()? {
            RecipeInUrl { expires_at: Some(_), .. } => Err(InvalidRecipe::OnlyInUrl("exp")),
            RecipeInUrl { revision: Some(_), .. } => Err(InvalidRecipe::OnlyInUrl("v")),
            RecipeInUrl { recipe, .. } => Ok(recipe),
        }
    }
}

impl Display for RecipeInUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = KEYS.iter().filter_map(|key| Some((key.name, (key.write)(self)?)));
        for (at, (name, value)) in parts.enumerate() {
            let comma = if at == 0 { "" } else { "," };
            write!(f, "{comma}{name}_{value}")?;
        }
        Ok(())
    }
}

impl Display for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        RecipeInUrl::from(*self).fmt(f)
    }
}

impl From<Recipe> for RecipeInUrl {
    fn from(recipe: Recipe) -> Self {
        Self { recipe, expires_at: None, revision: None }
    }
}

impl Recipe {
    /// Whether the format depends on what the caller accepts, so that an answer over HTTP varies by `Accept`.
    #[must_use]
    pub fn is_auto(&self) -> bool {
        self.format == FormatChoice::Auto
    }

    /// Whether the rendition depends on the focal point that is kept with a file.
    #[must_use]
    pub fn uses_focal_point(&self) -> bool {
        self.gravity == Gravity::Focal
    }

    /// The same recipe with another format. One that cannot be written stays as it was.
    #[must_use]
    pub fn with_format(self, format: Format) -> Self {
        if format.is_writable() { Self { format: FormatChoice::Is(format), ..self } } else { self }
    }

    /// The width asked for, in pixels of the rendition.
    pub(crate) fn width_wanted(&self) -> Option<f64> {
        self.width.map(|width| f64::from(width) * self.pixel_ratio.0.get())
    }

    /// The height asked for, in pixels of the rendition.
    pub(crate) fn height_wanted(&self) -> Option<f64> {
        self.height.map(|height| f64::from(height) * self.pixel_ratio.0.get())
    }

    /// Whether the recipe does nothing to pixels but to choose their number, a format and a quality.
    pub(crate) fn keeps_pixels(&self) -> bool {
        let Self { width, height, fit, gravity, quality, format, pixel_ratio, .. } = *self;
        *self == Self { width, height, fit, gravity, quality, format, pixel_ratio, ..Self::default() }
    }
}

impl FormatChoice {
    fn named(name: &str) -> Option<Self> {
        if name == "auto" { Some(Self::Auto) } else { Format::writable(name).map(Self::Is) }
    }

    fn name(self) -> Option<&'static str> {
        match self {
            Self::Source => None,
            Self::Auto => Some("auto"),
            Self::Is(format) => Some(format.name()),
        }
    }
}

impl PixelRatio {
    fn parse(text: &str) -> Option<Self> {
        Fixed::parse(text).filter(|ratio| (Fixed::whole(1)..=Fixed::whole(3)).contains(ratio)).map(Self)
    }
}

impl Colour {
    pub(crate) const WHITE: Self = Self([255; 3]);

    fn parse(text: &str) -> Option<Self> {
        let digits: Option<Vec<u8>> = text.chars().map(|digit| digit.to_digit(16).map(|value| value as u8)).collect();
        match digits?[..] {
            [r, g, b] => Some(Self([r * 17, g * 17, b * 17])),
            [r, s, g, h, b, c] => Some(Self([r << 4 | s, g << 4 | h, b << 4 | c])),
            _ => None,
        }
    }
}

impl Display for Colour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [red, green, blue] = self.0;
        write!(f, "{red:02x}{green:02x}{blue:02x}")
    }
}

impl Crop {
    /// Reads four fractions: `Some(None)` is the whole picture, `None` a mistake.
    fn parse(text: &str) -> Option<Option<Self>> {
        let parts: Vec<_> = text.split(':').map(Fixed::parse).collect::<Option<_>>()?;
        let [left, top, width, height] = parts[..] else { return None };
        let (none, one) = (Fixed::whole(0), Fixed::whole(1));
        let inside = |start: Fixed<4>, length: Fixed<4>| {
            length > none && start <= one && length <= one && start.plus(length) <= one
        };
        let crop = Self { left, top, width, height };
        let whole = Self { left: none, top: none, width: one, height: one };
        (inside(left, width) && inside(top, height)).then_some((crop != whole).then_some(crop))
    }
}

impl Display for Crop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { left, top, width, height } = self;
        write!(f, "{left}:{top}:{width}:{height}")
    }
}

fn known_keys() -> String {
    KEYS.map(|key| key.name).join(", ")
}

fn shortened(text: &str) -> String {
    text.chars().take(40).collect()
}

fn set<T>(field: &mut T, value: Option<T>) -> Option<()> {
    *field = value?;
    Some(())
}

fn between(text: &str, least: u32, most: u32) -> Option<u32> {
    digits(text).filter(|number| (least..=most).contains(number))
}

fn side(text: &str) -> Option<u32> {
    between(text, 1, 4096)
}

fn sigma(text: &str, most: u32) -> Option<Sigma> {
    Fixed::parse(text).filter(|sigma| *sigma <= Fixed::whole(most))
}

/// A whole number without a sign.
fn whole(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

fn text(value: Option<impl Display>) -> Option<String> {
    value.map(|value| value.to_string())
}

fn unless_default<T: Default + PartialEq>(value: T, write: impl Fn(T) -> String) -> Option<String> {
    (value != T::default()).then(|| write(value))
}

fn named<T: Copy>(names: &[(&str, T)], name: &str) -> Option<T> {
    names.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
}

/// The name of a value, except of the first in the list.
fn name_of<T: PartialEq>(names: &[(&str, T)], value: T) -> Option<String> {
    names.iter().skip(1).find(|(_, known)| *known == value).map(|(name, _)| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn canonical(text: &str) -> String {
        text.parse::<RecipeInUrl>().expect(text).to_string()
    }

    fn refusal(text: &str) -> String {
        text.parse::<RecipeInUrl>().expect_err(text).to_string()
    }

    #[test]
    fn every_key_is_read_and_written() {
        let all = "w_400,h_300,fit_cover,g_smart,q_75,f_webp,dpr_1.5,bg_ff8800,rot_90,flip_hv,blur_2.5,sharpen_1,\
                   crop_0.1:0.2:0.5:0.6,exp_1764000000,v_7";
        assert_eq!(canonical(all), all);
        assert_eq!(all.split(',').count(), KEYS.len());
    }

    #[test]
    fn defaults_are_left_out_and_keys_are_in_one_order() {
        assert_eq!(
            canonical("rot_0,f_jpeg,w_40,fit_inside,g_center,dpr_1.00,blur_0,sharpen_0.0,crop_0:0:1:1"),
            "w_40,f_jpeg"
        );
        assert_eq!(canonical("bg_F80,h_007"), "h_7,bg_ff8800");
        assert_eq!(canonical(""), "");
    }

    #[test]
    fn an_unknown_key_is_refused_by_name() {
        assert!(
            refusal("w_40,width_3").starts_with("unknown key `width` in the recipe; keys are w, h, fit, g, q, f, dpr")
        );
        assert!(refusal("w_40,").starts_with("unknown key ``"));
        assert!(refusal("W_40").starts_with("unknown key `W`"));
    }

    #[test]
    fn a_key_given_twice_is_refused() {
        assert_eq!(refusal("w_40,h_3,w_40"), "the recipe has `w` twice");
    }

    #[test]
    fn a_value_out_of_bounds_is_refused_with_what_is_allowed() {
        assert_eq!(refusal("w_0"), "`w` of the recipe is `0`; allowed is 1 to 4096 pixels");
        let wrong = [
            "w_4097",
            "h_-1",
            "h_+5",
            "w_",
            "w",
            "w_1.5",
            "fit_crop",
            "g_up",
            "q_0",
            "q_101",
            "f_bmp",
            "f_svg",
            "dpr_0.9",
            "dpr_3.01",
            "dpr_1.001",
            "bg_ff",
            "bg_#ffffff",
            "bg_ffffffff",
            "rot_45",
            "flip_",
            "flip_vh",
            "blur_101",
            "blur_1.55",
            "sharpen_11",
            "crop_0:0:1",
            "crop_0:0:1:1:1",
            "crop_0.5:0:0.6:1",
            "crop_0:0:0:1",
            "crop_0:0:-1:1",
            "exp_-5",
            "exp_",
            "exp_99999999999999999999",
            "v_x",
        ];
        for text in wrong {
            let key = text.split('_').next().expect("split gives one");
            assert!(refusal(text).starts_with(&format!("`{key}` of the recipe is `")), "{text}: {}", refusal(text));
        }
    }

    #[test]
    fn a_long_value_is_cut_in_the_message() {
        assert!(refusal(&format!("w_{}", "9".repeat(10_000))).len() < 200);
        assert!(refusal(&"x".repeat(10_000)).len() < 200);
    }

    #[test]
    fn expiry_and_revision_are_no_part_of_what_is_made() {
        let url: RecipeInUrl = "w_40,exp_5,v_2".parse().expect("right");
        assert_eq!((url.recipe.to_string(), url.expires_at, url.revision), ("w_40".into(), Some(5), Some(2)));
        assert_eq!("w_40,exp_5".parse::<Recipe>(), Err(InvalidRecipe::OnlyInUrl("exp")));
        assert_eq!("v_5".parse::<Recipe>(), Err(InvalidRecipe::OnlyInUrl("v")));
    }

    #[test]
    fn a_recipe_that_only_resizes_keeps_pixels() {
        let keeps = |text: &str| text.parse::<Recipe>().expect(text).keeps_pixels();
        assert!(keeps("w_40,h_30,fit_cover,q_7,f_webp,dpr_2,g_smart"));
        assert!(
            ["rot_90", "flip_h", "blur_1", "sharpen_1", "bg_fff", "crop_0:0:0.5:1"]
                .into_iter()
                .all(|text| !keeps(text))
        );
    }

    fn any_part() -> impl Strategy<Value = String> {
        prop_oneof![
            (1..=4096_u32).prop_map(|side| format!("w_{side}")),
            (1..=4096_u32).prop_map(|side| format!("h_{side:05}")),
            prop::sample::select(FITS.map(|(name, _)| format!("fit_{name}")).to_vec()),
            prop::sample::select(GRAVITIES.map(|(name, _)| format!("g_{name}")).to_vec()),
            (1..=100_u8).prop_map(|quality| format!("q_{quality}")),
            prop::sample::select(vec!["f_auto", "f_jpeg", "f_png", "f_webp", "f_avif", "f_gif"]).prop_map(String::from),
            (100..=300_u32).prop_map(|ratio| format!("dpr_{}.{:02}", ratio / 100, ratio % 100)),
            "bg_[0-9a-fA-F]{6}",
            prop::sample::select(ROTATIONS.map(|(name, _)| format!("rot_{name}")).to_vec()),
            prop::sample::select(vec!["flip_h", "flip_v", "flip_hv"]).prop_map(String::from),
            (0..=99_u32, 0..=9_u32).prop_map(|(whole, tenth)| format!("blur_{whole}.{tenth}")),
            (0..=9_u32, 0..=9_u32).prop_map(|(whole, tenth)| format!("sharpen_{whole}.{tenth}")),
            (0..=5000_u32, 1..=5000_u32).prop_map(|(start, length)| format!("crop_0.{start:04}:0:0.{length:04}:1")),
            any::<u32>().prop_map(|time| format!("exp_{time}")),
        ]
    }

    proptest! {
        #[test]
        fn the_canonical_form_of_a_canonical_form_is_itself(parts in prop::collection::vec(any_part(), 0..8)) {
            if let Ok(url) = parts.join(",").parse::<RecipeInUrl>() {
                prop_assert_eq!(url.to_string().parse::<RecipeInUrl>(), Ok(url));
                prop_assert_eq!(canonical(&url.to_string()), url.to_string());
            }
        }

        #[test]
        fn the_order_of_the_keys_does_not_matter(mut parts in prop::collection::vec(any_part(), 0..8)) {
            let first = parts.join(",").parse::<RecipeInUrl>();
            parts.reverse();
            let second = parts.join(",").parse::<RecipeInUrl>();
            prop_assert_eq!(first.ok().map(|url| url.to_string()), second.ok().map(|url| url.to_string()));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,60}", parts in "([a-z]{1,7}_[-0-9a-z.:]{0,12},?){0,5}") {
            let _ = text.parse::<RecipeInUrl>();
            let _ = parts.parse::<RecipeInUrl>();
        }
    }
}
