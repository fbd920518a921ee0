//! What a JPEG says of itself before its first scan.

use super::{
    Error, Limits,
    segment::{Segment, Segments, marker},
    tables::Tables,
};
use std::ops::Range;

/// An ICC profile may be so large; a larger one is left out. Those of printers take 2 MB.
const ICC_PROFILE_BYTES_MAX: usize = 4 << 20;

/// Everything before the first scan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// In pixels, at least 1.
    pub width: u32,
    /// In pixels, at least 1.
    pub height: u32,
    /// Bits of a sample; [`super::decode`] takes 8.
    pub precision: u8,
    /// Whether it comes in scans that refine each other.
    pub progressive: bool,
    /// One (grey), three or four.
    pub components: Vec<Component>,
    /// What an Adobe segment says of colours: 0 none (RGB, CMYK), 1 YCbCr, 2 YCCK. None without such a segment.
    pub adobe_transform: Option<u8>,
    /// The colour profile. None also if it is incomplete or larger than 4 MiB.
    pub icc_profile: Option<Vec<u8>>,
    /// Where in the file the EXIF block lies, from its TIFF header on.
    pub exif: Option<Range<usize>>,
    /// How to turn the picture upright, 1 (as it is) to 8, as EXIF counts. 1 if missing or senseless.
    pub orientation: u8,
    /// MCUs from one restart marker to the next; 0 means no such markers.
    pub restart_interval: u16,
}

/// One plane of a picture, as its header tells of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Component {
    /// The name by which scans call it.
    pub id: u8,
    /// Samples across and down, 1 to 4 each, relative to those of the other components.
    pub sampling: (u8, u8),
    /// The table it was quantised by, 0 to 3.
    pub(super) quantisation: usize,
}

impl Component {
    pub(super) fn horizontal(&self) -> usize {
        self.sampling.0.into()
    }

    pub(super) fn vertical(&self) -> usize {
        self.sampling.1.into()
    }
}

impl Header {
    /// Reads what comes before the first scan. Allocates no more than the file has bytes, and nothing that depends on what it claims.
    ///
    /// # Errors
    ///
    /// [`Error::NotJpeg`], [`Error::Corrupt`], and [`Error::Unsupported`] for kinds of coding that [`super::decode`] doesn't know:
    /// arithmetic, lossless, hierarchical, a height that comes behind the first scan. A precision of 12 bits and four components are read.
    pub fn read(bytes: &[u8]) -> Result<Header, Error> {
        Opening::read(bytes).map(|opening| opening.header)
    }

    /// Whether three components are red, green and blue rather than YCbCr.
    pub fn is_rgb(&self) -> bool {
        let ids: Vec<u8> = self.components.iter().map(|component| component.id).collect();
        self.components.len() == 3 && (self.adobe_transform == Some(0) || ids == *b"RGB")
    }

    /// Refuses what cannot be decoded and what may not.
    pub(super) fn check(&self, limits: &Limits) -> Result<(), Error> {
        let side = self.width.max(self.height);
        if side > limits.side {
            return Err(Error::Limit { unit: "pixels on a side", actual: side.into(), limit: limits.side.into() });
        }
        let pixels = u64::from(self.width) * u64::from(self.height);
        if pixels > limits.pixels {
            return Err(Error::Limit { unit: "pixels", actual: pixels, limit: limits.pixels });
        }
        match (self.precision, self.components.len()) {
            (8, 1 | 3) => Ok(()),
            (8, 4) => Err(Error::Unsupported("four components")),
            (8, _) => Err(Error::Unsupported("two components")),
            _ => Err(Error::Unsupported("not 8 bits a sample")),
        }
    }

    /// The largest sampling factors.
    fn sampling_max(&self) -> (usize, usize) {
        let across = self.components.iter().map(Component::horizontal).max();
        let down = self.components.iter().map(Component::vertical).max();
        (across.unwrap_or(1), down.unwrap_or(1))
    }

    /// Columns and rows of MCUs in a scan of several components.
    pub(super) fn mcus(&self) -> (usize, usize) {
        let (across, down) = self.sampling_max();
        ((self.width as usize).div_ceil(8 * across), (self.height as usize).div_ceil(8 * down))
    }

    /// Columns and rows of blocks in a scan of `component` alone, which carries no padding to whole MCUs.
    pub(super) fn blocks(&self, component: &Component) -> (usize, usize) {
        let (across, down) = self.sampling_max();
        let columns = (self.width as usize * component.horizontal()).div_ceil(8 * across);
        let rows = (self.height as usize * component.vertical()).div_ceil(8 * down);
        (columns, rows)
    }

    /// The width and height of the picture in full-size samples of `component`, which need not be whole.
    pub(super) fn extent(&self, component: &Component) -> (f64, f64) {
        let (across, down) = self.sampling_max();
        let width = f64::from(self.width) * component.horizontal() as f64 / across as f64;
        let height = f64::from(self.height) * component.vertical() as f64 / down as f64;
        (width, height)
    }
}

/// A file read up to its first scan.
pub(super) struct Opening<'a> {
    pub(super) header: Header,
    pub(super) tables: Tables,
    /// The header of the first scan.
    pub(super) scan: &'a [u8],
    /// What comes behind it.
    pub(super) segments: Segments<'a>,
}

impl<'a> Opening<'a> {
    /// # Errors
    ///
    /// As [`Header::read`].
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, Error> {
        let mut segments = Segments::new(bytes)?;
        let mut tables = Tables::default();
        let mut found = Found::default();
        let scan = loop {
            let segment = segments.next()?;
            match segment.marker {
                marker::END_OF_IMAGE => return Err(Error::Corrupt("it has no scan")),
                marker::START_OF_SCAN => break segment.payload,
                _ => found.read(&segment, &mut tables)?,
            }
        };
        Ok(Opening { header: found.header(&tables)?, tables, scan, segments })
    }
}

/// What was found so far.
#[derive(Default)]
struct Found<'a> {
    frame: Option<Frame>,
    adobe_transform: Option<u8>,
    exif: Option<(Range<usize>, u8)>,
    icc_chunks: Vec<&'a [u8]>,
}

struct Frame {
    width: u16,
    height: u16,
    precision: u8,
    progressive: bool,
    components: Vec<Component>,
}

impl<'a> Found<'a> {
    fn read(&mut self, segment: &Segment<'a>, tables: &mut Tables) -> Result<(), Error> {
        match (segment.marker, segment.payload) {
            (
                marker::START_OF_FRAME_BASELINE | marker::START_OF_FRAME_EXTENDED | marker::START_OF_FRAME_PROGRESSIVE,
                payload,
            ) => self.frame(payload, segment.marker == marker::START_OF_FRAME_PROGRESSIVE)?,
            (0xc3, _) => return Err(Error::Unsupported("lossless")),
            (0xc5..=0xc7 | 0xde | 0xdf, _) => return Err(Error::Unsupported("hierarchical")),
            (0xc8..=0xcf, _) => return Err(Error::Unsupported("arithmetic coding")),
            (marker::ADOBE, [b'A', b'd', b'o', b'b', b'e', rest @ ..]) => self.adobe_transform = rest.get(6).copied(),
            (marker::EXIF, [b'E', b'x', b'i', b'f', 0, _, tiff @ ..]) => {
                let start = segment.position + 6;
                self.exif.get_or_insert((start..start + tiff.len(), orientation(tiff).unwrap_or(1)));
            }
            (marker::ICC_PROFILE, payload) => self.icc_chunks.extend(payload.strip_prefix(b"ICC_PROFILE\0")),
            _ => tables.read(segment)?,
        }
        Ok(())
    }

    fn frame(&mut self, payload: &[u8], progressive: bool) -> Result<(), Error> {
        let [precision, h1, h0, w1, w0, count, rest @ ..] = payload else {
            return Err(Error::Corrupt("a short frame"));
        };
        let (height, width) = (u16::from_be_bytes([*h1, *h0]), u16::from_be_bytes([*w1, *w0]));
        if self.frame.is_some() {
            return Err(Error::Corrupt("two frames"));
        }
        if width == 0 {
            return Err(Error::Corrupt("a frame without width"));
        }
        if height == 0 {
            return Err(Error::Unsupported("a height that comes behind the first scan"));
        }
        let components = components(rest, usize::from(*count))?;
        self.frame = Some(Frame { width, height, precision: *precision, progressive, components });
        Ok(())
    }

    fn header(self, tables: &Tables) -> Result<Header, Error> {
        let frame = self.frame.ok_or(Error::Corrupt("a scan before the frame"))?;
        let (exif, orientation) = self.exif.map_or((None, 1), |(range, orientation)| (Some(range), orientation));
        Ok(Header {
            width: frame.width.into(),
            height: frame.height.into(),
            precision: frame.precision,
            progressive: frame.progressive,
            components: frame.components,
            adobe_transform: self.adobe_transform,
            icc_profile: icc_profile(self.icc_chunks),
            exif,
            orientation,
            restart_interval: tables.restart_interval,
        })
    }
}

fn components(entries: &[u8], count: usize) -> Result<Vec<Component>, Error> {
    if !(1..=4).contains(&count) || entries.len() < 3 * count {
        return Err(Error::Corrupt("a frame of no components, of too many, or cut"));
    }
    let components: Vec<_> = entries.chunks_exact(3).take(count).map(component).collect::<Result<_, _>>()?;
    let unique = |n: usize| components[..n].iter().all(|earlier| earlier.id != components[n].id);
    if !(0..count).all(unique) {
        return Err(Error::Unsupported("two components of one name"));
    }
    Ok(components)
}

fn component(entry: &[u8]) -> Result<Component, Error> {
    let (across, down, quantisation) = (entry[1] >> 4, entry[1] & 15, usize::from(entry[2]));
    if !(1..=4).contains(&across) || !(1..=4).contains(&down) || quantisation > 3 {
        return Err(Error::Corrupt("a component with impossible sampling or quantisation"));
    }
    Ok(Component { id: entry[0], sampling: (across, down), quantisation })
}

/// Puts the chunks of a profile in order. Each begins with its number, from 1, and how many there are.
fn icc_profile(mut chunks: Vec<&[u8]>) -> Option<Vec<u8>> {
    chunks.sort_by_key(|chunk| chunk.first().copied());
    let complete = chunks.iter().enumerate().all(|(n, chunk)| {
        let [number, count, ..] = chunk else { return false };
        usize::from(*number) == n + 1 && usize::from(*count) == chunks.len()
    });
    let bytes: usize = chunks.iter().map(|chunk| chunk.len()).sum();
    if chunks.is_empty() || !complete || bytes > ICC_PROFILE_BYTES_MAX {
        return None;
    }
    Some(chunks.iter().flat_map(|chunk| &chunk[2..]).copied().collect())
}

/// Tag 0x0112 of the first directory of a TIFF block, if it has a meaning.
fn orientation(tiff: &[u8]) -> Option<u8> {
    let little = match tiff.get(..4)? {
        b"II*\0" => true,
        b"MM\0*" => false,
        _ => return None,
    };
    let short = |position: usize| {
        let bytes = *tiff.get(position..)?.first_chunk()?;
        Some(if little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) })
    };
    let long = |position: usize| {
        let bytes = *tiff.get(position..)?.first_chunk()?;
        Some(if little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) })
    };
    let directory = usize::try_from(long(4)?).ok()?;
    let entries = tiff.get(directory..)?;
    let count = usize::from(short(directory)?).min(entries.len() / 12);
    let position = (0..count).map(|n| directory + 2 + 12 * n).find(|&entry| short(entry) == Some(0x0112))?;
    short(position + 8).and_then(|value| u8::try_from(value).ok()).filter(|value| (1..=8).contains(value))
}
