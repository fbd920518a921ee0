//! TIFF: its first directory, which is also what EXIF is. Other directories are not followed, so none can lead in a circle.

use super::{Probe, cut_short};
use crate::{
    Format, Orientation, Result,
    bytes::{be16, be32, le16, le32},
};

const WIDTH: u16 = 256;
const HEIGHT: u16 = 257;
const ORIENTATION: u16 = 274;
const EXTRA_SAMPLES: u16 = 338;
const ICC_PROFILE: u16 = 34675;

pub(super) fn probe(bytes: &[u8]) -> Result<Probe> {
    let directory = Directory::first(bytes).ok_or_else(cut_short(Format::Tiff))?;
    let size = directory.number(WIDTH).zip(directory.number(HEIGHT));
    let (width, height) =
        size.ok_or_else(|| crate::Error::corrupt(Format::Tiff, "its first directory gives no size"))?;
    Ok(Probe {
        orientation: directory.orientation().unwrap_or_default(),
        alpha: directory.entry(EXTRA_SAMPLES).is_some(),
        profile: directory.entry(ICC_PROFILE).is_some(),
        ..Probe::still(Format::Tiff, width, height)
    })
}

/// The orientation in the first directory of a TIFF or of EXIF; `None` where there is no such directory or no such entry.
pub(super) fn orientation(bytes: &[u8]) -> Option<Orientation> {
    Directory::first(bytes)?.orientation()
}

struct Directory<'a> {
    bytes: &'a [u8],
    big_endian: bool,
    start: usize,
    entries: usize,
}

impl<'a> Directory<'a> {
    fn first(bytes: &'a [u8]) -> Option<Self> {
        let big_endian = match bytes.get(..4)? {
            b"MM\0*" => true,
            b"II*\0" => false,
            _ => return None,
        };
        let mut directory = Self { bytes, big_endian, start: 0, entries: 0 };
        directory.start = directory.long(4)? as usize;
        directory.entries = directory.short(directory.start)?.into();
        Some(directory)
    }

    fn short(&self, at: usize) -> Option<u16> {
        if self.big_endian { be16(self.bytes, at) } else { le16(self.bytes, at) }
    }

    fn long(&self, at: usize) -> Option<u32> {
        if self.big_endian { be32(self.bytes, at) } else { le32(self.bytes, at) }
    }

    /// Where the entry with this tag begins.
    fn entry(&self, tag: u16) -> Option<usize> {
        (0..self.entries).map(|number| self.start + 2 + number * 12).find(|at| self.short(*at) == Some(tag))
    }

    /// The one number of the entry, which is a short or a long.
    fn number(&self, tag: u16) -> Option<u32> {
        let at = self.entry(tag)?;
        match self.short(at + 2)? {
            3 => self.short(at + 8).map(u32::from),
            4 => self.long(at + 8),
            _ => None,
        }
    }

    fn orientation(&self) -> Option<Orientation> {
        self.number(ORIENTATION).map(|number| Orientation::from_exif(u16::try_from(number).unwrap_or_default()))
    }
}
