//! [`Wanted`]: a rendition as somebody asks for it, and what it is known by.

use crate::{
    Result,
    known::{Known, digest},
};
use larder_files::{Caller, File, FileId, Files, Sha256};
use larder_media::{Format, PIPELINE, Point, Recipe};

/// A rendition that somebody asks for.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Who asks, or by whose right: the file must be theirs to read.
    pub caller: Caller,
    /// The file, as it was described just now.
    pub file: File,
    /// The revision; `None` for the newest.
    pub revision: Option<u64>,
    /// What to make of it.
    pub recipe: Recipe,
    /// The formats besides JPEG, PNG and GIF that whoever asks can show.
    pub accepted: Vec<Format>,
}

/// What a rendition is known by: equal keys are equal bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) file: FileId,
    pub(crate) hash: [u8; 16],
}

impl Wanted {
    /// As it is made ahead, for nobody in particular: where the recipe leaves the format open, WebP.
    #[must_use]
    pub fn ahead(caller: Caller, file: File, recipe: Recipe) -> Self {
        let accepted = if recipe.is_auto() { vec![Format::Webp] } else { vec![] };
        Self { caller, file, revision: None, recipe, accepted }
    }

    /// The point that matters most, where the recipe asks for it.
    pub(crate) fn focal_point(&self) -> Option<Point> {
        let asked = self.recipe.uses_focal_point();
        asked.then(|| Known::focal_point(self.file.attributes.media.as_ref())).flatten()
    }

    /// The same with these formats accepted alone.
    pub(crate) fn accepting(&self, keep: impl Fn(Format) -> bool) -> Self {
        let accepted = self.accepted.iter().copied().filter(|format| keep(*format)).collect();
        Self { accepted, ..self.clone() }
    }

    /// Whether AVIF is what suits, and not asked for by name: then it may take its time, and WebP is shown meanwhile.
    pub(crate) fn may_become_avif(&self) -> bool {
        self.recipe.is_auto() && self.accepted.contains(&Format::Avif)
    }

    /// From the hash of the content, the recipe in its canonical form, what the recipe leaves open, and the version of the pipeline: a
    /// new revision, focal point or pipeline never shows an old picture.
    pub(crate) fn key(&self, content: &Sha256) -> Key {
        let accepts = |format: Format| self.recipe.is_auto() && self.accepted.contains(&format);
        let open = [accepts(Format::Webp), accepts(Format::Avif)].map(u8::from);
        let focal = self.focal_point().map(|Point { x, y }| format!("{x:.4},{y:.4}")).unwrap_or_default();
        let recipe = self.recipe.to_string();
        let parts = [&content.0[..], recipe.as_bytes(), &open, focal.as_bytes(), &PIPELINE.to_be_bytes()];
        Key { file: self.file.attributes.id, hash: digest(&parts) }
    }

    /// The content that it is made of.
    pub(crate) async fn content(&self, files: &Files) -> Result<Source> {
        let newest = &self.file.attributes;
        let Some(revision) = self.revision.filter(|revision| *revision != newest.revision) else {
            let (sha256, size, content_type) = (newest.sha256, newest.size, newest.content_type.clone());
            return Ok(Source { sha256, size, content_type });
        };
        let row = files.revision(&self.caller, newest.id, revision).await?;
        Ok(Source { sha256: row.sha256, size: row.size, content_type: row.content_type })
    }
}

/// Content that a rendition is made of.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) sha256: Sha256,
    pub(crate) size: u64,
    pub(crate) content_type: String,
}
