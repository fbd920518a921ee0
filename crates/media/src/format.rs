//! The formats of pictures, recognised by their first bytes and never by a name. What the bytes hold further on is the business of
//! `probe`.

use crate::{Error, Result, bytes::be32};

/// A format of pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Format {
    /// JPEG, baseline or progressive.
    Jpeg,
    /// PNG; of an APNG the first frame.
    Png,
    /// GIF, still or animated.
    Gif,
    /// WebP, lossy or lossless, still or animated.
    Webp,
    /// AVIF, stills only.
    Avif,
    /// Windows bitmap.
    Bmp,
    /// TIFF; of several pages the first.
    Tiff,
    /// Windows icon; of several pictures the largest.
    Ico,
    /// SVG: drawn to pixels, without its text.
    Svg,
}

/// What a recipe calls a format, and what HTTP calls it.
const NAMES: [(Format, &str, &str); 9] = [
    (Format::Jpeg, "jpeg", "image/jpeg"),
    (Format::Png, "png", "image/png"),
    (Format::Gif, "gif", "image/gif"),
    (Format::Webp, "webp", "image/webp"),
    (Format::Avif, "avif", "image/avif"),
    (Format::Bmp, "bmp", "image/bmp"),
    (Format::Tiff, "tiff", "image/tiff"),
    (Format::Ico, "ico", "image/vnd.microsoft.icon"),
    (Format::Svg, "svg", "image/svg+xml"),
];

/// How a file of each format begins: bytes at an offset. AVIF and SVG need more than that.
const SIGNATURES: [(Format, usize, &[u8]); 8] = [
    (Format::Jpeg, 0, b"\xff\xd8\xff"),
    (Format::Png, 0, b"\x89PNG\r\n\x1a\n"),
    (Format::Gif, 0, b"GIF87a"),
    (Format::Gif, 0, b"GIF89a"),
    (Format::Webp, 8, b"WEBP"),
    (Format::Tiff, 0, b"II*\0"),
    (Format::Tiff, 0, b"MM\0*"),
    (Format::Ico, 0, b"\0\0\x01\0"),
];

/// Pictures that are known and not read: bytes at an offset.
const UNSUPPORTED: [(&str, usize, &[u8]); 9] = [
    ("BigTIFF", 0, b"II+\0"),
    ("BigTIFF", 0, b"MM\0+"),
    ("HEIC", 4, b"ftyphei"),
    ("HEIC", 4, b"ftypmif1"),
    ("HEIC", 4, b"ftyphev"),
    ("JPEG XL", 0, b"\xff\x0a"),
    ("JPEG XL", 4, b"JXL \r\n"),
    ("JPEG 2000", 4, b"jP  \r\n"),
    ("PSD", 0, b"8BPS\0"),
];

impl Format {
    /// Recognises the format by the first bytes.
    ///
    /// # Errors
    /// [`Error::NotAnImage`], and [`Error::Unsupported`] by name where it is a picture of a format that is not read.
    pub fn of(bytes: &[u8]) -> Result<Self> {
        let starts = |at: usize, with: &[u8]| bytes.get(at..).is_some_and(|rest| rest.starts_with(with));
        if let Some((format, ..)) = SIGNATURES.iter().find(|(_, at, with)| starts(*at, with)) {
            return Ok(*format);
        }
        match bytes {
            _ if is_avif(bytes) => Ok(Self::Avif),
            _ if is_bmp(bytes) => Ok(Self::Bmp),
            _ if crate::svg::root_tag(bytes).is_some() => Ok(Self::Svg),
            _ => match UNSUPPORTED.iter().find(|(_, at, with)| starts(*at, with)) {
                Some((name, ..)) => Err(Error::unsupported(name, "convert it to JPEG, PNG or WebP")),
                None => Err(Error::NotAnImage),
            },
        }
    }

    /// The name in a recipe (`f_webp`) and in a record.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.names().1
    }

    /// The media type.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        self.names().2
    }

    /// Whether a rendition can have this format.
    #[must_use]
    pub fn is_writable(self) -> bool {
        matches!(self, Self::Jpeg | Self::Png | Self::Gif | Self::Webp | Self::Avif)
    }

    /// Whether a rendition of this format keeps the frames of an animation.
    #[must_use]
    pub fn animates(self) -> bool {
        matches!(self, Self::Gif | Self::Webp)
    }

    /// Whether a rendition of this format can be transparent.
    #[must_use]
    pub fn has_alpha(self) -> bool {
        !matches!(self, Self::Jpeg | Self::Bmp)
    }

    /// The longest side in pixels that the format can express.
    pub(crate) fn side_max(self) -> u32 {
        match self {
            Self::Webp => 16_383,
            Self::Jpeg | Self::Gif | Self::Avif => 65_535,
            _ => i32::MAX.unsigned_abs(),
        }
    }

    /// The writable format of this name.
    pub(crate) fn writable(name: &str) -> Option<Self> {
        NAMES.iter().find(|(format, known, _)| *known == name && format.is_writable()).map(|(format, ..)| *format)
    }

    fn names(self) -> &'static (Self, &'static str, &'static str) {
        NAMES.iter().find(|(format, ..)| *format == self).expect("the list holds every format")
    }
}

impl std::fmt::Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// An AVIF names its brand among those of its first box; a HEIC has the same boxes and other brands.
fn is_avif(bytes: &[u8]) -> bool {
    let Some(end) = be32(bytes, 0).map(|size| (size as usize).min(bytes.len()).min(256)) else { return false };
    bytes.get(4..8) == Some(b"ftyp".as_slice())
        && bytes.get(8..end).is_some_and(|brands| brands.chunks(4).any(|brand| brand == b"avif" || brand == b"avis"))
}

/// `BM` alone begins many a text: the size of the second header must be one of those that exist, too.
fn is_bmp(bytes: &[u8]) -> bool {
    let header = crate::bytes::le32(bytes, 14);
    bytes.starts_with(b"BM") && matches!(header, Some(12 | 16 | 40 | 52 | 56 | 64 | 108 | 124))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_has_one_name_and_one_content_type() {
        for (format, name, content_type) in NAMES {
            assert_eq!((format.name(), format.content_type()), (name, content_type));
            assert_eq!(Format::writable(name).is_some(), format.is_writable());
        }
    }

    #[test]
    fn what_is_no_picture_is_not_an_image() {
        for bytes in
            [b"".as_slice(), b"hello", b"BMW is a maker of cars", b"%PDF-1.7", b"<html></html>", b"RIFF\0\0\0\0WAVE"]
        {
            assert_eq!(Format::of(bytes), Err(Error::NotAnImage));
        }
    }

    #[test]
    fn a_picture_that_is_not_read_is_named() {
        let refused = Format::of(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic").expect_err("HEIC is not read");
        assert!(refused.to_string().starts_with("HEIC is not supported: convert it"), "{refused}");
    }
}
