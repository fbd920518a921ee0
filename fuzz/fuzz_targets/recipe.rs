//! Whatever is a recipe has one canonical form, which is the same recipe.
#![no_main]

use larder_media::{Recipe, RecipeInUrl};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(recipe) = text.parse::<Recipe>() {
        let canonical = recipe.to_string();
        assert_eq!(canonical.parse(), Ok(recipe), "{canonical}");
    }
    if let Ok(recipe) = text.parse::<RecipeInUrl>() {
        let canonical = recipe.to_string();
        assert_eq!(canonical.parse(), Ok(recipe), "{canonical}");
        assert!(canonical.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_,.:-".contains(&byte)), "{canonical}");
    }
});
