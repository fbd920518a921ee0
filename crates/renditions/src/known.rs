//! [`Known`]: what a file's attributes say of its picture.

use larder_files::Sha256;
use larder_media::{Format, Limits, Placeholder, Point, Probe};
use serde_json::{Map, Value, json};
use std::time::Instant;

/// What is known of a picture, as its file's attributes bear it as `media`.
#[derive(Clone, Debug, PartialEq)]
pub struct Known(Map<String, Value>);

impl Known {
    /// From its headers, and from its pixels where those could be looked at.
    fn new(probe: &Probe, placeholder: Option<&Placeholder>) -> Self {
        let (mut known, shown) = (Map::new(), probe.shown());
        let mut tell = |name: &str, value: Value| known.insert(name.into(), value);
        tell("kind", json!("image"));
        tell("width", json!(shown.width));
        tell("height", json!(shown.height));
        tell("format", json!(probe.format.name()));
        if probe.is_animated() {
            tell("frames", json!(probe.frames));
        }
        if let Some(placeholder) = placeholder {
            let [red, green, blue] = placeholder.dominant_colour;
            tell("thumbhash", json!(data_encoding::BASE64.encode(&placeholder.thumbhash)));
            tell("colour", json!(format!("#{red:02x}{green:02x}{blue:02x}")));
        }
        Self(known)
    }

    /// As it stands in attributes.
    #[must_use]
    pub fn into_value(self) -> Value {
        Value::Object(self.0)
    }

    /// The point that matters most, as `media` of some attributes has it.
    #[must_use]
    pub fn focal_point(media: Option<&Value>) -> Option<Point> {
        let [x, y]: [f64; 2] = serde_json::from_value(media?.get("focal")?.clone()).ok()?;
        Some(Point { x, y })
    }
}

/// Why nothing is known of a picture.
pub(crate) type Unknown = larder_media::Error;

/// Finds out what a whole picture is. Decodes it as small as it can: a few milliseconds for a photograph.
///
/// # Errors
/// What is wrong with it, or the limit that it is over.
pub fn known(bytes: &[u8], limits: &Limits, until: Option<Instant>) -> Result<Known, Unknown> {
    let probe = larder_media::probe(bytes)?;
    limits.check(bytes.len() as u64, &probe)?;
    let is_over = || until.is_some_and(|until| Instant::now() >= until);
    match larder_media::placeholder(bytes, limits, &is_over) {
        Ok(placeholder) => Ok(Known::new(&probe, Some(&placeholder))),
        // It is what it says; only its miniature is not to be had. (AVIF is written here, and not read.)
        Err(larder_media::Error::Deadline) => Ok(Known::new(&probe, None)),
        Err(larder_media::Error::Unsupported { .. }) if probe.format == Format::Avif => Ok(Known::new(&probe, None)),
        Err(error) => Err(error),
    }
}

/// Finds out what the headers of a picture tell, of which the beginning may be all that is there: then it is not known how many frames
/// there are, nor, of formats that may say so behind their pixels, how it is to be turned.
pub(crate) fn known_by_head(head: &[u8], size: u64, is_whole: bool, limits: &Limits) -> Result<Known, Unknown> {
    let probe = larder_media::probe(head)?;
    limits.check(size.min(limits.source_bytes_max), &probe)?;
    let mut known = Known::new(&probe, None);
    if !is_whole {
        known.0.remove("frames");
        if matches!(probe.format, Format::Png | Format::Webp | Format::Tiff)
            && probe.stored.width != probe.stored.height
        {
            known.0.remove("width");
            known.0.remove("height");
        }
    }
    Ok(known)
}

/// Whether all was found out that can be: its pixels were looked at.
#[must_use]
pub fn is_whole(media: Option<&Value>) -> bool {
    media.is_some_and(|media| media.get("thumbhash").is_some())
}

/// Whether renditions can be made of content of this type.
#[must_use]
pub fn is_rendered(content_type: &str) -> bool {
    const RENDERED: [Format; 8] =
        [Format::Jpeg, Format::Png, Format::Gif, Format::Webp, Format::Bmp, Format::Tiff, Format::Ico, Format::Svg];
    RENDERED.iter().any(|format| format.content_type() == content_type)
}

/// Whether content of this type and size may be a picture all the same: drawings were kept as text before they were known.
pub(crate) fn may_be_rendered(content_type: &str, size: u64) -> bool {
    const TEXT_BYTES_MAX: u64 = 4 << 20;
    let is_text = content_type.starts_with("text/") || content_type == "application/xml";
    is_picture(content_type) || is_text && size <= TEXT_BYTES_MAX
}

/// Whether a content type is one of pictures, which `media` may or may not read.
pub(crate) fn is_picture(content_type: &str) -> bool {
    content_type.starts_with("image/")
}

/// A source's hash, its recipe and all else that its rendition depends on, in one number of 128 bits.
pub(crate) fn digest(parts: &[&[u8]]) -> [u8; 16] {
    // Each part's length stands before it: no two lists are one text.
    let text =
        parts.iter().flat_map(|part| [&(part.len() as u64).to_be_bytes()[..], part].concat()).collect::<Vec<_>>();
    Sha256::of(&text).0[..16].try_into().expect("a SHA-256 has 32 bytes")
}
