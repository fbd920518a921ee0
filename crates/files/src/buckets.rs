//! The ready-made buckets and the sealed records of all.

use crate::{BucketName, BucketPolicy};

/// `documents`, `audio` and `images`, as they exist from the first start.
#[must_use]
pub(crate) fn ready_made() -> Vec<(BucketName, BucketPolicy)> {
    const AUDIO: [&str; 9] = [
        "audio/mpeg",
        "audio/ogg",
        "audio/opus",
        "audio/x-flac",
        "audio/x-wav",
        "audio/m4a",
        "audio/aac",
        "audio/webm",
        "video/webm",
    ];
    const IMAGES: [&str; 9] = [
        "image/jpeg",
        "image/png",
        "image/gif",
        "image/webp",
        "image/avif",
        "image/bmp",
        "image/tiff",
        "image/vnd.microsoft.icon",
        "image/svg+xml",
    ];
    let bucket = |name: &str, types: &[&str]| {
        let types = types.iter().map(ToString::to_string).collect();
        (BucketName::new(name).expect("a good name"), BucketPolicy { types, ..BucketPolicy::default() })
    };
    let (name, policy) = bucket("images", &IMAGES);
    vec![bucket("documents", &["*"]), bucket("audio", &AUDIO), (name, BucketPolicy { pictures_only: true, ..policy })]
}
