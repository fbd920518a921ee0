//! How large a picture may be, checked before anything is decoded or allocated for it.

use crate::{Error, Format, Probe, Result, geometry::Size};

/// What a picture may claim and a rendition may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Pixels of the longer side, of the source and of the rendition.
    pub side_max: u32,
    /// Pixels of the source, of one frame of it, and of the rendition.
    pub pixels_max: u64,
    /// Frames, where the rendition is animated. A still is made of the first frame however many follow.
    pub frames_max: u32,
    /// Scans of a JPEG: each costs the time of a pass over the whole picture.
    pub scans_max: u32,
    /// Bytes of the source.
    pub source_bytes_max: u64,
    /// Bytes of one decoded frame, at 4 bytes a pixel.
    pub decoded_bytes_max: u64,
    /// Pixels of a rendition in AVIF, whose encoder cannot be interrupted and takes seconds for each million.
    pub avif_pixels_max: u64,
}

impl Default for Limits {
    /// 16,384 pixels a side, 50 million pixels, 100 frames, 64 scans, 128 MiB of source, 256 MiB decoded, 4 million pixels of AVIF.
    fn default() -> Self {
        Self {
            side_max: 16_384,
            pixels_max: 50_000_000,
            frames_max: 100,
            scans_max: 64,
            source_bytes_max: 128 << 20,
            decoded_bytes_max: 256 << 20,
            avif_pixels_max: 4_000_000,
        }
    }
}

const SEND_SMALLER: &str = "send a smaller picture";
const ASK_FOR_SMALLER: &str = "ask for a smaller rendition";

impl Limits {
    /// Checks the source by its size and its headers.
    ///
    /// # Errors
    /// [`Error::TooLarge`], with the first limit that it is over.
    pub fn check(&self, source_bytes: u64, probe: &Probe) -> Result<()> {
        let pixels = probe.stored.pixels();
        let checks = [
            ("size of the source in bytes", source_bytes, self.source_bytes_max),
            ("longer side in pixels", probe.stored.longest().into(), self.side_max.into()),
            ("number of pixels", pixels, self.pixels_max),
            ("size of the decoded picture in bytes", pixels.saturating_mul(4), self.decoded_bytes_max),
        ];
        checks.into_iter().try_for_each(|(what, found, limit)| at_most(what, found, limit, SEND_SMALLER))
    }

    /// Checks a rendition before it is made.
    pub(crate) fn check_rendition(&self, size: Size, format: Format) -> Result<()> {
        let side_max = self.side_max.min(format.side_max());
        let pixels_max = if format == Format::Avif { self.avif_pixels_max } else { self.pixels_max };
        at_most("rendition's longer side in pixels", size.longest().into(), side_max.into(), ASK_FOR_SMALLER)?;
        at_most("rendition's number of pixels", size.pixels(), pixels_max, ASK_FOR_SMALLER)
    }

    /// Checks an animation before its frames are decoded.
    pub(crate) fn check_frames(&self, frames: u32) -> Result<()> {
        at_most("number of frames", frames.into(), self.frames_max.into(), "ask for a still, as with `f_jpeg`")
    }

    /// Checks the passes over a JPEG.
    pub(crate) fn check_scans(&self, scans: usize) -> Result<()> {
        at_most("number of scans of the JPEG", scans as u64, self.scans_max.into(), "save it with fewer scans")
    }
}

fn at_most(what: &'static str, found: u64, limit: u64, instead: &'static str) -> Result<()> {
    if found <= limit { Ok(()) } else { Err(Error::TooLarge { what, found, limit, instead }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Orientation;

    fn probe(width: u32, height: u32) -> Probe {
        let stored = Size { width, height };
        Probe {
            format: Format::Png,
            stored,
            orientation: Orientation::Upright,
            frames: 1,
            alpha: false,
            profile: false,
        }
    }

    #[test]
    fn the_limits_themselves_are_allowed_and_one_more_is_not() {
        let limits = Limits { pixels_max: 16_384 * 100, ..Limits::default() };
        assert_eq!(limits.check(128 << 20, &probe(16_384, 100)), Ok(()));
        for (bytes, width, height) in [((128 << 20) + 1, 1, 1), (1, 16_385, 1), (1, 1, 16_385), (1, 16_384, 101)] {
            assert!(
                matches!(limits.check(bytes, &probe(width, height)), Err(Error::TooLarge { .. })),
                "{width}x{height}"
            );
        }
    }

    #[test]
    fn the_message_names_what_is_too_large() {
        let refused = Limits::default().check(1, &probe(30_000, 30_000)).expect_err("over the limit");
        let message = "the longer side in pixels is 30000, over the limit of 16384: send a smaller picture";
        assert_eq!(refused.to_string(), message);
    }

    #[test]
    fn a_rendition_fits_its_format() {
        let size = Size { width: 16_384, height: 10 };
        assert_eq!(Limits::default().check_rendition(size, Format::Png), Ok(()));
        assert!(Limits::default().check_rendition(size, Format::Webp).is_err());
    }

    #[test]
    fn the_largest_claims_do_not_overflow() {
        assert!(Limits::default().check(u64::MAX, &probe(u32::MAX, u32::MAX)).is_err());
        let none = Limits { side_max: u32::MAX, pixels_max: u64::MAX, ..Limits::default() };
        assert!(none.check(1, &probe(i32::MAX as u32, i32::MAX as u32)).is_err());
    }
}
