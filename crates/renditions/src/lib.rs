#![doc = include_str!("../README.md")]
mod error;
mod examiner;
mod flights;
mod kept;
mod known;
mod presets;
mod refused;
mod renditions;
mod turns;
mod wanted;

pub use error::{Error, Result};
pub use examiner::Examiner;
pub use known::{Known, is_rendered, is_whole, known};
pub use larder_media::{Format, Limits, Point, Recipe, RecipeInUrl};
pub use presets::{InvalidPreset, Presets, UnknownPreset};
pub use renditions::{Counts, Made, RenditionSettings, Renditions, Tagged};
pub use turns::processors;
pub use wanted::Wanted;
