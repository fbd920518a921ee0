#![doc = include_str!("../README.md")]
mod bytes;
mod colour;
mod error;
mod fixed;
mod format;
mod geometry;
mod limits;
mod orientation;
mod pixels;
mod probe;
mod recipe;
mod svg;

pub use error::{Error, Result};
pub use format::Format;
pub use geometry::{Point, Size};
pub use limits::Limits;
pub use orientation::Orientation;
pub use probe::{Probe, probe};
pub use recipe::{InvalidRecipe, Recipe, RecipeInUrl};
