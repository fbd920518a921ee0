//! What went wrong with a picture, by what the caller can do about it. Every message may be shown to whoever sent the picture.

use crate::{Format, recipe::InvalidRecipe};

/// The result of work on a picture.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a picture was not probed or rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes are no picture of any known format: send another file.
    #[error("not an image: the bytes begin like none of JPEG, PNG, GIF, WebP, AVIF, BMP, TIFF, ICO, SVG")]
    NotAnImage,
    /// It is a picture, and this crate cannot read it or write what was asked: convert it first, or ask for another format.
    #[error("{what} is not supported: {instead}")]
    Unsupported {
        /// The format or the feature.
        what: String,
        /// What to do instead.
        instead: &'static str,
    },
    /// It claims or holds more than a limit allows. Found before the pixels are decoded.
    #[error("the {what} is {found}, over the limit of {limit}: {instead}")]
    TooLarge {
        /// What was measured, with its unit.
        what: &'static str,
        /// As claimed by the picture or asked for by the recipe.
        found: u64,
        /// The limit, in the same unit.
        limit: u64,
        /// What to do instead.
        instead: &'static str,
    },
    /// The bytes contradict the format that they begin with: export the picture anew.
    #[error("the {format} is corrupt: {what}; export it anew")]
    Corrupt {
        /// The format by the first bytes.
        format: Format,
        /// What is wrong.
        what: String,
    },
    /// The caller's deadline was over before the picture was done: ask later, or for a smaller picture.
    #[error("the deadline was over before the picture was done: ask again later, or send a smaller picture")]
    Deadline,
    /// The recipe is wrong.
    #[error(transparent)]
    Recipe(#[from] InvalidRecipe),
    /// An encoder refused pixels that it should have taken: the crate's own fault.
    #[error("cannot encode {format}: {what}")]
    Encode {
        /// The format asked for.
        format: Format,
        /// What the encoder said.
        what: String,
    },
}

impl Error {
    pub(crate) fn corrupt(format: Format, what: impl std::fmt::Display) -> Self {
        Self::Corrupt { format, what: shortened(&what) }
    }

    pub(crate) fn encode(format: Format, what: impl std::fmt::Display) -> Self {
        Self::Encode { format, what: shortened(&what) }
    }

    pub(crate) fn unsupported(what: impl std::fmt::Display, instead: &'static str) -> Self {
        Self::Unsupported { what: what.to_string(), instead }
    }
}

/// A decoder's own words, which repeat what the picture holds: some TIFFs make them half a megabyte long.
fn shortened(what: &impl std::fmt::Display) -> String {
    const LETTERS_MAX: usize = 200;
    let mut text = what.to_string();
    if let Some((end, _)) = text.char_indices().nth(LETTERS_MAX) {
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_message_is_cut() {
        assert!(Error::corrupt(Format::Tiff, "8, ".repeat(100_000)).to_string().len() < 300);
        assert!(Error::corrupt(Format::Tiff, "ж".repeat(1_000)).to_string().contains("ж…"));
    }

    #[test]
    fn every_message_says_what_to_do() {
        let errors = [
            (Error::Deadline, "ask again later"),
            (Error::corrupt(Format::Png, "the first chunk is no IHDR"), "export it anew"),
            (Error::unsupported("HEIC", "convert it to JPEG"), "convert it to JPEG"),
        ];
        for (error, advice) in errors {
            assert!(error.to_string().contains(advice), "{error}");
        }
    }
}
