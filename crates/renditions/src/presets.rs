//! [`Presets`]: recipes that have a name.

use larder_media::{InvalidRecipe, Recipe, RecipeInUrl};
use std::collections::BTreeMap;

/// Recipes by their names: whoever may read a file may have it by each of them, without a signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presets(BTreeMap<String, Recipe>);

/// Why something is no preset.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPreset {
    /// Its name is none.
    #[error("`{0}` is no name of a preset: it has 1 to 32 of a–z, 0–9, `_` and `-`, and begins with a letter")]
    Name(String),
    /// Its recipe is none.
    #[error("the preset `{0}`: {1}")]
    Recipe(String, InvalidRecipe),
    /// Its recipe is about a URL.
    #[error("the preset `{0}`: `exp` and `v` are allowed in the recipe of a URL only")]
    OnlyInUrl(String),
    /// There are as many as there may be.
    #[error("there are at most {} presets, the ready-made ones among them", Presets::MAX)]
    TooMany,
}

/// There is no preset of a name. Says which there are.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no preset `{name}`; presets are {}", known.join(", "))]
pub struct UnknownPreset {
    /// The name.
    pub name: String,
    /// Those that there are.
    pub known: Vec<String>,
}

const READY_MADE: [(&str, &str); 6] = [
    ("thumb", "w_300,h_300,f_auto"),
    ("small", "w_640,h_640,f_auto"),
    ("medium", "w_1280,h_1280,f_auto"),
    ("large", "w_1920,h_1920,f_auto"),
    ("normal", "w_1280,h_1280,q_80,f_jpeg"),
    ("high-quality", "w_2560,h_2560,q_90,f_webp"),
];

impl Default for Presets {
    /// `thumb` of 300 pixels, `small` of 640, `medium` of 1,280 and `large` of 1,920 in the format that suits who asks; `normal` as JPEG
    /// and `high-quality` as WebP.
    fn default() -> Self {
        let recipe = |text: &str| text.parse().expect("a good recipe");
        Self(READY_MADE.into_iter().map(|(name, text)| (name.to_owned(), recipe(text))).collect())
    }
}

impl Presets {
    /// There are at most so many: each stands in every record of a picture.
    pub const MAX: usize = 32;

    /// Adds a preset, or changes the one of this name. What was made by the old recipe is never shown for the new one.
    ///
    /// # Errors
    /// [`InvalidPreset`].
    pub fn set(&mut self, name: &str, recipe: &str) -> Result<(), InvalidPreset> {
        let is_good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-');
        let begins = name.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
        if !begins || name.len() > 32 || !name.bytes().all(is_good) {
            return Err(InvalidPreset::Name(name.into()));
        }
        let read: RecipeInUrl = recipe.parse().map_err(|error| InvalidPreset::Recipe(name.into(), error))?;
        if read.expires_at.is_some() || read.revision.is_some() {
            return Err(InvalidPreset::OnlyInUrl(name.into()));
        }
        if self.0.len() >= Self::MAX && !self.0.contains_key(name) {
            return Err(InvalidPreset::TooMany);
        }
        self.0.insert(name.into(), read.recipe);
        Ok(())
    }

    /// The recipe of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Recipe> {
        self.0.get(name).copied()
    }

    /// The recipe of a name that somebody gave.
    ///
    /// # Errors
    /// [`UnknownPreset`].
    pub fn find(&self, name: &str) -> Result<Recipe, UnknownPreset> {
        let unknown = || UnknownPreset { name: name.into(), known: self.0.keys().cloned().collect() };
        self.get(name).ok_or_else(unknown)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Recipe)> {
        self.0.iter().map(|(name, recipe)| (&**name, *recipe))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preset_is_a_name_and_a_recipe_for_any_file() {
        let mut presets = Presets::default();
        presets.set("hero-2", "w_1600,h_600,fit_cover").expect("a good one");
        presets.set("thumb", "w_100").expect("may be changed");
        assert_eq!(presets.get("thumb").map(|recipe| recipe.to_string()).as_deref(), Some("w_100"));
        assert_eq!(presets.iter().count(), READY_MADE.len() + 1);
        assert_eq!(presets.find("hero-2"), Ok(presets.get("hero-2").expect("it was set")));
        let unknown = presets.find("hero").expect_err("no such preset").to_string();
        assert!(unknown.contains("`hero`") && unknown.contains("hero-2, high-quality"), "{unknown}");
        for name in ["", "2x", "Thumb", "a/b", "ä", &"a".repeat(33)] {
            assert!(matches!(presets.set(name, "w_1"), Err(InvalidPreset::Name(_))), "{name}");
        }
        (0..Presets::MAX - 7).for_each(|number| presets.set(&format!("p{number}"), "w_1").expect("one more"));
        assert_eq!(presets.set("one-too-many", "w_1"), Err(InvalidPreset::TooMany));
        presets.set("p0", "w_2").expect("it is there");
        assert!(matches!(presets.set("a", "w_0"), Err(InvalidPreset::Recipe(..))));
        assert!(matches!(presets.set("a", "w_1,v_3"), Err(InvalidPreset::OnlyInUrl(_))));
    }
}
